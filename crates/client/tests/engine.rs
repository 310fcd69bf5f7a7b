//! What people see: they write, the network splits, it heals, somebody's process ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Network, Person, START, Seen, group, settle};
use dmls_client::{Error, Event, Place};

#[test]
fn people_meet_and_talk() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 1, &mut now);
    for person in &people {
        assert_eq!(person.members("friends"), ["Alice", "Bob", "Carol"]);
        assert_eq!(person.head("friends"), people[0].head("friends"));
    }
    people[0].say("friends", "hello", now);
    people[1].say("friends", "hi", now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    for person in &people {
        assert_eq!(person.texts("friends"), ["hello", "hi"]);
        let from: Vec<_> =
            person.messages("friends").into_iter().map(|message| (message.text, message.from)).collect();
        assert!(from.contains(&("hello".to_owned(), "Alice".to_owned())));
        assert!(from.contains(&("hi".to_owned(), "Bob".to_owned())));
    }
}

#[test]
fn both_sides_of_a_split_are_read_by_all() {
    let mut now = START;
    let names = ["Alice", "Bob", "Carol", "Dave"];
    let (mut people, network) = group(&names, 2, &mut now);
    let other = network.copy();
    for round in 0..5 {
        for (n, person) in people.iter_mut().enumerate() {
            let here = if n < 2 { &network } else { &other };
            person.sync(here, now);
            person.update("friends", now);
            person.say("friends", &format!("{} {round}", names[n]), now);
            person.sync(here, now);
            now.0 += 60;
        }
    }
    assert_ne!(people[0].head("friends"), people[2].head("friends"));
    network.merge(&other);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let mut said: Vec<_> =
        names.iter().flat_map(|name| (0..5).map(move |round| format!("{name} {round}"))).collect();
    said.sort();
    for person in &people {
        assert_eq!(person.head("friends"), people[0].head("friends"), "{}", person.client.name());
        assert_eq!(person.texts("friends"), said, "{}", person.client.name());
        for shown in person.log("friends") {
            assert!(shown.on_head, "what the lost branch saw went out again: {shown:?}");
        }
    }
    let again = people
        .iter()
        .filter(|person| person.notes("friends").iter().any(|note| note.contains("went out again")));
    assert!(again.count() >= 2, "the two of the branch that lost");
}

#[test]
fn who_was_invited_or_removed_on_a_lost_branch_is_invited_or_removed_again() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol", "Dave"], 3, &mut now);
    let mut eve = Person::new("Eve", 77);
    eve.sync(&network, now);
    people.iter_mut().for_each(|person| person.sync(&network, now));
    let other = network.copy();
    // One side invites Eve, the other one removes Dave; so whichever loses, something is to be done again.
    people[0].invite("friends", &["Eve"], now);
    people[0].sync(&network, now);
    people[2].act("friends", |client, id, rng| client.remove(id, &["Dave"], None, now, rng).unwrap());
    people[2].sync(&other, now);
    network.merge(&other);
    let mut all: Vec<_> = people.iter_mut().collect();
    all.push(&mut eve);
    settle(&mut all, &network, &mut now);
    for person in [&people[0], &people[1], &people[2], &eve] {
        assert_eq!(person.members("friends"), ["Alice", "Bob", "Carol", "Eve"], "{}", person.client.name());
        assert_eq!(person.head("friends"), people[0].head("friends"));
    }
    assert!(people[3].client.groups()[0].excluded, "Dave knows");
    let refused = people[3].act("friends", |client, id, rng| client.send(id, "?", now, rng));
    assert!(matches!(refused, Err(Error::Excluded)));
}

#[test]
fn who_leaves_is_out_after_the_next_commit() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 4, &mut now);
    people[2].act("friends", |client, id, rng| client.leave(id, now, rng).unwrap());
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(people[0].members("friends"), ["Alice", "Bob"]);
    assert_eq!(people[0].head("friends"), people[1].head("friends"));
    assert!(people[2].client.groups()[0].excluded);
}

