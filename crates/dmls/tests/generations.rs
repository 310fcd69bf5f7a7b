//! Application data in any order: within the default limits nothing is lost, beyond them nothing is lost in silence.

mod common;

use common::{NOW, SPLIT, config, group, rng};
use dmls::{Config, Error, KeySchedule, Limit, Limits, Outcome};

/// A transport that keeps no order may give the newest first.
#[test]
fn newest_first_loses_nothing() {
    let mut rng = rng(1);
    let mut clients = group(&["alice", "bob"], &config(), &mut rng);
    let [alice, bob] = clients.as_mut_slice() else { unreachable!("two were asked for") };
    let sent: Vec<_> = (0..300u32).map(|i| alice.send(&i.to_be_bytes(), &mut rng)).collect();
    for (i, message) in (0..300u32).zip(&sent).rev() {
        let Outcome::Application(read) = bob.receive(message, SPLIT).unwrap() else { panic!("{i}") };
        assert_eq!(read.data, i.to_be_bytes());
        assert_eq!(bob.receive(message, SPLIT).unwrap(), Outcome::Duplicate);
    }
}

/// What was never read is not called a duplicate, also after a restart.
#[test]
fn a_dropped_key_is_not_a_duplicate() {
    let mut rng = rng(2);
    let limits = Limits { kept_generations: 4, ..Limits::default() };
    let config = Config { limits, ..config() };
    let mut clients = group(&["alice", "bob"], &config, &mut rng);
    let [alice, bob] = clients.as_mut_slice() else { unreachable!("two were asked for") };
    let sent: Vec<_> = (0..10u32).map(|i| alice.send(&i.to_be_bytes(), &mut rng)).collect();
    for i in [9, 8] {
        assert!(matches!(bob.receive(&sent[i], SPLIT), Ok(Outcome::Application(_))), "{i}");
    }
    bob.restart();
    for (i, message) in sent.iter().enumerate() {
        match (i, bob.receive(message, SPLIT)) {
            (0..5, Ok(Outcome::TooOld { .. })) => {}
            (5..8, Ok(Outcome::Application(_))) => {}
            (8.., Ok(Outcome::Duplicate)) => {}
            (_, other) => panic!("{i}: {other:?}"),
        }
    }
}

/// A message that is too large is refused before anything happens, not by all who get it.
#[test]
fn what_nobody_would_take_is_not_sent() {
    let mut rng = rng(3);
    for schedule in [KeySchedule::Dmls, KeySchedule::Rfc9420] {
        let config = Config { schedule, padding: 1, ..config() };
        let mut clients = group(&["alice", "bob"], &config, &mut rng);
        let [alice, bob] = clients.as_mut_slice() else { unreachable!("two were asked for") };
        let large = alice.send(&[7; 2_000], &mut rng);
        let limits = Limits { message_size: large.len(), ..Limits::default() };
        for client in [&mut *alice, &mut *bob] {
            client.config = Config { limits: limits.clone(), ..config.clone() };
            client.restart();
        }
        let (before, sent) = (alice.snapshot(), alice.send(&[7; 2_000], &mut rng));
        assert_eq!(sent.len(), limits.message_size);
        assert!(matches!(bob.receive(&sent, SPLIT), Ok(Outcome::Application(_))));
        assert_ne!(before, alice.snapshot());

        let before = alice.snapshot();
        for size in [2_001, 100_000] {
            let refused = alice.run(|group| group.send(&vec![7; size]).seal(&mut rng)).unwrap_err();
            assert_eq!(refused, Error::Limit(Limit::MessageSize), "{size}");
        }
        let refused = alice.run(|group| group.commit().authenticated_data([7; 3_000]).stage(NOW, &mut rng));
        assert_eq!(refused.err(), Some(Error::Limit(Limit::MessageSize)));
        assert_eq!(before, alice.snapshot());
    }
}

/// The text and what travels with it in the clear can't be taken for each other.
#[test]
fn what_is_said_is_never_in_the_clear() {
    let mut rng = rng(4);
    let mut clients = group(&["alice", "bob"], &config(), &mut rng);
    let [alice, bob] = clients.as_mut_slice() else { unreachable!("two were asked for") };
    let (text, label) = (b"nobody else reads this", b"everybody may read this");
    let sent = alice.run(|group| group.send(text).authenticated_data(*label).seal(&mut rng)).unwrap();
    let has = |part: &[u8]| sent.windows(part.len()).any(|window| window == part);
    assert!(!has(text) && has(label));
    match bob.receive(&sent, SPLIT).unwrap() {
        Outcome::Application(read) => {
            assert_eq!((&read.data[..], &read.authenticated_data[..]), (&text[..], &label[..]))
        }
        other => panic!("{other:?}"),
    }
}
