//! The draft.

use super::refusals;
use super::world::{BOB, MALLORY, NOW, World, anyone_may_join};
use crate::codec::{Decode, Encode};
use crate::extension::{ExternalJoins, Ruleset};
use crate::framing::Sender;
use crate::group::{DmlsMessage, Outcome};
use crate::key_schedule::{EpochId, KeySchedule};
use crate::message::{Proposal, ReInit};
use crate::registry::{ExtensionType, ProtocolVersion, WireFormat};

refusals! { RULES:
    another_key_schedule => KeySchedule, |world| {
        let (own, welcome) = world.invitation();
        world.config.schedule = KeySchedule::Rfc9420;
        world.join(&own, welcome).unwrap_err()
    };
    another_ruleset => Ruleset, |world| {
        let mut extensions = world.alice.head().context_extensions().unwrap().clone();
        extensions.set_content(&Ruleset { external_joins: ExternalJoins::NONE, ..Ruleset::default() });
        world.refused_commit([Proposal::GroupContextExtensions(extensions)])
    };
    external_join_of_a_newcomer => ExternalJoins, |world| {
        world.refused_newcomer(ExternalJoins::RESYNC)
    };
    proposal_in_the_other_format => HandshakeFormat, |world| {
        let framed = world.framed(Sender::Member(MALLORY), Proposal::Remove(BOB).into());
        let content = world.signed(WireFormat::PRIVATE_MESSAGE, framed, world.mallory_key());
        let message = world.private(content);
        world.refused(&world.wrap(message))
    };
    too_many_members => Members, |world| {
        *world = World::ruled(Ruleset { members: 3, ..Ruleset::default() });
        let key_package = world.key_package().key_package().clone();
        world.refused_commit([Proposal::Add(Box::new(key_package))])
    };
    successor_with_another_key_schedule => ReInitExtensions, |world| {
        let mut extensions = world.alice.head().context_extensions().unwrap().clone();
        extensions.remove(ExtensionType::DMLS);
        let (version, cipher_suite) = (ProtocolVersion::MLS10, world.suite().code());
        let reinit = ReInit { group_id: b"next".to_vec(), version, cipher_suite, extensions };
        world.refused_commit([Proposal::ReInit(reinit)])
    };
    epoch_id_of_another_length => EpochIdLength, |world| {
        let message = renamed(world, EpochId::from(vec![0; 31]));
        world.refused(&message)
    };
    epoch_id_of_another_epoch => EpochHeader, |world| {
        let first = world.alice.epochs().next().unwrap().id().clone();
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
    *world = World::with(anyone_may_join());
    let sent = world.mallory.commit().stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    let message = DmlsMessage::from_bytes(&sent.message).unwrap().message;
    let opened = world.alice.head_epoch().open(&world.config, message).unwrap();
    assert!(matches!(world.accepted(&sent.message), Outcome::Commit(_)));
    let message = world.private(opened.content.get().clone());
    world.wrap(message)
}

/// What comes from outside names the epoch under its signature (R14): the header is not enough.
#[test]
fn a_proposal_from_outside_of_another_branch() {
    let mut world = World::new();
    let sender = Sender::External(0);
    let mut framed = world.framed(sender, Proposal::Remove(BOB).into());
    framed.authenticated_data = vec![7; 32];
    let key = world.server.signer().private();
    let message = world.public(world.signed(WireFormat::PUBLIC_MESSAGE, framed, key));
    let message = world.wrap(crate::framing::MlsMessage::PublicMessage(Box::new(message)));
    assert_eq!(world.refused(&message), crate::error::Rule::EpochHeader.into());
    let observed = world.observed(&message, false);
    assert_eq!(observed, Some(Err(crate::error::Rule::EpochHeader.into())));
}
