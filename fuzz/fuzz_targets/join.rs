//! The ways into a group: Welcome, ratchet tree, GroupInfo, GroupInfo for a group that we have, stored key package.
#![no_main]

#[path = "../../crates/dmls/tests/scene/mod.rs"]
mod scene;

use std::cell::RefCell;

use dmls::crypto::Secret;
use dmls::{Group, OwnKeyPackage};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scene::{Entry, NOW, SHAPES, Scene};

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new(SHAPES[1], 1));
}

// Input: the way, then (place, byte) changes of what is valid there; or, from 128 on, an input of its own.
fuzz_target!(|input: &[u8]| {
    let [way, rest @ ..] = input else { return };
    SCENE.with_borrow_mut(|scene| enter(scene, *way, rest));
});

fn enter(scene: &mut Scene, way: u8, rest: &[u8]) {
    let config = scene.config.clone();
    let changed = |entry| scene::changed(&scene.inputs, entry, way & 128, rest);
    match way % 5 {
        0 => {
            let _ = Group::join(&scene.dave, &changed(Entry::Welcome), Some(&scene.tree), config, NOW);
        }
        1 => {
            let tree = changed(Entry::Tree);
            let _ = Group::join(&scene.dave, &scene.welcome, Some(&tree), config, NOW);
        }
        2 => {
            let mut rng = ChaCha20Rng::seed_from_u64(0);
            let info = changed(Entry::GroupInfo);
            let _ = Group::join_external(&scene.erin, &info, Default::default(), config, NOW, &mut rng);
        }
        3 => {
            let mut rng = ChaCha20Rng::seed_from_u64(0);
            let info = changed(Entry::GroupInfo);
            let _ = scene.bob.rejoin(&scene.erin, &info, Default::default(), NOW, &mut rng);
        }
        _ => {
            let stored = Secret::new(changed(Entry::OwnKeyPackage));
            let _ = OwnKeyPackage::from_secret(scene.bob.suite(), &stored);
        }
    }
}
