//! The README's first program, killed at each point of each write, and at moments in between: both members go on from what
//! they have stored. The programs are processes, the stores are files, and the kill is SIGKILL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::disallowed_methods, reason = "processes, files and time are what is tested")]

mod first;
mod go_on;
mod store;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use dmls::danger::AcceptAnyCredential;
use dmls::{Config, Group};
use store::{FOLDER, HERE, KILL_AT, Store};

const PROGRAM: &str = "DMLS_CRASH_PROGRAM";
const BEGUN: &str = "begun";

/// What the processes run; nothing by itself.
#[test]
#[ignore = "run by the others, in a process of its own"]
fn program() {
    let Ok(program) = env::var(PROGRAM) else { return };
    println!("\n{BEGUN}");
    match &program[..] {
        "first" => first::main(),
        "go_on" => go_on::main(),
        other => panic!("no program {other}"),
    }
    .unwrap();
}

fn start(folder: &Path, program: &str, kill_at: Option<usize>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "program", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).env(PROGRAM, program).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(at) = kill_at {
        command.env(KILL_AT, at.to_string());
    }
    command.spawn().unwrap()
}

/// Whether the process says this line before it ends.
fn says(child: &mut Child, line: &str) -> bool {
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::with_capacity(1, stdout).lines().map_while(Result::ok).any(|said| said == line)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was not killed");
}

/// Runs a program to its end, or to the point where it is killed. `false`: it came to its end.
fn run(folder: &Path, program: &str, kill_at: Option<usize>) -> bool {
    let mut child = start(folder, program, kill_at);
    if says(&mut child, HERE) {
        kill(child);
        return true;
    }
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{program} in {}: {errors}", folder.display());
    false
}

/// An empty folder for two stores.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Both members agree, and Bob has read what Alice said, once.
fn check(folder: &Path) {
    let [(a, alice), (b, bob)] = ["alice", "bob"].map(|name| {
        let store = Store::open_in(folder, name);
        (Group::load(&store.records, Config::new(AcceptAnyCredential)).unwrap(), store)
    });
    let what = folder.display();
    assert!(a.head().number() > 1, "{what}: nobody has committed");
    assert_eq!(a.head().id(), b.head().id(), "{what}");
    assert_eq!(a.head().authenticator().unwrap(), b.head().authenticator().unwrap(), "{what}");
    assert_eq!((&bob.inbox[..], &alice.inbox[..]), (&[b"hello".to_vec()][..], &[][..]), "{what}");
    assert!(alice.outbox.is_empty() && bob.outbox.is_empty(), "{what}");
    assert!(bob.key_package.is_none(), "{what}");
    fs::remove_dir_all(folder).unwrap();
}

/// Goes on, is killed once more on the way, and goes on.
fn survive(folder: &Path, again_at: usize) {
    run(folder, "go_on", Some(again_at));
    run(folder, "go_on", None);
    check(folder);
}

#[test]
fn killed_at_each_point_of_each_write_it_goes_on() {
    let mut at = 1;
    loop {
        let folder = folder(&format!("write-{at}"));
        if !run(&folder, "first", Some(at)) {
            check(&folder);
            break;
        }
        // A second kill, elsewhere in what is left.
        survive(&folder, 1 + at * 7 % 20);
        at += 1;
    }
    println!("{} points", at - 1);
    assert_eq!((at - 1) % 4, 0, "a write has four points");
    assert!(at > 4 * 12, "{at}");
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let whole = {
        let folder = folder("whole");
        let mut child = start(&folder, "first", None);
        assert!(says(&mut child, BEGUN));
        let begun = Instant::now();
        assert!(child.wait().unwrap().success());
        check(&folder);
        begun.elapsed()
    };
    let moments = 24;
    for moment in 0..moments {
        let folder = folder(&format!("moment-{moment}"));
        let mut child = start(&folder, "first", None);
        assert!(says(&mut child, BEGUN));
        thread::sleep(whole * moment / moments);
        // It may have come to its end.
        let _ = child.kill();
        child.wait().unwrap();
        survive(&folder, 1 + moment as usize % 20);
    }
    println!("{moments} moments of {whole:?}");
    assert!(whole > Duration::ZERO);
}

/// What is killed here is what the README shows.
#[test]
fn the_program_is_that_of_the_readme() {
    let body = |text: &str| {
        let begin = text.find("fn main() -> Result<(), Error> {").unwrap();
        let end = begin + text[begin..].find("\n}\n").unwrap();
        text[begin..end].to_owned()
    };
    let readme = include_str!("../../../../README.md");
    assert!(body(readme) == body(include_str!("first.rs")), "README.md and tests/crash/first.rs differ");
}
