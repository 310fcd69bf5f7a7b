//! No secret is left in memory that was given back, whatever a group does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dmls::GroupContext;
use dmls::codec::{Decode, Reader};
use dmls::crypto::Tag;
use dmls::danger::AcceptAnyCredential;
use dmls::extension::{ExternalJoins, ExternalSender, Ruleset};
use dmls::{
    Changes, CipherSuite, Config, Credential, ExternalJoinOptions, Founding, Group, Identity, KeyLog,
    KeySchedule, Lifetime, Network, NewGroupOptions, Outcome, OwnKeyPackage, Provider, Step, Time,
};
use heap_probe::{Probe, found, watch};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

#[global_allocator]
static PROBE: Probe = Probe;

const NOW: Time = Time(1_800_000_000);
/// All secrets that are known by name.
#[derive(Default)]
struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn secret(&self, label: &'static str, secret: &[u8]) {
        // The name of an epoch, and zeros where there is no secret.
        if label != "dmls_epoch" && secret.iter().any(|byte| *byte != 0) {
            self.add(label, secret);
        }
    }
}

impl Secrets {
    fn add(&self, name: &str, secret: &[u8]) {
        let mut secrets = self.0.lock().unwrap();
        if secrets.iter().all(|(_, known)| known != secret) {
            secrets.push((name.into(), secret.to_vec()));
        }
    }
}

/// A client with a disk, which is not watched itself.
struct Client {
    group: Group,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    secrets: Arc<Secrets>,
}

impl Client {
    fn found(founding: Founding, secrets: &Arc<Secrets>) -> Self {
        let mut records = BTreeMap::new();
        founding.changes().replay_into(&mut records);
        let mut client =
            Self { group: watch(|| founding.apply_unsaved()), records, secrets: secrets.clone() };
        client.learn();
        client
    }

    fn run<T>(&mut self, step: impl for<'g> FnOnce(&'g mut Group) -> Step<'g, T>) -> T {
        let step = watch(|| step(&mut self.group));
        step.changes().replay_into(&mut self.records);
        let outcome = watch(|| step.apply_unsaved());
        self.learn();
        outcome
    }

    /// The secrets in today's records, as they are in memory.
    fn learn(&mut self) {
        let snapshot: Changes = watch(|| self.group.snapshot());
        for (key, value) in snapshot.iter().filter_map(|(key, value)| Some((key, value?))) {
            // At the end, a checksum.
            let value = &value[..value.len() - 4];
            match key[0] {
                b'i' => value.chunks(32).for_each(|node| self.secrets.add("init node", node)),
                b'r' if value.len() == 32 => self.secrets.add("message node", value),
                b'r' => {
                    // optional<generation, secret<V>>, forgotten, then kept<V> of generation, nonce, key.
                    self.secrets.add("ratchet", &value[6..38]);
                    let kept = value.len().saturating_sub(42) / 48 * 48;
                    let kept = value[value.len() - kept..].chunks(48);
                    kept.for_each(|kept| self.secrets.add("kept key", &kept[16..32]));
                }
                b'e' => {
                    // Behind what is public: secrets and private keys of 32 bytes, with their length.
                    let mut r = Reader::new(value);
                    let public = (bool::decode(&mut r), GroupContext::decode(&mut r), Tag::decode(&mut r));
                    assert!(public.0.is_ok() && public.1.is_ok() && public.2.is_ok());
                    // At the end, the name of the commit.
                    let rest = r.rest();
                    let strings = rest[..rest.len() - 33].windows(33).filter(|window| window[0] == 32);
                    strings.for_each(|window| self.secrets.add("epoch secret or private key", &window[1..]));
                }
                _ => {}
            }
        }
        watch(|| drop(snapshot));
    }

    fn restart(&mut self, config: &Config) {
        let loaded = watch(|| Group::load(&self.records, config.clone()).unwrap());
        let old = std::mem::replace(&mut self.group, loaded);
        watch(|| drop(old));
        self.learn();
    }
}

fn key_package(identity: &Identity, secrets: &Secrets, rng: &mut ChaCha20Rng) -> OwnKeyPackage {
    let made = watch(|| identity.key_package(Lifetime::starting(NOW, 1000), rng).unwrap());
    let stored = watch(|| made.to_secret());
    // Its end: three private keys of 32 bytes with their length.
    for key in stored.as_bytes()[stored.len() - 99..].chunks(33) {
        secrets.add("private key of a key package", &key[1..]);
    }
    watch(|| {
        drop(made);
        OwnKeyPackage::from_secret(identity.suite(), &stored).unwrap()
    })
}

