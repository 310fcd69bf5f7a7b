//! A process ends anywhere, or a call of the disk fails: on opening each profile is as it was before or after a transaction; who says again what
//! had no answer comes to the end of the scene, where all are at one head, nothing that was acknowledged is lost and nothing was read twice.
//!
//! Each step of `script.rs` is a process: a person opens a profile, does something, and synchronizes with a folder. The store's `interpose.c`
//! stands between it and all files, those of SQLite and those of the folder. What is left of it is opened and compared with what was there
//! between the transactions of an undisturbed run; another process goes on with the rest of the script, with other generators. What was gone on
//! with once, from the same rows in all profiles and the same files in the folders, need not be again.
//!
//! By default few of the calls are tried; `DMLS_CRASH_STRIDE=1` tries all. A failure names its call: `DMLS_KILLS_AT=STEP:CALL` tries that one
//! alone, and says what all processes said; `DMLS_KILLS_AT=STEP` tries all of a step.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "a process of a test is told by its environment what to do")]

#[path = "../../../store/tests/disturbed/mod.rs"]
mod disturbed;
mod judge;
mod left;
#[path = "../../../store/tests/power/mod.rs"]
#[allow(dead_code, reason = "here a trace is read, no more")]
mod power;
mod process;
mod reference;
mod script;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use disturbed::{library, run_disturbed, scratch, stride};
use judge::judge;
use left::State;
use reference::{Reference, actors};
use script::{Deed, script};

/// Runs steps of the script in a process of its own; undisturbed without a library.
fn run(
    library: Option<&Path>,
    directory: &Path,
    (from, to): (usize, usize),
    attempt: u64,
    settings: &[(&str, String)],
) -> Output {
    let steps =
        [("DMLS_KILLS_FROM", from as u64), ("DMLS_KILLS_TO", to as u64), ("DMLS_KILLS_ATTEMPT", attempt)];
    let mut all = steps.map(|(name, value)| (name, value.to_string())).to_vec();
    all.extend_from_slice(settings);
    run_disturbed(library.unwrap_or(Path::new("")), directory, &all)
}

/// The process of `run`: no test by itself.
#[test]
fn the_process() {
    let Ok(directory) = std::env::var("DMLS_CRASH_DIRECTORY") else { return };
    let number = |name: &str| std::env::var(format!("DMLS_KILLS_{name}")).unwrap().parse::<usize>().unwrap();
    println!();
    process::Process::new(Path::new(&directory)).run(number("FROM"), number("TO"), number("ATTEMPT") as u64);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn reference(library: &Path) -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| Reference::new(library))
}

#[test]
fn the_scene_is_what_it_is_meant_to_be() {
    let Some(library) = library() else { return };
    let said: String = reference(library).steps.iter().map(|done| done.said.as_str()).collect();
    judge(&said, "undisturbed");
    let notes: BTreeSet<_> = said
        .lines()
        .filter(|line| line.contains(" notes "))
        .flat_map(|line| line.split([' ', ',']))
        .collect();
    for note in [
        "forked",
        "switched",
        "consolidated",
        "sent_again",
        "asked_again",
        "joined_again",
        "took_again",
        "excluded",
        "renamed",
    ] {
        assert!(notes.contains(note), "the scene has no {note}: {notes:?}");
    }
}

#[test]
fn killed_at_any_call() {
    disturb(&[("INTERPOSE_HOW", "kill")], 3001);
}

#[test]
fn killed_in_the_middle_of_any_write() {
    disturb(&[("INTERPOSE_HOW", "tear")], 4001);
}

#[test]
fn a_call_that_fails_once() {
    disturb(&[("INTERPOSE_HOW", "fail")], 4003);
}

#[test]
fn a_write_that_is_cut_short() {
    disturb(&[("INTERPOSE_HOW", "short")], 7001);
}

#[test]
fn a_disk_that_is_full_for_a_while() {
    disturb(&[("INTERPOSE_HOW", "full"), ("INTERPOSE_CALLS", "25")], 4007);
}

/// A call of a step that is disturbed.
struct Point {
    number: usize,
    call: usize,
}

