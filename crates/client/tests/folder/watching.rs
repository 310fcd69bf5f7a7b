//! Something new is told soon, and nothing new is not.

use std::fs;
use std::time::{Duration, Instant};

use dmls_client::{Folder, Place, Watch};

use crate::common::{GROUP, LIMIT, PLACES, arrived, folder, parcel, path, publish, put};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(120);

/// Only what is told counts: the clock says nothing.
fn watch(folder: &Folder) -> Option<Watch> {
    let watch = folder.watch().every(LONG);
    if !watch.is_told() {
        eprintln!("SKIPPED: the system does not watch here");
        return None;
    }
    Some(watch)
}

/// Takes what is told late.
fn settle(watch: &mut Watch) {
    while watch.wait(Duration::from_millis(200)) {}
}

#[test]
fn a_parcel_of_another_is_told() {
    let (directory, folder) = folder();
    let Some(mut watch) = watch(&folder) else { return };
    let mut other = Folder::open(directory.path(), LIMIT).unwrap();
    let start = Instant::now();
    for place in PLACES {
        // The first one makes directories, too; the second is just a file.
        for content in ["one", "another"] {
            publish(&mut other, place, content);
            assert!(watch.wait(LONG));
            settle(&mut watch);
        }
    }
    assert!(start.elapsed() < LONG / 2, "told, not found by the clock");
}

/// Others write as they like: in place, byte by byte.
#[test]
fn a_file_that_is_copied_is_told() {
    let (_directory, mut folder) = folder();
    let shard = publish(&mut folder, GROUP, "one").parent().unwrap().to_owned();
    let Some(mut watch) = watch(&folder) else { return };
    settle(&mut watch);
    fs::write(shard.join("file"), "content").unwrap();
    assert!(watch.wait(LONG));
    settle(&mut watch);
    fs::write(shard.join("file"), "more content").unwrap();
    assert!(watch.wait(LONG));
}

/// Otherwise who looks whenever something is told would never rest.
#[test]
fn looking_is_not_told() {
    let (_directory, mut folder) = folder();
    for i in 0..10 {
        publish(&mut folder, GROUP, &format!("message {i}"));
    }
    let Some(mut watch) = watch(&folder) else { return };
    settle(&mut watch);
    for _ in 0..3 {
        assert_eq!(arrived(&mut folder, GROUP).0.len(), 10);
        folder.statistics().unwrap();
        let start = Instant::now();
        assert!(!watch.wait(Duration::from_millis(300)));
        assert!(start.elapsed() >= Duration::from_millis(300), "it really waits");
    }
}

/// What is being written is nothing to look at yet.
#[test]
fn files_on_their_way_are_not_told() {
    let (_directory, mut folder) = folder();
    let shard = publish(&mut folder, GROUP, "one").parent().unwrap().to_owned();
    let Some(mut watch) = watch(&folder) else { return };
    settle(&mut watch);
    put(&folder.root().join("tmp/~syncthing~dmls-1-1.tmp"), b"half");
    put(&shard.join(".syncthing.abc.tmp"), b"half");
    assert!(!watch.wait(Duration::from_millis(300)));
    fs::rename(shard.join(".syncthing.abc.tmp"), path(folder.root(), &parcel(GROUP, "two"))).unwrap_err();
    fs::rename(shard.join(".syncthing.abc.tmp"), shard.join("whole")).unwrap();
    assert!(watch.wait(LONG));
}

/// What came since the last look and before the wait is not lost.
#[test]
fn what_came_before_the_wait_is_told() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, Place::People, "anna");
    let Some(mut watch) = watch(&folder) else { return };
    settle(&mut watch);
    publish(&mut folder, Place::People, "bert");
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    assert!(watch.wait(LONG));
    assert!(start.elapsed() < LONG / 2);
}

/// By itself it looks every few seconds, told or not.
#[test]
fn the_clock_tells_too() {
    let (_directory, folder) = folder();
    let mut watch = folder.watch();
    settle(&mut watch);
    let start = Instant::now();
    assert!(watch.wait(LONG));
    assert!(start.elapsed() < Duration::from_secs(60));
}
