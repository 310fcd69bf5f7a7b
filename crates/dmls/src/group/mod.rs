//! A group: the graph of its epochs and the head (draft s2, s3, s6).
//!
//! Every operation gives a [`Step`]: what will happen, and the [`Changes`] to write. Nothing happens before
//! [`Step::persist`]; a step that is dropped leaves the group as it was.

mod branch;
mod changes;
mod classify;
mod commit;
mod consolidate;
mod effect;
mod epoch_ref;
pub mod exposure;
mod graph;
mod heard;
mod held;
mod kept;
mod load;
mod message;
mod network;
mod outcome;
mod outside;
mod receive;
mod removal;
mod retention;
mod send;
mod since_fork;
mod start;
mod step;
mod successor;
mod tree_store;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use changes::Changes;
pub use classify::{MessageKind, classify};
pub use commit::{CommitBuilder, Committed};
pub use consolidate::{Consolidation, ToRemove, Told};
pub use epoch_ref::{EpochRef, MemberFacts};
pub use graph::Level;
pub use kept::Kept;
pub use message::DmlsMessage;
pub use network::{Network, Turn};
pub use outcome::{
    Application, Bundle, Deleted, EpochDeleted, Held, Lost, LostCommit, NewEpoch, Outcome, ReceivedProposal,
    Removed, Resumed, RolledBack, SentCommit, Stranded, WaitsFor, Why,
};
pub use outside::GroupPlace;
pub use send::{MessageBuilder, SentProposal};
pub use start::{ExternalJoinOptions, Founding};
pub use step::Step;

#[cfg(test)]
pub(crate) use changes::close_record;
/// Shared with observers.
pub(crate) use {
    branch::{PendingCommit, children_per_committer, choice_in},
    changes::{Key, Kind},
    load::{FORMAT, Records, decode_record},
    receive::decode as decode_message,
    tree_store::{TreeStore, TreeUses},
};
#[cfg(feature = "vectors")]
pub(crate) use {
    effect::Effect,
    receive::next_proposal_order,
    start::{Root, joiner_psk},
    step::Decision,
};

use crate::config::Config;
use crate::crypto::{Secret, Suite};
use crate::epoch::{CommitSummary, Epoch, Rules};
use crate::error::Usage;
use crate::key_schedule::{CommitId, EpochId, PskLookup};
use crate::message::{PreSharedKeyId, Psk, ResumptionPskUsage};
use crate::time::Time;
use graph::Graph;
use heard::Heard;
use held::HeldMessages;
use removal::Removal;

/// One client's view of a group.
///
/// The order of calls, for everything that changes it:
///
/// 1. An operation (`receive`, `send`, `commit().stage()`, ..) gives a [`Step`]: an outcome and [`Changes`].
/// 2. [`Step::persist`] writes both in one transaction of yours, and applies the step. Only then send what the outcome holds.
/// 3. A commit is *staged* first, with [`CommitBuilder::stage`]. It is kept until the delivery service accepts it: then
///    [`Group::confirm`] it, or [`Group::abandon`] it. Who has nobody to ask uses [`CommitBuilder::stage_confirmed`], and
///    sends the commit afterwards.
/// 4. After a step with a new epoch or proposal, [`Group::resume`] gives what waited for it, one step for each message;
///    [`Group::deliver`] does that by itself.
/// 5. After a restart, [`Group::load`] the records; send [`Group::pending`] and [`Group::unsent_welcomes`] again.
pub struct Group {
    suite: Suite,
    config: Config,
    group_id: Vec<u8>,
    graph: Graph,
    state: GroupState,
    /// Own commits that are not confirmed, each with its epoch.
    pending: BTreeMap<CommitId, PendingCommit>,
    /// Of own commits that are confirmed.
    welcomes: BTreeMap<CommitId, Vec<u8>>,
    /// Commits that say that they remove us.
    removals: BTreeMap<CommitId, Removal>,
    /// What the delivery service said of commits that are not here, or not final: all that was sent before is delivered.
    flushed: BTreeSet<CommitId>,
    held: HeldMessages,
    trees: TreeStore,
    /// Where members were seen, if it is asked for.
    heard: Option<Heard>,
}

/// What is small and changes often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub head: EpochId,
    pub network: Network,
    /// The external commit by which we joined, until it is confirmed or another follows it.
    pub joining: Option<Joining>,
    /// The old group's key that the Welcome named (RFC 9420 s11.2, s11.3).
    pub successor_of: Option<Psk>,
}

/// An external commit that began this group here, and may still lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    pub commit: CommitId,
    /// As it is sent.
    pub message: Vec<u8>,
    pub summary: CommitSummary,
}

