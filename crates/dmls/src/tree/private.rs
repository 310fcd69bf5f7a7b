//! What one member knows of the tree's private keys (RFC 9420 s4.2, s12.4.3.1).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::crypto::{CryptoError, HpkeKeyPair, HpkePrivateKey, Secret, Suite};
use crate::error::Rule;

use super::{LeafIndex, NodeIndex, PathStep, RatchetTree};

/// The private keys of a member's leaf and of the nodes above that it knows. Epochs share the keys that stay.
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
        let ancestor = tree.size().common_ancestor(my_leaf, signer);
        let mut path = tree.filtered_direct_path(signer);
        path.retain(|step| step.node.level() >= ancestor.level());
        if path.first().is_none_or(|step| step.node != ancestor) {
            return Err(Rule::PathSecretKey);
        }
        private.learn_path(suite, tree, &path, path_secret)?;
        Ok(private)
    }

    /// Of a committer, by the secrets that it started from: also gives `path_secret[n]`.
    #[cfg(any(test, feature = "vectors"))]
    pub(crate) fn from_first_path_secret(
        suite: &Suite,
        merged: &RatchetTree,
        leaf: LeafIndex,
        leaf_private: HpkePrivateKey,
        first: &Secret,
    ) -> Result<(Self, Secret), Rule> {
        let mut private = Self::new(leaf, leaf_private);
        let last = private.learn_path(suite, merged, &merged.filtered_direct_path(leaf), first)?;
        Ok((private, last))
    }

    /// Derives the keys of a path from the path secret of its first node, each of which must be that of the tree.
    /// Gives the last path secret.
    pub(super) fn learn_path(
        &mut self,
        suite: &Suite,
        tree: &RatchetTree,
        path: &[PathStep],
        path_secret: &Secret,
    ) -> Result<Secret, Rule> {
        if path_secret.len() != suite.nh() {
            return Err(Rule::PathSecret);
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
            self.set(step.node, pair.private);
        }
        Ok(path_secret)
    }

    /// A second copy, for an epoch of its own. The keys are shared.
    pub(crate) fn duplicate(&self) -> Self {
        Self { leaf: self.leaf, keys: self.keys.clone() }
    }

    /// The key of the member's own leaf.
    pub(crate) fn leaf_key(&self) -> Option<&HpkePrivateKey> {
        self.key(self.leaf.node())
    }

    /// The key of a node, if it is known.
    pub(crate) fn key(&self, node: NodeIndex) -> Option<&HpkePrivateKey> {
        self.keys.get(&node).map(|key| &**key)
    }

    pub(super) fn set(&mut self, node: NodeIndex, key: HpkePrivateKey) {
        self.keys.insert(node, Arc::new(key));
    }

    /// What is known of the tree after a list of proposals; with the leaf's new key, if an update of its own was in it.
    pub(crate) fn after_proposals(
        &self,
        before: &RatchetTree,
        after: &RatchetTree,
        own_update: Option<Arc<HpkePrivateKey>>,
    ) -> Self {
        let mut private = self.retained(before, after);
        private.keys.extend(own_update.map(|key| (self.leaf.node(), key)));
        private
    }

    /// What of it is still valid in a later tree: the keys of the nodes whose public keys stayed.
    pub(super) fn retained(&self, before: &RatchetTree, after: &RatchetTree) -> Self {
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

/// One key in storage.
struct StoredKey {
    node: u32,
    key: HpkePrivateKey,
}

wire_struct!(StoredKey { node, key });

impl Encode for PrivateTree {
    fn encode(&self, out: &mut Vec<u8>) {
        self.leaf.encode(out);
        (self.keys.len() as u32).encode(out);
        for (node, key) in &self.keys {
            node.0.encode(out);
            key.encode(out);
        }
    }

    fn encoded_length(&self) -> usize {
        4 + 4 + self.keys.values().map(|key| 4 + key.encoded_length()).sum::<usize>()
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
