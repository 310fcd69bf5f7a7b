//! What outsiders with access to the network, and members who lie, can't do: nobody loses a group, nobody is moved into another one, nothing
//! grows without bound, and what is no good is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Network, Person, START, group, settle};
use dmls::codec::{Decode, Encode};
use dmls::extension::Extensions;
use dmls::registry::ExtensionType;
use dmls::{
    CipherSuite, Config, Credential, DmlsMessage, EpochId, Group, Identity, KeyPackage, Lifetime,
    MessageKind, NewGroupOptions, OwnKeyPackage, Provider, Time,
};
use dmls_client::{Event, Name, Names, Parcel, Place};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Somebody with the library, and without our rules.
struct Mallory {
    identity: Identity,
    rng: ChaCha20Rng,
}

impl Mallory {
    fn new(name: &str, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
        let identity = Identity::generate(suite, Credential::basic(name), &mut rng).unwrap();
        let mut capabilities = identity.capabilities().clone();
        capabilities.extensions.push(ExtensionType(0xF0DB));
        Self { identity: identity.with_capabilities(capabilities), rng }
    }

    /// A key package that says when it was made, and to which group its owner wants back.
    fn key_package(&mut self, made: Time, rejoins: &[u8]) -> OwnKeyPackage {
        let mut origin = b"dmls".to_vec();
        made.0.encode(&mut origin);
        rejoins.to_vec().encode(&mut origin);
        origin.push(0);
        let mut extensions = Extensions::new();
        extensions.set(ExtensionType::APPLICATION_ID, origin);
        let identity = self.identity.clone().with_extensions(extensions);
        identity.key_package(Lifetime::starting(made, 86_400), &mut self.rng).unwrap()
    }

    /// Joins by the invitation that is in the network.
    fn join(&self, own: &OwnKeyPackage, network: &Network, now: Time) -> Group {
        let welcomes = network.parcels().into_iter().filter(|parcel| parcel.place == Place::Invitations);
        let join = |parcel: Parcel| Group::join(own, &parcel.bytes, None, Config::new(Names), now).ok();
        let founding = welcomes.filter_map(join).next().unwrap();
        founding.persist(|_| Ok::<_, dmls::Error>(())).unwrap()
    }

    fn say(&mut self, group: &mut Group, data: &[u8]) -> Vec<u8> {
        group.send(data).seal(&mut self.rng).unwrap().apply_unsaved()
    }
}

fn put(network: &Network, place: Place, bytes: Vec<u8>) -> Name {
    let parcel = Parcel { place, bytes };
    network.put(&parcel);
    parcel.name()
}

fn messages(network: &Network) -> Vec<Parcel> {
    network.parcels().into_iter().filter(|parcel| matches!(parcel.place, Place::Group(_))).collect()
}

fn refused(person: &Person) -> Vec<&str> {
    let why = |event: &'_ Event| matches!(event, Event::Refused { .. });
    let refused = person.events.iter().filter(|event| why(event));
    refused.map(|event| if let Event::Refused { why, .. } = event { why.as_str() } else { "" }).collect()
}

/// All are where they were, and hear each other.
fn check(people: &mut [Person], network: &Network, now: &mut Time) {
    settle(&mut people.iter_mut().collect::<Vec<_>>(), network, now);
    people[0].say("friends", "still there", *now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), network, now);
    let members = people[0].members("friends");
    for person in people.iter() {
        let name = person.client.name();
        assert_eq!(person.head("friends"), people[0].head("friends"), "{name}");
        assert_eq!(person.members("friends"), members, "{name}");
        assert!(person.texts("friends").contains(&"still there".to_owned()), "{name}");
        assert!(!person.notes("friends").iter().any(|note| note.contains("asked the others")), "{name}");
    }
}

