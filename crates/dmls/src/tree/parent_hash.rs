//! Parent hashes (RFC 9420 s7.9).
//!
//! ```text
//! struct {
//!     HPKEPublicKey encryption_key;
//!     opaque parent_hash<V>;
//!     opaque original_sibling_tree_hash<V>;
//! } ParentHashInput;
//! ```

use crate::codec::Encode;
use crate::crypto::{HpkePublicKey, Suite};
use crate::error::Rule;

use super::subtree::{Content, Subtree};
use super::tree_hash::below;
use super::{LeafIndex, NodeIndex, ParentNode, PathStep, RatchetTree};

/// The parent hash of a node with this key, this parent hash of its own, and this sibling off the path.
pub(super) fn parent_hash(
    suite: &Suite,
    encryption_key: &HpkePublicKey,
    parent_hash: &[u8],
    original_sibling_tree_hash: &[u8],
) -> Vec<u8> {
    let mut input = Vec::with_capacity(256);
    encryption_key.encode(&mut input);
    parent_hash.encode(&mut input);
    original_sibling_tree_hash.encode(&mut input);
    suite.hash(&[&input])
}

/// The nodes of an update path with their parent hashes, and the parent hash for the leaf (RFC 9420 s7.5).
///
/// "these hashes are computed from root to leaf, so that each hash incorporates all the non-blank nodes above it."
/// The path leaves no unmerged leaves, so the original tree hash of a sibling is its tree hash.
pub(super) fn path_with_parent_hashes<'a>(
    suite: &Suite,
    tree: &RatchetTree,
    steps: &[PathStep],
    keys: impl DoubleEndedIterator<Item = &'a HpkePublicKey> + ExactSizeIterator,
) -> (Vec<(NodeIndex, ParentNode)>, Vec<u8>) {
    debug_assert_eq!(steps.len(), keys.len());
    let mut above = Vec::new();
    let mut nodes = Vec::with_capacity(steps.len());
    for (step, key) in steps.iter().zip(keys).rev() {
        let hash = parent_hash(suite, key, &above, &tree.node_hash(suite, step.copath));
        let node =
            ParentNode { encryption_key: key.clone(), parent_hash: above, unmerged_leaves: Vec::new() };
        nodes.push((step.node, node));
        above = hash;
    }
    nodes.reverse();
    (nodes, above)
}

impl RatchetTree {
    /// Each parent node is chained to exactly one node below it, and so to the leaf of the member who made it
    /// (RFC 9420 s7.9.2, top down). The lists of unmerged leaves were checked before.
    pub(super) fn check_parent_hashes(&self, suite: &Suite) -> Result<(), Rule> {
        for subtree in self.subtrees() {
            if let Content::Parent { node: Some(parent), children: [left, right] } = subtree.content() {
                let from_left = is_parent_hash_valid(suite, parent, left, right);
                if from_left == is_parent_hash_valid(suite, parent, right, left) {
                    return Err(Rule::ParentHash);
                }
            }
        }
        Ok(())
    }
}

/// Whether a node below `child` has a parent hash that is valid with respect to `parent`.
fn is_parent_hash_valid(suite: &Suite, parent: &ParentNode, child: &Subtree, sibling: &Subtree) -> bool {
    let Some(descendant) = merged_node(child, below(child.index(), &parent.unmerged_leaves)) else {
        return false;
    };
    let claimed = match descendant.content() {
        Content::Leaf(leaf) => leaf.parent_hash(),
        Content::Parent { node: Some(node), .. } => Some(&node.parent_hash[..]),
        _ => None,
    };
    let Some(claimed) = claimed else { return false };
    let original_sibling_tree_hash = sibling.hash_without(suite, &parent.unmerged_leaves);
    claimed == parent_hash(suite, &parent.encryption_key, &parent.parent_hash, &original_sibling_tree_hash)
}

/// The one node in the resolution of `child` besides the unmerged leaves: "D is in the resolution of C, and the
/// intersection of P's `unmerged_leaves` with the subtree under C is equal to the resolution of C with D removed."
fn merged_node<'a>(child: &'a Subtree, unmerged: &[LeafIndex]) -> Option<&'a Subtree> {
    let mut resolution = Vec::new();
    child.resolution(&mut resolution);
    // After the check of unmerged leaves only the other condition can fail; the RFC's own is kept whole.
    if resolution.len() != unmerged.len() + 1 {
        return None;
    }
    let is_merged = |node: &NodeIndex| node.leaf().is_none_or(|leaf| unmerged.binary_search(&leaf).is_err());
    let mut merged = resolution.into_iter().filter(is_merged);
    match (merged.next(), merged.next()) {
        (Some(node), None) => child.at(node),
        _ => None,
    }
}
