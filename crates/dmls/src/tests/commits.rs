//! Proposals and commits (RFC 9420 s12).

use super::refusals;
use super::world::{ALICE, BOB, MALLORY, NOBODY, NOW, World, commit};
use crate::credential::Credential;
use crate::crypto::KemOutput;
use crate::error::{Error, Rule};
use crate::extension::Extensions;
use crate::framing::Sender;
use crate::group::Outcome;
use crate::identity::Identity;
use crate::key_schedule::PskLookup;
use crate::message::{Commit, PreSharedKeyId, Proposal, ProposalOrRef, Psk, ReInit, ResumptionPskUsage};
use crate::registry::{ExtensionType, ProtocolVersion, WireFormat};
use crate::time::Lifetime;

refusals! { RULES:
    unknown_proposal => ProposalUnknown, |world| {
        // A group holds such a commit until the proposal comes.
        let proposals = vec![ProposalOrRef::Reference(vec![1; 32].into())];
        let framed = world.framed(Sender::Member(MALLORY), Commit { proposals, path: None }.into());
        let content = world.signed(WireFormat::PUBLIC_MESSAGE, framed, world.mallory_key());
        let (rules, psks) = (world.alice.rules(NOW), PskLookup(&|_| None));
        let epoch = world.alice.head_epoch();
        let content = epoch.public().verify(content).unwrap();
        epoch.process_commit(rules, &content, vec![0; 32].into(), psks).unwrap_err()
    };
    path_is_missing => PathMissing, |world| world.refused_commit([Proposal::Remove(BOB)]);
    committer_updates => UpdateByCommitter, |world| {
        let leaf = world.alice.head_epoch().public().member(MALLORY).unwrap().clone();
        world.refused_commit([Proposal::Update(Box::new(leaf))])
    };
    committer_removes_itself => RemoveCommitter, |world| world.refused_commit([Proposal::Remove(MALLORY)]);
    removed_leaf_is_blank => RemoveTarget, |world| world.refused_commit([Proposal::Remove(NOBODY)]);
    leaf_is_removed_twice => RepeatedLeaf, |world| {
        world.refused_commit([Proposal::Remove(BOB), Proposal::Remove(BOB)])
    };
    client_is_added_twice => RepeatedClient, |world| {
        let [one, other] = [(); 2].map(|()| Box::new(world.key_package().key_package().clone()));
        world.refused_commit([Proposal::Add(one), Proposal::Add(other)])
    };
    psk_twice => RepeatedPsk, |world| world.refused_commit([psk(), psk()]);
    extensions_twice => RepeatedGroupContextExtensions, |world| {
        let proposal = Proposal::GroupContextExtensions(extensions(world));
        world.refused_commit([proposal.clone(), proposal])
    };
    extension_that_nobody_supports => GroupContextExtensions, |world| {
        let mut extensions = extensions(world);
        extensions.set(ExtensionType(0xF0FF), Vec::new());
        world.refused_commit([Proposal::GroupContextExtensions(extensions)])
    };
    extension_that_belongs_elsewhere => ExtensionContent, |world| {
        let mut extensions = extensions(world);
        extensions.set(ExtensionType::RATCHET_TREE, Vec::new());
        world.refused_commit([Proposal::GroupContextExtensions(extensions)])
    };
    reinit_beside_another => ReInitAlone, |world| {
        let reinit = reinit(world, ProtocolVersion::MLS10);
        world.refused_commit([reinit, Proposal::Remove(BOB)])
    };
    reinit_to_an_older_version => ReInitVersion, |world| {
        let reinit = reinit(world, ProtocolVersion(0));
        world.refused_commit([reinit])
    };
    external_init_by_a_member => ExternalInitPlace, |world| world.refused_commit([external_init()]);
    external_commit_without_init => ExternalInitOnce, |world| refused_external(world, |proposals| proposals.clear());
    external_commit_adds => ExternalProposals, |world| {
        let key_package = world.key_package().key_package().clone();
        refused_external(world, |proposals| proposals.push(Proposal::Add(Box::new(key_package))))
    };
    external_commit_refers => ExternalReference, |world| {
        let proposal = world.mallory_says(Proposal::Remove(BOB));
        let Outcome::Proposal(stored) = world.accepted(&proposal) else { unreachable!("a proposal") };
        let message =
            world.external_commit(|commit| commit.proposals.push(ProposalOrRef::Reference(stored.reference)));
        world.refused(&message)
    };
    external_commit_removes_another => ExternalRemove, |world| {
        refused_external(world, |proposals| proposals.push(Proposal::Remove(BOB)))
    };
    psk_nonce => PskNonce, |world| {
        let psk = PreSharedKeyId { psk: Psk::External(b"psk".to_vec()), psk_nonce: vec![0; 31] };
        world.refused_commit([Proposal::PreSharedKey(psk)])
    };
    psk_for_a_branch => PskUsage, |world| {
        let proposal = resumption(world, ResumptionPskUsage::Branch);
        world.refused_commit([proposal])
    };
    psk_is_unknown => PskUnknown, |world| world.refused_commit([psk()]);
    group_ended => GroupEnded, |world| {
        let Proposal::ReInit(reinit) = reinit(world, ProtocolVersion::MLS10) else { unreachable!("a reinit") };
        let sent = world.mallory.commit().reinit(reinit).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
        world.mallory.confirm(&sent.id).unwrap().apply_unsaved();
        world.accepted(&sent.message);
        world.refused_commit([])
    };
}

