//! What a delivery service is given with a commit (R15): each rule of it, broken once.

use std::collections::BTreeMap;

use super::refusals;
use super::world::{BOB, MALLORY, NOW, World};
use crate::codec::{Decode, Encode};
use crate::error::{Error, Rule};
use crate::extension::{ExternalJoins, ExternalPub, Ruleset};
use crate::framing::MlsMessage;
use crate::group::{Bundle, CommitBuilder, DmlsMessage};
use crate::message::{GroupInfo, Proposal, Welcome};
use crate::public_group::PublicGroup;
use crate::registry::{CipherSuite, ExtensionType};

refusals! { RULES:
    a_proposal_too_many => BundleProposals, |world| {
        let proposal = world.mallory_says(Proposal::Remove(BOB));
        let stray = DmlsMessage::from_bytes(&proposal).unwrap().message.to_bytes();
        let mut bundle = bundle(world, |commit| commit);
        bundle.proposals.push(stray.clone());
        let unnamed = refused(world, &bundle);
        // As many as the commit names, and another.
        world.accepted(&proposal);
        let mut bundle = self::bundle(world, |commit| commit);
        let other = DmlsMessage::from_bytes(&world.bobs_update()).unwrap().message.to_bytes();
        let own = std::mem::replace(&mut bundle.proposals[0], other);
        assert_eq!(refused(world, &bundle), unnamed);
        bundle.proposals = vec![own.clone(), own.clone()];
        assert_eq!(refused(world, &bundle), unnamed);
        bundle.proposals = vec![own];
        accepted(world, &bundle);
        unnamed
    };
    group_info_of_another_epoch => BundleContext, |world| {
        refused_info(world, |info| info.group_context.epoch += 1)
    };
    group_info_with_another_tag => BundleTag, |world| {
        refused_info(world, |info| info.confirmation_tag = vec![9; 32].into())
    };
    group_info_of_another_member => BundleSigner, |world| refused_info(world, |info| info.signer = MALLORY);
    group_info_of_another_commit => BundleCommit, |world| {
        let none = refused_info(world, |info| info.extensions.remove(ExtensionType::COMMIT_ID));
        let other = refused_info(world, |info| info.extensions.set(ExtensionType::COMMIT_ID, vec![9; 32]));
        assert_eq!(other, none);
        none
    };
    group_info_without_a_name => BundleEpoch, |world| {
        refused_info(world, |info| info.extensions.remove(ExtensionType::DMLS_EPOCH))
    };
    external_joins_that_are_not_allowed => BundleExternalPub, |world| {
        let offer = |info: &mut GroupInfo| {
            info.extensions.set_content(&ExternalPub { external_pub: vec![9; 32].into() });
        };
        // Where they are allowed it may.
        let bundle = bundle(world, |commit| commit);
        let offering = with_info(world, bundle, offer);
        accepted(world, &offering);
        *world = World::ruled(Ruleset { external_joins: ExternalJoins::NONE, ..Ruleset::default() });
        refused_info(world, offer)
    };
    welcome_for_somebody_else => BundleWelcome, |world| {
        let own = world.key_package();
        let without = bundle(world, |commit| commit);
        let adding = bundle(world, |commit| commit.add(own.key_package().clone()));
        let welcome = adding.welcome.clone().unwrap();
        let none = refused(world, &Bundle { welcome: None, ..adding.clone() });
        assert_eq!(refused(world, &Bundle { welcome: Some(welcome), ..without }), none);
        let changes: [fn(&mut Welcome); 3] = [
            |welcome| welcome.secrets[0].new_member = vec![9; 32].into(),
            |welcome| welcome.secrets.push(welcome.secrets[0].clone()),
            |welcome| welcome.cipher_suite = CipherSuite::X25519_CHACHA20,
        ];
        for change in changes {
            let MlsMessage::Welcome(mut changed) = MlsMessage::from_bytes(adding.welcome.as_ref().unwrap()).unwrap()
            else {
                unreachable!("it is a Welcome")
            };
            change(&mut changed);
            let welcome = Some(MlsMessage::Welcome(changed).to_bytes());
            assert_eq!(refused(world, &Bundle { welcome, ..adding.clone() }), none);
        }
        accepted(world, &adding);
        none
    };
}

/// A commit of Alice's as she submits it.
fn bundle(world: &mut World, build: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>) -> Bundle {
    let sent = build(world.alice.commit()).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    world.alice.bundle(&sent.id, NOW).unwrap()
}

/// The same with another GroupInfo of hers.
fn with_info(world: &World, bundle: Bundle, change: impl FnOnce(&mut GroupInfo)) -> Bundle {
    let MlsMessage::GroupInfo(mut info) = MlsMessage::from_bytes(&bundle.group_info).unwrap() else {
        unreachable!("it is a GroupInfo")
    };
    change(&mut info);
    info.sign(&world.suite(), world.alice.head_epoch().signer.private()).unwrap();
    Bundle { group_info: MlsMessage::GroupInfo(info).to_bytes(), ..bundle }
}

fn refused_info(world: &mut World, change: impl FnOnce(&mut GroupInfo)) -> Error {
    let bundle = bundle(world, |commit| commit);
    let bundle = with_info(world, bundle, change);
    refused(world, &bundle)
}

fn records(observer: &PublicGroup) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    observer.snapshot().replay_into(&mut records);
    records
}

/// What an observer says, whom it must not change.
fn refused(world: &mut World, bundle: &Bundle) -> Error {
    let parent = world.observer.head().commit_id().clone();
    let before = records(&world.observer);
    let error = world.observer.stage(&parent, bundle).map(|step| step.outcome().clone()).unwrap_err();
    assert!(records(&world.observer) == before);
    error
}

fn accepted(world: &mut World, bundle: &Bundle) {
    let parent = world.observer.head().commit_id().clone();
    let staged = world.observer.stage(&parent, bundle).unwrap();
    drop(staged);
}

#[test]
fn group_info_that_the_committer_did_not_sign() {
    let mut world = World::new();
    let mut bundle = bundle(&mut world, |commit| commit);
    let last = bundle.group_info.len() - 1;
    bundle.group_info[last] ^= 1;
    assert_eq!(refused(&mut world, &bundle), Rule::GroupInfoSignature.into());
}

#[test]
fn nothing_follows_the_end_of_a_group() {
    let mut world = World::new();
    let (version, cipher_suite) = (crate::registry::ProtocolVersion::MLS10, world.suite().code());
    let extensions = world.alice.head().context_extensions().unwrap().clone();
    let reinit = crate::message::ReInit { group_id: b"next".to_vec(), version, cipher_suite, extensions };
    world.mallory_commits(|commit| commit.reinit(reinit));
    let commit = world.mallory_says(super::world::commit([]));
    assert_eq!(world.refused(&commit), Rule::GroupEnded.into());
}
