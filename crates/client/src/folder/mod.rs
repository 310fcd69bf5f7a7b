//! A folder as a network: a stick that is carried around, a share, something that Syncthing or git copies.
//!
//! Each parcel is a file that is named by its content, appears all at once and never changes. So copies of a folder
//! that went apart are put together by copying files, in any way and order, and nothing that is damaged is taken.
//! `docs/folder.md` says what is promised, and what an observer of the folder sees.
//!
//! | | |
//! |---|---|
//! | `layout.rs` | where each file is; which names are ours, and which are nobody's business |
//! | `tree.rs` | lists what is there, and follows no link |
//! | `write.rs`, `read.rs` | one parcel, whole or not at all |
//! | `sweep.rs`, `statistics.rs` | what crashed processes left; how much is there |
//! | `watch.rs` | when to look again |
//! | `error.rs` | what went wrong, and what to do |

mod error;
mod layout;
mod read;
mod statistics;
mod sweep;
mod tree;
mod watch;
mod write;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use error::FolderError;
pub use statistics::{Statistics, Usage};
pub use sweep::Swept;
pub use watch::Watch;

use crate::parcel::{Name, Parcel, Place};
use crate::transport::{Fault, Flow, Transport};

/// How often a parcel is written again because a directory, or the file before it had its name, was taken away meanwhile.
const ATTEMPTS: usize = 10;

/// A directory that members of groups share.
///
/// Any number of processes and machines may use it at the same time. A directory that was chosen may hold other things:
/// all of ours is in `dmls-1` inside of it.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// The largest parcel, in bytes.
    limit: usize,
    /// Directories of which we know that they outlive a power cut.
    durable: BTreeSet<PathBuf>,
}

impl Folder {
    /// Opens a folder that was made before, here or elsewhere. Writes nothing, so that it may be read-only.
    ///
    /// `limit` is the size in bytes from which on a parcel is not taken, neither to be published nor as arrived.
    ///
    /// It must have been made: a stick that is not plugged in looks like an empty directory, and what is published there
    /// would reach nobody.
    pub fn open(directory: &Path, limit: usize) -> Result<Self, FolderError> {
        let directory = chosen(directory)?;
        let folder = Self { root: directory.join(layout::ROOT), limit, durable: BTreeSet::new() };
        folder.present()?;
        Ok(folder)
    }

    /// Makes a folder in a directory that is there, unless it has one already, and opens it.
    pub fn create(directory: &Path, limit: usize) -> Result<Self, FolderError> {
        let chosen = chosen(directory)?;
        let root = chosen.join(layout::ROOT);
        if write::directory(&root)? {
            write::sync(&chosen)?;
        }
        Self::open(directory, limit)
    }

    /// Where our files are: `dmls-1` in the directory that was chosen.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a small file and removes it, to know whether publishing would work now.
    pub fn try_writing(&self) -> Result<(), FolderError> {
        self.present()?;
        write::Temporary::write(&self.root, b"dmls").map(drop)
    }

    /// Says when to look again. Watch first and look then: what comes in between is told.
    pub fn watch(&self) -> Watch {
        Watch::new(&self.root)
    }

    /// How much is in it, without reading any file.
    pub fn statistics(&self) -> Result<Statistics, FolderError> {
        self.present()?;
        Ok(statistics::of(&self.root, self.limit))
    }

    /// Removes what nobody will miss: half-written files of processes that ended, and directories that are empty, both
    /// if nothing happened to them in the day before `now`. Processes that publish meanwhile are not disturbed.
    pub fn sweep(&mut self, now: SystemTime) -> Result<Swept, FolderError> {
        self.present()?;
        sweep::sweep(&self.root, now)
    }

    /// Fails if the folder is not there any more: somebody pulled the stick, or a drive is away.
    fn present(&self) -> Result<(), FolderError> {
        match fs::symlink_metadata(&self.root) {
            Ok(root) if root.is_dir() => Ok(()),
            Ok(_) => Err(FolderError::InTheWay(self.root.clone())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let directory = self.root.parent().unwrap_or(&self.root);
                chosen(directory)?;
                Err(FolderError::NoFolder(directory.to_owned()))
            }
            Err(e) => Err(FolderError::file(&self.root, e)),
        }
    }
}

impl Transport for Folder {
    type Error = FolderError;

    fn publish(&mut self, parcel: &Parcel) -> Result<(), FolderError> {
        let size = parcel.bytes.len();
        if size == 0 || size > self.limit {
            return Err(FolderError::Size { size, limit: self.limit });
        }
        let mut attempt = 1;
        loop {
            self.present()?;
            match write::put(&self.root, parcel, &mut self.durable) {
                Err(FolderError::File(_, e)) if e.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                }
                result => return result,
            }
            attempt += 1;
        }
    }

    fn arrived(
        &mut self,
        place: Place,
        known: &dyn Fn(&Name) -> bool,
        take: &mut dyn FnMut(Name, Vec<u8>) -> Flow,
    ) -> Result<Vec<Fault>, FolderError> {
        self.present()?;
        Ok(read::arrived(&self.root, self.limit, place, known, take))
    }

    fn remove(&mut self, place: Place, name: &Name) -> Result<(), FolderError> {
        self.present()?;
        write::remove(&self.root, place, name)
    }
}

/// The directory that was chosen, which we never make: if it is missing, something is wrong. It may be a link.
fn chosen(directory: &Path) -> Result<PathBuf, FolderError> {
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {
            std::path::absolute(directory).map_err(|e| FolderError::file(directory, e))
        }
        Ok(_) => Err(FolderError::NotADirectory(directory.to_owned())),
        Err(e) => Err(match e.kind() {
            io::ErrorKind::NotFound => FolderError::NotFound(directory.to_owned()),
            io::ErrorKind::NotADirectory => FolderError::NotADirectory(directory.to_owned()),
            _ => FolderError::file(directory, e),
        }),
    }
}
