//! What a step does. Each effect carries its new value; it says in one place which records that writes, and in another how
//! it is applied in memory. Neither can fail.

use crate::crypto::ProposalRef;
use crate::epoch::{Epoch, Reading, StoredProposal};
use crate::forks::Vertex;
use crate::key_schedule::{CommitId, EpochId};
use crate::pprf::Puncture;
use crate::secret_tree::Advance;
use crate::time::Time;

use super::changes::{Changes, Key, Kind};
use super::graph::{Level, Node, State};
use super::held::HeldMessage;
use super::outcome::WaitsFor;
use super::tree_store::{TreeStore, TreeUses};
use super::{Group, GroupState, PendingCommit, Removal};

/// One change of a group.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A message key was used.
    Advance(EpochId, Advance),
    /// A child was derived.
    Puncture(EpochId, Puncture),
    StoreProposal(EpochId, ProposalRef, Box<StoredProposal>),
    AddEpoch(EpochId, Box<Vertex<EpochId, Node>>),
    /// The way begins at an epoch whose parent is not here.
    BeginAt(EpochId),
    /// Only so much of an epoch stays.
    Lower(EpochId, Level),
    /// From now on an epoch is kept for late messages only.
    Leave(EpochId, Time),
    DropResumption(EpochId),
    Forget(EpochId),
    /// A commit that removes us: new, or it stands now.
    Removal(CommitId, Box<Removal>),
    ForgetRemoval(CommitId),
    Pending(CommitId, Box<PendingCommit>),
    /// A pending commit was refused.
    GiveUp(CommitId),
    /// A pending commit becomes an epoch.
    Confirm(CommitId),
    DropPending(CommitId),
    /// A Welcome that was not sent yet, or `None` when it was.
    Welcome(CommitId, Option<Vec<u8>>),
    Hold(u64, HeldMessage),
    Release(u64),
    Finalize(CommitId),
    DropFinal(CommitId),
    Block(CommitId),
    Unblock(CommitId),
    Flushed(CommitId),
    DropFlushed(CommitId),
    /// What else changes about the group.
    State(Box<GroupState>),
}

/// Where effects write. Uses of tree nodes add up over a step, because epochs share them.
pub(crate) struct Writer {
    pub changes: Changes,
    pub uses: TreeUses,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { changes: Changes::default(), uses: TreeUses::default() }
    }
}

impl Effect {
    /// Writes its records. `group` is as it was before the step.
    pub(crate) fn write(&self, group: &Group, out: &mut Writer) {
        let changes = &mut out.changes;
        match self {
            Self::Advance(id, advance) => {
                for (place, record) in advance.records() {
                    match record {
                        Some(record) => changes.put(Key::Ratchet(id, place), record),
                        None => changes.delete(Key::Ratchet(id, place)),
                    }
                }
            }
            Self::Puncture(id, puncture) => {
                for (place, record) in puncture.records() {
                    match record {
                        Some(record) => changes.put(Key::Init(id, &place), record),
                        None => changes.delete(Key::Init(id, &place)),
                    }
                }
            }
            Self::StoreProposal(id, reference, stored) => {
                changes.put(Key::Proposal(id, reference), stored.record());
            }
            Self::AddEpoch(id, vertex) => write_vertex(group, &group.trees, id, vertex, out),
            Self::BeginAt(_) => {}
            Self::Lower(id, level) => {
                if let Some(node) = group.graph.node(id) {
                    delete_state(group, id, &node.state, *level, out);
                }
            }
            Self::Leave(id, now) => {
                if let Some(vertex) = group.graph.vertex(id) {
                    changes.put(Key::Node(id), vertex.record(Some(*now)));
                }
            }
            Self::DropResumption(id) => changes.delete(Key::Resumption(id)),
            Self::Forget(id) => {
                changes.delete(Key::Node(id));
                changes.delete(Key::Resumption(id));
            }
            Self::Removal(commit, removal) => changes.put(Key::Removal(commit), removal.record()),
            Self::ForgetRemoval(commit) => changes.delete(Key::Removal(commit)),
            Self::Pending(commit, pending) => {
                changes.put(Key::Pending(commit), pending.record(pending.given_up));
                write_epoch(group, &group.trees, &pending.epoch, out);
            }
            Self::GiveUp(commit) => {
                if let Some(pending) = group.pending.get(commit) {
                    changes.put(Key::Pending(commit), pending.record(true));
                }
            }
            Self::Confirm(commit) => {
                changes.delete(Key::Pending(commit));
                if let Some(pending) = group.pending.get(commit) {
                    pending.write_node(&mut out.changes);
                }
            }
            Self::DropPending(commit) => {
                changes.delete(Key::Pending(commit));
                if let Some(pending) = group.pending.get(commit) {
                    delete_full(group, &pending.epoch, out);
                }
            }
            Self::Welcome(commit, Some(welcome)) => changes.put(Key::Welcome(commit), welcome.clone()),
            Self::Welcome(commit, None) => changes.delete(Key::Welcome(commit)),
            Self::Hold(order, held) => {
                changes.put(Key::Held(*order), crate::codec::Encode::to_bytes(held));
            }
            Self::Release(order) => changes.delete(Key::Held(*order)),
            Self::Finalize(commit) => changes.put(Key::Final(commit), Vec::new()),
            Self::DropFinal(commit) => changes.delete(Key::Final(commit)),
            Self::Block(commit) => changes.put(Key::Blocked(commit), Vec::new()),
            Self::Unblock(commit) => changes.delete(Key::Blocked(commit)),
            Self::Flushed(commit) => changes.put(Key::Flushed(commit), Vec::new()),
            Self::DropFlushed(commit) => changes.delete(Key::Flushed(commit)),
            Self::State(state) => changes.put(Key::Group, group.record(state)),
        }
    }

