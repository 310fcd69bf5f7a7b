//! A small group with valid messages of every kind on their way to one member: the seeds of mutation and fuzzing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test and each fuzz target uses a part of it")]

use std::collections::BTreeMap;

use dmls::danger::AcceptAnyCredential;
use dmls::extension::{ExternalJoins, Ruleset};
use dmls::{
    CipherSuite, Config, Credential, EpochId, Group, Identity, KeySchedule, LeafIndex, Lifetime,
    NewGroupOptions, OwnKeyPackage, Retention, SentCommit, Time,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

pub const NOW: Time = Time(1_800_000_000);

/// What a mutated input is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `Group::receive`.
    Receive,
    /// `Group::join`.
    Welcome,
    /// `Group::join` with the Welcome as it should be: the ratchet tree.
    Tree,
    /// `Group::join_external`.
    GroupInfo,
    /// A MLSMessage(KeyPackage), for an Add.
    KeyPackage,
    /// `OwnKeyPackage::from_secret`.
    OwnKeyPackage,
}

pub struct Scene {
    pub config: Config,
    /// Who receives: bob, in the middle of things.
    pub bob: Group,
    /// A member in an epoch that bob has too.
    pub alice: Group,
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whom the Welcome is for.
    pub dave: OwnKeyPackage,
    pub welcome: Vec<u8>,
    /// Into which epoch it leads.
    pub joined: EpochId,
    pub tree: Vec<u8>,
    /// Who joins by herself.
    pub erin: Identity,
    pub inputs: Vec<(Entry, Vec<u8>)>,
}

/// How the group is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub schedule: KeySchedule,
    pub encrypt_handshake: bool,
    pub tree_in_welcome: bool,
}

pub const SHAPES: [Shape; 3] = [
    Shape { schedule: KeySchedule::Dmls, encrypt_handshake: true, tree_in_welcome: true },
    Shape { schedule: KeySchedule::Dmls, encrypt_handshake: false, tree_in_welcome: false },
    Shape { schedule: KeySchedule::Rfc9420, encrypt_handshake: false, tree_in_welcome: true },
];

struct Cast {
    config: Config,
    rng: ChaCha20Rng,
}

impl Cast {
    fn identity(&mut self, name: &str) -> Identity {
        let suite = self.config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        Identity::generate(suite, Credential::basic(name), &mut self.rng).unwrap()
    }

    fn key_package(&mut self, name: &str) -> OwnKeyPackage {
        let identity = self.identity(name);
        identity.key_package(Lifetime::starting(NOW, 86_400), &mut self.rng).unwrap()
    }

    /// A commit by value of its own, pending.
    fn commit(&mut self, group: &mut Group, add: Option<&OwnKeyPackage>) -> SentCommit {
        let mut commit = group.commit().references(Vec::new());
        if let Some(added) = add {
            commit = commit.add(added.key_package().clone());
        }
        commit.stage(NOW, &mut self.rng).unwrap().apply_unsaved()
    }

    fn join(&mut self, by: &mut Group, own: &OwnKeyPackage) -> (Group, Vec<u8>) {
        let sent = self.commit(by, Some(own));
        let tree_is_apart = !self.config.ratchet_tree_in_welcome;
        let welcome = by.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
        let tree = by.head().ratchet_tree().unwrap();
        let tree = tree_is_apart.then_some(&tree[..]);
        (Group::join(own, &welcome, tree, self.config.clone(), NOW).unwrap().apply_unsaved(), sent.message)
    }
}

fn receive(group: &mut Group, message: &[u8]) {
    let _ = group.receive(message, NOW).unwrap().apply_unsaved();
}

impl Scene {
    pub fn new(shape: Shape, seed: u64) -> Self {
        let config = Config {
            schedule: shape.schedule,
            encrypt_handshake: shape.encrypt_handshake,
            ruleset: Some(Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() }),
            offer_external_joins: true,
            ratchet_tree_in_welcome: shape.tree_in_welcome,
            retention: Retention::while_told(),
            ..Config::new(AcceptAnyCredential)
        };
        let mut cast = Cast { config: config.clone(), rng: ChaCha20Rng::seed_from_u64(seed) };

