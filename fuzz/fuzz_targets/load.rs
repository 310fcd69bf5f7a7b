//! `Group::load`, of records of which one is damaged (PPRF, secret tree, ratchet tree, epochs, ..) and closed with a checksum
//! that fits: no panic, neither then nor in use.
#![no_main]

#[path = "../../crates/dmls/tests/scene/mod.rs"]
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use dmls::{CommitId, Group, Network, Outcome, Step};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scene::{Entry, NOW, SHAPES, Scene};

/// The letters that the keys of records begin with.
const KINDS: &[u8] = b"gnseirpowxfbhty";

/// A scene, and the records of its group once there is one of every kind.
struct Stored {
    scene: Scene,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

static STORED: LazyLock<Vec<Stored>> = LazyLock::new(|| {
    let stored: Vec<_> = SHAPES.iter().map(|shape| Stored::new(Scene::new(*shape, 1))).collect();
    let found: BTreeSet<u8> =
        stored.iter().flat_map(|stored| stored.records.keys()).map(|key| key[0]).collect();
    assert_eq!(found, BTreeSet::from_iter(KINDS.iter().copied()), "every kind of record is there");
    stored
});

impl Stored {
    fn new(mut scene: Scene) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let group = &mut scene.bob;
        for (_, message) in scene.inputs.iter().filter(|(entry, _)| *entry == Entry::Receive) {
            match group.receive(message, NOW) {
                Ok(step) if matches!(step.outcome(), Outcome::Removed(_)) => drop(step.apply_unsaved()),
                _ => {}
            }
        }
        let adding = group.commit().references(Vec::new()).add(scene.dave.key_package().clone());
        let adding = adding.stage(NOW, &mut rng).expect("bob can add").apply_unsaved();
        group.confirm(&adding.id).expect("it is pending").apply_unsaved();
        // A message of an epoch that is still to come: in a DMLS group its name is the last of it.
        if let Some((_, message)) = scene.inputs.first() {
            let mut message = message.clone();
            message.last_mut().into_iter().for_each(|byte| *byte ^= 1);
            let _ = group.receive(&message, NOW).map(Step::apply_unsaved);
        }
        // Of commits that are still to come.
        group.finalize(&CommitId::from(&[1; 32][..])).expect("there is room").apply_unsaved();
        group.block(&CommitId::from(&[2; 32][..])).expect("there is room").apply_unsaved();
        group.flushed(&CommitId::from(&[3; 32][..])).expect("there is room").apply_unsaved();
        let mut records = BTreeMap::new();
        group.snapshot().replay_into(&mut records);
        Self { scene, records }
    }
}

/// Closes a record as a store's writer does.
fn close(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&value);
    value.extend_from_slice(&hasher.finalize().to_be_bytes());
    value
}

// Input: shape, number of a record, then (place, byte) changes of it; or, from 128 on, a record of its own.
fuzz_target!(|input: &[u8]| {
    let [shape, record, own, rest @ ..] = input else { return };
    let Stored { scene, records } = &STORED[usize::from(*shape) % STORED.len()];
    let mut records = records.clone();
    let place = usize::from(*record) % records.len();
    let Some((key, value)) = records.iter_mut().nth(place) else { return };
    let inner = value[..value.len() - 4].to_vec();
    *value = close(key, scene::changed(&[(Entry::Receive, inner)], Entry::Receive, own & 128, rest));
    let Ok(mut group) = Group::load(&records, scene.config.clone()) else { return };
    use_it(&mut group, scene);
});

fn use_it(group: &mut Group, scene: &Scene) {
    let mut rng = ChaCha20Rng::seed_from_u64(0);
    let _ = group.head().group_info(NOW);
    for epoch in group.epochs() {
        let _ = (epoch.member_facts(), epoch.export("label", b"context", 32).is_ok());
    }
    for (_, message) in scene.inputs.iter().filter(|(entry, _)| *entry == Entry::Receive).take(3) {
        let _ = group.receive(message, NOW).map(Step::apply_unsaved);
    }
    while let Some(step) = group.resume(NOW) {
        step.apply_unsaved();
    }
    let _ = group.send(b"text").seal(&mut rng).map(Step::apply_unsaved);
    let _ = group.commit().stage(NOW, &mut rng).map(Step::apply_unsaved);
    for (entry, info) in &scene.inputs {
        if *entry == Entry::GroupInfo {
            let _ =
                group.rejoin(&scene.erin, info, Default::default(), NOW, &mut rng).map(Step::apply_unsaved);
        }
    }
    let pending: Vec<CommitId> = group.pending().map(|(id, _)| id.clone()).collect();
    for id in &pending {
        let _ = group.confirm(id).map(Step::apply_unsaved);
    }
    let claimed: Vec<CommitId> = group.claimed_removals().cloned().collect();
    for id in &claimed {
        let _ = group.confirm_removal(id).map(Step::apply_unsaved);
    }
    let commits: Vec<CommitId> = group.epochs().map(|epoch| epoch.commit_id().clone()).collect();
    group.set_network(Network::Whole).apply_unsaved();
    for id in &commits {
        let _ = group.block(id).map(Step::apply_unsaved);
        group.unblock(id).apply_unsaved();
        let _ = group.finalize(id).map(Step::apply_unsaved);
        let _ = group.flushed(id).map(dmls::Step::apply_unsaved);
    }
    let _ = group.commit().stage(NOW, &mut rng).map(Step::apply_unsaved);
}