impl Point {
    /// Whether it is the call, or one of the step, that has this name.
    fn is_at(&self, name: &str) -> bool {
        let (step, call) = name.split_once(':').map_or((name, None), |(step, call)| (step, Some(call)));
        self.number.to_string() == step && call.is_none_or(|call| self.call.to_string() == call)
    }
}

fn disturb(how: &[(&str, &str)], default_stride: usize) {
    let Some(library) = library() else { return };
    let reference = reference(library);
    let calls =
        |(number, done): (usize, &reference::Done)| (1..=done.calls).map(move |call| Point { number, call });
    let all: Vec<_> = reference.steps.iter().enumerate().flat_map(calls).collect();
    let points: Vec<_> = match std::env::var("DMLS_KILLS_AT") {
        Ok(at) => all.iter().filter(|point| point.is_at(&at)).step_by(stride(1)).collect(),
        Err(_) => all.iter().step_by(stride(default_stride)).collect(),
    };
    let (next, gone_on) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    disturb_at(library, reference, how, point, &gone_on);
                }
            });
        }
    });
    let gone_on = gone_on.lock().unwrap().len();
    println!("{how:?}: {} of {} calls, {gone_on} different histories from there", points.len(), all.len());
}

/// From where on it is gone on, and how everything is there.
type From = (usize, Vec<State>, u64);

fn disturb_at(
    library: &Path,
    reference: &Reference,
    how: &[(&str, &str)],
    &Point { number, call }: &Point,
    gone_on: &Mutex<BTreeSet<From>>,
) {
    let step = reference.steps[number].step;
    let what = format!("{} at DMLS_KILLS_AT={number}:{call}, {} {:?}", how[0].1, step.who, step.deed);
    let directory = scratch();
    left::copy(&reference.before(number), directory.path());
    let mut settings: Vec<_> = how.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    settings.push(("INTERPOSE_AT", call.to_string()));
    let output = run(Some(library), directory.path(), (number, number + 1), 0, &settings);
    let (mut said, errors) = (text(&output.stdout), text(&output.stderr));
    let is_killed = output.status.signal() == Some(9);
    assert_eq!(is_killed, ["kill", "tear"].contains(&how[0].1), "{what}: {said}{errors}");
    assert!(is_killed || output.status.success(), "{what}: {said}{errors}");

    let states = reference.states(number);
    let opened = actors(&step).into_iter().map(|who| {
        let state = State::of(&directory.path().join("profiles").join(who));
        (who, state.unwrap_or_else(|e| panic!("{what}: {who}: {e}")))
    });
    let opened: Vec<_> = opened.collect();
    if is_killed {
        for state in &opened {
            assert!(states.contains(state), "{what}: {state:?} never was");
        }
    }
    for left in said.lines().filter_map(|line| line.strip_prefix("left ")) {
        let was = states.iter().any(|(who, state)| format!("{who} {state:?}") == left);
        assert!(was, "{what}: {left} never was");
    }
    let (folders, torn) = left::folders(directory.path());
    let copies = matches!(step.deed, Deed::Copy(_));
    assert!(torn.is_empty() || copies, "{what}: {torn:?} are not whole");

    let from = if is_killed { number } else { number + 1 };
    let state = opened.iter().map(|(_, state)| *state).collect();
    if !gone_on.lock().unwrap().insert((from, state, folders)) {
        return;
    }
    let rest = run(None, directory.path(), (from, script().len()), 1, &[]);
    let (out, errors) = (text(&rest.stdout), text(&rest.stderr));
    said.push_str(&out);
    if std::env::var_os("DMLS_KILLS_AT").is_some() {
        println!("{said}");
    }
    assert!(rest.status.success(), "{what}, then: {out}{errors}");
    let read = |said: &str| {
        let of_step = said.split(&format!("step {number}\n")).next().unwrap_or_default();
        let line = of_step.lines().rev().find_map(|line| line.strip_prefix(&format!("read {} ", step.who)));
        line.unwrap_or_default().split(',').map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (expected, there) = (read(&reference.steps[number].said), read(&said));
    assert!(there.is_superset(&expected), "{what}: {expected:?} were to be read, {there:?} were");
    let before = reference.steps[..number].iter().map(|done| done.said.as_str());
    judge(&before.chain([said.as_str()]).collect::<String>(), &what);
}
