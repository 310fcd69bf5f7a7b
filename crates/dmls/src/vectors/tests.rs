//! Runs the files with every provider. They are not part of the project: `DMLS_VECTORS` says where they are.

use std::path::PathBuf;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;

/// The cases of a file; none, and this said aloud, where the file is not there.
fn cases(file: &str) -> Option<Vec<Value>> {
    #[allow(clippy::disallowed_methods, reason = "a test may look at its environment")]
    let root = std::env::var("DMLS_VECTORS").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        PathBuf::from,
    );
    let path = root.join(file);
    let Ok(json) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no test vectors at {}; set DMLS_VECTORS", path.display());
        return None;
    };
    let cases: Vec<Value> = serde_json::from_slice(&json).expect("the file is JSON, an array of cases");
    assert!(!cases.is_empty(), "{file}");
    Some(cases)
}

/// Runs every case whose suite there is, with every provider.
fn run(file: &str, mut test: impl FnMut(&Suite, &Value) -> Outcome) {
    let Some(cases) = cases(file) else { return };
    for provider in Provider::all() {
        let mut passed = 0;
        for (number, case) in cases.iter().enumerate() {
            if let Some(suite) = suite(provider, case).unwrap() {
                test(&suite, case).unwrap_or_else(|e| panic!("{file} case {number}, {suite:?}: {e}"));
                passed += 1;
            }
        }
        // Two of the seven suites need X448 and Ed448.
        assert_eq!(passed, cases.len() / 7 * 5, "{file}");
        eprintln!("{file}: {passed} of {} cases passed with {}", cases.len(), provider.name());
    }
}

#[test]
fn crypto_basics_json() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    run("rfc9420/crypto-basics.json", |suite, case| crypto_basics(suite, case, &mut rng));
}

#[test]
fn secret_tree_json() {
    run("rfc9420/secret-tree.json", secret_tree);
}

#[test]
fn pprf_json() {
    run("dmls/pprf.json", pprf);
}

#[test]
fn deserialization_json() {
    for (number, case) in cases("rfc9420/deserialization.json").iter().flatten().enumerate() {
        deserialization(case).unwrap_or_else(|e| panic!("case {number}: {e}"));
    }
}

#[test]
fn tree_math_json() {
    for (number, case) in cases("rfc9420/tree-math.json").iter().flatten().enumerate() {
        tree_math(case).unwrap_or_else(|e| panic!("case {number}: {e}"));
    }
}

#[test]
fn tree_operations_json() {
    // All of its cases are of suite 1.
    for case in cases("rfc9420/tree-operations.json").iter().flatten() {
        for provider in Provider::all() {
            tree_operations(&suite(provider, case).unwrap().unwrap(), case).unwrap();
        }
    }
}

#[test]
fn tree_validation_json() {
    run("rfc9420/tree-validation.json", tree_validation);
}

#[test]
fn treekem_json() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    run("rfc9420/treekem.json", |suite, case| treekem(suite, case, &mut rng));
}
