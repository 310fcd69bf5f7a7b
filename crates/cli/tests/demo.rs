//! The demonstration, by the real binary.

#![allow(clippy::unwrap_used, clippy::panic)] // The helpers of tests, too.

use std::process::{Command, Output};

use serde_json::Value;

fn demo(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmls"));
    command.arg("demo").args(args).output().expect("the binary runs")
}

/// The JSON of a run that must converge.
fn world(args: &[&str]) -> Value {
    let output = demo(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn check(world: &Value) {
    assert_eq!(world["converged"], true, "{world}");
    let heads: Vec<&Value> = world["heads"].as_object().unwrap().values().collect();
    assert!(heads.len() >= 2 && heads.windows(2).all(|pair| pair[0] == pair[1]), "{world}");
    assert_eq!(world["delivered"], world["addressed"], "{world}");
    assert!(world["delivered"].as_u64().unwrap() > 0);
    for fork in world["forks"].as_array().unwrap() {
        let branches = fork["branches"].as_array().unwrap();
        let winner = branches.iter().max_by_key(|branch| branch["confirmation_tag"].as_str()).unwrap();
        for branch in branches {
            assert_eq!(branch["won"], branch == winner, "{fork}");
        }
    }
}

#[test]
fn many_seeds_converge() {
    for seed in 1..=12 {
        let world = world(&["--seed", &seed.to_string()]);
        check(&world);
        assert_eq!(world["forks"].as_array().unwrap().len(), 2);
        assert_eq!(world["lost"].as_array().unwrap().len(), 4, "a side of each split loses its two commits");
        assert!(world["network"]["dropped"].as_u64() > Some(0));
        assert!(world["network"]["overtaken"].as_u64() > Some(0));
    }
}

#[test]
fn few_and_many_members_and_splits() {
    check(&world(&["--seed", "1", "--members", "2", "--splits", "5"]));
    check(&world(&["--seed", "2", "--members", "3", "--splits", "3", "--epochs", "6"]));
    check(&world(&["--seed", "3", "--members", "20", "--splits", "1", "--epochs", "5"]));
    check(&world(&["--seed", "4", "--suite", "2"]));
    let whole = world(&["--seed", "5", "--splits", "0"]);
    check(&whole);
    assert_eq!(whole["lost"].as_array().unwrap().len(), 0);
}

/// All that can become of an addition and a removal occurs within a few seeds.
#[test]
fn every_ending_occurs() {
    let endings = ["came again", "stays a member", "renew keys"];
    let mut left = Vec::from(endings);
    let (mut external, mut removed) = (false, false);
    for seed in 1..=20 {
        let world = world(&["--seed", &seed.to_string()]);
        for lost in world["lost"].as_array().unwrap() {
            left.retain(|ending| !lost["then"].as_str().unwrap().contains(ending));
            assert!(!lost["then"].as_str().unwrap().contains("must come again"), "seed {seed}: {lost}");
        }
        external |= world["graph"].to_string().contains("external commit");
        removed |= !world["removed"].as_array().unwrap().is_empty();
    }
    assert!(left.is_empty() && external && removed, "{left:?} {external} {removed}");
}

#[test]
fn the_same_seed_makes_the_same_run() {
    for look in ["--plain", "--json"] {
        let run = || demo(&["--seed", "42", look]).stdout;
        assert_eq!(run(), run());
    }
    assert_ne!(demo(&["--seed", "1"]).stdout, demo(&["--seed", "2"]).stdout);
}

#[test]
fn plain_is_ascii_without_escape_codes() {
    let output = demo(&["--seed", "7", "--plain"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{text}");
    assert!(text.contains("OK: converged"), "{text}");
    // Not on a terminal, there are no colours either.
    let output = demo(&["--seed", "7"]);
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn wrong_usage() {
    for args in [["--members", "1"], ["--suite", "9"], ["--epochs", "0"], ["--seed", "x"]] {
        let output = demo(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