#[test]
fn a_group_gets_another_name() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 5, &mut now);
    people[1].act("friends", |client, id, rng| client.rename(id, "family", now, rng).unwrap());
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(people[0].client.groups()[0].name, "family");
    people[0].say("family", "hello", now);
    for person in &people {
        assert_eq!(renames(person, "family"), ["Bob named the group family"], "{}", person.client.name());
    }
}

fn renames(person: &Person, group: &str) -> Vec<String> {
    let notes = person.notes(group).into_iter();
    notes.filter(|note| note.contains("named the group") || note.contains("is named")).collect()
}

#[test]
fn a_name_that_a_lost_branch_gave_is_taken_back() {
    // Which of two commits wins is chance.
    let lost = (31..40).filter(|seed| a_name_is_given_in_a_split(*seed)).count();
    assert!(lost > 0 && lost < 9, "both happened: {lost}");
}

/// Bob names the group on one side, Alice commits on the other one; whether the name is taken back.
fn a_name_is_given_in_a_split(seed: u64) -> bool {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], seed, &mut now);
    let other = network.copy();
    people[1].act("friends", |client, id, rng| client.rename(id, "family", now, rng).unwrap());
    for person in &mut people[1..] {
        person.sync(&other, now);
        assert_eq!(renames(person, "family"), ["Bob named the group family"]);
    }
    people[0].update("friends", now);
    people[0].sync(&network, now);
    network.merge(&other);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let name = people[0].client.groups()[0].name.clone();
    let is_lost = name == "friends";
    for (n, person) in people.iter().enumerate() {
        let given = ["Bob named the group family"].into_iter().filter(|_| n > 0 || !is_lost);
        let taken = ["the group is named friends again"].into_iter().filter(|_| n > 0 && is_lost);
        assert_eq!(
            renames(person, &name),
            given.chain(taken).collect::<Vec<_>>(),
            "{}",
            person.client.name()
        );
    }
    is_lost
}

#[test]
fn a_restored_backup_sends_nothing_and_is_taken_in_again() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 6, &mut now);
    let carol = people.pop().unwrap();
    let (mut carol, copy) = carol.backup();
    carol.say("friends", "before", now);
    settle(&mut [&mut people[0], &mut carol], &network, &mut now);
    let mut carol = carol.restore(&copy);
    // Her own message comes, and she has no record of it.
    carol.sync(&network, now);
    let refused = carol.act("friends", |client, id, rng| client.send(id, "again", now, rng));
    assert!(matches!(refused, Err(Error::RolledBack)));
    let (alice, bob) = people.split_at_mut(1);
    settle(&mut [&mut alice[0], &mut bob[0], &mut carol], &network, &mut now);
    carol.say("friends", "after", now);
    settle(&mut [&mut alice[0], &mut bob[0], &mut carol], &network, &mut now);
    assert_eq!(alice[0].texts("friends"), ["after", "before"]);
    assert_eq!(alice[0].head("friends"), carol.head("friends"));
    assert_eq!(alice[0].members("friends"), ["Alice", "Bob", "Carol"]);
}

#[test]
fn an_old_request_can_not_be_repeated() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 7, &mut now);
    people[2].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    let requests: Vec<_> =
        network.parcels().into_iter().filter(|parcel| parcel.place == dmls_client::Place::Requests).collect();
    assert_eq!(requests.len(), 1);
    let taken_in = people[0].notes("friends").into_iter().filter(|note| note.contains("took Carol in again"));
    assert_eq!(taken_in.count(), 1);
    // Dave is new, and finds the old request in the network.
    let mut dave = Person::new("Dave", 99);
    dave.sync(&network, now);
    people[0].sync(&network, now);
    people[0].invite("friends", &["Dave"], now);
    let mut all: Vec<_> = people.iter_mut().collect();
    all.push(&mut dave);
    settle(&mut all, &network, &mut now);
    let again = dave.notes("friends").into_iter().filter(|note| note.contains("took Carol in again"));
    assert_eq!(again.count(), 0);
    dave.say("friends", "hello Carol", now);
    let mut all: Vec<_> = people.iter_mut().collect();
    all.push(&mut dave);
    settle(&mut all, &network, &mut now);
    assert_eq!(people[2].texts("friends"), ["hello Carol"]);
}

