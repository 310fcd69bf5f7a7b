//! Persist before send, as a type: what may be sent comes out of what was written.

use crate::frame::Frame;
use crate::ids::ServerId;
use crate::records::Writes;

/// What follows from an input. Frames may leave only when all that is to be written is on disk.
#[must_use = "nothing was written and nothing may be sent"]
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) writes: Writes,
    pub(crate) frames: Vec<(ServerId, Frame)>,
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
}

impl Effects {
    /// Writes everything in one transaction; then the frames may go. If that fails the server is not what is on disk any more: drop
    /// it and load it again.
    pub fn persist<E>(self, write: impl FnOnce(&Writes) -> Result<(), E>) -> Result<Sendable, E> {
        write(&self.writes)?;
        Ok(Sendable { frames: self.frames, alarms: self.alarms })
    }
}

/// What is on disk and may be sent.
#[derive(Debug, Default)]
pub struct Sendable {
    /// To whom, and what.
    pub frames: Vec<(ServerId, Frame)>,
    /// What must not stay unheard.
    pub alarms: Vec<Alarm>,
}
