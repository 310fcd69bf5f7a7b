//! `dmls sim`, as a person sees it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dmls")).arg("sim").args(arguments).output().unwrap()
}

#[test]
fn worlds_are_counted() {
    let output = sim(&["--worlds", "9", "--steps", "60", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["worlds"], &report["violations"]), (&9.into(), &0.into()));
    assert!(report["first_seed"].is_null() && report["rare"].is_object(), "{report}");
}

#[test]
fn a_world_is_drawn() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("world.svg");
    let output = sim(&["--seed", "5", "--steps", "60", "--svg", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let picture = fs::read_to_string(&path).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("Seed 5 (slow), 60 events: no violation"));
}

/// A rule can be broken by `dmls-sim` alone.
#[test]
fn no_rule_can_be_broken() {
    for arguments in [&["--mutant", "no-flush"][..], &["--list-mutants"], &["--config", "unheard-of"]] {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
