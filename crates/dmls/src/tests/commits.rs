//! Proposals and commits (RFC 9420 s12).

use super::refusals;
use super::world::{ALICE, BOB, MALLORY, NOBODY, NOW, World, commit};
use crate::codec::Encode;
use crate::credential::Credential;
use crate::crypto::{KemOutput, ProposalRef};
use crate::error::{Error, Rule, Usage};
use crate::extension::{Extensions, RequiredCapabilities};
use crate::framing::Sender;
use crate::group::Outcome;
use crate::identity::Identity;
use crate::key_schedule::PskLookup;
use crate::message::{Commit, PreSharedKeyId, Proposal, ProposalOrRef, Psk, ReInit, ResumptionPskUsage};
use crate::registry::{CipherSuite, ExtensionType, ProtocolVersion, WireFormat};
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
    more_psks_than_can_be_counted => PskCount, |world| {
        let psk = |n: u32| {
            let psk_nonce = [&[0; 28][..], &n.to_be_bytes()].concat();
            Proposal::PreSharedKey(PreSharedKeyId { psk: Psk::External(b"psk".to_vec()), psk_nonce })
        };
        // With one less, it is that nobody has the key.
        assert_eq!(world.refused_commit((1..1 << 16).map(psk)), Rule::PskUnknown.into());
        world.refused_commit((0..1 << 16).map(psk))
    };
    group_ended => GroupEnded, |world| {
        let Proposal::ReInit(reinit) = reinit(world, ProtocolVersion::MLS10) else { unreachable!("a reinit") };
        let sent = world.mallory.commit().reinit(reinit).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
        world.mallory.confirm(&sent.id).unwrap().apply_unsaved();
        world.accepted(&sent.message);
        // Nor does one wait for a proposal that may still come.
        let proposals = vec![ProposalOrRef::Reference(vec![1; 32].into())];
        let waiting = world.mallory_says(Commit { proposals, path: None });
        assert_eq!(world.refused(&waiting), Rule::GroupEnded.into());
        world.refused_commit([])
    };
}

