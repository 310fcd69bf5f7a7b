//! What happened.

use crate::crypto::ProposalRef;
use crate::epoch::{CommitSummary, KnownCommit, Member};
use crate::error::Error;
use crate::framing::{ContentType, Sender};
use crate::key_schedule::{CommitId, EpochId};
use crate::message::Proposal;

use super::{EpochRef, Level};

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
    /// A commit that says that it removes us.
    Removed(Box<Removed>),
    /// A commit that lost, of a committer with so many commits of this epoch that it was not processed: see
    /// [`crate::Limits::children_per_committer`]. Keep it if the delivery service may still call it final.
    Lost(LostCommit),
    /// It was processed before. Drop it.
    Duplicate,
    /// Its key was dropped, because too many messages of its sender were skipped: it may have been read before, or not.
    TooOld {
        /// Its epoch.
        epoch: EpochId,
    },
    /// Our own message came back. Drop it.
    Own,
    /// Our own message, of which we have no record: this client was restored from an old backup, or runs twice. Don't send
    /// in this group any more: join again ([`crate::Group::rejoin`]).
    RolledBack(RolledBack),
    /// A commit of ours by which we joined again, and which we gave up, came back: somebody may follow it. Its parent is not here, so
    /// nothing compares it with the branch that we are on. [`crate::Group::confirm`] it to go there.
    GivenUp {
        /// The commit.
        commit: CommitId,
    },
    /// It waits, and is delivered by [`crate::Group::resume`].
    Held(Held),
    /// It is older than all that we know: from before we joined, or of an epoch that was forgotten. Drop it.
    BeforeUs {
        /// The number of its epoch.
        number: u64,
    },
    /// Its epoch was deleted, or is not [`Level::Full`] any more.
    EpochDeleted(EpochDeleted),
}

/// Data of the application.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Application {
    /// The epoch in which it was sent.
    pub epoch: EpochId,
    /// Whether that epoch is on the way to the head. Otherwise it was said on a branch that lost.
    pub on_way: bool,
    /// Who sent it, as the tree of that epoch says.
    pub sender: Member,
    /// Whether the sender is a member of the head too, by its signature key.
    pub is_member: bool,
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
#[non_exhaustive]
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

/// A commit that lost and was not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostCommit {
    /// The epoch in which it was made.
    pub parent: EpochId,
    /// The commit.
    pub commit: CommitId,
}

/// A message of our own that we have no record of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RolledBack {
    /// The epoch of the message.
    pub epoch: EpochId,
    /// What it is.
    pub content: ContentType,
    /// Whether its signature verifies, so that nobody else made it. If its key is gone, it can't be read.
    pub verified: bool,
}

/// A message whose epoch is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochDeleted {
    /// The epoch; in groups with the RFC's key schedule its name is not in the message.
    pub epoch: Option<EpochId>,
    /// What is left of it.
    pub level: Level,
    /// What the message is.
    pub content: ContentType,
    /// Of a commit of which all can be seen that counts: whether it would win over ours. Then those who still have the epoch follow it, and
    /// we are off their branch: join again ([`crate::Group::rejoin`]). Otherwise it is its author who is left behind, and has to.
    pub wins: Option<bool>,
}

/// A new epoch in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewEpoch {
    /// Its name.
    pub id: EpochId,
    /// The commit that made it.
    pub commit_id: CommitId,
    /// The epoch that its commit was made in; unknown only of an external commit of ours in an RFC 9420 group.
    pub parent: Option<EpochId>,
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
    /// Whether it is the head now.
    pub is_head: bool,
    /// Whether the head is another than before.
    pub head_moved: bool,
    /// The branch that the head left, oldest first: what it did is undone. See [`crate::Group::consolidate`].
    pub lost: Vec<Lost>,
    /// Of our own commit, if it is on the way to the head: MLSMessage(Welcome) for those whom it adds. Nobody can join before.
    /// It is kept until [`crate::Group::welcome_sent`].
    pub welcome: Option<Vec<u8>>,
    /// Held messages that can be processed now, by [`crate::Group::resume`].
    pub ready: usize,
    /// Epochs of which something was deleted, and why.
    pub deleted: Vec<Deleted>,
    /// The branch that wins is one that we can't follow.
    pub stranded: Option<Stranded>,
}

