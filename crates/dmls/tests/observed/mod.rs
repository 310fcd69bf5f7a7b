//! A group of three whose commits can be observed, and an observer with a disk.

use std::collections::BTreeMap;

use dmls::CommitId;
use dmls::codec::{Decode, Encode};
use dmls::crypto::{Secret, SignatureKeyPair};
use dmls::danger::AcceptAnyCredential;
use dmls::extension::{Extensions, ExternalSender, HomeAttestation};
use dmls::framing::{MlsMessage, PublicMessage};
use dmls::message::GroupInfo;
use dmls::*;
use ed25519_dalek::{Signer, SigningKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

pub const NOW: Time = Time(1_800_000_000);

pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn records_of(changes: &Changes) -> Records {
    let mut records = Records::new();
    changes.replay_into(&mut records);
    records
}

pub fn config() -> Config {
    // Without a ruleset: what the observer's limits say counts.
    Config {
        encrypt_handshake: false,
        ruleset: None,
        offer_external_joins: true,
        ..Config::new(AcceptAnyCredential)
    }
}

/// An observer whose records are compared with its memory after every step.
pub struct Observer {
    pub group: PublicGroup,
    pub records: Records,
    config: Config,
}

impl Observer {
    pub fn new(info: &[u8], config: &Config) -> Self {
        let founding = PublicGroup::begin(info, None, config.clone()).unwrap();
        let records = records_of(founding.changes());
        let observer = Self { group: founding.apply_unsaved(), records, config: config.clone() };
        observer.check();
        observer
    }

    pub fn snapshot(&self) -> Records {
        records_of(&self.group.snapshot())
    }

    fn check(&self) {
        assert!(self.records == self.snapshot(), "records and memory differ");
        let loaded = PublicGroup::load(&self.records, self.config.clone()).unwrap();
        assert!(records_of(&loaded.snapshot()) == self.records, "records and what they load differ");
        assert_eq!(loaded.head().commit_id(), self.group.head().commit_id());
    }

    pub fn restart(&mut self) {
        self.group = PublicGroup::load(&self.records, self.config.clone()).unwrap();
        self.check();
    }

    /// A step, written and applied; an error changes nothing.
    pub fn run<T>(
        &mut self,
        step: impl for<'g> FnOnce(&'g mut PublicGroup) -> Result<PublicStep<'g, T>, Error>,
    ) -> Result<T, Error> {
        let records = &mut self.records;
        let outcome = step(&mut self.group)?.persist(|changes, _| -> Result<(), Error> {
            changes.replay_into(records);
            Ok(())
        });
        self.check();
        outcome
    }

    pub fn stage(&mut self, parent: &CommitId, bundle: &Bundle) -> Result<StagedCommit, Error> {
        self.run(|group| group.stage(parent, bundle))
    }
}

/// The new epoch, which there must be.
pub fn child(outcome: Result<StagedCommit, Error>) -> PublicChild {
    match outcome {
        Ok(StagedCommit::Child(child)) => *child,
        other => panic!("{other:?}"),
    }
}

pub struct World {
    pub rng: ChaCha20Rng,
    pub config: Config,
    pub bobs: Identity,
    /// In the external_senders extension.
    pub server: Identity,
    /// What Carol's leaf says of her server.
    pub home: HomeAttestation,
    pub alice: Group,
    pub bob: Group,
    pub carol: Group,
    pub observer: Observer,
    /// By which the observer began, and the name of that epoch.
    pub info: Vec<u8>,
    pub root: CommitId,
}

impl World {
    pub fn new() -> Self {
        Self::of(config())
    }

