//! What goes wrong for a person, and what the command says then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use dmls_store::{Key, Profile, Table};
use tempfile::TempDir;

/// Exit code, standard output and standard error.
fn dmls(home: &TempDir, profile: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmls"));
    command.env_remove("DMLS_PROFILE").env_remove("DMLS_PASSPHRASE_FILE").current_dir(home.path());
    let output = command.args(["--profile", profile]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("shared")).unwrap();
    fs::write(home.path().join("right"), "correct horse\n").unwrap();
    fs::write(home.path().join("wrong"), "battery staple\n").unwrap();
    home
}

const INIT: [&str; 5] = ["init", "--name", "Alice", "--folder", "shared"];

#[test]
fn without_a_profile_it_says_how_to_make_one() {
    let home = home();
    let (code, out, err) = dmls(&home, "alice", &["group", "list"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("there is no profile in alice") && err.contains("dmls init"), "{err}");
}

#[test]
fn a_profile_needs_a_name_and_a_folder_that_is_there() {
    let home = home();
    let (code, _, err) = dmls(&home, "alice", &["init", "--name", "Alice", "--no-passphrase"]);
    assert!(code == 2 && err.contains("--folder DIR"), "{err}");
    let (code, _, err) =
        dmls(&home, "alice", &["init", "--name", " ", "--folder", "shared", "--no-passphrase"]);
    assert!(code == 1 && err.contains("can't be a name"), "{err}");
    let (code, _, err) =
        dmls(&home, "bob", &["init", "--name", "Bob", "--folder", "nowhere", "--no-passphrase"]);
    assert!(code == 1 && err.contains("nowhere is not there"), "{err}");
}

#[test]
fn only_the_passphrase_opens_a_profile() {
    let home = home();
    let (code, _, err) = dmls(&home, "alice", &[&INIT[..], &["--passphrase-file", "right"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, _, err) = dmls(&home, "alice", &["group", "list", "--passphrase-file", "wrong"]);
    assert!(code == 1 && err.contains("passphrase"), "{err}");
    // Nobody can be asked.
    let (code, _, err) = dmls(&home, "alice", &["group", "list"]);
    assert!(code == 2 && err.contains("--passphrase-file"), "{err}");
    let (code, out, _) = dmls(&home, "alice", &["group", "list", "--passphrase-file", "right"]);
    assert!(code == 0 && out.contains("group create"), "{out}");
    let (code, _, err) = dmls(&home, "alice", &[&INIT[..], &["--passphrase-file", "right"]].concat());
    assert!(code == 1 && err.contains("holds a profile already"), "{err}");
}

#[test]
fn what_is_written_without_the_folder_waits_for_it() {
    let home = home();
    assert_eq!(dmls(&home, "alice", &[&INIT[..], &["--no-passphrase"]].concat()).0, 0);
    assert_eq!(dmls(&home, "alice", &["group", "create", "friends"]).0, 0);
    fs::rename(home.path().join("shared"), home.path().join("away")).unwrap();
    let (code, _, err) = dmls(&home, "alice", &["send", "friends", "hello"]);
    assert!(code == 0 && err.contains("is not there") && err.contains("kept"), "{err}");
    let (code, _, err) = dmls(&home, "alice", &["sync"]);
    assert!(code == 1 && err.contains("is not there"), "{err}");
    fs::rename(home.path().join("away"), home.path().join("shared")).unwrap();
    let (code, out, err) = dmls(&home, "alice", &["sync"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "0 taken in, 1 published.\n", ""));
}

#[test]
fn who_is_unknown_is_named() {
    let home = home();
    assert_eq!(dmls(&home, "alice", &[&INIT[..], &["--no-passphrase"]].concat()).0, 0);
    assert_eq!(dmls(&home, "alice", &["group", "create", "friends"]).0, 0);
    let (code, _, err) = dmls(&home, "alice", &["group", "invite", "friends", "Bob"]);
    assert!(code == 1 && err.contains("nobody named \"Bob\""), "{err}");
    let (code, _, err) = dmls(&home, "alice", &["send", "enemies", "hello"]);
    assert!(code == 1 && err.contains("\"enemies\""), "{err}");
    let (code, _, err) = dmls(&home, "alice", &["group", "remove", "friends", "Alice"]);
    assert!(code == 1 && err.contains("leave"), "{err}");
}

#[test]
fn an_old_copy_is_told_with_a_way_on() {
    let home = home();
    assert_eq!(dmls(&home, "alice", &[&INIT[..], &["--no-passphrase"]].concat()).0, 0);
    assert_eq!(dmls(&home, "alice", &["group", "create", "friends"]).0, 0);
    let (database, copy) = (home.path().join("alice/profile.db"), home.path().join("copy"));
    fs::copy(&database, &copy).unwrap();
    assert_eq!(dmls(&home, "alice", &["send", "friends", "hello"]).0, 0);
    fs::copy(&copy, &database).unwrap();
    let (code, _, err) = dmls(&home, "alice", &["heads"]);
    assert!(
        code == 1 && err.contains("an old copy") && err.contains("`seen`") && err.contains("rejoin"),
        "{err}"
    );
    fs::remove_file(home.path().join("alice/seen")).unwrap();
    assert_eq!(dmls(&home, "alice", &["sync"]).0, 0);
    let (code, _, err) = dmls(&home, "alice", &["send", "friends", "hello"]);
    assert!(code == 1 && err.contains("nothing may be sent here"), "{err}");
}

#[test]
fn a_damaged_group_is_named_and_stops_no_other() {
    let home = home();
    assert_eq!(dmls(&home, "alice", &[&INIT[..], &["--no-passphrase"]].concat()).0, 0);
    for group in ["friends", "family"] {
        assert_eq!(dmls(&home, "alice", &["group", "create", group]).0, 0);
    }
    let (_, out, _) = dmls(&home, "alice", &["--json", "group", "list"]);
    let friends = out.lines().find(|line| line.contains(r#""group":"friends""#)).unwrap();
    let id = friends.split(r#""id":""#).nth(1).unwrap().split('"').next().unwrap();
    let id: Vec<u8> =
        (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect();
    let directory = home.path().join("alice");
    let key = Key::random(fs::read(directory.join("key")).unwrap().try_into().unwrap());
    let mut profile = Profile::open(&directory, &key, &mut rand::rng()).unwrap();
    profile.transaction(|tx| tx.put(Table::of_group("state", &id), b"state", b"?")).unwrap();
    drop(profile);
    let (code, out, err) = dmls(&home, "alice", &["heads"]);
    assert!(code == 0 && out.starts_with("family: ") && out.lines().count() == 1, "{out}");
    assert!(err.contains("the group friends is damaged") && err.contains("group rejoin friends"), "{err}");
    assert_eq!(dmls(&home, "alice", &["send", "family", "hello"]).0, 0);
    for arguments in
        [&["send", "friends", "hello"][..], &["group", "members", "friends"], &["group", "graph", "friends"]]
    {
        let (code, _, err) = dmls(&home, "alice", arguments);
        assert!(code == 1 && err.contains("damaged"), "{arguments:?} {err}");
    }
    let (code, out, _) = dmls(&home, "alice", &["doctor"]);
    assert!(code == 1 && out.contains("bad   group friends: the group friends is damaged"), "{out}");
    let (_, out, _) = dmls(&home, "alice", &["group", "list"]);
    assert!(out.contains("the group friends is damaged") && out.contains("family: Alice"), "{out}");
    assert_eq!(dmls(&home, "alice", &["group", "rejoin", "friends"]).0, 0);
    assert_eq!(dmls(&home, "alice", &["group", "forget", "friends"]).0, 0);
    assert_eq!(dmls(&home, "alice", &["doctor"]).0, 0);
}

#[test]
fn a_profile_is_open_once() {
    let home = home();
    assert_eq!(dmls(&home, "alice", &[&INIT[..], &["--no-passphrase"]].concat()).0, 0);
    let mut follow = Command::new(env!("CARGO_BIN_EXE_dmls"))
        .args(["--profile", "alice", "sync", "--follow"])
        .current_dir(home.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It has the profile once it says something: its key package is published by then.
    let code = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let (code, _, err) = dmls(&home, "alice", &["group", "list"]);
        (code != 0).then_some((code, err))
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
    let (code, err) = code.expect("the other process holds it");
    assert!(code == 1 && err.contains("process"), "{err}");
}