/// An identity is of one suite, and takes part in groups of no other.
#[test]
fn who_we_are_is_of_the_groups_suite() {
    let mut world = World::new();
    let info = world.mallory.head().group_info(NOW).unwrap();
    let refused = Err(Error::Refused(Rule::LeafSuite));
    // With a signature key of the same kind, and of another.
    for suite in [CipherSuite::X25519_CHACHA20, CipherSuite::P256_AES128] {
        let suite = world.config.provider.suite(suite).unwrap();
        let another = Identity::generate(suite, Credential::basic("alice"), &mut world.rng).unwrap();
        let rng = &mut world.rng;
        let committed = world.alice.commit().identity(another.clone()).stage(NOW, rng).map(drop);
        assert_eq!(committed, refused);
        assert_eq!(world.alice.propose_identity(&another, NOW, rng).map(drop), refused);
        assert_eq!(world.alice.rejoin(&another, &info, Default::default(), NOW, rng).map(drop), refused);
        let config = world.config.clone();
        let joined = crate::Group::join_external(&another, &info, Default::default(), config, NOW, rng);
        assert_eq!(joined.map(drop), refused);
    }
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

/// Bob's two updates, or his update and his removal.
#[test]
fn a_leaf_is_changed_twice() {
    let mut world = World::new();
    let updates = [(); 2].map(|()| stored(&mut world, |world| world.bobs_update()));
    let by_reference = |of: &[ProposalRef]| of.iter().cloned().map(ProposalOrRef::Reference).collect();
    let twice = Commit { proposals: by_reference(&updates), path: None };
    assert_eq!(world.refused(&world.mallory_says(twice)), Rule::RepeatedLeaf.into());
    let mut removed = Commit { proposals: by_reference(&updates[..1]), path: None };
    removed.proposals.extend(commit([Proposal::Remove(BOB)]).proposals);
    assert_eq!(world.refused(&world.mallory_says(removed)), Rule::RepeatedLeaf.into());
}

/// The name of a proposal that Alice has stored.
fn stored(world: &mut World, make: impl FnOnce(&mut World) -> Vec<u8>) -> ProposalRef {
    let message = make(world);
    let Outcome::Proposal(stored) = world.accepted(&message) else { unreachable!("a proposal") };
    stored.reference
}

/// "unless the list contains a Remove for the client" (s12.2): it comes back with another leaf.
#[test]
fn a_client_is_removed_and_added_again() {
    let mut world = World::new();
    let bob = Identity::new(world.suite(), Credential::basic("bob"), world.bob.signer.duplicate());
    let key_package = bob.key_package(Lifetime::starting(NOW, 1000), &mut world.rng).unwrap();
    let add = key_package.key_package().clone();
    assert_eq!(world.refused_commit([Proposal::Add(Box::new(add.clone()))]), Rule::RepeatedClient.into());
    world.mallory_commits(|commit| commit.remove(BOB).add(add.clone()));
    let bob = world.alice.head_epoch().public().member(BOB).unwrap();
    assert_eq!(*bob, add.leaf_node);
}

/// "a path is required" (s12.4): an empty list, an Update, a Remove, new extensions; not an Add or a key.
#[test]
fn a_path_is_required() {
    let mut world = World::new();
    let missing = Rule::PathMissing.into();
    assert_eq!(world.refused_commit([]), missing);
    assert_eq!(world.refused_commit([Proposal::Remove(BOB)]), missing);
    let same = Proposal::GroupContextExtensions(extensions(&world));
    assert_eq!(world.refused_commit([same]), missing);
    let update = stored(&mut world, |world| world.bobs_update());
    let update = Commit { proposals: vec![ProposalOrRef::Reference(update)], path: None };
    assert_eq!(world.refused(&world.mallory_says(update)), missing);
}

/// s12.1.7: every member must support what is required, with those whom the commit adds and without those whom it removes.
#[test]
fn new_requirements_are_met_by_all_who_are_there_afterwards() {
    let required = |world: &World, extension| {
        let mut extensions = extensions(world);
        let mut required: RequiredCapabilities = extensions.content().unwrap().unwrap();
        required.extension_types.push(extension);
        extensions.set_content(&required);
        Proposal::GroupContextExtensions(extensions)
    };
    let mut world = World::new();
    let nobody = required(&world, ExtensionType(0xF0FF));
    assert_eq!(world.refused_commit([nobody]), Rule::GroupContextExtensions.into());

    // Eve lacks one that all others have.
    let mut world = World::new();
    let all = world.eve.capabilities().clone();
    let mut less = all.clone();
    less.extensions.retain(|extension| *extension != ExtensionType::HOME_ATTESTATION);
    world.eve = world.eve.clone().with_capabilities(less);
    let attestation = required(&world, ExtensionType::HOME_ATTESTATION);
    let add = world.add(|_| ());
    let error = world.refused_commit([attestation.clone(), add.clone()]);
    assert_eq!(error, Rule::LeafRequiredCapabilities.into());
    // In whatever order: extensions first (s12.3).
    assert_eq!(world.refused_commit([add.clone(), attestation.clone()]), error);
    let Proposal::Add(key_package) = add else { unreachable!("an Add") };
    world.mallory_commits(|commit| commit.add(*key_package));
    let error = world.refused_commit([attestation.clone()]);
    assert_eq!(error, Rule::GroupContextExtensions.into());
    let error = world.refused_commit([Proposal::Remove(NOBODY), attestation.clone()]);
    assert_eq!(error, Rule::PathMissing.into());
    world.mallory_commits(|commit| commit.remove(NOBODY).proposal(attestation));
}

/// Who removes an earlier self removes one, and has another key.
#[test]
fn a_joiner_replaces_one_leaf_by_another_key() {
    let mut world = World::new();
    let signer = world.mallory.head_epoch().signer.duplicate();
    let (eve, key) = (world.eve.clone(), world.mallory.head_epoch().public().member(MALLORY).unwrap());
    let key = key.encryption_key.clone();
    world.eve = Identity::new(world.suite(), Credential::basic("mallory"), signer);
    let message = world.external_path(|path| path.leaf_node.encryption_key = key);
    assert_eq!(world.refused(&message), Rule::LeafKeyUnchanged.into());

    // Two clients of one name, and a third that takes their place.
    world.eve = Identity::new(world.suite(), Credential::basic("mallory"), eve.signer().duplicate());
    let second = world.key_package().key_package().clone();
    world.mallory_commits(|commit| commit.add(second));
    world.eve = Identity::generate(world.suite(), Credential::basic("mallory"), &mut world.rng).unwrap();
    let removes = [Proposal::Remove(MALLORY), Proposal::Remove(NOBODY)];
    let error = refused_external(&mut world, |proposals| proposals.extend(removes.clone()));
    assert_eq!(error, Rule::ExternalProposals.into());
    // One by one it may.
    let [one, _] = removes;
    let error = refused_external(&mut world, |proposals| proposals.push(one));
    assert_ne!(error, Rule::ExternalProposals.into());
}

/// s12.4: "it MUST NOT send application data until it has committed" what it saw.
#[test]
fn nothing_is_sent_before_what_was_proposed_is_committed() {
    let mut world = World::new();
    stored(&mut world, |world| world.mallory_says(Proposal::Remove(BOB)));
    let refused = world.alice.send(b"text").seal(&mut world.rng).map(drop);
    assert_eq!(refused, Err(Usage::ProposalsPending.into()));
}

/// A proposal of a type that we don't know, nor list, does not decode: it can't be in a commit (s12.2).
#[test]
fn proposals_of_unknown_types() {
    let mut world = World::new();
    let mut message = world.mallory_says(Proposal::Remove(NOBODY));
    let place = message.windows(6).position(|bytes| bytes == [0, 3, 0, 0, 0, 3]).unwrap();
    message[place] = 0xF0;
    assert!(matches!(world.refused(&message), Error::Malformed(_)));
}

/// Two extensions of one type do not decode (s13.4).
#[test]
fn extensions_of_one_type() {
    let mut world = World::new();
    let mut message = world.mallory_says(Proposal::GroupContextExtensions(extensions(&world)));
    let [one, two] = [ExtensionType::RULESET, ExtensionType::DMLS].map(|extension| extension.to_bytes());
    let list = message.windows(3).position(|bytes| bytes == [&two[..], &[0]].concat()).unwrap();
    message[list..list + 2].copy_from_slice(&one);
    assert!(matches!(world.refused(&message), Error::Malformed(_)));
}

/// s12.4.2: who was removed takes no further part.
#[test]
fn who_was_removed_is_silent() {
    let mut world = World::new();
    let sent = world.alice.commit().remove(MALLORY).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    let Outcome::Removed(removed) = world.mallory.receive(&sent.message, NOW).unwrap().apply_unsaved() else {
        panic!("not removed")
    };
    if !removed.stands {
        let _ = world.mallory.confirm_removal(&removed.commit_id).unwrap().apply_unsaved();
    }
    let not_member = Err(Usage::NotMember.into());
    assert_eq!(world.mallory.send(b"text").seal(&mut world.rng).map(drop), not_member);
    assert_eq!(world.mallory.commit().stage(NOW, &mut world.rng).map(drop), not_member);
    assert_eq!(world.mallory.propose_remove(BOB, NOW, &mut world.rng).map(drop), not_member);
}

/// "psk_nonce" is "a fresh random value of length KDF.Nh" (s8.4).
#[test]
fn nonces_of_our_keys_are_random() {
    let mut world = World::new();
    let proposed = [(); 2].map(|()| {
        let psk = Psk::External(b"psk".to_vec());
        let step = world.alice.propose_psk(psk, NOW, &mut world.rng).unwrap();
        step.outcome().reference.clone()
    });
    // A reference is the hash of all of the proposal, whose signature is deterministic.
    assert_ne!(proposed[0], proposed[1]);
}
