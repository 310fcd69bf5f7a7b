//! Removing what nobody will miss.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::error::FolderError;
use super::layout;
use super::tree::{self, Faults};
use crate::parcel::Place;

/// How long nothing must have happened. Writing takes a moment; the rest is for clocks that differ, and for file systems
/// that keep local time.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What [`crate::Folder::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Half-written files of processes that ended.
    pub temporary: usize,
    /// Empty directories.
    pub directories: usize,
}

/// Those who publish meanwhile notice if a directory or file of theirs goes, and write it again.
pub(super) fn sweep(root: &Path, now: SystemTime) -> Result<Swept, FolderError> {
    let mut swept = Swept::default();
    for path in tree::temporary(root, &mut Faults::default()) {
        if is_old(&path, now) {
            match fs::remove_file(&path) {
                Ok(()) => swept.temporary += 1,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(FolderError::file(&path, e)),
            }
        }
    }
    for place in tree::places(root, &mut Faults::default()) {
        for shard in tree::shards(root, place, &mut Faults::default()) {
            swept.directories += usize::from(remove_if_empty(&shard.path, now));
        }
        if matches!(place, Place::Group(_)) {
            swept.directories += usize::from(remove_if_empty(&layout::place(root, place), now));
        }
    }
    Ok(swept)
}

/// The operating system removes no directory that has something in it, so nothing can be lost here.
fn remove_if_empty(directory: &Path, now: SystemTime) -> bool {
    is_old(directory, now) && fs::remove_dir(directory).is_ok()
}

/// What has a time in the future is not old.
fn is_old(path: &Path, now: SystemTime) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > AGE))
}