    /// Makes it happen in memory.
    pub(crate) fn apply(self, group: &mut Group) {
        match self {
            Self::Advance(id, advance) => {
                if let Some(reading) = group.graph.node_mut(&id).and_then(Node::reading_mut) {
                    let leaf = advance.leaf();
                    reading.messages.apply(advance);
                    group.heard(&id, leaf);
                }
            }
            Self::Puncture(id, puncture) => {
                if let Some(epoch) = group.graph.node_mut(&id).and_then(Node::full_mut) {
                    epoch.next_init.apply(puncture);
                }
            }
            Self::StoreProposal(id, reference, stored) => {
                if let Some(epoch) = group.graph.node_mut(&id).and_then(Node::full_mut) {
                    epoch.proposals.insert(reference.clone(), *stored);
                    group.held.wake(&WaitsFor::Proposal { epoch: id, reference });
                }
            }
            Self::AddEpoch(id, vertex) => group.add_epoch(id, *vertex),
            Self::BeginAt(id) => group.graph.change(|forks| forks.begin_at(&id)),
            Self::Lower(id, level) => {
                group.graph.lower(&id, level);
                group.held.wake_epoch(&id);
            }
            Self::Leave(id, now) => group.graph.leave(&id, now),
            Self::DropResumption(id) => group.graph.drop_resumption(&id),
            Self::Forget(id) => group.graph.forget(&id),
            Self::Removal(commit, removal) => {
                if removal.stands {
                    let (parent, edge) = (removal.parent.clone(), removal.edge.clone());
                    group.graph.change(|forks| forks.add_dead_end(&parent, edge));
                }
                group.removals.insert(commit, *removal);
            }
            Self::ForgetRemoval(commit) => {
                group.removals.remove(&commit);
            }
            Self::Pending(commit, pending) => {
                group.pending.insert(commit, *pending);
            }
            Self::GiveUp(commit) => {
                if let Some(pending) = group.pending.get_mut(&commit) {
                    pending.given_up = true;
                }
            }
            Self::Confirm(commit) => {
                if let Some(pending) = group.pending.remove(&commit) {
                    let (id, vertex) = pending.into_vertex();
                    group.add_epoch(id, vertex);
                }
            }
            Self::DropPending(commit) => {
                group.pending.remove(&commit);
            }
            Self::Welcome(commit, Some(welcome)) => {
                group.welcomes.insert(commit, welcome);
            }
            Self::Welcome(commit, None) => {
                group.welcomes.remove(&commit);
            }
            Self::Hold(order, held) => {
                let named = match &held.waits_for {
                    WaitsFor::Proposal { epoch, reference } => {
                        Some(WaitsFor::Room { epoch: epoch.clone(), reference: reference.clone() })
                    }
                    _ => None,
                };
                group.held.insert(order, held);
                // A proposal for which there was no room finds some once a commit refers to it.
                named.iter().for_each(|room| group.held.wake(room));
            }
            Self::Release(order) => group.held.remove(order),
            Self::Finalize(commit) => group.graph.change(|forks| forks.finalize(&commit)),
            Self::DropFinal(commit) => group.graph.change(|forks| forks.drop_final(&commit)),
            Self::Block(commit) => group.graph.change(|forks| forks.block(&commit)),
            Self::Unblock(commit) => group.graph.change(|forks| forks.unblock(&commit)),
            Self::Flushed(commit) => {
                group.flushed.insert(commit);
            }
            Self::DropFlushed(commit) => {
                group.flushed.remove(&commit);
            }
            Self::State(state) => group.state = *state,
        }
    }
}

