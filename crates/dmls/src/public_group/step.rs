//! A decision of an observer that was not carried out yet, as [`crate::Step`] is one of a member.

use std::fmt;

use crate::forks::Vertex;
use crate::group::{Changes, Key, TreeUses};
use crate::key_schedule::CommitId;

use super::{PublicGroup, PublicMember, PublicNode, StagedCommit};

/// What an operation will do: [`persist`](PublicStep::persist) it, or drop it and nothing has happened.
#[must_use = "nothing has happened yet: persist the step"]
pub struct PublicStep<'g, T> {
    group: &'g mut PublicGroup,
    changes: Changes,
    effects: Vec<Effect>,
    uses: TreeUses,
    outcome: T,
}

impl<T> PublicStep<'_, T> {
    /// Writes and makes it happen: `write` gets the changes and the outcome, and stores both in one transaction. If it fails,
    /// nothing has happened.
    pub fn persist<E>(self, write: impl FnOnce(&Changes, &T) -> Result<(), E>) -> Result<T, E> {
        write(&self.changes, &self.outcome)?;
        Ok(self.apply_unsaved())
    }

    /// Makes it happen without writing anything. For tests, and for callers who have written [`PublicStep::changes`] by
    /// themselves.
    pub fn apply_unsaved(self) -> T {
        let Self { group, effects, uses, outcome, .. } = self;
        for effect in effects {
            effect.apply(group);
        }
        group.trees.apply(uses);
        outcome
    }

    /// What will have happened.
    pub fn outcome(&self) -> &T {
        &self.outcome
    }

    /// What to write.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }
}

impl PublicStep<'_, StagedCommit> {
    /// The members of the epoch that the commit makes, by their leaves, to be judged before anything happens. None, if it makes no
    /// new one.
    pub fn members(&self) -> Vec<PublicMember> {
        let made = self.effects.iter().find_map(|effect| match effect {
            Effect::Add(_, vertex) => Some(vertex.value.members()),
            _ => None,
        });
        made.unwrap_or_default()
    }
}

impl<T: fmt::Debug> fmt::Debug for PublicStep<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicStep")
            .field("outcome", &self.outcome)
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

/// An observer that is about to begin: [`persist`](PublicFounding::persist) it.
#[must_use = "the observer begins when it is persisted"]
#[derive(Debug)]
pub struct PublicFounding {
    group: PublicGroup,
    changes: Changes,
}

impl PublicFounding {
    pub(super) fn new(mut group: PublicGroup) -> Self {
        let (changes, uses) = group.write_all();
        group.trees.apply(uses);
        Self { group, changes }
    }

    /// Writes the first records and gives the group. If `write` fails, there is none.
    pub fn persist<E>(self, write: impl FnOnce(&Changes) -> Result<(), E>) -> Result<PublicGroup, E> {
        write(&self.changes)?;
        Ok(self.group)
    }

    /// The group without writing anything. For tests, and for callers who have written [`PublicFounding::changes`] by
    /// themselves.
    pub fn apply_unsaved(self) -> PublicGroup {
        self.group
    }

    /// What to write.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The group, to look at.
    pub fn group(&self) -> &PublicGroup {
        &self.group
    }
}

/// One change of an observer.
#[derive(Debug)]
pub(super) enum Effect {
    Add(CommitId, Box<Vertex<CommitId, PublicNode>>),
    /// With what was said of its commit.
    Forget(CommitId),
    Finalize(CommitId),
    DropFinal(CommitId),
    Block(CommitId),
    Unblock(CommitId),
}

impl Effect {
    /// Writes its records. `group` is as it was before the step.
    fn write(&self, group: &PublicGroup, changes: &mut Changes, uses: &mut TreeUses) {
        match self {
            Self::Add(commit, vertex) => {
                changes.put(Key::PublicEpoch(commit), vertex.record());
                group.trees.retain(&group.suite, &vertex.value.epoch.tree, uses, changes);
            }
            Self::Forget(commit) => {
                if let Some(vertex) = group.graph.get(commit) {
                    changes.delete(Key::PublicEpoch(commit));
                    group.trees.release(&group.suite, &vertex.value.epoch.tree, uses, changes);
                }
                if group.graph.finals().contains(commit) {
                    changes.delete(Key::Final(commit));
                }
                if group.graph.blocked().contains(commit) {
                    changes.delete(Key::Blocked(commit));
                }
            }
            Self::Finalize(commit) => changes.put(Key::Final(commit), Vec::new()),
            Self::DropFinal(commit) => changes.delete(Key::Final(commit)),
            Self::Block(commit) => changes.put(Key::Blocked(commit), Vec::new()),
            Self::Unblock(commit) => changes.delete(Key::Blocked(commit)),
        }
    }

    /// Makes it happen in memory.
    fn apply(self, group: &mut PublicGroup) {
        let graph = &mut group.graph;
        match self {
            Self::Add(commit, vertex) => graph.insert(commit, *vertex),
            Self::Forget(commit) => {
                graph.forget(&commit);
                // The commit is not here any more, so the way does not turn.
                graph.unblock(&commit);
            }
            Self::Finalize(commit) => graph.finalize(&commit),
            Self::DropFinal(commit) => graph.drop_final(&commit),
            Self::Block(commit) => graph.block(&commit),
            Self::Unblock(commit) => graph.unblock(&commit),
        }
    }
}

impl PublicGroup {
    pub(super) fn step<T>(&mut self, outcome: T, effects: Vec<Effect>) -> PublicStep<'_, T> {
        let (mut changes, mut uses) = (Changes::default(), TreeUses::default());
        for effect in &effects {
            effect.write(self, &mut changes, &mut uses);
        }
        PublicStep { group: self, changes, effects, uses, outcome }
    }
}
