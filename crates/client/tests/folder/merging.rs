//! Copies of a folder that went apart are put together by copying files: the result is exactly the union.

use std::fs;
use std::path::Path;

use dmls_client::{Folder, Place, Transport};
use tempfile::TempDir;

use crate::common::{GROUP, LIMIT, PLACES, files, folder, publish, put, texts};

/// As `cp -r from/. to`: what is there already is overwritten.
fn copy(from: &Path, to: &Path) {
    for (path, content) in files(from) {
        put(&to.join(path), &content);
    }
}

/// Two that were one, and what only one of them has.
fn apart() -> ((TempDir, Folder), (TempDir, Folder)) {
    let (mut anna, mut bert) = (folder(), folder());
    for place in PLACES {
        publish(&mut anna.1, place, &format!("first for {place:?}"));
    }
    copy(anna.0.path(), bert.0.path());
    for i in 0..50 {
        publish(&mut anna.1, GROUP, &format!("anna {i}"));
        publish(&mut bert.1, GROUP, &format!("bert {i}"));
        publish(&mut anna.1, Place::People, &format!("both {i}"));
        publish(&mut bert.1, Place::People, &format!("both {i}"));
    }
    publish(&mut bert.1, Place::Requests, "bert asks");
    (anna, bert)
}

#[test]
fn the_union_in_both_orders() {
    let (mut anna, mut bert) = apart();
    let mut expected = files(anna.0.path());
    expected.extend(files(bert.0.path()));
    assert_eq!(expected.len(), 4 + 50 + 50 + 50 + 1);

    let (into_anna, into_bert) = (folder(), folder());
    copy(anna.0.path(), into_anna.0.path());
    copy(bert.0.path(), into_anna.0.path());
    copy(bert.0.path(), into_bert.0.path());
    copy(anna.0.path(), into_bert.0.path());
    for (directory, mut merged) in [into_anna, into_bert] {
        assert_eq!(files(directory.path()), expected);
        for place in PLACES {
            let mut union = texts(&mut anna.1, place);
            union.extend(texts(&mut bert.1, place));
            union.sort();
            union.dedup();
            assert_eq!(texts(&mut merged, place), union);
        }
        copy(anna.0.path(), directory.path());
        assert_eq!(files(directory.path()), expected, "once more changes nothing");
    }
}

/// What one of them removed comes back from the other, and is known there: no harm, and it is removed again.
#[test]
fn what_was_removed_comes_back() {
    let (mut anna, bert) = apart();
    let removed = crate::common::parcel(GROUP, &format!("first for {GROUP:?}"));
    anna.1.remove(GROUP, &removed.name()).unwrap();
    copy(bert.0.path(), anna.0.path());
    assert!(texts(&mut anna.1, GROUP).contains(&format!("first for {GROUP:?}")));
}

/// git does that without asking: files of the same name have the same content.
#[test]
fn by_git() {
    let (anna, bert) = apart();
    if git(anna.0.path(), &["init", "--quiet"]).is_none() {
        eprintln!("SKIPPED: no git here");
        return;
    }
    let mut expected = files(anna.0.path().join("dmls-1").as_path());
    expected.extend(files(bert.0.path().join("dmls-1").as_path()));
    git(bert.0.path(), &["init", "--quiet"]).unwrap();
    for directory in [&anna.0, &bert.0] {
        fs::write(directory.path().join(".gitignore"), "*.tmp\n").unwrap();
        fs::write(directory.path().join(".gitattributes"), "dmls-1/** -text\n").unwrap();
        // A file that is being written stays here.
        put(&directory.path().join("dmls-1/tmp/~syncthing~dmls-1-1.tmp"), b"half");
        git(directory.path(), &["add", "."]).unwrap();
        git(directory.path(), &["commit", "--quiet", "-m", "messages"]).unwrap();
        fs::remove_file(directory.path().join("dmls-1/tmp/~syncthing~dmls-1-1.tmp")).unwrap();
    }
    let other = bert.0.path().to_str().unwrap();
    git(
        anna.0.path(),
        &["pull", "--quiet", "--no-rebase", "--allow-unrelated-histories", "--no-edit", other, "HEAD"],
    )
    .unwrap();
    assert_eq!(files(&anna.0.path().join("dmls-1")), expected);

    // A clone is a folder.
    let clone = tempfile::tempdir().unwrap();
    let from = anna.0.path().to_str().unwrap();
    git(clone.path(), &["clone", "--quiet", from, "."]).unwrap();
    assert_eq!(files(&clone.path().join("dmls-1")), expected);
    Folder::open(clone.path(), LIMIT).unwrap();
}

/// Runs git without the configuration of whoever runs the tests; nothing if it is not there.
fn git(directory: &Path, arguments: &[&str]) -> Option<()> {
    let output = std::process::Command::new("git")
        .args(["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "core.autocrlf=true"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .ok()?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}
