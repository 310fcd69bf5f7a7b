//! A synchronization in parts, and how far a message of ours has come.

mod common;

use common::{START, Seen, group};
use dmls_client::{Flow, Shown};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

#[test]
fn a_synchronization_that_is_stopped_goes_on_with_the_next() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 70, &mut now);
    for n in 0..20 {
        people[0].say("friends", &n.to_string(), now);
    }
    people[0].sync(&network, now);
    people[1].say("friends", "from Bob", now);
    let bob = &mut people[1];
    // What is due may not be done before all is taken in.
    now.0 += 365 * 86_400;
    let head = bob.head("friends");
    let mut seen = Seen { network: &network, rng: ChaCha20Rng::seed_from_u64(1) };
    let mut done = 0;
    for _ in 0..20 {
        let synced = bob.client.sync_while(&mut seen, now, &mut bob.rng, &mut |_| Flow::Stop).unwrap();
        assert_eq!((synced.published + synced.taken_in, synced.stopped), (1, true));
        done += synced.taken_in;
    }
    assert_eq!(done, 19, "the first one published");
    assert_eq!(bob.texts("friends").len(), 20);
    assert_eq!(bob.head("friends"), head);
    let synced = bob.client.sync_while(&mut seen, now, &mut bob.rng, &mut |_| Flow::Continue).unwrap();
    assert!(!synced.stopped);
    assert_eq!(bob.texts("friends").len(), 21);
    // Each waits until it is its turn.
    now.0 += 120;
    bob.client.sync_while(&mut seen, now, &mut bob.rng, &mut |_| Flow::Continue).unwrap();
    assert_ne!(bob.head("friends"), head, "keys that are a year old");
}

#[test]
fn a_message_waits_until_it_is_published() {
    let mut now = START;
    let (mut people, network) = group(&["Alice", "Bob"], 71, &mut now);
    let state = |shown: &[Shown]| shown.last().map(|shown| (shown.waiting, shown.received_by.clone()));
    people[0].say("friends", "hello", now);
    assert_eq!(state(&people[0].log("friends")), Some((true, Some(vec![]))));
    people[0].sync(&network, now);
    assert_eq!(state(&people[0].log("friends")), Some((false, Some(vec![]))));
    people[1].sync(&network, now);
    people[1].say("friends", "hi", now);
    people[1].sync(&network, now);
    assert_eq!(state(&people[1].log("friends")), Some((false, Some(vec![]))));
    people[0].sync(&network, now);
    let log = people[0].log("friends");
    let hello = log.iter().rfind(|shown| shown.received_by.is_some() || shown.waiting);
    assert_eq!(hello, None, "all have it");
}
