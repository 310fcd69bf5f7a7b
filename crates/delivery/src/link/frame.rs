//! What goes from neighbour to neighbour.

use crate::codec::{record, variants};
use crate::ids::{Incarnation, ServerId};

/// A server says to all whom it has links to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Who.
    pub server: ServerId,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// Rises with each announcement; the highest counts.
    pub counter: u64,
    /// Its neighbours.
    pub up: Vec<ServerId>,
}

record!(Announcement { server, incarnation, counter, up });

impl Announcement {
    pub(super) fn age(&self) -> (Incarnation, u64) {
        (self.incarnation, self.counter)
    }
}

/// On a link between neighbours. What servers say to each other end to end is a [`Frame`](crate::Frame).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFrame {
    /// Is flooded.
    Announce {
        /// What is flooded.
        announcement: Announcement,
    },
    /// A piece of a session between others, or of ours with somebody who is no neighbour.
    Relayed {
        /// From its first server by way of the others to its last, none twice.
        path: Vec<ServerId>,
        /// Ciphertext of the session between the first and the last.
        sealed: Vec<u8>,
    },
}

variants!(LinkFrame {
    1 => Announce { announcement },
    2 => Relayed { path, sealed },
});
