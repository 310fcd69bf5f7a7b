//! The secret tree (RFC 9420 s9): from the encryption secret to a handshake and an application ratchet for each leaf.
//!
//! ```text
//! tree_node_[N]_secret
//!         +--> ExpandWithLabel(., "tree", "left", KDF.Nh)  = tree_node_[left(N)]_secret
//!         +--> ExpandWithLabel(., "tree", "right", KDF.Nh) = tree_node_[right(N)]_secret
//! tree_node_[leaf]_secret
//!         +--> ExpandWithLabel(., "handshake", "", KDF.Nh)   = handshake_ratchet_secret_[N]_[0]
//!         +--> ExpandWithLabel(., "application", "", KDF.Nh) = application_ratchet_secret_[N]_[0]
//! ```
//!
//! Decide, then apply: a key comes with an [`Advance`], and only [`SecretTree::apply`] deletes what the key consumed
//! (s9.2). So a message that turns out to be forged uses up nothing.

mod ratchet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError};
use crate::crypto::{Secret, Suite};
use crate::tree::{LeafIndex, NodeIndex, TreeSize};
use ratchet::Ratchet;
pub(crate) use ratchet::{MessageKey, RatchetLimits};

/// Which of a leaf's two ratchets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RatchetKind {
    /// For proposals and commits.
    Handshake,
    /// For application data.
    Application,
}

/// The keys of one epoch that were not used yet. Not `Clone`: a copy would still have what is deleted here.
pub(crate) struct SecretTree {
    size: TreeSize,
    /// The nodes from which others are still to be derived. Never one above another, never one above a ratchet.
    nodes: BTreeMap<NodeIndex, Secret>,
    /// Of the leaves that were used: both ratchets of each.
    ratchets: BTreeMap<(LeafIndex, RatchetKind), Ratchet>,
}

/// What a key consumes and what takes its place.
pub(crate) struct Advance {
    leaf: LeafIndex,
    /// At the first use of a leaf: the node above it that is split up, and the copath below that node.
    split: Option<NodeIndex>,
    copath: Vec<(NodeIndex, Secret)>,
    ratchets: Vec<(RatchetKind, Ratchet)>,
}

/// Names a record of persistent storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RecordKey {
    /// The secret of a node.
    Node(NodeIndex),
    /// A ratchet.
    Ratchet(LeafIndex, RatchetKind),
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretTreeError {
    /// The leaf is outside of the tree.
    UnknownLeaf,
    /// The key was used.
    KeyUsed,
    /// The key was dropped as one of the oldest of too many that were kept: whether it was used before, is forgotten.
    TooOld,
    /// The generation is further ahead than [`RatchetLimits::max_forward`].
    TooFarAhead,
    /// As many messages were encrypted as the AEAD allows in one epoch.
    Exhausted,
}

impl fmt::Display for SecretTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownLeaf => "the leaf is outside of the secret tree",
            Self::KeyUsed => "the message key was used already",
            Self::TooOld => "the message key was dropped: the message is too old",
            Self::TooFarAhead => "the generation is too far ahead of the ratchet",
            Self::Exhausted => "the ratchet has encrypted as much as the AEAD allows in one epoch",
        })
    }
}

impl std::error::Error for SecretTreeError {}

impl SecretTree {
    /// The tree above `leaf_count` leaves; more than 2^30 there can't be.
    pub(crate) fn new(encryption_secret: Secret, leaf_count: u32) -> Self {
        let size = size(leaf_count);
        Self { size, nodes: BTreeMap::from([(size.root(), encryption_secret)]), ratchets: BTreeMap::new() }
    }

    /// The key of a received message, of any generation that was not used yet.
    pub(crate) fn key(
        &self,
        suite: &Suite,
        leaf: LeafIndex,
        kind: RatchetKind,
        generation: u32,
        limits: RatchetLimits,
    ) -> Result<(MessageKey, Advance), SecretTreeError> {
        self.advance(suite, leaf, kind, |ratchet| ratchet.take(suite, generation, limits))
    }

