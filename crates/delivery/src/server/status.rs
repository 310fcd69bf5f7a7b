//! A group, as an operator sees it.

use dmls::CommitId;

use super::Entry;
use crate::commit::{Body, Joiner};

/// How a group stands at a server.
pub struct Status<'a> {
    pub(super) entry: &'a Entry,
}

impl Status<'_> {
    /// The head.
    pub fn head(&self) -> CommitId {
        self.entry.group.head(&*self.entry.epochs)
    }

    /// The last final commit.
    pub fn finalized(&self) -> &CommitId {
        self.entry.group.finalized()
    }

    /// No message of an older epoch is under way.
    pub fn flushed(&self) -> &CommitId {
        self.entry.group.flushed()
    }

    /// Whether it waits for others after a restore.
    pub fn is_recovering(&self) -> bool {
        self.entry.group.is_recovering()
    }

    /// Whether a ballot of this server is under way.
    pub fn is_busy(&self) -> bool {
        self.entry.group.is_busy()
    }

    /// A commit as it was submitted, for who is to process it or to join by it. Of the first there is none.
    pub fn body(&self, commit: &CommitId) -> Option<&Body> {
        self.entry.group.body(commit)
    }

    /// For whom the Welcome of a commit is.
    pub fn joiners(&self, commit: &CommitId) -> Vec<Joiner> {
        self.entry.epochs.joiners(commit)
    }

    /// Certified commits, in no order.
    pub fn certified(&self) -> impl Iterator<Item = &CommitId> {
        self.entry.group.certified()
    }
}
