//! A commit of ours is possible whatever others sent: what can't be in it is named and left out.

use std::sync::Arc;

use super::world::{BOB, MALLORY, NOW, World, anyone_may_join, records};
use crate::codec::Encode;
use crate::config::Config;
use crate::credential::{AuthenticationService, Credential, Presented};
use crate::crypto::ProposalRef;
use crate::epoch::StoredProposal;
use crate::error::{Error, Rule};
use crate::extension::Extensions;
use crate::framing::Sender;
use crate::group::{Group, Outcome, SentCommit, close_record};
use crate::identity::Identity;
use crate::key_package::KeyPackage;
use crate::message::{PreSharedKeyId, Proposal, Psk, ReInit};
use crate::registry::{ExtensionType, ProtocolVersion};
use crate::time::{Lifetime, Time};
use crate::tree::{LeafIndex, LeafNodeSource, LeafPlace};

impl World {
    /// Alice stores what Mallory proposes; its name.
    fn stored(&mut self, proposal: Proposal) -> ProposalRef {
        let message = self.mallory_says(proposal);
        let Outcome::Proposal(stored) = self.accepted(&message) else { unreachable!("a proposal") };
        stored.reference
    }

    fn key_package_of(&mut self, name: &str) -> KeyPackage {
        let identity = Identity::generate(self.suite(), Credential::basic(name), &mut self.rng).unwrap();
        let own = identity.key_package(Lifetime::starting(NOW, 1000), &mut self.rng).unwrap();
        own.key_package().clone()
    }

    /// Alice commits what is stored.
    fn alice_commits(&mut self, at: Time) -> SentCommit {
        self.alice.commit().stage(at, &mut self.rng).unwrap().apply_unsaved()
    }

    /// Puts proposals into Alice's records, as if they had come in unchecked.
    fn smuggle(&mut self, sender: Sender, proposal: Proposal) -> ProposalRef {
        let mut records = records(&self.alice);
        let reference = ProposalRef::from(self.suite().hash(&[&proposal.to_bytes()]));
        let key = [b"p", self.alice.head().id().as_bytes(), reference.as_bytes()].concat();
        let stored = StoredProposal { proposal, sender, order: 0, own_update: None, message: None };
        let record = close_record(&key, &stored.record()).to_vec();
        records.insert(key, record);
        self.alice = Group::load(&records, self.config.clone()).unwrap();
        reference
    }
}

fn add(key_package: &KeyPackage) -> Proposal {
    Proposal::Add(Box::new(key_package.clone()))
}

fn psk(nonce: u8) -> Proposal {
    let psk = Psk::External(b"nobody has it".to_vec());
    Proposal::PreSharedKey(PreSharedKeyId { psk, psk_nonce: vec![nonce; 32] })
}

fn supported(world: &World, extension: Option<ExtensionType>) -> Extensions {
    let mut extensions = world.alice.head().context_extensions().unwrap().clone();
    if let Some(extension) = extension {
        extensions.set(extension, Vec::new());
    }
    extensions
}

#[test]
fn what_can_not_be_committed_is_named() {
    let mut world = World::new();
    let frank = world.key_package_of("frank");
    world.stored(add(&frank));
    let unknown_psk = world.stored(psk(1));
    let grace = world.key_package_of("grace");
    world.stored(add(&grace));
    let unsupported = Proposal::GroupContextExtensions(supported(&world, Some(ExtensionType(0xF0FF))));
    let unsupported = world.stored(unsupported);
    let same = Proposal::GroupContextExtensions(supported(&world, None));
    world.stored(same);
    let (version, cipher_suite) = (ProtocolVersion::MLS10, world.suite().code());
    let extensions = supported(&world, None);
    let reinit = ReInit { group_id: b"next".to_vec(), version, cipher_suite, extensions };
    let reinit = world.stored(Proposal::ReInit(reinit));
    let own_removal = world.stored(Proposal::Remove(LeafIndex(0)));

    let sent = world.alice_commits(NOW);
    let mut left_out = sent.left_out.clone();
    left_out.sort_by(|one, other| one.0.cmp(&other.0));
    let mut expected: Vec<(ProposalRef, Error)> = vec![
        (unknown_psk, Rule::PskUnknown.into()),
        (unsupported, Rule::GroupContextExtensions.into()),
        (reinit, Rule::ReInitAlone.into()),
        (own_removal, Rule::RemoveCommitter.into()),
    ];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(left_out, expected);
    assert_eq!(sent.commit.added.len(), 2);
}

