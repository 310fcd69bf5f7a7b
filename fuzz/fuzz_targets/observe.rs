//! `PublicGroup`: bundles of which a part is damaged, and damaged records with a checksum that fits, with all that can be done with
//! the group then. No panic, and a refused bundle changes nothing.
#![no_main]

#[path = "../../crates/dmls/tests/scene/mod.rs"]
mod scene;

use std::cell::RefCell;
use std::collections::BTreeMap;

use dmls::{Bundle, CommitId, PublicGroup};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scene::{Entry, NOW, SHAPES, Scene};

/// A group of which everything is public, and an observer of it.
struct Stage {
    scene: Scene,
    /// In the epoch of all bundles.
    observer: PublicGroup,
    root: CommitId,
    /// Pending commits: with a proposal by reference, a removal, a Welcome.
    bundles: Vec<Bundle>,
    /// Of an observer that has followed all of them.
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

thread_local! {
    static STAGES: RefCell<Vec<Stage>> =
        RefCell::new(SHAPES[1..].iter().map(|shape| Stage::new(Scene::new(*shape, 1))).collect());
}

impl Stage {
    fn new(mut scene: Scene) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let info = scene.inputs.iter().find(|(entry, _)| *entry == Entry::GroupInfo).expect("there is one");
        let begin = || {
            let founding = PublicGroup::begin(&info.1, None, scene.config.clone());
            founding.expect("it is valid").apply_unsaved()
        };
        let observer = begin();
        let root = observer.head().commit_id().clone();
        let pending =
            scene.alice.pending().map(|(id, _)| scene.alice.bundle(id, NOW).expect("it is pending"));
        let mut bundles: Vec<_> = pending.collect();
        // Bob has a proposal of Carol's there.
        let epoch = scene.alice.head().id().clone();
        let sent = scene.bob.commit().at(&epoch).stage(NOW, &mut rng).expect("he can").apply_unsaved();
        bundles.push(scene.bob.bundle(&sent.id, NOW).expect("it is pending"));
        assert!(bundles.iter().any(|bundle| !bundle.proposals.is_empty()), "proposals by reference");
        assert!(bundles.iter().any(|bundle| bundle.welcome.is_some()), "a Welcome");
        let mut following = begin();
        for bundle in &bundles {
            let commit = &bundle.commit;
            let staged = following.stage_unattested(&root, commit, &bundle.proposals).expect("it is valid");
            staged.apply_unsaved();
            // With its GroupInfo, where groups have those that name their commits.
            let _ = following.stage(&root, bundle).map(|step| drop(step.apply_unsaved()));
        }
        let head = following.head().commit_id().clone();
        following.finalize(&head).expect("there is room").apply_unsaved();
        following.block(&CommitId::from(&[2; 32][..])).expect("there is room").apply_unsaved();
        let mut records = BTreeMap::new();
        following.snapshot().replay_into(&mut records);
        Self { scene, observer, root, bundles, records }
    }

    /// One bundle, changed in one part or replaced there by the fuzzer's own.
    fn bundle(&self, number: u8, part: u8, own: u8, changes: &[u8]) -> Bundle {
        let mut bundle = self.bundles[usize::from(number) % self.bundles.len()].clone();
        let place = match part % 4 {
            0 => &mut bundle.commit,
            1 => &mut bundle.group_info,
            2 => bundle.welcome.get_or_insert_default(),
            _ => {
                if bundle.proposals.is_empty() {
                    bundle.proposals.push(Vec::new());
                }
                &mut bundle.proposals[0]
            }
        };
        *place = scene::changed(&[(Entry::Receive, place.clone())], Entry::Receive, own & 128, changes);
        bundle
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

// Input: shape, what is damaged (below 128 a bundle, else a record), which one, its part (from 128 on, the fuzzer's own bytes
// instead), then (place, byte) changes of it.
fuzz_target!(|input: &[u8]| {
    let [shape, what, number, part, rest @ ..] = input else { return };
    STAGES.with_borrow_mut(|stages| {
        let count = stages.len();
        let stage = &mut stages[usize::from(*shape) % count];
        if *what < 128 {
            let bundle = stage.bundle(*number, *part & 127, *part, rest);
            submit(&mut stage.observer, &stage.root, &bundle);
        } else {
            load(stage, *number, *part, rest);
        }
    });
});

fn submit(observer: &mut PublicGroup, parent: &CommitId, bundle: &Bundle) {
    let _ = observer.stage(parent, bundle);
    let _ = observer.stage_unattested(parent, &bundle.commit, &bundle.proposals);
    for proposal in &bundle.proposals {
        let _ = observer.check_proposal(parent, proposal);
    }
}

fn load(stage: &Stage, number: u8, own: u8, changes: &[u8]) {
    let mut records = stage.records.clone();
    let place = usize::from(number) % records.len();
    let Some((key, value)) = records.iter_mut().nth(place) else { return };
    let inner = value[..value.len() - 4].to_vec();
    *value = close(key, scene::changed(&[(Entry::Receive, inner)], Entry::Receive, own & 128, changes));
    let Ok(mut observer) = PublicGroup::load(&records, stage.scene.config.clone()) else { return };
    let commits: Vec<_> = observer.epochs().map(|epoch| epoch.commit_id().clone()).collect();
    for bundle in &stage.bundles {
        submit(&mut observer, &stage.root, bundle);
        submit(&mut observer, &commits[0], bundle);
        let _ = observer.stage(&stage.root, bundle).map(|step| drop(step.apply_unsaved()));
    }
    for epoch in observer.epochs() {
        let _ = (epoch.members(), epoch.ratchet_tree());
    }
    for commit in &commits {
        let _ = observer.block(commit).map(|step| drop(step.apply_unsaved()));
        let _ = observer.unblock(commit).apply_unsaved();
        let _ = observer.finalize(commit).map(|step| drop(step.apply_unsaved()));
        let _ = observer.forget(commit).map(|step| drop(step.apply_unsaved()));
    }
}
