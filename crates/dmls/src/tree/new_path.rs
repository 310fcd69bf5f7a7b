//! Making an update path (RFC 9420 s7.4, s7.5).

use std::collections::BTreeSet;

use rand_core::CryptoRng;

use crate::crypto::{CryptoError, HpkePrivateKey, Secret, SignaturePrivateKey, Suite};
use crate::error::{Error, Rule};

use super::parent_hash::path_with_parent_hashes;
use super::private::{next_path_secret, node_key_pair};
use super::update_path::recipients;
use super::{
    LeafIndex, LeafNode, LeafNodeSource, LeafPlace, LeafValidator, NodeIndex, PathStep, PrivateTree,
    RatchetTree, UpdatePath, UpdatePathNode,
};

/// Fresh secrets for a committer's direct path, merged into the tree but not encrypted yet: for that, the new tree
/// hash must be in a GroupContext first.
pub(crate) struct NewPath {
    /// The tree with the path merged.
    pub tree: RatchetTree,
    /// The committer's keys in it.
    pub private: PrivateTree,
    /// `path_secret[0]` up to `path_secret[n]`, for the nodes of the filtered direct path.
    pub path_secrets: Vec<(NodeIndex, Secret)>,
    /// `path_secret[n]`. Fresh if the committer is alone, so that there is no path (DESIGN s3.4, R7).
    pub last_path_secret: Secret,
    sender: LeafIndex,
    steps: Vec<PathStep>,
}

impl NewPath {
    /// Makes the path for a committer whose leaf is in the tree, or is its leftmost blank one (an external commit).
    /// Of `leaf_node`, the encryption key, the source and the signature are filled in; `signer` belongs to its signature key,
    /// which may be a new one. The leaf is judged like that of another.
    pub(crate) fn generate(
        validator: &LeafValidator<'_>,
        tree: &RatchetTree,
        leaf: LeafIndex,
        leaf_node: LeafNode,
        signer: &SignaturePrivateKey,
        max_leaves: u32,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, Error> {
        let suite = validator.suite;
        let before = tree.with_sender(leaf, max_leaves)?;
        let steps = before.filtered_direct_path(leaf);
        let leaf_pair = suite.generate_key_pair(rng)?;
        let mut private = PrivateTree::new(leaf, leaf_pair.private);

        let mut path_secret = Secret::random(suite.nh(), rng);
        let mut path_secrets = Vec::with_capacity(steps.len());
        let mut keys = Vec::with_capacity(steps.len());
        for (i, step) in steps.iter().enumerate() {
            if i > 0 {
                path_secret = next_path_secret(suite, &path_secret);
            }
            let pair = node_key_pair(suite, &path_secret)?;
            path_secrets.push((step.node, path_secret.duplicate()));
            private.set(step.node, pair.private);
            keys.push(pair.public);
        }

        let (nodes, parent_hash) = path_with_parent_hashes(suite, &before, &steps, keys.iter());
        let source = LeafNodeSource::Commit(parent_hash);
        let mut leaf_node = LeafNode { encryption_key: leaf_pair.public, source, ..leaf_node };
        leaf_node.sign(suite, signer, LeafPlace { group_id: validator.group_id, leaf })?;
        let leaf_node = validator.commit(&leaf_node, leaf, before.leaf(leaf))?;
        let tree = before.with_update_path(leaf, leaf_node, nodes);
        Ok(Self { tree, private, path_secrets, last_path_secret: path_secret, sender: leaf, steps })
    }

    /// The path secret for a new member: that of the lowest node above both leaves (RFC 9420 s12.4.3.1).
    pub(crate) fn secret_for(&self, new_leaf: LeafIndex) -> Option<&Secret> {
        let mut secrets = self.path_secrets.iter();
        secrets.find(|(node, _)| node.covers(new_leaf)).map(|(_, secret)| secret)
    }

    /// Encrypts the path secrets to all but the new members; `group_context` is the provisional one, with the tree
    /// hash of [`Self::tree`].
    pub(crate) fn encrypt(
        &self,
        suite: &Suite,
        group_context: &[u8],
        new_leaves: &[LeafIndex],
        rng: &mut dyn CryptoRng,
    ) -> Result<UpdatePath, Error> {
        let new_leaves = BTreeSet::from_iter(new_leaves.iter().copied());
        let info = suite.hpke_info("UpdatePathNode", group_context);
        let mut nodes = Vec::with_capacity(self.steps.len());
        for (step, (_, path_secret)) in self.steps.iter().zip(&self.path_secrets) {
            let mut encrypted_path_secret = Vec::new();
            for recipient in recipients(&self.tree, step.copath, &new_leaves) {
                let public = known(self.tree.public_key(recipient));
                encrypted_path_secret.push(suite.hpke_seal(&info, public, path_secret.as_bytes(), rng)?);
            }
            let encryption_key = known(self.tree.public_key(step.node)).clone();
            nodes.push(UpdatePathNode { encryption_key, encrypted_path_secret });
        }
        let leaf_node = known(self.tree.leaf(self.sender)).clone();
        Ok(UpdatePath { leaf_node, nodes })
    }
}

/// A fresh leaf for an Update proposal, and its private key. `template` and `signer` as in [`NewPath::generate`]; the proposal is
/// still to be judged.
pub(crate) fn new_update(
    suite: &Suite,
    place: LeafPlace<'_>,
    template: LeafNode,
    signer: &SignaturePrivateKey,
    rng: &mut dyn CryptoRng,
) -> Result<(LeafNode, HpkePrivateKey), CryptoError> {
    let pair = suite.generate_key_pair(rng)?;
    let mut leaf = LeafNode { encryption_key: pair.public, source: LeafNodeSource::Update, ..template };
    leaf.sign(suite, signer, place)?;
    Ok((leaf, pair.private))
}

impl RatchetTree {
    /// The tree, extended if the sender of an external commit takes the first leaf beyond it.
    pub(super) fn with_sender(&self, sender: LeafIndex, max_leaves: u32) -> Result<Self, Error> {
        match self.leaf(sender) {
            Some(_) => Ok(self.clone()),
            None if sender == self.first_blank() => Ok(self.with_room_for(sender, max_leaves)?),
            None => Err(Rule::Sender.into()),
        }
    }
}

/// Nodes of a resolution and of a path that was merged are not blank.
fn known<T>(value: Option<T>) -> T {
    value.expect("the node is not blank")
}
