//! A process ends in the middle of a synchronization: at any call of the network, and after any parcel. Another one goes on: all come together, nothing
//! is lost and nothing is read twice.
//!
//! `DMLS_CRASH_STRIDE` is every how many calls one is tried (5).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Network, Person, START, group, settle};
use dmls::Time;
use dmls_client::{Error, Fault, Flow, Name, Parcel, Place, Transport};

/// A network that fails once, at a call or behind a parcel.
struct Failing<'a> {
    network: &'a Network,
    left: &'a mut usize,
}

impl Failing<'_> {
    fn call(&mut self) -> std::io::Result<()> {
        *self.left = self.left.wrapping_sub(1);
        if *self.left == 0 { Err(std::io::Error::other("it is gone")) } else { Ok(()) }
    }
}

impl Transport for Failing<'_> {
    type Error = std::io::Error;

    fn publish(&mut self, parcel: &Parcel) -> std::io::Result<()> {
        // It may be there although it failed.
        self.network.put(parcel);
        self.call()
    }

    fn arrived(
        &mut self,
        place: Place,
        known: &dyn Fn(&Name) -> bool,
        take: &mut dyn FnMut(Name, Vec<u8>) -> Flow,
    ) -> std::io::Result<Vec<Fault>> {
        for parcel in self.network.parcels() {
            if parcel.place == place && !known(&parcel.name()) {
                if take(parcel.name(), parcel.bytes) == Flow::Stop {
                    break;
                }
                self.call()?;
            }
        }
        self.call()?;
        Ok(Vec::new())
    }

    fn remove(&mut self, place: Place, name: &Name) -> std::io::Result<()> {
        self.network.take_out(place, name);
        self.call()
    }
}

/// Synchronizes; when the network fails, the process ends, and another one goes on with a network that works.
fn sync(mut person: Person, network: &Network, left: &mut usize, now: Time) -> Person {
    let mut failing = Failing { network, left };
    match person.client.sync(&mut failing, now, &mut person.rng, &mut |_| {}) {
        Ok(_) => person,
        Err(Error::Network(_)) => {
            let mut person = person.restart();
            person.sync(network, now);
            person
        }
        Err(e) => panic!("{e}"),
    }
}

/// Both sides of a split commit and write, one invites somebody; then it heals. Whether a call failed.
fn history(fails_at: usize) -> bool {
    let mut now = START;
    let mut left = fails_at;
    let (people, network) = group(&["Alice", "Bob", "Carol"], 31, &mut now);
    let mut people: Vec<_> = people.into_iter().map(Some).collect();
    people.push(Some(Person::new("Dave", 32)));
    let mut step = |who: usize, network: &Network, now: Time, what: &dyn Fn(&mut Person)| {
        let mut person = people[who].take().unwrap();
        what(&mut person);
        people[who] = Some(sync(person, network, &mut left, now));
    };
    step(3, &network, now, &|_| ());
    step(0, &network, now, &|_| ());
    let other = network.copy();
    step(0, &network, now, &|alice| {
        alice.invite("friends", &["Dave"], now);
        alice.say("friends", "one", now);
    });
    step(3, &network, now, &|_| ());
    step(1, &other, now, &|bob| {
        bob.update("friends", now);
        bob.say("friends", "two", now);
    });
    step(2, &other, now, &|carol| carol.say("friends", "three", now));
    network.merge(&other);
    now.0 += 60;
    for _ in 0..4 {
        for who in 0..4 {
            step(who, &network, now, &|_| ());
            now.0 += 70;
        }
    }
    let mut people: Vec<_> = people.into_iter().map(|person| person.unwrap().restart()).collect();
    for _ in 0..4 {
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    }
    for person in &people {
        let name = person.client.name();
        assert_eq!(person.head("friends"), people[0].head("friends"), "{fails_at}: {name}");
        assert_eq!(person.members("friends"), ["Alice", "Bob", "Carol", "Dave"], "{fails_at}: {name}");
        assert!(person.client.outbox(1).unwrap().is_empty(), "{fails_at}: {name}");
        let texts = person.texts("friends");
        // Dave came when something had been said.
        let expected: &[&str] = if name == "Dave" {
            &texts.iter().map(String::as_str).collect::<Vec<_>>()
        } else {
            &["one", "three", "two"]
        };
        assert_eq!(texts, expected, "{fails_at}: {name}");
    }
    left == 0 || left > fails_at
}

#[allow(clippy::disallowed_methods, reason = "how long a test runs is decided outside")]
fn stride() -> usize {
    std::env::var("DMLS_CRASH_STRIDE").ok().map_or(9, |stride| stride.parse().expect("a number"))
}

#[test]
fn ends_at_any_call_of_the_network() {
    for fails_at in (1..).step_by(stride()) {
        let has_failed = history(fails_at);
        if !has_failed {
            assert!(fails_at > 20, "a history with fewer calls shows nothing");
            return;
        }
    }
}
