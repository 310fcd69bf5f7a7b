//! Random histories of people: they write, commit, invite, remove and leave, on networks that split and merge, and their processes end anywhere.
//! At the end all who are in the group are at one head, and everything that was said was read once.
//!
//! `DMLS_WORLDS` is how many (6), `DMLS_WORLD_SEED` the first of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Network, Person, START, shuffle};
use dmls::Time;
use dmls_client::{Entry, Event};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const NAMES: [&str; 8] = ["Alice", "Bob", "Carol", "Dave", "Eve", "Frank", "Grace", "Heidi"];
const FOUNDERS: usize = 5;

struct World {
    seed: u64,
    /// Whether it is told what happens.
    traced: bool,
    rng: ChaCha20Rng,
    now: Time,
    people: Vec<Option<Person>>,
    /// On which side each of them is.
    side: Vec<usize>,
    sides: Vec<Network>,
    said: BTreeMap<String, usize>,
    /// Who was removed, left, or was asked to be taken in again: what was said meanwhile may be lost to them.
    unsteady: BTreeSet<usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut now = START;
        let network = Network::default();
        let mut people: Vec<_> =
            NAMES.iter().enumerate().map(|(n, name)| Person::new(name, seed * 100 + n as u64)).collect();
        for _ in 0..2 {
            people.iter_mut().for_each(|person| person.sync(&network, now));
        }
        people[0].create("friends", now);
        people[0].invite("friends", &NAMES[1..FOUNDERS], now);
        common::settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        Self {
            seed,
            traced: number("DMLS_WORLD_TRACE", 0) > 0,
            rng: ChaCha20Rng::seed_from_u64(seed),
            now,
            side: vec![0; people.len()],
            people: people.into_iter().map(Some).collect(),
            sides: vec![network],
            said: BTreeMap::new(),
            unsteady: BTreeSet::new(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.next_u32() as usize % n
    }

    fn person(&mut self, who: usize) -> &mut Person {
        self.people[who].as_mut().unwrap()
    }

    fn is_in(&self, who: usize) -> bool {
        let groups = self.people[who].as_ref().unwrap().client.groups();
        groups.first().is_some_and(|group| !group.excluded)
    }

    fn sync(&mut self, who: usize) {
        let (network, now) = (self.sides[self.side[who]].clone(), self.now);
        let (side, traced) = (self.side[who], self.traced);
        let person = self.person(who);
        let before = person.events.len();
        person.sync(&network, now);
        if !traced {
            return;
        }
        for event in &person.events[before..] {
            if let Event::Entry { entry: Entry::Note(note), .. } = event {
                let (_, head, number) = person.place();
                println!("{:>8} side {side} {:6} {head} {number:3}: {note}", now.0 - START.0, NAMES[who]);
            }
        }
    }

    /// Something that happens.
    fn step(&mut self, number: usize) {
        let who = self.below(NAMES.len());
        let now = self.now;
        match self.below(100) {
            0..5 => self.split(),
            5..9 => self.merge_two(),
            9..13 => {
                let person = self.people[who].take().unwrap();
                self.people[who] = Some(person.restart());
            }
            13..40 => self.sync(who),
            _ if !self.is_in(who) => {}
            40..44 => drop(self.person(who).act("friends", |client, id, rng| client.update(id, now, rng))),
            44..47 => {
                let other = NAMES[FOUNDERS + self.below(NAMES.len() - FOUNDERS)];
                drop(
                    self.person(who)
                        .act("friends", |client, id, rng| client.invite(id, &[other], None, now, rng)),
                );
            }
            47..48 => {
                let other = self.below(NAMES.len());
                let removed = self
                    .person(who)
                    .act("friends", |client, id, rng| client.remove(id, &[NAMES[other]], None, now, rng));
                if removed.is_ok() {
                    self.unsteady.insert(other);
                }
            }
            48..49 if who != 0 => {
                drop(self.person(who).act("friends", |client, id, rng| client.leave(id, now, rng)));
                self.unsteady.insert(who);
            }
            _ => {
                let text = format!("{} {number}", NAMES[who]);
                let sent =
                    self.person(who).act("friends", |client, id, rng| client.send(id, &text, now, rng));
                if sent.is_ok() {
                    self.said.insert(text, who);
                }
            }
        }
        self.now.0 += self.rng.next_u64() % 200;
    }

    fn split(&mut self) {
        if self.sides.len() > 3 {
            return;
        }
        let from = self.below(self.sides.len());
        self.sides.push(self.sides[from].copy());
        for who in 0..NAMES.len() {
            if self.side[who] == from && self.below(2) == 0 {
                self.side[who] = self.sides.len() - 1;
            }
        }
    }

    fn merge_two(&mut self) {
        if self.sides.len() < 2 {
            return;
        }
        let gone = 1 + self.below(self.sides.len() - 1);
        let into = self.below(gone);
        let merged = self.sides.remove(gone);
        self.sides[into].merge(&merged);
        for side in &mut self.side {
            *side = if *side == gone {
                into
            } else if *side > gone {
                *side - 1
            } else {
                *side
            };
        }
    }

    /// All is one network, and goes on until nothing moves.
    fn heal(&mut self) {
        while self.sides.len() > 1 {
            self.merge_two();
        }
        if self.traced {
            println!("all is one network");
        }
        let (mut quiet, mut rounds) = (0, 0);
        // Who lost the way asks once a day, and is left to others for a while: it is over when nothing was said for two days.
        while quiet < 17 {
            let before = self.sides[0].parcels().len();
            let mut order: Vec<_> = (0..NAMES.len()).collect();
            shuffle(&mut order, &mut self.rng);
            for who in order {
                self.sync(who);
                self.now.0 += 11;
            }
            rounds += 1;
            self.now.0 += if rounds % 8 == 0 { 86_400 } else { 301 };
            quiet = if self.sides[0].parcels().len() == before { quiet + 1 } else { 0 };
            assert!(rounds < 200, "seed {}: they never come to rest", self.seed);
        }
    }

    /// For a person who looks for what went wrong.
    fn tell(&self) {
        for (who, person) in self.people.iter().enumerate() {
            let person = person.as_ref().unwrap();
            for group in person.client.groups() {
                let (held, head, number) = person.place();
                let how = (group.excluded, group.stranded, group.leaving);
                println!(
                    "{:6} {head} {number}, {held} wait, out, lost, leaving {how:?}, {:?}",
                    NAMES[who], group.members
                );
            }
        }
    }

    fn check(&self) {
        let seed = self.seed;
        let people: Vec<_> = self.people.iter().map(|person| person.as_ref().unwrap()).collect();
        let mut heads = BTreeMap::<_, Vec<usize>>::new();
        for (who, person) in people.iter().enumerate().filter(|(who, _)| self.is_in(*who)) {
            heads.entry(person.head("friends")).or_default().push(who);
        }
        let members = heads.values().max_by_key(|members| members.len()).unwrap();
        let mut names: Vec<_> = members.iter().map(|who| NAMES[*who].to_owned()).collect();
        names.sort();
        for (who, person) in
            people.iter().enumerate().filter(|(_, person)| !person.client.groups().is_empty())
        {
            let name = NAMES[who];
            assert!(
                person.client.outbox(1).unwrap().is_empty(),
                "seed {seed}: {name} has something to publish"
            );
            if members.contains(&who) {
                assert_eq!(person.members("friends"), names, "seed {seed}: as {name} sees it");
            } else {
                // Who was removed where it can't see it asks to be taken in again.
                let group = &person.client.groups()[0];
                assert!(group.excluded || group.stranded, "seed {seed}: {name} does not know that it is out");
            }
        }
        for (who, person) in
            people.iter().enumerate().filter(|(_, person)| !person.client.groups().is_empty())
        {
            let texts = person.texts("friends");
            let once: BTreeSet<_> = texts.iter().collect();
            assert_eq!(once.len(), texts.len(), "seed {seed}: {} read something twice", NAMES[who]);
            if who >= FOUNDERS || self.unsteady.contains(&who) || !members.contains(&who) {
                continue;
            }
            for (text, author) in &self.said {
                // Who is out may have said what only a lost branch saw.
                if members.contains(author) && !self.unsteady.contains(author) {
                    assert!(once.contains(text), "seed {seed}: {} did not read {text:?}", NAMES[who]);
                }
            }
        }
        for (who, person) in people.iter().enumerate() {
            // Who was invited on a branch by somebody whom only that one has can't tell it from an attack.
            let is_refused = |event: &&Event| match event {
                Event::Refused { why, .. } => !why.contains("by somebody who never was"),
                _ => false,
            };
            let refused: Vec<_> = person.events.iter().filter(is_refused).collect();
            assert!(refused.is_empty(), "seed {seed}: {} refused {refused:?}", NAMES[who]);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "which worlds is an argument of the test")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn all_come_together_and_read_everything_once() {
    let first = number("DMLS_WORLD_SEED", 1);
    for seed in first..first + number("DMLS_WORLDS", 6) {
        let mut world = World::new(seed);
        for step in 0..200 {
            world.step(step);
        }
        world.heal();
        world.tell();
        world.check();
    }
}
