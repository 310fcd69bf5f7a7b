//! Damaged input: nothing panics, memory stays within bounds, and what was refused or not applied has changed nothing.
//!
//! `DMLS_MUTATIONS` says how many inputs, `DMLS_SEED` which. A failure prints seed, number and input.

#![allow(clippy::unwrap_used, reason = "a test")]

mod mutate;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use allocation_counter::{AllocationInfo, measure};
use dmls::GroupContext;
use dmls::codec::{Decode, Encode};
use dmls::crypto::Secret;
use dmls::extension::{Capabilities, Extensions, ExternalSenders, RequiredCapabilities};
use dmls::framing::{FramedContent, MlsMessage, PrivateMessage, PublicMessage};
use dmls::message::{Commit, GroupInfo, Proposal, Welcome};
use dmls::tree::{LeafNode, ParentNode, UpdatePath};
use dmls::vectors::insider;
use dmls::{CommitSummary, Credential, DmlsMessage, Error, Group, KeyPackage, OwnKeyPackage};
use mutate::mutate;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scene::{Entry, NOW, SHAPES, Scene};

/// At most so many bytes of memory at a time for each byte of input: the worst that decodes is a vector of blank nodes, one
/// byte each, in memory a whole `Option<Node>`, three times where the vector grows.
const PER_BYTE: u64 = 128;
/// And besides, for decoding alone and where a group has its part in it.
const DECODING: u64 = 4 << 10;
const PROCESSING: u64 = 256 << 10;

/// A state is compared as often as this; a comparison costs more than most inputs.
const COMPARE: u64 = 64;

fn number(name: &str, default: u64) -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a test may look at its environment")]
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Prints what was being done if it panics.
struct Case<'a> {
    what: &'a dyn std::fmt::Debug,
    seed: u64,
    number: u64,
    input: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let input = hex::encode(self.input);
            eprintln!("DMLS_SEED={}, number {}, {:?}: {input}", self.seed, self.number, self.what);
        }
    }
}

/// Runs `f` on `share` percent of all inputs, each with its own generator, within the bounds on memory.
fn run(
    share: u64,
    constant: u64,
    inputs: &[(Entry, Vec<u8>)],
    mut f: impl FnMut(u64, Entry, &[u8], &mut ChaCha20Rng),
) {
    let seed = number("DMLS_SEED", 1);
    let mut worst = (0, 0);
    for number in 0..number("DMLS_MUTATIONS", 200_000) * share / 100 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let (entry, bytes) = &inputs[rng.next_u64() as usize % inputs.len()];
        let (_, other) = &inputs[rng.next_u64() as usize % inputs.len()];
        let input = mutate(bytes, other, &mut rng);
        let _case = Case { what: entry, seed, number, input: &input };
        let AllocationInfo { bytes_max, .. } = measure(|| f(number, *entry, &input, &mut rng));
        let bound = constant + PER_BYTE * input.len() as u64;
        assert!(bytes_max <= bound, "{bytes_max} bytes of memory for {} bytes", input.len());
        worst = worst.max((bytes_max, input.len()));
    }
    println!("at most {} bytes of memory, for an input of {}", worst.0, worst.1);
}

fn state(group: &Group) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    group.snapshot().replay_into(&mut records);
    records
}

/// An error about what arrived; no bytes make it a mistake of ours.
fn of_the_sender(error: Error) -> Error {
    assert!(
        !matches!(error, Error::Usage(_) | Error::Refused(_) | Error::Crypto(_) | Error::Records(_)),
        "{error:?}"
    );
    error
}

/// What decodes encodes to the same bytes.
fn decode<T: Decode + Encode>(bytes: &[u8]) {
    if let Ok(value) = T::from_bytes(bytes) {
        assert_eq!(value.to_bytes(), bytes, "decoded and encoded again");
    }
}

fn decode_as_anything(bytes: &[u8]) {
    decode::<MlsMessage>(bytes);
    decode::<DmlsMessage>(bytes);
    // The same without the version and wire format, as it stands inside of others.
    let body = bytes.get(4..).unwrap_or_default();
    for bytes in [bytes, body] {
        decode::<PublicMessage>(bytes);
        decode::<PrivateMessage>(bytes);
        decode::<Welcome>(bytes);
        decode::<GroupInfo>(bytes);
        decode::<KeyPackage>(bytes);
        decode::<FramedContent>(bytes);
        decode::<Proposal>(bytes);
        decode::<Commit>(bytes);
        decode::<GroupContext>(bytes);
        decode::<LeafNode>(bytes);
        decode::<ParentNode>(bytes);
        decode::<UpdatePath>(bytes);
        decode::<Extensions>(bytes);
        decode::<Capabilities>(bytes);
        decode::<RequiredCapabilities>(bytes);
        decode::<ExternalSenders>(bytes);
        decode::<Credential>(bytes);
        decode::<CommitSummary>(bytes);
    }
}

fn scenes() -> Vec<Scene> {
    SHAPES.iter().map(|shape| Scene::new(*shape, 1)).collect()
}

#[test]
fn decoders() {
    let mut inputs: Vec<_> = scenes().into_iter().flat_map(|scene| scene.inputs).collect();
    // Parts, so that the decoders of what stands inside begin at its beginning.
    for (entry, bytes) in inputs.clone() {
        inputs.extend((4..bytes.len()).step_by(bytes.len() / 8 + 1).map(|at| (entry, bytes[at..].to_vec())));
    }
    run(40, DECODING, &inputs, |_, _, input, _| decode_as_anything(input));
}

