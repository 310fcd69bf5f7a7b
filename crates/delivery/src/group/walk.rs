//! The tree of commits: which is the head, who must vote (federation.md s4, rules 2, 4 and 7).

use std::collections::BTreeSet;

use dmls::CommitId;

use super::Group;
use crate::commit::{Commit, Epochs};
use crate::ids::ServerId;
use crate::mutant::Mutant;

/// Where the walk from the last final commit ends.
pub(super) struct End {
    /// The head: the last certified commit on the way.
    pub(super) head: CommitId,
    /// On top of it, what was voted for and must be finished.
    pub(super) candidate: Option<CommitId>,
}

impl Group {
    /// Whether one commit is another or stands above it.
    pub(super) fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> bool {
        let mut at = Some(of);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.state.parent(id);
        }
        false
    }

    /// From a commit, which is left out, down to one of its descendants, parents first. Empty if it is none.
    pub(super) fn below(&self, ancestor: &CommitId, to: &CommitId) -> Vec<CommitId> {
        let mut path = Vec::new();
        let mut at = Some(to);
        while let Some(id) = at {
            if id == ancestor {
                path.reverse();
                return path;
            }
            path.push(id.clone());
            at = self.state.parent(id);
        }
        Vec::new()
    }

    /// Whether a commit descends from the last final one, which is not its own descendant here.
    pub(super) fn is_open(&self, id: &CommitId) -> bool {
        *id != self.state.finalized && self.is_ancestor(&self.state.finalized, id)
    }

    /// Rule 4: certified children before candidates, of each the group's choice; who is blocked is skipped.
    pub(super) fn walk(&self, epochs: &dyn Epochs) -> End {
        let mut head = match self.mutant {
            Some(Mutant::NoPin) => self.state.genesis.clone(),
            _ => self.state.finalized.clone(),
        };
        loop {
            let children: Vec<_> =
                self.state.children(&head).filter(|child| !self.is_skipped(epochs, child)).collect();
            let certified = children.iter().copied().filter(|child| self.state.is_certified(child));
            if let Some(child) = self.choose(certified) {
                head = child;
                continue;
            }
            let candidates = children.iter().copied().filter(|child| self.state.is_candidate(child));
            return End { candidate: self.choose(candidates), head };
        }
    }

    fn is_skipped(&self, epochs: &dyn Epochs, id: &CommitId) -> bool {
        self.mutant != Some(Mutant::BlockedIsNotSkipped)
            && !self.is_ancestor(id, &self.state.finalized)
            && self.is_blocked(epochs, id)
    }

    /// The group's choice among siblings.
    fn choose<'a>(&'a self, siblings: impl Iterator<Item = &'a CommitId>) -> Option<CommitId> {
        let siblings: Vec<_> = siblings.map(|id| self.state.commit(id)).collect();
        let candidate = |commit: &'a Commit| dmls::Candidate {
            tag: &commit.tag,
            commit: &commit.id,
            committer: commit.ranking.committer,
            removes: &commit.ranking.removes,
        };
        let candidates: Vec<_> = siblings.iter().map(|commit| candidate(commit)).collect();
        let parent = self.state.parent(&siblings.first()?.id)?;
        let winner = self.state.commit(parent).ranking.children.choose(&candidates)?;
        Some(siblings[winner].id.clone())
    }

    /// Whether the group's choice between two commits of one epoch is the first.
    pub(super) fn is_chosen(&self, id: &CommitId, other: &CommitId) -> bool {
        self.choose([id, other].into_iter()).as_ref() == Some(id)
    }

    /// R of a commit.
    pub(super) fn servers(&self, id: &CommitId) -> &BTreeSet<ServerId> {
        &self.state.commit(id).servers
    }

    /// The servers of the last final epoch and of all that come after it.
    pub(super) fn live(&self) -> BTreeSet<ServerId> {
        let mut live = self.servers(&self.state.finalized).clone();
        for id in self.state.nodes.keys().filter(|id| self.state.is_certified(id) && self.is_open(id)) {
            live.extend(self.servers(id));
        }
        live
    }

    /// Rule 7, Req: the servers of all epochs from the last final one to the parent, less retired ones.
    pub(super) fn required(&self, id: &CommitId) -> BTreeSet<ServerId> {
        let Some(parent) = self.state.parent(id) else { return BTreeSet::new() };
        if self.mutant == Some(Mutant::NaiveFinality) {
            return self.servers(parent).clone();
        }
        let mut required = self.servers(&self.state.finalized).clone();
        for epoch in self.below(&self.state.finalized, parent) {
            required.extend(self.servers(&epoch));
        }
        &required - &self.retired
    }
}
