//! What one member knows of the tree's private keys (RFC 9420 s4.2, s12.4.3.1).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::crypto::{CryptoError, HpkeKeyPair, HpkePrivateKey, Secret, Suite};
use crate::error::Rule;

use super::{LeafIndex, NodeIndex, RatchetTree};

/// The private keys of a member's leaf and of the nodes above that it knows. Epochs share the keys that stay.
#[derive(Clone)]
pub(crate) struct PrivateTree {
    pub leaf: LeafIndex,
    pub keys: BTreeMap<NodeIndex, Arc<HpkePrivateKey>>,
}

impl PrivateTree {
    /// Knows the leaf's key only.
    pub(crate) fn new(leaf: LeafIndex, leaf_private: HpkePrivateKey) -> Self {
        Self { leaf, keys: BTreeMap::from([(leaf.node(), Arc::new(leaf_private))]) }
    }

    /// Of someone who joins by a Welcome: the leaf's key and, if the commit had a path, the keys of the nodes which
    /// that path gave and which are above both leaves.
    ///
    /// RFC 9420 s12.4.3.1: "Identify the lowest common ancestor of the leaf node `my_leaf` and of the node of the
    /// member with leaf index `GroupInfo.signer`. Set the private key for this node to the private key derived from
    /// the `path_secret`. For each parent of the common ancestor, up to the root of the tree, derive a new path
    /// secret".
    pub(crate) fn from_welcome(
        suite: &Suite,
        tree: &RatchetTree,
        my_leaf: LeafIndex,
        leaf_private: HpkePrivateKey,
        signer: LeafIndex,
        path_secret: Option<&Secret>,
    ) -> Result<Self, Rule> {
        let mut private = Self::new(my_leaf, leaf_private);
        let Some(path_secret) = path_secret else { return Ok(private) };
        check_length(suite, path_secret)?;
        let ancestor = tree.size().common_ancestor(my_leaf, signer);
        let mut path = tree.filtered_direct_path(signer);
        path.retain(|step| step.node.level() >= ancestor.level());
        if path.first().is_none_or(|step| step.node != ancestor) {
            return Err(Rule::PathSecretKey);
        }
        let mut path_secret = path_secret.duplicate();
        for (i, step) in path.iter().enumerate() {
            if i > 0 {
                path_secret = next_path_secret(suite, &path_secret);
            }
            let pair = node_key_pair(suite, &path_secret).map_err(|_| Rule::PathSecretKey)?;
            if tree.public_key(step.node) != Some(&pair.public) {
                return Err(Rule::PathSecretKey);
            }
            private.set(step.node, pair.private);
        }
        Ok(private)
    }

    /// The key of a node, if it is known.
    pub(crate) fn key(&self, node: NodeIndex) -> Option<&HpkePrivateKey> {
        self.keys.get(&node).map(|key| &**key)
    }

    /// Learns the key of a node: of its own leaf, when an update of its own is committed.
    pub(crate) fn set(&mut self, node: NodeIndex, key: HpkePrivateKey) {
        self.keys.insert(node, Arc::new(key));
    }

    /// What of it is still valid in a later tree: the keys of the nodes whose public keys stayed.
    pub(crate) fn retained(&self, before: &RatchetTree, after: &RatchetTree) -> Self {
        let stays = |node: &NodeIndex| {
            let key = before.public_key(*node);
            key.is_some() && key == after.public_key(*node)
        };
        let keys = self.keys.iter().filter(|(node, _)| stays(node));
        Self { leaf: self.leaf, keys: keys.map(|(node, key)| (*node, Arc::clone(key))).collect() }
    }
}

/// `path_secret[n] = DeriveSecret(path_secret[n-1], "path")` (RFC 9420 s7.4).
pub(super) fn next_path_secret(suite: &Suite, path_secret: &Secret) -> Secret {
    suite.derive_secret(path_secret, "path")
}

/// `node_priv[n], node_pub[n] = KEM.DeriveKeyPair(DeriveSecret(path_secret[n], "node"))` (RFC 9420 s7.4).
pub(super) fn node_key_pair(suite: &Suite, path_secret: &Secret) -> Result<HpkeKeyPair, CryptoError> {
    suite.derive_key_pair(&suite.derive_secret(path_secret, "node"))
}

/// A path secret has `KDF.Nh` bytes.
pub(super) fn check_length(suite: &Suite, path_secret: &Secret) -> Result<(), Rule> {
    if path_secret.len() == suite.nh() { Ok(()) } else { Err(Rule::PathSecret) }
}

/// One key in storage.
struct StoredKey {
    node: u32,
    key: HpkePrivateKey,
}

wire_struct!(StoredKey { node, key });

impl Encode for PrivateTree {
    fn encode(&self, out: &mut Vec<u8>) {
        // Room for all, so that no growing leaves a copy behind.
        out.reserve(16 + self.keys.len() * 80);
        self.leaf.encode(out);
        (self.keys.len() as u32).encode(out);
        for (node, key) in &self.keys {
            node.0.encode(out);
            key.encode(out);
        }
    }
}

impl Decode for PrivateTree {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let leaf = LeafIndex::decode(r)?;
        let mut keys = BTreeMap::new();
        for _ in 0..u32::decode(r)? {
            let StoredKey { node, key } = StoredKey::decode(r)?;
            keys.insert(NodeIndex(node), Arc::new(key));
        }
        Ok(Self { leaf, keys })
    }
}

impl fmt::Debug for PrivateTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateTree({:?}, {} keys)", self.leaf, self.keys.len())
    }
}
