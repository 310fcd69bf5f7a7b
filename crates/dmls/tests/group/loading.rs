//! Records that were damaged on the disk, or are another's, make no group.

use std::collections::BTreeMap;

use dmls::{Config, Error, Group, KeySchedule, Limits, RecordsError};

use super::common::{Client, NOW, PSK, Records, SPLIT, config, identity, key_package, public_config, rng};
use super::{advance, new_epoch, pair, trio, with_header};

fn load(records: &Records, config: &Config) -> Result<Group, Error> {
    Group::load(records, config.clone())
}

/// A client with records of every kind.
fn rich() -> Client {
    let rng = &mut rng(1);
    let (mut a, mut b, mut c) = trio(&public_config(), 1);
    let parent = c.head();
    let leaf = c.leaf();
    let removal = a.run(|group| group.commit().remove(leaf).stage(NOW, rng)).unwrap();
    assert!(matches!(c.receive(&removal.message, SPLIT), Ok(dmls::Outcome::Removed(_))));
    let sent = b.stage(rng);
    new_epoch(c.receive(&sent.message, SPLIT).unwrap());
    let add = key_package(&identity("dave", rng), rng).key_package().clone();
    let own = c.run(|group| group.commit().add(add).stage(NOW, rng)).unwrap();
    c.confirm(&own, SPLIT);
    let message = a.send(b"hello", rng);
    c.receive(&message, SPLIT).unwrap();
    c.receive(&with_header(&message, &[9; 32]), SPLIT).unwrap();
    c.run(|group| group.propose_psk(dmls::message::Psk::External(PSK.to_vec()), NOW, rng)).unwrap();
    c.stage(rng);
    c.run(|group| group.finalize(&vec![1; 32].into())).unwrap();
    c.run(|group| group.block(&vec![2; 32].into())).unwrap();
    c.run(|group| group.flushed(&vec![3; 32].into())).unwrap();
    c.run(|group| group.delete_epoch(&parent, dmls::Level::Readable)).unwrap();
    c.restart();
    for kind in *b"gnseirpowxfbhty" {
        assert!(c.count(kind) > 0, "no record of kind {}", char::from(kind));
    }
    c
}

#[test]
fn every_flipped_bit_is_refused() {
    let client = rich();
    let mut records = client.records.clone();
    let mut flipped = 0;
    for key in client.records.keys() {
        for bit in 0..client.records[key].len() * 8 {
            let flip = |records: &mut Records| records.get_mut(key).unwrap()[bit / 8] ^= 1 << (bit % 8);
            flip(&mut records);
            match load(&records, &client.config) {
                Err(Error::Records(RecordsError::Damaged(_))) => {}
                other => panic!("bit {bit} of {}: {:?}", char::from(key[0]), other.map(drop)),
            }
            flip(&mut records);
            flipped += 1;
        }
    }
    println!("{flipped} bits");
    load(&records, &client.config).unwrap();
}

/// As the page of `Group::load` says.
#[test]
fn a_missing_record_is_refused_where_others_refer_to_it() {
    let client = rich();
    let mut kinds = BTreeMap::<char, [usize; 2]>::new();
    for (key, value) in &client.records {
        let mut records = client.records.clone();
        records.remove(key);
        let loads = load(&records, &client.config).is_ok();
        kinds.entry(char::from(key[0])).or_default()[usize::from(loads)] += 1;
        // Nor does it count under another name.
        let mut renamed = key.clone();
        *renamed.last_mut().unwrap() ^= 1;
        records.insert(renamed, value.clone());
        assert!(load(&records, &client.config).is_err());
    }
    // What the delivery service said, what waits, what claims to remove us, a Welcome, a proposal, an old key: each stands
    // for itself, and nothing else says that it was there.
    for (kind, [refused, loaded]) in kinds {
        let is_missed = !"bfhpswxy".contains(kind);
        assert_eq!((refused > 0, loaded > 0), (is_missed, !is_missed), "without one of {kind}");
    }
}

/// Nor is this: an epoch that is only known, whether it is gone or another's, and a value from before. A store keeps what was
/// written last.
#[test]
fn what_nothing_else_depends_on_is_not_missed() {
    let rng = &mut rng(8);
    let config = Config { limits: Limits { resumption_psks: 0, ..Limits::default() }, ..public_config() };
    let (mut a, mut b) = pair(&config, 8);
    let old = b.head();
    for _ in 0..2 {
        advance(&mut a, &mut [&mut b], rng);
    }
    b.run(|group| group.delete_epoch(&old, dmls::Level::Known)).unwrap();
    let key = [b"n", old.as_bytes()].concat();
    assert!(b.records.keys().all(|other| other[1..] != *old.as_bytes() || *other == key));
    let mut records = b.records.clone();
    let known = records.remove(&key).unwrap();
    assert_eq!(load(&records, &config).unwrap().epoch(&old), None);

    let mut records = pair(&config, 9).0.records;
    records.insert(key, known);
    let loaded = load(&records, &config).unwrap();
    assert_eq!(loaded.epoch(&old).map(|epoch| epoch.level()), Some(dmls::Level::Known));
    assert_ne!(loaded.head().id(), &old);

    // A whole backup is noticed by what others send, or our own message that comes back (`RolledBack`).
    let before = a.records.clone();
    a.send(b"hello", rng);
    let changed: Vec<_> = a.records.iter().filter(|(key, value)| before.get(*key) != Some(*value)).collect();
    assert!(!changed.is_empty() && changed.iter().all(|(key, _)| key[0] == b'r'));
    load(&before, &config).unwrap();
}

#[test]
fn records_of_another_client_are_refused() {
    let client = rich();
    let (_, mut other, _) = trio(&public_config(), 9);
    let rng = &mut rng(9);
    other.stage(rng);
    for (key, value) in &other.records {
        let mut records = client.records.clone();
        // An epoch that is only known, and connected with nothing, is harmless.
        if records.insert(key.clone(), value.clone()).as_ref() != Some(value) && key[0] != b'n' {
            assert!(load(&records, &client.config).is_err(), "{}", char::from(key[0]));
        }
    }
    let mut unknown = client.records.clone();
    unknown.insert(b"z".to_vec(), vec![0; 8]);
    assert!(load(&unknown, &client.config).is_err());
    assert!(load(&Records::new(), &client.config).is_err());
}

#[test]
fn the_key_schedule_must_be_the_one_of_the_records() {
    let (a, ..) = trio(&config(), 2);
    let other = Config { schedule: KeySchedule::Rfc9420, ..config() };
    assert_eq!(load(&a.records, &other).err(), Some(Error::Records(RecordsError::Schedule)));
    let (a, ..) = trio(&other, 2);
    assert_eq!(load(&a.records, &config()).err(), Some(Error::Records(RecordsError::Schedule)));
}

#[test]
fn another_format_is_named() {
    let (a, ..) = trio(&config(), 3);
    let mut records = a.records.clone();
    let record = records.get_mut(&b"g"[..]).unwrap();
    let length = record.len() - 4;
    record[..2].copy_from_slice(&7_u16.to_be_bytes());
    // As a later version would write it: with a checksum that is right.
    let sum = crc32(&[b"g", &record[..length]].concat());
    record[length..].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(load(&records, &config()).err(), Some(Error::Records(RecordsError::Format(7))));
}

/// CRC-32 (ISO 3309), bit by bit.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}
