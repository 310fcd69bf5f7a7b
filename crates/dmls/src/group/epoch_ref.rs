//! An epoch, to look at.

use std::collections::BTreeSet;
use std::fmt;

use crate::codec::Encode;
use crate::crypto::{ProposalRef, Tag};
use crate::epoch::{Epoch, KnownCommit, Member, Recipient, StoredProposal};
use crate::error::{Error, Usage};
use crate::extension::Extensions;
use crate::forks::Vertex;
use crate::framing::{MlsMessage, Sender};
use crate::key_schedule::{CommitId, EpochId, ExportedSecret};
use crate::time::Time;
use crate::tree::{LeafIndex, LeafNode};

use super::Group;
use super::graph::{Level, Node};
use super::outcome::ReceivedProposal;

/// One epoch of a group. What it can tell depends on its [`Level`].
#[derive(Clone, Copy)]
pub struct EpochRef<'g> {
    group: &'g Group,
    id: &'g EpochId,
    vertex: &'g Vertex<EpochId, Node>,
}

/// What is known of a member of an epoch, for those who decide whether the epoch may still be needed (draft s7).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberFacts {
    /// The member.
    pub member: Member,
    /// Whether it made a commit in this epoch or in a descendant.
    pub committed: bool,
    /// Whether it was heard in a proper descendant: by a commit, or by a message that we still see there.
    pub heard: bool,
    /// Whether a descendant removed it.
    pub removed: bool,
}

impl<'g> EpochRef<'g> {
    pub(super) fn new(group: &'g Group, id: &EpochId) -> Option<Self> {
        let (id, vertex) = group.graph.forks().entry(id)?;
        Some(Self { group, id, vertex })
    }