#[test]
fn garbage_with_the_names_of_epochs_that_nobody_knows() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 21, &mut now);
    people[0].say("friends", "hello", now);
    people[0].sync(&network, now);
    let is_late = |parcel: &Parcel| matches!(dmls::classify(&parcel.bytes), Ok(MessageKind::Message { number, .. }) if number > 0);
    let real = messages(&network).into_iter().find(is_late).unwrap();
    let mut forged = DmlsMessage::from_bytes(&real.bytes).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut some = [0; 32];
    // More than there is room for of one epoch: they would drive each other out for ever.
    forged.dmls_epoch = EpochId::from(vec![1; 32]);
    for _ in 0..300 {
        let mut other = forged.to_bytes();
        let length = other.len();
        rng.fill_bytes(&mut some);
        other[length - 65..length - 33].copy_from_slice(&some);
        put(&network, real.place, other);
    }
    people[1].sync(&network, now);
    for _ in 0..1500 {
        rng.fill_bytes(&mut some);
        forged.dmls_epoch = EpochId::from(some.to_vec());
        put(&network, real.place, forged.to_bytes());
    }
    let before = people[1].client.profile().generation();
    people[1].sync(&network, now);
    let id = people[1].id("friends");
    assert!(people[1].client.group(&id).unwrap().held() <= 1024, "no more than the limit waits");
    let taken = people[1].client.profile().generation();
    assert!(taken - before < 1000, "what there is no room for costs nothing: {}", taken - before);
    people[1].sync(&network, now);
    assert_eq!(people[1].client.profile().generation(), taken, "it is over");
    people[0].update("friends", now);
    check(&mut people, &network, &mut now);
}

#[test]
fn damaged_and_misplaced_parcels() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 22, &mut now);
    people[0].say("friends", "hello", now);
    people[0].update("friends", now);
    people[0].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
    people[0].sync(&network, now);
    let place = messages(&network)[0].place;
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    for parcel in network.parcels() {
        for other in [Place::People, Place::Invitations, Place::Requests, place] {
            put(&network, other, parcel.bytes.clone());
        }
        let length = parcel.bytes.len();
        put(&network, parcel.place, parcel.bytes[..(rng.next_u64() as usize) % length].to_vec());
        for _ in 0..4 {
            let mut damaged = parcel.bytes.clone();
            damaged[(rng.next_u64() as usize) % length] ^= 1 << (rng.next_u32() % 8);
            put(&network, parcel.place, damaged);
        }
    }
    put(&network, place, Vec::new());
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    for person in &people {
        assert_eq!(person.members("friends"), ["Alice", "Bob", "Carol"]);
        assert!(!refused(person).is_empty(), "it is told");
        assert!(!person.events.iter().any(|event| matches!(event, Event::Failed { .. })));
    }
    people[1].say("friends", "still there", now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    for person in &people {
        assert_eq!(person.texts("friends"), ["hello", "still there"]);
    }
}

#[test]
fn an_invitation_into_a_group_with_the_same_id() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 23, &mut now);
    let id = people[1].id("friends");
    let bob = people[1].client.fingerprint();
    let mut mallory = Mallory::new("Mallory", 3);
    let options = NewGroupOptions { group_id: Some(id), ..NewGroupOptions::default() };
    let config = Config::new(Names);
    let founding = Group::create(&mallory.identity, options, config, now, &mut mallory.rng).unwrap();
    let mut fake = founding.persist(|_| Ok::<_, dmls::Error>(())).unwrap();
    let people_place = network.parcels().into_iter().filter(|parcel| parcel.place == Place::People);
    let key_packages = people_place.map(|parcel| KeyPackage::from_message(&parcel.bytes).unwrap());
    for key_package in key_packages {
        let step = fake.commit().add(key_package).stage_confirmed(now, &mut mallory.rng);
        let Ok(step) = step else { continue };
        let welcome = step.apply_unsaved().epoch.welcome.unwrap();
        put(&network, Place::Invitations, welcome);
    }
    check(&mut people, &network, &mut now);
    assert_eq!(people[1].client.fingerprint(), bob);
    assert!(refused(&people[1]).iter().any(|why| why.contains("never was")), "{:?}", refused(&people[1]));
}

