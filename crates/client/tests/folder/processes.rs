//! Several at the same time, and some that are killed.

use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use dmls_client::{Folder, Transport};

use crate::common::{DAY, GROUP, LIMIT, arrived, files, folder, modified, parcel, texts};

/// All publish the same, and each something of its own, while one reads: nobody sees half a parcel.
#[test]
fn threads() {
    const WRITERS: usize = 4;
    const EACH: usize = 60;
    let (directory, mut folder) = folder();
    let start = Barrier::new(WRITERS + 1);
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let (start, directory) = (&start, directory.path());
            threads.spawn(move || {
                let mut folder = Folder::open(directory, LIMIT).unwrap();
                start.wait();
                for i in 0..EACH {
                    folder.publish(&parcel(GROUP, &format!("all {i} {}", "x".repeat(5_000)))).unwrap();
                    folder.publish(&parcel(GROUP, &format!("{writer} {i}"))).unwrap();
                }
            });
        }
        start.wait();
        while texts(&mut folder, GROUP).len() < EACH + WRITERS * EACH {}
    });
    assert_eq!(texts(&mut folder, GROUP).len(), EACH + WRITERS * EACH);
    assert_eq!(files(&folder.root().join("tmp")).len(), 0);
}

/// Processes are killed at some moment, again and again. What is there is whole; what was being written is left aside,
/// and goes after a day.
#[test]
fn killed() {
    let (directory, mut folder) = folder();
    let mut published = 0;
    for round in 0..20 {
        let mut children = [start(directory.path(), round), start(directory.path(), round)];
        let before = published;
        let deadline = Instant::now() + Duration::from_secs(60);
        while published < before + 5 {
            assert!(Instant::now() < deadline, "the processes publish nothing");
            published = texts(&mut folder, GROUP).len();
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let (all, faults) = arrived(&mut folder, GROUP);
    assert_eq!(faults, []);

    let temporary = folder.root().join("tmp");
    let left = files(&temporary).len();
    eprintln!("{} parcels, {left} files left", all.len());
    let now = files(&temporary).keys().map(|path| modified(&temporary.join(path))).max();
    if let Some(now) = now {
        assert_eq!(folder.sweep(now + 2 * DAY).unwrap().temporary, left);
    }
    assert_eq!(files(&temporary).len(), 0);
    assert_eq!(texts(&mut folder, GROUP).len(), all.len());
}

/// Where a process that is started by a test publishes, and what makes its parcels its own.
const CHILD: &str = "DMLS_FOLDER_CHILD";

fn start(directory: &Path, round: u32) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--ignored"])
        .env(CHILD, directory)
        .env("DMLS_FOLDER_ROUND", round.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Both processes of a round publish the same, so that they meet.
#[test]
#[ignore = "a process that `killed` starts"]
fn child() {
    let (Ok(directory), Ok(round)) = (env::var(CHILD), env::var("DMLS_FOLDER_ROUND")) else { return };
    let mut folder = Folder::open(Path::new(&directory), LIMIT).unwrap();
    for i in 0..100_000 {
        folder.publish(&parcel(GROUP, &format!("{round} {i} {}", "x".repeat(9_000)))).unwrap();
    }
}
