//! A group as an observer sees it: the same graph without secrets, for delivery services (draft s6.1; R15).
//!
//! An observer checks all of a commit that needs no secret: signatures, proposals, update path, tree. What needs one, the two
//! tags, is vouched for by the committer: a commit comes in a [`Bundle`] with the GroupInfo of the epoch that it makes, in which the
//! committer signs the GroupContext, the confirmation tag, the commit's hash and the epoch's name. So nobody who has no
//! key of a member can change anything here. A member still can: what it signs may be false, and
//! only other members find out. They say so, and the delivery service calls [`PublicGroup::block`].
//!
//! Nothing is kept that a commit does not bring along, and nothing is dropped that the caller does not name: whether a commit is accepted depends on its
//! parent and its bundle, on what came before only as far as [`StagedCommit`] says.

mod bundle;
mod epoch_ref;
mod outcome;
mod stage;
mod step;
mod storage;
mod verdict;

use std::fmt;

pub use epoch_ref::{PublicEpochRef, PublicMember};
pub use outcome::{PublicChild, PublicProposal, PublicTurn, StagedCommit};
pub use step::{PublicFounding, PublicStep};

use crate::codec::Decode;
use crate::config::Config;
use crate::crypto::Suite;
use crate::epoch::{CommitSummary, PublicEpoch, Rules};
use crate::error::{Error, Rule};
use crate::forks::{Edge, Forks, Vertex};
use crate::framing::MlsMessage;
use crate::group::{TreeStore, choice_in};
use crate::key_schedule::{CommitId, EpochId};

/// A group without its secrets, in the order of calls that [`crate::Group`] has: an operation gives a [`PublicStep`], which is
/// persisted or dropped.
pub struct PublicGroup {
    suite: Suite,
    config: Config,
    group_id: Vec<u8>,
    graph: Forks<CommitId, PublicNode>,
    trees: TreeStore,
}

/// An epoch, as far as it is public.
#[derive(Debug)]
pub(crate) struct PublicNode {
    epoch: PublicEpoch,
    /// As the committer signed it.
    dmls_epoch: Option<EpochId>,
    /// Of the epoch in which the observer began it is not known.
    summary: Option<CommitSummary>,
    /// Whether a member signed a GroupInfo of it.
    attested: bool,
}

impl PublicGroup {
    /// Begins with a MLSMessage(GroupInfo) of any epoch; `ratchet_tree` is needed where it is not inside. The epoch is named by
    /// the commit that made it, if the GroupInfo says that, else by the hash of the GroupInfo (R15).
    ///
    /// `config.authentication` judges the leaves of all commits. A delivery service that must not refuse what others have agreed on gives one
    /// that accepts everybody, and judges by itself when a client submits.
    pub fn begin(
        group_info: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: Config,
    ) -> Result<PublicFounding, Error> {
        config.limits.check_message(group_info.len())?;
        let message = MlsMessage::from_bytes(group_info)?;
        let rules = Rules::received(&config);
        let MlsMessage::GroupInfo(info) = &message else { return Err(Rule::MessageKind.into()) };
        let suite = info.suite(rules)?;
        let info = info.clone().verify(rules, suite, ratchet_tree)?;
        let commit = info.commit_id().cloned().unwrap_or_else(|| message.commit_id(&suite));
        let dmls_epoch = info.dmls_epoch().cloned();
        let epoch = info.into_public();
        let edge = Edge {
            commit: commit.clone(),
            tag: epoch.confirmation_tag.clone(),
            committer: None,
            removes: Vec::new(),
        };
        let group_id = epoch.context.group_id.clone();
        let node = PublicNode { epoch, dmls_epoch, summary: None, attested: true };
        let graph = Forks::new(commit, node.into_vertex(None, edge));
        Ok(PublicFounding::new(Self { suite, config, group_id, graph, trees: TreeStore::default() }))
    }

    /// The group id.
    pub fn id(&self) -> &[u8] {
        &self.group_id
    }

    /// The suite.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// The epoch to which the fork choice leads, and what was said of commits.
    pub fn head(&self) -> PublicEpochRef<'_> {
        self.epoch(&self.graph.end().key).expect("the way ends in the graph")
    }

    /// One epoch, by the commit that made it.
    pub fn epoch(&self, commit: &CommitId) -> Option<PublicEpochRef<'_>> {
        PublicEpochRef::new(self, commit)
    }

    /// All epochs, parents first.
    pub fn epochs(&self) -> impl Iterator<Item = PublicEpochRef<'_>> {
        let mut ids: Vec<_> = self.graph.iter().map(|(id, vertex)| (vertex.number, id)).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|(_, id)| self.epoch(id))
    }
}

impl PublicNode {
    fn into_vertex(self, parent: Option<CommitId>, edge: Edge) -> Vertex<CommitId, Self> {
        let (number, choice) = (self.epoch.context.epoch, choice_in(&self.epoch));
        Vertex::new(parent, number, edge, choice, self)
    }
}

impl fmt::Debug for PublicGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicGroup")
            .field("suite", &self.suite)
            .field("head", &self.graph.end().key)
            .field("epochs", &self.graph.len())
            .finish_non_exhaustive()
    }
}
