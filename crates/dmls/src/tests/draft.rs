//! The draft.

use super::refusals;
use super::world::{BOB, NOW, World, records};
use crate::codec::{Decode, Encode};
use crate::group::{DmlsMessage, Group, Outcome};
use crate::key_schedule::{EpochId, KeySchedule};
use crate::message::Proposal;

refusals! { RULES:
    another_key_schedule => KeySchedule, |world| {
        let (own, welcome) = world.invitation();
        world.config.schedule = KeySchedule::Rfc9420;
        world.join(&own, welcome).unwrap_err()
    };
    epoch_id_of_another_length => EpochIdLength, |world| {
        let message = renamed(world, EpochId::from(vec![0; 31]));
        world.refused(&message)
    };
    epoch_id_of_another_epoch => EpochHeader, |world| {
        let first = world.alice.epochs()[0].id.clone();
        let message = renamed(world, first);
        world.refused(&message)
    };
    commit_in_another_wrapping => Punctured, |world| {
        let message = commit_sealed_twice(world);
        world.refused(&message)
    };
}

/// A message of Mallory's in the wrong DMLSMessage.
fn renamed(world: &World, dmls_epoch: EpochId) -> Vec<u8> {
    let message = DmlsMessage::from_bytes(&world.mallory_says(Proposal::Remove(BOB))).unwrap();
    DmlsMessage { dmls_epoch, ..message }.to_bytes()
}

/// Alice processes a commit of Mallory's; Mallory encrypts the same one again.
fn commit_sealed_twice(world: &mut World) -> Vec<u8> {
    world.config.encrypt_handshake = true;
    world.mallory = Group::load(&records(&world.mallory), world.config.clone()).unwrap();
    let sent = world.mallory.commit().stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    let message = DmlsMessage::from_bytes(&sent.message).unwrap().message;
    let opened = world.alice.head_epoch().open(&world.config, message).unwrap();
    assert!(matches!(world.accepted(&sent.message), Outcome::Commit(_)));
    let message = world.private(opened.content.get().clone());
    world.wrap(message)
}

/// The header is not authenticated, so one message can come under any number of them.
#[test]
fn an_observer_remembers_no_headers_of_duplicates() {
    let mut world = World::new();
    let before = world.observer.hint_count();
    for byte in 0..10 {
        let message = renamed(&world, EpochId::from(vec![byte; 32]));
        world.observer.receive(&message, NOW).unwrap();
    }
    assert!(world.observer.hint_count() <= before + 1);
}
