//! Looking into messages, by the real binary.

#![allow(clippy::unwrap_used, clippy::panic)] // The helpers of tests, too.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use dmls::danger::AcceptAnyCredential;
use dmls::{
    CipherSuite, Config, Credential, Group, Identity, KeySchedule, Lifetime, NewGroupOptions, Retention, Time,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

struct Messages {
    key_package: Vec<u8>,
    welcome: Vec<u8>,
    group_info: Vec<u8>,
    commit: Vec<u8>,
    chat: Vec<u8>,
}

/// Messages of a small group whose handshake is public or private.
fn messages(encrypt_handshake: bool) -> Messages {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let now = Time(1_800_000_000);
    let config = Config { encrypt_handshake, ..Config::new(AcceptAnyCredential) };
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let [alice, bob] =
        ["alice", "bob"].map(|name| Identity::generate(suite, Credential::basic(name), &mut rng).unwrap());
    let options = NewGroupOptions { group_id: Some(b"the group".to_vec()), ..Default::default() };
    let mut group = Group::create(&alice, options, config, now, &mut rng).unwrap().apply_unsaved();
    let own = bob.key_package(Lifetime::starting(now, 86_400), &mut rng).unwrap();
    let sent = group.commit().add(own.key_package().clone()).stage(now, &mut rng).unwrap().apply_unsaved();
    let welcome = group.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
    Messages {
        key_package: own.message(),
        welcome,
        group_info: group.head().group_info(now).unwrap(),
        commit: sent.message,
        chat: group.send(b"hello").authenticated_data(*b"label").seal(&mut rng).unwrap().apply_unsaved(),
    }
}

fn inspect(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dmls"))
        .arg("inspect")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn json(message: &[u8]) -> Value {
    let output = inspect(&["--json"], message);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["size"], message.len());
    value
}

fn tree(message: &[u8]) -> String {
    let output = inspect(&["--plain"], message);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn key_package() {
    let Messages { key_package, .. } = messages(true);
    let value = json(&key_package);
    assert_eq!(value["type"], "MLSMessage");
    assert_eq!(value["wire_format"], "mls_key_package");
    let leaf = &value["key_package"]["leaf_node"];
    assert_eq!(leaf["credential"]["identity"], hex(b"bob"));
    assert_eq!(leaf["lifetime"]["not_after"], 1_800_086_400);
    assert_eq!(leaf["capabilities"]["versions"][0], "mls10");
    let text = tree(&key_package);
    for part in
        ["leaf_node: LeafNode", "identity: opaque<V> = \"bob\"", "2027-01-16 08:00:00 UTC", "KeyPackageRef"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn welcome_names_the_key_package() {
    let Messages { welcome, key_package, .. } = messages(true);
    let value = json(&welcome);
    let reference = value["welcome"]["secrets"][0]["new_member"].as_str().unwrap();
    assert!(tree(&key_package).contains(reference));
    assert_eq!(value["welcome"]["cipher_suite"], "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519");
}

#[test]
fn group_info_with_its_tree() {
    let Messages { group_info, .. } = messages(true);
    let value = json(&group_info);
    let info = &value["group_info"];
    assert_eq!(info["group_context"]["epoch"], 1);
    let extensions = info["extensions"].as_array().unwrap();
    let nodes = extensions.iter().find(|e| e["extension_type"] == "ratchet_tree").unwrap();
    let nodes = nodes["extension_data"]["ratchet_tree"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    assert_eq!(nodes[2]["leaf_node"]["credential"]["identity"], hex(b"bob"));
    assert!(tree(&group_info).contains("node_type: NodeType = parent (2)"));
}

#[test]
fn public_and_private_messages_of_a_dmls_group() {
    let public = messages(false);
    let value = json(&public.commit);
    assert_eq!(value["type"], "DMLSMessage");
    assert_eq!(value["dmls_epoch"].as_str().unwrap().len(), 64);
    let content = &value["message"]["public_message"]["content"];
    assert_eq!(content["sender"]["sender_type"], "member");
    assert_eq!(content["commit"]["proposals"][0]["proposal"]["proposal_type"], "add");
    assert_eq!(content["commit"]["path"]["leaf_node"]["leaf_node_source"], "commit");
    for part in ["public_message: PublicMessage", "content: FramedContent", "path: optional<UpdatePath>"] {
        assert!(tree(&public.commit).contains(part), "{part}");
    }
    let private = messages(true);
    assert_eq!(json(&private.commit)["message"]["private_message"]["content_type"], "commit");
    let chat = json(&private.chat);
    assert_eq!(chat["message"]["private_message"]["authenticated_data"], hex(b"label"));
    assert_eq!(chat["message"]["private_message"]["content_type"], "application");
}

#[test]
fn input_as_file_hex_and_hex_file() {
    let Messages { chat, .. } = messages(true);
    let dir = std::env::temp_dir().join(format!("dmls-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (binary, text) = (dir.join("chat"), dir.join("chat.hex"));
    std::fs::write(&binary, &chat).unwrap();
    std::fs::write(&text, hex(&chat) + "\n").unwrap();
    let expected = inspect(&[], &chat).stdout;
    for input in [binary.to_str().unwrap(), text.to_str().unwrap(), &hex(&chat)] {
        assert_eq!(inspect(&[input], b"").stdout, expected);
    }
    assert_eq!(inspect(&["-"], hex(&chat).as_bytes()).stdout, expected);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn damaged_input_says_where() {
    let Messages { key_package, commit, .. } = messages(false);
    let error = |bytes: &[u8]| {
        let output = inspect(&[], bytes);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let mut damaged = key_package.clone();
    damaged[1] = 2;
    assert!(error(&damaged).contains("at byte 0: expected protocol version 1 (mls10)"));
    damaged = key_package.clone();
    damaged[3] = 77;
    assert!(error(&damaged).contains("at byte 2: expected wire format 1 to 5"));
    let cut = error(&key_package[..key_package.len() - 1]);
    assert!(cut.contains("KeyPackage.signature") && cut.contains("at byte"), "{cut}");
    let long = [&key_package[..], &[0]].concat();
    assert!(error(&long).contains(&format!("at byte {}: expected the end", key_package.len())));
    let cut = error(&commit[..commit.len() - 1]);
    assert!(cut.contains("DMLSMessage.dmls_epoch"), "{cut}");
    assert!(error(b"").contains("at byte 0"));
}

#[test]
fn wrong_usage() {
    let output = inspect(&["no-such-file"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("neither a file nor hex digits"));
    assert_eq!(inspect(&["--nonsense"], b"").status.code(), Some(2));
}

/// Runs it with files of these contents, and gives their paths, too.
fn with_files(contents: &[&[u8]], run: impl FnOnce(&[String])) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("dmls-inspect-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let paths: Vec<String> =
        (0..contents.len()).map(|i| dir.join(i.to_string()).display().to_string()).collect();
    paths.iter().zip(contents).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    run(&paths);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The JSON objects that were printed, one behind the other.
fn objects(output: &Output) -> Vec<Value> {
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    values.map(|value| value.unwrap()).collect()
}

#[test]
fn base64_and_prefixed_hex() {
    let Messages { chat, .. } = messages(true);
    let expected = inspect(&[], &chat).stdout;
    let texts = [
        format!("0x{}", hex(&chat)),
        BASE64.encode(&chat),
        BASE64_NOPAD.encode(&chat),
        BASE64URL.encode(&chat),
        BASE64URL_NOPAD.encode(&chat),
    ];
    for text in texts {
        assert_eq!(inspect(&["-"], text.as_bytes()).stdout, expected, "{text}");
        assert_eq!(inspect(&[&text], b"").stdout, expected, "{text}");
        with_files(&[text.as_bytes()], |paths| assert_eq!(inspect(&[&paths[0]], b"").stdout, expected));
    }
    let output = inspect(&["-"], b"0x0001z");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not hex"));
}

#[test]
fn several_inputs_and_their_errors() {
    let Messages { key_package, welcome, group_info, chat, .. } = messages(true);
    let damaged = &welcome[..welcome.len() - 1];
    with_files(&[&key_package, damaged, &group_info], |paths| {
        let [first, second, third] = paths else { panic!() };
        let output = inspect(&["--json", first, second, third, "-", "missing"], &chat);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.is_empty());
        let objects = objects(&output);
        let inputs: Vec<&Value> = objects.iter().map(|object| &object["input"]).collect();
        assert_eq!(inputs, [first, second, third, "-", "missing"]);
        let kinds: Vec<Option<&str>> = objects.iter().map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, [Some("key_package"), None, Some("group_info"), Some("group_message"), None]);
        let error = &objects[1]["error"];
        assert!(error["message"].as_str().unwrap().contains("not a message"));
        assert!(error["offset"].is_u64() && error["expected"].is_string() && error["field"].is_string());
        assert!(objects[4]["error"]["message"].as_str().unwrap().contains("neither a file"));

        let output = inspect(&["--plain", first, second, third], b"");
        assert_eq!(output.status.code(), Some(1));
        let (text, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(text.contains(&format!("{first:.80}:")) && text.contains(&format!("{third:.80}:")), "{text}");
        assert!(errors.contains("not a message") && errors.lines().count() == 1, "{errors}");
    });
}

/// The records of a group of two after a fork: the second branch lost.
fn records(schedule: KeySchedule) -> (BTreeMap<Vec<u8>, Vec<u8>>, Group) {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let now = Time(1_800_000_000);
    let retention = Retention::while_told();
    let config = Config { schedule, retention, ..Config::new(AcceptAnyCredential) };
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng).unwrap();
    let group = Group::create(&alice, NewGroupOptions::default(), config, now, &mut rng);
    let mut group = group.unwrap().apply_unsaved();
    let start = group.head().id().clone();
    let branches = if schedule == KeySchedule::Dmls { 2 } else { 1 };
    for _ in 0..branches {
        let sent = group.commit().at(&start).stage(now, &mut rng).unwrap().apply_unsaved();
        group.confirm(&sent.id).unwrap().apply_unsaved();
    }
    let commit = group.head().commit_id().clone();
    group.finalize(&commit).unwrap().apply_unsaved();
    let mut records = BTreeMap::new();
    group.snapshot().replay_into(&mut records);
    (records, group)
}

fn dump(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let lines = records.iter().map(|(key, value)| format!("{} {}\n", hex(key), hex(value)));
    format!("# a group\n\n{}", lines.collect::<String>())
}

#[test]
fn records_as_a_graph() {
    let (records, group) = records(KeySchedule::Dmls);
    with_files(&[dump(&records).as_bytes()], |paths| {
        let output = inspect(&["--plain", "--records", &paths[0]], b"");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let head = &hex(group.head().id().as_bytes())[..8];
        for part in [
            "the group was created",
            "alice renewed keys",
            "Nothing is missing: the other one only renewed keys.",
            "wins",
            "loses",
            "head, final, full",
            "readable",
            head,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }

        let output = inspect(&["--json", "--records", &paths[0]], b"");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["head"], hex(group.head().id().as_bytes()));
        let epochs = value["epochs"].as_array().unwrap();
        assert_eq!(epochs.len(), 3);
        for epoch in group.epochs() {
            let found = epochs.iter().find(|found| found["id"] == hex(epoch.id().as_bytes())).unwrap();
            assert_eq!(found["head"], epoch.is_head());
            assert_eq!(found["final"], epoch.is_final());
            assert_eq!(found["way"], epoch.is_on_way());
            assert_eq!(found["number"], epoch.number());
        }
        // Nothing of a record that is longer than a name is shown.
        let secret = hex(group.head().authenticator().unwrap());
        assert!(!value.to_string().contains(&secret) && !text.contains(&secret));
    });
}

#[test]
fn records_as_a_thief_sees_them() {
    let (records, _) = records(KeySchedule::Dmls);
    // By the default rule, as the command has it.
    let group = Group::load(&records, Config::new(AcceptAnyCredential)).unwrap();
    let report = group.exposure_report(Time(1_800_086_400));
    with_files(&[dump(&records).as_bytes()], |paths| {
        let args = ["--records", &paths[0], "--exposure", "--now", "1800086400"];
        let output = inspect(&args, b"");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text, report.to_string());
        assert!(text.contains("24 h") && text.contains("the head"), "{text}");

        let output = inspect(&[&args[..], &["--json"]].concat(), b"");
        let value = &objects(&output)[0];
        let epochs = value["epochs"].as_array().unwrap();
        assert_eq!((epochs.len(), &value["erased"]), (report.epochs.len(), &report.erased.into()));
        for (told, epoch) in epochs.iter().zip(&report.epochs) {
            assert_eq!(told["id"], hex(epoch.id.as_bytes()));
            assert_eq!(told["kept"]["text"], epoch.kept.to_string());
            assert_eq!(told["messages"]["unused"], epoch.messages.unused);
            let punctured = epoch.processing.as_ref().and_then(|keys| keys.punctured);
            assert_eq!(told["processing"]["punctured"].as_u64(), punctured.map(|count| count as u64));
        }
        let secret = hex(group.head().authenticator().unwrap());
        assert!(!value.to_string().contains(&secret) && !text.contains(&secret));
    });
    assert_eq!(inspect(&["--exposure", "00"], b"").status.code(), Some(2));
}

#[test]
fn records_of_the_other_key_schedule() {
    let dump = dump(&records(KeySchedule::Rfc9420).0);
    let output = inspect(&["--json", "--records", "-"], dump.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(objects(&output)[0]["key_schedule"], "rfc9420");
}

#[test]
fn damaged_records() {
    let (records, _) = records(KeySchedule::Dmls);
    let whole = dump(&records);
    let line = whole.lines().next_back().unwrap();
    let changed = |from: &str, to: &str| whole.replacen(from, to, 1);
    let last = format!("{}{}", &line[..line.len() - 1], if line.ends_with('0') { '1' } else { '0' });
    for (dump, expected) in [
        (String::new(), "missing"),
        (whole.clone() + line + "\n", "for the second time"),
        (whole.clone() + "zz 00\n", "the key is not hex digits"),
        (whole.clone() + "ff 0\n", "the value is not hex digits"),
        (whole.clone() + "ff 00 00\n", "more than a key and a value"),
        (whole.clone() + "ff\n", "a record of no known kind"),
        (changed(line, &last), "damaged"),
    ] {
        let output = inspect(&["--records", "-"], dump.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{expected}");
        assert!(output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let output = inspect(&["--json", "--records", "-"], b"x");
    assert_eq!(output.status.code(), Some(1));
    assert!(objects(&output)[0]["error"]["message"].as_str().unwrap().contains("line 1"));
    assert_eq!(inspect(&["--records", "no-such-file"], b"").status.code(), Some(1));
    assert_eq!(inspect(&["--records", "-", "another"], b"").status.code(), Some(2));
}
