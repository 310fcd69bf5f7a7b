//! What happened.

use crate::crypto::{ProposalRef, Tag};
use crate::epoch::{CommitSummary, Member};
use crate::error::Error;
use crate::framing::Sender;
use crate::key_schedule::EpochId;
use crate::message::Proposal;

use super::CommitId;

/// What a received message led to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Data of the application.
    Application(Application),
    /// A proposal, stored for its epoch.
    Proposal(ReceivedProposal),
    /// A commit: there is a new epoch. Also our own commit, when it comes back.
    Commit(Box<NewEpoch>),
    /// A commit that removes us on its branch.
    Removed(Box<Removed>),
    /// It was processed before. Drop it.
    Duplicate,
    /// Our own message came back. Drop it.
    Own,
    /// It waits for its epoch, or for a proposal that it refers to; it is delivered by [`crate::Group::resume`].
    Held(Held),
    /// Its epoch was deleted, or can only be read. The sender is on a branch that we left, or the message is too late:
    /// if others went on there, rejoin by an external commit.
    EpochDeleted {
        /// The epoch of the message.
        epoch: EpochId,
    },
}

/// Data of the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Application {
    /// The epoch in which it was sent.
    pub epoch: EpochId,
    /// Who sent it, as the tree of that epoch says.
    pub sender: Member,
    /// The data.
    pub data: Vec<u8>,
    /// What the sender authenticated without encryption.
    pub authenticated_data: Vec<u8>,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application")
            .field("epoch", &self.epoch)
            .field("sender", &self.sender)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// A proposal, stored for its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedProposal {
    /// The epoch in which it can be committed.
    pub epoch: EpochId,
    /// Who proposes.
    pub sender: Sender,
    /// Its name.
    pub reference: ProposalRef,
    /// The proposal.
    pub proposal: Proposal,
}

/// A new epoch in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEpoch {
    /// Its name.
    pub id: EpochId,
    /// The epoch that its commit was made in.
    pub parent: EpochId,
    /// Its number.
    pub number: u64,
    /// What the commit does.
    pub commit: CommitSummary,
    /// What travelled with the commit, authenticated and not encrypted.
    pub authenticated_data: Vec<u8>,
    /// Whether we made the commit.
    pub own: bool,
    /// Whether its parent has another child already.
    pub fork: bool,
    /// Whether the head is another than before.
    pub head_moved: bool,
    /// The branch that the head left, oldest first: what it did is undone.
    pub lost: Vec<Lost>,
    /// Of our own commit: MLSMessage(Welcome) for those whom it adds. Nobody can join before. Keep it in the transaction that
    /// writes the step's changes: it is not given again.
    pub welcome: Option<Vec<u8>>,
    /// Held messages that can be processed now, by [`crate::Group::resume`].
    pub ready: usize,
}

/// An epoch of a branch that lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub id: EpochId,
    /// Its number.
    pub number: u64,
    /// What its commit did; unknown of the epoch in which we joined.
    pub commit: Option<CommitSummary>,
}

/// A commit that removes us. If its branch wins and the network is whole, drop the group: what it holds stays until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The epoch in which it was made.
    pub parent: EpochId,
    /// What it does.
    pub commit: CommitSummary,
    /// Whether its branch wins over the one that we are on: then we are out. That is what the committer claims: who is
    /// removed can't verify the tag.
    pub wins: bool,
}

/// What a held message waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its epoch.
    Epoch(EpochId),
    /// The epoch with this number (RFC 9420 groups).
    Number(u64),
    /// A proposal that the commit refers to, in the commit's epoch: that of an external sender is good in every epoch
    /// with its number.
    Proposal {
        /// The epoch of the commit.
        epoch: EpochId,
        /// The proposal.
        reference: ProposalRef,
    },
}

/// What became of a held message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The message's outcome, or why it was dropped.
    pub outcome: Result<Outcome, Error>,
}

/// A commit of ours: send the message. Its epoch begins when it is confirmed, by [`crate::Group::confirm`] or by its
/// own return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentCommit {
    /// Its name.
    pub id: CommitId,
    /// The epoch that it makes.
    pub epoch: EpochId,
    /// What to send to all members.
    pub message: Vec<u8>,
    /// What it does.
    pub commit: CommitSummary,
    /// Stored proposals that could not be in it, each with the reason.
    pub left_out: Vec<(ProposalRef, Error)>,
}

/// An epoch in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its name.
    pub id: EpochId,
    /// Its parent; unknown of the epoch in which we joined.
    pub parent: Option<EpochId>,
    /// Its number.
    pub number: u64,
    /// The confirmation tag of the commit that made it.
    pub confirmation_tag: Tag,
    /// What that commit did.
    pub commit: Option<CommitSummary>,
    /// Whether it can process commits.
    pub is_full: bool,
    /// Whether it can read messages.
    pub is_readable: bool,
    /// Whether it is the head.
    pub is_head: bool,
}
