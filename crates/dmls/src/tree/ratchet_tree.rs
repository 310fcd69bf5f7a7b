//! The ratchet tree as a value (RFC 9420 s4, s7.7): changing it makes another that shares all but one path.

use std::fmt;
use std::sync::Arc;

use crate::crypto::{HpkePublicKey, SignaturePublicKey, Suite};
use crate::error::{Limit, Rule};

use super::key_set::KeySet;
use super::subtree::Subtree;
use super::tree_hash::hash_of_blank;
use super::{LeafIndex, LeafNode, NodeIndex, ParentNode, TreeSize, ValidLeaf};

/// The public state of a group's tree. A clone costs nothing.
#[derive(Clone)]
pub struct RatchetTree {
    pub(super) root: Arc<Subtree>,
    encryption_keys: KeySet,
    signature_keys: KeySet,
}

/// A node of a filtered direct path, and its child away from the leaf (RFC 9420 s4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathStep {
    pub node: NodeIndex,
    pub copath: NodeIndex,
}

impl RatchetTree {
    /// A tree of one member.
    pub(crate) fn new(leaf: ValidLeaf<'_>) -> Self {
        Self::from_root(Subtree::leaf(LeafIndex(0), leaf.get().clone(), None))
    }

    /// How large it is, blank leaves included.
    pub fn size(&self) -> TreeSize {
        TreeSize::with_room_for(self.root.index().span().1).expect("no tree grows beyond the largest size")
    }

    /// Number of members.
    pub fn members(&self) -> u32 {
        self.root.occupied()
    }

    /// The member at a leaf, if there is one.
    pub fn leaf(&self, leaf: LeafIndex) -> Option<&LeafNode> {
        self.root.at(leaf.node())?.leaf_node()
    }

    /// The members, from the left.
    pub fn leaves(&self) -> impl Iterator<Item = (LeafIndex, &LeafNode)> {
        self.subtrees().filter_map(|subtree| Some((subtree.index().leaf()?, subtree.leaf_node()?)))
    }

    /// The parent node at a place, if it is not blank.
    #[cfg(test)]
    pub(crate) fn parent(&self, node: NodeIndex) -> Option<&ParentNode> {
        self.root.at(node)?.parent_node()
    }

    /// The public key of a node, if it is not blank.
    pub(crate) fn public_key(&self, node: NodeIndex) -> Option<&HpkePublicKey> {
        self.root.at(node)?.public_key()
    }

    /// The tree hash of the root (RFC 9420 s7.8).
    pub(crate) fn tree_hash(&self, suite: &Suite) -> &[u8] {
        self.root.hash(suite)
    }

    /// The tree hash of a node of the tree.
    pub(crate) fn node_hash(&self, suite: &Suite, node: NodeIndex) -> Vec<u8> {
        match self.root.at(node) {
            Some(subtree) => subtree.hash(suite).to_vec(),
            None => hash_of_blank(suite, node),
        }
    }

    /// The leftmost blank leaf, where the next member goes; it may be the first beyond the tree.
    pub(crate) fn first_blank(&self) -> LeafIndex {
        self.root.first_blank().unwrap_or(LeafIndex(self.size().leaves()))
    }

    /// Adds a member (RFC 9420 s12.1.1): it is unmerged at each non-blank node above.
    pub(crate) fn add(&self, leaf_node: ValidLeaf<'_>, max_leaves: u32) -> Result<(Self, LeafIndex), Limit> {
        let leaf = self.first_blank();
        let tree = self.with_room_for(leaf, max_leaves)?;
        let root = tree.root.with_path(leaf, Some(leaf_node.get().clone()), &mut |_, node| {
            let mut node = node?.clone();
            if let Err(place) = node.unmerged_leaves.binary_search(&leaf) {
                node.unmerged_leaves.insert(place, leaf);
            }
            Some(node)
        });
        Ok((self.successor(root), leaf))
    }

    /// Replaces a member's leaf and blanks the nodes above (RFC 9420 s12.1.2).
    pub(crate) fn update(&self, leaf: LeafIndex, leaf_node: ValidLeaf<'_>) -> Self {
        debug_assert!(self.leaf(leaf).is_some(), "only a member's leaf is updated");
        self.successor(self.root.with_path(leaf, Some(leaf_node.get().clone()), &mut |_, _| None))
    }

    /// Removes a member, blanks the nodes above and truncates the tree (RFC 9420 s12.1.3).
    pub(crate) fn remove(&self, leaf: LeafIndex) -> Self {
        debug_assert!(self.leaf(leaf).is_some(), "only a member is removed");
        let mut root = self.root.with_path(leaf, None, &mut |_, _| None);
        while let Some([left, right]) = root.children() {
            if right.occupied() > 0 {
                break;
            }
            root = left;
        }
        self.successor(root)
    }

