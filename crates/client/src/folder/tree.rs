//! What is in the folder. Links are not followed: who can write in it can't make us read or write elsewhere.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::layout;
use crate::parcel::{Name, Place};
use crate::transport::{Fault, Why};

/// The faults that one look returns at most: whoever fills the folder with garbage does not fill our memory.
pub(super) const MAX_FAULTS: usize = 1_000;

/// What was found to be wrong.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, path: PathBuf, why: Why) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Fault { path, why });
        }
    }

    /// In an order that does not depend on the file system's.
    pub(super) fn sorted(mut self) -> Vec<Fault> {
        self.0.sort_unstable();
        self.0
    }
}

/// All places that can be there: the three, and those of groups that have a directory.
pub(super) fn places(root: &Path, faults: &mut Faults) -> Vec<Place> {
    let mut places = vec![Place::People, Place::Invitations, Place::Requests];
    list(&root.join(layout::GROUPS), faults, &mut |name, kind, _| {
        let group = layout::group_of(name).filter(|_| kind.is_dir());
        places.extend(group);
        group.is_some()
    });
    places.sort_unstable();
    places
}

/// The shards of a place.
pub(super) fn shards(root: &Path, place: Place, faults: &mut Faults) -> Vec<Shard> {
    let mut shards = Vec::new();
    if matches!(place, Place::Group(_)) && !is_directory(&root.join(layout::GROUPS), faults) {
        return shards;
    }
    list(&layout::place(root, place), faults, &mut |name, kind, entry| {
        let shard = layout::shard_of(name).filter(|_| kind.is_dir());
        shards.extend(shard.map(|byte| Shard { path: entry.path(), byte }));
        shard.is_some()
    });
    shards.sort_unstable_by_key(|shard| shard.byte);
    shards
}

/// A directory of parcels whose names begin with the same byte.
pub(super) struct Shard {
    pub(super) path: PathBuf,
    byte: u8,
}

impl Shard {
    /// Calls `each` with every file that has the name of a parcel. What is in it is not known.
    pub(super) fn parcels(&self, faults: &mut Faults, each: &mut dyn FnMut(Name, &DirEntry)) {
        list(&self.path, faults, &mut |name, kind, entry| {
            let parcel = Name::from_hex(name).filter(|name| name.0[0] == self.byte && kind.is_file());
            if let Some(name) = parcel {
                each(name, entry);
            }
            parcel.is_some()
        });
    }
}

/// What is being written, or was left.
pub(super) fn temporary(root: &Path, faults: &mut Faults) -> Vec<PathBuf> {
    let mut temporary = Vec::new();
    list(&root.join(layout::TEMPORARY), faults, &mut |name, kind, entry| {
        let ours = layout::is_temporary(name) && kind.is_file();
        if ours {
            temporary.push(entry.path());
        }
        ours
    });
    temporary
}

/// Calls `ours` with each entry of a directory; what that does not know is foreign, unless it is silent.
fn list(directory: &Path, faults: &mut Faults, ours: &mut dyn FnMut(&str, FileType, &DirEntry) -> bool) {
    if !is_directory(directory, faults) {
        return;
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if is_gone(&e) => return,
        Err(_) => return faults.add(directory.to_owned(), Why::Unreadable),
    };
    for entry in entries {
        // What a directory can't tell now is no reason to forget what it did tell; the next look is soon.
        let Ok(entry) = entry else { return faults.add(directory.to_owned(), Why::Unreadable) };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match entry.file_type() {
            Ok(kind) if ours(&name, kind, &entry) => {}
            _ if layout::is_silent(&name) => {}
            Ok(_) => faults.add(entry.path(), Why::Foreign),
            Err(e) if is_gone(&e) => {}
            Err(_) => faults.add(entry.path(), Why::Unreadable),
        }
    }
}

/// Whether a directory is there, and not a link to one.
fn is_directory(path: &Path, faults: &mut Faults) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return true,
        Ok(_) => faults.add(path.to_owned(), Why::Foreign),
        Err(e) if is_gone(&e) => {}
        Err(_) => faults.add(path.to_owned(), Why::Unreadable),
    }
    false
}

/// Whether something was taken away after it was listed: nothing wrong with that.
pub(super) fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}
