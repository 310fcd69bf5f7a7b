//! A group: the graph of its epochs and the head (draft s2, s3, s6).
//!
//! Every operation first gives a [`Step`]: what will happen, and the [`Changes`] to write. Nothing happens before
//! [`Step::apply`]; a step that is dropped leaves the group as it was.

mod changes;
mod effect;
mod fork_choice;
mod graph;
mod held;
mod load;
mod message;
mod outcome;
mod outside;
mod receive;
mod send;
mod start;
mod step;
mod successor;
mod tree_store;

use std::collections::BTreeMap;
use std::fmt;

pub use crate::key_schedule::CommitId;
pub use changes::Changes;
pub use fork_choice::{Candidate, ForkChoice, HighestConfirmationTag};
pub use message::DmlsMessage;
pub use outcome::{
    Application, EpochInfo, Held, Lost, NewEpoch, Outcome, ReceivedProposal, Removed, Resumed, SentCommit,
};
pub use outside::GroupPlace;
pub use receive::Arrival;
pub use send::{CommitBuilder, SentProposal};
pub use start::{ExternalJoinOptions, Founding};
pub use step::Step;

pub(crate) use graph::{Graph, Node, State};
#[cfg(feature = "vectors")]
pub(crate) use {start::joiner_psk, step::Plan};

use crate::config::Config;
use crate::crypto::{Secret, Suite};
use crate::epoch::{Epoch, Member, Recipient, Rules};
use crate::error::{Error, Usage};
use crate::framing::MlsMessage;
use crate::key_schedule::{EpochId, ExportedSecret, PskLookup};
use crate::message::{PreSharedKeyId, Psk, ResumptionPskUsage};
use crate::time::Time;
use crate::tree::LeafIndex;
use held::HeldMessages;
use tree_store::TreeStore;

/// One client's view of a group.
pub struct Group {
    suite: Suite,
    config: Config,
    group_id: Vec<u8>,
    graph: Graph,
    /// Own commits that are not confirmed, each with its epoch.
    pending: BTreeMap<CommitId, PendingCommit>,
    held: HeldMessages,
    trees: TreeStore,
}

/// A commit of ours that may still lose.
pub(crate) struct PendingCommit {
    /// As it is sent.
    pub message: Vec<u8>,
    pub welcome: Option<Vec<u8>>,
    pub id: EpochId,
    pub node: Node,
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

    /// The epoch in which we send: of all epochs that we hold, the one that the fork choice leads to.
    pub fn head(&self) -> &EpochId {
        self.graph.head()
    }

    /// All epochs that can still be read or more, parents first.
    pub fn epochs(&self) -> Vec<EpochInfo> {
        self.graph.infos()
    }

    /// One epoch, if it is retained.
    pub fn epoch(&self, id: &EpochId) -> Option<EpochInfo> {
        self.graph.info(id)
    }

    /// Whether the winning branch removed us: we can go on on another branch, but the others won't.
    pub fn is_removed(&self) -> bool {
        self.graph.is_removed(&*self.config.fork_choice)
    }

    /// The members of the head.
    pub fn members(&self) -> Vec<Member> {
        self.members_of(self.head()).unwrap_or_default()
    }

    /// The members of an epoch.
    pub fn members_of(&self, id: &EpochId) -> Option<Vec<Member>> {
        let public = self.graph.node(id)?.public()?;
        let members = public.tree.leaves();
        Some(members.map(|(leaf, node)| Member { leaf, credential: node.credential.clone() }).collect())
    }

    /// The extensions of the head's GroupContext, for a commit that replaces them.
    pub fn context_extensions(&self) -> crate::extension::Extensions {
        self.head_epoch().context().extensions.clone()
    }

    /// Our place in the head.
    pub fn own_leaf(&self) -> LeafIndex {
        self.head_epoch().own_leaf()
    }

    /// Own commits that are neither confirmed nor lost, with their messages: send them again after a restart.
    pub fn pending(&self) -> impl Iterator<Item = (&CommitId, &[u8])> {
        self.pending.iter().map(|(id, pending)| (id, &pending.message[..]))
    }

    /// How many messages wait for their epoch or for a proposal.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// A secret for the application from the head (RFC 9420 s8.5).
    pub fn export(&self, label: &str, context: &[u8], length: usize) -> Result<ExportedSecret, Error> {
        self.export_at(&self.head().clone(), label, context, length)
    }

    /// A secret for the application from a given epoch.
    pub fn export_at(
        &self,
        id: &EpochId,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Result<ExportedSecret, Error> {
        if length > 255 * self.suite.nh() {
            return Err(Usage::ExporterLength.into());
        }
        Ok(self.full(id)?.secrets.exporter.export(&self.suite, label, context, length))
    }

    /// Two members who compare it know that they are in the same epoch (RFC 9420 s8.7).
    pub fn epoch_authenticator(&self) -> &[u8] {
        self.head_epoch().secrets.epoch_authenticator.as_bytes()
    }

    /// A MLSMessage(GroupInfo) of the head for external joiners (RFC 9420 s12.4.3.2).
    pub fn group_info(&self, now: Time) -> Result<Vec<u8>, Error> {
        self.group_info_at(&self.head().clone(), now)
    }

    /// A MLSMessage(GroupInfo) of a given epoch.
    pub fn group_info_at(&self, id: &EpochId, now: Time) -> Result<Vec<u8>, Error> {
        let info = self.full(id)?.group_info(self.rules(now), Recipient::Anyone)?;
        Ok(crate::codec::Encode::to_bytes(&MlsMessage::GroupInfo(Box::new(info))))
    }

    /// The ratchet tree of an epoch, for joiners who don't find it in the GroupInfo (RFC 9420 s12.4.3.3).
    pub fn ratchet_tree(&self, id: &EpochId) -> Option<Vec<u8>> {
        Some(crate::codec::Encode::to_bytes(&self.graph.node(id)?.public()?.tree))
    }

    #[cfg(feature = "vectors")]
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn rules(&self, now: Time) -> Rules<'_> {
        Rules::new(&self.config, now)
    }

    /// An epoch that can process and make commits.
    pub(crate) fn full(&self, id: &EpochId) -> Result<&Epoch, Usage> {
        match self.graph.node(id).map(|node| &node.state) {
            Some(State::Full(epoch)) => Ok(epoch),
            Some(State::Readable(_)) => Err(Usage::EpochNotFull),
            Some(State::Known) | None => Err(Usage::UnknownEpoch),
        }
    }

    pub(crate) fn head_epoch(&self) -> &Epoch {
        match &self.graph.node(self.head()).expect("the head is in the graph").state {
            State::Full(epoch) => epoch,
            _ => unreachable!("the head is a full epoch"),
        }
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
            .field("head", self.head())
            .field("pending", &self.pending.len())
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
