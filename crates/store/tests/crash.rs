//! Whatever happens, on opening a profile is as it was before a transaction, or as it is after it; and what was left of the script
//! is done as if nothing had happened.
//!
//! A process runs the script of `scenario`. `interpose.c` stands between it and its files: it kills the process before its n-th call or
//! in the middle of it, or lets the call fail. A trace of all calls gives what a power cut could have left on the disk.
//!
//! By default some of the calls are tried; `DMLS_CRASH_STRIDE=1` tries all.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "how long a test runs is decided outside")]

mod common;
mod disturbed;
mod power;
mod scenario;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

use disturbed::{interposed, library, run_disturbed, scratch, stride};
use dmls_store::Error;
use scenario::{Batches, World};

type Digest = [u64; 2];

/// The process of `run_disturbed`: no test by itself. When a transaction fails it opens the profiles again, as the error says.
#[test]
fn the_process() {
    let Ok(directory) = std::env::var("DMLS_CRASH_DIRECTORY") else { return };
    let directory = Path::new(&directory);
    println!();
    for _ in 0..100 {
        let Ok(mut world) = World::open(directory) else { continue };
        match world.run(Batches::Whole, |world, n| println!("done {n} {:?}", world.digest())) {
            Ok(()) => {
                world.check();
                return println!("script: over");
            }
            // Until then the profile does nothing more.
            Err(Error::Reopen(_)) => {
                assert!(matches!(world.run(Batches::Whole, |_, _| {}), Err(Error::Reopen(_))));
                println!("opening again");
            }
            Err(e) => panic!("{e}"),
        }
    }
    panic!("a hundred openings did not do");
}

/// How many transactions a process said that it had done.
fn said<'a>(lines: impl Iterator<Item = &'a str>) -> u32 {
    let done = lines.filter_map(|line| line.strip_prefix("done ")?.split(' ').next()?.parse().ok());
    done.max().unwrap_or(0)
}

fn finished(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("script: over")
}

/// The states between transactions, in order: before the script, and after each transaction.
fn states() -> &'static [Digest] {
    static STATES: OnceLock<Vec<Digest>> = OnceLock::new();
    STATES.get_or_init(|| {
        let directory = scratch();
        let mut world = World::open(directory.path()).unwrap();
        let mut states = vec![world.digest()];
        world.run(Batches::Split, |world, _| states.push(world.digest())).unwrap();
        world.check();
        states
    })
}

/// Opens what is left after a process that had said how many transactions were done: it is the state after these, or after what it
/// was doing. Then goes on to the end.
fn check_and_go_on(directory: &Path, said: u32, what: &str) {
    let mut world = World::open(directory).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (states, done) = (states(), world.done());
    assert!((said..=scenario::next_line(said)).contains(&done), "{what}: {said} were done, {done} are there");
    assert_eq!(world.digest(), states[done as usize], "{what}: a state that never was");
    world.run(Batches::Whole, |_, _| {}).unwrap_or_else(|e| panic!("{what}: {e}"));
    world.check();
    assert_eq!(world.digest(), *states.last().unwrap(), "{what}");
}

#[test]
fn killed_at_any_call() {
    disturb("kill", 37);
}

#[test]
fn killed_in_the_middle_of_any_write() {
    disturb("tear", 37);
}

/// Kills the process at calls all over the script.
fn disturb(how: &str, default_stride: usize) {
    let Some(library) = library() else { return };
    let whole = run_disturbed(library, scratch().path(), &[]);
    assert!(finished(&whole), "{}", String::from_utf8_lossy(&whole.stderr));
    let calls = interposed(&whole);
    let mut killed = 0;
    for at in (1..=calls).step_by(stride(default_stride)) {
        let directory = scratch();
        let settings = [("INTERPOSE_AT", at.to_string()), ("INTERPOSE_HOW", how.to_owned())];
        let output = run_disturbed(library, directory.path(), &settings);
        assert_eq!(output.status.signal(), Some(9), "call {at} did not kill");
        let said = said(String::from_utf8_lossy(&output.stdout).lines());
        check_and_go_on(directory.path(), said, &format!("{how} at call {at}"));
        killed += 1;
    }
    println!("{how}: {killed} of {calls} calls");
}

#[test]
fn a_call_that_fails_once() {
    assert_ne!(fail(&[("INTERPOSE_HOW", "fail")], 29), Some(0));
}

/// That is no failure: SQLite writes the rest.
#[test]
fn a_write_that_is_cut_short() {
    assert!(fail(&[("INTERPOSE_HOW", "short")], 59).is_none_or(|failed| failed == 0));
}

#[test]
fn a_disk_that_is_full_for_a_while() {
    assert_ne!(fail(&[("INTERPOSE_HOW", "full"), ("INTERPOSE_CALLS", "25")], 29), Some(0));
}

/// The process lives on and comes to the same end. Says how many transactions failed, if there is a library.
fn fail(how: &[(&str, &str)], default_stride: usize) -> Option<usize> {
    let library = library()?;
    let calls = interposed(&run_disturbed(library, scratch().path(), &[]));
    let (mut tried, mut opened_again) = (0, 0);
    for at in (1..=calls).step_by(stride(default_stride)) {
        let directory = scratch();
        let mut settings: Vec<_> = how.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        settings.push(("INTERPOSE_AT", at.to_string()));
        let output = run_disturbed(library, directory.path(), &settings);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(finished(&output), "{how:?} at call {at}:\n{out}\n{err}");
        // Every state that it went through was one of the script's.
        let lines = out.lines().filter_map(|line| line.strip_prefix("done "));
        let expected = |n: &str| format!("{n} {:?}", states()[n.parse::<usize>().unwrap()]);
        lines.for_each(|line| {
            assert_eq!(line, expected(line.split(' ').next().unwrap()), "{how:?} at call {at}")
        });
        check_and_go_on(directory.path(), states().len() as u32 - 1, &format!("{how:?} at call {at}"));
        opened_again += out.matches("opening again").count();
        tried += 1;
    }
    println!("{how:?}: {tried} of {calls} calls, {opened_again} transactions failed");
    Some(opened_again)
}

/// Whatever of what was not forced to the disk is there when the power fails.
#[test]
fn the_power_fails() {
    let Some(library) = library() else { return };
    let (directory, trace) = (scratch(), scratch());
    let trace = trace.path().join("trace");
    let settings = [("INTERPOSE_TRACE", trace.to_str().unwrap().to_owned())];
    assert!(finished(&run_disturbed(library, directory.path(), &settings)));
    let calls = power::read(&std::fs::read(trace).unwrap());
    let mut images = 0;
    let stride = stride(23);
    for cut in (0..=calls.len()).step_by(stride) {
        let (done, lost) = power::cut(&calls[..cut]);
        let said = said(done.iter().map(String::as_str));
        for (n, image) in lost.into_iter().enumerate() {
            let copy = scratch();
            power::write(&image, directory.path(), copy.path());
            check_and_go_on(copy.path(), said, &format!("power cut {n} before call {cut}"));
            images += 1;
        }
    }
    println!("{images} images of {} calls", calls.len());
}
