//! Commits that remove us. Their epochs can't be computed, and their confirmation tags can't be verified by us: each is a
//! claim until the caller, or the delivery service, says that it stands.

use crate::epoch::CommitSummary;
use crate::error::{Error, Limit, Usage};
use crate::forks::Edge;
use crate::key_schedule::{CommitId, EpochId};

use super::Group;
use super::effect::Effect;
use super::network::Turn;
use super::outcome::{Outcome, Removed};
use super::step::{Decision, Step};

/// A commit that says that it removes us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub parent: EpochId,
    pub edge: Edge,
    pub stands: bool,
}

impl Removal {
    pub(crate) fn standing(&self) -> Self {
        Self { stands: true, ..self.clone() }
    }
}

impl Group {
    /// Commits that say that they remove us and do not stand yet.
    pub fn claimed_removals(&self) -> impl Iterator<Item = &CommitId> {
        self.removals.iter().filter(|(_, removal)| !removal.stands).map(|(commit, _)| commit)
    }

    /// Whether the winning branch removed us, by a commit that stands: nothing can be sent any more. Drop the group, or
    /// keep it to read what is late.
    pub fn is_removed(&self) -> bool {
        self.graph.forks().end().dead_end.is_some()
    }

    /// The removal is true: somebody whom we trust is in the epoch that it made, or told us.
    pub fn confirm_removal(&mut self, commit: &CommitId) -> Result<Step<'_, Turn>, Error> {
        let removal = self.removals.get(commit).ok_or(Usage::UnknownCommit)?;
        let decision = if removal.stands {
            self.turn(commit, self.graph.forks().end().clone(), Vec::new(), Vec::new())
        } else {
            self.stand(commit, removal.standing())
        };
        Ok(decision.into_step(self))
    }

    /// What follows from a removal that stands from now on.
    fn stand(&self, commit: &CommitId, removal: Removal) -> Decision<Turn> {
        let (parent, edge) = (&removal.parent, &removal.edge);
        let end = self.graph.forks().end_after(|forks| forks.add_dead_end(parent, edge.clone()));
        let effects = vec![Effect::Removal(commit.clone(), Box::new(removal))];
        self.turn(commit, end, Vec::new(), effects)
    }

    /// A removal that stands ends what we can do.
    pub(super) fn check_member(&self) -> Result<(), Usage> {
        if self.is_removed() { Err(Usage::NotMember) } else { Ok(()) }
    }

    /// Decides about a commit that removes us.
    pub(super) fn decide_removal(
        &self,
        parent: &EpochId,
        edge: Edge,
        commit: CommitSummary,
    ) -> Result<Decision<Outcome>, Error> {
        // Nobody can verify the tag, so one member could send any number of them.
        let same = self.removals.values().filter(|removal| {
            removal.parent == *parent && removal.edge.committer == edge.committer && !removal.stands
        });
        let stands = self.graph.forks().finals().contains(&edge.commit);
        if !stands && same.count() >= self.children_per_committer(parent) {
            return Err(Limit::Removals.into());
        }
        let on_way = self.graph.forks().is_on_way(parent);
        let removed = Removed {
            parent: parent.clone(),
            commit_id: edge.commit.clone(),
            commit,
            wins: on_way && self.graph.forks().would_win(parent, &edge),
            stands,
        };
        let commit = edge.commit.clone();
        let removal = Removal { parent: parent.clone(), edge, stands };
        let outcome = Outcome::Removed(Box::new(removed));
        if stands {
            return Ok(self.stand(&commit, removal).map(|_| outcome));
        }
        Ok(Decision::new(outcome, vec![Effect::Removal(commit, Box::new(removal))]))
    }
}
