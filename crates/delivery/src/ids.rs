//! What servers, their ballots and their devices are called.

use std::fmt;

use dmls::CommitId;

use crate::codec::{bytes32, newtype, record};

newtype! {
    /// A server, by its number in the roster (federation.md s3). Where a tie must be broken the lower one is ahead.
    pub struct ServerId(u32);
}

newtype! {
    /// How often a server came back from a backup. Messages of older incarnations are refused.
    pub struct Incarnation(u64);
}

bytes32! {
    /// A device: a leaf of a group, and a queue at its home server.
    pub struct Device;
}

bytes32! {
    /// A group: the hash of its id and its first GroupInfo. Two servers may invent one group id.
    pub struct GroupName;
}

impl GroupName {
    /// By the first commit, which is the hash of that GroupInfo. Of a longer hash the first bytes are enough. `None`: it is too short
    /// to be one.
    pub fn of(genesis: &CommitId) -> Option<Self> {
        genesis.as_bytes().first_chunk().copied().map(Self)
    }
}

bytes32! {
    /// A message of an application. Whoever sends one again gives it the same name.
    pub struct MessageName;
}

/// A ballot of one group: the higher number is higher, of equal numbers the one of the higher server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Counts from 1.
    pub number: u64,
    /// Who leads it.
    pub leader: ServerId,
}

record!(Ballot { number, leader });

impl Ballot {
    /// Below all ballots: what was promised at first.
    pub(crate) const NONE: Self = Self { number: 0, leader: ServerId(0) };
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.leader.0)
    }
}

/// Milliseconds on a clock that only goes forward; from what moment on is the caller's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// So much later.
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// How long to wait after so many failures: a time that doubles with each, up to the last.
pub(crate) fn doubled(first: u64, failures: u32, last: u64) -> u64 {
    let factor = 1_u64.checked_shl(failures).unwrap_or(u64::MAX);
    first.saturating_mul(factor).min(last)
}

impl dmls::codec::Encode for Millis {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl dmls::codec::Decode for Millis {
    fn decode(r: &mut dmls::codec::Reader<'_>) -> Result<Self, dmls::codec::DecodeError> {
        u64::decode(r).map(Self)
    }
}
