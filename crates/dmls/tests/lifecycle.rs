//! Proposals from outside, reinitialization, branching, and pre-shared keys, through the public interface.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dmls::codec::Encode;
use dmls::crypto::Secret;
use dmls::extension::{Extensions, ExternalSender};
use dmls::message::{Proposal, Psk, ReInit};
use dmls::registry::ProtocolVersion;
use dmls::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: Time = Time(1_800_000_000);

/// Resumption keys and external keys that the application holds.
#[derive(Default)]
struct Keys(Mutex<BTreeMap<KeyName, Vec<u8>>>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct KeyName {
    group_id: Vec<u8>,
    epoch: u64,
}

impl Keys {
    fn remember(&self, group: &Group) {
        let Psk::Resumption { group_id, epoch, .. } = group.successor_psk() else { return };
        self.0
            .lock()
            .unwrap()
            .insert(KeyName { group_id, epoch }, group.resumption_psk().as_bytes().to_vec());
    }
}

impl PreSharedKeys for Keys {
    fn external(&self, id: &[u8]) -> Option<Secret> {
        (id == b"shared").then(|| Secret::new(vec![9; 32]))
    }

    fn resumption(&self, group_id: &[u8], epoch: u64) -> Option<Secret> {
        Some(Secret::new(
            self.0.lock().unwrap().get(&KeyName { group_id: group_id.to_vec(), epoch })?.clone(),
        ))
    }
}

/// Who asks is let in, but for strangers; who calls itself "nobody" is nobody.
struct OpenDoor;

impl AuthenticationService for OpenDoor {
    fn is_valid(&self, presented: &Presented<'_>) -> bool {
        *presented.credential != Credential::basic("nobody")
    }

    fn may_propose_itself(&self, presented: &Presented<'_>) -> bool {
        *presented.credential != Credential::basic("stranger")
    }
}

struct World {
    rng: ChaCha20Rng,
    keys: Arc<Keys>,
    config: Config,
    suite: Suite,
}

impl World {
    fn new(schedule: KeySchedule) -> Self {
        let keys = Arc::new(Keys::default());
        let config = Config { schedule, psks: keys.clone(), ..Config::new(OpenDoor) };
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        Self { rng: ChaCha20Rng::seed_from_u64(5), keys, config, suite }
    }

    fn identity(&mut self, name: &str) -> Identity {
        Identity::generate(self.suite, Credential::basic(name), &mut self.rng).unwrap()
    }

    fn create(&mut self, identity: &Identity, options: NewGroupOptions) -> Group {
        Group::create(identity, options, self.config.clone(), NOW, &mut self.rng).unwrap().apply_unsaved()
    }

    fn package(&mut self, identity: &Identity) -> OwnKeyPackage {
        identity.key_package(Lifetime::starting(NOW, 86_400), &mut self.rng).unwrap()
    }

    /// Commits and confirms; gives the message and the Welcome.
    fn commit(
        &mut self,
        group: &mut Group,
        build: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let sent = build(group.commit()).stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        (sent.message, group.confirm(&sent.id).unwrap().apply_unsaved().welcome)
    }

    fn join(&mut self, own: &OwnKeyPackage, welcome: &[u8]) -> Group {
        Group::join(own, welcome, None, self.config.clone(), NOW).unwrap().apply_unsaved()
    }

    /// A group of `creator` and `member`, with that psk or without.
    fn successor(
        &mut self,
        creator: &Identity,
        member: &Identity,
        options: NewGroupOptions,
        psk: Option<Psk>,
    ) -> (Group, OwnKeyPackage, Vec<u8>) {
        let mut group = self.create(creator, options);
        let package = self.package(member);
        let add = package.key_package().clone();
        let (_, welcome) = self.commit(&mut group, |commit| match psk {
            Some(psk) => commit.add(add).psk(psk),
            None => commit.add(add),
        });
        (group, package, welcome.unwrap())
    }

    /// What a member of the old group makes of an invitation into a new one.
    fn follow(&self, old: &Group, package: &OwnKeyPackage, welcome: &[u8]) -> Result<Founding, Error> {
        old.join_successor(package, welcome, None, self.config.clone(), NOW)
    }

    fn pair(&mut self, alice: &Identity, bob: &Identity, options: NewGroupOptions) -> (Group, Group) {
        let mut a = self.create(alice, options);
        let package = self.package(bob);
        let add = package.key_package().clone();
        let (_, welcome) = self.commit(&mut a, |commit| commit.add(add));
        let b = self.join(&package, &welcome.unwrap());
        (a, b)
    }
}

fn receive(group: &mut Group, message: &[u8]) -> Outcome {
    group.receive(message, NOW).unwrap().apply_unsaved()
}

const SCHEDULES: [KeySchedule; 2] = [KeySchedule::Dmls, KeySchedule::Rfc9420];

/// RFC 9420 groups don't name epochs, so their messages from outside don't either.
fn place(group: &Group) -> GroupPlace {
    GroupPlace::from_group_info(&group.head().group_info(NOW).unwrap(), None, group.config()).unwrap()
}

#[test]
fn a_newcomer_asks_to_join_and_an_external_sender_removes() {
    for schedule in SCHEDULES {
        let mut world = World::new(schedule);
        let [alice, bob, carol, server] =
            ["alice", "bob", "carol", "server"].map(|name| world.identity(name));
        let sender = ExternalSender {
            signature_key: server.signer().public().clone(),
            credential: server.credential().clone(),
        };
        let options = NewGroupOptions { external_senders: vec![sender], ..Default::default() };
        let (mut a, mut b) = world.pair(&alice, &bob, options);

        let package = world.package(&carol);
        let request = carol.propose_to_join(&place(&a), &package).unwrap();
        for group in [&mut a, &mut b] {
            assert!(matches!(receive(group, &request), Outcome::Proposal(_)));
            assert_eq!(receive(group, &request), Outcome::Duplicate);
        }
        let (commit, welcome) = world.commit(&mut b, |commit| commit);
        assert!(matches!(receive(&mut a, &commit), Outcome::Commit(_)));
        let mut c = world.join(&package, &welcome.unwrap());

        let removal = Proposal::Remove(b.head().own_leaf().unwrap());
        let order = server.propose_as_external_sender(&place(&a), 0, removal.clone()).unwrap();
        for group in [&mut a, &mut b, &mut c] {
            assert!(matches!(receive(group, &order), Outcome::Proposal(_)));
        }
        let (commit, _) = world.commit(&mut c, |commit| commit);
        assert!(matches!(receive(&mut a, &commit), Outcome::Commit(_)));
        let Outcome::Removed(removed) = receive(&mut b, &commit) else { panic!("not removed") };
        assert!(removed.wins && !b.is_removed());
        b.confirm_removal(&removed.commit_id).unwrap().apply_unsaved();
        assert!(b.is_removed());
        assert_eq!(a.head().authenticator().unwrap(), c.head().authenticator().unwrap());
        assert_eq!(a.head().members().unwrap().len(), 2);

        let stranger = world.identity("stranger");
        let package = world.package(&stranger);
        let knock = stranger.propose_to_join(&place(&a), &package).unwrap();
        let refused = a.receive(&knock, NOW).unwrap_err();
        assert_eq!(refused, Error::Invalid(Rule::NewMemberRefused));
        let nobody = world.identity("nobody");
        let sender = ExternalSender {
            signature_key: nobody.signer().public().clone(),
            credential: nobody.credential().clone(),
        };
        let mut extensions = a.head().context_extensions().unwrap().clone();
        extensions.set_content(&dmls::extension::ExternalSenders(vec![sender]));
        let refused = a.commit().extensions(extensions).stage(NOW, &mut world.rng).unwrap_err();
        assert_eq!(refused, Error::Refused(Rule::ExternalSenderCredential));
        let forged = stranger.propose_as_external_sender(&place(&a), 0, removal).unwrap();
        let refused = a.receive(&forged, NOW).unwrap_err();
        assert_eq!(refused, Error::Invalid(Rule::ContentSignature));
    }
}

#[test]
fn a_group_is_reinitialized() {
    for schedule in SCHEDULES {
        let mut world = World::new(schedule);
        let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
        let (mut a, mut b) = world.pair(&alice, &bob, NewGroupOptions::default());
        let extensions = a.head().context_extensions().unwrap().clone();
        let reinit = ReInit {
            group_id: b"successor".to_vec(),
            version: ProtocolVersion::MLS10,
            cipher_suite: world.suite.code(),
            extensions,
        };
        let (commit, _) = world.commit(&mut a, |commit| commit.reinit(reinit.clone()));
        receive(&mut b, &commit);
        assert_eq!(b.reinit(), Some(&reinit));
        assert_eq!(a.send(b"x").seal(&mut world.rng).unwrap_err(), Error::Usage(Usage::GroupEnded));
        assert_eq!(b.commit().stage(NOW, &mut world.rng).unwrap_err(), Error::Usage(Usage::GroupEnded));

        world.keys.remember(&a);
        let options = a.successor_options().unwrap();
        let psk = Some(a.successor_psk());
        let (successor, package, welcome) = world.successor(&alice, &bob, options.clone(), psk.clone());
        let joined = world.follow(&b, &package, &welcome).unwrap();
        assert_eq!(joined.group().head().authenticator().unwrap(), successor.head().authenticator().unwrap());

        // Nothing ties it to the old group; somebody was left out; the parameters are others.
        let carol = world.identity("carol");
        let mut refused = |member: &Identity, options, psk, rule| {
            let (_, package, welcome) = world.successor(&alice, member, options, psk);
            assert_eq!(world.follow(&b, &package, &welcome).unwrap_err(), Error::Invalid(rule));
        };
        refused(&bob, options.clone(), None, Rule::WelcomePsk);
        refused(&carol, options, psk.clone(), Rule::SubgroupMembers);
        refused(&bob, NewGroupOptions::default(), psk, Rule::SubgroupParameters);
    }
}

#[test]
fn a_subgroup_branches() {
    let mut world = World::new(KeySchedule::Dmls);
    let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
    let (a, mut b) = world.pair(&alice, &bob, NewGroupOptions::default());
    world.keys.remember(&a);
    let psk = a.successor_psk();
    let (_, package, welcome) = world.successor(&alice, &bob, NewGroupOptions::default(), Some(psk.clone()));
    let _ = world.follow(&b, &package, &welcome).unwrap();
    // Such a key is for the creator, not for those who come by themselves,
    let empty = world.create(&alice, NewGroupOptions::default());
    let info = empty.head().group_info(NOW).unwrap();
    let options = ExternalJoinOptions { psks: vec![psk.clone()], ..Default::default() };
    let refused =
        Group::join_external(&bob, &info, options, world.config.clone(), NOW, &mut world.rng).unwrap_err();
    assert_eq!(refused, Error::Refused(Rule::PskUsage));
    // and has no place later on.
    let refused = b.commit().psk(psk).stage(NOW, &mut world.rng).unwrap_err();
    assert_eq!(refused, Error::Refused(Rule::PskUsage));
}

#[test]
fn pre_shared_keys_are_mixed_in() {
    for schedule in SCHEDULES {
        let mut world = World::new(schedule);
        let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
        let (mut a, mut b) = world.pair(&alice, &bob, NewGroupOptions::default());
        let (commit, _) = world.commit(&mut a, |commit| commit.psk(Psk::External(b"shared".to_vec())));
        assert!(matches!(receive(&mut b, &commit), Outcome::Commit(_)));
        assert_eq!(a.head().authenticator().unwrap(), b.head().authenticator().unwrap());
        let unknown =
            a.commit().psk(Psk::External(b"unknown".to_vec())).stage(NOW, &mut world.rng).unwrap_err();
        assert_eq!(unknown, Error::Refused(Rule::PskUnknown));
    }
}

#[test]
fn the_context_extensions_can_be_replaced_but_not_the_key_schedule() {
    let mut world = World::new(KeySchedule::Dmls);
    let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
    let (mut a, mut b) = world.pair(&alice, &bob, NewGroupOptions::default());
    let refused = a.commit().extensions(Extensions::new()).stage(NOW, &mut world.rng).unwrap_err();
    assert_eq!(refused, Error::Refused(Rule::KeySchedule));
    let mut extensions = a.head().context_extensions().unwrap().clone();
    extensions.set_content(&dmls::extension::ExternalSenders(Vec::new()));
    let (commit, _) = world.commit(&mut a, |commit| commit.extensions(extensions.clone()));
    let Outcome::Commit(new) = receive(&mut b, &commit) else { panic!("not a commit") };
    assert!(new.commit.extensions_changed);
    assert_eq!(b.head().context_extensions().unwrap().clone().to_bytes(), extensions.to_bytes());
}

#[test]
fn a_proposal_from_outside_stays_on_its_branch() {
    let mut world = World::new(KeySchedule::Dmls);
    let [alice, bob, server] = ["alice", "bob", "server"].map(|name| world.identity(name));
    let sender = ExternalSender {
        signature_key: server.signer().public().clone(),
        credential: server.credential().clone(),
    };
    let options = NewGroupOptions { external_senders: vec![sender], ..Default::default() };
    let (mut a, mut b) = world.pair(&alice, &bob, options);
    let split = NOW;
    let [one, other] = [&mut a, &mut b].map(|group| {
        let sent = group.commit().stage(NOW, &mut world.rng).unwrap().apply_unsaved();
        group.confirm(&sent.id).unwrap().apply_unsaved();
        sent
    });
    // Meant for Alice's branch; whoever carries it says that it is for Bob's.
    let order = server
        .propose_as_external_sender(&place(&a), 0, Proposal::Remove(b.head().own_leaf().unwrap()))
        .unwrap();
    a.receive(&other.message, split).unwrap().apply_unsaved();
    let mut moved: DmlsMessage = dmls::codec::Decode::from_bytes(&order).unwrap();
    moved.dmls_epoch = other.epoch.clone();
    let refused = a.receive(&moved.to_bytes(), split).unwrap_err();
    assert_eq!(refused, Error::Invalid(Rule::EpochHeader));
    let Outcome::Proposal(stored) = a.receive(&order, split).unwrap().apply_unsaved() else {
        panic!("not a proposal")
    };
    assert_eq!(stored.epoch, one.epoch);
}

#[test]
fn the_newest_update_is_committed_and_a_reinit_only_alone() {
    let mut world = World::new(KeySchedule::Rfc9420);
    let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
    let (mut a, mut b) = world.pair(&alice, &bob, NewGroupOptions::default());
    let reinit = ReInit {
        group_id: b"next".to_vec(),
        version: ProtocolVersion::MLS10,
        cipher_suite: world.suite.code(),
        extensions: Extensions::new(),
    };
    let end = b.propose(Proposal::ReInit(reinit), NOW, &mut world.rng).unwrap().apply_unsaved();
    let first = b.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved();
    let newest = b.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved();
    let unknown =
        b.propose_psk(Psk::External(b"unknown".to_vec()), NOW, &mut world.rng).unwrap().apply_unsaved();
    for message in [&end.message, &first.message, &newest.message, &unknown.message] {
        assert!(matches!(receive(&mut a, message), Outcome::Proposal(_)));
    }
    let (commit, _) = world.commit(&mut a, |commit| commit);
    let Outcome::Commit(new) = receive(&mut b, &commit) else { panic!("not a commit") };
    assert_eq!((new.commit.updated.len(), new.commit.psks, new.commit.reinit.is_none()), (1, 0, true));
    assert_eq!(a.head().authenticator().unwrap(), b.head().authenticator().unwrap());
    // Bob can read what is encrypted to his newest key: his next commit and Alice's still agree.
    let (commit, _) = world.commit(&mut a, |commit| commit);
    assert!(matches!(receive(&mut b, &commit), Outcome::Commit(_)));
}

/// Which key a Welcome named, and which commit let us in, is there after a restart.
#[test]
fn how_we_joined_is_a_record() {
    let mut world = World::new(KeySchedule::Dmls);
    let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
    let (a, b) = world.pair(&alice, &bob, NewGroupOptions::default());
    world.keys.remember(&a);
    let (successor, package, welcome) =
        world.successor(&alice, &bob, NewGroupOptions::default(), Some(a.successor_psk()));
    let joined = world.follow(&b, &package, &welcome).unwrap();
    let records = |changes: &Changes| {
        let mut records = BTreeMap::new();
        changes.replay_into(&mut records);
        records
    };
    let written = records(joined.changes());
    let holds =
        |part: &[u8]| written.values().any(|value| value.windows(part.len()).any(|window| window == part));
    assert!(holds(b.id()) && holds(successor.head().commit_id().as_bytes()));
    let loaded = Group::load(&written, world.config.clone()).unwrap();
    assert_eq!(loaded.head().commit_id(), successor.head().commit_id());
    assert_eq!(records(&loaded.snapshot()), written);
}

/// A newcomer sees which group it asks, and asks none that nobody vouches for.
#[test]
fn a_place_is_what_a_member_signed() {
    let mut world = World::new(KeySchedule::Dmls);
    world.config.ratchet_tree_in_welcome = false;
    let [alice, bob] = ["alice", "bob"].map(|name| world.identity(name));
    let a = world.create(&alice, NewGroupOptions::default());
    let (info, tree) = (a.head().group_info(NOW).unwrap(), a.head().ratchet_tree().unwrap());
    let place = |info: &[u8], tree| GroupPlace::from_group_info(info, tree, &world.config);
    assert_eq!(place(&info, Some(&tree)).unwrap().group_id(), a.id());
    let mut forged = info.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(place(&forged, Some(&tree)), Err(Rule::GroupInfoSignature.into()));
    let other = world.create(&bob, NewGroupOptions::default()).head().ratchet_tree().unwrap();
    assert_eq!(GroupPlace::from_group_info(&info, Some(&other), &world.config), Err(Rule::TreeHash.into()));
    let limits = Limits { message_size: info.len() - 1, ..Limits::default() };
    let small = Config { limits, ..world.config.clone() };
    assert_eq!(GroupPlace::from_group_info(&info, Some(&tree), &small), Err(Limit::MessageSize.into()));
}
