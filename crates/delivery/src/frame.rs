//! What goes from server to server.

use crate::codec::{record, variants};
use crate::ids::{GroupName, Incarnation, ServerId};
use crate::message::{Message, Parcel};
use crate::roster::{Record, RosterHash};

/// A frame. The pipe says who sent it; what is for an older incarnation, or from one, is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who sends.
    pub from: ServerId,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// For which incarnation of the receiver, as far as the sender knows.
    pub to: Incarnation,
    /// What.
    pub content: Content,
}

record!(Frame { from, incarnation, to, content });

/// The last record of a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its number; the founders are 0.
    pub number: u64,
    /// The name of the roster that it makes.
    pub hash: RosterHash,
}

record!(Position { number, hash });

/// What is in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Only who is there.
    Hello,
    /// Asks for an answer, by whatever way.
    Probe {
        /// Names the answer.
        number: u64,
        /// Whether who asks has come back from a backup, and is not to be counted on yet.
        is_recovering: bool,
        /// How far the roster of who asks goes.
        roster: Position,
    },
    /// Answers.
    Probed {
        /// Of the probe.
        number: u64,
        /// Whether who answers has come back from a backup, and is not to be counted on yet.
        is_recovering: bool,
    },
    /// Of the roster, in order. They prove themselves.
    Records {
        /// Those.
        records: Vec<Record>,
    },
    /// Now or never.
    Message {
        /// Of which group.
        group: GroupName,
        /// What.
        message: Message,
    },
    /// A row of the outbox.
    Parcel {
        /// Its number.
        number: u64,
        /// Of which group.
        group: GroupName,
        /// What.
        parcel: Parcel,
    },
    /// A row of the outbox has arrived.
    Received {
        /// Its number.
        number: u64,
    },
}

variants!(Content {
    1 => Hello,
    2 => Message { group, message },
    3 => Parcel { number, group, parcel },
    4 => Received { number },
    5 => Probe { number, is_recovering, roster },
    6 => Probed { number, is_recovering },
    7 => Records { records },
});
