//! Groups whose records can't be read: all others go on, and nothing of a damaged one is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Network, Person, START, group, settle};
use dmls::{CipherSuite, Config, Credential, Group, Identity, KeyPackage, NewGroupOptions, Provider, Time};
use dmls_client::{Error, Event, Names, Parcel, Place};
use dmls_store::Table;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn put_state(person: &mut Person, id: &[u8], state: &[u8]) {
    let table = Table::of_group("state", id);
    person.client.profile_mut().transaction(|tx| tx.put(table, b"state", state)).unwrap();
}

/// What the client keeps of it can't be read; what that was.
fn damage_state(person: &mut Person, id: &[u8]) -> Vec<u8> {
    let table = Table::of_group("state", id);
    let before = person.client.profile().get(table, b"state").unwrap().unwrap().as_bytes().to_vec();
    put_state(person, id, b"?");
    before
}

/// The second of two commits was written, and the first was not.
fn damage_records(person: &mut Person, id: &[u8]) {
    let mut config = Config::new(Names);
    config.limits.epochs = 512;
    let mut copy = person.client.profile().load_group(id, config).unwrap();
    copy.commit().stage_confirmed(START, &mut person.rng).unwrap().apply_unsaved();
    let second = copy.commit().stage_confirmed(START, &mut person.rng).unwrap();
    let profile = person.client.profile_mut();
    second.persist(|changes, _| profile.transaction(|tx| tx.write_group(id, changes))).unwrap();
}

/// Records of another group are in the place of its own.
fn exchange_records(person: &mut Person, id: &[u8]) {
    let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    let other = Identity::generate(suite, Credential::basic("other"), &mut person.rng).unwrap();
    let (options, config) = (NewGroupOptions::default(), Config::new(Names));
    let founding = Group::create(&other, options, config, START, &mut person.rng).unwrap();
    let profile = person.client.profile_mut();
    let write = |changes: &dmls::Changes| profile.transaction(|tx| tx.write_group(id, changes));
    founding.persist(write).unwrap();
}

/// Alice and Bob have two groups. What one does with the first of Bob's, and he opens his profile again.
fn scene(seed: u64, what: impl FnOnce(&mut Person, &[u8])) -> (Person, Person, Vec<u8>, Network, Time) {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], seed, &mut now);
    people[0].create("family", now);
    people[0].invite("family", &["Bob"], now);
    people[0].say("friends", "hello", now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    people[1].say("friends", "hi", now);
    let id = people[1].id("friends");
    let (mut bob, alice) = (people.remove(1), people.remove(0));
    what(&mut bob, &id);
    (alice, bob.restart(), id, network, now)
}

fn settle_days(people: &mut [&mut Person], network: &Network, now: &mut Time) {
    for _ in 0..2 {
        settle(people, network, now);
        now.0 += 86_400;
    }
}

#[test]
fn a_damaged_group_stops_no_other_and_is_taken_in_again() {
    let damages: [fn(&mut Person, &[u8]); 3] = [
        |bob, id| drop(damage_state(bob, id)),
        |bob, id| damage_records(bob, id),
        |bob, id| exchange_records(bob, id),
    ];
    for (seed, damage) in (40..).zip(damages) {
        let (mut alice, mut bob, id, network, mut now) = scene(seed, damage);
        let [Event::Damaged { group, name, .. }] = &bob.client.events()[..] else {
            panic!("it is told once")
        };
        assert_eq!((group, name.as_str()), (&id, "friends"));
        let damaged = bob.client.groups().into_iter().filter(|group| group.damaged.is_some());
        assert_eq!(damaged.map(|group| group.name).collect::<Vec<_>>(), ["friends"]);
        assert!(matches!(bob.client.loaded(&id), Err(Error::DamagedGroup { .. })));
        let refused = bob.act("friends", |client, id, rng| client.send(id, "?", now, rng));
        assert!(matches!(refused, Err(Error::DamagedGroup { .. })));
        assert_eq!(bob.texts("friends"), ["hello", "hi"], "what was said can be read");
        // The other group goes on, and nothing is asked for by itself.
        alice.say("friends", "meanwhile", now);
        alice.say("family", "dinner", now);
        settle_days(&mut [&mut alice, &mut bob], &network, &mut now);
        assert_eq!(bob.texts("family"), ["dinner"]);
        assert!(!bob.notes("friends").iter().any(|note| note.contains("asked")));
        bob.act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
        settle_days(&mut [&mut alice, &mut bob], &network, &mut now);
        bob.say("friends", "here again", now);
        settle_days(&mut [&mut alice, &mut bob], &network, &mut now);
        for person in [&alice, &bob] {
            assert_eq!(person.texts("friends"), ["hello", "here again", "hi", "meanwhile"]);
            assert_eq!(person.members("friends"), ["Alice", "Bob"]);
        }
        assert_eq!(bob.head("friends"), alice.head("friends"));
        let mut bob = bob.restart();
        assert!(bob.client.groups().iter().all(|group| group.damaged.is_none()));
        assert_eq!(bob.client.events(), []);
    }
}

