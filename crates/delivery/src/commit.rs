//! What a server sees of a commit (federation.md s2), and where it looks that up.

use std::collections::BTreeSet;
use std::fmt;

use dmls::CommitId;

use crate::codec::record;
use crate::ids::{Device, ServerId};

/// A commit as it travels: what it was made on, and the bundle that the committer submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The epoch that it was made on, by the commit that made that.
    pub parent: CommitId,
    /// The commit, the proposals that it names, its Welcome, and the signed GroupInfo of the epoch that it makes.
    pub bundle: Vec<u8>,
}

record!(Body { parent, bundle });

/// What every holder of a commit sees: a function of its parent and its bundle, and of nothing else (J6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// The confirmation tag.
    pub tag: dmls::crypto::Tag,
    /// Who made it.
    pub committer: Device,
    /// Whether it is an external commit, by which somebody comes back who had lost the way.
    pub is_external: bool,
    /// R(c): the servers that have members in the epoch that it makes.
    pub servers: BTreeSet<ServerId>,
}

/// Why a bundle makes no epoch. The same for everybody who has its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the commit is invalid: {}", self.0)
    }
}

impl std::error::Error for Invalid {}

/// The epochs of one group, as far as their trees are public. An epoch is named by the commit that made it.
pub trait Epochs {
    /// Checks a bundle against its parent. From then on the other questions can be asked of it; nothing else follows.
    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid>;

    /// Whether a device is a member in an epoch.
    fn is_member(&self, epoch: &CommitId, device: &Device) -> bool;

    /// The members of an epoch whose home a server is.
    fn devices(&self, epoch: &CommitId, home: ServerId) -> Vec<Device>;

    /// Whether a device can say if a commit can be processed: it is a member before and after it, and neither the committer nor of
    /// the committer's identity (rule 9).
    fn is_witness(&self, commit: &CommitId, device: &Device) -> bool;

    /// Whether somebody who could say so of `commit` is still a member in `epoch`.
    fn has_witness(&self, commit: &CommitId, epoch: &CommitId) -> bool;
}
