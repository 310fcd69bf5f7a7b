//! What stands beside the database: one process holds a profile, and what it has seen of it.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::key::ProfileId;

/// Held as long as the profile is open; the operating system lets go when the process ends, however it ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let failed = || Error::file(path);
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(path).map_err(failed())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(holder(&mut file))),
            Err(TryLockError::Error(e)) => return Err(failed()(e)),
        }
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let holder = format!("{} ({})\n", std::process::id(), program.display());
        file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(failed())?;
        Ok(Self { _file: file })
    }
}

/// Who has the lock, if it can be read: not on Windows, and not in the moment before it is written.
fn holder(file: &mut File) -> Option<String> {
    let mut holder = String::new();
    file.take(1_024).read_to_string(&mut holder).ok()?;
    Some(holder.trim().to_owned()).filter(|holder| !holder.is_empty())
}

/// The highest generation that was seen, outside of the database: when an old copy of that is restored, this tells.
pub(crate) struct Seen {
    path: PathBuf,
    file: File,
    id: ProfileId,
}

impl Seen {
    /// With the generation that was seen, if it was of this profile.
    pub(crate) fn open(path: &Path, id: ProfileId) -> Result<(Self, Option<u64>), Error> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::file(path))?;
        let mut content = Vec::new();
        (&mut file).take(1_024).read_to_end(&mut content).map_err(Error::file(path))?;
        let generation = content.split_first_chunk::<16>().filter(|(seen, _)| **seen == id.0);
        let generation = generation.and_then(|(_, rest)| rest.try_into().ok()).map(u64::from_be_bytes);
        Ok((Self { path: path.to_owned(), file, id }, generation))
    }

    /// After a transaction. Not forced to the disk: it may be behind, and is never ahead.
    pub(crate) fn set(&mut self, generation: u64) -> Result<(), Error> {
        let content = [&self.id.0[..], &generation.to_be_bytes()].concat();
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&content));
        written.map_err(Error::file(&self.path))
    }
}

/// Makes a directory, for its owner only where there are such permissions.
pub(crate) fn create_directory(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(Error::file(path))
}

/// A rename is on the disk when its directory is.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::file(path))?;
    }
    Ok(())
}
