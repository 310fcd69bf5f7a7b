//! How much is in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::tree::{self, Faults, is_gone};
use crate::parcel::Place;
use crate::transport::{Fault, Why};

/// What is in a folder, by what its directories say: nothing was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The parcels of each place, those of all groups that have any.
    pub places: BTreeMap<Place, Usage>,
    /// Files that are being written, or were left by processes that ended.
    pub temporary: Usage,
    /// What is no parcel, as far as that can be seen without reading: at most 1,000.
    pub faults: Vec<Fault>,
}

/// How many files, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub files: u64,
    /// How many bytes are in them, without what the file system adds.
    pub bytes: u64,
}

impl Usage {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

pub(super) fn of(root: &Path, limit: usize) -> Statistics {
    let mut statistics = Statistics::default();
    let mut faults = Faults::default();
    for place in tree::places(root, &mut faults) {
        let usage = statistics.places.entry(place).or_default();
        for shard in tree::shards(root, place, &mut faults) {
            let mut wrong = Vec::new();
            shard.parcels(&mut faults, &mut |_, entry| match entry.metadata().map(|found| found.len()) {
                Ok(bytes) => {
                    usage.add(bytes);
                    if bytes == 0 {
                        wrong.push((entry.path(), Why::Empty));
                    } else if bytes > limit as u64 {
                        wrong.push((entry.path(), Why::TooLarge));
                    }
                }
                Err(e) if is_gone(&e) => {}
                Err(_) => wrong.push((entry.path(), Why::Unreadable)),
            });
            wrong.into_iter().for_each(|(path, why)| faults.add(path, why));
        }
    }
    for path in tree::temporary(root, &mut faults) {
        if let Ok(found) = fs::symlink_metadata(path) {
            statistics.temporary.add(found.len());
        }
    }
    statistics.faults = faults.sorted();
    statistics
}
