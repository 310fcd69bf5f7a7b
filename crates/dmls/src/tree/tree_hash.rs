//! Tree hashes (RFC 9420 s7.8).
//!
//! ```text
//! struct {
//!   NodeType node_type;                              // leaf(1), parent(2)
//!   select (TreeHashInput.node_type) {
//!     case leaf:   uint32 leaf_index; optional<LeafNode> leaf_node;
//!     case parent: optional<ParentNode> parent_node; opaque left_hash<V>; opaque right_hash<V>;
//!   };
//! } TreeHashInput;
//! ```

use crate::codec::Encode;
use crate::crypto::Suite;

use super::subtree::{Content, Subtree};
use super::{LeafIndex, LeafNode, NodeIndex, ParentNode};

impl Subtree {
    /// The tree hash, computed once.
    pub(super) fn hash(&self, suite: &Suite) -> &[u8] {
        self.hash.get_or_init(|| {
            let hash = match self.content() {
                Content::Blank => hash_of_blank(suite, self.index()),
                Content::Leaf(leaf) => hash_of_leaf(suite, self.index().span().0, Some(leaf)),
                Content::Parent { node, children: [left, right] } => {
                    hash_of_parent(suite, node.as_ref(), left.hash(suite), right.hash(suite))
                }
            };
            hash.into()
        })
    }

    /// The tree hash without some leaves: they are blank, and no node lists them as unmerged (s7.9). The leaves are
    /// sorted.
    pub(super) fn hash_without(&self, suite: &Suite, leaves: &[LeafIndex]) -> Vec<u8> {
        let leaves = below(self.index(), leaves);
        match self.content() {
            Content::Leaf(_) if !leaves.is_empty() => hash_of_leaf(suite, self.index().span().0, None),
            Content::Parent { node, children: [left, right] } if !leaves.is_empty() => {
                let node = node.as_ref().map(|node| {
                    let mut node = node.clone();
                    node.unmerged_leaves.retain(|leaf| leaves.binary_search(leaf).is_err());
                    node
                });
                let left = left.hash_without(suite, leaves);
                hash_of_parent(suite, node.as_ref(), &left, &right.hash_without(suite, leaves))
            }
            _ => self.hash(suite).to_vec(),
        }
    }
}

/// Those of some sorted leaves that are below a node.
pub(super) fn below(node: NodeIndex, leaves: &[LeafIndex]) -> &[LeafIndex] {
    let (first, count) = node.span();
    let start = leaves.partition_point(|leaf| *leaf < first);
    let end = leaves.partition_point(|leaf| leaf.0 < first.0 + count);
    leaves.get(start..end).unwrap_or(&[])
}

pub(super) fn hash_of_leaf(suite: &Suite, index: LeafIndex, leaf: Option<&LeafNode>) -> Vec<u8> {
    let mut input = Vec::with_capacity(if leaf.is_some() { 512 } else { 6 });
    input.push(1);
    index.encode(&mut input);
    encode_optional(leaf, &mut input);
    suite.hash(&[&input])
}

pub(super) fn hash_of_parent(suite: &Suite, node: Option<&ParentNode>, left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut input = Vec::with_capacity(256);
    input.push(2);
    encode_optional(node, &mut input);
    left.encode(&mut input);
    right.encode(&mut input);
    suite.hash(&[&input])
}

/// Of a subtree in which all is blank. It still says where it is, so each place has its own.
pub(super) fn hash_of_blank(suite: &Suite, node: NodeIndex) -> Vec<u8> {
    match (node.left(), node.right()) {
        (Some(left), Some(right)) => {
            hash_of_parent(suite, None, &hash_of_blank(suite, left), &hash_of_blank(suite, right))
        }
        _ => hash_of_leaf(suite, node.span().0, None),
    }
}

/// `optional<T>` of a reference.
pub(super) fn encode_optional<T: Encode>(value: Option<&T>, out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        value.encode(out);
    }
}
