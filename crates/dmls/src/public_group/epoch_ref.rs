//! An epoch of an observer, to look at.

use std::fmt;

use crate::codec::Encode;
use crate::crypto::Tag;
use crate::epoch::{CommitSummary, Member};
use crate::extension::{Extensions, HomeAttestation};
use crate::forks::Vertex;
use crate::key_schedule::{CommitId, EpochId};
use crate::tree::{LeafIndex, LeafNode};

use super::{PublicGroup, PublicNode};

/// One epoch of a [`PublicGroup`].
#[derive(Clone, Copy)]
pub struct PublicEpochRef<'g> {
    group: &'g PublicGroup,
    vertex: &'g Vertex<CommitId, PublicNode>,
}

/// A member of an epoch, with the server that speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicMember {
    /// The member.
    pub member: Member,
    /// What its leaf says of its server and device (R17), if it says something that can be read. It is not verified here: whose key a server
    /// has, the delivery services know.
    pub home: Option<HomeAttestation>,
}

impl PublicMember {
    fn new(leaf: LeafIndex, node: &LeafNode) -> Self {
        Self { member: Member::new(leaf, node), home: node.extensions.content().ok().flatten() }
    }
}

impl PublicNode {
    pub(super) fn members(&self) -> Vec<PublicMember> {
        self.epoch.tree.leaves().map(|(leaf, node)| PublicMember::new(leaf, node)).collect()
    }
}

impl<'g> PublicEpochRef<'g> {
    pub(super) fn new(group: &'g PublicGroup, commit: &CommitId) -> Option<Self> {
        Some(Self { group, vertex: group.graph.get(commit)? })
    }

    fn node(&self) -> &'g PublicNode {
        &self.vertex.value
    }

    /// The commit that made it; of the epoch in which the observer began as its GroupInfo says it, else that GroupInfo's
    /// hash (R15).
    pub fn commit_id(&self) -> &'g CommitId {
        &self.vertex.edge.commit
    }

    /// The commit that made its parent, which may have been forgotten here.
    pub fn parent(&self) -> Option<&'g CommitId> {
        self.vertex.parent.as_ref()
    }

    /// Its number. Siblings share it.
    pub fn number(&self) -> u64 {
        self.vertex.number
    }

    /// Its name among members, as the committer signed it: it may be false. Unknown if it is not attested, and in RFC 9420
    /// groups.
    pub fn dmls_epoch(&self) -> Option<&'g EpochId> {
        self.node().dmls_epoch.as_ref()
    }

    /// The confirmation tag of its commit, as the committer claims it.
    pub fn confirmation_tag(&self) -> &'g Tag {
        &self.vertex.edge.tag
    }

    /// Whether a member signed a GroupInfo of it. Otherwise anybody could have changed the confirmation tag on the way
    /// ([`PublicGroup::stage_unattested`]).
    pub fn is_attested(&self) -> bool {
        self.node().attested
    }

    /// What its commit did; unknown of the epoch in which the observer began.
    pub fn commit(&self) -> Option<&'g CommitSummary> {
        self.node().summary.as_ref()
    }

    /// Whether it is the head.
    pub fn is_head(&self) -> bool {
        self.group.graph.end().key == *self.commit_id()
    }

    /// Whether it is on the way to the head, or the head.
    pub fn is_on_way(&self) -> bool {
        self.group.graph.is_on_way(self.commit_id())
    }

    /// Whether it, or a descendant, was called final.
    pub fn is_final(&self) -> bool {
        self.group.graph.is_final(self.commit_id())
    }

    /// Whether its commit is blocked.
    pub fn is_blocked(&self) -> bool {
        self.group.graph.blocked().contains(self.commit_id())
    }

    /// Its members, by their leaves.
    pub fn members(&self) -> Vec<PublicMember> {
        self.node().members()
    }

    /// The extensions of its GroupContext.
    pub fn context_extensions(&self) -> &'g Extensions {
        &self.node().epoch.context.extensions
    }

    /// Its ratchet tree, for joiners (RFC 9420 s12.4.3.3).
    pub fn ratchet_tree(&self) -> Vec<u8> {
        self.node().epoch.tree.to_bytes()
    }
}

impl fmt::Debug for PublicEpochRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicEpochRef")
            .field("commit", self.commit_id())
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}
