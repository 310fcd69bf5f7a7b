//! Places in the tree (RFC 9420 s4.1, Appendix C). Leaf 3 is not node 3.

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// The place of a leaf, from the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(pub u32);

/// The place of a node in the array representation: leaves are even, parents odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u32);

/// The number of leaves of a full tree: a power of two, at most 2^30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeSize(u32);

impl Encode for LeafIndex {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for LeafIndex {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u32::decode(r).map(Self)
    }
}

impl LeafIndex {
    /// Its place among all nodes. Leaves outside of any tree that we accept have none in it either.
    pub fn node(self) -> NodeIndex {
        NodeIndex(self.0.saturating_mul(2))
    }
}

impl NodeIndex {
    /// Distance from the leaves: 0 for a leaf.
    pub fn level(self) -> u32 {
        self.0.trailing_ones()
    }

    /// The leaf at this place.
    pub fn leaf(self) -> Option<LeafIndex> {
        (self.0 & 1 == 0).then_some(LeafIndex(self.0 / 2))
    }

    /// The child on the left.
    pub fn left(self) -> Option<Self> {
        let level = self.level();
        (level > 0).then(|| Self(self.0 ^ 1 << (level - 1)))
    }

    /// The child on the right.
    pub fn right(self) -> Option<Self> {
        let level = self.level();
        (level > 0).then(|| Self(self.0 ^ 3 << (level - 1)))
    }

    /// The first leaf below and the number of leaves below.
    pub fn span(self) -> (LeafIndex, u32) {
        let level = self.level();
        (LeafIndex((self.0 + 1 - (1 << level)) / 2), 1 << level)
    }

    /// Whether the leaf is below this node, or is it.
    pub fn covers(self, leaf: LeafIndex) -> bool {
        let (first, count) = self.span();
        leaf.0 >= first.0 && leaf.0 - first.0 < count
    }
}

impl TreeSize {
    /// The largest tree of which node indices fit.
    const MAX: u32 = 1 << 30;

    /// The smallest full tree with room for `leaves` leaves; at least one.
    pub fn with_room_for(leaves: u32) -> Option<Self> {
        leaves.max(1).checked_next_power_of_two().filter(|n| *n <= Self::MAX).map(Self)
    }

    /// Number of leaves.
    pub fn leaves(self) -> u32 {
        self.0
    }

    /// Number of nodes.
    pub fn nodes(self) -> u32 {
        2 * self.0 - 1
    }

    /// Levels above the leaves.
    pub fn depth(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// The root.
    pub fn root(self) -> NodeIndex {
        NodeIndex(self.0 - 1)
    }

    /// Whether the leaf is inside.
    pub fn contains(self, leaf: LeafIndex) -> bool {
        leaf.0 < self.0
    }

    /// The parent of a node; the root has none.
    pub fn parent(self, node: NodeIndex) -> Option<NodeIndex> {
        if node == self.root() || node.0 >= self.nodes() {
            return None;
        }
        let level = node.level();
        let bit = node.0 >> (level + 1) & 1;
        Some(NodeIndex((node.0 | 1 << level) ^ bit << (level + 1)))
    }

    /// The other child of the parent; the root has none.
    pub fn sibling(self, node: NodeIndex) -> Option<NodeIndex> {
        let parent = self.parent(node)?;
        if node < parent { parent.right() } else { parent.left() }
    }

    /// The ancestors of a leaf, from its parent to the root.
    pub fn direct_path(self, leaf: LeafIndex) -> impl Iterator<Item = NodeIndex> {
        std::iter::successors(self.parent(leaf.node()), move |node| self.parent(*node))
    }

    /// The lowest node above both leaves, or the leaf if they are one.
    pub fn common_ancestor(self, one: LeafIndex, other: LeafIndex) -> NodeIndex {
        let mut node = one.node();
        while !node.covers(other) {
            match self.parent(node) {
                Some(parent) => node = parent,
                None => break,
            }
        }
        node
    }
}
