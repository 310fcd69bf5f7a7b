//! What servers say to each other about one group.

use std::collections::BTreeSet;

use dmls::CommitId;

use crate::codec::{record, variants};
use crate::commit::Body;
use crate::ids::{Ballot, Device, MessageName, ServerId};

/// What a member says of a commit (rule 9), signed with its leaf's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was processed.
    Ok,
    /// It can't be.
    Failed,
}

variants!(Verdict { 1 => Ok, 2 => Failed });

/// Who says what of which commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// Of what.
    pub commit: CommitId,
    /// Who.
    pub device: Device,
    /// What.
    pub verdict: Verdict,
}

record!(Testimony { commit, device, verdict });

/// A commit that somebody voted for, and the highest ballot in which that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The commit.
    pub commit: CommitId,
    /// The ballot.
    pub ballot: Ballot,
}

record!(Candidate { commit, ballot });

/// What a server knows of a group that is not final yet, by names. Bodies are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The last final commit.
    pub finalized: CommitId,
    /// Certified commits that are not final, parents first.
    pub certified: Vec<CommitId>,
    /// What was voted for and is not certified.
    pub candidates: Vec<Candidate>,
    /// What members said.
    pub testimonies: Vec<Testimony>,
}

record!(Digest { finalized, certified, candidates, testimonies });

impl Digest {
    /// All commits that must be there before it can be taken in.
    pub(crate) fn commits(&self) -> impl Iterator<Item = &CommitId> {
        let candidates = self.candidates.iter().map(|candidate| &candidate.commit);
        std::iter::once(&self.finalized).chain(&self.certified).chain(candidates)
    }
}

/// From server to server, now or never: what is lost is made good by the next ballot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Rule 3: promise to take part in no lower ballot.
    Prepare {
        /// The ballot.
        ballot: Ballot,
        /// Whom the leader can reach: M is never more than that.
        view: Vec<ServerId>,
    },
    /// Promised, and what is known here.
    Promise {
        /// The ballot.
        ballot: Ballot,
        /// What is known.
        digest: Digest,
    },
    /// No promise (J4): the leader does not reach servers that the group needs and that are seen live here.
    LeftOut {
        /// What was asked.
        ballot: Ballot,
        /// Who is seen live.
        servers: Vec<ServerId>,
    },
    /// Another ballot was promised.
    Outbid {
        /// What was asked.
        ballot: Ballot,
        /// What was promised.
        promised: Ballot,
    },
    /// Rule 5: vote for a commit on the head.
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// The commit.
        commit: CommitId,
        /// What the leader knows.
        digest: Digest,
    },
    /// Rule 7: vote that what is there is final.
    Finalize {
        /// The ballot.
        ballot: Ballot,
        /// The commit.
        commit: CommitId,
        /// What the leader knows.
        digest: Digest,
    },
    /// A vote.
    Vote {
        /// The ballot.
        ballot: Ballot,
        /// For what.
        commit: CommitId,
    },
    /// There is nothing to vote for; what the leader knows.
    Learn {
        /// What it knows.
        digest: Digest,
    },
    /// Give me the bodies of these commits, and of what is between them and my last final one.
    Fetch {
        /// The commits.
        commits: Vec<CommitId>,
        /// What need not be sent again.
        above: CommitId,
    },
    /// Bodies, parents first.
    Bodies {
        /// The bodies.
        bodies: Vec<Body>,
    },
    /// I came back from a backup: what do you know?
    Recover,
    /// What is known here.
    Recovered {
        /// The highest number of a ballot that was seen.
        number: u64,
        /// What is known.
        digest: Digest,
    },
    /// What you flushed last did not arrive.
    AskFlush,
}

variants!(Message {
    1 => Prepare { ballot, view },
    2 => Promise { ballot, digest },
    3 => Outbid { ballot, promised },
    4 => Accept { ballot, commit, digest },
    5 => Finalize { ballot, commit, digest },
    6 => Vote { ballot, commit },
    7 => Learn { digest },
    8 => Fetch { commits, above },
    9 => Bodies { bodies },
    10 => Recover,
    11 => Recovered { number, digest },
    12 => AskFlush,
    13 => LeftOut { ballot, servers },
});

impl Message {
    /// The commits whose bodies are needed to answer.
    pub(crate) fn commits(&self) -> BTreeSet<&CommitId> {
        match self {
            Self::Promise { digest, .. } | Self::Learn { digest } | Self::Recovered { digest, .. } => {
                digest.commits().collect()
            }
            Self::Accept { commit, digest, .. } | Self::Finalize { commit, digest, .. } => {
                digest.commits().chain([commit]).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

/// From server to server through the outbox: kept until it has arrived, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// A commit is delivered (rule 6).
    Certified {
        /// The commit.
        commit: CommitId,
    },
    /// A commit is final (rule 7).
    Final {
        /// The commit.
        commit: CommitId,
    },
    /// No more messages of epochs before this one come from here (rule 8).
    Flush {
        /// The epoch.
        commit: CommitId,
    },
    /// A message of an application, for the members at home there.
    Post {
        /// Its name.
        message: MessageName,
        /// The epoch in which it was encrypted.
        epoch: CommitId,
        /// The message.
        bytes: Vec<u8>,
    },
}

variants!(Parcel {
    1 => Certified { commit },
    2 => Final { commit },
    3 => Flush { commit },
    4 => Post { message, epoch, bytes },
});

impl Parcel {
    /// The commit whose body must be there.
    pub(crate) fn commit(&self) -> &CommitId {
        match self {
            Self::Certified { commit } | Self::Final { commit } | Self::Flush { commit } => commit,
            Self::Post { epoch, .. } => epoch,
        }
    }
}

/// What a device finds in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A commit was delivered: process it, retain its parent, and say whether it could be processed.
    Commit {
        /// The commit.
        commit: CommitId,
    },
    /// A commit is final: what is older is needed for late messages only.
    Final {
        /// The commit.
        commit: CommitId,
    },
    /// No message of an older epoch is under way.
    Flushed {
        /// The commit.
        commit: CommitId,
    },
    /// A message of an application.
    Message {
        /// Its name.
        message: MessageName,
        /// The epoch in which it was encrypted.
        epoch: CommitId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Another commit came first; it may still change until it is final (rule 10).
    Conflict {
        /// What the device submitted.
        commit: CommitId,
        /// What is there.
        winner: CommitId,
    },
    /// A commit brings in a server that can't be reached (rule 2).
    ServerAway {
        /// What the device submitted.
        commit: CommitId,
        /// Whom to wait for.
        server: ServerId,
    },
}

variants!(Item {
    1 => Commit { commit },
    2 => Final { commit },
    3 => Flushed { commit },
    4 => Message { message, epoch, bytes },
    5 => Conflict { commit, winner },
    6 => ServerAway { commit, server },
});
