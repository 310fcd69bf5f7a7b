//! Runs a directory of files, for the tests and for the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use serde_json::Value;

use super::Outcome;
use crate::crypto::{Provider, Suite};
use crate::registry::CipherSuite;

/// What all the files come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cases that passed, each once for every provider that it ran with.
    pub passed: usize,
    /// Cases that could not run: a suite without primitives, or a case that gives too little to judge.
    pub skipped: usize,
    /// What went wrong, each with file, case and provider.
    pub failures: Vec<String>,
}

/// How the cases of a file are run.
#[derive(Clone, Copy)]
enum Kind {
    /// Once: no cryptography in it.
    Plain(fn(&Value) -> Outcome),
    /// With every provider that has the suite.
    Suite(fn(&Suite, &Value) -> Outcome),
    /// The same, with randomness.
    Random(fn(&Suite, &Value, &mut dyn CryptoRng) -> Outcome),
    /// One case, the whole file.
    Transcript,
}

/// The kinds, by folder and name; where the name ends in `*`, by how it begins.
const KINDS: &[(&str, &str, Kind)] = &[
    ("rfc9420", "crypto-basics", Kind::Random(super::crypto_basics)),
    ("rfc9420", "deserialization", Kind::Plain(super::deserialization)),
    ("rfc9420", "key-schedule", Kind::Suite(super::key_schedule)),
    ("rfc9420", "message-protection", Kind::Suite(super::message_protection)),
    ("rfc9420", "messages", Kind::Plain(super::messages)),
    ("rfc9420", "passive-client-*", Kind::Suite(super::passive_client)),
    ("rfc9420", "psk_secret", Kind::Suite(super::psk_secret)),
    ("rfc9420", "secret-tree", Kind::Suite(super::secret_tree)),
    ("rfc9420", "transcript-hashes", Kind::Suite(super::transcript_hashes)),
    ("rfc9420", "tree-math", Kind::Plain(super::tree_math)),
    ("rfc9420", "tree-operations", Kind::Suite(super::tree_operations)),
    ("rfc9420", "tree-validation", Kind::Suite(super::tree_validation)),
    ("rfc9420", "treekem", Kind::Random(super::treekem)),
    ("rfc9420", "welcome", Kind::Suite(super::welcome)),
    ("dmls", "key-schedule", Kind::Suite(super::dmls_key_schedule)),
    ("dmls", "message-encoding", Kind::Plain(super::message_encoding)),
    ("dmls", "pprf", Kind::Suite(super::pprf)),
    ("dmls/transcripts", "*", Kind::Transcript),
    // A directory of nothing but transcripts, as `generate` leaves it.
    (".", "*", Kind::Transcript),
];

/// The folders that are looked into.
const FOLDERS: [&str; 4] = ["rfc9420", "dmls", "dmls/transcripts", "."];

/// Runs every file below `dir` with every provider. `report` gets one line for each file and a last one for all.
///
/// A file of an unknown kind is a failure, and so is a `dir` without any file.
pub fn run(
    dir: &Path,
    providers: &[Provider],
    rng: &mut dyn CryptoRng,
    report: &mut dyn FnMut(&str),
) -> Summary {
    let mut all = Summary::default();
    let mut files = 0;
    for folder in FOLDERS {
        for path in json_files(&dir.join(folder)) {
            files += 1;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{folder}/{stem}.json");
            let mut file = File { name, summary: Summary::default(), reasons: BTreeSet::new() };
            match kind(folder, &stem) {
                Some(kind) => file.run(&path, kind, providers, rng),
                None => file.summary.failures.push(format!("{}: no such kind of file is known", file.name)),
            }
            report(&file.line());
            all.passed += file.summary.passed;
            all.skipped += file.summary.skipped;
            all.failures.append(&mut file.summary.failures);
        }
    }
    if files == 0 {
        all.failures.push(format!("{}: no test vectors there", dir.display()));
    }
    report(&format!("vectors: {} passed, {} skipped", all.passed, all.skipped));
    all
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

fn kind(folder: &str, stem: &str) -> Option<Kind> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => stem.starts_with(beginning),
        None => stem == pattern,
    };
    KINDS.iter().find(|(of, pattern, _)| *of == folder && matches(pattern)).map(|(_, _, kind)| *kind)
}

/// One file, while it is run.
struct File {
    name: String,
    summary: Summary,
    /// What was skipped: suites without primitives.
    reasons: BTreeSet<String>,
}

impl File {
    fn run(&mut self, path: &Path, kind: Kind, providers: &[Provider], rng: &mut dyn CryptoRng) {
        let json = fs::read(path).map_err(|e| e.to_string());
        let json = json.and_then(|json| serde_json::from_slice(&json).map_err(|e| e.to_string()));
        let cases: Vec<Value> = match (json, kind) {
            (Err(e), _) => return self.summary.failures.push(format!("{}: {e}", self.name)),
            (Ok(case), Kind::Transcript) => vec![case],
            (Ok(Value::Array(cases)), _) if !cases.is_empty() => cases,
            (Ok(_), _) => return self.summary.failures.push(format!("{}: not an array of cases", self.name)),
        };
        for (number, case) in cases.iter().enumerate() {
            match kind {
                Kind::Plain(_) if case.get("message_len").is_some() && case.get("message").is_none() => {
                    self.skip("long messages, of which only the hash of the encoding is given".into());
                }
                Kind::Plain(test) => self.count(number, "any provider", test(case)),
                _ => {
                    for provider in providers {
                        self.with_provider(number, case, kind, *provider, rng);
                    }
                }
            }
        }
    }

    fn with_provider(
        &mut self,
        number: usize,
        case: &Value,
        kind: Kind,
        provider: Provider,
        rng: &mut dyn CryptoRng,
    ) {
        let suite = match super::suite(provider, case) {
            Ok(Some(suite)) => suite,
            Ok(None) => {
                let code = super::integer(case, "cipher_suite").map(CipherSuite);
                return self.skip(code.map_or_else(|e| e, |code| code.to_string()));
            }
            Err(e) => return self.count(number, provider.name(), Err(e)),
        };
        let outcome = match kind {
            Kind::Plain(test) => test(case),
            Kind::Suite(test) => test(&suite, case),
            Kind::Random(test) => test(&suite, case, rng),
            Kind::Transcript => super::transcript(provider, case, rng).map(|_| ()),
        };
        self.count(number, provider.name(), outcome);
    }

    fn skip(&mut self, reason: String) {
        self.summary.skipped += 1;
        self.reasons.insert(reason);
    }

    fn count(&mut self, number: usize, provider: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.summary.passed += 1,
            Err(e) => self.summary.failures.push(format!("{}, case {number}, {provider}: {e}", self.name)),
        }
    }

    fn line(&self) -> String {
        let Summary { passed, skipped, failures } = &self.summary;
        let mut line = format!("{}: {passed} passed", self.name);
        if *skipped > 0 {
            let reasons: Vec<&str> = self.reasons.iter().map(String::as_str).collect();
            line += &format!(", {skipped} skipped: {}", reasons.join(", "));
        }
        if !failures.is_empty() {
            line += &format!(", {} FAILED", failures.len());
        }
        line
    }
}