#[test]
fn two_people_with_one_name_are_told_apart() {
    let now = START;
    let network = Network::default();
    let (mut alice, mut bob, mut mallory) =
        (Person::new("Alice", 1), Person::new("Bob", 2), Person::new("Bob", 3));
    for person in [&mut bob, &mut mallory, &mut alice] {
        person.sync(&network, now);
    }
    assert!(alice.events.iter().any(|event| matches!(event, Event::OtherKey { name, .. } if name == "Bob")));
    alice.create("friends", now);
    let refused = alice.act("friends", |client, id, rng| client.invite(id, &["Bob"], None, now, rng));
    assert!(matches!(refused, Err(Error::SeveralPeople(..))));
    let bobs = Some(bob.client.fingerprint());
    alice.act("friends", |client, id, rng| client.invite(id, &["Bob"], bobs, now, rng).unwrap());
    alice.sync(&network, now);
    bob.sync(&network, now);
    mallory.sync(&network, now);
    assert_eq!(bob.client.groups().len(), 1);
    assert_eq!(mallory.client.groups().len(), 0);
}

#[test]
fn a_process_may_end_anywhere() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 8, &mut now);
    people[0].say("friends", "hello", now);
    // It ends before anything was published, and between all other steps.
    let mut alice = people.remove(0).restart();
    alice.sync(&network, now);
    let mut alice = alice.restart();
    let mut bob = people.remove(0);
    bob.sync(&network, now);
    let mut bob = bob.restart();
    bob.sync(&network, now);
    assert_eq!(bob.texts("friends"), ["hello"]);
    bob.say("friends", "hi", now);
    let mut bob = bob.restart();
    settle(&mut [&mut alice, &mut bob], &network, &mut now);
    assert_eq!(alice.texts("friends"), ["hello", "hi"]);
}

/// Who says something before looking has not forgotten what it has seen.
#[test]
fn nothing_is_taken_in_again_after_a_restart() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 15, &mut now);
    let what: [&dyn Fn(&mut Person); 3] =
        [&|bob| bob.say("friends", "hello", now), &|bob| bob.update("friends", now), &|bob| {
            bob.act("friends", |client, id, rng| client.leave(id, now, rng).unwrap())
        }];
    for what in what {
        let mut bob = people.remove(1).restart();
        what(&mut bob);
        let mut seen = Seen { network: &network, rng: bob.rng.clone() };
        let synced = bob.client.sync(&mut seen, now, &mut bob.rng, &mut |_| {}).unwrap();
        assert_eq!(synced.taken_in, 0);
        people.push(bob);
    }
}

