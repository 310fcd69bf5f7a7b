//! The copath of one punctured input, and its records.

use zeroize::{Zeroize, Zeroizing};

/// What hangs off the path to a punctured input: the sibling at level `i` has depth `i + 1` and the other value of the
/// input's bit `i`. It begins at the node that was live when the input was punctured; what is above belongs to the
/// copaths of inputs that were punctured before.
pub(super) struct Copath {
    nh: usize,
    first: usize,
    /// The input in whose copath the node was that stood at the beginning of this one; `None` if it was the root.
    pub parent: Option<Vec<u8>>,
    /// The siblings from the first level to the last, `nh` bytes each; zeros where one is gone.
    secrets: Zeroizing<Vec<u8>>,
    /// For each sibling, whether it is still there. It goes when an input below it is punctured.
    live: Vec<bool>,
}

/// How many levels have one record: a puncture rewrites one record of another copath, and adds `8 * Nh / 32` of its own.
const LEVELS: usize = 32;

impl Copath {
    pub(super) fn new(nh: usize, first: usize, parent: Option<Vec<u8>>, secrets: Zeroizing<Vec<u8>>) -> Self {
        let live = vec![true; secrets.len() / nh];
        debug_assert_eq!(first + live.len(), 8 * nh);
        Self { nh, first, parent, secrets, live }
    }

    /// The level of its first sibling: the depth of the node at its beginning.
    pub(super) fn first_level(&self) -> usize {
        self.first
    }

    pub(super) fn live_nodes(&self) -> usize {
        self.live.iter().filter(|live| **live).count()
    }

    /// A sibling that is still there.
    pub(super) fn secret(&self, level: usize) -> &[u8] {
        let i = level - self.first;
        debug_assert!(self.live[i]);
        &self.secrets[i * self.nh..][..self.nh]
    }

    /// Erases a sibling.
    pub(super) fn remove(&mut self, level: usize) {
        let i = level - self.first;
        assert!(self.live[i], "a puncture is applied to the function that it came from");
        self.live[i] = false;
        self.secrets[i * self.nh..][..self.nh].zeroize();
    }

    /// The records of a copath, each by its first level: the first where the copath begins, the others at multiples
    /// of [`LEVELS`]. Also of a copath without levels there is one, which keeps its input.
    pub(super) fn record_levels(nh: usize, first: usize) -> impl Iterator<Item = usize> {
        let next = (first / LEVELS + 1) * LEVELS;
        std::iter::once(first).chain((next..8 * nh).step_by(LEVELS))
    }

    /// The levels in the record that begins at `level`.
    pub(super) fn levels_in_record(nh: usize, level: usize) -> std::ops::Range<usize> {
        level..((level / LEVELS + 1) * LEVELS).min(8 * nh)
    }

    /// All records: the end of each key, and the value.
    pub(super) fn records(&self, input: &[u8]) -> impl Iterator<Item = (Vec<u8>, Zeroizing<Vec<u8>>)> {
        Self::record_levels(self.nh, self.first).map(|level| self.record(input, level, None))
    }

    /// The record with the sibling at `level`, once that is gone.
    pub(super) fn record_without(&self, input: &[u8], level: usize) -> (Vec<u8>, Option<Zeroizing<Vec<u8>>>) {
        let start = (level / LEVELS * LEVELS).max(self.first);
        let (key, value) = self.record(input, start, Some(level));
        (key, Some(value))
    }

    /// ```text
    /// key = input || uint16 level        value = the secrets that are there, from this level to the next record's
    /// ```
    fn record(&self, input: &[u8], start: usize, without: Option<usize>) -> (Vec<u8>, Zeroizing<Vec<u8>>) {
        let key = [input, &(start as u16).to_be_bytes()].concat();
        let levels = Self::levels_in_record(self.nh, start);
        let there = |level: &usize| self.live[level - self.first] && Some(*level) != without;
        // Memory that doesn't grow leaves no copies behind.
        let mut value = Zeroizing::new(Vec::with_capacity(levels.len() * self.nh));
        levels.filter(there).for_each(|level| value.extend_from_slice(self.secret(level)));
        (key, value)
    }
}
