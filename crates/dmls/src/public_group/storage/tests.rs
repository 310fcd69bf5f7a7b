//! Records of an observer that were changed and closed with a checksum that fits: each check refuses what it is for.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::codec::Decode;
use crate::credential::Credential;
use crate::danger::AcceptAnyCredential;
use crate::epoch::NewGroupOptions;
use crate::error::Unsupported;
use crate::group::{Group, close_record};
use crate::identity::Identity;
use crate::time::Time;

const NOW: Time = Time(1_800_000_000);

type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

/// An observer of three epochs, in its records.
struct Observer {
    config: Config,
    records: Stored,
    /// The key of the epoch in the middle.
    middle: Vec<u8>,
    /// The key of the newest epoch: nothing follows it.
    newest: Vec<u8>,
}

impl Observer {
    fn new() -> Self {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let config = Config { encrypt_handshake: false, ..Config::new(AcceptAnyCredential) };
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let alice = Identity::generate(suite, Credential::basic("alice"), rng).unwrap();
        let founding = Group::create(&alice, NewGroupOptions::default(), config.clone(), NOW, rng).unwrap();
        let info = founding.group_info().unwrap().to_vec();
        let mut alice = founding.apply_unsaved();
        let mut observer = PublicGroup::begin(&info, None, config.clone()).unwrap().apply_unsaved();
        let [middle, newest] = [(); 2].map(|()| {
            let sent = alice.commit().stage(NOW, rng).unwrap().apply_unsaved();
            let bundle = alice.bundle(&sent.id, NOW).unwrap();
            alice.confirm(&sent.id).unwrap().apply_unsaved();
            let parent = observer.head().commit_id().clone();
            drop(observer.stage(&parent, &bundle).unwrap().apply_unsaved());
            Key::PublicEpoch(&sent.id).to_bytes()
        });
        let mut records = Stored::new();
        observer.snapshot().replay_into(&mut records);
        Self { config, records, middle, newest }
    }

    /// Why it does not load.
    fn load(&self, records: &Stored) -> Option<Error> {
        PublicGroup::load(records, self.config.clone()).err()
    }

    fn open(&self, key: &[u8]) -> &[u8] {
        let record = &self.records[key];
        &record[..record.len() - 4]
    }

    /// With other epochs: `change` gets the newest one and may give it another key.
    fn with(&self, change: impl FnOnce(&mut Vec<u8>, &mut EpochRecord)) -> Option<Error> {
        let (mut key, mut records) = (self.newest.clone(), self.records.clone());
        let mut epoch = EpochRecord::from_bytes(self.open(&key)).unwrap();
        records.remove(&key);
        change(&mut key, &mut epoch);
        let record = close_record(&key, &epoch.to_bytes()).to_vec();
        records.insert(key, record);
        self.load(&records)
    }

    /// With another record of the group.
    fn with_group(&self, change: impl FnOnce(&mut GroupRecord)) -> Option<Error> {
        let key = Key::PublicGroup.to_bytes();
        let (format, record) = self.open(&key).split_at(2);
        let mut group = GroupRecord::from_bytes(record).unwrap();
        change(&mut group);
        let record = close_record(&key, &[format, &group.to_bytes()].concat()).to_vec();
        let mut records = self.records.clone();
        records.insert(key, record);
        self.load(&records)
    }
}

fn inconsistent(what: &'static str) -> Option<Error> {
    Some(RecordsError::Inconsistent(what).into())
}

fn missing(what: &'static str) -> Option<Error> {
    Some(RecordsError::Missing(what).into())
}

#[test]
fn an_epoch_fits_its_key_and_its_group() {
    let observer = Observer::new();
    assert_eq!(observer.with(|_, _| ()), None);
    let unfit = inconsistent(EPOCH);
    assert_eq!(observer.with(|_, epoch| epoch.edge.commit = vec![7; 32].into()), unfit);
    assert_eq!(observer.with(|_, epoch| epoch.context.group_id.push(0)), unfit);
    assert_eq!(observer.with(|_, epoch| epoch.context.cipher_suite = CipherSuite::P256_AES128), unfit);
    assert_eq!(observer.with(|_, epoch| epoch.dmls_epoch = Some(vec![7; 31].into())), unfit);
    assert_eq!(observer.with(|_, epoch| epoch.edge.tag = vec![7; 31].into()), unfit);
    let short = observer.with(|key, epoch| {
        epoch.edge.commit = vec![7; 31].into();
        *key = Key::PublicEpoch(&epoch.edge.commit).to_bytes();
    });
    assert_eq!(short, unfit);
}

#[test]
fn the_numbers_rise_along_the_edges() {
    let observer = Observer::new();
    let unfit = inconsistent("the numbers of epochs");
    assert_eq!(observer.with(|_, epoch| epoch.context.epoch += 1), unfit);
    assert_eq!(observer.with(|_, epoch| epoch.context.epoch = u64::MAX), unfit);
    // So there is no circle.
    assert_eq!(observer.with(|_, epoch| epoch.parent = Some(epoch.edge.commit.clone())), unfit);
}

#[test]
fn only_the_oldest_epoch_has_no_parent() {
    let observer = Observer::new();
    let orphan = missing("the parent of an epoch");
    assert_eq!(observer.with(|_, epoch| epoch.parent = None), orphan);
    assert_eq!(observer.with(|_, epoch| epoch.parent = Some(vec![7; 32].into())), orphan);
    let mut gap = observer.records.clone();
    gap.remove(&observer.middle);
    assert_eq!(observer.load(&gap), orphan);
    let none = observer.records.clone().into_iter().filter(|(key, _)| key[0] != b'c').collect();
    assert_eq!(observer.load(&none), missing(EPOCH));
}

#[test]
fn an_epoch_has_its_tree_and_every_tree_an_epoch() {
    let observer = Observer::new();
    let other = observer.with(|_, epoch| epoch.context.tree_hash = vec![7; 32]);
    assert_eq!(other, missing("a tree node"));
    let mut records = observer.records.clone();
    let key = Key::Tree(&[7; 32]).to_bytes();
    let stray = close_record(&key, &[0, 0]).to_vec();
    records.insert(key, stray);
    assert_eq!(observer.load(&records), inconsistent("a record that nothing refers to"));
}

#[test]
fn the_group_is_one_that_this_client_can_follow() {
    let observer = Observer::new();
    assert_eq!(observer.with_group(|_| ()), None);
    assert_eq!(observer.with_group(|group| group.is_dmls = false), Some(RecordsError::Schedule.into()));
    let unknown = CipherSuite::X448_AES256;
    let unsupported = Unsupported::CipherSuite(unknown).into();
    assert_eq!(observer.with_group(|group| group.cipher_suite = unknown), Some(unsupported));
    assert_eq!(observer.with_group(|group| group.group_id.push(0)), inconsistent(EPOCH));
    let mut records = observer.records.clone();
    records.remove(&Key::PublicGroup.to_bytes());
    assert_eq!(observer.load(&records), missing(GROUP));
}
