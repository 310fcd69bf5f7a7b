//! People, each with processes of its own, over a real folder: it is copied, both copies go on, and they are put together again.
//!
//! `DMLS_FOLDER=full` makes it as long as it is meant: 20 commits and 200 messages on each side.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

const NAMES: [&str; 6] = ["Alice", "Bob", "Carol", "Dave", "Eve", "Frank"];

struct World {
    home: TempDir,
    rng: ChaCha20Rng,
}

impl World {
    fn new() -> Self {
        let mut home = tempfile::tempdir().unwrap();
        if std::env::var_os("DMLS_KEEP").is_some() {
            home.disable_cleanup(true);
            eprintln!("everything is in {}", home.path().display());
        }
        Self { home, rng: ChaCha20Rng::seed_from_u64(7) }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join("folders").join(name)
    }

    fn try_run(&self, who: &str, arguments: &[&str]) -> Output {
        let profile = self.home.path().join("profiles").join(who);
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmls"));
        command.env_remove("DMLS_PROFILE").env_remove("DMLS_PASSPHRASE_FILE");
        command.arg("--profile").arg(profile).args(arguments).output().unwrap()
    }

    fn run(&self, who: &str, arguments: &[&str]) -> String {
        let output = self.try_run(who, arguments);
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{who}: dmls {arguments:?}: {err}");
        assert_eq!(err, "", "{who}: dmls {arguments:?}");
        out
    }

    /// In one of the folders.
    fn run_in(&self, folder: &str, who: &str, arguments: &[&str]) -> String {
        let folder = self.folder(folder);
        self.run(who, &[arguments, &["--folder", folder.to_str().unwrap()]].concat())
    }

    fn lines(&self, folder: &str, who: &str, arguments: &[&str]) -> Vec<Value> {
        let out = self.run_in(folder, who, &[arguments, &["--json"]].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn init(&self, who: &str, folder: &str) {
        fs::create_dir_all(self.folder(folder)).unwrap();
        self.run_in(folder, who, &["init", "--name", who, "--no-passphrase", "--patience", "0"]);
    }

    /// A copy of a folder.
    fn copy(&self, from: &str, to: &str) {
        for file in files(&self.folder(from)) {
            let to = self.folder(to).join(file.strip_prefix(self.folder(from)).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&file, &to).unwrap();
        }
    }

    /// Copies the files of one folder into another, in any order; now and then somebody looks what is there.
    fn merge(&mut self, from: &str, to: &str, watchers: &[&str]) {
        let (source, target) = (self.folder(from), self.folder(to));
        let mut files = files(&source);
        for n in (1..files.len()).rev() {
            files.swap(n, (self.rng.next_u32() as usize) % (n + 1));
        }
        let looks = (files.len() / 6).max(1);
        for (n, file) in files.iter().enumerate() {
            let to = target.join(file.strip_prefix(&source).unwrap());
            if !to.exists() {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(file, &to).unwrap();
            }
            if n % looks == 0 {
                let who = watchers[self.rng.next_u32() as usize % watchers.len()];
                self.run_in_folder(to_str(&target), who);
            }
        }
    }

    fn run_in_folder(&self, folder: &str, who: &str) {
        self.run(who, &["sync", "--folder", folder]);
    }

    /// Everybody looks and answers until nothing moves.
    fn settle(&self, folder: &str, who: &[&str]) {
        for _ in 0..12 {
            let moved = who.iter().map(|who| {
                let synced = self.lines(folder, who, &["sync"]).remove(0);
                synced["taken_in"].as_u64().unwrap() + synced["published"].as_u64().unwrap()
            });
            if moved.sum::<u64>() == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn head(&self, folder: &str, who: &str) -> Value {
        let mut heads = self.lines(folder, who, &["heads", "friends"]);
        assert_eq!(heads.len(), 1);
        heads.remove(0)
    }

    fn assert_same_heads(&self, folder: &str, who: &[&str]) {
        let first = self.head(folder, who[0]);
        for who in who {
            assert_eq!(self.head(folder, who), first, "{who}");
        }
    }
}

fn to_str(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// What each has said, by text.
type Said = BTreeMap<String, &'static str>;

/// A side of a split goes on: commits and messages in turn.
fn go_on(
    world: &World,
    folder: &str,
    who: &[&'static str],
    (commits, messages): (usize, usize),
    said: &mut Said,
) {
    let each = messages / commits;
    for commit in 0..commits {
        let committer = who[commit % who.len()];
        world.run_in(folder, committer, &["group", "update", "friends"]);
        for message in 0..each {
            let author = who[(commit + message) % who.len()];
            let text = format!("{author} in {folder}, {commit}.{message}, the {}th", said.len());
            world.run_in(folder, author, &["send", "friends", &text]);
            assert!(said.insert(text, author).is_none());
        }
    }
}

#[test]
fn a_folder_that_went_apart_comes_together() {
    let full = std::env::var("DMLS_FOLDER").is_ok_and(|value| value == "full");
    let size = if full { (20, 200) } else { (3, 9) };
    let mut world = World::new();
    let [alice, bob, carol, dave, eve, frank] = NAMES;
    for who in NAMES {
        world.init(who, "one");
    }
    world.run_in("one", alice, &["group", "create", "friends"]);
    world.run_in("one", alice, &["group", "invite", "friends", bob, carol, dave, eve, frank]);
    world.settle("one", &NAMES);
    world.assert_same_heads("one", &NAMES);
    let mut said = Said::new();

    // The folder is copied. Frank sees neither side until the end.
    world.copy("one", "two");
    go_on(&world, "one", &[alice, bob], size, &mut said);
    go_on(&world, "two", &[carol, dave, eve], size, &mut said);
    assert_ne!(world.head("one", alice), world.head("two", carol));
    world.merge("two", "one", &[alice, bob]);
    world.settle("one", &[alice, bob, carol, dave, eve]);
    world.assert_same_heads("one", &[alice, bob, carol, dave, eve]);

    // The second time a side splits once more.
    world.copy("one", "three");
    go_on(&world, "one", &[alice, bob], size, &mut said);
    go_on(&world, "three", &[carol, dave, eve], (1, 2), &mut said);
    world.copy("three", "four");
    go_on(&world, "three", &[carol, dave], size, &mut said);
    go_on(&world, "four", &[eve], size, &mut said);
    world.merge("four", "one", &[alice, bob]);
    world.merge("three", "one", &[alice, bob, eve]);
    world.settle("one", &NAMES);
    world.assert_same_heads("one", &NAMES);

    for who in NAMES {
        let mut read = BTreeSet::new();
        for message in world.lines("one", who, &["read", "friends"]) {
            let (text, from) = (message["text"].as_str().unwrap(), message["from"].as_str().unwrap());
            assert_eq!(said.get(text), Some(&from), "{who}");
            assert!(read.insert(text.to_owned()), "{who} read {text:?} twice");
            // What all had acknowledged in time was not sent again.
            assert!(message["branch"] == "head" || message["branch"] == "lost", "{who}: {message}");
        }
        assert_eq!(read.len(), said.len(), "{who} has not read all");
    }
    // Authors whose branch lost were told.
    let told: Vec<_> = NAMES
        .iter()
        .filter(|who| {
            world
                .lines("one", who, &["group", "log", "friends"])
                .iter()
                .any(|note| note["event"] == "sent_again")
        })
        .collect();
    assert!(!told.is_empty());
    assert!(!told.contains(&&frank), "Frank has said nothing");
}
