//! What steps cost on disk, in a group small enough for every run; `examples/figures.rs` measures large ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;

use common::{key, rng};
use dmls::danger::AcceptAnyCredential;
use dmls::{
    CipherSuite, Config, Credential, Group, Identity, Lifetime, NewGroupOptions, OwnKeyPackage, Retention,
    Time,
};
use dmls_store::Profile;

const NOW: Time = Time(1_800_000_000);
const MEMBERS: usize = 64;
const ROUNDS: u64 = 30;

fn size(directory: &Path, name: &str) -> u64 {
    std::fs::metadata(directory.join(name)).map_or(0, |file| file.len())
}

#[test]
fn an_epoch_costs_what_it_may() {
    let (rng, directory) = (&mut rng(1), tempfile::tempdir().unwrap());
    let mut profile = Profile::create(directory.path(), &key(), rng).unwrap();
    let config = Config { retention: Retention::while_told(), ..Config::new(AcceptAnyCredential) };
    let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
    let identity = Identity::generate(suite, Credential::basic("founder"), rng).unwrap();
    let founding = Group::create(&identity, NewGroupOptions::default(), config.clone(), NOW, rng).unwrap();
    let id = founding.group().id().to_vec();
    let create = |changes: &dmls::Changes| profile.transaction(|tx| tx.create_group(&id, changes));
    let mut group = founding.persist(create).unwrap();
    let key_packages: Vec<OwnKeyPackage> = (1..MEMBERS)
        .map(|n| {
            let member = Identity::generate(suite, Credential::basic(format!("{n}")), rng).unwrap();
            member.key_package(Lifetime::starting(NOW, 86_400), rng).unwrap()
        })
        .collect();
    let adding =
        key_packages.iter().fold(group.commit(), |commit, own| commit.add(own.key_package().clone()));
    let added = adding.stage_confirmed(NOW, rng).unwrap();
    let added = added.persist(|changes, _| profile.transaction(|tx| tx.write_group(&id, changes))).unwrap();
    let welcome = added.epoch.welcome.unwrap();
    let mut other = Group::join(&key_packages[40], &welcome, None, config, NOW).unwrap().apply_unsaved();

    // Both commit in turn; all epochs are retained.
    let before = size(directory.path(), "profile.db");
    for n in 0..ROUNDS {
        let commit = other.commit().stage_confirmed(NOW, rng).unwrap().apply_unsaved();
        let step = group.receive(&commit.sent.message, NOW).unwrap();
        assert!(n < 2 || step.changes().size() < 32 << 10, "records of a commit: {:?}", step.changes());
        step.persist(|changes, _| profile.transaction(|tx| tx.write_group(&id, changes))).unwrap();
        let step = group.commit().stage_confirmed(NOW, rng).unwrap();
        assert!(n < 2 || step.changes().size() < 32 << 10, "records of a commit: {:?}", step.changes());
        let made = step.persist(|changes, _| profile.transaction(|tx| tx.write_group(&id, changes))).unwrap();
        other.receive(&made.sent.message, NOW).unwrap().apply_unsaved();
        let step = group.send(b"hello").seal(rng).unwrap();
        assert!(step.changes().size() < 1 << 10, "records of a message: {:?}", step.changes());
        step.persist(|changes, _| profile.transaction(|tx| tx.write_group(&id, changes))).unwrap();
    }
    let each = (size(directory.path(), "profile.db") - before) / (2 * ROUNDS);
    println!("{each} bytes for each epoch");
    assert!(each < 24 << 10, "{each} bytes for each epoch");
    // Nothing waits in the log.
    assert_eq!(size(directory.path(), "profile.db-wal"), 0);
}
