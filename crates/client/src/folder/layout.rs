//! Where each file is, and which names are ours.
//!
//! ```text
//! DIR/dmls-1/people/ab/ab…          64 hexadecimal digits: the SHA-256 of what is in the file; `ab` are its first two
//!            invitations/ab/ab…
//!            requests/ab/ab…
//!            groups/<tag>/ab/ab…    32 hexadecimal digits: a hash of the group's id
//!            tmp/                   what is being written
//! ```
//!
//! A later format gets a directory of its own beside this one.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::parcel::{GroupTag, Name, Place};

/// All that is ours, in the directory that was chosen.
pub(super) const ROOT: &str = "dmls-1";

/// Has a directory for each group.
pub(super) const GROUPS: &str = "groups";

/// Inside of the root, so that a rename from here stays on one file system.
pub(super) const TEMPORARY: &str = "tmp";

/// The directories of a parcel below the root, from the outermost on.
pub(super) fn directories(root: &Path, place: Place, name: &Name) -> Vec<PathBuf> {
    let mut path = root.to_owned();
    let mut directories = Vec::new();
    for part in parts(place).into_iter().chain([shard(name)]) {
        path.push(part);
        directories.push(path.clone());
    }
    directories
}

/// The directory of a place.
pub(super) fn place(root: &Path, place: Place) -> PathBuf {
    parts(place).iter().fold(root.to_owned(), |path, part| path.join(part))
}

fn parts(place: Place) -> Vec<String> {
    match place {
        Place::People => vec!["people".to_owned()],
        Place::Invitations => vec!["invitations".to_owned()],
        Place::Requests => vec!["requests".to_owned()],
        Place::Group(tag) => vec![GROUPS.to_owned(), tag.to_string()],
    }
}

/// The first byte of a name: at most 256 directories for each place, so that none grows too long to be listed.
fn shard(name: &Name) -> String {
    HEXLOWER.encode(&name.0[..1])
}

/// The byte of a shard's directory.
pub(super) fn shard_of(directory: &str) -> Option<u8> {
    HEXLOWER.decode(directory.as_bytes()).ok()?.try_into().ok().map(|[byte]: [u8; 1]| byte)
}

/// The group of a directory in `groups`.
pub(super) fn group_of(directory: &str) -> Option<Place> {
    let tag = HEXLOWER.decode(directory.as_bytes()).ok()?.try_into().ok()?;
    Some(Place::Group(GroupTag(tag)))
}

/// Begins the name of a file that is being written.
///
/// It looks like one of Syncthing's own, because Syncthing never copies a name that begins with `~syncthing~`, in any
/// directory and on any system. For git, `docs/folder.md` has a line.
const WRITING: &str = "~syncthing~dmls-";

/// The name of a file that is being written, by the `counter`th try of a process.
pub(super) fn temporary(process: u32, counter: u64) -> String {
    format!("{WRITING}{process}-{counter}.tmp")
}

/// Whether a file is one that we, or another process of ours, were writing.
pub(super) fn is_temporary(file: &str) -> bool {
    file.starts_with(WRITING) && file.ends_with(".tmp")
}

/// Whether a file is there for the operating system or a program that copies, so that nobody needs to hear of it.
///
/// Copies that such programs make because of a conflict are not among these: our files never change, so there was
/// damage, and a person should look.
pub(super) fn is_silent(file: &str) -> bool {
    /// Of these, the exact name.
    const NAMES: [&str; 16] = [
        ".stfolder",
        ".stignore",
        ".stversions",
        ".git",
        ".gitignore",
        ".gitattributes",
        ".gitkeep",
        ".DS_Store",
        ".directory",
        ".Trashes",
        ".Spotlight-V100",
        ".fseventsd",
        "desktop.ini",
        "Thumbs.db",
        "System Volume Information",
        "lost+found",
    ];
    /// Of these, how it begins: files on their way, of Syncthing, macOS, NFS, SMB, FUSE, desktops.
    const BEGINNINGS: [&str; 7] =
        [".syncthing.", "~syncthing~", "._", ".nfs", ".smbdelete", ".fuse_hidden", ".Trash-"];
    NAMES.contains(&file) || BEGINNINGS.iter().any(|beginning| file.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{directories, group_of, is_silent, is_temporary, place, shard_of, temporary};
    use crate::parcel::{GroupTag, Name, Place};

    /// The format: whoever changes this line changes it for everybody, and needs `dmls-2`.
    #[test]
    fn paths() {
        let root = Path::new("dmls-1");
        let name = Name([0xab; 32]);
        let shard = |place| directories(root, place, &name).pop().unwrap();
        assert_eq!(shard(Place::People), Path::new("dmls-1/people/ab"));
        assert_eq!(shard(Place::Invitations), Path::new("dmls-1/invitations/ab"));
        assert_eq!(shard(Place::Requests), Path::new("dmls-1/requests/ab"));
        let group = Place::Group(GroupTag([1; 16]));
        assert_eq!(shard(group), Path::new("dmls-1/groups/01010101010101010101010101010101/ab"));
        assert_eq!(directories(root, group, &name).len(), 3);
        assert_eq!(place(root, group), shard(group).parent().unwrap());
    }

    #[test]
    fn names_are_strict() {
        assert_eq!(shard_of("ab"), Some(0xab));
        for other in ["", "a", "AB", "abc", "abcd", "zz", "ab.", " ab"] {
            assert_eq!(shard_of(other), None, "{other}");
        }
        assert!(group_of(&"01".repeat(16)).is_some());
        assert!(group_of(&"01".repeat(15)).is_none());
        assert!(group_of(&"AB".repeat(16)).is_none());
    }

    #[test]
    fn what_is_silent() {
        let written = temporary(7, 1);
        assert!(is_temporary(&written) && is_silent(&written));
        assert!(!is_temporary("~syncthing~other.tmp"), "Syncthing's own is not ours to remove");
        for silent in
            [".stfolder", ".syncthing.abc.tmp", ".git", ".DS_Store", "._ab", ".nfs0001", "Thumbs.db"]
        {
            assert!(is_silent(silent), "{silent}");
        }
        let name = Name([0xab; 32]).to_string();
        for told in [
            format!("{name}.sync-conflict-20260101-120000-ABCDEFG"),
            format!("{name} (Anna's conflicted copy 2026-01-01)"),
            format!("{name}-DESKTOP"),
            format!("{name} (1)"),
            "notes.txt".to_owned(),
            ".hidden".to_owned(),
        ] {
            assert!(!is_silent(&told), "{told}");
        }
    }
}