/// Create, add, join, send, receive, propose, commit, confirm, fork, external join, store, load, delete.
/// `size` is about that of the GroupContext.
fn life_of_a_group(
    provider: Provider,
    suite: CipherSuite,
    schedule: KeySchedule,
    size: usize,
) -> Arc<Secrets> {
    let secrets = Arc::new(Secrets::default());
    let log: Arc<dyn KeyLog> = secrets.clone();
    // Somebody joins by an external commit at the end.
    let ruleset = Some(Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() });
    let usual = Config::new(AcceptAnyCredential);
    let config =
        Config { provider, schedule, key_log: Some(log), ruleset, offer_external_joins: true, ..usual };
    let suite = provider.suite(suite).unwrap();
    let rng = &mut ChaCha20Rng::seed_from_u64(7);
    let identity = |name: &str, rng: &mut ChaCha20Rng| {
        let identity = watch(|| Identity::generate(suite, Credential::basic(name), rng).unwrap());
        secrets.add("signature key", identity.signer().private().as_bytes());
        identity
    };
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|name| identity(name, rng));

    let external = ExternalSender {
        signature_key: dave.signer().public().clone(),
        credential: Credential::basic(vec![b'x'; size]),
    };
    let options = NewGroupOptions { external_senders: vec![external], ..NewGroupOptions::default() };
    let founding = watch(|| Group::create(&alice, options, config.clone(), NOW, rng).unwrap());
    let mut alice = Client::found(founding, &secrets);
    let own = [&bob, &carol].map(|identity| key_package(identity, &secrets, rng));
    let sent = alice.run(|group| {
        let commit = group.commit().add(own[0].key_package().clone()).add(own[1].key_package().clone());
        commit.stage(NOW, rng).unwrap()
    });
    alice.restart(&config);
    let welcome = alice.run(|group| group.confirm(&sent.id).unwrap()).welcome.unwrap();
    let [mut bob, mut carol] = own.map(|own| {
        let founding = watch(|| Group::join(&own, &welcome, None, config.clone(), NOW).unwrap());
        watch(|| drop(own));
        Client::found(founding, &secrets)
    });

    // Messages, the last one first.
    let texts: Vec<_> = (0..5).map(|_| alice.run(|group| group.send(b"text").seal(rng).unwrap())).collect();
    for text in texts.iter().rev() {
        bob.run(|group| group.receive(text, NOW).unwrap());
    }
    let update = bob.run(|group| group.propose_update(NOW, rng).unwrap());
    for client in [&mut alice, &mut carol] {
        client.run(|group| group.receive(&update.message, NOW).unwrap());
    }
    bob.restart(&config);

    // Commits: a fork of three in a DMLS group, one that is given up, and a line of them.
    if schedule == KeySchedule::Dmls {
        for client in [&mut alice, &mut bob, &mut carol] {
            client.run(|group| group.set_network(Network::Split));
        }
        let sent = [&mut alice, &mut bob, &mut carol]
            .map(|client| client.run(|group| group.commit().stage(NOW, rng).unwrap()));
        let given_up = alice.run(|group| group.commit().stage(NOW, rng).unwrap());
        alice.run(|group| group.abandon(&given_up.id).unwrap());
        for client in [&mut alice, &mut bob, &mut carol] {
            for commit in &sent {
                let outcome = client.run(|group| group.receive(&commit.message, NOW).unwrap());
                assert!(matches!(outcome, Outcome::Commit(_)), "{outcome:?}");
            }
            client.restart(&config);
        }
    }
    for client in [&mut alice, &mut bob, &mut carol] {
        client.run(|group| group.set_network(Network::Whole));
    }
    for _ in 0..3 {
        let sent = alice.run(|group| group.commit().stage(NOW, rng).unwrap());
        alice.run(|group| group.confirm(&sent.id).unwrap());
        for client in [&mut bob, &mut carol] {
            client.run(|group| group.receive(&sent.message, NOW).unwrap());
        }
    }
    let info = watch(|| alice.group.head().group_info(NOW).unwrap());
    let options = ExternalJoinOptions::default();
    let founding = watch(|| Group::join_external(&dave, &info, options, config.clone(), NOW, rng).unwrap());
    let commit = founding.commit().unwrap().to_vec();
    let dave = Client::found(founding, &secrets);
    for client in [&mut alice, &mut bob] {
        client.run(|group| group.receive(&commit, NOW).unwrap());
        client.restart(&config);
    }
    for client in [alice, bob, carol, dave] {
        watch(|| drop(client.group));
    }
    secrets
}

fn check(provider: Provider, suite: CipherSuite, schedule: KeySchedule, size: usize) {
    let secrets = life_of_a_group(provider, suite, schedule, size);
    let secrets = secrets.0.lock().unwrap();
    assert!(secrets.len() > 100, "{} secrets", secrets.len());
    let left = found(&secrets);
    assert!(left.is_empty(), "{provider:?} {suite:?} {schedule:?} {size}: {left:?}");
}

#[test]
fn no_secret_is_left_in_freed_memory() {
    for provider in Provider::all() {
        for suite in [CipherSuite::X25519_AES128, CipherSuite::P256_AES128] {
            for schedule in [KeySchedule::Dmls, KeySchedule::Rfc9420] {
                check(provider, suite, schedule, 10_000);
            }
        }
    }
    // With a buffer of any fixed size, the secrets in some record would be those that make it grow.
    for size in (3_400..4_000).step_by(80) {
        check(Provider::default(), CipherSuite::X25519_AES128, KeySchedule::Dmls, size);
    }
    let (secrets, rng) = (Secrets::default(), &mut ChaCha20Rng::seed_from_u64(8));
    let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    for size in (1_500..1_900).step_by(20) {
        let identity = Identity::generate(suite, Credential::basic(vec![b'x'; size]), rng).unwrap();
        watch(|| drop(key_package(&identity, &secrets, rng)));
    }
    let secrets = secrets.0.into_inner().unwrap();
    assert_eq!(found(&secrets), [""; 0]);
    // The probe sees what is there: a copy that nobody erases, and what growing leaves behind.
    let copied = [("copied".to_string(), vec![0xc5; 32]), ("grown".to_string(), (1..33).collect())];
    watch(|| {
        drop(std::hint::black_box(copied[0].1.clone()));
        let mut grown = copied[1].1.clone();
        grown.reserve(100);
        grown.fill(0);
    });
    assert_eq!(found(&copied), ["copied", "grown"]);
}
