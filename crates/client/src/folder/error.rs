//! What went wrong with a folder: each says what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the folder as a whole refused. What is wrong with a single file in it is a [`crate::Fault`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FolderError {
    /// The directory that was chosen is not there. Plug in or mount what it is on, create it, or check the path.
    NotFound(PathBuf),
    /// What was chosen is a file. Choose a directory.
    NotADirectory(PathBuf),
    /// The directory is there, but no folder was made in it. If there was one, what it is on is not mounted; otherwise
    /// make one.
    NoFolder(PathBuf),
    /// Something else, or a link, stands where a directory or file of ours belongs. Look at it, and move it away.
    InTheWay(PathBuf),
    /// The file system can only be read. Unlock it, or mount it for writing.
    ReadOnly(PathBuf),
    /// We may not read or write this. Change its permissions, or use another directory.
    Denied(PathBuf),
    /// No room is left, on the device or in our share of it. Make room, and try again.
    Full(PathBuf),
    /// A parcel is empty or over the limit: those who receive it would not take it. Send less at once.
    Size {
        /// How many bytes it has.
        size: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A file can't be read or written for another reason. Look at the disk, and try again.
    File(PathBuf, io::Error),
}

impl FolderError {
    /// What the operating system said about a path.
    pub(super) fn file(path: &Path, e: io::Error) -> Self {
        let path = path.to_owned();
        match e.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Self::InTheWay(path),
            _ => Self::File(path, e),
        }
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(
                f,
                "{} is not there: plug in or mount what it is on, create it, or check the path",
                path.display()
            ),
            Self::NotADirectory(path) => {
                write!(f, "{} is not a directory: choose one", path.display())
            }
            Self::NoFolder(path) => write!(
                f,
                "{} holds no dmls folder: plug in or mount what it is on, check the path, or make a folder there",
                path.display()
            ),
            Self::InTheWay(path) => write!(
                f,
                "{} is in the way, something else belongs there: look at it, and move it away",
                path.display()
            ),
            Self::ReadOnly(path) => write!(
                f,
                "{} can't be written, its file system is read-only: unlock it, or mount it for writing",
                path.display()
            ),
            Self::Denied(path) => write!(
                f,
                "no permission for {}: change its permissions, or use another directory",
                path.display()
            ),
            Self::Full(path) => {
                write!(f, "no room for {}: make room, and try again", path.display())
            }
            Self::Size { size: 0, .. } => write!(f, "the parcel is empty: nobody would take it"),
            Self::Size { size, limit } => {
                write!(f, "the parcel has {size} bytes, at most {limit} are taken: send less at once")
            }
            Self::File(path, e) => {
                write!(f, "{}: {e}: look at the disk or the connection, and try again", path.display())
            }
        }
    }
}

impl std::error::Error for FolderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(_, e) => Some(e),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::FolderError;

    /// What a person can do something about has an error of its own.
    #[test]
    fn what_the_system_says() {
        let of = |kind: ErrorKind| FolderError::file(Path::new("p"), kind.into());
        assert!(matches!(of(ErrorKind::StorageFull), FolderError::Full(_)));
        assert!(matches!(of(ErrorKind::QuotaExceeded), FolderError::Full(_)));
        assert!(matches!(of(ErrorKind::ReadOnlyFilesystem), FolderError::ReadOnly(_)));
        assert!(matches!(of(ErrorKind::PermissionDenied), FolderError::Denied(_)));
        assert!(matches!(of(ErrorKind::IsADirectory), FolderError::InTheWay(_)));
        assert!(matches!(of(ErrorKind::TimedOut), FolderError::File(..)));
    }

    /// Each message names the path, and says what to do after the last colon.
    #[test]
    fn what_to_do() {
        let errors = [
            FolderError::NotFound("DIR".into()),
            FolderError::NotADirectory("DIR".into()),
            FolderError::NoFolder("DIR".into()),
            FolderError::InTheWay("DIR".into()),
            FolderError::ReadOnly("DIR".into()),
            FolderError::Denied("DIR".into()),
            FolderError::Full("DIR".into()),
            FolderError::File("DIR".into(), ErrorKind::TimedOut.into()),
        ];
        for error in errors {
            let message = error.to_string();
            let (what, then) = message.rsplit_once(": ").unwrap();
            assert!(what.contains("DIR"), "{message}");
            assert!(!then.is_empty(), "{message}");
        }
    }
}