impl Group {
    /// The group id.
    pub fn id(&self) -> &[u8] {
        &self.group_id
    }

    /// The suite.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// How this client takes part.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The epoch in which we send: the one to which the fork choice leads, of those that are [`Level::Full`].
    pub fn head(&self) -> EpochRef<'_> {
        self.epoch(&self.state.head).expect("the head is in the graph")
    }

    /// One epoch of the graph, whatever is left of it.
    pub fn epoch(&self, id: &EpochId) -> Option<EpochRef<'_>> {
        EpochRef::new(self, id)
    }

    /// All epochs of the graph, also those of which only the name is left; parents first.
    pub fn epochs(&self) -> impl Iterator<Item = EpochRef<'_>> {
        let mut ids: Vec<_> = self.graph.forks().iter().map(|(id, vertex)| (vertex.number, id)).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|(_, id)| self.epoch(id))
    }

    /// Own commits that are neither confirmed nor lost nor given up, with their messages: send them again after a restart.
    pub fn pending(&self) -> impl Iterator<Item = (&CommitId, &[u8])> {
        let staged = self.pending.iter().filter(|(_, pending)| !pending.given_up);
        let joining = self.state.joining.iter().filter(|joining| self.graph.knows_commit(&joining.commit));
        let joining = joining.map(|joining| (&joining.commit, &joining.message[..]));
        staged.map(|(id, pending)| (id, &pending.message[..])).chain(joining)
    }

    /// Welcomes of own commits that are confirmed and on the way to the head: send them, then say so by
    /// [`Group::welcome_sent`].
    pub fn unsent_welcomes(&self) -> impl Iterator<Item = (&CommitId, &[u8])> {
        let is_on_way = |commit: &CommitId| {
            self.graph.forks().by_commit(commit).is_some_and(|id| self.graph.forks().is_on_way(id))
        };
        let welcomes = self.welcomes.iter().filter(move |(commit, _)| is_on_way(commit));
        welcomes.map(|(commit, welcome)| (commit, &welcome[..]))
    }

    /// Whether the Welcome of a commit of ours was not sent, on whatever branch that is: nobody can have joined by it.
    pub fn has_unsent_welcome(&self, commit: &CommitId) -> bool {
        self.welcomes.contains_key(commit)
    }

    /// A Welcome was sent: it is not kept any longer.
    pub fn welcome_sent(&mut self, commit: &CommitId) -> Result<Step<'_, ()>, crate::Error> {
        if !self.welcomes.contains_key(commit) {
            return Err(Usage::UnknownCommit.into());
        }
        let effects = vec![effect::Effect::Welcome(commit.clone(), None)];
        Ok(step::Decision::new((), effects).into_step(self))
    }

    /// How many messages wait for their epoch or for a proposal.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn rules(&self, now: Time) -> Rules<'_> {
        Rules::new(&self.config, now)
    }

    /// An epoch that can process and make commits.
    pub(crate) fn full(&self, id: &EpochId) -> Result<&Epoch, Usage> {
        let node = self.graph.node(id).ok_or(Usage::UnknownEpoch)?;
        node.full().ok_or(Usage::EpochNotFull)
    }

    pub(crate) fn head_epoch(&self) -> &Epoch {
        self.full(&self.state.head).expect("the head is a full epoch")
    }

    pub(crate) fn is_linear(&self) -> bool {
        self.config.schedule == crate::KeySchedule::Rfc9420
    }

    /// Finds a pre-shared key as seen from an epoch: resumption keys on its own branch (R11).
    fn psk(&self, from: &EpochId, id: &PreSharedKeyId) -> Option<Secret> {
        match &id.psk {
            Psk::External(id) => self.config.psks.external(id),
            Psk::Resumption { usage: ResumptionPskUsage::Application, group_id, epoch }
                if *group_id == self.group_id =>
            {
                let ancestor = self.graph.ancestor(from, *epoch);
                let own = ancestor.and_then(|node| node.resumption.as_ref()).map(|psk| psk.0.duplicate());
                own.or_else(|| self.config.psks.resumption(group_id, *epoch))
            }
            Psk::Resumption { group_id, epoch, .. } => self.config.psks.resumption(group_id, *epoch),
        }
    }

    /// Calls `f` with the pre-shared keys as seen from an epoch.
    pub(crate) fn with_psks<T>(&self, from: &EpochId, f: impl FnOnce(PskLookup<'_>) -> T) -> T {
        f(PskLookup(&|id| self.psk(from, id)))
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("suite", &self.suite)
            .field("head", &self.state.head)
            .field("pending", &self.pending.len())
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