#[test]
fn a_damaged_group_goes_on_once_its_records_are_back() {
    let mut before = Vec::new();
    let (mut alice, mut bob, id, network, mut now) = scene(42, |bob, id| before = damage_state(bob, id));
    alice.say("friends", "meanwhile", now);
    settle_days(&mut [&mut alice, &mut bob], &network, &mut now);
    put_state(&mut bob, &id, &before);
    let mut bob = bob.restart();
    assert_eq!(bob.client.events(), []);
    settle_days(&mut [&mut alice, &mut bob], &network, &mut now);
    for person in [&alice, &bob] {
        assert_eq!(person.texts("friends"), ["hello", "hi", "meanwhile"]);
        assert!(
            !person.notes("friends").iter().any(|note| note.contains("again")),
            "nobody was taken in again"
        );
    }
    assert_eq!(bob.head("friends"), alice.head("friends"));
}

#[test]
fn a_damaged_group_can_be_forgotten() {
    let (_, mut bob, id, _, _) = scene(43, damage_records);
    bob.client.forget(&id).unwrap();
    assert!(matches!(bob.client.forget(&id), Err(Error::UnknownGroup(_))));
    let mut bob = bob.restart();
    assert_eq!(bob.client.groups().len(), 1);
    assert_eq!(bob.client.events(), []);
}

/// Who the members are can't be seen: a stranger's answer to the request waits for a person.
#[test]
fn a_stranger_takes_nobody_into_a_group_that_is_damaged() {
    let (mut alice, mut bob, id, network, mut now) = scene(44, damage_records);
    bob.act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
    bob.sync(&network, now);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
    let mallory = Identity::generate(suite, Credential::basic("Mallory"), &mut rng).unwrap();
    let (options, config) =
        (NewGroupOptions { group_id: Some(id), ..NewGroupOptions::default() }, Config::new(Names));
    let founding = Group::create(&mallory, options, config, now, &mut rng).unwrap();
    let mut fake = founding.persist(|_| Ok::<_, dmls::Error>(())).unwrap();
    let request = network.parcels().into_iter().find(|parcel| parcel.place == Place::Requests).unwrap();
    let request = KeyPackage::from_message(&request.bytes).unwrap();
    let step = fake.commit().add(request).stage_confirmed(now, &mut rng).unwrap();
    let bytes = step.apply_unsaved().epoch.welcome.unwrap();
    network.put(&Parcel { place: Place::Invitations, bytes });
    bob.sync(&network, now);
    assert!(bob.events.iter().any(|event| matches!(event, Event::Invited { .. })), "it is told");
    assert!(bob.client.groups().iter().any(|group| group.damaged.is_some()));
    settle_days(&mut [&mut alice, &mut bob], &network, &mut now);
    assert_eq!(bob.members("friends"), ["Alice", "Bob"], "Alice has spoken there");
    assert_eq!(bob.head("friends"), alice.head("friends"));
}