impl NewEpoch {
    /// The epoch that we entered by an external commit, once that is confirmed.
    pub(crate) fn joined(epoch: EpochRef<'_>, commit: CommitSummary) -> Self {
        Self {
            id: epoch.id().clone(),
            commit_id: epoch.commit_id().clone(),
            parent: epoch.parent().cloned(),
            number: epoch.number(),
            commit,
            authenticated_data: Vec::new(),
            own: true,
            fork: false,
            is_head: epoch.is_head(),
            head_moved: false,
            lost: Vec::new(),
            welcome: None,
            ready: 0,
            deleted: Vec::new(),
            stranded: None,
        }
    }
}

/// What was deleted of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Its name.
    pub id: EpochId,
    /// Its number.
    pub number: u64,
    /// What is left.
    pub level: Level,
    /// Why.
    pub why: Why,
    /// Own commits made in it, not confirmed, that went with it.
    pub dropped: Vec<CommitId>,
}

/// Why something of an epoch was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The network is whole, and another epoch is the head (draft s6.1.2).
    Whole,
    /// Evicted, because [`crate::Limits::epochs`] was reached.
    Limit,
    /// Its committer has too many commits of one epoch, and this one lost.
    Quota,
    /// Every other member was seen past it ([`crate::RetentionRule`]).
    Passed,
    /// Its branch lost.
    Lost,
    /// It was kept for late messages, and that was long enough ([`crate::Retention`]).
    Late,
    /// A commit that excludes it, or comes after it, is final.
    Final,
    /// All its messages were delivered.
    Flushed,
    /// The caller asked for it.
    Asked,
    /// An RFC 9420 group has one successor for each epoch.
    Linear,
}

/// Signs that others are on a branch that we can't follow. Ask them for a GroupInfo and join again ([`crate::Group::rejoin`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stranded {
    /// The branch that wins ends in an epoch whose state we deleted.
    HeadDeleted(EpochId),
    /// So many messages wait for epochs of other branches, without the commits that lead there: the branch on which we joined may have lost, or the
    /// GroupInfo was old.
    OtherBranch {
        /// How many of those that wait.
        messages: usize,
    },
}

/// An epoch of a branch that lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub id: EpochId,
    /// Its number.
    pub number: u64,
    /// What its commit did, as far as that is kept; unknown of the epoch in which we joined.
    pub commit: Option<KnownCommit>,
}

/// A commit that says that it removes us. Its confirmation tag can't be verified by the one who is removed, so it is a claim:
/// the group goes on as it is until [`crate::Group::confirm_removal`], or until the delivery service calls the commit final.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The epoch in which it was made.
    pub parent: EpochId,
    /// The commit.
    pub commit_id: CommitId,
    /// What it does.
    pub commit: CommitSummary,
    /// Whether its branch would win over the one that we are on: then we are out, if it is true.
    pub wins: bool,
    /// Whether it stands: it is final.
    pub stands: bool,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// For what.
    pub waits_for: WaitsFor,
    /// Messages that had to make room for it. They can be delivered again.
    pub evicted: Vec<Vec<u8>>,
    /// Set when it adds to the signs that others are on a branch that we don't know.
    pub stranded: Option<Stranded>,
}

/// What a held message waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WaitsFor {
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
    /// It is a proposal of a sender who has too many of them in this epoch: it is stored once a commit refers to it.
    Room {
        /// The epoch of the proposal.
        epoch: EpochId,
        /// Its name.
        reference: ProposalRef,
    },
}

impl WaitsFor {
    /// Whether it waits for something in an epoch.
    pub(crate) fn is_in(&self, id: &EpochId) -> bool {
        matches!(self, Self::Proposal { epoch, .. } | Self::Room { epoch, .. } if epoch == id)
    }
}

/// What became of a message that was delivered or held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The message.
    pub message: Vec<u8>,
    /// Its outcome, or why it was dropped.
    pub outcome: Result<Outcome, Error>,
}

/// A commit of ours: send the message. Its epoch begins when it is confirmed, by [`crate::Group::confirm`] or by its
/// own return.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// What a delivery service takes of a commit ([`crate::Group::bundle`]): it gives the Welcome to those who join when it accepts the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The commit, as it is sent.
    pub commit: Vec<u8>,
    /// The proposals that it takes by reference, as they were sent: MLSMessages.
    pub proposals: Vec<Vec<u8>>,
    /// MLSMessage(Welcome), if the commit adds somebody.
    pub welcome: Option<Vec<u8>>,
    /// MLSMessage(GroupInfo) of the epoch that the commit makes, without the tree, signed by the committer.
    pub group_info: Vec<u8>,
}
