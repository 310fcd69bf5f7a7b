//! `Group::receive` from a hostile member who signs whatever it sends: reaches the rules behind the signatures.
#![no_main]

#[path = "../../crates/dmls/tests/scene/mod.rs"]
mod scene;

use std::cell::RefCell;

use dmls::vectors::insider;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scene::{Entry, NOW, SHAPES, Scene};

thread_local! {
    // The first shape has no PublicMessages to start from.
    static SCENES: RefCell<Vec<Scene>> =
        RefCell::new(SHAPES[1..].iter().map(|shape| Scene::new(*shape, 1)).collect());
}

// Input: shape, number of a valid message, then (place, byte) changes of its content; or, from 128 on, all of its content.
fuzz_target!(|input: &[u8]| {
    let [shape, number, rest @ ..] = input else { return };
    SCENES.with_borrow_mut(|scenes| {
        let count = scenes.len();
        let scene = &mut scenes[usize::from(*shape) % count];
        let message = scene::changed(&scene.inputs, Entry::Receive, number % 128, &[]);
        let mut damage = |content: &[u8]| {
            scene::changed(&[(Entry::Receive, content.to_vec())], Entry::Receive, number & 128, rest)
        };
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let Some(message) = insider(&scene.alice, &message, &mut damage, &mut rng) else { return };
        let _ = scene.bob.receive(&message, NOW);
    });
});
