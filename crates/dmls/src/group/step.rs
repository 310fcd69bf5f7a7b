//! A decision that was not carried out yet.

use super::changes::Changes;
use super::effect::{Effect, Writer};
use super::tree_store::TreeUses;
use super::{Group, GroupState};

/// What an operation will do: [`persist`](Step::persist) it, or drop it and nothing has happened. The group is borrowed
/// meanwhile, so nothing can come between.
#[must_use = "nothing has happened yet: persist the step"]
pub struct Step<'g, T> {
    group: &'g mut Group,
    changes: Changes,
    effects: Vec<Effect>,
    uses: TreeUses,
    outcome: T,
}

impl<T> Step<'_, T> {
    /// Writes and makes it happen: `write` gets the changes and the outcome, and stores both in one transaction. If it
    /// fails, nothing has happened. A message in the outcome may leave only after the transaction.
    pub fn persist<E>(self, write: impl FnOnce(&Changes, &T) -> Result<(), E>) -> Result<T, E> {
        write(&self.changes, &self.outcome)?;
        Ok(self.apply_unsaved())
    }

    /// Makes it happen without writing anything: what is not on disk is lost at the next crash, and a message sent then
    /// reuses its key. For tests, and for callers who have written [`Step::changes`] by themselves. It can't fail.
    pub fn apply_unsaved(self) -> T {
        let Self { group, effects, uses, outcome, .. } = self;
        for effect in effects {
            effect.apply(group);
        }
        group.trees.apply(uses);
        outcome
    }

    /// What will have happened. A message in it must not leave before the step is applied: its key would be used again.
    pub fn outcome(&self) -> &T {
        &self.outcome
    }

    /// What to write.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step")
            .field("outcome", &self.outcome)
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

/// What was decided: the outcome, and what must be done for it.
#[derive(Debug)]
pub(crate) struct Decision<T> {
    pub outcome: T,
    pub effects: Vec<Effect>,
    /// If it changes.
    pub state: Option<GroupState>,
}

impl<T> Decision<T> {
    /// Nothing is to be done.
    pub(crate) fn nothing(outcome: T) -> Self {
        Self { outcome, effects: Vec::new(), state: None }
    }

    pub(crate) fn new(outcome: T, effects: Vec<Effect>) -> Self {
        Self { outcome, effects, state: None }
    }

    /// With effects that come first.
    pub(crate) fn after(mut self, first: impl IntoIterator<Item = Effect>) -> Self {
        self.effects.splice(0..0, first);
        self
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Decision<U> {
        Decision { outcome: f(self.outcome), effects: self.effects, state: self.state }
    }

    pub(crate) fn into_step(self, group: &mut Group) -> Step<'_, T> {
        let Self { outcome, mut effects, state } = self;
        effects
            .extend(state.filter(|state| *state != group.state).map(|state| Effect::State(Box::new(state))));
        let mut writer = Writer::new();
        for effect in &effects {
            effect.write(group, &mut writer);
        }
        Step { group, changes: writer.changes, effects, uses: writer.uses, outcome }
    }
}
