//! Random histories of a group: the tree equals the model after every change, and everyone can follow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::codec::Encode;
use crate::crypto::HpkeKeyPair;

#[derive(Clone, Debug)]
enum Change {
    Add,
    Update(usize),
    Remove(usize),
    Commit(usize),
    ExternalCommit(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Add),
        1 => any::<usize>().prop_map(Change::Update),
        2 => any::<usize>().prop_map(Change::Remove),
        3 => any::<usize>().prop_map(Change::Commit),
        1 => any::<usize>().prop_map(Change::ExternalCommit),
    ]
}

/// All members of a group at once. Proposals are applied at once; what members know is carried along.
struct World {
    tree: RatchetTree,
    model: Model,
    members: BTreeMap<LeafIndex, PrivateTree>,
    /// Added since the last commit.
    new: BTreeMap<LeafIndex, HpkePrivateKey>,
    rng: ChaCha20Rng,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    loader: TreeLoader,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let client = Client::new(&mut rng);
        let tree = RatchetTree::new(ValidLeaf::unchecked(&client.leaf));
        let members = BTreeMap::from([(LeafIndex(0), PrivateTree::new(LeafIndex(0), client.leaf_private))]);
        let (model, new, stored) = (Model::of(&tree), BTreeMap::new(), BTreeMap::new());
        Self { tree, model, members, new, rng, stored, loader: TreeLoader::default() }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Add => self.add(),
            Change::Update(which) => self.update(*which),
            Change::Remove(which) => self.remove(*which),
            Change::Commit(which) => {
                let sender = *self.members.keys().nth(which % self.members.len()).unwrap();
                let template = self.tree.leaf(sender).unwrap().clone();
                self.commit(sender, template);
            }
            Change::ExternalCommit(which) => {
                if self.members.len() > 1 && which % 2 == 0 {
                    self.remove(*which);
                }
                let template = Client::new(&mut self.rng).leaf;
                self.commit(self.tree.first_blank(), template);
            }
        }
        self.check();
    }

    fn add(&mut self) {
        let client = Client::new(&mut self.rng);
        let (tree, leaf) = self.tree.add(ValidLeaf::unchecked(&client.leaf), MAX_LEAVES).unwrap();
        assert_eq!(self.model.add(client.leaf), leaf);
        self.new.insert(leaf, client.leaf_private);
        self.carry_over(tree, None);
    }

    fn update(&mut self, which: usize) {
        let leaf = *self.members.keys().nth(which % self.members.len()).unwrap();
        let HpkeKeyPair { private, public } = suite().generate_key_pair(&mut self.rng).unwrap();
        let old = self.tree.leaf(leaf).unwrap().clone();
        let node = LeafNode { encryption_key: public, source: LeafNodeSource::Update, ..old };
        self.model.update(leaf, node.clone());
        self.carry_over(self.tree.update(leaf, ValidLeaf::unchecked(&node)), Some((leaf, private)));
    }

    fn remove(&mut self, which: usize) {
        let all: Vec<_> = self.members.keys().chain(self.new.keys()).copied().collect();
        let leaf = all[which % all.len()];
        if self.members.len() == 1 && self.members.contains_key(&leaf) {
            return;
        }
        self.members.remove(&leaf);
        self.new.remove(&leaf);
        self.model.remove(leaf);
        self.carry_over(self.tree.remove(leaf), None);
    }

    fn carry_over(&mut self, tree: RatchetTree, update: Option<(LeafIndex, HpkePrivateKey)>) {
        let mut update = update.map(|(leaf, key)| (leaf, Some(key.into())));
        for (index, private) in &mut self.members {
            let own = update.as_mut().filter(|(leaf, _)| leaf == index).and_then(|(_, key)| key.take());
            *private = private.after_proposals(&self.tree, &tree, own);
        }
        self.tree = tree;
    }

    fn commit(&mut self, sender: LeafIndex, template: LeafNode) {
        let signer = SignatureKeyPair::generate(&suite(), &mut self.rng).unwrap();
        let template = LeafNode { signature_key: signer.public().clone(), ..template };
        let path = NewPath::generate(
            &judge(),
            &self.tree,
            sender,
            template,
            signer.private(),
            MAX_LEAVES,
            &mut self.rng,
        )
        .unwrap();
        let new: Vec<_> = self.new.keys().copied().collect();
        let context = path.tree.tree_hash(&suite()).to_vec();
        let update = path.encrypt(&suite(), &context, &new, &mut self.rng).unwrap();
        let merged = update.merge(&judge(), &self.tree, sender, MAX_LEAVES, &new).unwrap();
        assert_eq!(merged.tree().tree_hash(&suite()), path.tree.tree_hash(&suite()));
        self.merge_into_model(sender, &update);

        self.members.remove(&sender);
        for private in self.members.values_mut() {
            let opened = merged.decrypt(&suite(), private, &context);
            let (opened, last) = opened.unwrap();
            assert_eq!(last, path.last_path_secret);
            *private = opened;
        }
        for (leaf, key) in std::mem::take(&mut self.new) {
            let secret = path.secret_for(leaf);
            let private = PrivateTree::from_welcome(&suite(), merged.tree(), leaf, key, sender, secret);
            self.members.insert(leaf, private.unwrap());
        }
        self.members.insert(sender, path.private);
        self.tree = merged.tree().clone();
    }

    fn merge_into_model(&mut self, sender: LeafIndex, update: &UpdatePath) {
        // An external commit places the joiner like an Add, and the path then blanks what that made unmerged.
        if self.tree.leaf(sender).is_none() {
            assert_eq!(self.model.add(update.leaf_node.clone()), sender);
        }
        let keys: Vec<_> = update.nodes.iter().map(|node| node.encryption_key.clone()).collect();
        let parent_hash = self.model.merge(sender, update.leaf_node.clone(), &keys);
        assert_eq!(update.leaf_node.parent_hash(), Some(&parent_hash[..]));
    }

    fn check(&mut self) {
        let (tree, model) = (&self.tree, &self.model);
        assert_eq!(tree.size().nodes() as usize, model.0.len());
        assert_eq!(tree.tree_hash(&suite()), model.hash(&(0..model.0.len())));
        for (node, place) in (0..model.0.len()).map(|node| (node, NodeIndex(node as u32))) {
            let range = model.ranges(node).pop().unwrap();
            assert_eq!(tree.resolution(place), model.resolution(&range));
            assert_eq!(tree.node_hash(&suite(), place), model.hash(&range));
        }
        assert_eq!(tree.leaves().count(), tree.members() as usize);
        assert_eq!(tree.members() as usize, self.members.len() + self.new.len());
        tree.check_parent_nodes(&suite()).unwrap();
        tree.check_credential_support().unwrap();
        for private in self.members.values() {
            for (node, key) in &private.keys {
                let pair = suite().key_pair(key.0.duplicate()).unwrap();
                assert_eq!(tree.public_key(*node), Some(&pair.public));
            }
        }

        let bytes = tree.to_bytes();
        assert_eq!(bytes, model.encode());
        let decoded = RatchetTree::from_bytes(&bytes, MAX_LEAVES).unwrap();
        self.check_same(&decoded);
        let (tree, stored) = (&self.tree, &self.stored);
        let mut records = Vec::new();
        tree.records(&suite(), &|hash| stored.contains_key(hash), &mut |record| {
            records.push((record.hash.to_vec(), record.bytes));
        });
        self.stored.extend(records);
        let stored = &self.stored;
        let hash = tree.tree_hash(&suite());
        let loaded = self.loader.load(&suite(), hash, &|hash| stored.get(hash).cloned()).unwrap();
        self.check_same(&loaded);
    }

    /// The same tree by another way: its nodes, and its sets of keys.
    fn check_same(&self, other: &RatchetTree) {
        assert_eq!(other.to_bytes(), self.tree.to_bytes());
        assert_eq!(other.tree_hash(&suite()), self.tree.tree_hash(&suite()));
        assert_eq!(other.size(), self.tree.size());
        other.check_unique_keys().unwrap();
        let count = self.tree.subtrees().filter_map(|subtree| subtree.public_key());
        assert!(count.into_iter().all(|key| other.has_encryption_key(key)));
        assert!(self.tree.leaves().all(|(_, leaf)| other.has_signature_key(&leaf.signature_key)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn equals_the_model(seed: u64, changes in proptest::collection::vec(change(), 1..60)) {
        let mut world = World::new(seed);
        for change in &changes {
            world.apply(change);
        }
    }
}
