//! A person moves to another computer, by real processes: the group goes on, and where the profile was it opens no more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const INIT: [&str; 6] = ["init", "--folder", "shared", "--no-passphrase", "--patience", "0"];
const EXPORT: [&str; 4] = ["export", "stick/alice.dmls", "--phrase-file", "slip"];
const IMPORT: [&str; 5] = ["import", "stick/alice.dmls", "--phrase-file", "slip", "--no-passphrase"];

fn command(home: &Path, profile: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmls"));
    command.env_remove("DMLS_PROFILE").env_remove("DMLS_PASSPHRASE_FILE").current_dir(home);
    command.args(["--profile", profile]).args(arguments);
    command
}

/// Exit code, standard output and standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn dmls(home: &TempDir, profile: &str, arguments: &[&str]) -> (i32, String, String) {
    told(&command(home.path(), profile, arguments).output().unwrap())
}

/// It works, and says nothing beside what was asked for.
fn well(home: &TempDir, profile: &str, arguments: &[&str]) -> String {
    let (code, out, err) = dmls(home, profile, arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{profile} {arguments:?}: {out}");
    out
}

/// It fails, and says so.
fn ill(home: &TempDir, profile: &str, arguments: &[&str], parts: &[&str]) {
    let (code, out, err) = dmls(home, profile, arguments);
    assert_eq!(code, 1, "{profile} {arguments:?}: {out}{err}");
    assert!(parts.iter().all(|part| err.contains(part)), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

/// Alice and Bob have talked.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for directory in ["shared", "stick"] {
        fs::create_dir(home.path().join(directory)).unwrap();
    }
    well(&home, "alice", &[&INIT[..], &["--name", "Alice"]].concat());
    well(&home, "bob", &[&INIT[..], &["--name", "Bob"]].concat());
    well(&home, "alice", &["group", "create", "friends"]);
    well(&home, "alice", &["group", "invite", "friends", "Bob"]);
    well(&home, "bob", &["send", "friends", "hello Alice"]);
    well(&home, "alice", &["send", "friends", "hello Bob"]);
    home
}

fn messages(home: &TempDir, profile: &str) -> Vec<String> {
    let out = well(home, profile, &["read", "friends", "--messages"]);
    out.lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect()
}

fn authenticator(home: &TempDir, profile: &str) -> String {
    let out = well(home, profile, &["heads", "--json"]);
    out.split("\"authenticator\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn the_group_goes_on() {
    let home = home();
    // Something waits in the outbox, and something comes meanwhile.
    dmls(&home, "alice", &["--offline", "send", "friends", "from the old place"]);
    let out = well(&home, "alice", &[&EXPORT[..], &["--json"]].concat());
    let file = home.path().join("stick/alice.dmls");
    assert_eq!(out, format!("{{\"file\":\"{}\",\"erased\":true}}\n", file.display()));
    well(&home, "bob", &["send", "friends", "where are you?"]);
    let out = well(&home, "alice-2", &IMPORT);
    assert!(out.contains("You are Alice in alice-2; groups: 1."), "{out}");
    well(&home, "alice-2", &["send", "friends", "in a new place"]);
    well(&home, "bob", &["send", "friends", "welcome"]);
    // A commit of hers, and one of his.
    well(&home, "alice-2", &["group", "update", "friends"]);
    well(&home, "bob", &["group", "update", "friends"]);
    let all = [
        "Bob: hello Alice",
        "Alice: hello Bob",
        "Alice: from the old place",
        "Bob: where are you?",
        "Alice: in a new place",
        "Bob: welcome",
    ];
    for profile in ["alice-2", "bob"] {
        let mut read = messages(&home, profile);
        read.sort();
        let mut all = all.map(str::to_owned);
        all.sort();
        assert_eq!(read, all, "{profile}");
    }
    assert_eq!(authenticator(&home, "alice-2"), authenticator(&home, "bob"));
}

#[test]
fn where_it_was_it_opens_no_more() {
    let home = home();
    let fingerprint = well(&home, "alice", &["contacts"]).lines().next().unwrap().to_owned();
    well(&home, "alice", &EXPORT);
    let file = home.path().join("stick/alice.dmls").display().to_string();
    let commands: [&[&str]; 14] = [
        &["key-package"],
        &["group", "list"],
        &["heads"],
        &["send", "friends", "x"],
        &["read", "friends"],
        &["sync"],
        &["chat"],
        &["contacts"],
        &["exposure"],
        &["doctor"],
        &["folder", "prune"],
        &["settings"],
        &["export", "other", "--phrase-file", "other-slip"],
        &["init", "--name", "A", "--folder", "shared", "--no-passphrase"],
    ];
    for arguments in commands {
        ill(&home, "alice", arguments, &["was exported into", &file, "dmls import", "goes on"]);
    }
    assert!(!home.path().join("other-slip").exists());
    // Nothing opens it: neither its key is left nor what it held.
    assert!(!home.path().join("alice/key").exists());
    // It may come back.
    let out = well(&home, "alice", &[&IMPORT[..], &["--json"]].concat());
    let here = home.path().join("shared").display().to_string();
    assert!(out.starts_with("{\"name\":\"Alice\",\"fingerprint\":\"") && out.contains(&here), "{out}");
    assert_eq!(well(&home, "alice", &["contacts"]).lines().next().unwrap(), fingerprint);
    ill(&home, "alice", &IMPORT, &["alice holds a profile already"]);
}

#[test]
fn what_is_no_export_is_refused() {
    let home = home();
    let here = |name: &str| home.path().join(name);
    ill(&home, "alice", &["export", "shared", "--phrase-file", "slip"], &["shared is there already"]);
    ill(&home, "alice", &["export", "nowhere/file", "--phrase-file", "slip"], &["nowhere/file"]);
    assert!(!here("slip").exists());
    let (code, _, err) = dmls(&home, "alice", &["export", "stick/alice.dmls"]);
    assert!(code == 2 && err.contains("--phrase-file"), "{err}");
    fs::write(here("slip"), "a list of errands\n").unwrap();
    ill(&home, "alice", &EXPORT, &["slip is there already"]);
    fs::remove_file(here("slip")).unwrap();
    // All of that has changed nothing.
    assert_eq!(messages(&home, "alice").len(), 2);
    well(&home, "alice", &EXPORT);
    let slip = fs::read_to_string(here("slip")).unwrap();
    assert_eq!(slip.trim().len(), 39);

    let (code, _, err) = dmls(&home, "new", &["import", "stick/alice.dmls", "--no-passphrase"]);
    assert!(code == 2 && err.contains("--phrase-file"), "{err}");
    ill(&home, "bob", &IMPORT, &["bob holds a profile already"]);
    let with = |file: &str, slip: &str, parts: &[&str]| {
        let import = ["import", file, "--phrase-file", slip, "--no-passphrase"];
        ill(&home, "new", &import, parts);
        assert!(!here("new/profile.db").exists() && !here("new/key").exists());
        // No phrase is repeated.
        let (_, _, err) = dmls(&home, "new", &import);
        let phrase = fs::read_to_string(here(slip)).unwrap_or_default();
        assert!(phrase.is_empty() || !err.contains(&phrase[5..9]), "{err}");
    };
    let file = "stick/alice.dmls";
    let other = if slip.starts_with('0') { "1" } else { "0" };
    fs::write(here("typo"), format!("{other}{}", &slip[1..])).unwrap();
    with(file, "typo", &["first line of typo is no recovery phrase"]);
    well(&home, "other", &[&INIT[..], &["--name", "Other"]].concat());
    well(&home, "other", &["export", "stick/other.dmls", "--phrase-file", "wrong"]);
    with(file, "wrong", &["the recovery phrase is that of another file"]);
    with(file, "nowhere", &["can't read nowhere"]);
    with("nowhere", "slip", &["nowhere"]);
    with("slip", "slip", &["slip is not a file of ours"]);
    with("bob/profile.db", "slip", &["not a file of ours"]);
    let whole = fs::read(here(file)).unwrap();
    for length in [0, 11, 12, 59, 60, 1_000, whole.len() / 2, whole.len() - 1] {
        fs::write(here("cut"), &whole[..length]).unwrap();
        let parts =
            if length < 12 { "cut is not a file of ours" } else { "cut is not whole, or was changed" };
        with("cut", "slip", &[parts]);
    }
    for at in [20, 40, 50, 59, 60, 5_000, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(here("cut"), damaged).unwrap();
        with("cut", "slip", &["cut is not whole, or was changed"]);
    }
    let mut newer = whole;
    newer[15] = 2;
    fs::write(here("cut"), newer).unwrap();
    with("cut", "slip", &["format 2", "use a later one"]);
    well(&home, "new", &IMPORT);
}

#[test]
fn the_new_place_has_a_key_and_a_folder_of_its_own() {
    let home = home();
    well(&home, "alice", &EXPORT);
    let elsewhere = home.path().join("elsewhere");
    fs::write(home.path().join("pass"), "correct horse\n").unwrap();
    let import = ["import", "stick/alice.dmls", "--phrase-file", "slip", "--passphrase-file", "pass"];
    let folder = ["--folder", "elsewhere"];
    ill(&home, "new", &[&import[..], &folder].concat(), &["elsewhere is not there"]);
    fs::rename(home.path().join("shared"), &elsewhere).unwrap();
    well(&home, "new", &[&import[..], &folder].concat());
    assert!(!home.path().join("new/key").exists());
    ill(&home, "bob", &["settings", "--folder", "nowhere"], &["nowhere is not there"]);
    let out = well(&home, "bob", &["settings", "--ask", "--folder", "elsewhere", "--json"]);
    assert_eq!(out, format!("{{\"ask\":true,\"patience\":0,\"folder\":\"{}\"}}\n", elsewhere.display()));
    well(&home, "bob", &["send", "friends", "found you"]);
    let read = well(&home, "new", &["read", "friends", "--passphrase-file", "pass"]);
    assert!(read.contains("Bob: found you"), "{read}");
    let out = well(&home, "bob", &["settings", "--no-ask", "--patience", "30"]);
    assert!(out.contains("accepted as they come") && out.contains("30 seconds"), "{out}");
    let out = well(&home, "bob", &["settings", "--json"]);
    assert_eq!(out, format!("{{\"ask\":false,\"patience\":30,\"folder\":\"{}\"}}\n", elsewhere.display()));
}

#[test]
fn what_opens_a_profile_can_be_changed() {
    let home = home();
    let here = |name: &str| home.path().join("alice").join(name);
    fs::write(home.path().join("one"), "correct horse\n").unwrap();
    fs::write(home.path().join("two"), "battery staple\n").unwrap();
    assert_eq!(well(&home, "alice", &["key", "--json"]), "{\"key\":\"file\"}\n");
    let old = fs::read(here("key")).unwrap();
    // From one file to another, and from that to a passphrase.
    well(&home, "alice", &["key", "--no-passphrase"]);
    assert_ne!(fs::read(here("key")).unwrap(), old);
    let out = well(&home, "alice", &["key", "--new-passphrase-file", "one"]);
    assert_eq!(out, "Your passphrase opens the profile.\n");
    assert!(!here("key").exists() && !here("next-key").exists());
    let (code, _, err) = dmls(&home, "alice", &["heads"]);
    assert!(code == 2 && err.contains("--passphrase-file"), "{err}");
    // To another passphrase, for which that of now is needed.
    let change = ["key", "--passphrase-file", "two", "--new-passphrase-file", "two"];
    ill(&home, "alice", &change, &["wrong key or passphrase"]);
    well(&home, "alice", &["key", "--passphrase-file", "one", "--new-passphrase-file", "two"]);
    ill(&home, "alice", &["heads", "--passphrase-file", "one"], &["wrong key or passphrase"]);
    ill(
        &home,
        "alice",
        &["key", "--passphrase-file", "two", "--new-passphrase-file", "no"],
        &["can't read no"],
    );
    well(&home, "alice", &["heads", "--passphrase-file", "two"]);
    // And back.
    well(&home, "alice", &["key", "--passphrase-file", "two", "--no-passphrase"]);
    assert_eq!(messages(&home, "alice").len(), 2);
    let (code, _, err) = dmls(&home, "alice", &["key", "--no-passphrase", "--new-passphrase-file", "one"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}

/// `dmls`, killed at one of its calls to files; and the home of somebody, to be killed in many copies of it.
#[cfg(target_os = "linux")]
struct Killing {
    home: TempDir,
    library: std::path::PathBuf,
}

#[cfg(target_os = "linux")]
impl Killing {
    /// None without a C compiler.
    fn new(home: TempDir) -> Option<Self> {
        let library = home.path().join("interpose.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/tests/interpose.c");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut compile = Command::new(compiler);
        compile.args(["-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]);
        if !compile.status().is_ok_and(|status| status.success()) {
            println!("SKIPPED: no C compiler for interpose.c");
            return None;
        }
        Some(Self { home, library })
    }

    /// Before every n-th call, and in the middle of every n-th: `check` gets the copy that is left.
    fn all(&self, profile: &str, arguments: &[&str], mut check: impl FnMut(&TempDir, &str)) {
        use std::os::unix::process::ExitStatusExt;

        let stride = std::env::var("DMLS_CRASH_STRIDE").map_or(5, |stride| stride.parse().unwrap());
        let mut over = false;
        let calls = ["kill", "tear"].iter().flat_map(|how| (1..500).step_by(stride).map(move |at| (how, at)));
        for (how, at) in calls {
            // Once it comes to its end there are no more calls.
            over &= at > 1;
            if over {
                continue;
            }
            let copy = tempfile::tempdir().unwrap();
            let mut copying = Command::new("cp");
            copying.arg("-r").arg(self.home.path().join(".")).arg(copy.path());
            assert!(copying.status().unwrap().success());
            let mut command = command(copy.path(), profile, arguments);
            command.env("LD_PRELOAD", &self.library).env("INTERPOSE_DIR", copy.path());
            command.env("INTERPOSE_AT", at.to_string()).env("INTERPOSE_HOW", how);
            let killed = command.output().unwrap();
            over = killed.status.success();
            if !over {
                assert_eq!(killed.status.signal(), Some(9), "{how} {at}: {:?}", told(&killed));
                check(&copy, &format!("{how} {at}"));
            }
        }
    }
}

/// Wherever the export is killed: one profile goes on, and somebody knows its phrase.
#[test]
#[cfg(target_os = "linux")]
fn an_export_that_is_killed_is_done_again() {
    let Some(killing) = Killing::new(home()) else { return };
    let (mut here, mut half, mut gone) = (0, 0, 0);
    killing.all("alice", &EXPORT, |copy, what| {
        let (code, _, err) = dmls(copy, "alice", &["--offline", "heads"]);
        if code == 0 {
            // It was not told, so nobody can open what may be there.
            here += 1;
            let slip = fs::read_to_string(copy.path().join("slip"));
            assert_eq!(slip.unwrap_or_default(), "", "{what}");
            let _ = fs::remove_file(copy.path().join("stick/alice.dmls"));
            well(copy, "alice", &EXPORT);
        } else if err.contains("shows the recovery phrase again") {
            half += 1;
            well(copy, "alice", &EXPORT);
        } else {
            gone += 1;
            assert!(err.contains("brings it back"), "{what}: {err}");
        }
        ill(copy, "alice", &["heads"], &["was exported"]);
        well(copy, "alice-2", &[&IMPORT[..], &["--folder", "shared"]].concat());
        well(copy, "alice-2", &["send", "friends", "here I am"]);
        assert_eq!(messages(copy, "alice-2").len(), 3, "{what}");
    });
    println!("before: {here}, not erased: {half}, erased: {gone}");
    assert!(here > 0 && half > 0 && gone > 0, "before: {here}, not erased: {half}, erased: {gone}");
}

/// Wherever a change of the key is killed: one of the two opens the profile, and nothing of the other is left.
#[test]
#[cfg(target_os = "linux")]
fn a_change_of_the_key_that_is_killed_leaves_one() {
    let home = home();
    fs::write(home.path().join("pass"), "correct horse\n").unwrap();
    let Some(killing) = Killing::new(home) else { return };
    let (mut old, mut new) = (0, 0);
    killing.all("alice", &["key", "--no-passphrase"], |copy, what| {
        let before = fs::read(killing.home.path().join("alice/key")).unwrap();
        assert_eq!(messages(copy, "alice").len(), 2, "{what}");
        assert!(!copy.path().join("alice/next-key").exists(), "{what}");
        let is_old = fs::read(copy.path().join("alice/key")).unwrap() == before;
        *(if is_old { &mut old } else { &mut new }) += 1;
    });
    killing.all("alice", &["key", "--new-passphrase-file", "pass"], |copy, what| {
        let by_passphrase = ["read", "friends", "--messages", "--passphrase-file", "pass"];
        assert_eq!(well(copy, "alice", &by_passphrase).lines().count(), 2, "{what}");
        assert!(!copy.path().join("alice/next-key").exists(), "{what}");
        let is_old = copy.path().join("alice/key").exists();
        *(if is_old { &mut old } else { &mut new }) += 1;
        assert_eq!(dmls(copy, "alice", &["heads"]).0 == 0, is_old, "{what}");
        // And what was begun can be done now.
        well(copy, "alice", &[&by_passphrase[3..], &["key", "--no-passphrase"]].concat());
    });
    println!("the old one: {old}, the new one: {new}");
    assert!(old > 0 && new > 0, "the old one: {old}, the new one: {new}");
}

/// Wherever the import is killed: it is done, or can be done again.
#[test]
#[cfg(target_os = "linux")]
fn an_import_that_is_killed_is_done_again() {
    let home = home();
    well(&home, "alice", &EXPORT);
    let Some(killing) = Killing::new(home) else { return };
    let (mut before, mut after) = (0, 0);
    // To another place, and back to where it was.
    for place in ["alice-2", "alice"] {
        killing.all(place, &IMPORT, |copy, what| {
            if dmls(copy, place, &["--offline", "heads"]).0 == 0 {
                after += 1;
            } else {
                before += 1;
                well(copy, place, &IMPORT);
            }
            well(copy, place, &["settings", "--folder", "shared"]);
            well(copy, place, &["send", "friends", "here I am"]);
            assert_eq!(messages(copy, place).len(), 3, "{what}");
        });
    }
    println!("before: {before}, after: {after}");
    assert!(before > 0 && after > 0, "before: {before}, after: {after}");
}
