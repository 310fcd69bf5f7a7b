//! Persist before send, as a type: what may be sent comes out of what was written.

use crate::frame::Frame;
use crate::ids::ServerId;
use crate::link::LinkFrame;
use crate::records::{Writer, Writes};

/// What follows from an input. Frames may leave only when all that is to be written is on disk.
#[must_use = "nothing was written and nothing may be sent"]
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) writes: Writes,
    pub(crate) frames: Vec<(ServerId, Frame)>,
    pub(crate) hops: Vec<(ServerId, LinkFrame)>,
    pub(crate) arrived: Vec<(ServerId, Vec<u8>)>,
    pub(crate) alarms: Vec<Alarm>,
}

/// What a person who runs a server must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// Somebody calls a commit final that does not follow from what is final here. The group has split for good, or somebody lies.
    FinalFork(dmls::CommitId),
    /// The trees of a group can't be read, so the server takes no part in it.
    Damaged(crate::ids::GroupName),
    /// Operators signed two records of this number: the federation has two rosters, or somebody lies. Ours stays as it is.
    RosterFork(u64),
    /// Of a federation of two each server has retired the other. They have split for ever.
    RosterSplit,
    /// The others have retired this server. It takes part in nothing any more.
    Retired,
}

impl Effects {
    /// For records of the server itself; those of a group have a prefix.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        Writer::new(&[], &mut self.writes)
    }

    /// Writes everything in one transaction; then the frames may go. If that fails the server is not what is on disk any more: drop
    /// it and load it again.
    pub fn persist<E>(self, write: impl FnOnce(&Writes) -> Result<(), E>) -> Result<Sendable, E> {
        write(&self.writes)?;
        let Self { frames, hops, arrived, alarms, .. } = self;
        Ok(Sendable { frames, hops, arrived, alarms })
    }
}

/// What is on disk and may be sent.
#[derive(Debug, Default)]
pub struct Sendable {
    /// To whom, and what.
    pub frames: Vec<(ServerId, Frame)>,
    /// To which neighbour, and what.
    pub hops: Vec<(ServerId, LinkFrame)>,
    /// Ciphertext that others relayed to us, and with whom that session is.
    pub arrived: Vec<(ServerId, Vec<u8>)>,
    /// What must not stay unheard.
    pub alarms: Vec<Alarm>,
}