    pub fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        let mut world = Self::new();
        world.limit(change);
        world
    }

    /// Alice, Bob and Carol in epoch 1, where the observer begins.
    pub fn of(config: Config) -> Self {
        Self::seeded(config, 11)
    }

    pub fn seeded(config: Config, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let [alices, bobs, carols] =
            [("alice", ALICE), ("bob", BOB), ("carol", [3; 32])].map(|(name, key)| {
                let signer = SignatureKeyPair::from_private(&suite, Secret::new(key.to_vec())).unwrap();
                Identity::new(suite, Credential::basic(name), signer)
            });
        let key = carols.signer().public();
        let (server_id, device_id) = (b"server".to_vec(), b"device".to_vec());
        let home = HomeAttestation::sign(&suite, bobs.signer().private(), server_id, device_id, key).unwrap();
        let mut extensions = Extensions::new();
        extensions.set_content(&home);
        let carols = carols.with_extensions(extensions);
        let server = Identity::generate(suite, Credential::basic("server"), &mut rng).unwrap();
        let (signature_key, credential) = (server.signer().public().clone(), server.credential().clone());
        let external_senders = vec![ExternalSender { signature_key, credential }];
        let options = NewGroupOptions { external_senders, ..NewGroupOptions::default() };
        let mut alice =
            Group::create(&alices, options, config.clone(), NOW, &mut rng).unwrap().apply_unsaved();
        let [bob, carol] =
            [&bobs, &carols].map(|one| one.key_package(Lifetime::starting(NOW, 86_400), &mut rng).unwrap());
        let commit = alice.commit().add(bob.key_package().clone()).add(carol.key_package().clone());
        let sent = commit.stage(NOW, &mut rng).unwrap().apply_unsaved();
        let welcome = alice.confirm(&sent.id).unwrap().apply_unsaved().welcome.unwrap();
        let [bob, carol] = [bob, carol]
            .map(|own| Group::join(&own, &welcome, None, config.clone(), NOW).unwrap().apply_unsaved());
        let info = alice.head().group_info(NOW).unwrap();
        let observer = Observer::new(&info, &config);
        let root = observer.group.head().commit_id().clone();
        Self { rng, config, bobs, server, home, alice, bob, carol, observer, info, root }
    }

    /// Sets limits of the observer.
    pub fn limit(&mut self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.observer.config.limits);
        self.observer.restart();
    }

    /// Somebody with a KeyPackage.
    pub fn newcomer(&mut self, name: &str) -> (OwnKeyPackage, Identity) {
        let identity =
            Identity::generate(*self.alice.suite(), Credential::basic(name), &mut self.rng).unwrap();
        let own = identity.key_package(Lifetime::starting(NOW, 86_400), &mut self.rng).unwrap();
        (own, identity)
    }

    pub fn alice_commits(&mut self) -> Bundle {
        let sent = self.alice.commit().stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        self.alice.bundle(&sent.id, NOW).unwrap()
    }

    pub fn bob_commits(&mut self) -> Bundle {
        let sent = self.bob.commit().stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        self.bob.bundle(&sent.id, NOW).unwrap()
    }

    pub fn carol_commits(&mut self) -> Bundle {
        let sent = self.carol.commit().stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        self.carol.bundle(&sent.id, NOW).unwrap()
    }

    /// Two children of the root, of which the observer knows: Alice's and Bob's.
    pub fn fork(&mut self) -> [Bundle; 2] {
        let bundles = [self.alice_commits(), self.bob_commits()];
        for bundle in &bundles {
            child(self.observer.stage(&self.root, bundle));
        }
        bundles
    }

    /// One of many: he forgets it.
    pub fn bob_commits_unsent(&mut self) -> Bundle {
        let bundle = self.bob_commits();
        self.bob.discard_unsent(&commit_of(&bundle.commit)).unwrap().apply_unsaved();
        bundle
    }

    pub fn alice_adds_dave_with_bobs_update(&mut self) -> Bundle {
        let update = self.bob.propose_update(NOW, &mut self.rng).unwrap().apply_unsaved();
        self.alice.receive(&update.message, NOW).unwrap().apply_unsaved();
        let (dave, _) = self.newcomer("dave");
        let commit = self.alice.commit().add(dave.key_package().clone());
        let sent = commit.stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        self.alice.bundle(&sent.id, NOW).unwrap()
    }

    /// All members get a commit.
    pub fn tell(&mut self, bundle: &Bundle) {
        for group in [&mut self.alice, &mut self.bob, &mut self.carol] {
            group.receive(&bundle.commit, NOW).unwrap().apply_unsaved();
        }
    }

    /// The observer refuses a bundle for this rule, and has not changed.
    pub fn refused(&mut self, bundle: &Bundle, rule: Rule) {
        let before = self.observer.snapshot();
        assert_eq!(self.observer.stage(&self.root, bundle), Err(rule.into()));
        assert!(self.observer.snapshot() == before, "a refused bundle changed something");
    }

    /// The observer's head is Alice's.
    pub fn assert_follows(&self) {
        let (seen, head) = (self.observer.group.head(), self.alice.head());
        assert_eq!(seen.commit_id(), head.commit_id());
        assert_eq!(seen.dmls_epoch(), Some(head.id()));
        assert_eq!(seen.confirmation_tag(), head.confirmation_tag());
        let members = seen.members().into_iter().map(|seen| seen.member).collect();
        assert_eq!(Some(members), head.members());
        assert_eq!(Some(seen.ratchet_tree()), head.ratchet_tree());
    }

    /// Alice and the observer hear the same of a commit, and agree on the head.
    pub fn verdict(
        &mut self,
        member: impl for<'g> FnOnce(&'g mut Group) -> Result<Step<'g, Turn>, Error>,
        observer: impl for<'g> FnOnce(&'g mut PublicGroup) -> Result<PublicStep<'g, PublicTurn>, Error>,
    ) -> PublicTurn {
        let turn = self.observer.run(observer).unwrap();
        let members = member(&mut self.alice).unwrap().apply_unsaved();
        assert_eq!(turn.head_moved, members.head_moved);
        assert_eq!(turn.lost.len(), members.lost.len());
        self.assert_follows();
        turn
    }

    /// A commit whose membership tag and confirmation tag are changed by whoever carries it.
    pub fn with_other_tags(&self, commit: &[u8], membership: u8, confirmation: u8) -> Vec<u8> {
        let change = |tag: &mut Option<dmls::crypto::Tag>, by: u8| {
            let mut bytes = tag.as_ref().unwrap().as_bytes().to_vec();
            bytes[0] ^= by;
            *tag = Some(bytes.into());
        };
        self.change_public(commit, |message| {
            change(&mut message.membership_tag, membership);
            change(&mut message.auth.confirmation_tag, confirmation);
        })
    }

    /// A message as it travels, changed.
    pub fn change_public(&self, message: &[u8], change: impl FnOnce(&mut PublicMessage)) -> Vec<u8> {
        let wrapped = DmlsMessage::from_bytes(message).unwrap();
        let changed = self.change_bare(&wrapped.message.to_bytes(), change);
        let message = MlsMessage::from_bytes(&changed).unwrap();
        DmlsMessage { message, ..wrapped }.to_bytes()
    }

    /// A MLSMessage, changed.
    pub fn change_bare(&self, message: &[u8], change: impl FnOnce(&mut PublicMessage)) -> Vec<u8> {
        let MlsMessage::PublicMessage(mut message) = MlsMessage::from_bytes(message).unwrap() else {
            panic!()
        };
        change(&mut message);
        MlsMessage::PublicMessage(message).to_bytes()
    }
}

