//! Parent nodes (RFC 9420 s7.1).

use crate::codec::wire_struct;
use crate::crypto::HpkePublicKey;

use super::LeafIndex;

/// An inner node whose private key the members below it know, but for the unmerged ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentNode {
    /// For messages to the members below.
    pub encryption_key: HpkePublicKey,
    /// Binds it to the nodes above (s7.9); empty in the highest node of an update path.
    pub parent_hash: Vec<u8>,
    /// Leaves below that don't know the private key, in rising order.
    pub unmerged_leaves: Vec<LeafIndex>,
}

wire_struct!(ParentNode { encryption_key, parent_hash, unmerged_leaves });
