//! What is published arrives: at everybody's, once for each name, whole.

use std::cell::RefCell;
use std::fs;

use dmls_client::{Flow, Folder, GroupTag, Name, Parcel, Place, Transport, Why};

use crate::common::{
    GROUP, LIMIT, PLACES, arrived, fault, files, folder, modified, parcel, path, publish, put, texts,
};

#[test]
fn each_place_has_its_own() {
    let (directory, mut anna) = folder();
    let other = Place::Group(GroupTag::of(b"other"));
    for place in PLACES.into_iter().chain([other]) {
        publish(&mut anna, place, &format!("for {place:?}"));
        publish(&mut anna, place, "for all");
    }
    let mut bert = Folder::open(directory.path(), LIMIT).unwrap();
    for place in PLACES.into_iter().chain([other]) {
        assert_eq!(texts(&mut bert, place), [format!("for {place:?}"), "for all".to_owned()]);
        assert_eq!(texts(&mut bert, place), texts(&mut anna, place), "as often as one looks");
    }
    assert_eq!(texts(&mut bert, Place::Group(GroupTag([9; 16]))), [""; 0], "a group of which nobody heard");
}

#[test]
fn files_are_where_the_documentation_says() {
    let (_directory, mut folder) = folder();
    for place in PLACES {
        let path = publish(&mut folder, place, "content");
        assert_eq!(fs::read(path).unwrap(), b"content");
    }
    let expected = "people/ed/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    assert!(files(folder.root()).contains_key(std::path::Path::new(expected)));
    assert_eq!(files(folder.root()).len(), 4, "and nothing else");
}

#[test]
fn published_twice_is_there_once_and_not_touched() {
    let (_directory, mut folder) = folder();
    let path = publish(&mut folder, GROUP, "hello");
    let long_ago = modified(&path) - std::time::Duration::from_secs(1_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();

    publish(&mut folder, GROUP, "hello");
    assert_eq!(modified(&path), long_ago, "nothing was written");
    assert_eq!(files(folder.root()).len(), 1);
}

/// A copy that stopped half-way, or a disk that lost something: who has the parcel still puts it right.
#[test]
fn publishing_again_repairs() {
    let (_directory, mut folder) = folder();
    let whole = parcel(GROUP, "hello");
    let path = path(folder.root(), &whole);
    for damaged in [&b""[..], b"hel", b"hellX", b"hello, and more"] {
        put(&path, damaged);
        folder.publish(&whole).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        assert_eq!(files(folder.root()).len(), 1);
    }
}

#[test]
fn what_is_known_is_not_opened() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, GROUP, "new");
    let old = parcel(GROUP, "old");
    // If it were opened it would be told as damaged.
    put(&path(folder.root(), &old), b"not what its name says");

    let asked = RefCell::new(Vec::new());
    let mut taken = Vec::new();
    let known = |name: &Name| {
        asked.borrow_mut().push(*name);
        *name == old.name()
    };
    let faults = folder.arrived(GROUP, &known, &mut |_, bytes| {
        taken.push(bytes);
        Flow::Continue
    });
    assert_eq!(faults.unwrap(), []);
    assert_eq!(taken, [b"new"]);
    assert_eq!(asked.borrow().len(), 2);
}

#[test]
fn stopping() {
    let (_directory, mut folder) = folder();
    for i in 0..20 {
        publish(&mut folder, GROUP, &format!("message {i}"));
    }
    for wanted in 1..=20 {
        let mut taken = 0;
        let faults = folder.arrived(GROUP, &|_| false, &mut |_, _| {
            taken += 1;
            if taken < wanted { Flow::Continue } else { Flow::Stop }
        });
        assert_eq!(faults.unwrap(), []);
        assert_eq!(taken, wanted);
    }
}

/// The same in each run, whatever the file system's order is.
#[test]
fn parcels_come_in_the_order_of_their_names() {
    let (_directory, mut folder) = folder();
    for i in 0..300 {
        publish(&mut folder, GROUP, &format!("message {i}"));
    }
    let mut names = Vec::new();
    folder
        .arrived(GROUP, &|_| false, &mut |name, _| {
            names.push(name);
            Flow::Continue
        })
        .unwrap();
    assert_eq!(names.len(), 300);
    assert!(names.is_sorted());
}

/// Half a file is a fault, and a parcel as soon as the rest is there. The others are taken all the while.
#[test]
fn on_its_way() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, GROUP, "whole");
    let late = parcel(GROUP, "a parcel that is on its way");
    let path = path(folder.root(), &late);
    for end in 0..late.bytes.len() {
        put(&path, &late.bytes[..end]);
        let (all, faults) = arrived(&mut folder, GROUP);
        assert!(all.into_values().eq([b"whole"]), "{end}");
        assert_eq!(faults, [fault(&path, if end == 0 { Why::Empty } else { Why::Damaged })]);
    }
    put(&path, &late.bytes);
    assert_eq!(texts(&mut folder, GROUP), ["a parcel that is on its way", "whole"]);
}

/// Somebody else prunes while we read: what is gone is no fault.
#[test]
fn what_vanishes_is_skipped() {
    let (_directory, mut folder) = folder();
    let root = folder.root().to_owned();
    // Of one shard, so that all are listed before the first is read.
    let all: Vec<Parcel> = (0..10_000).map(|i| parcel(GROUP, &format!("message {i}"))).collect();
    let shard: Vec<&Parcel> = all.iter().filter(|parcel| parcel.name().0[0] == 0).collect();
    assert!(shard.len() > 10);
    for parcel in &shard {
        folder.publish(parcel).unwrap();
    }
    let mut taken = Vec::new();
    let faults = folder.arrived(GROUP, &|_| false, &mut |name, _| {
        taken.push(name);
        for parcel in shard.iter().filter(|parcel| parcel.name() != name) {
            let _ = fs::remove_file(path(&root, parcel));
        }
        Flow::Continue
    });
    assert_eq!(faults.unwrap(), []);
    assert_eq!(taken.len(), 1);
}

/// The whole shard goes, as git does with directories that have become empty.
#[test]
fn a_shard_that_vanishes_is_skipped() {
    let (_directory, mut folder) = folder();
    for i in 0..100 {
        publish(&mut folder, GROUP, &format!("message {i}"));
    }
    let groups = folder.root().join("groups");
    let mut taken = 0;
    let faults = folder.arrived(GROUP, &|_| false, &mut |_, _| {
        taken += 1;
        let _ = fs::remove_dir_all(&groups);
        Flow::Continue
    });
    assert_eq!(faults.unwrap(), []);
    assert_eq!(taken, 1);
}

#[test]
fn removing() {
    let (_directory, mut folder) = folder();
    let gone = parcel(GROUP, "gone");
    publish(&mut folder, GROUP, "stays");
    folder.publish(&gone).unwrap();
    folder.publish(&Parcel { place: Place::People, ..gone.clone() }).unwrap();

    folder.remove(GROUP, &gone.name()).unwrap();
    assert_eq!(texts(&mut folder, GROUP), ["stays"]);
    assert_eq!(texts(&mut folder, Place::People), ["gone"], "another place's is another parcel");
    folder.remove(GROUP, &gone.name()).unwrap();
    folder.remove(Place::Requests, &gone.name()).unwrap();
    assert!(!folder.root().join("requests").exists(), "removing makes nothing");

    folder.publish(&gone).unwrap();
    assert_eq!(texts(&mut folder, GROUP), ["gone", "stays"]);
}
