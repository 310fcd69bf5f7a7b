//! Update paths (RFC 9420 s7.4-7.6).

use crate::codec::wire_struct;
use crate::crypto::{HpkeCiphertext, HpkePublicKey};

use super::LeafNode;

/// Fresh keys for the committer's leaf and the nodes of its filtered direct path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdatePath {
    /// The committer's new leaf.
    pub leaf_node: LeafNode,
    /// One for each node of the filtered direct path, from the leaf up.
    pub nodes: Vec<UpdatePathNode>,
}

wire_struct!(UpdatePath { leaf_node, nodes });

/// The public key of one node, and its path secret for everyone below the other child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdatePathNode {
    /// The node's new public key.
    pub encryption_key: HpkePublicKey,
    /// One for each node of the resolution of the copath node, new leaves left out.
    pub encrypted_path_secret: Vec<HpkeCiphertext>,
}

wire_struct!(UpdatePathNode { encryption_key, encrypted_path_secret });
