//! The ratchet tree: tree-math, tree-operations, tree-validation, treekem.

use std::collections::BTreeMap;

use rand_core::CryptoRng;
use serde_json::Value;

use super::{At, Outcome, array, bytes, equal, integer, same};
use crate::codec::{Decode, Encode};
use crate::crypto::{HpkePrivateKey, Secret, SignaturePrivateKey, Suite};
use crate::danger::AcceptAnyCredential;
use crate::extension::Extensions;
use crate::key_schedule::GroupContext;
use crate::message::Proposal;
use crate::registry::ProtocolVersion;
use crate::tree::{
    Judge, LeafIndex, LeafPlace, LeafValidator, MergedPath, NewPath, NodeIndex, PrivateTree, RatchetTree,
    TreeSize, UpdatePath, ValidLeaf,
};

/// No vector has more leaves.
const MAX_LEAVES: u32 = 1 << 12;

/// Places in the tree (Appendix C).
pub fn tree_math(case: &Value) -> Outcome {
    let size = TreeSize::with_room_for(integer(case, "n_leaves")?).ok_or("n_leaves: too many")?;
    equal("n_nodes", size.nodes(), integer(case, "n_nodes")?)?;
    equal("root", size.root().0, integer(case, "root")?)?;
    column(case, "left", NodeIndex::left)?;
    column(case, "right", NodeIndex::right)?;
    column(case, "parent", |node| size.parent(node))?;
    column(case, "sibling", |node| size.sibling(node))
}

fn column(case: &Value, name: &str, function: impl Fn(NodeIndex) -> Option<NodeIndex>) -> Outcome {
    for (node, expected) in (0..).zip(array(case, name)?) {
        let found = function(NodeIndex(node)).map(|node| u64::from(node.0));
        equal(&format!("{name}[{node}]"), found, expected.as_u64())?;
    }
    Ok(())
}

/// A proposal applied to a tree (s12.1.1-12.1.3).
pub fn tree_operations(suite: &Suite, case: &Value) -> Outcome {
    let before_bytes = bytes(case, "tree_before")?;
    let before = tree(&before_bytes)?;
    same("tree_before, encoded again", &before.to_bytes(), &before_bytes)?;
    same("tree_hash_before", before.tree_hash(suite), &bytes(case, "tree_hash_before")?)?;
    let sender = LeafIndex(integer(case, "proposal_sender")?);
    let after = match Proposal::from_bytes(&bytes(case, "proposal")?).at("proposal")? {
        Proposal::Add(key_package) => {
            before.add(ValidLeaf::unchecked(&key_package.leaf_node), MAX_LEAVES).at("add")?.0
        }
        Proposal::Update(leaf) => before.update(sender, ValidLeaf::unchecked(&leaf)),
        Proposal::Remove(leaf) => before.remove(leaf),
        other => return Err(format!("proposal: {other:?} does not change the tree")),
    };
    same("tree_after", &after.to_bytes(), &bytes(case, "tree_after")?)?;
    same("tree_hash_after", after.tree_hash(suite), &bytes(case, "tree_hash_after")?)
}

/// A tree that is valid: resolutions, tree hashes, parent hashes, signatures (s4.1.1, s7.8, s7.9).
pub fn tree_validation(suite: &Suite, case: &Value) -> Outcome {
    let tree = tree(&bytes(case, "tree")?)?;
    for (node, expected) in (0..).map(NodeIndex).zip(array(case, "resolutions")?) {
        let expected = expected.as_array().ok_or("resolutions: not an array")?;
        let found = tree.resolution(node).iter().map(|node| Value::from(node.0)).collect();
        equal(&format!("resolutions[{}]", node.0), &found, expected)?;
    }
    for (node, expected) in (0..).map(NodeIndex).zip(array(case, "tree_hashes")?) {
        let found = Value::from(hex::encode(tree.node_hash(suite, node)));
        equal(&format!("tree_hashes[{}]", node.0), &found, expected)?;
    }
    tree.check_parent_nodes(suite).at("parent nodes")?;
    let group_id = bytes(case, "group_id")?;
    for (index, leaf) in tree.leaves() {
        let place = LeafPlace { group_id: &group_id, leaf: index };
        leaf.verify_signature(suite, place).at(format!("signature of leaf {}", index.0))?;
    }
    Ok(())
}

/// Update paths: processed by everyone, and made by everyone and processed again (s7.4-7.6).
pub fn treekem(suite: &Suite, case: &Value, rng: &mut dyn CryptoRng) -> Outcome {
    let tree_bytes = bytes(case, "ratchet_tree")?;
    let group = TreeKem {
        suite,
        tree: tree(&tree_bytes)?,
        context: GroupContext {
            version: ProtocolVersion::MLS10,
            cipher_suite: suite.code(),
            group_id: bytes(case, "group_id")?,
            epoch: integer(case, "epoch")?,
            tree_hash: Vec::new(),
            confirmed_transcript_hash: bytes(case, "confirmed_transcript_hash")?,
            extensions: Extensions::new(),
        },
        members: members(suite, &tree(&tree_bytes)?, array(case, "leaves_private")?)?,
    };
    for (number, path) in array(case, "update_paths")?.iter().enumerate() {
        group.process(path).at(format!("update_paths[{number}]"))?;
        let sender = LeafIndex(integer(path, "sender")?);
        group.create(sender, rng).at(format!("a path made by leaf {}", sender.0))?;
    }
    Ok(())
}

struct TreeKem<'a> {
    suite: &'a Suite,
    tree: RatchetTree,
    context: GroupContext,
    members: BTreeMap<LeafIndex, Member>,
}