        // Alice, bob and carol, in one epoch.
        let alice = cast.identity("alice");
        let founding =
            Group::create(&alice, NewGroupOptions::default(), config.clone(), NOW, &mut cast.rng).unwrap();
        let mut alice = founding.apply_unsaved();
        let bob = cast.key_package("bob");
        let (mut bob, _) = cast.join(&mut alice, &bob);
        let carol = cast.key_package("carol");
        let (mut carol, commit) = cast.join(&mut alice, &carol);
        receive(&mut bob, &commit);

        let mut inputs = Vec::new();
        for text in ["one", "two", "three"] {
            inputs.push(
                alice
                    .send(text.as_bytes())
                    .authenticated_data(*b"data")
                    .seal(&mut cast.rng)
                    .unwrap()
                    .apply_unsaved(),
            );
        }
        let late = carol.send(b"late").seal(&mut cast.rng).unwrap().apply_unsaved();

        // A commit that refers to a proposal, another that removes bob, and those that bob can take at once.
        let dave = cast.key_package("dave");
        let frank = cast.key_package("frank").key_package().clone();
        inputs.push(alice.propose_add(frank, NOW, &mut cast.rng).unwrap().apply_unsaved().message);
        inputs.push(alice.propose_remove(LeafIndex(2), NOW, &mut cast.rng).unwrap().apply_unsaved().message);
        let by_reference = alice.commit().stage(NOW, &mut cast.rng).unwrap().apply_unsaved();
        let removal = alice.commit().references(Vec::new()).remove(LeafIndex(1));
        let removal = removal.stage(NOW, &mut cast.rng).unwrap().apply_unsaved();
        let plain = cast.commit(&mut alice, None);
        let adding = cast.commit(&mut alice, Some(&dave));
        inputs.extend([by_reference.message, removal.message, plain.message, adding.message]);
        let group_info = alice.head().group_info(NOW).unwrap();
        let mut before = BTreeMap::new();
        alice.snapshot().replay_into(&mut before);
        let before = Group::load(&before, config.clone()).unwrap();
        let welcome = alice.confirm(&adding.id).unwrap().apply_unsaved().welcome.unwrap();
        let tree = alice.head().ratchet_tree().unwrap();

        // Bob has a stored proposal, a commit of his own, a held message and, in a DMLS group, two branches.
        let update = carol.propose_update(NOW, &mut cast.rng).unwrap().apply_unsaved().message;
        receive(&mut bob, &update);
        cast.commit(&mut bob, None);
        if shape.schedule == KeySchedule::Dmls {
            let branch = cast.commit(&mut carol, None);
            receive(&mut bob, &branch.message);
            carol.confirm(&branch.id).unwrap().apply_unsaved();
        }
        inputs.push(carol.propose_update(NOW, &mut cast.rng).unwrap().apply_unsaved().message);
        inputs.push(late);

        let erin = cast.identity("erin");
        let mut all: Vec<_> = inputs.into_iter().map(|message| (Entry::Receive, message)).collect();
        {
            let options = Default::default();
            let joining =
                Group::join_external(&erin, &group_info, options, config.clone(), NOW, &mut cast.rng);
            all.push((Entry::Receive, joining.unwrap().commit().unwrap().to_vec()));
        }
        all.extend([
            (Entry::Welcome, welcome.clone()),
            (Entry::Tree, tree.clone()),
            (Entry::GroupInfo, group_info),
            (Entry::KeyPackage, cast.key_package("grace").message()),
            (Entry::OwnKeyPackage, dave.to_secret().as_bytes().to_vec()),
        ]);
        let mut records = BTreeMap::new();
        bob.snapshot().replay_into(&mut records);
        Self {
            config,
            bob,
            records,
            dave,
            welcome,
            alice: before,
            joined: alice.head().id().clone(),
            tree,
            erin,
            inputs: all,
        }
    }
}

/// An input out of a fuzzer's bytes: one of the valid ones with single bytes changed, or from `number` 128 on the fuzzer's
/// own.
pub fn changed(inputs: &[(Entry, Vec<u8>)], entry: Entry, number: u8, changes: &[u8]) -> Vec<u8> {
    if number >= 128 {
        return changes.to_vec();
    }
    let fitting: Vec<_> = inputs.iter().filter(|(of, _)| *of == entry).collect();
    let mut bytes = fitting[usize::from(number) % fitting.len()].1.clone();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]]));
        if let Some(byte) = bytes.get_mut(place) {
            *byte = change[2];
        }
    }
    bytes
}
