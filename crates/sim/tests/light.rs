//! Some worlds of each kind hold; broken rules are noticed; a seed is a world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dmls_sim::{CONFIGS, Mutant, config, events, run};

const STEPS: usize = 250;

#[test]
fn some_worlds_of_each_kind_hold() {
    for seed in 0..360 {
        let kind = CONFIGS[seed as usize % CONFIGS.len()];
        let outcome = run(seed, kind, None, &events(seed, STEPS), false);
        assert_eq!(outcome.violation, None, "seed {seed} ({})", kind.name);
    }
}

#[test]
fn a_seed_is_a_world() {
    let kind = config("restore").unwrap();
    let logs = || run(11, kind, None, &events(11, STEPS), true).log;
    assert!(logs().len() > 100);
    assert_eq!(logs(), logs());
}

/// Those that few worlds suffice for; docs/simulation.md has all.
#[test]
fn broken_rules_are_noticed() {
    let quick = [
        (Mutant::NoFlush, "mended"),
        (Mutant::OldEpochsStayOpen, "mended"),
        (Mutant::LossyOutbox, "mended"),
        (Mutant::AcceptByParent, "evil"),
        (Mutant::BlockedIsNotSkipped, "evil"),
        (Mutant::BlockedChildCounts, "evil"),
        (Mutant::ElectorateFromOwnHead, "wide"),
        (Mutant::FlushOfReq, "restore"),
        (Mutant::RecoveryIsMute, "restore"),
    ];
    for (mutant, kind) in quick {
        let kind = config(kind).unwrap();
        let is_noticed =
            |seed| run(seed, kind, Some(mutant), &events(seed, STEPS), false).violation.is_some();
        assert!((0..400).any(is_noticed), "{mutant:?} in worlds of the kind {}", kind.name);
    }
}
