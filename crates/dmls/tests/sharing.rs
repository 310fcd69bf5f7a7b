//! What an epoch costs in a group of 1,024: counted, not timed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use allocation_counter::measure;
use common::{NOW, SPLIT, WHOLE, config, identity, key_package, rng};
use dmls::{Changes, Group, Level, NewGroupOptions, Outcome};
use rand_chacha::ChaCha20Rng;

const MEMBERS: usize = 1024;
const COMMITTERS: usize = 64;
const RETAINED: usize = 100;

/// Bytes of the heap that `f` takes and keeps, for each of `epochs`.
fn kept(epochs: usize, f: impl FnOnce()) -> i64 {
    measure(f).bytes_current / epochs as i64
}

/// A group in which members all over the tree have committed: the creator, and the last of them.
fn large_group(rng: &mut ChaCha20Rng) -> (Group, Group) {
    let config = config();
    let creator = identity("creator", rng);
    let founding = Group::create(&creator, NewGroupOptions::default(), config.clone(), NOW, rng);
    let mut creator = founding.unwrap().apply_unsaved();
    creator.set_network(WHOLE).apply_unsaved();
    let own: Vec<_> = (1..MEMBERS).map(|n| key_package(&identity(&format!("m{n}"), rng), rng)).collect();
    let mut commit = creator.commit();
    for own in &own {
        commit = commit.add(own.key_package().clone());
    }
    let sent = commit.stage(NOW, rng).unwrap().apply_unsaved();
    let welcome = creator.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut last = None;
    for own in own.iter().step_by(MEMBERS / COMMITTERS) {
        let mut member = Group::join(own, &welcome, None, config.clone(), NOW).unwrap().apply_unsaved();
        member.set_network(WHOLE).apply_unsaved();
        for message in &messages {
            member.receive(message, NOW).unwrap().apply_unsaved();
        }
        let sent = member.commit().stage(NOW, rng).unwrap().apply_unsaved();
        member.confirm(&sent.id).unwrap().apply_unsaved();
        messages.push(sent.message);
        last = Some(member);
    }
    for message in &messages {
        creator.receive(message, NOW).unwrap().apply_unsaved();
    }
    let mut last = last.unwrap();
    for group in [&mut creator, &mut last] {
        group.set_network(SPLIT).apply_unsaved();
    }
    (creator, last)
}

fn check_changes(what: &str, changes: &Changes) {
    let nodes = changes.iter().filter(|(key, value)| key[0] == b't' && value.is_some()).count();
    println!("{what}: {nodes} tree nodes, {} records, {} bytes", changes.len(), changes.size());
    // The direct path of a leaf and the leaf: 11.
    assert!((11..40).contains(&nodes), "{what}: {nodes} tree nodes");
    assert!(changes.size() < 48 << 10, "{what}: {} bytes", changes.size());
}

#[test]
fn an_epoch_shares_what_it_did_not_change() {
    let rng = &mut rng(1);
    let (mut creator, mut member) = large_group(rng);
    assert_eq!(creator.head().id(), member.head().id());
    assert_eq!(member.head().members().unwrap().len(), MEMBERS);

    let mut messages = Vec::with_capacity(RETAINED);
    for round in 0..RETAINED {
        let step = creator.commit().stage(NOW, rng).unwrap();
        if round == 0 {
            check_changes("the committer's", step.changes());
        }
        let sent = step.apply_unsaved();
        creator.confirm(&sent.id).unwrap().apply_unsaved();
        messages.push(sent.message);
    }
    let each = kept(RETAINED, || {
        for (round, message) in messages.iter().enumerate() {
            let step = member.receive(message, NOW).unwrap();
            if round == 0 {
                check_changes("a receiver's", step.changes());
            }
            assert!(matches!(step.apply_unsaved(), Outcome::Commit(_)));
        }
    });
    println!("a retained epoch: {each} bytes");
    assert_eq!(member.epochs().filter(|epoch| epoch.level() == Level::Full).count(), RETAINED + 1);
    assert!((8 << 10..40 << 10).contains(&each), "a retained epoch costs {each} bytes");

    // Back from storage it is no different.
    let records = common::records_of(&member.snapshot());
    drop(member);
    let mut member = Group::load(&records, config()).unwrap();
    let each = -kept(RETAINED, || drop(member.delete_old_epochs().apply_unsaved()));
    println!("a loaded epoch: {each} bytes");
    assert!((8 << 10..40 << 10).contains(&each), "a loaded epoch costs {each} bytes");

    // Own epochs too.
    let each = kept(10, || {
        for _ in 0..10 {
            let sent = creator.commit().stage(NOW, rng).unwrap().apply_unsaved();
            creator.confirm(&sent.id).unwrap().apply_unsaved();
        }
    });
    println!("a retained epoch of our own: {each} bytes");
    assert!((8 << 10..40 << 10).contains(&each), "a retained epoch of our own costs {each} bytes");
}
