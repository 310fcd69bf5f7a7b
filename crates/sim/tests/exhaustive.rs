//! Every history of small worlds: the rules hold in all states, and each broken rule has its shortest history.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use dmls_sim::exhaustive::{Bounds, LARGE, QUICK, hunts, search};

const AT_MOST: usize = 5_000_000;

fn world(bounds: &Bounds) -> String {
    format!("{} ({} ballots, {} commits)", bounds.name, bounds.ballots, bounds.commits)
}

fn holds(bounds: Bounds) {
    let report = search(bounds, None, AT_MOST);
    println!("{}: {} states, {} events deep", world(&bounds), report.states, report.depth);
    if let Some(found) = report.found {
        panic!("{}: {} after {:#?}", bounds.name, found.violation, found.history);
    }
    assert!(report.is_complete, "{}", bounds.name);
}

/// Those of the broken rules among them.
#[test]
fn small_worlds_hold() {
    let mut done = Vec::new();
    for bounds in QUICK.into_iter().chain(hunts().into_iter().map(|hunt| hunt.bounds)) {
        if !done.contains(&bounds) {
            holds(bounds);
            done.push(bounds);
        }
    }
}

#[test]
#[ignore = "minutes: docs/simulation.md, `Exhaustively`"]
fn larger_worlds_hold() {
    LARGE.into_iter().for_each(holds);
}

#[test]
fn each_broken_rule_has_its_history() {
    for hunt in hunts() {
        let report = search(hunt.bounds, Some(hunt.mutant), AT_MOST);
        let (name, world) = (hunt.mutant.name(), world(&hunt.bounds));
        let found = report.found.unwrap_or_else(|| panic!("{name} in {world}: {} states", report.states));
        println!(
            "{name} in {world}: {}, {} events, {} states",
            found.violation,
            found.history.len(),
            report.states
        );
        assert_eq!((found.violation, found.history.len()), (hunt.violation, hunt.events), "{name}");
    }
}

#[test]
fn smaller_worlds_do_not_show_it() {
    for hunt in hunts() {
        let Bounds { ballots, commits, restarts, .. } = hunt.bounds;
        let less = [
            Bounds { ballots: ballots - 1, ..hunt.bounds },
            Bounds { commits: commits - 1, ..hunt.bounds },
            Bounds { restarts: restarts.saturating_sub(1), ..hunt.bounds },
        ];
        for bounds in less
            .into_iter()
            .filter(|less| (less.ballots, less.commits, less.restarts) != (ballots, commits, restarts))
        {
            let report = search(bounds, Some(hunt.mutant), AT_MOST);
            assert!(
                report.found.is_none() && report.is_complete,
                "{}: {:?}",
                hunt.mutant.name(),
                report.found
            );
        }
    }
}
