//! Each rule of the chain, broken alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dmls::codec::{Decode, Encode};
use dmls::crypto::SignatureKeyPair;
use dmls::{Provider, Suite};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{BadRecord, Change, LONGEST_FIELD, MOST_OPERATORS, Operator, Record, Roster, Taken};
use crate::ids::ServerId;

fn suite() -> Suite {
    Provider::all()[0].suite(dmls::CipherSuite::X25519_AES128).unwrap()
}

fn key(number: u32, is_recovery: bool) -> SignatureKeyPair {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(number) * 2 + u64::from(is_recovery));
    SignatureKeyPair::generate(&suite(), &mut rng).unwrap()
}

fn operator(number: u32) -> Operator {
    Operator {
        id: ServerId(number),
        address: b"example.org".to_vec(),
        key: key(number, false).public().clone(),
        recovery: key(number, true).public().clone(),
    }
}

fn roster(count: u32) -> Roster {
    Roster::found(suite(), (0..count).map(operator).collect()).unwrap()
}

fn sign(mut record: Record, by: &[u32], with_recovery: &[u32]) -> Record {
    for (all, is_recovery) in [(by, false), (with_recovery, true)] {
        for number in all {
            let pair = key(*number, is_recovery);
            record.approve(&suite(), ServerId(*number), pair.private(), is_recovery).unwrap();
        }
    }
    record
}

fn retire(number: u32) -> Change {
    Change::Retire { server: ServerId(number) }
}

fn rotate(number: u32) -> Change {
    Change::Rotate { operator: Operator { address: b"elsewhere".to_vec(), ..operator(number) } }
}

#[test]
fn more_than_half_of_the_operators_before_it_sign() {
    use BadRecord::{NoRecovery, NotMember, Signature, TooFew};
    let join = || Change::Join { operator: operator(9) };
    for (count, change, by, with_recovery, expected) in [
        (3, join(), &[0, 1][..], &[][..], Ok(Taken::New)),
        (3, join(), &[0], &[], Err(TooFew)),
        (3, join(), &[], &[], Err(TooFew)),
        (3, join(), &[0, 9], &[], Err(Signature)),
        (3, join(), &[0, 0], &[], Err(Signature)),
        (3, join(), &[0], &[1], Err(Signature)),
        (4, join(), &[0, 1], &[], Err(TooFew)),
        (4, join(), &[0, 1, 3], &[], Ok(Taken::New)),
        (1, join(), &[0], &[], Ok(Taken::New)),
        (3, Change::Join { operator: operator(2) }, &[0, 1], &[], Err(BadRecord::IsMember)),
        (3, rotate(1), &[0], &[1], Ok(Taken::New)),
        (3, rotate(1), &[0, 1], &[], Err(NoRecovery)),
        (3, rotate(1), &[], &[1], Err(TooFew)),
        (3, rotate(1), &[0], &[2], Err(Signature)),
        (3, rotate(1), &[0, 1], &[1], Err(Signature)),
        (1, rotate(0), &[], &[0], Ok(Taken::New)),
        (3, rotate(7), &[0, 1], &[], Err(NotMember)),
        (3, retire(2), &[0, 1], &[], Ok(Taken::New)),
        (3, retire(2), &[0], &[], Err(TooFew)),
        (3, retire(7), &[0, 1], &[], Err(NotMember)),
        (2, retire(1), &[0], &[], Ok(Taken::New)),
        (2, retire(1), &[1], &[], Err(TooFew)),
        (2, retire(1), &[0, 1], &[], Ok(Taken::New)),
        (2, join(), &[0], &[], Err(TooFew)),
        (1, retire(0), &[0], &[], Err(BadRecord::LastOne)),
    ] {
        let mut roster = roster(count);
        let before = (roster.position(), roster.ids());
        let record = sign(roster.propose(change), by, with_recovery);
        assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
        assert_eq!(roster.take(&record), expected, "{count}, {by:?}, {with_recovery:?}: {:?}", record.change);
        assert_eq!((roster.position(), roster.ids()) == before, expected.is_err());
    }
}

