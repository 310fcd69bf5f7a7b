//! Reading what arrived: whole parcels, and faults.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::tree::{Faults, is_gone, shards};
use crate::parcel::{Name, Place};
use crate::transport::{Fault, Flow, Why};

/// As [`crate::Transport::arrived`]. Holds the names of one shard and the bytes of one parcel.
pub(super) fn arrived(
    root: &Path,
    limit: usize,
    place: Place,
    known: &dyn Fn(&Name) -> bool,
    take: &mut dyn FnMut(Name, Vec<u8>) -> Flow,
) -> Vec<Fault> {
    let mut faults = Faults::default();
    'shards: for shard in shards(root, place, &mut faults) {
        let mut names = Vec::new();
        shard.parcels(&mut faults, &mut |name, _| {
            if !known(&name) {
                names.push(name);
            }
        });
        names.sort_unstable();
        for name in names {
            let path = shard.path.join(name.to_string());
            match parcel(&path, limit) {
                Ok(Some(bytes)) if Name::of(&bytes) != name => faults.add(path, Why::Damaged),
                Ok(Some(bytes)) => match take(name, bytes) {
                    Flow::Continue => {}
                    Flow::Stop => break 'shards,
                },
                Ok(None) => {}
                Err(why) => faults.add(path, why),
            }
        }
    }
    faults.sorted()
}

/// The content of a file, or nothing if it was taken away or replaced since it was listed.
pub(super) fn parcel(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Why> {
    let unless_gone = |e: io::Error| if is_gone(&e) { Ok(None) } else { Err(Why::Unreadable) };
    let listed = match fs::symlink_metadata(path) {
        Ok(listed) => listed,
        Err(e) => return unless_gone(e),
    };
    // Opening anything else could wait (a pipe), act (a device) or lead out of the folder (a link).
    if !listed.is_file() {
        return Err(Why::Foreign);
    }
    if listed.len() > limit as u64 {
        return Err(Why::TooLarge);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) => return unless_gone(e),
    };
    match file.metadata() {
        Ok(opened) if is_same(&listed, &opened) => whole(file, opened.len(), limit).map(Some),
        // Replaced in between, perhaps by a link: the next look sees what it is now.
        Ok(_) => Ok(None),
        Err(e) => unless_gone(e),
    }
}

#[cfg(unix)]
fn is_same(listed: &Metadata, opened: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (listed.dev(), listed.ino()) == (opened.dev(), opened.ino())
}

/// Other systems don't say which file it is; they say of what kind.
#[cfg(not(unix))]
fn is_same(_listed: &Metadata, opened: &Metadata) -> bool {
    opened.is_file()
}

/// What is in a file of this size, unless that is too much; it may grow while it is read.
fn whole(file: impl Read, size: u64, limit: usize) -> Result<Vec<u8>, Why> {
    let limit = limit as u64;
    if size > limit {
        return Err(Why::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(|_| Why::TooLarge)?);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|_| Why::Unreadable)?;
    match bytes.len() as u64 {
        0 => Err(Why::Empty),
        read if read > limit => Err(Why::TooLarge),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Read};

    use super::{parcel, whole};
    use crate::transport::Why;

    /// Counts what is read of it; never ends.
    struct Endless<'a>(&'a mut usize);

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            *self.0 += buffer.len();
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_large_file_is_not_read() {
        let mut read = 0;
        assert_eq!(whole(Endless(&mut read), 101, 100), Err(Why::TooLarge));
        assert_eq!(read, 0);
    }

    /// One byte more than the limit tells that it is too much.
    #[test]
    fn a_growing_file_is_read_up_to_the_limit() {
        for size in [0, 1, 100] {
            let mut read = 0;
            assert_eq!(whole(Endless(&mut read), size, 100), Err(Why::TooLarge));
            assert_eq!(read, 101);
        }
    }

    /// Whoever asks, also without having listed it: opening a pipe would wait for ever.
    #[test]
    fn only_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(parcel(directory.path(), 100), Err(Why::Foreign));
        let path = directory.path().join("file");
        assert_eq!(parcel(&path, 100), Ok(None));
        fs::write(&path, "content").unwrap();
        assert_eq!(parcel(&path, 100), Ok(Some(b"content".to_vec())));
    }

    #[test]
    fn sizes() {
        assert_eq!(whole(&[][..], 0, 100), Err(Why::Empty));
        assert_eq!(whole(&[][..], 7, 100), Err(Why::Empty), "it shrank");
        assert_eq!(whole(&[1; 100][..], 100, 100), Ok(vec![1; 100]));
        assert_eq!(whole(&[1; 100][..], 50, 100), Ok(vec![1; 100]), "it grew");
        assert_eq!(whole(&[1; 101][..], 100, 100), Err(Why::TooLarge));
    }
}
