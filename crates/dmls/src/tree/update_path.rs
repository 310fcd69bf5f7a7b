//! Update paths (RFC 9420 s7.4-7.6) and their processing (s7.5, s12.4.2). `new_path.rs` makes them.

use std::collections::BTreeSet;

use crate::codec::wire_struct;
use crate::crypto::{HpkeCiphertext, HpkePublicKey, Secret, Suite};
use crate::error::{Error, Rule};

use super::parent_hash::path_with_parent_hashes;
use super::{LeafIndex, LeafNode, LeafValidator, NodeIndex, PathStep, PrivateTree, RatchetTree};

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

/// What a path secret is encrypted to: "Any new member (from an Add proposal) added in the same Commit MUST be excluded
/// from this resolution" (RFC 9420 s7.5).
pub(super) fn recipients(
    tree: &RatchetTree,
    copath: NodeIndex,
    new_leaves: &BTreeSet<LeafIndex>,
) -> Vec<NodeIndex> {
    let mut resolution = tree.resolution(copath);
    if !new_leaves.is_empty() {
        resolution.retain(|node| node.leaf().is_none_or(|leaf| !new_leaves.contains(&leaf)));
    }
    resolution
}

/// An update path that was merged into a tree: all that can be checked without a secret holds. Only this decrypts.
#[derive(Debug)]
pub(crate) struct MergedPath<'p> {
    path: &'p UpdatePath,
    sender: LeafIndex,
    /// What nothing is encrypted to.
    new_leaves: BTreeSet<LeafIndex>,
    before: RatchetTree,
    tree: RatchetTree,
}

impl UpdatePath {
    /// Validates the path and merges it into the tree that the proposals gave; `new_leaves` are those that they added. The leaf by
    /// itself, that all keys are new, that the leaf's parent hash is right, and that each node has the ciphertexts that it must have.
    pub(crate) fn merge<'p>(
        &'p self,
        validator: &LeafValidator<'_>,
        before: &RatchetTree,
        sender: LeafIndex,
        max_leaves: u32,
        new_leaves: &[LeafIndex],
    ) -> Result<MergedPath<'p>, Error> {
        let suite = validator.suite;
        let tree = before.with_sender(sender, max_leaves)?;
        let leaf_node = validator.commit(&self.leaf_node, sender, tree.leaf(sender))?;
        let steps = tree.filtered_direct_path(sender);
        if steps.len() != self.nodes.len() {
            return Err(Rule::PathLength.into());
        }
        self.check_new_keys(suite, &tree)?;
        let keys = self.nodes.iter().map(|node| &node.encryption_key);
        let (nodes, parent_hash) = path_with_parent_hashes(suite, &tree, &steps, keys);
        if self.leaf_node.parent_hash() != Some(&parent_hash) {
            return Err(Rule::PathParentHash.into());
        }
        let merged = tree.with_update_path(sender, leaf_node, nodes);
        merged.check_unique_keys()?;
        let new_leaves = BTreeSet::from_iter(new_leaves.iter().copied());
        self.check_ciphertexts(&merged, sender, &new_leaves)?;
        Ok(MergedPath { path: self, sender, new_leaves, before: before.clone(), tree: merged })
    }

    /// "Verify that none of the public keys in the UpdatePath appear in any node of the new ratchet tree" (s12.4.2);
    /// nor in the path twice. They are keys of the suite; of the leaf, its validation shows it.
    fn check_new_keys(&self, suite: &Suite, tree: &RatchetTree) -> Result<(), Rule> {
        for node in &self.nodes {
            suite.check_hpke_public_key(&node.encryption_key).map_err(|_| Rule::PathKey)?;
        }
        let mut seen = BTreeSet::new();
        let keys = self.nodes.iter().map(|node| &node.encryption_key).chain([&self.leaf_node.encryption_key]);
        for key in keys {
            if tree.has_encryption_key(key) || !seen.insert(key) {
                return Err(Rule::PathKeyReuse);
            }
        }
        Ok(())
    }

    /// "The length of the `encrypted_path_secret` vector MUST be equal to the length of the resolution of the copath
    /// node (excluding new leaf nodes)" (s7.6): of every node, also of those that are none of ours.
    fn check_ciphertexts(
        &self,
        merged: &RatchetTree,
        sender: LeafIndex,
        new_leaves: &BTreeSet<LeafIndex>,
    ) -> Result<(), Rule> {
        let steps = merged.filtered_direct_path(sender);
        let fits = |(step, node): (&PathStep, &UpdatePathNode)| {
            recipients(merged, step.copath, new_leaves).len() == node.encrypted_path_secret.len()
        };
        if steps.iter().zip(&self.nodes).all(fits) { Ok(()) } else { Err(Rule::PathCiphertexts) }
    }
}

impl MergedPath<'_> {
    /// The tree with the path in it.
    pub(crate) fn tree(&self) -> &RatchetTree {
        &self.tree
    }

    /// Decrypts the path secret that is for us and derives those above: our keys in the merged tree, and
    /// `path_secret[n]`. `private` is what we know of the tree after the proposals, `group_context` the provisional one.
    pub(crate) fn decrypt(
        &self,
        suite: &Suite,
        private: &PrivateTree,
        group_context: &[u8],
    ) -> Result<(PrivateTree, Secret), Rule> {
        let path = self.tree.filtered_direct_path(self.sender);
        let ours = path.iter().position(|step| step.copath.covers(private.leaf)).ok_or(Rule::PathSecret)?;
        let sealed = recipients(&self.tree, path[ours].copath, &self.new_leaves)
            .into_iter()
            .zip(&self.path.nodes[ours].encrypted_path_secret)
            .find_map(|(node, sealed)| Some((private.key(node)?, self.tree.public_key(node)?, sealed)));
        let (key, public, sealed) = sealed.ok_or(Rule::PathSecret)?;
        let path_secret = suite
            .decrypt_with_label(key, public, "UpdatePathNode", group_context, sealed)
            .map_err(|_| Rule::PathSecret)?;

        let mut private = private.retained(&self.before, &self.tree);
        let last = private.learn_path(suite, &self.tree, &path[ours..], &path_secret)?;
        Ok((private, last))
    }
}
