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

use super::{NodeIndex, ParentNode, PathStep, RatchetTree};

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
