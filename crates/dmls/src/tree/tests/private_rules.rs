//! Update paths and Welcomes: each rule, broken once.

use super::super::MergedPath;
use super::super::parent_hash::path_with_parent_hashes;
use super::model::Model;
use super::*;
use crate::codec::{Decode, Encode};
use crate::crypto::Secret;
use crate::error::{Error, Limit, Rule};

/// A commit by leaf 0 of a full tree of eight.
struct Scene {
    group: Group,
    path: NewPath,
    update: UpdatePath,
}

const SENDER: LeafIndex = LeafIndex(0);

impl Scene {
    fn new() -> Self {
        let mut group = Group::new(8);
        // Now every node of the sender's path has a key already.
        group.commit(0, None);
        let path = group.path(0);
        let update = path.encrypt(&suite(), b"context", &[], &mut group.rng).unwrap();
        let scene = Self { group, path, update };
        assert_eq!(scene.merge(&scene.update).map(|_| ()), Ok(()));
        scene
    }

    fn merge<'p>(&self, update: &'p UpdatePath) -> Result<MergedPath<'p>, Error> {
        update.merge(&judge(), &self.group.tree, SENDER, MAX_LEAVES, &[])
    }

    /// The path is changed, then its leaf is signed by whoever's key it names.
    fn merge_error(&self, change: impl FnOnce(&mut UpdatePath)) -> Error {
        let mut update = self.update.clone();
        change(&mut update);
        let names = |client: &&Client| *client.signer.public() == update.leaf_node.signature_key;
        let signer = &self.group.clients.iter().find(names).unwrap().signer;
        sign(&mut update.leaf_node, signer, SENDER.0);
        self.merge(&update).unwrap_err()
    }

    fn decrypt(&self, update: &UpdatePath, leaf: u32, context: &[u8]) -> Result<(PrivateTree, Secret), Rule> {
        let private = &self.group.private[leaf as usize];
        self.merge(update).unwrap().decrypt(&suite(), private, context)
    }
}

#[test]
fn merging() {
    let scene = Scene::new();
    let key = |node| scene.group.tree.public_key(NodeIndex(node)).unwrap().clone();
    for (rule, error) in [
        (Rule::PathLength, scene.merge_error(|update| update.nodes.truncate(2))),
        (Rule::PathLength, scene.merge_error(|update| update.nodes.push(update.nodes[0].clone()))),
        (Rule::LeafKeyUnchanged, scene.merge_error(|update| update.leaf_node.encryption_key = key(0))),
        // Of another leaf, of a node elsewhere, of the node itself; twice in the path, as a node's and the leaf's.
        (Rule::PathKeyReuse, scene.merge_error(|update| update.leaf_node.encryption_key = key(4))),
        (Rule::PathKeyReuse, scene.merge_error(|update| update.nodes[1].encryption_key = key(11))),
        (Rule::PathKeyReuse, scene.merge_error(|update| update.nodes[1].encryption_key = key(3))),
        (
            Rule::PathKeyReuse,
            scene.merge_error(|update| {
                update.nodes[0].encryption_key = update.nodes[1].encryption_key.clone()
            }),
        ),
        (
            Rule::PathKeyReuse,
            scene.merge_error(|update| {
                update.leaf_node.encryption_key = update.nodes[1].encryption_key.clone()
            }),
        ),
        (Rule::LeafSource, scene.merge_error(|update| update.leaf_node.source = LeafNodeSource::Update)),
        (
            Rule::PathParentHash,
            scene.merge_error(|update| update.leaf_node.source = LeafNodeSource::Commit(vec![])),
        ),
        (
            Rule::PathParentHash,
            scene.merge_error(|update| update.nodes[2].encryption_key = vec![9; 32].into()),
        ),
        (
            Rule::DuplicateSignatureKey,
            scene.merge_error(|update| {
                update.leaf_node.signature_key = scene.group.clients[3].signer.public().clone();
            }),
        ),
    ] {
        assert_eq!(error, Error::Invalid(rule));
    }
}