fn psk() -> Proposal {
    let psk_nonce = vec![7; 32];
    Proposal::PreSharedKey(PreSharedKeyId { psk: Psk::External(b"psk".to_vec()), psk_nonce })
}

fn resumption(world: &World, usage: ResumptionPskUsage) -> Proposal {
    let psk = Psk::Resumption { usage, group_id: world.alice.id().to_vec(), epoch: 0 };
    Proposal::PreSharedKey(PreSharedKeyId { psk, psk_nonce: vec![7; 32] })
}

fn external_init() -> Proposal {
    Proposal::ExternalInit(KemOutput::from(vec![9; 32]))
}

fn extensions(world: &World) -> Extensions {
    world.alice.head_epoch().context().extensions.clone()
}

fn reinit(world: &World, version: ProtocolVersion) -> Proposal {
    let (cipher_suite, extensions) = (world.suite().code(), extensions(world));
    Proposal::ReInit(ReInit { group_id: b"next".to_vec(), version, cipher_suite, extensions })
}

/// An external commit with other proposals.
fn refused_external(world: &mut World, change: impl FnOnce(&mut Vec<Proposal>)) -> Error {
    let message = world.external_commit(|changed| {
        let by_value = |item: &ProposalOrRef| match item {
            ProposalOrRef::Proposal(proposal) => (**proposal).clone(),
            ProposalOrRef::Reference(_) => unreachable!("an external commit has none"),
        };
        let mut proposals = changed.proposals.iter().map(by_value).collect();
        change(&mut proposals);
        changed.proposals = commit(proposals).proposals;
    });
    world.refused(&message)
}

// Proposals are checked when they arrive, too.

#[test]
fn proposals_by_themselves() {
    let mut world = World::new();
    let mut unfit = extensions(&world);
    unfit.set(ExtensionType::EXTERNAL_PUB, Vec::new());
    let long = PreSharedKeyId { psk: Psk::External(b"psk".to_vec()), psk_nonce: vec![0; 33] };
    let table = [
        (Rule::RemoveTarget, Proposal::Remove(NOBODY)),
        (Rule::ExternalInitPlace, external_init()),
        (Rule::PskUsage, resumption(&world, ResumptionPskUsage::ReInit)),
        (Rule::PskNonce, Proposal::PreSharedKey(long)),
        (Rule::ReInitVersion, reinit(&world, ProtocolVersion(0))),
        (Rule::ExtensionContent, Proposal::GroupContextExtensions(unfit)),
        (Rule::KeySchedule, Proposal::GroupContextExtensions(Extensions::new())),
    ];
    for (rule, proposal) in table {
        assert_eq!(world.refused_proposal(proposal), rule.into());
    }
}

#[test]
fn a_member_is_added_again() {
    let mut world = World::new();
    let signer = world.mallory.head_epoch().signer.duplicate();
    let again = Identity::new(world.suite(), Credential::basic("mallory again"), signer);
    let key_package = again.key_package(Lifetime::starting(NOW, 1000), &mut world.rng).unwrap();
    let add = Proposal::Add(Box::new(key_package.key_package().clone()));
    assert_eq!(world.refused_commit([add]), Rule::RepeatedClient.into());
}

/// A client lost its state, joined again from outside at its old leaf, and then finds a backup.
#[test]
fn a_former_self_learns_that_it_is_removed() {
    let mut world = World::new();
    let signer = world.mallory.head_epoch().signer.duplicate();
    world.eve = Identity::new(world.suite(), Credential::basic("mallory"), signer);
    let message = world.external_commit(|_| ());
    assert!(matches!(world.accepted(&message), Outcome::Commit(_)));
    assert_eq!(world.alice.head().members().unwrap().len(), 3);
    let outcome = world.mallory.receive(&message, NOW).unwrap().apply_unsaved();
    let Outcome::Removed(removed) = outcome else { panic!("{outcome:?}") };
    // Its tag can't be verified by who is removed: it is a claim.
    assert!(removed.wins && !removed.stands && !world.mallory.is_removed());
    let _ = world.mallory.confirm_removal(&removed.commit_id).unwrap().apply_unsaved();
    assert!(world.mallory.is_removed());
}

#[test]
fn two_external_inits() {
    let mut world = World::new();
    let error = refused_external(&mut world, |proposals| proposals.push(external_init()));
    assert_eq!(error, Rule::ExternalInitOnce.into());
}

#[test]
fn two_removals_in_an_external_commit() {
    let mut world = World::new();
    let error = refused_external(&mut world, |proposals| {
        proposals.extend([Proposal::Remove(BOB), Proposal::Remove(ALICE)]);
    });
    assert_eq!(error, Rule::ExternalRemove.into());
}

#[test]
fn an_external_commit_without_a_path() {
    let mut world = World::new();
    let message = world.external_commit(|commit| commit.path = None);
    assert_eq!(world.refused(&message), Rule::PathMissing.into());
}

/// Anyone can send one: it must not be held until a proposal comes that it may not refer to.
#[test]
fn an_external_commit_that_refers_to_an_unknown_proposal() {
    let mut world = World::new();
    let message =
        world.external_commit(|commit| commit.proposals.push(ProposalOrRef::Reference(vec![1; 32].into())));
    assert_eq!(world.refused(&message), Rule::ExternalReference.into());
}

#[test]
fn an_external_commit_with_a_broken_kem_output() {
    let mut world = World::new();
    let error = refused_external(&mut world, |proposals| {
        *proposals = vec![Proposal::ExternalInit(KemOutput::from(vec![0; 31]))];
    });
    assert_eq!(error, Rule::ExternalInitPlace.into());
}