    /// Puts a leaf and new nodes on its direct path, of which all others are blank (RFC 9420 s7.5). The leaf is in
    /// the tree.
    pub(super) fn with_update_path(
        &self,
        leaf: LeafIndex,
        leaf_node: ValidLeaf<'_>,
        nodes: Vec<(NodeIndex, ParentNode)>,
    ) -> Self {
        // The path is walked from the root, the nodes are in the order from the leaf.
        let mut nodes = nodes;
        let root = self.root.with_path(leaf, Some(leaf_node.get().clone()), &mut |index, _| {
            nodes.pop_if(|(node, _)| *node == index).map(|(_, node)| node)
        });
        self.successor(root)
    }

    /// The tree, extended until the leaf is inside (RFC 9420 s7.7).
    pub(super) fn with_room_for(&self, leaf: LeafIndex, max_leaves: u32) -> Result<Self, Limit> {
        let size = leaf.0.checked_add(1).and_then(TreeSize::with_room_for);
        let size = size.filter(|_| leaf.0 < max_leaves).ok_or(Limit::TreeSize)?;
        let mut root = Arc::clone(&self.root);
        while root.index() < size.root() {
            let index = NodeIndex(2 * root.index().0 + 1);
            let right = Subtree::blank(index.right().expect("the new root is above a leaf"));
            root = Subtree::parent(index, None, root, right);
        }
        Ok(Self { root, ..self.clone() })
    }

    /// The nearest non-blank nodes at or below a node (RFC 9420 s4.1.1).
    pub(crate) fn resolution(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let mut out = Vec::new();
        if let Some(subtree) = self.root.at(node) {
            subtree.resolution(&mut out);
        }
        out
    }

    /// The ancestors of a leaf, from the leaf, without those whose other child has an empty resolution (s4.1.2).
    pub(crate) fn filtered_direct_path(&self, leaf: LeafIndex) -> Vec<PathStep> {
        let mut path = Vec::new();
        let mut here = &self.root;
        while let Some([left, right]) = here.stored_children() {
            let (on, off) = if leaf.node() < here.index() { (left, right) } else { (right, left) };
            if !off.is_blank() {
                path.push(PathStep { node: here.index(), copath: off.index() });
            }
            here = on;
        }
        path.reverse();
        path
    }

    /// No encryption key is at two nodes, no signature key at two leaves (RFC 9420 s7.3).
    pub(crate) fn check_unique_keys(&self) -> Result<(), Rule> {
        if self.encryption_keys.has_repeated() {
            return Err(Rule::DuplicateEncryptionKey);
        }
        if self.signature_keys.has_repeated() {
            return Err(Rule::DuplicateSignatureKey);
        }
        Ok(())
    }

    /// Whether some node has this encryption key.
    pub(crate) fn has_encryption_key(&self, key: &HpkePublicKey) -> bool {
        self.encryption_keys.contains(key.as_bytes())
    }

    /// Whether some leaf has this signature key.
    pub(crate) fn has_signature_key(&self, key: &SignaturePublicKey) -> bool {
        self.signature_keys.contains(key.as_bytes())
    }

    /// How many nodes of this tree are not shared with another.
    #[cfg(test)]
    pub(crate) fn nodes_not_in(&self, other: &Self) -> usize {
        let mut count = 0;
        Subtree::compare(Some(&other.root), Some(&self.root), &mut |_, new| {
            count += usize::from(new.is_some());
        });
        count
    }

    /// The subtrees that are there, each node between its children.
    pub(super) fn subtrees(&self) -> impl Iterator<Item = &Subtree> {
        let mut below = Some(&*self.root);
        let mut above: Vec<&Subtree> = Vec::new();
        std::iter::from_fn(move || {
            while let Some(subtree) = below {
                above.push(subtree);
                below = subtree.stored_children().map(|[left, _]| &**left);
            }
            let subtree = above.pop()?;
            below = subtree.stored_children().map(|[_, right]| &**right);
            Some(subtree)
        })
    }

    pub(super) fn from_root(root: Arc<Subtree>) -> Self {
        let blank = Subtree::blank(LeafIndex(0).node());
        let empty =
            Self { root: blank, encryption_keys: KeySet::default(), signature_keys: KeySet::default() };
        empty.successor(root)
    }

    /// The tree with this root; the sets of keys follow from where it differs from this tree.
    pub(super) fn successor(&self, root: Arc<Subtree>) -> Self {
        let mut encryption_keys = self.encryption_keys.clone();
        let mut signature_keys = self.signature_keys.clone();
        Subtree::compare(Some(&self.root), Some(&root), &mut |old, new| {
            let key = |subtree: Option<&Subtree>| Some(subtree?.public_key()?.as_bytes().to_vec());
            replace(&mut encryption_keys, key(old), key(new));
            let key =
                |subtree: Option<&Subtree>| Some(subtree?.leaf_node()?.signature_key.as_bytes().to_vec());
            replace(&mut signature_keys, key(old), key(new));
        });
        Self { root, encryption_keys, signature_keys }
    }
}

fn replace(keys: &mut KeySet, old: Option<Vec<u8>>, new: Option<Vec<u8>>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        keys.remove(&old);
    }
    if let Some(new) = new {
        keys.insert(&new);
    }
}

impl fmt::Debug for RatchetTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RatchetTree({} members, {} leaves)", self.members(), self.size().leaves())
    }
}
