//! What a commit or a verdict leads to.

use crate::crypto::ProposalRef;
use crate::epoch::CommitSummary;
use crate::framing::Sender;
use crate::key_schedule::{CommitId, EpochId};
use crate::message::Proposal;

/// What a valid commit leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StagedCommit {
    /// A new epoch.
    Child(Box<PublicChild>),
    /// Its epoch is here already: the same commit, or one that differs only in what no observer can check, the
    /// membership tag, unless it is [learnt](crate::PublicGroup::learn).
    Duplicate {
        /// The commit by which the epoch is known here.
        known: CommitId,
    },
    /// It lost, and its committer has so many commits of this epoch already that it is not kept: see
    /// [`crate::Limits::children_per_committer`].
    Lost {
        /// The commit.
        commit: CommitId,
    },
}

/// A new epoch in the graph of an observer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicChild {
    /// The commit, which names it.
    pub commit: CommitId,
    /// The commit that made its parent.
    pub parent: CommitId,
    /// Its number.
    pub number: u64,
    /// Its name among members, as the committer signed it; unknown of an unattested commit.
    pub dmls_epoch: Option<EpochId>,
    /// What the commit does.
    pub summary: CommitSummary,
    /// What travelled with the commit, authenticated.
    pub authenticated_data: Vec<u8>,
    /// Whether its parent has another child already.
    pub fork: bool,
    /// Whether it is the head now.
    pub is_head: bool,
    /// Whether the head is another than before.
    pub head_moved: bool,
    /// The branch that the head left, oldest first.
    pub lost: Vec<CommitId>,
    /// Its committer has more commits of this epoch than [`crate::Limits::children_per_committer`]: this one, which has the lowest
    /// tag, is the one to [forget](crate::PublicGroup::forget) unless somebody was told that it is accepted.
    pub over_quota: Option<CommitId>,
}

/// What became of the head by what was said of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicTurn {
    /// Whether the commit is here. If not, what was said counts as soon as it is staged.
    pub known: bool,
    /// The head now.
    pub head: CommitId,
    /// Whether it is another than before.
    pub head_moved: bool,
    /// The branch that the head left, oldest first.
    pub lost: Vec<CommitId>,
}

/// A proposal that is valid in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicProposal {
    /// Its name, by which commits refer to it.
    pub reference: ProposalRef,
    /// Who proposes.
    pub sender: Sender,
    /// The proposal.
    pub proposal: Proposal,
}