    /// The next key of our own leaf, with its generation.
    pub(crate) fn next_key(
        &self,
        suite: &Suite,
        leaf: LeafIndex,
        kind: RatchetKind,
    ) -> Result<(u32, MessageKey, Advance), SecretTreeError> {
        let ((generation, key), advance) = self.advance(suite, leaf, kind, |ratchet| {
            ratchet.take_next(suite).map(|(generation, key, after)| ((generation, key), after))
        })?;
        Ok((generation, key, advance))
    }

    /// Deletes what was consumed.
    ///
    /// The advance must come from this tree as it is now: one that was computed before another was applied would bring
    /// back what that one consumed.
    pub(crate) fn apply(&mut self, advance: Advance) {
        let Advance { leaf, split, copath, ratchets } = advance;
        if let Some(split) = split {
            self.nodes.remove(&split).expect("an advance is applied to the tree that it came from");
            self.nodes.extend(copath);
        }
        for (kind, ratchet) in ratchets {
            let before = self.ratchets.insert((leaf, kind), ratchet);
            debug_assert_eq!(before.is_none(), split.is_some());
        }
    }

    /// The leaves of which a key was used.
    pub(crate) fn used_leaves(&self) -> impl Iterator<Item = LeafIndex> {
        let handshake = self.ratchets.keys().filter(|(_, kind)| *kind == RatchetKind::Handshake);
        handshake.map(|(leaf, _)| *leaf)
    }

    /// Of each ratchet of which a key was used: the generations that were skipped, and from which on none was derived.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (LeafIndex, RatchetKind, Vec<u32>, Option<u32>)> {
        let ratchets = self.ratchets.iter();
        ratchets.map(|((leaf, kind), ratchet)| (*leaf, *kind, ratchet.skipped(), ratchet.next()))
    }

    /// Everything, for persistent storage.
    pub(crate) fn records(&self) -> impl Iterator<Item = (RecordKey, Zeroizing<Vec<u8>>)> {
        let nodes = self.nodes.iter().map(|(node, secret)| (RecordKey::Node(*node), node_record(secret)));
        let ratchets = self.ratchets.iter();
        nodes.chain(
            ratchets.map(|((leaf, kind), ratchet)| (RecordKey::Ratchet(*leaf, *kind), ratchet.record())),
        )
    }

    /// From what [`SecretTree::records`] gave, changed by what each [`Advance::records`] gave.
    pub(crate) fn from_records(
        leaf_count: u32,
        records: impl IntoIterator<Item = (RecordKey, impl AsRef<[u8]>)>,
    ) -> Result<Self, DecodeError> {
        let mut tree = Self { size: size(leaf_count), nodes: BTreeMap::new(), ratchets: BTreeMap::new() };
        for (key, bytes) in records {
            match key {
                RecordKey::Node(node) => {
                    tree.nodes.insert(node, Secret::new(bytes.as_ref().to_vec()));
                }
                RecordKey::Ratchet(leaf, kind) => {
                    tree.ratchets.insert((leaf, kind), Ratchet::from_bytes(bytes.as_ref())?);
                }
            }
        }
        tree.check()?;
        Ok(tree)
    }

    /// Takes a key from a ratchet, derived first if it's not there yet, and says what that changes.
    fn advance<T>(
        &self,
        suite: &Suite,
        leaf: LeafIndex,
        kind: RatchetKind,
        take: impl FnOnce(&Ratchet) -> Result<(T, Ratchet), SecretTreeError>,
    ) -> Result<(T, Advance), SecretTreeError> {
        if let Some(ratchet) = self.ratchets.get(&(leaf, kind)) {
            let (key, after) = take(ratchet)?;
            return Ok((
                key,
                Advance { leaf, split: None, copath: Vec::new(), ratchets: vec![(kind, after)] },
            ));
        }
        let mut advance = self.split(suite, leaf)?;
        let [handshake, application] = advance.ratchets.as_mut_slice() else {
            return Err(SecretTreeError::KeyUsed);
        };
        let (_, ratchet) = if kind == RatchetKind::Handshake { handshake } else { application };
        let (key, after) = take(ratchet)?;
        *ratchet = after;
        Ok((key, advance))
    }

    /// The way down to a leaf that was not used yet.
    fn split(&self, suite: &Suite, leaf: LeafIndex) -> Result<Advance, SecretTreeError> {
        if !self.size.contains(leaf) {
            return Err(SecretTreeError::UnknownLeaf);
        }
        let split = self.live_above(leaf).ok_or(SecretTreeError::KeyUsed)?;
        let mut node = split;
        let mut secret = self.nodes[&node].duplicate();
        let mut copath = Vec::new();
        while let (Some(left), Some(right)) = (node.left(), node.right()) {
            let (left_secret, right_secret) = suite.tree_children(&secret);
            if left.covers(leaf) {
                copath.push((right, right_secret));
                (node, secret) = (left, left_secret);
            } else {
                copath.push((left, left_secret));
                (node, secret) = (right, right_secret);
            }
        }
        let ratchet = |label| Ratchet::new(suite.derive_secret(&secret, label));
        let ratchets = vec![
            (RatchetKind::Handshake, ratchet("handshake")),
            (RatchetKind::Application, ratchet("application")),
        ];
        Ok(Advance { leaf, split: Some(split), copath, ratchets })
    }

    /// The node above a leaf, or the leaf's own, whose secret is still there.
    fn live_above(&self, leaf: LeafIndex) -> Option<NodeIndex> {
        let mut above = std::iter::once(leaf.node()).chain(self.size.direct_path(leaf));
        above.find(|node| self.nodes.contains_key(node))
    }

    /// What every tree keeps to, so that stored records which do not are found before a key is used twice.
    fn check(&self) -> Result<(), DecodeError> {
        let mut free = 0;
        for node in self.nodes.keys() {
            let refused = DecodeError::at(0, "nodes inside of the secret tree, none above another");
            if node.0 >= self.size.nodes() {
                return Err(refused);
            }
            let (first, count) = node.span();
            if first.0 < free {
                return Err(refused);
            }
            free = first.0 + count;
        }
        for (leaf, _) in self.ratchets.keys() {
            let both = [RatchetKind::Handshake, RatchetKind::Application];
            let both = both.iter().all(|kind| self.ratchets.contains_key(&(*leaf, *kind)));
            if !both || !self.size.contains(*leaf) || self.live_above(*leaf).is_some() {
                return Err(DecodeError::at(0, "both ratchets of each used leaf of the secret tree"));
            }
        }
        let below_nodes: u32 = self.nodes.keys().map(|node| node.span().1).sum();
        if below_nodes + self.used_leaves().count() as u32 != self.size.leaves() {
            return Err(DecodeError::at(0, "a node or a ratchet for each leaf of the secret tree"));
        }
        Ok(())
    }
}