#[test]
fn the_sender_has_a_leaf_or_takes_the_first_blank_one() {
    let mut scene = Scene::new();
    let merge = |tree: &RatchetTree, sender, max| {
        let mut update = scene.update.clone();
        sign(&mut update.leaf_node, &scene.group.clients[0].signer, sender);
        update.merge(&judge(), tree, LeafIndex(sender), max, &[]).map(|_| ()).unwrap_err()
    };
    assert_eq!(merge(&scene.group.tree, 9, MAX_LEAVES), Error::Invalid(Rule::Sender));
    assert_eq!(merge(&scene.group.tree, u32::MAX, MAX_LEAVES), Error::Invalid(Rule::Sender));
    assert_eq!(merge(&scene.group.tree, 8, 8), Error::Limit(Limit::TreeSize));
    let holes = scene.group.tree.remove(LeafIndex(3)).remove(LeafIndex(5));
    assert_eq!(merge(&holes, 5, MAX_LEAVES), Error::Invalid(Rule::Sender));
    assert_eq!(merge(&holes, 3, MAX_LEAVES), Error::Invalid(Rule::PathParentHash));

    let client = Client::new(&mut scene.group.rng);
    let signer = client.signer.private();
    let refused = NewPath::generate(
        &judge(),
        &holes,
        LeafIndex(5),
        client.leaf,
        signer,
        MAX_LEAVES,
        &mut scene.group.rng,
    );
    assert_eq!(refused.map(|_| ()).unwrap_err(), Error::Invalid(Rule::Sender));
}

#[test]
fn ciphertexts_are_counted_at_every_node() {
    let scene = Scene::new();
    for node in 0..scene.update.nodes.len() {
        for more in [true, false] {
            let mut update = scene.update.clone();
            let sealed = &mut update.nodes[node].encrypted_path_secret;
            if more {
                sealed.push(sealed[0].clone())
            } else {
                sealed.truncate(sealed.len() - 1)
            }
            assert_eq!(scene.merge(&update).unwrap_err(), Rule::PathCiphertexts.into());
        }
    }
    // Nothing is encrypted to a member whom the same commit adds.
    let refused =
        scene.update.merge(&judge(), &scene.group.tree, SENDER, MAX_LEAVES, &[LeafIndex(1)]).unwrap_err();
    assert_eq!(refused, Rule::PathCiphertexts.into());
}

#[test]
fn path_secrets_must_decrypt() {
    let scene = Scene::new();
    assert!(scene.decrypt(&scene.update, 1, b"context").is_ok());
    assert_eq!(scene.decrypt(&scene.update, 1, b"another context").unwrap_err(), Rule::PathSecret);
    let mut update = scene.update.clone();
    update.nodes[0].encrypted_path_secret[0].ciphertext[3] ^= 1;
    assert_eq!(scene.decrypt(&update, 1, b"context").unwrap_err(), Rule::PathSecret);
    // Others don't need this one.
    assert!(scene.decrypt(&update, 2, b"context").is_ok());
    // The sender can't; nor can someone who knows no key.
    assert_eq!(scene.decrypt(&scene.update, 0, b"context").unwrap_err(), Rule::PathSecret);
    let unknowing = PrivateTree { leaf: LeafIndex(1), keys: Default::default() };
    let opened = scene.merge(&scene.update).unwrap().decrypt(&suite(), &unknowing, b"context");
    assert_eq!(opened.unwrap_err(), Rule::PathSecret);
}

/// Encrypts another path secret to leaf 1.
fn sealed_to_leaf_1(scene: &mut Scene, path_secret: &[u8]) -> UpdatePath {
    let mut update = scene.update.clone();
    let public = scene.group.tree.public_key(NodeIndex(2)).unwrap();
    let rng = &mut scene.group.rng;
    update.nodes[0].encrypted_path_secret[0] =
        suite().encrypt_with_label(public, "UpdatePathNode", b"context", path_secret, rng).unwrap();
    update
}