#[test]
fn what_all_have_taken_in_can_be_deleted() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 9, &mut now);
    for round in 0..3 {
        for (n, name) in ["Alice", "Bob"].into_iter().enumerate() {
            people[n].say("friends", &format!("{name} {round}"), now);
            people[n].sync(&network, now);
            now.0 += 60;
        }
    }
    people[1].sync(&network, now);
    let before = network.parcels().len();
    // Carol has not seen it, so nothing of it goes.
    for person in &mut people[..2] {
        person.act("friends", |client, _, rng| client.prune(now, rng).unwrap());
        person.sync(&network, now);
    }
    assert!(network.parcels().len() >= before);
    people[2].sync(&network, now);
    assert_eq!(people[2].texts("friends").len(), 6);
    // Everybody says what they have, twice: what was said is something to have as well.
    for _ in 0..2 {
        for person in &mut people {
            person.sync(&network, now);
            person.act("friends", |client, _, rng| client.prune(now, rng).unwrap());
            person.sync(&network, now);
            now.0 += 60;
        }
    }
    let left =
        network.parcels().into_iter().filter(|parcel| matches!(parcel.place, dmls_client::Place::Group(_)));
    assert!(left.count() < 10, "only the last receipts are left");
    let mut all: Vec<_> = people.iter_mut().collect();
    settle(&mut all, &network, &mut now);
    for person in &mut people {
        person.say("friends", "still there", now);
        person.sync(&network, now);
        now.0 += 60;
    }
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    for person in &people {
        assert_eq!(person.texts("friends").len(), 9);
        let unreadable = person.events.iter().filter(|event| matches!(event, Event::Unreadable { .. }));
        assert_eq!(unreadable.count(), 0, "{:?}", person.events);
    }
}

#[test]
fn messages_are_settled_once_all_have_them() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 10, &mut now);
    people[0].say("friends", "hello", now);
    people[0].sync(&network, now);
    let received = |person: &Person| {
        person.log("friends").into_iter().find_map(|shown| match shown.entry {
            dmls_client::Entry::Message(_) => Some(shown.received_by),
            _ => None,
        })
    };
    assert_eq!(received(&people[0]), Some(Some(Vec::new())));
    people[1].sync(&network, now);
    people[1].say("friends", "hi", now);
    people[1].sync(&network, now);
    people[0].sync(&network, now);
    assert_eq!(received(&people[0]), Some(Some(vec!["Bob".to_owned()])));
    // Carol says nothing; after an hour her client does.
    people[2].sync(&network, now);
    now.0 += 3600;
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(received(&people[0]), Some(None), "all have it");
}

#[test]
fn a_member_who_asks_twice_is_taken_in_once() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 11, &mut now);
    for _ in 0..2 {
        people[2].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
        people[2].sync(&network, now);
        now.0 += 60;
    }
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    for person in &people {
        assert_eq!(person.head("friends"), people[0].head("friends"));
        assert!(!person.events.iter().any(|event| matches!(event, Event::Failed { .. })));
    }
    let taken_in = people[0].notes("friends").into_iter().filter(|note| note.contains("took Carol in again"));
    assert_eq!(taken_in.count(), 1);
}

/// Who came later may not be known to the one who asks.
#[test]
fn who_began_with_the_group_answers_first() {
    for seed in 90..94 {
        let mut now = START;
        let (mut people, network) = group(&["Alice", "Bob"], seed, &mut now);
        for (n, name) in ["Eve", "Frank", "Grace"].into_iter().enumerate() {
            let mut newcomer = Person::new(name, seed * 10 + n as u64);
            newcomer.sync(&network, now);
            people.push(newcomer);
        }
        people[0].sync(&network, now);
        people[0].invite("friends", &["Eve", "Frank", "Grace"], now);
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        let mut bob = people.remove(1);
        bob.act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
        settle(&mut people.iter_mut().rev().chain([&mut bob]).collect::<Vec<_>>(), &network, &mut now);
        assert!(bob.notes("friends").iter().any(|note| note == "Alice took you in again"), "{seed}");
    }
}

#[test]
fn a_group_in_which_nobody_does_anything_is_quiet() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 12, &mut now);
    // Others wait for a commit of each, because somebody was added; who joined has made one.
    let mut parcels = Vec::new();
    for _ in 0..5 {
        now.0 += 86_400;
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        parcels.push(network.parcels().len());
    }
    assert_eq!(parcels[2], parcels[4], "{parcels:?}");
}

#[test]
fn who_can_not_be_invited_again_is_told_until_it_can() {
    // Which of two commits wins is chance: in one of these worlds it is not the invitation.
    assert!((12..30).any(an_invitation_loses));
}

