//! A decision that was not carried out yet, and the plan that it is made of.

use zeroize::Zeroizing;

use crate::crypto::{ProposalRef, Tag};
use crate::epoch::{Epoch, Reading, StoredProposal};
use crate::key_schedule::EpochId;
use crate::pprf::Puncture;
use crate::secret_tree::Advance;

use super::changes::{Changes, Key};
use super::effect::Effect;
use super::held::HeldMessage;
use super::tree_store::{TreeStore, TreeUses};
use super::{CommitId, Group, Node, PendingCommit, State};

/// What an operation will do. Write [`Step::changes`] in one transaction, then [`Step::apply`]; or drop it, and nothing
/// has happened. The group is borrowed meanwhile, so nothing can come between.
#[must_use = "nothing has happened yet: write the changes and apply the step"]
pub struct Step<'g, T> {
    group: &'g mut Group,
    changes: Changes,
    effects: Vec<Effect>,
    outcome: T,
}

impl<T> Step<'_, T> {
    /// What will have happened. A message in it must not leave before the step is applied: its key would be used again.
    pub fn outcome(&self) -> &T {
        &self.outcome
    }

    /// What to write first.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Makes it happen. It can't fail.
    pub fn apply(self) -> T {
        for effect in self.effects {
            self.group.apply(effect);
        }
        self.outcome
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

/// Effects with their records, while a step is being decided.
#[derive(Default)]
pub(crate) struct Plan {
    changes: Changes,
    effects: Vec<Effect>,
    tree_uses: TreeUses,
}

impl Plan {
    pub(crate) fn into_parts(mut self) -> (Changes, Vec<Effect>) {
        self.effects.push(Effect::TreeUses(self.tree_uses));
        (self.changes, self.effects)
    }

    pub(crate) fn into_step<T>(self, group: &mut Group, outcome: T) -> Step<'_, T> {
        let (changes, effects) = self.into_parts();
        Step { group, changes, effects, outcome }
    }

    pub(crate) fn advance(&mut self, epoch: &EpochId, advance: Option<Advance>) {
        let Some(advance) = advance else { return };
        for (place, record) in advance.records() {
            match record {
                Some(record) => self.changes.put(Key::Ratchet(epoch, place), record),
                None => self.changes.delete(Key::Ratchet(epoch, place)),
            }
        }
        self.effects.push(Effect::Advance(epoch.clone(), advance));
    }

    pub(crate) fn puncture(&mut self, epoch: &Epoch, puncture: Option<Puncture>) {
        let Some(puncture) = puncture else { return };
        for (place, record) in puncture.records() {
            match record {
                Some(record) => self.changes.put(Key::Init(&epoch.id, &place), record),
                None => self.changes.delete(Key::Init(&epoch.id, &place)),
            }
        }
        self.effects.push(Effect::Puncture(epoch.id.clone(), puncture));
    }

    pub(crate) fn store_proposal(&mut self, epoch: &EpochId, reference: ProposalRef, stored: StoredProposal) {
        self.changes.put(Key::Proposal(epoch, &reference), stored.record());
        self.effects.push(Effect::StoreProposal(epoch.clone(), reference, Box::new(stored)));
    }

    fn epoch_records(&mut self, group: &Group, epoch: &Epoch) {
        self.epoch_records_over(group, &group.trees, epoch);
    }

    /// All records of an epoch; of its tree those that `stored` does not have.
    fn epoch_records_over(&mut self, group: &Group, stored: &TreeStore, epoch: &Epoch) {
        self.changes.put(Key::Epoch(&epoch.id), epoch.record());
        for (place, record) in epoch.next_init.records() {
            self.changes.put(Key::Init(&epoch.id, &place), record);
        }
        for (place, record) in epoch.reading.messages.records() {
            self.changes.put(Key::Ratchet(&epoch.id, place), record);
        }
        stored.retain(&group.suite, &epoch.public().tree, &mut self.tree_uses, &mut self.changes);
    }

    /// All records of a group, over tree nodes that are stored already.
    pub(crate) fn everything(&mut self, group: &Group, stored: &TreeStore) {
        for (id, node) in group.graph.nodes() {
            self.changes.put(Key::Node(id), node.record());
            match &node.state {
                State::Full(epoch) => {
                    self.epoch_records_over(group, stored, epoch);
                    for (reference, proposal) in &epoch.proposals {
                        self.changes.put(Key::Proposal(id, reference), proposal.record());
                    }
                }
                State::Readable(reading) => {
                    self.changes.put(Key::Epoch(id), reading.record());
                    for (place, record) in reading.messages.records() {
                        self.changes.put(Key::Ratchet(id, place), record);
                    }
                    let tree = &reading.public.tree;
                    stored.retain(&group.suite, tree, &mut self.tree_uses, &mut self.changes);
                }
                State::Known => {}
            }
        }
        for (commit, pending) in &group.pending {
            self.changes.put(Key::Pending(commit), pending.record());
            if let State::Full(epoch) = &pending.node.state {
                self.epoch_records_over(group, stored, epoch);
            }
        }
        for (hash, held) in group.held.iter() {
            self.changes.put(Key::Held(hash), crate::codec::Encode::to_bytes(held));
        }
        self.changes.put(Key::Group, group.record(group.head()));
    }

    pub(crate) fn add_epoch(&mut self, group: &Group, id: EpochId, node: Node) {
        if let State::Full(epoch) = &node.state {
            self.epoch_records(group, epoch);
        }
        self.changes.put(Key::Node(&id), node.record());
        self.effects.push(Effect::AddEpoch(id, Box::new(node)));
    }

    pub(crate) fn add_pending(&mut self, group: &Group, commit: CommitId, pending: PendingCommit) {
        if let State::Full(epoch) = &pending.node.state {
            self.epoch_records(group, epoch);
        }
        self.changes.put(Key::Pending(&commit), pending.record());
        self.effects.push(Effect::AddPending(commit, Box::new(pending)));
    }

    pub(crate) fn confirm(&mut self, commit: &CommitId, pending: &PendingCommit) {
        self.changes.put(Key::Node(&pending.id), pending.node.record());
        self.changes.delete(Key::Pending(commit));
        self.effects.push(Effect::Confirm(commit.clone()));
    }

    pub(crate) fn drop_pending(&mut self, group: &Group, commit: &CommitId, pending: &PendingCommit) {
        if let State::Full(epoch) = &pending.node.state {
            self.delete_epoch_records(group, epoch);
        }
        self.changes.delete(Key::Pending(commit));
        self.effects.push(Effect::DropPending(commit.clone()));
    }

    pub(crate) fn add_removal(&mut self, group: &Group, parent: &EpochId, commit: CommitId, tag: Tag) {
        if let Some(node) = group.graph.node(parent) {
            self.changes.put(Key::Node(parent), node.record_with_removal(&commit, &tag));
        }
        self.effects.push(Effect::AddRemoval(parent.clone(), commit, tag));
    }

    fn delete_epoch_records(&mut self, group: &Group, epoch: &Epoch) {
        self.delete_processing_records(epoch);
        self.delete_reading_records(group, &epoch.id, &epoch.reading);
    }

    fn delete_reading_records(&mut self, group: &Group, id: &EpochId, reading: &Reading) {
        self.changes.delete(Key::Epoch(id));
        for (place, _) in reading.messages.records() {
            self.changes.delete(Key::Ratchet(id, place));
        }
        self.changes.delete_all(b'r', id);
        group.trees.release(&group.suite, &reading.public.tree, &mut self.tree_uses, &mut self.changes);
    }

    fn delete_processing_records(&mut self, epoch: &Epoch) {
        for (place, _) in epoch.next_init.records() {
            self.changes.delete(Key::Init(&epoch.id, &place));
        }
        self.changes.delete_all(b'i', &epoch.id);
        for reference in epoch.proposals.keys() {
            self.changes.delete(Key::Proposal(&epoch.id, reference));
        }
    }

    /// Erases an epoch; its node stays, to recognise duplicates.
    pub(crate) fn delete(&mut self, group: &Group, id: &EpochId) {
        let Some(node) = group.graph.node(id) else { return };
        match &node.state {
            State::Full(epoch) => self.delete_epoch_records(group, epoch),
            State::Readable(reading) => self.delete_reading_records(group, id, reading),
            State::Known => return,
        }
        self.effects.push(Effect::Delete(id.clone()));
    }

    /// Erases all that processes commits; late messages stay readable.
    pub(crate) fn keep_readable(&mut self, group: &Group, id: &EpochId) {
        let Some(Node { state: State::Full(epoch), .. }) = group.graph.node(id) else { return };
        self.delete_processing_records(epoch);
        self.changes.put(Key::Epoch(id), epoch.reading.record());
        self.effects.push(Effect::KeepReadable(id.clone()));
    }

    pub(crate) fn drop_resumption(&mut self, id: &EpochId, node: &Node) {
        self.changes.put(Key::Node(id), node.record_without_resumption());
        self.effects.push(Effect::DropResumption(id.clone()));
    }

    pub(crate) fn forget(&mut self, id: &EpochId) {
        self.changes.delete(Key::Node(id));
        self.effects.push(Effect::Forget(id.clone()));
    }

    pub(crate) fn head(&mut self, group: &Group, head: &EpochId) {
        if head != group.head() {
            self.changes.put(Key::Group, group.record(head));
            self.effects.push(Effect::Head(head.clone()));
        }
    }

    pub(crate) fn hold(&mut self, hash: Vec<u8>, held: HeldMessage) {
        let record = Zeroizing::new(crate::codec::Encode::to_bytes(&held));
        self.changes.put(Key::Held(&hash), record);
        self.effects.push(Effect::Hold(hash, held));
    }

    pub(crate) fn release(&mut self, hash: &[u8]) {
        self.changes.delete(Key::Held(hash));
        self.effects.push(Effect::Release(hash.to_vec()));
    }
}