#[test]
fn received_messages() {
    for mut scene in scenes() {
        let before = state(&scene.bob);
        let inputs: Vec<_> =
            scene.inputs.iter().filter(|(entry, _)| *entry == Entry::Receive).cloned().collect();
        run(12, PROCESSING, &inputs, |number, _, input, _| {
            // Not applied: whatever was decided must not show.
            let _ = scene.bob.receive(input, NOW).map_err(of_the_sender);
            if number % COMPARE == 0 {
                assert!(state(&scene.bob) == before, "the state has changed");
            }
        });
        assert!(state(&scene.bob) == before, "the state has changed");
        // And all of it can still be received.
        for (_, message) in inputs {
            let _ = scene.bob.receive(&message, NOW).unwrap().apply_unsaved();
        }
    }
}

/// The same from a member who signs whatever it sends.
#[test]
fn messages_of_a_hostile_member() {
    let mut met = BTreeSet::new();
    for mut scene in scenes().into_iter().skip(1) {
        let before = state(&scene.bob);
        let inputs: Vec<_> =
            scene.inputs.iter().filter(|(entry, _)| *entry == Entry::Receive).cloned().collect();
        run(6, PROCESSING, &inputs, |number, _, input, rng| {
            let (_, message) = &inputs[number as usize % inputs.len()];
            let mut damages = ChaCha20Rng::from_rng(rng);
            let mut damage = |content: &[u8]| mutate(content, input, &mut damages);
            let Some(message) = insider(&scene.alice, message, &mut damage, rng) else { return };
            if let Err(error) = scene.bob.receive(&message, NOW).map(drop).map_err(of_the_sender) {
                met.insert(error.to_string());
            }
            if number % COMPARE == 0 {
                assert!(state(&scene.bob) == before, "the state has changed");
            }
        });
        assert!(state(&scene.bob) == before, "the state has changed");
    }
    println!("refused for: {met:#?}");
}

#[test]
fn ways_in() {
    for scene in scenes() {
        let inputs: Vec<_> =
            scene.inputs.iter().filter(|(entry, _)| *entry != Entry::Receive).cloned().collect();
        run(2, PROCESSING, &inputs, |_, entry, input, rng| give(&scene, entry, input, rng));
    }
}

fn give(scene: &Scene, entry: Entry, input: &[u8], rng: &mut ChaCha20Rng) {
    let config = || scene.config.clone();
    match entry {
        Entry::Receive => {}
        Entry::Welcome => {
            let _ = Group::join(&scene.dave, input, Some(&scene.tree), config(), NOW).map_err(of_the_sender);
        }
        Entry::Tree => {
            let joined = Group::join(&scene.dave, &scene.welcome, Some(input), config(), NOW);
            if let Ok(founding) = joined.map_err(of_the_sender) {
                assert_eq!(founding.apply_unsaved().head().id(), &scene.joined, "joined with another tree");
            }
        }
        Entry::GroupInfo => {
            let joined = Group::join_external(&scene.erin, input, Default::default(), config(), NOW, rng);
            let _ = joined.map_err(of_the_sender);
        }
        Entry::KeyPackage => {
            let Ok(MlsMessage::KeyPackage(key_package)) = MlsMessage::from_bytes(input) else { return };
            let mut records = BTreeMap::new();
            scene.bob.snapshot().replay_into(&mut records);
            let mut bob = Group::load(&records, config()).unwrap();
            let valid = scene.inputs.iter().any(|(_, bytes)| bytes == input);
            assert_eq!(bob.propose_add(*key_package, NOW, rng).is_ok(), valid);
        }
        Entry::OwnKeyPackage => {
            let suite = scene.bob.suite();
            let _ = OwnKeyPackage::from_secret(suite, &Secret::new(input.to_vec()));
        }
    }
}

#[test]
fn stored_records() {
    for scene in scenes() {
        let keys: Vec<_> = scene.records.keys().cloned().collect();
        let values: Vec<_> = scene.records.values().map(|value| (Entry::Receive, value.clone())).collect();
        let inputs: Vec<_> =
            scene.inputs.iter().filter(|(entry, _)| *entry == Entry::Receive).cloned().collect();
        run(2, PROCESSING, &values, |_, _, input, rng| {
            let mut records = scene.records.clone();
            let key = &keys[rng.next_u64() as usize % keys.len()];
            match rng.next_u32() % 8 {
                0 => drop(records.remove(key)),
                1 => drop(records.insert(mutate(key, &[], rng), input.to_vec())),
                2 => drop(records.insert(key.clone(), input.to_vec())),
                _ => {
                    let damaged = mutate(&records[key], input, rng);
                    records.insert(key.clone(), damaged);
                }
            }
            let Ok(mut bob) = Group::load(&records, scene.config.clone()) else { return };
            // Whatever it is: it can be used, and answers.
            let _ = bob.epochs().count();
            let _ = bob.head().members();
            let _ = bob.head().group_info(NOW);
            let (_, message) = &inputs[rng.next_u64() as usize % inputs.len()];
            let _ = bob.receive(message, NOW).map(dmls::Step::apply_unsaved);
            let _ = bob.send(b"text").seal(rng).map(dmls::Step::apply_unsaved);
            let _ = bob.commit().stage(NOW, rng).map(dmls::Step::apply_unsaved);
        });
    }
}
