//! Errors: each says what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use dmls::Time;

/// Why the store refused. Unless it is [`Error::Reopen`], nothing has changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no profile. Create one, or look elsewhere.
    NotFound(PathBuf),
    /// There is a profile already. Open it, or create one elsewhere.
    Exists(PathBuf),
    /// Another process has the profile open; this is its id and program, where that can be read. End it, or wait.
    Locked(Option<String>),
    /// The file is no profile of ours. Give the right directory.
    Foreign(PathBuf),
    /// The profile was written by a later version, in this format. Use that version.
    Format(i32),
    /// The key is not that of this profile. Give the right one.
    WrongKey,
    /// The profile is opened by a passphrase, not by a key (or the other way round). Give that.
    WrongKindOfKey,
    /// A stored value is damaged, or was put in another's place. Restore a backup, and rejoin every group.
    Damaged(&'static str),
    /// The profile is older than it was the last time: an old copy was restored. Find the newer one; if it is lost, open with
    /// [`crate::Profile::open_rolled_back`] and rejoin every group.
    RolledBack {
        /// How many transactions the profile has.
        found: u64,
        /// How many it had.
        seen: u64,
    },
    /// The profile was exported into a file, and goes on where that is imported. Import it; here, only once what is left is erased.
    Exported {
        /// When.
        at: Time,
        /// The file, as it was named.
        to: PathBuf,
        /// Whether what is left here was erased. Until then [`crate::Profile::export`] gives the phrase again.
        erased: bool,
    },
    /// An exported file is not whole, or was changed. Copy it again from where it was made.
    DamagedExport(PathBuf),
    /// The phrase is not that of the file. Look for the one that was shown when it was made.
    WrongPhrase,
    /// There is a file where one was to be made. Name another.
    Occupied(PathBuf),
    /// The profile has no such group. Create or join it.
    UnknownGroup,
    /// The profile has this group already. Delete it first, if it is to be replaced.
    GroupExists,
    /// The profile has no such key package, or it was used. Ask for a new invitation.
    UnknownKeyPackage,
    /// A key or a value is longer than the store takes: 1 GB. Keep it in a file of its own.
    TooLarge,
    /// A write in this transaction failed, and the caller went on. Nothing was written: return the first error.
    Failed,
    /// A transaction could not be finished (for this reason, told once), and whether it is on disk is not known. Drop all groups, open
    /// the profile again, and load them.
    Reopen(Option<Box<Error>>),
    /// The group, identity or key package can't be read by the library: it says why.
    Core(dmls::Error),
    /// The database failed: a full or failing disk, most likely. Make room, and try again.
    Database(DatabaseError),
    /// A file beside the database can't be read or written. Look at its permissions.
    File(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(f, "{} holds no profile: create one there", path.display()),
            Self::Exists(path) => write!(f, "{} holds a profile already: open it", path.display()),
            Self::Locked(Some(holder)) => {
                write!(f, "the profile is in use by process {holder}: end it, or wait")
            }
            Self::Locked(None) => write!(f, "the profile is in use by another process: end it, or wait"),
            Self::Foreign(path) => write!(f, "{} is not a file of ours", path.display()),
            Self::Format(format) => {
                write!(f, "the profile has format {format}, this version knows {FORMAT}: use a later one")
            }
            Self::WrongKey => write!(f, "wrong key or passphrase"),
            Self::WrongKindOfKey => {
                write!(f, "the profile needs a passphrase where a key was given, or the other way round")
            }
            Self::Damaged(what) => write!(f, "{what} is damaged: restore a backup, and rejoin every group"),
            Self::RolledBack { found, seen } => write!(
                f,
                "an old copy of the profile was restored ({found} transactions, {seen} were made): find the newer one, or rejoin \
                 every group"
            ),
            Self::Exported { to, .. } => {
                write!(f, "the profile was exported into {}: it goes on where that is imported", to.display())
            }
            Self::DamagedExport(path) => {
                write!(
                    f,
                    "{} is not whole, or was changed: copy it again from where it was made",
                    path.display()
                )
            }
            Self::WrongPhrase => write!(f, "the recovery phrase is that of another file"),
            Self::Occupied(path) => write!(f, "{} is there already: name another file", path.display()),
            Self::UnknownGroup => write!(f, "the profile has no such group"),
            Self::GroupExists => write!(f, "the profile has this group already"),
            Self::UnknownKeyPackage => {
                write!(f, "the key package is unknown or used: ask for a new invitation")
            }
            Self::TooLarge => write!(f, "a value is longer than 1 GB: keep it in a file of its own"),
            Self::Failed => write!(f, "an earlier write in this transaction failed: nothing was written"),
            Self::Reopen(Some(e)) => {
                write!(f, "whether the transaction was stored is not known ({e}): open the profile again")
            }
            Self::Reopen(None) => write!(f, "an earlier transaction failed: open the profile again"),
            Self::Core(e) => write!(f, "{e}"),
            Self::Database(e) => write!(f, "{e}"),
            Self::File(path, e) => write!(f, "{}: {e}", path.display()),
        }
    }
}

/// The format of profiles that this version writes, and the latest that it reads.
pub(crate) const FORMAT: i32 = 1;

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Core(e) => Some(e),
            Self::Database(e) => Some(e),
            Self::File(_, e) => Some(e),
            Self::Reopen(Some(e)) => Some(e),
            _ => None,
        }
    }
}

impl Error {
    /// What went wrong with a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |e| Self::File(path.to_owned(), e)
    }
}

impl From<dmls::Error> for Error {
    fn from(e: dmls::Error) -> Self {
        Self::Core(e)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, TooBig};
        match e.sqlite_error_code() {
            Some(DatabaseCorrupt) => Self::Damaged("the database"),
            Some(DatabaseBusy | DatabaseLocked) => Self::Locked(None),
            Some(TooBig) => Self::TooLarge,
            _ => Self::Database(DatabaseError(e)),
        }
    }
}

/// What SQLite says.
pub struct DatabaseError(rusqlite::Error);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database failed: {}", self.0)
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for DatabaseError {}