#[test]
fn path_secrets_must_lead_to_the_public_keys() {
    let mut scene = Scene::new();
    let update = sealed_to_leaf_1(&mut scene, &[7; 32]);
    assert_eq!(scene.decrypt(&update, 1, b"context").unwrap_err(), Rule::PathSecretKey);
    let update = sealed_to_leaf_1(&mut scene, &[7; 31]);
    assert_eq!(scene.decrypt(&update, 1, b"context").unwrap_err(), Rule::PathSecret);
    // The first key is right, the next is not: every node is checked.
    let mut update = scene.update.clone();
    update.nodes[2].encryption_key = vec![7; 32].into();
    let keys = update.nodes.iter().map(|node| &node.encryption_key);
    let steps = scene.group.tree.filtered_direct_path(SENDER);
    let (_, parent_hash) = path_with_parent_hashes(&suite(), &scene.group.tree, &steps, keys);
    update.leaf_node.source = LeafNodeSource::Commit(parent_hash);
    sign(&mut update.leaf_node, &scene.group.clients[0].signer, SENDER.0);
    assert_eq!(scene.decrypt(&update, 1, b"context").unwrap_err(), Rule::PathSecretKey);
}

#[test]
fn joining() {
    let mut group = Group::new(5);
    let client = Client::new(&mut group.rng);
    let (tree, leaf) = group.tree.add(ValidLeaf::unchecked(&client.leaf), MAX_LEAVES).unwrap();
    group.tree = tree;
    let path = group.path(4);
    let join = |tree: &RatchetTree, signer: u32, secret: Option<&Secret>| {
        let key = client.leaf_private.duplicate();
        PrivateTree::from_welcome(&suite(), tree, leaf, key, LeafIndex(signer), secret)
    };
    let secret = path.secret_for(leaf).unwrap();
    let joined = join(&path.tree, 4, Some(secret)).unwrap();
    assert_eq!(joined.keys.len(), 3);
    assert_eq!(join(&path.tree, 4, None).unwrap().keys.len(), 1);
    for (tree, signer, secret, rule) in [
        (&path.tree, 4, Secret::new(vec![7; 32]), Rule::PathSecretKey),
        (&path.tree, 4, Secret::new(vec![7; 16]), Rule::PathSecret),
        (&path.tree, 0, secret.duplicate(), Rule::PathSecretKey),
        (&path.tree, leaf.0, secret.duplicate(), Rule::PathSecretKey),
        // No path was made in this tree.
        (&group.tree, 4, secret.duplicate(), Rule::PathSecretKey),
    ] {
        assert_eq!(join(tree, signer, Some(&secret)).unwrap_err(), rule, "signer {signer}");
    }
    let mut forged = Model::of(&path.tree);
    forged.parent(7).encryption_key = vec![7; 32].into();
    assert_eq!(join(&forged.tree(), 4, Some(secret)).unwrap_err(), Rule::PathSecretKey);
}

#[test]
fn a_committer_can_be_restored_from_its_first_path_secret() {
    let scene = Scene::new();
    let leaf_key = || scene.path.private.leaf_key().unwrap().duplicate();
    let (_, first) = &scene.path.path_secrets[0];
    let (private, last) =
        PrivateTree::from_first_path_secret(&suite(), &scene.path.tree, SENDER, leaf_key(), first).unwrap();
    assert_eq!(last, scene.path.last_path_secret);
    assert_eq!(private.to_bytes(), scene.path.private.to_bytes());
    let wrong = Secret::new(vec![7; 32]);
    let refused = PrivateTree::from_first_path_secret(&suite(), &scene.path.tree, SENDER, leaf_key(), &wrong);
    assert_eq!(refused.map(|_| ()).unwrap_err(), Rule::PathSecretKey);
}

#[test]
fn alone_the_last_path_secret_is_fresh() {
    let mut group = Group::new(1);
    let (one, other) = (group.path(0), group.path(0));
    assert!(one.path_secrets.is_empty());
    assert_eq!(one.last_path_secret.len(), suite().nh());
    assert_ne!(one.last_path_secret, other.last_path_secret);
    assert_eq!(one.tree.leaf(LeafIndex(0)).unwrap().parent_hash(), Some(&[][..]));
}

#[test]
fn private_keys_survive_storage_and_are_never_printed() {
    let scene = Scene::new();
    let private = &scene.path.private;
    let bytes = private.to_bytes();
    let read = PrivateTree::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!((read.leaf, read.keys.len()), (SENDER, 4));
    assert!(PrivateTree::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert_eq!(format!("{private:?}"), "PrivateTree(LeafIndex(0), 4 keys)");
}
