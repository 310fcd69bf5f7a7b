//! The scene as it goes when nothing disturbs it: each step by a process of its own, and how everything was before it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::disturbed::{interposed, scratch};
use crate::left::{self, State};
use crate::power::{self, Call};
use crate::script::{Deed, PEOPLE, Step, script};
use crate::{run, text};

pub struct Reference {
    /// How everything was before each step, and a trace of what the step did to files.
    home: TempDir,
    /// Where it ran.
    live: TempDir,
    pub steps: Vec<Done>,
}

pub struct Done {
    pub step: Step,
    pub calls: usize,
    pub said: String,
    states: OnceLock<BTreeSet<(&'static str, State)>>,
}

impl Reference {
    pub fn new(library: &Path) -> Self {
        let (home, live) = (scratch(), scratch());
        let mut steps = Vec::new();
        for (number, step) in script().into_iter().enumerate() {
            left::copy(live.path(), &home.path().join(number.to_string()));
            let trace = home.path().join(format!("{number}.trace"));
            let settings = [("INTERPOSE_TRACE", trace.to_str().unwrap().to_owned())];
            let output = run(Some(library), live.path(), (number, number + 1), 0, &settings);
            assert!(output.status.success(), "{step:?}: {}{}", text(&output.stdout), text(&output.stderr));
            let (calls, said) = (interposed(&output), text(&output.stdout));
            steps.push(Done { step, calls, said, states: OnceLock::new() });
        }
        Self { home, live, steps }
    }

    /// How everything was before a step.
    pub fn before(&self, number: usize) -> PathBuf {
        self.home.path().join(number.to_string())
    }

    /// All states of profiles between the transactions of a step: the files as they were whenever a log of SQLite's was synced.
    pub fn states(&self, number: usize) -> &BTreeSet<(&'static str, State)> {
        self.steps[number].states.get_or_init(|| {
            let mut files = left::files(&self.before(number)).unwrap();
            let trace = std::fs::read(self.home.path().join(format!("{number}.trace"))).unwrap_or_default();
            let mut states = BTreeSet::new();
            let mut look = |files: &left::Files, who: &'static str| {
                let copy = scratch();
                let of_who = |path: &Path| path.starts_with(Path::new("profiles").join(who));
                let files = files.iter().filter(|(path, _)| of_who(path));
                let files = files.map(|(path, content)| (path.clone(), content.clone())).collect();
                left::put(&files, copy.path()).unwrap();
                states.insert((who, State::of(&copy.path().join("profiles").join(who)).unwrap()));
            };
            for who in actors(&self.steps[number].step) {
                look(&files, who);
            }
            for call in power::read(&trace) {
                left::replay(&mut files, self.live.path(), &call);
                let changed = match &call {
                    Call::Sync(path) if path.ends_with("profile.db-wal") => path,
                    Call::Rename(_, path) if path.ends_with("profile.db") => path,
                    _ => continue,
                };
                let who = PEOPLE.into_iter().find(|who| changed.iter().any(|part| part == *who)).unwrap();
                look(&files, who);
            }
            let generations: BTreeSet<_> =
                states.iter().map(|(who, state)| (who, state.0.map(|state| state.0))).collect();
            assert_eq!(generations.len(), states.len(), "one state after each transaction");
            states
        })
    }
}

/// Whose profiles a step may change.
pub fn actors(step: &Step) -> Vec<&'static str> {
    match step.deed {
        Deed::Copy(_) => Vec::new(),
        Deed::Settle => PEOPLE.to_vec(),
        _ => vec![step.who],
    }
}
