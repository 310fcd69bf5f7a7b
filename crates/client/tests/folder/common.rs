//! What the tests share.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dmls_client::{Fault, Flow, Folder, GroupTag, Name, Parcel, Place, Transport, Why};
use tempfile::TempDir;

pub const LIMIT: usize = 10_000;

pub const GROUP: Place = Place::Group(GroupTag([7; 16]));

pub const PLACES: [Place; 4] = [Place::People, Place::Invitations, Place::Requests, GROUP];

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory that goes away, and a new folder in it.
pub fn folder() -> (TempDir, Folder) {
    let directory = tempfile::tempdir().unwrap();
    let folder = Folder::create(directory.path(), LIMIT).unwrap();
    (directory, folder)
}

pub fn parcel(place: Place, content: &str) -> Parcel {
    Parcel { place, bytes: content.as_bytes().to_vec() }
}

pub fn publish(folder: &mut Folder, place: Place, content: &str) -> PathBuf {
    let parcel = parcel(place, content);
    folder.publish(&parcel).unwrap();
    path(folder.root(), &parcel)
}

/// Where a parcel's file is, as `docs/folder.md` says.
pub fn path(root: &Path, parcel: &Parcel) -> PathBuf {
    let place = match parcel.place {
        Place::People => root.join("people"),
        Place::Invitations => root.join("invitations"),
        Place::Requests => root.join("requests"),
        Place::Group(tag) => root.join("groups").join(tag.to_string()),
        _ => unreachable!("there are no others"),
    };
    let name = parcel.name().to_string();
    place.join(&name[..2]).join(name)
}

/// Puts a file where a parcel with this name would be, whatever is in it.
pub fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// All that arrives in a place.
pub fn arrived(folder: &mut Folder, place: Place) -> (BTreeMap<Name, Vec<u8>>, Vec<Fault>) {
    let mut all = BTreeMap::new();
    let faults = folder
        .arrived(place, &|_| false, &mut |name, bytes| {
            assert!(all.insert(name, bytes).is_none(), "nothing is given twice");
            Flow::Continue
        })
        .unwrap();
    (all, faults)
}

/// What arrives, as text and in order; nothing may be wrong.
pub fn texts(folder: &mut Folder, place: Place) -> Vec<String> {
    let (all, faults) = arrived(folder, place);
    assert_eq!(faults, []);
    let mut texts: Vec<_> = all.into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    texts.sort();
    texts
}

pub fn fault(path: &Path, why: Why) -> Fault {
    Fault { path: path.to_owned(), why }
}

/// All files in a directory with their content, by their paths in it.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), content);
            }
        }
    }
    found
}

pub fn modified(path: &Path) -> SystemTime {
    fs::symlink_metadata(path).unwrap().modified().unwrap()
}