struct Member {
    private: PrivateTree,
    signer: SignaturePrivateKey,
}

impl TreeKem<'_> {
    fn process(&self, case: &Value) -> Outcome {
        let sender = LeafIndex(integer(case, "sender")?);
        let path = UpdatePath::from_bytes(&bytes(case, "update_path")?).at("update_path")?;
        let merged = self.merge(&path, sender)?;
        same("tree_hash_after", merged.tree().tree_hash(self.suite), &bytes(case, "tree_hash_after")?)?;
        let path_secrets = array(case, "path_secrets")?;
        for member in self.members.values().filter(|member| member.private.leaf != sender) {
            let leaf = member.private.leaf;
            let (private, last) = self.decrypt(&merged, member)?;
            let expected = path_secrets.get(leaf.0 as usize).and_then(Value::as_str).ok_or("path_secrets")?;
            let first = Secret::new(hex::decode(expected).at("path_secrets")?);
            // The path secret itself is not kept: that it is this one shows in the keys which it leads to.
            let ancestor = merged.tree().size().common_ancestor(leaf, sender);
            let found = private.key(ancestor).ok_or("the common ancestor's key is not known")?;
            let pair =
                self.suite.derive_key_pair(&self.suite.derive_secret(&first, "node")).at("path_secrets")?;
            same("key of the path secret", found.as_bytes(), pair.private.as_bytes())?;
            same("commit_secret", self.commit_secret(&last).as_bytes(), &bytes(case, "commit_secret")?)?;
        }
        Ok(())
    }

    fn create(&self, sender: LeafIndex, rng: &mut dyn CryptoRng) -> Outcome {
        let leaf_node = self.tree.leaf(sender).ok_or("the sender is blank")?.clone();
        let signer = &self.members.get(&sender).ok_or("the sender is unknown")?.signer;
        let new =
            NewPath::generate(&self.validator(), &self.tree, sender, leaf_node, signer, MAX_LEAVES, rng)
                .at("generate")?;
        let path = new.encrypt(self.suite, &self.provisional_context(&new.tree), &[], rng).at("encrypt")?;
        let merged = self.merge(&path, sender)?;
        same("tree", &merged.tree().to_bytes(), &new.tree.to_bytes())?;
        merged.tree().check_parent_nodes(self.suite).at("parent nodes")?;
        for member in self.members.values().filter(|member| member.private.leaf != sender) {
            let (private, last) = self.decrypt(&merged, member)?;
            check_keys(self.suite, merged.tree(), &private)?;
            same("path_secret[n]", last.as_bytes(), new.last_path_secret.as_bytes())?;
        }
        check_keys(self.suite, merged.tree(), &new.private)
    }

    fn merge<'p>(&self, path: &'p UpdatePath, sender: LeafIndex) -> Result<MergedPath<'p>, String> {
        path.merge(&self.validator(), &self.tree, sender, MAX_LEAVES, &[]).at("merge")
    }

    fn validator(&self) -> LeafValidator<'_> {
        LeafValidator {
            suite: self.suite,
            group_id: &self.context.group_id,
            extensions: &self.context.extensions,
            judge: Judge::Received,
            max_lifetime: u64::MAX,
            auth: &AcceptAnyCredential,
        }
    }

    fn decrypt(&self, merged: &MergedPath<'_>, member: &Member) -> Result<(PrivateTree, Secret), String> {
        let context = self.provisional_context(merged.tree());
        merged.decrypt(self.suite, &member.private, &context).at(format!("leaf {}", member.private.leaf.0))
    }

    fn provisional_context(&self, merged: &RatchetTree) -> Vec<u8> {
        let tree_hash = merged.tree_hash(self.suite).to_vec();
        GroupContext { tree_hash, ..self.context.clone() }.to_bytes()
    }

    fn commit_secret(&self, last: &Secret) -> Secret {
        self.suite.derive_secret(last, "path")
    }
}

fn tree(bytes: &[u8]) -> Result<RatchetTree, String> {
    RatchetTree::from_bytes(bytes, MAX_LEAVES).at("tree")
}

fn members(
    suite: &Suite,
    tree: &RatchetTree,
    cases: &[Value],
) -> Result<BTreeMap<LeafIndex, Member>, String> {
    let mut members = BTreeMap::new();
    for case in cases {
        let leaf = LeafIndex(integer(case, "index")?);
        let private = HpkePrivateKey(Secret::new(bytes(case, "encryption_priv")?));
        let mut private = PrivateTree::new(leaf, private);
        for path_secret in array(case, "path_secrets")? {
            let node = NodeIndex(integer(path_secret, "node")?);
            let secret = Secret::new(bytes(path_secret, "path_secret")?);
            let pair = suite.derive_key_pair(&suite.derive_secret(&secret, "node")).at("path_secrets")?;
            private.keys.insert(node, pair.private.into());
        }
        check_keys(suite, tree, &private)?;
        let signer = SignaturePrivateKey::new(suite, Secret::new(bytes(case, "signature_priv")?))
            .at("signature key")?;
        members.insert(leaf, Member { private, signer });
    }
    Ok(members)
}

/// Each private key is that of a node which is not blank.
fn check_keys(suite: &Suite, tree: &RatchetTree, private: &PrivateTree) -> Outcome {
    for (node, key) in &private.keys {
        let pair = suite.key_pair(key.0.duplicate()).at("private key")?;
        equal(&format!("public key of node {}", node.0), tree.public_key(*node), Some(&pair.public))?;
    }
    Ok(())
}
