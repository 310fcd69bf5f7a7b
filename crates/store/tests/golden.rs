//! Profiles that format 1 wrote, in the middle of the script of `scenario`: every later version opens them and goes on to the end.
//!
//! `DMLS_GOLDEN=write cargo test -p dmls-store --test golden` writes them anew. That is right only before a first release, or for a new
//! format, beside the old ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "they are written when somebody asks for it")]

mod common;
mod scenario;

use std::path::{Path, PathBuf};

use common::{key, rng};
use dmls::Time;
use dmls_store::{Error, Export, Key, Phrase, Profile};
use scenario::{Batches, World};

/// How many transactions were done: behind the fork, with a commit of Bob's that is not confirmed.
const DONE: u32 = 17;
const PASSPHRASE: &str = "correct horse battery staple";
/// Of the exported file.
const PHRASE: &str = "Z6CN-GJ1P-9CDD-0M1X-0VHV-1PHE-TP3D-8393";
/// What the two profiles hold, and Alice's after a change of her key to the passphrase.
const DIGESTS: [u64; 2] = [8_436_514_468_528_547_157, 7_824_156_837_116_088_171];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A directory with what is committed.
fn copy() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["alice", "bob"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
        let from = golden(&format!("format-1-{name}.db"));
        std::fs::copy(from, directory.path().join(name).join("profile.db")).unwrap();
    }
    directory
}

/// Runs the script to its middle, and keeps the files.
fn write() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::open(directory.path()).unwrap();
    world.run_to(DONE, Batches::Whole, |_, _| {}).unwrap();
    println!("digests: {:?}", world.digest());
    world.alice.profile.change_key(&Key::passphrase(PASSPHRASE), &mut rng(9)).unwrap();
    drop(world);
    for name in ["alice", "bob"] {
        let from = directory.path().join(name).join("profile.db");
        std::fs::copy(from, golden(&format!("format-1-{name}.db"))).unwrap();
    }
}

#[test]
fn format_1_opens_and_goes_on() {
    if std::env::var("DMLS_GOLDEN").is_ok_and(|what| what == "write") {
        write();
    }
    let directory = copy();
    let alice = directory.path().join("alice");
    assert!(matches!(Profile::open(&alice, &key(), &mut rng(1)), Err(Error::WrongKindOfKey)));
    assert!(matches!(Profile::open(&alice, &Key::passphrase("no"), &mut rng(1)), Err(Error::WrongKey)));
    let mut profile = Profile::open(&alice, &Key::passphrase(PASSPHRASE), &mut rng(1)).unwrap();
    profile.change_key(&key(), &mut rng(2)).unwrap();
    drop(profile);
    let mut world = World::open(directory.path()).unwrap();
    assert_eq!((world.done(), world.digest()), (DONE, DIGESTS));
    world.run(Batches::Whole, |_, _| {}).unwrap();
    world.check();
}

/// Bob's, exported and imported, goes on as well. `DMLS_GOLDEN=export` writes the file anew.
#[test]
fn a_file_that_format_1_exported_is_imported() {
    let directory = copy();
    let bob = directory.path().join("bob");
    let file = golden("format-1-bob.export");
    if std::env::var("DMLS_GOLDEN").is_ok_and(|what| what == "export") {
        let _ = std::fs::remove_file(&file);
        let exported = Profile::export(&bob, &key(), &file, Time(1_800_000_000), &mut rng(5)).unwrap();
        println!("phrase: {}", *exported.phrase().text());
    }
    std::fs::remove_dir_all(&bob).unwrap();
    let export = Export::open(&file, &Phrase::parse(PHRASE).unwrap()).unwrap();
    drop(export.import(&bob, &key(), &mut rng(6)).unwrap());
    let alice = Key::passphrase(PASSPHRASE);
    let mut profile = Profile::open(&directory.path().join("alice"), &alice, &mut rng(1)).unwrap();
    profile.change_key(&key(), &mut rng(2)).unwrap();
    drop(profile);
    let mut world = World::open(directory.path()).unwrap();
    assert_eq!((world.done(), world.digest()), (DONE, DIGESTS));
    world.run(Batches::Whole, |_, _| {}).unwrap();
    world.check();
}

/// A format of the future: nobody has made one yet, so it is only the number.
#[test]
fn format_2_is_refused() {
    let directory = copy();
    let bob = directory.path().join("bob");
    let database = rusqlite::Connection::open(bob.join("profile.db")).unwrap();
    database.pragma_update(None, "user_version", 2).unwrap();
    database.close().unwrap();
    let before = std::fs::read(bob.join("profile.db")).unwrap();
    let refused = Profile::open(&bob, &key(), &mut rng(1)).unwrap_err();
    assert!(matches!(refused, Error::Format(2)));
    assert_eq!(refused.to_string(), "the profile has format 2, this version knows 1: use a later one");
    assert_eq!(std::fs::read(bob.join("profile.db")).unwrap(), before, "it was changed");
}
