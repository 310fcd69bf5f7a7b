//! What a step does when it is applied. Nothing here can fail.

use crate::crypto::{ProposalRef, Tag};
use crate::epoch::StoredProposal;
use crate::key_schedule::EpochId;
use crate::pprf::Puncture;
use crate::secret_tree::Advance;

use super::held::HeldMessage;
use super::tree_store::TreeUses;
use super::{CommitId, Group, Node, PendingCommit, State};

/// One change of a group in memory; its records are in the step's changes.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A message key was used.
    Advance(EpochId, Advance),
    /// A child was derived.
    Puncture(EpochId, Puncture),
    StoreProposal(EpochId, ProposalRef, Box<StoredProposal>),
    AddEpoch(EpochId, Box<Node>),
    AddRemoval(EpochId, CommitId, Tag),
    AddPending(CommitId, Box<PendingCommit>),
    /// A pending commit becomes a child.
    Confirm(CommitId),
    DropPending(CommitId),
    Hold(Vec<u8>, HeldMessage),
    Release(Vec<u8>),
    /// Only the messages stay readable.
    KeepReadable(EpochId),
    /// Only the node stays.
    Delete(EpochId),
    DropResumption(EpochId),
    Forget(EpochId),
    Head(EpochId),
    TreeUses(TreeUses),
}

impl std::fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingCommit").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Group {
    pub(crate) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Advance(id, advance) => {
                if let Some(reading) = self.graph.node_mut(&id).and_then(Node::reading_mut) {
                    reading.messages.apply(advance);
                }
            }
            Effect::Puncture(id, puncture) => {
                if let Some(Node { state: State::Full(epoch), .. }) = self.graph.node_mut(&id) {
                    epoch.next_init.apply(puncture);
                }
            }
            Effect::StoreProposal(id, reference, stored) => {
                if let Some(Node { state: State::Full(epoch), .. }) = self.graph.node_mut(&id) {
                    epoch.proposals.insert(reference, *stored);
                }
            }
            Effect::AddEpoch(id, node) => self.graph.insert(id, *node),
            Effect::AddRemoval(parent, commit, tag) => self.graph.record_removal(&parent, commit, tag),
            Effect::AddPending(commit, pending) => {
                self.pending.insert(commit, *pending);
            }
            Effect::Confirm(commit) => {
                if let Some(pending) = self.pending.remove(&commit) {
                    self.graph.insert(pending.id, pending.node);
                }
            }
            Effect::DropPending(commit) => {
                self.pending.remove(&commit);
            }
            Effect::Hold(hash, held) => self.held.insert(hash, held),
            Effect::Release(hash) => self.held.remove(&hash),
            Effect::KeepReadable(id) => {
                if let Some(node) = self.graph.node_mut(&id) {
                    node.state = match std::mem::replace(&mut node.state, State::Known) {
                        State::Full(epoch) => State::Readable(Box::new(epoch.reading)),
                        other => other,
                    };
                }
            }
            Effect::Delete(id) => {
                if let Some(node) = self.graph.node_mut(&id) {
                    node.state = State::Known;
                }
            }
            Effect::DropResumption(id) => {
                if let Some(node) = self.graph.node_mut(&id) {
                    node.resumption = None;
                }
            }
            Effect::Forget(id) => self.graph.forget(&id),
            Effect::Head(id) => self.graph.set_head(id),
            Effect::TreeUses(uses) => self.trees.apply(uses),
        }
    }
}