fn an_invitation_loses(seed: u64) -> bool {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], seed, &mut now);
    let mut eve = Person::new("Eve", 78);
    eve.sync(&network, now);
    people.iter_mut().for_each(|person| person.sync(&network, now));
    let other = network.copy();
    people[0].invite("friends", &["Eve"], now);
    people[0].sync(&network, now);
    people[1].update("friends", now);
    people[1].sync(&other, now);
    let lost = people[0].head("friends");
    network.merge(&other);
    people[0].sync(&network, now);
    if people[0].head("friends") == lost {
        return false;
    }
    assert!(people[0].notes("friends").iter().any(|note| note.contains("had added Eve")));
    // Eve joins the lost branch, and her client publishes another key package.
    let mut all: Vec<_> = people.iter_mut().collect();
    all.push(&mut eve);
    settle(&mut all, &network, &mut now);
    assert_eq!(people[0].members("friends"), ["Alice", "Bob", "Carol", "Eve"]);
    assert_eq!(eve.head("friends"), people[0].head("friends"));
    true
}

#[test]
fn one_person_is_invited_into_two_groups_at_once() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 14, &mut now);
    for name in ["family", "work"] {
        people[0].create(name, now);
        people[0].invite(name, &["Bob"], now);
    }
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(people[1].members("family"), ["Alice", "Bob"]);
    assert_eq!(people[1].members("work"), ["Alice", "Bob"]);
}

#[test]
fn what_came_before_the_answer_is_read_after_it() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 13, &mut now);
    people[2].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
    people[2].sync(&network, now);
    let (two, carol) = people.split_at_mut(2);
    settle(&mut two.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    two[0].say("friends", "welcome back", now);
    two[0].sync(&network, now);
    // The messages come, and her invitation does not yet.
    let slow = network.copy();
    for parcel in network.parcels().into_iter().filter(|parcel| parcel.place == Place::Invitations) {
        slow.take_out(parcel.place, &parcel.name());
    }
    carol[0].sync(&slow, now);
    assert!(carol[0].texts("friends").is_empty());
    let mut carol = people.remove(2).restart();
    carol.sync(&network, now);
    assert_eq!(carol.texts("friends"), ["welcome back"]);
}

#[test]
fn who_joined_on_either_side_of_a_split_is_where_all_are() {
    for seed in 0..3 {
        let mut now = START;
        let (mut people, network) = group(&["Alice", "Bob", "Carol", "Dave"], 40 + seed, &mut now);
        let (mut eve, mut frank) = (Person::new("Eve", 50 + seed), Person::new("Frank", 60 + seed));
        for person in [&mut eve, &mut frank] {
            person.sync(&network, now);
        }
        people.iter_mut().for_each(|person| person.sync(&network, now));
        let other = network.copy();
        people[0].invite("friends", &["Eve"], now);
        people[2].invite("friends", &["Frank"], now);
        for _ in 0..2 {
            people[..2].iter_mut().chain([&mut eve]).for_each(|person| person.sync(&network, now));
            people[2..].iter_mut().chain([&mut frank]).for_each(|person| person.sync(&other, now));
        }
        eve.say("friends", "from Eve", now);
        eve.sync(&network, now);
        frank.say("friends", "from Frank", now);
        frank.sync(&other, now);
        network.merge(&other);
        people.extend([eve, frank]);
        for _ in 0..3 {
            settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        }
        for person in &people {
            let name = person.client.name();
            assert_eq!(person.head("friends"), people[0].head("friends"), "{seed}: {name}");
            assert_eq!(person.members("friends"), ["Alice", "Bob", "Carol", "Dave", "Eve", "Frank"]);
            let texts = person.texts("friends");
            // What was said on the winner before a newcomer came there may have been settled: it came later.
            let reads_all = !["Eve", "Frank"].contains(&name.as_str());
            assert!(texts.len() == 2 || !reads_all && texts.len() == 1, "{seed}: {name} {texts:?}");
        }
    }
}