    /// Its name.
    pub fn id(&self) -> &'g EpochId {
        self.id
    }

    /// The epoch that its commit was made in, if that is known; it may have been forgotten here.
    pub fn parent(&self) -> Option<&'g EpochId> {
        self.vertex.parent.as_ref()
    }

    /// Its number. Siblings share it.
    pub fn number(&self) -> u64 {
        self.vertex.number
    }

    /// The confirmation tag of the commit that made it.
    pub fn confirmation_tag(&self) -> &'g Tag {
        &self.vertex.edge.tag
    }

    /// The commit that made it; of epoch 0, its first GroupInfo (R15).
    pub fn commit_id(&self) -> &'g CommitId {
        &self.vertex.edge.commit
    }

    /// What that commit did, as far as that is kept; unknown of the epoch in which we joined.
    pub fn commit(&self) -> Option<&'g KnownCommit> {
        self.vertex.value.commit.as_ref()
    }

    /// When it was added here.
    pub fn made(&self) -> Time {
        self.vertex.value.made
    }

    /// How much of it is left.
    pub fn level(&self) -> Level {
        self.vertex.value.level()
    }

    /// Whether it is the head.
    pub fn is_head(&self) -> bool {
        *self.id == self.group.state.head
    }

    /// Whether it is on the way to which the fork choice leads: an ancestor of the head, or the head, as long as we are
    /// not stranded.
    pub fn is_on_way(&self) -> bool {
        self.group.graph.forks().is_on_way(self.id)
    }

    /// Whether the delivery service said that it, or a descendant, is final.
    pub fn is_final(&self) -> bool {
        self.group.graph.forks().is_final(self.id)
    }

    /// Its members; unknown if it is only [`Level::Known`].
    pub fn members(&self) -> Option<Vec<Member>> {
        let public = self.vertex.value.public()?;
        Some(public.tree.leaves().map(|(leaf, node)| Member::new(leaf, node)).collect())
    }

    /// Our place among them.
    pub fn own_leaf(&self) -> Option<LeafIndex> {
        Some(self.vertex.value.reading()?.own_leaf)
    }

    /// The leaf of a member: what it supports, its extensions, where it comes from.
    pub fn leaf(&self, leaf: LeafIndex) -> Option<&'g LeafNode> {
        self.vertex.value.public()?.tree.leaf(leaf)
    }

    /// The extensions of its GroupContext, for a commit that replaces them.
    pub fn context_extensions(&self) -> Option<&'g Extensions> {
        Some(&self.vertex.value.public()?.context.extensions)
    }

    /// The proposals that wait in it for a commit: until then nobody who has seen them sends application data in it (RFC 9420 s12.4).
    /// `None` if it is not [`Level::Full`].
    pub fn proposals(&self) -> Option<Vec<ReceivedProposal>> {
        let stored = |(reference, stored): (&ProposalRef, &StoredProposal)| ReceivedProposal {
            epoch: self.id.clone(),
            sender: stored.sender,
            reference: reference.clone(),
            proposal: stored.proposal.clone(),
        };
        Some(self.vertex.value.full()?.proposals.iter().map(stored).collect())
    }

    /// Its ratchet tree, for joiners who don't find it in the GroupInfo (RFC 9420 s12.4.3.3).
    pub fn ratchet_tree(&self) -> Option<Vec<u8>> {
        Some(self.vertex.value.public()?.tree.to_bytes())
    }

    /// Two members who compare it know that they are in the same epoch (RFC 9420 s8.7). It needs [`Level::Full`].
    pub fn authenticator(&self) -> Result<&'g [u8], Error> {
        Ok(self.full()?.secrets.epoch_authenticator.as_bytes())
    }

    /// A secret for the application (RFC 9420 s8.5). It needs [`Level::Full`].
    pub fn export(&self, label: &str, context: &[u8], length: usize) -> Result<ExportedSecret, Error> {
        let suite = &self.group.suite;
        if length > 255 * suite.nh() {
            return Err(Usage::ExporterLength.into());
        }
        Ok(self.full()?.secrets.exporter.export(suite, label, context, length))
    }

    /// A MLSMessage(GroupInfo), for external joiners where the group allows them (RFC 9420 s12.4.3.2). It needs
    /// [`Level::Full`].
    pub fn group_info(&self, now: Time) -> Result<Vec<u8>, Error> {
        let info = self.full()?.group_info(self.group.rules(now), Recipient::Anyone)?;
        Ok(MlsMessage::GroupInfo(Box::new(info)).to_bytes())
    }

    /// What is known of each of its members; `None` if it is only [`Level::Known`]. It looks at all descendants.
    pub fn member_facts(&self) -> Option<Vec<MemberFacts>> {
        let (mut committed, mut heard) = (BTreeSet::<LeafIndex>::new(), BTreeSet::<LeafIndex>::new());
        let mut removed = BTreeSet::<LeafIndex>::new();
        // On each branch, those who are gone: their leaves may be others' by now.
        let mut open = vec![(self.id, BTreeSet::<LeafIndex>::new())];
        while let Some((id, gone)) = open.pop() {
            for (child, vertex) in self.group.graph.forks().children(id) {
                let committer = vertex.edge.committer.filter(|leaf| !gone.contains(leaf));
                let mut gone = gone.clone();
                removed.extend(vertex.edge.removes.iter().copied().filter(|leaf| !gone.contains(leaf)));
                gone.extend(vertex.edge.removes.iter().copied());
                committed.extend(committer);
                heard.extend(speakers(&vertex.value).difference(&gone).copied());
                open.push((child, gone));
            }
        }
        let facts = |member: Member| MemberFacts {
            committed: committed.contains(&member.leaf),
            heard: committed.contains(&member.leaf) || heard.contains(&member.leaf),
            removed: removed.contains(&member.leaf),
            member,
        };
        Some(self.members()?.into_iter().map(facts).collect())
    }

    pub(super) fn group(&self) -> &'g Group {
        self.group
    }

    pub(super) fn full(&self) -> Result<&'g Epoch, Usage> {
        self.vertex.value.full().ok_or(Usage::EpochNotFull)
    }
}

/// Those who sent a message in an epoch that we still see the traces of: a ratchet that was used, a stored proposal.
pub(super) fn speakers(node: &Node) -> BTreeSet<LeafIndex> {
    let used = node.reading().into_iter().flat_map(|reading| reading.messages.used_leaves());
    let proposals = node.full().into_iter().flat_map(|epoch| epoch.proposals.values());
    let proposers = proposals.filter_map(|stored| match stored.sender {
        Sender::Member(leaf) => Some(leaf),
        _ => None,
    });
    used.chain(proposers).collect()
}

/// By name: two members who are in the same epoch have equal heads.
impl PartialEq for EpochRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for EpochRef<'_> {}

impl fmt::Debug for EpochRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochRef")
            .field("id", self.id)
            .field("number", &self.number())
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}
