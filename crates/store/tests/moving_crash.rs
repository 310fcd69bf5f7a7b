//! A move that is interrupted anywhere, by SIGKILL or by a power cut: afterwards one profile can go on, never two and never none.
//!
//! A process exports, says the phrase, erases, and imports. What can go on is counted by what somebody knows who saw what it said.
//! By default some of the calls are tried; `DMLS_CRASH_STRIDE=1` tries all.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "a process of the test is told what it is")]

mod common;
mod disturbed;
mod power;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{key, rng};
use disturbed::{interposed, library, run_disturbed, scratch, stride};
use dmls::Time;
use dmls_store::{Error, Export, Key, Log, Phrase, Profile};

const LOG: Log<'_> = Log::new("log");
const ENTRIES: usize = 30;

fn create(directory: &Path) {
    let mut profile = Profile::create(&directory.join("old"), &key(), &mut rng(0)).unwrap();
    for n in 0..ENTRIES {
        profile.transaction(|tx| tx.append(LOG, &vec![n as u8; 1_000])).unwrap();
    }
}

/// It holds what it held, and goes on.
fn check(mut profile: Profile, what: &str) {
    assert_eq!(profile.entries_after(LOG, None, 100).unwrap().len(), ENTRIES, "{what}");
    profile.transaction(|tx| tx.append(LOG, b"more")).unwrap();
}

/// The process of `run_disturbed`: no test by itself.
#[test]
fn the_process() {
    let Ok(directory) = std::env::var("DMLS_CRASH_DIRECTORY") else { return };
    let directory = Path::new(&directory);
    let (old, file) = (directory.join("old"), directory.join("file"));
    create(directory);
    println!("\ncreated");
    let exported = Profile::export(&old, &key(), &file, Time(1), &mut rng(1)).unwrap();
    println!("phrase {}", &*exported.phrase().text());
    let phrase = Phrase::parse(&exported.phrase().text()).unwrap();
    exported.erase().unwrap();
    println!("erased");
    let export = Export::open(&file, &phrase).unwrap();
    // Back to where it was: there is more to go wrong than in an empty place.
    export.import(&old, &new_key(), &mut rng(2)).unwrap();
    println!("imported");
}

fn new_key() -> Key {
    Key::random([2; 32])
}

/// What is left after a process that had said so much: one profile goes on.
fn one_goes_on(directory: &Path, said: &[&str], what: &str) {
    let (old, file) = (directory.join("old"), directory.join("file"));
    let told = said.iter().find_map(|line| Phrase::parse(line.strip_prefix("phrase ")?));
    let has = |line: &str| said.contains(&line);
    if !has("created") {
        return;
    }
    match Profile::open(&old, &key(), &mut rng(3)) {
        Ok(profile) => {
            assert!(told.is_none(), "{what}: two can go on");
            return check(profile, what);
        }
        Err(Error::Exported { erased: false, .. }) => {
            assert!(!has("erased"), "{what}: it is not erased");
            let again = Profile::export(&old, &key(), &file, Time(2), &mut rng(4));
            let again = again.unwrap_or_else(|e| panic!("{what}: {e}"));
            let same = told.as_ref().is_none_or(|told| told.text() == again.phrase().text());
            assert!(same, "{what}: another phrase");
            let export = Export::open(&file, again.phrase()).unwrap_or_else(|e| panic!("{what}: {e}"));
            again.erase().unwrap();
            return check(export.import(&old, &key(), &mut rng(5)).unwrap(), what);
        }
        Err(Error::Exported { erased: true, .. } | Error::WrongKey) => {}
        Err(e) => panic!("{what}: {e}"),
    }
    let told = told.unwrap_or_else(|| panic!("{what}: erased, and nobody knows the phrase"));
    let profile = match Profile::open(&old, &new_key(), &mut rng(3)) {
        Err(Error::Exported { .. }) if !has("imported") => {
            let export = Export::open(&file, &told).unwrap_or_else(|e| panic!("{what}: {e}"));
            export.import(&old, &new_key(), &mut rng(5))
        }
        other => other,
    };
    check(profile.unwrap_or_else(|e| panic!("{what}: {e}")), what);
}

#[test]
fn killed_at_any_call() {
    disturb("kill");
}

#[test]
fn killed_in_the_middle_of_any_write() {
    disturb("tear");
}

/// Who starts a process lends it all locks until it becomes another program: so one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn disturb(how: &str) {
    let _alone = alone();
    let Some(library) = library() else { return };
    let directory = scratch();
    let calls = interposed(&run_disturbed(library, directory.path(), &[]));
    for at in (1..=calls).step_by(stride(2)) {
        let directory = scratch();
        let settings = [("INTERPOSE_AT", at.to_string()), ("INTERPOSE_HOW", how.to_owned())];
        let output = run_disturbed(library, directory.path(), &settings);
        assert_eq!(output.status.signal(), Some(9), "call {at} did not kill");
        let said = String::from_utf8(output.stdout).unwrap();
        one_goes_on(directory.path(), &said.lines().collect::<Vec<_>>(), &format!("{how} at call {at}"));
    }
    println!("{how}: {calls} calls");
}

/// Whatever of what was not forced to the disk is there when the power fails.
#[test]
fn the_power_fails() {
    let _alone = alone();
    let Some(library) = library() else { return };
    let (directory, trace) = (scratch(), scratch());
    let trace = trace.path().join("trace");
    let settings = [("INTERPOSE_TRACE", trace.to_str().unwrap().to_owned())];
    assert!(run_disturbed(library, directory.path(), &settings).status.success());
    let calls = power::read(&std::fs::read(trace).unwrap());
    let mut images = 0;
    for cut in (0..=calls.len()).step_by(stride(2)) {
        let (said, lost) = power::cut(&calls[..cut]);
        let said: Vec<_> = said.iter().map(String::as_str).collect();
        for (n, image) in lost.into_iter().enumerate() {
            let copy = scratch();
            power::write(&image, directory.path(), copy.path());
            one_goes_on(copy.path(), &said, &format!("power cut {n} before call {cut}"));
            images += 1;
        }
    }
    println!("{images} images of {} calls", calls.len());
}