#[test]
fn a_signature_is_of_this_record() {
    let mut roster = roster(3);
    let good = sign(roster.propose(retire(2)), &[0, 1], &[]);
    let other = Record { change: retire(1), ..good.clone() };
    assert_eq!(roster.take(&other), Err(BadRecord::Signature));
    let mut unsigned = good.clone();
    unsigned.approvals[0].by = ServerId(2);
    assert_eq!(roster.take(&unsigned), Err(BadRecord::Signature));
    assert_eq!(roster.take(&Record { number: 2, ..good.clone() }), Err(BadRecord::Gap));
    let mut previous = good.clone();
    previous.previous.0[0] ^= 1;
    assert_eq!(roster.take(&previous), Err(BadRecord::NotNext));
    assert_eq!(roster.take(&Record { number: 0, ..good.clone() }), Err(BadRecord::NotNext));
    assert_eq!(roster.take(&good), Ok(Taken::New));
    // Whoever signed: it is the same record.
    assert_eq!(roster.take(&sign(Record { approvals: Vec::new(), ..good }, &[1, 2], &[])), Ok(Taken::Known));
}

#[test]
fn new_keys_count_from_then_on_and_old_ones_no_longer() {
    let mut roster = roster(3);
    let operator = Operator { key: key(77, false).public().clone(), ..operator(1) };
    let record = sign(roster.propose(Change::Rotate { operator }), &[0], &[1]);
    roster.take(&record).unwrap();
    let old = sign(roster.propose(retire(2)), &[0, 1], &[]);
    assert_eq!(roster.take(&old), Err(BadRecord::Signature));
    let mut new = sign(roster.propose(retire(2)), &[0], &[]);
    new.approve(&suite(), ServerId(1), key(77, false).private(), false).unwrap();
    assert_eq!(roster.take(&new), Ok(Taken::New));
    // Who is retired signs nothing, until it joins again.
    let by_retired = sign(roster.propose(Change::Join { operator: self::operator(5) }), &[0, 2], &[]);
    assert_eq!(roster.take(&by_retired), Err(BadRecord::Signature));
    assert_eq!(*roster.retired(), [ServerId(2)].into());
    let mut back = sign(roster.propose(Change::Join { operator: self::operator(2) }), &[0], &[]);
    back.approve(&suite(), ServerId(1), key(77, false).private(), false).unwrap();
    assert_eq!(roster.take(&back), Ok(Taken::New));
    assert!(roster.retired().is_empty());
    assert_eq!(roster.records_from(2).len(), 2);
}

#[test]
fn two_chains_are_noticed() {
    let mut ours = roster(4);
    let first = sign(ours.propose(retire(3)), &[0, 1, 2], &[]);
    let other = sign(ours.propose(retire(0)), &[1, 2, 3], &[]);
    let unsigned = sign(ours.propose(retire(0)), &[1, 2], &[]);
    ours.take(&first).unwrap();
    let next = sign(ours.propose(retire(2)), &[0, 1], &[]);
    ours.take(&next).unwrap();
    assert_eq!(ours.take(&other), Ok(Taken::Fork));
    assert_eq!(ours.take(&unsigned), Err(BadRecord::TooFew));
    assert_eq!(ours.ids(), [ServerId(0), ServerId(1)].into());
    let mut two = roster(2);
    let (one, other) = (sign(two.propose(retire(1)), &[0], &[]), sign(two.propose(retire(0)), &[1], &[]));
    two.take(&one).unwrap();
    assert_eq!(two.take(&other), Ok(Taken::Split));
}

#[test]
fn a_roster_has_bounds() {
    let wide = Operator { address: vec![0; LONGEST_FIELD + 1], ..operator(9) };
    assert_eq!(Roster::found(suite(), vec![wide.clone()]).unwrap_err(), BadRecord::TooLarge);
    assert_eq!(Roster::found(suite(), Vec::new()).unwrap_err(), BadRecord::TooLarge);
    assert_eq!(Roster::found(suite(), vec![operator(1), operator(1)]).unwrap_err(), BadRecord::IsMember);
    let mut one = roster(1);
    let record = sign(one.propose(Change::Join { operator: wide }), &[0], &[]);
    assert_eq!(one.take(&record), Err(BadRecord::TooLarge));
    let mut full = roster(MOST_OPERATORS as u32);
    let all: Vec<_> = (0..40).collect();
    let record = sign(full.propose(Change::Join { operator: operator(99) }), &all, &[]);
    assert_eq!(full.take(&record), Err(BadRecord::TooLarge));
    let founders = (0..=MOST_OPERATORS as u32).map(operator).collect();
    assert_eq!(Roster::found(suite(), founders).unwrap_err(), BadRecord::TooLarge);
}
