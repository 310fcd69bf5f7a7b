//! Which tree nodes are stored, and how often each is used: trees of different epochs share most of theirs.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::crypto::Suite;
use crate::tree::RatchetTree;

use super::changes::{Changes, Key};

/// How many parents and roots refer to each stored node, by its hash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeStore {
    uses: BTreeMap<Box<[u8]>, u32>,
}

/// Uses as they will be, of the nodes whose uses change.
#[derive(Debug, Default)]
pub(crate) struct TreeUses(BTreeMap<Box<[u8]>, u32>);

impl TreeStore {
    fn uses(&self, pending: &TreeUses, hash: &[u8]) -> u32 {
        pending.0.get(hash).or_else(|| self.uses.get(hash)).copied().unwrap_or(0)
    }

    /// Uses a tree once more: what is not stored yet is written.
    pub(crate) fn retain(
        &self,
        suite: &Suite,
        tree: &RatchetTree,
        pending: &mut TreeUses,
        changes: &mut Changes,
    ) {
        let pending = RefCell::new(pending);
        let known = |hash: &[u8]| {
            let uses = self.uses(&pending.borrow(), hash);
            pending.borrow_mut().0.insert(hash.into(), uses + 1);
            uses > 0
        };
        tree.records(suite, &known, &mut |record| changes.put(Key::Tree(record.hash), record.bytes));
    }

    /// Uses a tree once less: what nothing uses any more is deleted.
    pub(crate) fn release(
        &self,
        suite: &Suite,
        tree: &RatchetTree,
        pending: &mut TreeUses,
        changes: &mut Changes,
    ) {
        let pending = RefCell::new(pending);
        let known = |hash: &[u8]| {
            let uses = self.uses(&pending.borrow(), hash).saturating_sub(1);
            pending.borrow_mut().0.insert(hash.into(), uses);
            uses > 0
        };
        tree.records(suite, &known, &mut |record| changes.delete(Key::Tree(record.hash)));
    }

    pub(crate) fn apply(&mut self, pending: TreeUses) {
        for (hash, uses) in pending.0 {
            match uses {
                0 => self.uses.remove(&hash),
                _ => self.uses.insert(hash, uses),
            };
        }
    }
}
