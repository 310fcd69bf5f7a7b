//! What a group has to do when nobody says anything.

use std::collections::BTreeSet;

use super::Group;
use crate::commit::Epochs;
use crate::ids::ServerId;

/// What is to be done, the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// All is final and flushed.
    Nothing,
    /// Others are to be asked for flushes.
    Flush,
    /// Something waits for a ballot: unfinal counts as work (rule 7).
    Ballot,
    /// Others are to be asked what they know.
    Recover,
}

impl Group {
    pub(crate) fn work(&self) -> Work {
        let is_open = |id| self.is_open(id);
        if self.state.recovering {
            Work::Recover
        } else if self.has_submissions()
            || self.certified().any(is_open)
            || self.state.candidates().any(|(id, _)| is_open(id))
        {
            Work::Ballot
        } else if self.state.flushed != self.state.finalized {
            Work::Flush
        } else {
            Work::Nothing
        }
    }

    pub(crate) fn has_submissions(&self) -> bool {
        self.state.submissions().next().is_some()
    }

    /// Servers without which nothing is decided while they may be there.
    pub(crate) fn needs(&self) -> BTreeSet<ServerId> {
        self.live()
    }

    /// R of the head.
    pub(crate) fn head_servers(&self, epochs: &dyn Epochs) -> &BTreeSet<ServerId> {
        self.servers(&self.walk(epochs).head)
    }
}
