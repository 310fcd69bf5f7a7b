//! A client with a disk: what every step writes is replayed, and must be all that there is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code)] // Each test binary uses a part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dmls::crypto::{Secret, Tag};
use dmls::danger::AcceptAnyCredential;
use dmls::extension::{ExternalJoins, Ruleset};
use dmls::{
    Changes, CipherSuite, Config, Credential, EpochId, EpochRef, Error, ExternalJoinOptions, Founding, Group,
    Identity, LeafIndex, Level, Lifetime, Member, Network, NewEpoch, NewGroupOptions, Outcome, OwnKeyPackage,
    PreSharedKeys, Provider, Retention, SentCommit, Step, Time,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// When all tests happen.
pub const NOW: Time = Time(1_800_000_000);

pub use dmls::Network::{Split as SPLIT, Whole as WHOLE};

/// The one external pre-shared key that everybody has.
pub const PSK: &[u8] = b"shared";

pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

#[allow(clippy::disallowed_methods, reason = "how long a test runs is decided outside")]
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

struct OneKey;

impl PreSharedKeys for OneKey {
    fn external(&self, id: &[u8]) -> Option<Secret> {
        (id == PSK).then(|| Secret::new(vec![7; 32]))
    }
}

pub fn config() -> Config {
    // Newcomers join by external commits, also in groups without a ruleset.
    let ruleset = Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() };
    let ruleset = Some(ruleset);
    Config {
        psks: Arc::new(OneKey),
        ruleset,
        offer_external_joins: true,
        retention: Retention::while_told(),
        ..Config::new(AcceptAnyCredential)
    }
}

pub fn public_config() -> Config {
    Config { encrypt_handshake: false, ..config() }
}

pub fn identity(name: &str, rng: &mut ChaCha20Rng) -> Identity {
    let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    Identity::generate(suite, Credential::basic(name), rng).unwrap()
}

pub fn key_package(identity: &Identity, rng: &mut ChaCha20Rng) -> OwnKeyPackage {
    identity.key_package(Lifetime::starting(NOW, 86_400), rng).unwrap()
}

pub fn records_of(changes: &Changes) -> Records {
    let mut records = Records::new();
    changes.replay_into(&mut records);
    records
}

/// Fails with the keys that differ, not with the secrets.
pub fn assert_same_records(one: &Records, other: &Records, what: &str) {
    let name = |key: &[u8]| {
        let hex: String = key[1..].iter().take(6).map(|b| format!("{b:02x}")).collect();
        format!("{}:{hex}(+{})", char::from(key[0]), key.len())
    };
    let mut wrong = Vec::new();
    for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
        match (one.get(key), other.get(key)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => wrong.push(format!("{} differs", name(key))),
            (Some(_), None) => wrong.push(format!("{} only in the first", name(key))),
            (None, _) => wrong.push(format!("{} only in the second", name(key))),
        }
    }
    assert!(wrong.is_empty(), "{what}: {wrong:?}");
}

pub struct Client {
    pub identity: Identity,
    pub config: Config,
    pub group: Group,
    pub records: Records,
    /// Whether records and memory are compared after every step.
    pub strict: bool,
}

impl Client {
    pub fn found(identity: &Identity, config: &Config, founding: Founding) -> Self {
        let records = records_of(founding.changes());
        let client = Self {
            identity: identity.clone(),
            config: config.clone(),
            group: founding.apply_unsaved(),
            records,
            strict: true,
        };
        client.check();
        client
    }

    pub fn create(name: &str, config: &Config, rng: &mut ChaCha20Rng) -> Self {
        let identity = identity(name, rng);
        let founding =
            Group::create(&identity, NewGroupOptions::default(), config.clone(), NOW, rng).unwrap();
        Self::found(&identity, config, founding)
    }

    pub fn join(
        identity: &Identity,
        own: &OwnKeyPackage,
        welcome: &[u8],
        config: &Config,
    ) -> Result<Self, Error> {
        let founding = Group::join(own, welcome, None, config.clone(), NOW)?;
        Ok(Self::found(identity, config, founding))
    }

    /// Joins by an external commit, which is given too.
    pub fn join_external(
        identity: &Identity,
        group_info: &[u8],
        config: &Config,
        rng: &mut ChaCha20Rng,
    ) -> Result<(Self, Vec<u8>), Error> {
        let options = ExternalJoinOptions::default();
        let founding = Group::join_external(identity, group_info, options, config.clone(), NOW, rng)?;
        let commit = founding.commit().unwrap().to_vec();
        Ok((Self::found(identity, config, founding), commit))
    }

