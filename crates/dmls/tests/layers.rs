//! The layers of ARCHITECTURE.md: a module uses those above it and none below.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the top. Tests and test vectors look everywhere and are not in it.
const LAYERS: [&str; 24] = [
    "codec",
    "registry",
    "time",
    "crypto",
    "error",
    "credential",
    "danger",
    "extension",
    "tree",
    "secret_tree",
    "pprf",
    "key_package",
    "key_schedule",
    "message",
    "framing",
    "config",
    "identity",
    "fork_choice",
    "forks",
    "epoch",
    "group",
    "public_group",
    "vectors",
    "tests",
];

/// Names that lib.rs gives again: the layer that each comes from.
const ROOT: [(&str, &str); 9] = [
    ("Error", "error"),
    ("RecordsError", "error"),
    ("Limits", "config"),
    ("KeySchedule", "key_schedule"),
    ("EpochId", "key_schedule"),
    ("PreSharedKeys", "config"),
    ("Group", "group"),
    ("KeyPackage", "key_package"),
    ("Config", "config"),
];

fn layer(name: &str) -> usize {
    let module = ROOT.iter().find(|(root, _)| *root == name).map_or(name, |(_, module)| module);
    LAYERS.iter().position(|layer| *layer == module).unwrap_or_else(|| panic!("no layer has `{name}`"))
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            None => sources(&path, files),
            Some(extension) if extension == "rs" => files.push(path),
            Some(_) => {}
        }
    }
}

/// What code names behind `crate::`, one by one or in braces. Comments, and modules of tests at the end, do not count.
fn uses(source: &str) -> BTreeSet<String> {
    let code = source.split("\nmod tests {").next().unwrap();
    let lines: Vec<_> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
    let code = lines.join("\n");
    let mut names = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        let list = match part.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => part,
        };
        let braces = part.starts_with('{');
        for name in list.split(',').take(if braces { usize::MAX } else { 1 }) {
            let name: String =
                name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            names.insert(name);
        }
    }
    // `pub(crate)` has no name behind it, and macros are the layer's whose file they are in.
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn no_arrow_points_up() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files {
        let place = file.strip_prefix(&source).unwrap().to_str().unwrap().to_string();
        let module = place.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "vectors" | "tests") || place.contains("test") {
            continue;
        }
        for name in uses(&fs::read_to_string(&file).unwrap()) {
            seen += 1;
            if layer(&name) > layer(module) {
                wrong.push(format!("{place} uses {name}"));
            }
        }
    }
    assert!(seen > 200, "only {seen} uses were found: does the test still read the code?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn uses_are_found() {
    let code = "use crate::codec::Encode;\nuse crate::{Error, tree::Leaf};\nfn f(x: crate::group::Group) {} // crate::no\n";
    let found: Vec<_> = uses(code).into_iter().collect();
    assert_eq!(found, ["Error", "codec", "group", "tree"]);
}