impl Advance {
    /// Whose key is used.
    pub(crate) fn leaf(&self) -> LeafIndex {
        self.leaf
    }

    /// What changes in persistent storage; `None` deletes. To be stored before the advance is applied, and applied
    /// before another is computed.
    pub(crate) fn records(&self) -> impl Iterator<Item = (RecordKey, Option<Zeroizing<Vec<u8>>>)> {
        let split = self.split.iter().map(|node| (RecordKey::Node(*node), None));
        let copath =
            self.copath.iter().map(|(node, secret)| (RecordKey::Node(*node), Some(node_record(secret))));
        let ratchets = self.ratchets.iter();
        let ratchets = ratchets.map(|(kind, r)| (RecordKey::Ratchet(self.leaf, *kind), Some(r.record())));
        split.chain(copath).chain(ratchets)
    }
}

fn size(leaf_count: u32) -> TreeSize {
    TreeSize::with_room_for(leaf_count.min(1 << 30)).expect("2^30 leaves fit")
}

fn node_record(secret: &Secret) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(secret.as_bytes().to_vec())
}

impl fmt::Debug for SecretTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretTree")
            .field("leaves", &self.size.leaves())
            .field("nodes", &self.nodes.len())
            .field("ratchets", &self.ratchets)
            .finish()
    }
}

impl fmt::Debug for Advance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advance")
            .field("leaf", &self.leaf)
            .field("split", &self.split)
            .finish_non_exhaustive()
    }
}
