//! Application data in any order: within the default limits nothing is lost, beyond them nothing is lost in silence.

mod common;

use common::{SPLIT, config, group, rng};
use dmls::{Config, Error, Limits, Outcome, Rule};

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
            (0..5, Err(Error::Invalid(Rule::MessageKeyTooOld))) => {}
            (5..8, Ok(Outcome::Application(_))) => {}
            (8.., Ok(Outcome::Duplicate)) => {}
            (_, other) => panic!("{i}: {other:?}"),
        }
    }
}
