//! `Group::load`, of records of which one is damaged (PPRF, secret tree, ratchet tree, epochs, ..): no panic, neither then
//! nor in use.
#![no_main]

#[path = "../../crates/dmls/tests/scene/mod.rs"]
mod scene;

use std::sync::LazyLock;

use dmls::{Arrival, Group};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scene::{Entry, NOW, SHAPES, Scene};

static RECORDS: LazyLock<Vec<Scene>> =
    LazyLock::new(|| SHAPES.iter().map(|shape| Scene::new(*shape, 1)).collect());

/// Input: shape, number of a record, then (place, byte) changes of it; or, from 128 on, a record of its own.
fuzz_target!(|input: &[u8]| {
    let [shape, record, own, rest @ ..] = input else { return };
    let scene = &RECORDS[usize::from(*shape) % RECORDS.len()];
    let mut records = scene.records.clone();
    let place = usize::from(*record) % records.len();
    let Some((_, value)) = records.iter_mut().nth(place) else { return };
    *value = scene::changed(&[(Entry::Receive, value.clone())], Entry::Receive, own & 128, rest);
    let Ok(mut group) = Group::load(&records, scene.config.clone()) else { return };
    let mut rng = ChaCha20Rng::seed_from_u64(0);
    let _ = group.head().group_info(NOW);
    for (_, message) in scene.inputs.iter().filter(|(entry, _)| *entry == Entry::Receive).take(3) {
        let _ = group.receive(message, NOW).map(dmls::Step::apply);
    }
    let _ = group.send(b"text").seal(&mut rng).map(dmls::Step::apply);
    let _ = group.commit().stage(NOW, &mut rng).map(dmls::Step::apply);
});
