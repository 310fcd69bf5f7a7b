//! The test vectors, with every provider. They are not part of the project: `DMLS_VECTORS` says where they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use dmls::Provider;
use dmls::vectors::{Summary, run};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

#[allow(clippy::disallowed_methods, reason = "a test may look at its environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn directory() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    environment("DMLS_VECTORS").map_or_else(default, PathBuf::from)
}

#[test]
fn vectors() {
    let dir = directory();
    if !dir.is_dir() {
        let message = format!("SKIPPED: no test vectors at {}; set DMLS_VECTORS", dir.display());
        assert_ne!(environment("DMLS_VECTORS_REQUIRED").as_deref(), Some("1"), "{message}");
        return eprintln!("{message}");
    }
    let providers = Provider::all();
    assert_eq!(providers.len(), 2, "the tests are built with both providers");
    let mut rng = ChaCha20Rng::seed_from_u64(9420);
    let Summary { passed, failures, .. } = run(&dir, &providers, &mut rng, &mut |line| println!("{line}"));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(passed > 0);
}

#[test]
fn an_empty_directory_and_an_unknown_kind_are_failures() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vectors");
    std::fs::create_dir_all(dir.join("dmls")).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(0);
    let mut failures = || run(&dir, &Provider::all(), &mut rng, &mut |_| {}).failures;
    assert_eq!(failures().len(), 1);
    let unknown = dir.join("dmls/unheard-of.json");
    std::fs::write(&unknown, "[]").unwrap();
    assert_eq!(failures(), ["dmls/unheard-of.json: no such kind of file is known"]);
    std::fs::remove_file(unknown).unwrap();
}
