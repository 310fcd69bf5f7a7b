//! `Group::receive`, in each shape of group, seeded with valid messages: no panic, and nothing changes.
#![no_main]

#[path = "../../crates/dmls/tests/scene/mod.rs"]
mod scene;

use std::cell::RefCell;

use dmls::CommitId;
use libfuzzer_sys::fuzz_target;
use scene::{Entry, NOW, SHAPES, Scene};

thread_local! {
    static SCENES: RefCell<Vec<Scene>> =
        RefCell::new(SHAPES.iter().map(|shape| Scene::new(*shape, 1)).collect());
}

// Input: shape, number of a valid message, then (place, byte) changes of it; or, from 128 on, a message of its own.
fuzz_target!(|input: &[u8]| {
    let [shape, message, rest @ ..] = input else { return };
    SCENES.with_borrow_mut(|scenes| {
        let count = scenes.len();
        let scene = &mut scenes[usize::from(*shape) % count];
        let message = scene::changed(&scene.inputs, Entry::Receive, *message, rest);
        let _ = scene.bob.receive(&message, NOW);
        // What the delivery service says of a commit of that name, too.
        let commit = scene.bob.head().commit_id().clone();
        for commit in [CommitId::from(&message[..message.len().min(32)]), commit] {
            let _ = scene.bob.finalize(&commit);
            let _ = scene.bob.block(&commit);
            let _ = scene.bob.flushed(&commit);
        }
    });
});