    /// A step, written and applied.
    pub fn run<T>(
        &mut self,
        step: impl for<'g> FnOnce(&'g mut Group) -> Result<Step<'g, T>, Error>,
    ) -> Result<T, Error> {
        let step = step(&mut self.group)?;
        step.changes().replay_into(&mut self.records);
        let outcome = step.apply_unsaved();
        if self.strict {
            self.check();
        }
        Ok(outcome)
    }

    /// What the delivery service says of the network.
    pub fn set(&mut self, network: Network) {
        self.run(|group| Ok(group.set_network(network))).unwrap();
    }

    pub fn receive(&mut self, message: &[u8], network: Network) -> Result<Outcome, Error> {
        self.set(network);
        self.run(|group| group.receive(message, NOW))
    }

    /// Receives, and what was held for it.
    pub fn deliver(&mut self, message: &[u8], network: Network) -> Result<Vec<Outcome>, Error> {
        self.set(network);
        let records = &mut self.records;
        let mut outcomes = Vec::new();
        let delivered = self.group.deliver(message, NOW, |changes, resumed| -> Result<(), Error> {
            changes.replay_into(records);
            outcomes.extend(resumed.outcome.clone());
            Ok(())
        });
        if self.strict {
            self.check();
        }
        delivered.map(|()| outcomes)
    }

    /// An empty commit in the head, not confirmed.
    pub fn stage(&mut self, rng: &mut ChaCha20Rng) -> SentCommit {
        self.run(|group| group.commit().stage(NOW, rng)).unwrap()
    }

    pub fn confirm(&mut self, sent: &SentCommit, network: Network) -> NewEpoch {
        self.set(network);
        self.run(|group| group.confirm(&sent.id)).unwrap()
    }

    pub fn send(&mut self, data: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
        self.run(|group| group.send(data).seal(rng)).unwrap()
    }

    /// What is in memory, as records.
    pub fn snapshot(&self) -> Records {
        records_of(&self.group.snapshot())
    }

    /// Records and memory agree.
    pub fn check(&self) {
        assert_same_records(&self.records, &self.snapshot(), "records (first) and memory (second)");
    }

    /// Comes back from its records alone.
    pub fn restart(&mut self) {
        self.check();
        self.group = Group::load(&self.records, self.config.clone()).unwrap();
        self.check();
    }

    /// The record of a kind of an epoch.
    pub fn record(&self, kind: u8, id: &EpochId) -> Option<&[u8]> {
        self.records.get(&[&[kind], id.as_bytes()].concat()).map(|value| &value[..])
    }

    /// How many records of a kind there are.
    pub fn count(&self, kind: u8) -> usize {
        self.records.keys().filter(|key| key[0] == kind).count()
    }

    /// How many epochs have a record of what their children start from.
    pub fn full_epochs(&self) -> usize {
        let records = self.records.keys().filter(|key| key[0] == b'i');
        records.map(|key| &key[1..33]).collect::<BTreeSet<_>>().len()
    }

    /// How many inputs the PPRF of an epoch was punctured at.
    pub fn punctures(&self, id: &EpochId) -> usize {
        // Each has its parts under keys of its own: the input and a level.
        let prefix = [b"i", id.as_bytes()].concat();
        let places = self.records.keys().filter_map(|key| key.strip_prefix(&prefix[..]));
        places.filter(|place| !place.is_empty()).map(|place| &place[..32]).collect::<BTreeSet<_>>().len()
    }

    pub fn head(&self) -> EpochId {
        self.group.head().id().clone()
    }

    pub fn leaf(&self) -> LeafIndex {
        self.group.head().own_leaf().unwrap()
    }

    pub fn members(&self) -> Vec<Member> {
        self.group.head().members().unwrap()
    }

    /// What can be compared of every epoch, parents first.
    pub fn epochs(&self) -> Vec<Info> {
        self.group.epochs().map(Info::of).collect()
    }

    /// How many epochs are left at a level.
    pub fn at_level(&self, level: Level) -> usize {
        self.group.epochs().filter(|epoch| epoch.level() == level).count()
    }

    /// A second device with the same records.
    pub fn copy(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            config: self.config.clone(),
            group: Group::load(&self.records, self.config.clone()).unwrap(),
            records: self.records.clone(),
            strict: self.strict,
        }
    }

    pub fn tag(&self, id: &EpochId) -> Tag {
        self.group.epoch(id).unwrap().confirmation_tag().clone()
    }

    pub fn secret(&self, id: &EpochId) -> Vec<u8> {
        self.group.epoch(id).unwrap().export("test", b"", 32).unwrap().as_bytes().to_vec()
    }
}

/// What can be compared of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub id: EpochId,
    pub parent: Option<EpochId>,
    pub number: u64,
    pub tag: Tag,
    pub level: Level,
    pub is_head: bool,
}

impl Info {
    fn of(epoch: EpochRef<'_>) -> Self {
        Self {
            id: epoch.id().clone(),
            parent: epoch.parent().cloned(),
            number: epoch.number(),
            tag: epoch.confirmation_tag().clone(),
            level: epoch.level(),
            is_head: epoch.is_head(),
        }
    }
}

/// A group whose members are in one epoch, in a network that is split.
pub fn group(names: &[&str], config: &Config, rng: &mut ChaCha20Rng) -> Vec<Client> {
    let mut first = Client::create(names[0], config, rng);
    let others: Vec<_> = names[1..]
        .iter()
        .map(|name| {
            let identity = identity(name, rng);
            let own = key_package(&identity, rng);
            (identity, own)
        })
        .collect();
    let sent = first
        .run(|group| {
            let mut commit = group.commit();
            for (_, own) in &others {
                commit = commit.add(own.key_package().clone());
            }
            commit.stage(NOW, rng)
        })
        .unwrap();
    let welcome = first.confirm(&sent, WHOLE).welcome;
    first.set(SPLIT);
    first.run(|group| group.welcome_sent(&sent.id)).unwrap();
    let mut clients = vec![first];
    for (identity, own) in &others {
        clients.push(Client::join(identity, own, welcome.as_ref().unwrap(), config).unwrap());
    }
    clients
}
