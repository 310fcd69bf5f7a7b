//! The tables of the checks: complete, true as far as a test can see, and written down in `docs/validation.md`.
//!
//! `rules.tsv` has a row for each place in which a rule is checked; `scripts/rules.py` takes them out one by one.
//! `requirements.tsv` has what RFC 9420 asks for, with the rules or the places that see to it, or why nothing does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Rule;

const RULES: &str = include_str!("rules.tsv");
const REQUIREMENTS: &str = include_str!("requirements.tsv");

/// One check of a rule.
struct Check<'a> {
    id: &'a str,
    /// `file::function`.
    place: &'a str,
    source: &'a str,
    tests: Vec<&'a str>,
}

/// One sentence of RFC 9420.
struct Requirement<'a> {
    id: &'a str,
    what: &'a str,
    /// Rules, or places.
    by: Vec<&'a str>,
    tests: Vec<&'a str>,
    note: &'a str,
}

fn columns<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
    table.lines().skip(1).map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        columns.try_into().unwrap_or_else(|_| panic!("{N} columns: {line}"))
    })
}

fn checks() -> Vec<Check<'static>> {
    let check = |[id, place, source, _, tests]: [&'static str; 5]| {
        let tests = tests.split_whitespace().collect();
        Check { id, place, source, tests }
    };
    columns(RULES).map(check).collect()
}

fn requirements() -> Vec<Requirement<'static>> {
    let requirement = |[id, what, by, tests, note]: [&'static str; 5]| {
        let [by, tests] = [by, tests].map(|list| list.split_whitespace().collect());
        Requirement { id, what, by, tests, note }
    };
    columns(REQUIREMENTS).map(requirement).collect()
}

fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sources of the place `file::function`, which must be there.
fn source_of(place: &str) -> String {
    let (file, function) = place.split_once("::").unwrap_or((place, ""));
    let source = fs::read_to_string(crate_folder().join("src").join(file));
    let source = source.unwrap_or_else(|e| panic!("{place}: {e}"));
    assert!(function.is_empty() || source.contains(&format!("fn {function}")), "{place} is not there");
    source
}

/// `a::b::test` of the library, `tests/file.rs::test` of another program.
fn assert_test_exists(test: &str) {
    let (module, name) = test.rsplit_once("::").unwrap();
    let folder = crate_folder();
    let file = match module.strip_prefix("tests/") {
        Some(_) => folder.join(module),
        None => {
            let path = folder.join("src").join(module.replace("::", "/"));
            let inline = || folder.join("src").join(module.trim_end_matches("::tests").replace("::", "/"));
            let candidates =
                [path.with_extension("rs"), inline().with_extension("rs"), inline().join("mod.rs")];
            candidates.into_iter().find(|file| contains_test(file, name)).unwrap_or(path)
        }
    };
    assert!(contains_test(&file, name), "there is no test {test}");
}

fn contains_test(file: &Path, name: &str) -> bool {
    let source = fs::read_to_string(file).unwrap_or_default();
    source.contains(&format!("fn {name}(")) || source.contains(&format!("    {name} => "))
}

#[test]
fn every_rule_has_a_check_and_every_check_is_there() {
    let checks = checks();
    for rule in Rule::ALL {
        assert!(checks.iter().any(|check| check.id == rule.id()), "{} has no check", rule.id());
    }
    for Check { id, place, source, tests } in &checks {
        let wanted = source.replace("\\n", "\n");
        assert_eq!(source_of(place).matches(&wanted).count(), 1, "{id} in {place}: {source}");
        assert!(!tests.is_empty(), "{id} has no test");
        tests.iter().for_each(|test| assert_test_exists(test));
    }
}

#[test]
fn every_requirement_is_seen_to_or_explained() {
    let rules: BTreeSet<_> = checks().iter().map(|check| check.id).collect();
    let mut seen = BTreeSet::new();
    for Requirement { id, by, tests, note, .. } in requirements() {
        assert!(seen.insert(id), "{id} is there twice");
        assert!(!by.is_empty() || !note.is_empty(), "nothing sees to {id}, and nothing says why");
        by.iter().filter(|by| !rules.contains(*by)).for_each(|place| drop(source_of(place)));
        tests.iter().for_each(|test| assert_test_exists(test));
        let has_rule = by.iter().any(|by| rules.contains(by));
        assert!(has_rule || !tests.is_empty() || !note.is_empty(), "{id} has no test, and nothing says why");
    }
}

fn code(list: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted: Vec<_> = list.into_iter().map(|item| format!("`{}`", item.as_ref())).collect();
    quoted.join("<br>")
}

/// `docs/validation.md`.
fn document() -> String {
    let mut rules: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for Check { id, place, tests, .. } in checks() {
        let (places, all_tests) = rules.entry(id).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
        all_tests.extend(tests);
        all_tests.sort_unstable();
        all_tests.dedup();
    }
    let mut out = String::from(
        "# What is validated\n\n\
         Made from `crates/dmls/src/error.rs` and the tables `rules.tsv` and `requirements.tsv` in `crates/dmls/src/tests` by the\n\
         test `tests::validation`; with `DMLS_WRITE_DOCS=1` it writes this file, else it compares. Places are below\n\
         `crates/dmls/src`; tests are those of the library, or in `crates/dmls/tests`. `scripts/rules.py` takes the checks out one\n\
         by one and runs their tests, which must fail.\n\n\
         ## Rules\n\n\
         The errors that say which rule was broken. \"Ours\" are those that count only when we create, add or commit\n\
         (`Rule::counts_on_receipt`).\n\n\
         | Rule | | Counts | Checked in | Tests |\n|---|---|---|---|---|\n",
    );
    for rule in Rule::ALL {
        let (places, tests) = &rules[rule.id()];
        let counts = if rule.counts_on_receipt() { "everywhere" } else { "ours" };
        let (id, places, tests) = (rule.id(), code(places), code(tests));
        writeln!(out, "| `{id}` | {rule} | {counts} | {places} | {tests} |").unwrap();
    }
    out.push_str(
        "\n## What else is checked\n\n\
         Errors of other kinds, and what must happen without an error.\n\n\
         | | Checked in | Tests |\n|---|---|---|\n",
    );
    let ids: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    for (id, (places, tests)) in rules.iter().filter(|(id, _)| !ids.contains(*id)) {
        writeln!(out, "| `{id}` | {} | {} |", code(places), code(tests)).unwrap();
    }
    let requirements = requirements();
    let is_ours = |by: &&str| rules.contains_key(*by);
    let by_rule = requirements.iter().filter(|r| r.by.iter().any(is_ours)).count();
    let by_place = requirements.iter().filter(|r| !r.by.is_empty()).count() - by_rule;
    let by_nothing = requirements.len() - by_rule - by_place;
    write!(
        out,
        "\n## RFC 9420, section by section\n\n\
         {} requirements: {by_rule} are seen to by the checks above, {by_place} by structure, types or construction, {by_nothing}\n\
         are not, and the last column says why. Where there is no test, those of the rule are meant.\n\n\
         | | Requirement | Seen to by | Tests | |\n|---|---|---|---|---|\n",
        requirements.len(),
    )
    .unwrap();
    for Requirement { id, what, by, tests, note } in &requirements {
        writeln!(out, "| {id} | {what} | {} | {} | {note} |", code(by), code(tests)).unwrap();
    }
    out
}

#[test]
fn the_document_is_up_to_date() {
    let path = crate_folder().join("../../docs/validation.md");
    let document = document();
    if std::env::var_os("DMLS_WRITE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &document).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "docs/validation.md is stale: run this test with DMLS_WRITE_DOCS=1");
}