/// Invitations into a group that we are in wait, in case that we were removed there: a member can make any number.
#[test]
fn more_invitations_of_a_member_than_a_client_keeps() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 29, &mut now);
    let mut mallory = Mallory::new("Mallory", 7);
    let own = mallory.key_package(now, &[]);
    put(&network, Place::People, own.message());
    people[0].sync(&network, now);
    people[0].invite("friends", &["Mallory"], now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    // In a group of the same id Bob is added and removed, again and again.
    let options = NewGroupOptions { group_id: Some(people[1].id("friends")), ..NewGroupOptions::default() };
    let founding =
        Group::create(&mallory.identity, options, Config::new(Names), now, &mut mallory.rng).unwrap();
    let mut fake = founding.persist(|_| Ok::<_, dmls::Error>(())).unwrap();
    let people_place = network.parcels().into_iter().filter(|parcel| parcel.place == Place::People);
    let key_packages = people_place.map(|parcel| KeyPackage::from_message(&parcel.bytes).unwrap());
    let of_bob = |made: &KeyPackage| made.leaf_node.credential == Credential::basic("Bob");
    let bob = key_packages.into_iter().find(of_bob).unwrap();
    for _ in 0..300 {
        let step = fake.commit().add(bob.clone()).stage_confirmed(now, &mut mallory.rng).unwrap();
        put(&network, Place::Invitations, step.apply_unsaved().epoch.welcome.unwrap());
        let bob_is = fake.head().members().unwrap()[1].leaf;
        fake.commit().remove(bob_is).stage_confirmed(now, &mut mallory.rng).unwrap().apply_unsaved();
    }
    people[1].sync(&network, now);
    people[0].create("family", now);
    people[0].invite("family", &["Bob"], now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(people[1].members("family"), ["Alice", "Bob"], "there is room for it");
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(people[1].head("friends"), people[0].head("friends"), "he is in no other group of that id");
}

#[test]
fn key_packages_that_their_owner_did_not_make() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 24, &mut now);
    let id = people[0].id("friends");
    let carol = network.parcels().into_iter().filter(|parcel| parcel.place == Place::People);
    let carol = carol.map(|parcel| KeyPackage::from_message(&parcel.bytes).unwrap());
    let key = people[2].client.group(&id).unwrap().head().members().unwrap();
    let key = key.into_iter().find(|member| member.credential == Credential::basic("Carol")).unwrap();
    let real = carol.into_iter().find(|made| made.leaf_node.signature_key == key.signature_key).unwrap();
    // Carol's own key package is no request.
    put(&network, Place::Requests, network_message(&real));
    // Mallory's, with Carol's name and key in it: newer than all of hers.
    let mut mallory = Mallory::new("Carol", 4);
    let mut forged = mallory.key_package(Time(now.0 + 60), &id).key_package().clone();
    forged.leaf_node.signature_key = key.signature_key;
    for place in [Place::Requests, Place::People] {
        put(&network, place, network_message(&forged));
    }
    check(&mut people, &network, &mut now);
    for person in &people {
        assert!(!person.notes("friends").iter().any(|note| note.contains("in again")));
        assert!(!person.events.iter().any(|event| matches!(event, Event::Failed { .. })));
        assert_eq!(refused(person).len(), 2, "it is told");
    }
}

fn network_message(key_package: &KeyPackage) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 5];
    key_package.encode(&mut message);
    message
}

#[test]
fn crowds_of_the_same_name() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 25, &mut now);
    let mut dave = Person::new("Dave", 26);
    dave.sync(&network, now);
    people[0].sync(&network, now);
    for seed in 0..60 {
        let mut mallory = Mallory::new("Dave", 100 + seed);
        let own = mallory.key_package(now, &[]);
        put(&network, Place::People, own.message());
    }
    let mut busy = Mallory::new("Busy", 99);
    for made in 0..60 {
        let own = busy.key_package(Time(now.0 + made), &[]);
        put(&network, Place::People, own.message());
    }
    people[0].sync(&network, Time(now.0 + 60));
    let same = people[0].client.people(now).unwrap().into_iter().filter(|(name, _)| name == "Dave").count();
    assert!(same <= 17, "{same} of one name are kept");
    assert!(refused(&people[0]).iter().any(|why| why.contains("too many")));
    // The one who was there first can still be invited.
    let dave_is = Some(dave.client.fingerprint());
    people[0].act("friends", |client, id, rng| client.invite(id, &["Dave"], dave_is, now, rng).unwrap());
    people.push(dave);
    check(&mut people, &network, &mut now);
}

