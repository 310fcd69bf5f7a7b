//! What the delivery service says of commits, also before they come: final, blocked, not needed any more.

use crate::error::{Error, Limit, Usage};
use crate::key_schedule::CommitId;

use super::step::Effect;
use super::{PublicGroup, PublicNode, PublicStep, PublicTurn};

impl PublicGroup {
    /// A commit is final: the way goes through it, whatever its tag. Its ancestors are final with it.
    pub fn finalize(&mut self, commit: &CommitId) -> Result<PublicStep<'_, PublicTurn>, Error> {
        self.check_room(self.graph.finals().len())?;
        let head = match self.graph.is_on_way(commit) {
            true => self.graph.end().key.clone(),
            false => self.graph.end_after(|forks| forks.finalize(commit)).key,
        };
        let mut effects = vec![Effect::Finalize(commit.clone())];
        let above = self.graph.ancestors(commit).skip(1).map(|(id, _)| id);
        let implied = above.filter(|id| self.graph.finals().contains(*id));
        effects.extend(implied.cloned().map(Effect::DropFinal));
        Ok(self.turn(commit, head, effects))
    }

    /// Too few members can process a commit: the way avoids it and all below it, unless it is final.
    pub fn block(&mut self, commit: &CommitId) -> Result<PublicStep<'_, PublicTurn>, Error> {
        self.check_room(self.graph.blocked().len())?;
        let head = match self.graph.is_on_way(commit) {
            true => self.graph.end_after(|forks| forks.block(commit)).key,
            false => self.graph.end().key.clone(),
        };
        Ok(self.turn(commit, head, vec![Effect::Block(commit.clone())]))
    }

    /// Takes that back.
    pub fn unblock(&mut self, commit: &CommitId) -> PublicStep<'_, PublicTurn> {
        let head = self.graph.end_after(|forks| forks.unblock(commit)).key;
        self.turn(commit, head, vec![Effect::Unblock(commit.clone())])
    }

    /// Takes an epoch out, with what was said of its commit, and gives the commits that went. Of the way only the oldest epoch can go,
    /// if no other branch begins there; beside the way any branch, with all that follows. A commit that lost and may still
    /// decide between others ([`crate::ForkChoice::RemovalsFirst`]) can't go by itself, only its branch down to it, and then it goes with
    /// the epoch that it was made in. What is final stays as long as it is not the oldest.
    pub fn forget(&mut self, commit: &CommitId) -> Result<PublicStep<'_, Vec<CommitId>>, Error> {
        let Some((commit, _)) = self.graph.entry(commit) else { return Err(Usage::UnknownEpoch.into()) };
        let gone: Vec<_> = if self.graph.is_on_way(commit) {
            let goes = |id: &CommitId, _: &PublicNode| id == commit || self.graph.is_heard(id);
            let oldest = self.graph.forgettable_chain(goes).next();
            let (oldest, losers) = oldest.filter(|(oldest, _)| *oldest == commit).ok_or(Usage::ForgetsWay)?;
            losers.into_iter().chain([oldest]).cloned().collect()
        } else {
            let branch = self.branch(commit);
            if self.graph.is_heard(commit) || branch.iter().any(|id| self.graph.is_final(id)) {
                return Err(Usage::ForgetsWay.into());
            }
            branch
        };
        let effects = gone.iter().cloned().map(Effect::Forget).collect();
        Ok(self.step(gone, effects))
    }

    /// An epoch and all below it, children first.
    fn branch(&self, commit: &CommitId) -> Vec<CommitId> {
        let mut branch = vec![commit.clone()];
        let mut next = 0;
        while let Some(id) = branch.get(next) {
            let children: Vec<_> = self.graph.children(id).map(|(child, _)| child.clone()).collect();
            branch.extend(children);
            next += 1;
        }
        branch.reverse();
        branch
    }

    /// What was said of commits that never come must not grow without bound.
    fn check_room(&self, count: usize) -> Result<(), Limit> {
        if count >= self.config.limits.known_epochs.max(1) { Err(Limit::Verdicts) } else { Ok(()) }
    }

    fn turn(
        &mut self,
        commit: &CommitId,
        head: CommitId,
        effects: Vec<Effect>,
    ) -> PublicStep<'_, PublicTurn> {
        let head_moved = head != self.graph.end().key;
        let lost = self.lost(&head);
        let known = self.graph.get(commit).is_some();
        self.step(PublicTurn { known, head, head_moved, lost }, effects)
    }

    /// The epochs on the way that are not above `kept`, oldest first.
    pub(super) fn lost(&self, kept: &CommitId) -> Vec<CommitId> {
        let way = self.graph.ancestors(&self.graph.end().key);
        let left = way.take_while(|(id, _)| !self.graph.is_above(id, kept));
        let mut lost: Vec<_> = left.map(|(id, _)| id.clone()).collect();
        lost.reverse();
        lost
    }
}
