//! Rules that a simulator breaks one at a time: whoever checks must notice.

/// One rule taken away or put wrongly. Only `testing` (a feature) can set one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mutant {
    /// A commit is final when the servers of its parent voted, not those of all epochs since the last final one.
    NaiveFinality,
    /// The electorate is taken from the own head, not from all that is not final.
    ElectorateFromOwnHead,
    /// A server leads that has no member at the parent, or makes final what does not need it.
    LeaderOutside,
    /// Votes are given by the parent: anything goes where no child is certified.
    AcceptByParent,
    /// A server that a commit adds need not vote.
    AddedServerWithoutVote,
    /// A leader that promises a higher ballot goes on with its own lower one.
    NoDropOfOwnBallot,
    /// A majority makes final.
    MajorityFinality,
    /// Votes and promises are forgotten at a restart.
    Amnesia,
    /// Votes are given in a ballot that is not the promised one.
    IgnoredPromise,
    /// Final does not beat the tag.
    NoPin,
    /// No OK is needed.
    NoOkNeeded,
    /// The committer's own OK counts.
    OwnOkCounts,
    /// One OK suffices, whatever the number of Failed.
    OneOkSuffices,
    /// Who commits on top of a commit has not said that it can be processed.
    ChildIsNoOk,
    /// A server votes that a commit is final before its members have answered.
    NoWaitForMembers,
    /// Clients are told of a final commit that no other server has yet.
    ToldTooSoon,
    /// Message keys are released when the servers that Req names have flushed.
    FlushOfReq,
    /// Message keys are released with finality.
    NoFlush,
    /// A flush that is missed is not asked for.
    FlushNotAskedFor,
    /// Messages of epochs that are over are still taken.
    OldEpochsStayOpen,
    /// A recovering server is waited for as if it were there.
    RecoveringInView,
    /// A recovering server asks only the servers of the head in its backup.
    RecoveryDoesNotLearnOn,
    /// Who answers a recovering server goes on with its own ballot.
    RecoveryKeepsBallots,
    /// Who answers a recovering server does not say which ballots there were.
    RecoveryForgetsBallots,
    /// A recovering server takes messages of its clients.
    RecoveryTakesMessages,
    /// Recovering servers don't answer each other.
    RecoveryIsMute,
    /// What an older incarnation sent counts.
    OldIncarnation,
    /// Who made a commit that nobody can process goes on making them.
    NoBan,
    /// A blocked child uses up the leader's one.
    BlockedChildCounts,
    /// A blocked commit is not skipped.
    BlockedIsNotSkipped,
    /// A certificate goes out once, and not again until it has arrived.
    LossyOutbox,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::NaiveFinality,
        Self::ElectorateFromOwnHead,
        Self::LeaderOutside,
        Self::AcceptByParent,
        Self::AddedServerWithoutVote,
        Self::NoDropOfOwnBallot,
        Self::MajorityFinality,
        Self::Amnesia,
        Self::IgnoredPromise,
        Self::NoPin,
        Self::NoOkNeeded,
        Self::OwnOkCounts,
        Self::OneOkSuffices,
        Self::ChildIsNoOk,
        Self::NoWaitForMembers,
        Self::ToldTooSoon,
        Self::FlushOfReq,
        Self::NoFlush,
        Self::FlushNotAskedFor,
        Self::OldEpochsStayOpen,
        Self::RecoveringInView,
        Self::RecoveryDoesNotLearnOn,
        Self::RecoveryKeepsBallots,
        Self::RecoveryForgetsBallots,
        Self::RecoveryTakesMessages,
        Self::RecoveryIsMute,
        Self::OldIncarnation,
        Self::NoBan,
        Self::BlockedChildCounts,
        Self::BlockedIsNotSkipped,
        Self::LossyOutbox,
    ];

    /// As on a command line.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }
}
