//! What a server sees of a commit (federation.md s2), and where it looks that up.

use std::collections::BTreeSet;

use dmls::codec::{Decode, DecodeError, Encode, Reader};
use dmls::crypto::KeyPackageRef;
use dmls::{CommitId, ForkChoice, LeafIndex};

use crate::codec::record;
use crate::epochs::Invalid;
use crate::group::Damaged;
use crate::ids::{Device, ServerId};
use crate::records::Writes;

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
    /// How it is compared with others.
    pub ranking: Ranking,
}

impl Encode for Commit {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { id, tag, committer, is_external, servers, ranking } = self;
        id.encode(out);
        tag.encode(out);
        committer.encode(out);
        is_external.encode(out);
        servers.iter().copied().collect::<Vec<_>>().encode(out);
        ranking.encode(out);
    }
}

impl Decode for Commit {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: Decode::decode(r)?,
            tag: Decode::decode(r)?,
            committer: Decode::decode(r)?,
            is_external: Decode::decode(r)?,
            servers: Vec::decode(r)?.into_iter().collect(),
            ranking: Decode::decode(r)?,
        })
    }
}

/// How a commit is compared with its siblings, and its children with each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking {
    /// Who made it, by its leaf in its parent; of an external commit the leaf that it replaces, if any.
    pub committer: Option<LeafIndex>,
    /// The leaves of its parent that it removes.
    pub removes: Vec<LeafIndex>,
    /// The choice among the children of the epoch that it makes: the one that the GroupContext of that names.
    pub children: ForkChoice,
}

impl Encode for Ranking {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { committer, removes, children } = self;
        committer.encode(out);
        removes.encode(out);
        let of_each = match children {
            ForkChoice::RemovalsFirst { of_each } => Some(*of_each),
            _ => None,
        };
        of_each.encode(out);
    }
}

impl Decode for Ranking {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (committer, removes) = (Decode::decode(r)?, Decode::decode(r)?);
        let of_each = Option::<u16>::decode(r)?;
        let children = of_each
            .map_or(ForkChoice::HighestConfirmationTag, |of_each| ForkChoice::RemovalsFirst { of_each });
        Ok(Self { committer, removes, children })
    }
}

/// For whom a Welcome is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    /// Its device.
    pub device: Device,
    /// Its server.
    pub home: ServerId,
    /// The KeyPackage by which it was added: it is used up, and the Welcome names it.
    pub key_package: KeyPackageRef,
}

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

    /// A server that a commit brings in under a key which is not its own as far as we know. That is an opinion: it is asked when a
    /// device of ours submits the commit, and never when others have agreed on it (J6).
    fn stranger(&self, _commit: &CommitId) -> Option<ServerId> {
        None
    }

    /// For whom the Welcome of a commit is.
    fn joiners(&self, _commit: &CommitId) -> Vec<Joiner> {
        Vec::new()
    }

    /// Before anything is asked or staged: reads what is kept, if it is not in memory.
    fn wake(&mut self) -> Result<(), Damaged> {
        Ok(())
    }

    /// Nothing is asked for a while, or what was staged since [`Epochs::take_writes`] shall not count: forgets what can be read again.
    fn rest(&mut self) {}

    /// What to write, with the records of the group, of what was staged and let go since the last time.
    fn take_writes(&mut self) -> Writes {
        Writes::new()
    }

    /// All servers have flushed an epoch: of those before it, nobody stages commits any more.
    fn let_go(&mut self, _flushed: &CommitId) {}
}
