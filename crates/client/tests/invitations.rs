//! Invitations that cross commits: who was invited is in at the end, whichever wins and whatever comes first. Most of these were found in random
//! worlds (`worlds.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Person, START, group, settle};
use dmls_client::Place;

/// A folder that others fill gives an invitation before the removal which it follows.
#[test]
fn an_invitation_that_comes_before_the_removal_waits_for_it() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], 16, &mut now);
    people[0].act("friends", |client, id, rng| client.remove(id, &["Carol"], None, now, rng).unwrap());
    people[0].sync(&network, now);
    people[0].invite("friends", &["Carol"], now);
    people[0].sync(&network, now);
    let slow = network.copy();
    for parcel in network.parcels().into_iter().filter(|parcel| matches!(parcel.place, Place::Group(_))) {
        slow.take_out(parcel.place, &parcel.name());
    }
    people[2].sync(&slow, now);
    assert!(!people[2].client.groups()[0].excluded);
    let mut carol = people.remove(2).restart();
    now.0 += 3600;
    carol.sync(&network, now);
    assert!(!carol.client.groups()[0].excluded);
    assert!(!carol.notes("friends").iter().any(|note| note.contains("asked")));
    assert_eq!(carol.head("friends"), people[0].head("friends"));
    assert!(carol.notes("friends").iter().any(|note| note == "Alice took you in again"));
}

/// Its Welcome was not sent, so the one who was invited has heard of nothing, and publishes no other key package.
#[test]
fn who_was_invited_by_a_commit_that_lost_at_once_is_taken_in() {
    assert!((12..30).any(an_invitation_loses_at_once));
}

fn an_invitation_loses_at_once(seed: u64) -> bool {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], seed, &mut now);
    let mut eve = Person::new("Eve", 79);
    eve.sync(&network, now);
    people.iter_mut().for_each(|person| person.sync(&network, now));
    people[1].update("friends", now);
    people[1].sync(&network, now);
    people[0].invite("friends", &["Eve"], now);
    people[0].sync(&network, now);
    if !people[0].notes("friends").iter().any(|note| note.contains("went on along another branch")) {
        return false;
    }
    let mut all: Vec<_> = people.iter_mut().collect();
    all.push(&mut eve);
    settle(&mut all, &network, &mut now);
    assert_eq!(people[0].members("friends"), ["Alice", "Bob", "Carol", "Eve"]);
    assert_eq!(eve.head("friends"), people[0].head("friends"));
    assert!(people[0].notes("friends").iter().any(|note| note.contains("done again by Alice")));
    true
}

/// Its commit is with the others, and wins or not.
#[test]
fn whom_somebody_invited_before_it_was_taken_in_again_is_in() {
    for seed in 60..64 {
        let mut now = START;
        let (mut people, network) = group(&["Alice", "Bob", "Carol"], seed, &mut now);
        let mut eve = Person::new("Eve", 80);
        eve.sync(&network, now);
        people.iter_mut().for_each(|person| person.sync(&network, now));
        people[2].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
        people[2].sync(&network, now);
        let (two, carol) = people.split_at_mut(2);
        settle(&mut two.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        carol[0].invite("friends", &["Eve"], now);
        people.push(eve);
        for _ in 0..3 {
            settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
            now.0 += 86_400;
        }
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        for person in &people {
            let name = person.client.name();
            assert_eq!(person.members("friends"), ["Alice", "Bob", "Carol", "Eve"], "{seed}: {name}");
            assert_eq!(person.head("friends"), people[0].head("friends"), "{seed}: {name}");
        }
    }
}

#[test]
fn who_is_forgetful_leaves_no_invitation_behind() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 17, &mut now);
    let mut eve = Person::new("Eve", 81);
    eve.sync(&network, now);
    people.iter_mut().for_each(|person| person.sync(&network, now));
    people[0].invite("friends", &["Eve"], now);
    people[0].act("friends", |client, id, _| client.forget(id).unwrap());
    people[0].sync(&network, now);
    eve.sync(&network, now);
    assert_eq!(eve.members("friends"), ["Alice", "Bob", "Eve"]);
}

/// Two branches took Carol in again. She is on one of them, which removes her and loses.
#[test]
fn who_is_out_on_the_branch_that_loses_asks_the_other_one() {
    // Which of two commits wins is chance.
    assert!((70..90).any(a_branch_that_removes_loses));
}

fn a_branch_that_removes_loses(seed: u64) -> bool {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob", "Carol"], seed, &mut now);
    people[2].act("friends", |client, id, rng| client.rejoin(id, now, rng).unwrap());
    people[2].sync(&network, now);
    let other = network.copy();
    settle(&mut [&mut people[1]], &other, &mut now);
    let winner = people[1].head("friends");
    let [alice, _, carol] = &mut people[..] else { return false };
    settle(&mut [alice, carol], &network, &mut now);
    alice.act("friends", |client, id, rng| client.remove(id, &["Carol"], None, now, rng).unwrap());
    settle(&mut [alice, carol], &network, &mut now);
    assert!(carol.client.groups()[0].excluded);
    network.merge(&other);
    people[0].sync(&network, now);
    if people[0].head("friends") != winner {
        return false;
    }
    for _ in 0..3 {
        settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
        now.0 += 86_400;
    }
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, &mut now);
    assert_eq!(people[0].members("friends"), ["Alice", "Bob", "Carol"]);
    assert_eq!(people[2].head("friends"), people[0].head("friends"));
    true
}
