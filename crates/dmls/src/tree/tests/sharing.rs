//! Counted, not hoped for: what trees share, in memory and in records.

use std::collections::BTreeMap;

use super::*;
use crate::error::RecordsError;

fn large(rng: &mut ChaCha20Rng) -> RatchetTree {
    let client = Client::new(rng);
    let mut tree = RatchetTree::new(ValidLeaf::unchecked(&client.leaf));
    for member in 1..1_024_u32 {
        let mut leaf = client.leaf.clone();
        leaf.encryption_key = member.to_be_bytes().to_vec().into();
        leaf.signature_key = member.to_be_bytes().to_vec().into();
        tree = tree.add(ValidLeaf::unchecked(&leaf), MAX_LEAVES).unwrap().0;
    }
    tree
}

#[test]
fn a_change_copies_one_path() {
    let mut rng = rng(1);
    let tree = large(&mut rng);
    assert_eq!((tree.members(), tree.size().nodes()), (1_024, 2_047));
    assert_eq!(tree.nodes_not_in(&tree.clone()), 0);
    let sender = LeafIndex(700);
    let signer = SignatureKeyPair::generate(&suite(), &mut rng).unwrap();
    let mut leaf = tree.leaf(sender).unwrap().clone();
    leaf.signature_key = signer.public().clone();
    let path =
        NewPath::generate(&judge(), &tree, sender, leaf.clone(), signer.private(), MAX_LEAVES, &mut rng)
            .unwrap();
    assert_eq!(path.path_secrets.len(), 10);
    assert_eq!(path.tree.nodes_not_in(&tree), 11);
    assert_eq!(tree.remove(sender).nodes_not_in(&tree), 11);
    // A new root, the empty right half and its way down to the new leaf.
    let (larger, place) = tree.add(ValidLeaf::unchecked(&leaf), MAX_LEAVES).unwrap();
    assert_eq!(place, LeafIndex(1_024));
    assert_eq!(larger.nodes_not_in(&tree), 1 + 11 + 10);
    assert_eq!(larger.remove(place).nodes_not_in(&tree), 0);
}

#[test]
fn records_are_shared_and_stay_so() {
    let mut rng = rng(2);
    let tree = large(&mut rng);
    let changed = tree.remove(LeafIndex(5)).remove(LeafIndex(4));
    let mut stored = BTreeMap::new();
    let mut written = Vec::new();
    for tree in [&tree, &changed] {
        let before = stored.len();
        let mut records = Vec::new();
        tree.records(&suite(), &|hash| stored.contains_key(hash), &mut |record| {
            records.push((record.hash.to_vec(), record.bytes));
        });
        stored.extend(records);
        written.push(stored.len() - before);
    }
    // The pair of blank leaves is one record.
    assert_eq!(written, [2_047, 10]);

    let mut loader = TreeLoader::default();
    let mut load = |tree: &RatchetTree| {
        loader.load(&suite(), tree.tree_hash(&suite()), &|hash| stored.get(hash).cloned()).unwrap()
    };
    let (loaded, loaded_changed) = (load(&tree), load(&changed));
    assert_eq!(loaded_changed.nodes_not_in(&loaded), 10);
    assert!(loaded.has_signature_key(&tree.leaf(LeafIndex(5)).unwrap().signature_key));
    assert!(!loaded_changed.has_signature_key(&tree.leaf(LeafIndex(5)).unwrap().signature_key));
    assert!(loaded_changed.has_signature_key(&tree.leaf(LeafIndex(6)).unwrap().signature_key));
}

#[test]
fn damaged_records_are_refused() {
    let group = Group::new(5);
    let mut stored = BTreeMap::new();
    group.tree.records(&suite(), &|_| false, &mut |record| {
        stored.insert(record.hash.to_vec(), record.bytes);
    });
    let load = |stored: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let get = |hash: &[u8]| stored.get(hash).cloned();
        TreeLoader::default().load(&suite(), group.tree.tree_hash(&suite()), &get)
    };
    load(&stored).unwrap();
    for (hash, record) in &stored {
        let mut damaged = stored.clone();
        damaged.remove(hash);
        assert_eq!(load(&damaged).unwrap_err(), RecordsError::Missing("a tree node"));
        // Depth, kind, and something further in.
        for place in [0, 1, record.len() / 2, record.len() - 1] {
            let mut damaged = stored.clone();
            damaged.get_mut(hash).unwrap()[place] ^= 1;
            let error = load(&damaged).unwrap_err();
            assert!(
                matches!(error, RecordsError::Inconsistent(_) | RecordsError::Malformed(..)),
                "{error} at byte {place} of {record:02x?}"
            );
        }
        // Another record in its place.
        for other in stored.values().filter(|other| *other != record) {
            let mut damaged = stored.clone();
            damaged.insert(hash.clone(), other.clone());
            assert_eq!(load(&damaged).unwrap_err(), RecordsError::Inconsistent("a tree node"));
        }
    }
}
