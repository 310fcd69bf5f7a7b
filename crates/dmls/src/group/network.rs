//! What the delivery service says of the network and of commits. It is state of the group, and may come in any order with
//! the commits themselves, also before them.

use std::collections::BTreeSet;

use crate::error::{Error, Limit};
use crate::forks::WayEnd;
use crate::key_schedule::{CommitId, EpochId};

use super::effect::Effect;
use super::outcome::{Deleted, Lost, Stranded, Why};
use super::retention::{LetGo, Released};
use super::step::{Decision, Step};
use super::{Group, GroupState, Level};

/// Whether late commits for old epochs can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The delivery service has put everything in order: a commit deletes all epochs but the head (draft s6.1.2).
    Whole,
    /// Part of it can't be reached, or nobody knows: what is old may still be needed (s6.1.1). So a group begins.
    Split,
}

/// What became of the head by what was said of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Whether the commit is here. If not, what was said counts as soon as it arrives.
    pub known: bool,
    /// The head now.
    pub head: EpochId,
    /// Whether it is another than before.
    pub head_moved: bool,
    /// The branch that the head left, oldest first: what it did is undone. See [`crate::Group::consolidate`].
    pub lost: Vec<Lost>,
    /// Epochs of which something was deleted, and why.
    pub deleted: Vec<Deleted>,
    /// The branch that wins is one that we can't follow.
    pub stranded: Option<Stranded>,
}

impl Group {
    /// Whether the network is whole, as the delivery service said last.
    pub fn network(&self) -> Network {
        self.state.network
    }

    /// The delivery service says whether the network is whole. Nothing is deleted before the next commit.
    pub fn set_network(&mut self, network: Network) -> Step<'_, ()> {
        let state = Some(GroupState { network, ..self.state.clone() });
        Decision { outcome: (), effects: Vec::new(), state }.into_step(self)
    }

    /// The delivery service says that a commit is final: the way goes through it, whatever its tag. What it excludes, and its
    /// ancestors, can only be read from now on, once its own epoch is here.
    pub fn finalize(&mut self, commit: &CommitId) -> Result<Step<'_, Turn>, Error> {
        self.check_room(commit, self.graph.forks().finals())?;
        let known = self.graph.forks().by_commit(commit);
        let claim = self.removals.get(commit).filter(|removal| !removal.stands);
        let end = match known {
            Some(id) if self.graph.forks().is_on_way(id) => self.graph.forks().end().clone(),
            _ => self.graph.forks().end_after(|forks| {
                forks.finalize(commit);
                if let Some(removal) = claim {
                    forks.add_dead_end(&removal.parent, removal.edge.clone());
                }
            }),
        };
        let mut effects = vec![Effect::Finalize(commit.clone())];
        effects.extend(claim.map(|claim| Effect::Removal(commit.clone(), Box::new(claim.standing()))));
        if let Some(id) = known {
            let above = self.graph.forks().ancestors(id).skip(1).map(|(_, vertex)| &vertex.edge.commit);
            let implied = above.filter(|commit| self.graph.forks().finals().contains(*commit));
            effects.extend(implied.map(|commit| Effect::DropFinal(commit.clone())));
        }
        let held = known.filter(|id| self.full(id).is_ok());
        let let_go = match held.and_then(|id| Some((id, self.graph.vertex(id)?.parent.as_ref()))) {
            Some((id, parent)) => {
                let final_one = Released { commit, id: Some(id), parent };
                effects.extend(
                    self.flushed_by(final_one).map(|(commit, _)| Effect::DropFlushed(commit.clone())),
                );
                self.released_by(final_one)
            }
            None => Vec::new(),
        };
        Ok(self.turn(commit, end, let_go, effects).into_step(self))
    }

    /// The delivery service says that too few members can process a commit: the way avoids it and all below it.
    pub fn block(&mut self, commit: &CommitId) -> Result<Step<'_, Turn>, Error> {
        self.check_room(commit, self.graph.forks().blocked())?;
        let end = self.graph.forks().end_after(|forks| forks.block(commit));
        let effects = vec![Effect::Block(commit.clone())];
        Ok(self.turn(commit, end, Vec::new(), effects).into_step(self))
    }

    /// It takes that back.
    pub fn unblock(&mut self, commit: &CommitId) -> Step<'_, Turn> {
        let end = self.graph.forks().end_after(|forks| forks.unblock(commit));
        let effects = vec![Effect::Unblock(commit.clone())];
        self.turn(commit, end, Vec::new(), effects).into_step(self)
    }

    /// The delivery service says that all messages sent before a final commit were delivered: what is not its descendant is
    /// deleted, as soon as its own epoch is here and final.
    pub fn flushed(&mut self, commit: &CommitId) -> Result<Step<'_, Turn>, Error> {
        let forks = self.graph.forks();
        let Some(id) = forks.by_commit(commit).filter(|id| forks.is_final(id)) else {
            self.check_room(commit, &self.flushed)?;
            let effects = vec![Effect::Flushed(commit.clone())];
            return Ok(self.turn(commit, forks.end().clone(), Vec::new(), effects).into_step(self));
        };
        let is_read_only =
            |id: &EpochId| self.graph.node(id).is_some_and(|node| node.level() == Level::Readable);
        let gone =
            self.graph.retained().filter(|(_, other)| is_read_only(other) && !forks.is_above(id, other));
        let gone = gone.map(|(number, id)| (id.clone(), *number));
        let let_go = gone.map(|(id, number)| LetGo {
            id,
            number,
            level: Level::Known,
            why: Why::Flushed,
            is_left: false,
        });
        let let_go = let_go.collect();
        Ok(self.turn(commit, forks.end().clone(), let_go, Vec::new()).into_step(self))
    }

    /// What was said of commits that never come must not grow without bound, nor take the room of what is said of others.
    fn check_room(&self, commit: &CommitId, said: &BTreeSet<CommitId>) -> Result<(), Limit> {
        let is_full = said.len() >= self.config.limits.known_epochs.max(1);
        if is_full && !self.is_here(commit) { Err(Limit::Verdicts) } else { Ok(()) }
    }

    fn is_here(&self, commit: &CommitId) -> bool {
        self.graph.knows_commit(commit) || self.removals.contains_key(commit)
    }

    pub(super) fn turn(
        &self,
        commit: &CommitId,
        end: WayEnd<EpochId>,
        let_go: Vec<LetGo>,
        mut effects: Vec<Effect>,
    ) -> Decision<Turn> {
        let (head, stranded) = self.usable(&end, None);
        let let_go = let_go.into_iter().filter(|gone| gone.id != head).collect();
        let head_moved = head != self.state.head;
        let lost = if head_moved { self.lost(Some(&head)) } else { Vec::new() };
        let deleted = self.carry_out(let_go, self.head().made(), &mut effects);
        let known = self.is_here(commit);
        let state = Some(GroupState { head: head.clone(), ..self.state.clone() });
        let outcome = Turn { known, head, head_moved, lost, deleted, stranded };
        Decision { outcome, effects, state }
    }
}
