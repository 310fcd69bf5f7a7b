//! Writing a parcel so that it is there whole or not at all, and to stay; and taking it back.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FolderError;
use super::{layout, read};
use crate::parcel::{Name, Parcel, Place};

/// Puts a parcel where it belongs. Afterwards it outlives a power cut, as far as the file system keeps its word; so do
/// the directories in `durable`.
pub(super) fn put(root: &Path, parcel: &Parcel, durable: &mut BTreeSet<PathBuf>) -> Result<(), FolderError> {
    let name = parcel.name();
    let directories = layout::directories(root, parcel.place, &name);
    for path in &directories {
        if directory(path)? {
            durable.remove(path);
        }
    }
    let shard = directories.last().map_or(root, PathBuf::as_path);
    let path = shard.join(name.to_string());

    // Another may have put it there and not have come to make it durable: that is done below in any case. What is there
    // and not whole is replaced.
    if matches!(read::parcel(&path, parcel.bytes.len()), Ok(Some(there)) if there == parcel.bytes) {
        sync(&path)?;
    } else {
        Temporary::write(root, &parcel.bytes)?.rename(&path)?;
    }

    sync(shard)?;
    for (parent, path) in iter::once(root).chain(directories.iter().map(PathBuf::as_path)).zip(&directories) {
        if !durable.contains(path) {
            sync(parent)?;
            durable.insert(path.clone());
        }
    }
    Ok(())
}

/// Removes a parcel if it is there. Its directory stays: others may be about to write in it, and `sweep` sees to it
/// when they are not.
pub(super) fn remove(root: &Path, place: Place, name: &Name) -> Result<(), FolderError> {
    let directories = layout::directories(root, place, name);
    for path in &directories {
        if !is_directory(path)? {
            return Ok(());
        }
    }
    let path = directories.last().map_or(root, PathBuf::as_path).join(name.to_string());
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FolderError::file(&path, e)),
        _ => Ok(()),
    }
}

/// A file that nobody looks at yet, with all of its content on the disk. Goes away unless it gets its name.
pub(super) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    pub(super) fn write(root: &Path, bytes: &[u8]) -> Result<Self, FolderError> {
        let parent = root.join(layout::TEMPORARY);
        directory(&parent)?;
        let (mut file, temporary) = Self::create(&parent)?;
        match file.write_all(bytes).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(temporary),
            Err(e) => Err(FolderError::file(&temporary.path, e)),
        }
    }

    /// Under a name that nobody has: the process and its counter tell processes of one machine apart, and
    /// `create_new` those of several that share a drive.
    fn create(parent: &Path) -> Result<(File, Self), FolderError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(layout::temporary(process::id(), counter));
            match File::create_new(&path) {
                Ok(file) => return Ok((file, Self { path })),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(FolderError::file(&path, e)),
            }
        }
    }

    /// In one step, also over what has the name.
    fn rename(self, path: &Path) -> Result<(), FolderError> {
        fs::rename(&self.path, path).map_err(|e| FolderError::file(path, e))
    }
}

impl Drop for Temporary {
    /// After a rename it is not there any more, and its name is never used again.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a directory, and says whether it was missing. Its parent must be there: the root is never made by the way.
pub(super) fn directory(path: &Path) -> Result<bool, FolderError> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) => match is_directory(path)? {
            true => Ok(false),
            // It was there, and was swept since: the caller tries again, as with everything that was taken away.
            false if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(FolderError::file(path, io::ErrorKind::NotFound.into()))
            }
            false => Err(FolderError::file(path, e)),
        },
    }
}

/// Whether a directory is there. A link to one is in the way: it could lead out of the folder.
fn is_directory(path: &Path) -> Result<bool, FolderError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(FolderError::InTheWay(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(FolderError::file(path, e)),
    }
}

/// Where the operating system can do that by what is open for reading, and the file system by a directory. A new name is
/// on the disk when its directory is.
pub(super) fn sync(path: &Path) -> Result<(), FolderError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path).and_then(|file| file.sync_all()) {
        Ok(()) => Ok(()),
        Err(e) => match e.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::ReadOnlyFilesystem => {
                Ok(())
            }
            _ => Err(FolderError::file(path, e)),
        },
    }
}