/// The MLSMessage in a message as it travels.
pub fn mls(message: &[u8]) -> Vec<u8> {
    DmlsMessage::from_bytes(message).unwrap().message.to_bytes()
}

/// The same under another header.
pub fn rewrap(message: &[u8], dmls_epoch: &EpochId) -> Vec<u8> {
    let message = DmlsMessage::from_bytes(message).unwrap().message;
    DmlsMessage { message, dmls_epoch: dmls_epoch.clone() }.to_bytes()
}

/// The name of a commit.
pub fn commit_of(message: &[u8]) -> CommitId {
    let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    DmlsMessage::from_bytes(message).unwrap().message.commit_id(&suite)
}

pub fn tag_of(message: &[u8]) -> Vec<u8> {
    match DmlsMessage::from_bytes(message).unwrap().message {
        MlsMessage::PublicMessage(message) => message.auth.confirmation_tag.unwrap().as_bytes().to_vec(),
        _ => panic!(),
    }
}

pub fn damage(message: &[u8], place: usize) -> Vec<u8> {
    let mut damaged = message.to_vec();
    damaged[place] ^= 1;
    damaged
}

/// The private keys of Alice and Bob.
pub const ALICE: [u8; 32] = [1; 32];
pub const BOB: [u8; 32] = [2; 32];

/// A GroupInfo, changed and signed by whoever has the key (RFC 9420 s5.1.2, s12.4.3).
pub fn resigned(group_info: &[u8], key: [u8; 32], change: &dyn Fn(&mut GroupInfo)) -> Vec<u8> {
    let MlsMessage::GroupInfo(mut info) = MlsMessage::from_bytes(group_info).unwrap() else { panic!() };
    change(&mut info);
    let mut content = info.group_context.to_bytes();
    info.extensions.encode(&mut content);
    info.confirmation_tag.encode(&mut content);
    info.signer.encode(&mut content);
    let mut signed = b"MLS 1.0 GroupInfoTBS".to_vec().to_bytes();
    content.encode(&mut signed);
    info.signature = SigningKey::from_bytes(&key).sign(&signed).to_bytes().to_vec().into();
    MlsMessage::GroupInfo(info).to_bytes()
}
