//! What happens to a server.

use dmls::CommitId;

use crate::commit::Body;
use crate::frame::Frame;
use crate::ids::{Device, GroupName, MessageName, ServerId};
use crate::link::LinkEvent;
use crate::message::Verdict;

/// What happens to a server.
#[derive(Clone, Debug)]
pub enum Input {
    /// A frame of another server.
    Frame(Frame),
    /// Something happens on a link to a neighbour.
    Link(LinkEvent),
    /// It is time: [`Server::next_wake`](super::Server::next_wake) said so.
    Tick,
    /// The link to a peer has room: its outbox may go on.
    Ship(ServerId),
    /// It is time to run a ballot of a group.
    Start(GroupName),
    /// It is time to ask again after a restore.
    GoOnRecovering(GroupName),
    /// A device submits a commit.
    Submit {
        /// In which group.
        group: GroupName,
        /// Who.
        device: Device,
        /// What.
        body: Body,
    },
    /// A device says whether it could process a commit.
    Testify {
        /// In which group.
        group: GroupName,
        /// Who.
        device: Device,
        /// Which commit.
        commit: CommitId,
        /// Whether.
        verdict: Verdict,
    },
    /// A device sends a message of an application.
    Post {
        /// In which group.
        group: GroupName,
        /// Who.
        device: Device,
        /// The message's name.
        message: MessageName,
        /// The epoch in which it was encrypted.
        epoch: CommitId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A device that met a new incarnation of its server gives it what it holds.
    Teach {
        /// In which group.
        group: GroupName,
        /// Certified commits, parents first.
        bodies: Vec<Body>,
        /// The last that is final.
        finalized: Option<CommitId>,
    },
    /// A device has taken in its queue up to a number.
    Acknowledge {
        /// Who.
        device: Device,
        /// Up to where.
        up_to: u64,
    },
}