#[test]
fn a_member_who_lies() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 27, &mut now);
    let mut mallory = Mallory::new("Mallory", 5);
    let own = mallory.key_package(now, &[]);
    put(&network, Place::People, own.message());
    people[0].sync(&network, now);
    people[0].invite("friends", &["Mallory"], now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let mut group = mallory.join(&own, &network, now);
    people[0].say("friends", "from Alice", now);
    people[0].sync(&network, now);
    let place = messages(&network)[0].place;
    let id_of_alice = people[0].messages("friends")[0].id;
    let payload = |version: u8, kind: u8, id: [u8; 16], received: Vec<[u8; 16]>, body: &[u8]| {
        let mut data = vec![version, kind];
        data.extend(id);
        START.0.encode(&mut data);
        data.push(0);
        let marks: Vec<u8> = received.concat();
        marks.encode(&mut data);
        body.to_vec().encode(&mut data);
        data
    };
    let lies = [
        payload(2, 0, [1; 16], Vec::new(), b"another version"),
        payload(1, 9, [2; 16], Vec::new(), b"another kind"),
        payload(1, 0, [3; 16], Vec::new(), b"no \xff text"),
        payload(1, 0, [4; 16], Vec::new(), &vec![b'x'; (1 << 16) + 1]),
        payload(1, 1, [5; 16], vec![[7; 16]; 4000], b""),
        b"short".to_vec(),
    ];
    let count = lies.len();
    for lie in lies {
        let message = mallory.say(&mut group, &lie);
        put(&network, place, message);
    }
    // Alice's id, under Mallory's name; marks of what does not exist; and the longest text.
    let marks = (0..500_u16).map(|n| {
        let mut mark = [9; 16];
        mark[..2].copy_from_slice(&n.to_be_bytes());
        mark
    });
    for data in [
        payload(1, 0, id_of_alice.0, Vec::new(), b"from Mallory"),
        payload(1, 1, [6; 16], marks.collect(), b""),
        payload(1, 0, [8; 16], Vec::new(), &vec![b'x'; 1 << 16]),
    ] {
        let message = mallory.say(&mut group, &data);
        put(&network, place, message);
    }
    check(&mut people, &network, &mut now);
    for person in &people {
        let texts = person.texts("friends");
        assert!(texts.contains(&"from Alice".to_owned()) && texts.contains(&"from Mallory".to_owned()));
        assert_eq!(texts.len(), 4, "these, the longest and the last one");
        let unreadable = person.events.iter().filter(|event| matches!(event, Event::Unreadable { .. }));
        assert_eq!(unreadable.count(), count, "it is told");
    }
}

#[test]
fn a_request_that_nobody_can_carry_out_stops_nobody() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 28, &mut now);
    let mut mallory = Mallory::new("Mallory", 6);
    let own = mallory.key_package(now, &[]);
    put(&network, Place::People, own.message());
    people[0].sync(&network, now);
    people[0].invite("friends", &["Mallory"], now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    // A group with a later id or an earlier one: one of them comes after the one that fails.
    for name in ["family", "work", "chess", "books"] {
        people[0].create(name, now);
        people[0].invite(name, &["Bob"], now);
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    }
    // Its leaf can't be in a group with a name.
    let mut capabilities = mallory.identity.capabilities().clone();
    capabilities.extensions.clear();
    mallory.identity = mallory.identity.clone().with_capabilities(capabilities);
    let request = mallory.key_package(now, &people[0].id("friends"));
    put(&network, Place::Requests, request.message());
    for name in ["family", "work", "chess", "books"] {
        people[1].say(name, "hello", now);
    }
    check(&mut people, &network, &mut now);
    let failed =
        |person: &Person| person.events.iter().filter(|event| matches!(event, Event::Failed { .. })).count();
    assert!(people.iter().map(failed).sum::<usize>() >= 1, "it is told");
    assert!(people.iter().all(|person| failed(person) <= 1), "once, and not tried for ever");
    for name in ["family", "work", "chess", "books"] {
        assert_eq!(people[0].texts(name), ["hello"]);
    }
    // It does not stop those who come after it either.
    people[1].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert!(people[0].notes("friends").iter().any(|note| note.contains("took Bob in again")));
}