#[test]
fn an_expired_key_package_is_left_out() {
    let mut world = World::new();
    let frank = world.key_package_of("frank");
    let expired = world.stored(add(&frank));
    world.stored(Proposal::Remove(BOB));
    let sent = world.alice_commits(Time(NOW.0 + 2000));
    assert_eq!(sent.left_out, [(expired, Rule::LeafLifetime.into())]);
    assert_eq!(sent.commit.removed[0].leaf, BOB);
}

/// Accepts everybody but frank.
struct Opinion;

impl AuthenticationService for Opinion {
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        *presented.credential != Credential::basic("frank")
    }
}

#[test]
fn an_opinion_of_our_authentication_service_leaves_out() {
    let mut world = World::new();
    let frank = world.key_package_of("frank");
    let unwanted = world.stored(add(&frank));
    let config = Config { authentication: Arc::new(Opinion), ..world.config.clone() };
    world.alice = Group::load(&records(&world.alice), config).unwrap();
    let sent = world.alice_commits(NOW);
    assert_eq!(sent.left_out, [(unwanted, Rule::LeafCredential.into())]);
}

#[test]
fn what_is_requested_must_be_possible() {
    let mut world = World::new();
    let frank = world.key_package_of("frank");
    let reference = world.stored(psk(1));
    let removal = world.stored(Proposal::Remove(BOB));
    let refused = world.alice.commit().proposal(psk(2)).stage(NOW, &mut world.rng).unwrap_err();
    assert_eq!(refused, Error::Refused(Rule::PskUnknown));
    let refused = world.alice.commit().references(vec![reference]).stage(NOW, &mut world.rng).unwrap_err();
    assert_eq!(refused, Error::Refused(Rule::PskUnknown));
    let twice = world.alice.commit().add(frank.clone()).add(frank);
    assert_eq!(twice.stage(NOW, &mut world.rng).unwrap_err(), Error::Refused(Rule::RepeatedClient));
    // What is requested goes before what is stored.
    let sent = world.alice.commit().remove(BOB).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    assert!(sent.left_out.contains(&(removal, Rule::RepeatedLeaf.into())));
    assert_eq!(sent.commit.removed.len(), 1);
}

/// A key to which nothing can be encrypted, in a leaf that is signed properly.
#[test]
fn keys_that_do_not_work_are_found_and_left_out() {
    for broken in [true, false] {
        let mut world = World::with(anyone_may_join());
        world.smuggle(Sender::Member(MALLORY), Proposal::Remove(BOB));
        let mut leaf = world.alice.head_epoch().public().member(MALLORY).unwrap().clone();
        let zero = vec![0; 32].into();
        leaf.encryption_key =
            if broken { zero } else { world.suite().generate_key_pair(&mut world.rng).unwrap().public };
        leaf.source = LeafNodeSource::Update;
        let group_id = world.alice.id().to_vec();
        let place = LeafPlace { group_id: &group_id, leaf: MALLORY };
        leaf.sign(&world.suite(), world.mallory_key(), place).unwrap();
        let update = world.smuggle(Sender::Member(MALLORY), Proposal::Update(Box::new(leaf)));
        let sent = world.alice_commits(NOW);
        let names: Vec<_> = sent.left_out.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, if broken { vec![update] } else { vec![] });
        assert_eq!(sent.commit.removed.len(), 1);
    }
}

/// Many that are valid alone and not together: the commit is made, and each that is not in it is named.
#[test]
fn a_flood_of_proposals_that_do_not_fit_together() {
    let mut world = World::new();
    let frank = world.key_package_of("frank");
    world.stored(add(&frank));
    let mut stored = 1;
    for n in 0..20 {
        let group_context = Proposal::GroupContextExtensions(supported(&world, None));
        let message = world.says_with(group_context, vec![n]);
        assert!(matches!(world.alice.receive(&message, NOW).unwrap().apply_unsaved(), Outcome::Proposal(_)));
        stored += 1;
    }
    let sent = world.alice_commits(NOW);
    assert_eq!(sent.commit.added.len(), 1);
    assert_eq!(sent.left_out.len(), stored - 2);
    let repeated = Error::from(Rule::RepeatedGroupContextExtensions);
    assert!(sent.left_out.iter().any(|(_, error)| *error == repeated));
}

impl World {
    /// What Mallory says: with other authenticated data it is another message.
    fn says_with(&self, proposal: Proposal, authenticated_data: Vec<u8>) -> Vec<u8> {
        let mut framed = self.framed(Sender::Member(MALLORY), proposal.into());
        framed.authenticated_data = authenticated_data;
        let signed = self.signed(crate::registry::WireFormat::PUBLIC_MESSAGE, framed, self.mallory_key());
        let message = self.public(signed);
        self.wrap(crate::framing::MlsMessage::PublicMessage(Box::new(message)))
    }
}