/// All records of a node; of its tree those that `stored` does not have.
pub(crate) fn write_vertex(
    group: &Group,
    stored: &TreeStore,
    id: &EpochId,
    vertex: &Vertex<EpochId, Node>,
    out: &mut Writer,
) {
    out.changes.put(Key::Node(id), vertex.record(vertex.value.left));
    if let Some(psk) = &vertex.value.resumption {
        out.changes.put(Key::Resumption(id), psk.record());
    }
    match &vertex.value.state {
        State::Full(epoch) => write_epoch(group, stored, epoch, out),
        State::Readable(reading) => {
            out.changes.put(Key::Epoch(id), reading.record());
            write_reading(group, stored, id, reading, out);
        }
        State::Known => {}
    }
}

/// All records of an epoch that is full.
pub(crate) fn write_epoch(group: &Group, stored: &TreeStore, epoch: &Epoch, out: &mut Writer) {
    let id = &epoch.id;
    out.changes.put(Key::Epoch(id), epoch.record());
    for (place, record) in epoch.next_init.records() {
        out.changes.put(Key::Init(id, &place), record);
    }
    for (reference, proposal) in &epoch.proposals {
        out.changes.put(Key::Proposal(id, reference), proposal.record());
    }
    write_reading(group, stored, id, &epoch.reading, out);
}

fn write_reading(group: &Group, stored: &TreeStore, id: &EpochId, reading: &Reading, out: &mut Writer) {
    for (place, record) in reading.messages.records() {
        out.changes.put(Key::Ratchet(id, place), record);
    }
    stored.retain(&group.suite, &reading.public.tree, &mut out.uses, &mut out.changes);
}

/// Deletes what an epoch has and a lower level has not.
fn delete_state(group: &Group, id: &EpochId, state: &State, level: Level, out: &mut Writer) {
    match (state, level) {
        (State::Full(epoch), Level::Known) => delete_full(group, epoch, out),
        (State::Full(epoch), Level::Readable) => {
            delete_processing(epoch, out);
            out.changes.put(Key::Epoch(id), epoch.reading.record());
        }
        (State::Readable(reading), Level::Known) => delete_reading(group, id, reading, out),
        _ => {}
    }
}

fn delete_full(group: &Group, epoch: &Epoch, out: &mut Writer) {
    delete_processing(epoch, out);
    delete_reading(group, &epoch.id, &epoch.reading, out);
}

fn delete_processing(epoch: &Epoch, out: &mut Writer) {
    for (place, _) in epoch.next_init.records() {
        out.changes.delete(Key::Init(&epoch.id, &place));
    }
    out.changes.delete_all(Kind::Init, &epoch.id);
    for reference in epoch.proposals.keys() {
        out.changes.delete(Key::Proposal(&epoch.id, reference));
    }
    out.changes.delete_all(Kind::Proposal, &epoch.id);
}

fn delete_reading(group: &Group, id: &EpochId, reading: &Reading, out: &mut Writer) {
    out.changes.delete(Key::Epoch(id));
    for (place, _) in reading.messages.records() {
        out.changes.delete(Key::Ratchet(id, place));
    }
    // And what this very step was about to write.
    out.changes.delete_all(Kind::Ratchet, id);
    group.trees.release(&group.suite, &reading.public.tree, &mut out.uses, &mut out.changes);
}
