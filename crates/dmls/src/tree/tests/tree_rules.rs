//! Trees that come over the wire: each rule for a whole tree, broken once.

use super::model::{Model, Node};
use super::*;
use crate::codec::Encode;
use crate::error::{Error, Limit, Rule};
use crate::extension::Extensions;

fn decode(model: &Model) -> Result<RatchetTree, Error> {
    RatchetTree::from_bytes(&model.encode(), MAX_LEAVES)
}

fn validate(model: &Model) -> Result<(), Rule> {
    model.tree().validate(&validator(&suite(), &Extensions::new()))
}

/// Seven members, the last one added without a path: it is unmerged at nodes 11 and 7.
fn unmerged() -> Model {
    let mut group = Group::new(6);
    let client = Client::new(&mut group.rng);
    // The last of the six makes a path of its own, so that node 11 is not blank.
    let (tree, _) = group.tree.add(ValidLeaf::unchecked(&client.leaf), MAX_LEAVES).unwrap();
    group.tree = tree;
    let tree = group.path(4).tree;
    let model =
        Model::of(&tree.add(ValidLeaf::unchecked(&Client::new(&mut group.rng).leaf), MAX_LEAVES).unwrap().0);
    assert_eq!(validate(&model), Ok(()));
    model
}

#[test]
fn a_valid_tree_is_valid() {
    for members in 1..10 {
        let group = Group::new(members);
        assert_eq!(validate(&Model::of(&group.tree)), Ok(()), "{members} members");
    }
}

#[test]
fn structure() {
    let leaf = Group::new(1).tree.leaf(LeafIndex(0)).unwrap().clone();
    let parent = ParentNode { encryption_key: vec![1].into(), parent_hash: vec![], unmerged_leaves: vec![] };
    let leaf = || Some(Node::Leaf(leaf.clone()));
    let parent = || Some(Node::Parent(parent.clone()));
    let refused = Err(Error::Invalid(Rule::TreeStructure));
    for nodes in [
        // Empty; a leaf in a parent's place; a parent in a leaf's place.
        vec![],
        vec![leaf(), leaf()],
        vec![leaf(), parent(), parent()],
    ] {
        assert_eq!(decode(&Model(nodes)).map(|_| ()), refused);
    }
    // Ends in a blank node.
    let mut bytes = vec![];
    crate::codec::encode_vector(&mut bytes, |out| {
        out.extend([1, 1]);
        if let Some(Node::Leaf(leaf)) = leaf() {
            leaf.encode(out);
        }
        out.extend([0, 0]);
    });
    assert_eq!(RatchetTree::from_bytes(&bytes, MAX_LEAVES).map(|_| ()), refused);
}

#[test]
fn no_damage_goes_unseen() {
    let bytes = Group::new(3).tree.to_bytes();
    let (suite, extensions) = (suite(), Extensions::new());
    let validator = validator(&suite, &extensions);
    for (place, bit) in (0..bytes.len()).flat_map(|place| [0, 5].map(|bit| (place, (place + bit) % 8))) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << bit;
        let Ok(tree) = RatchetTree::from_bytes(&damaged, MAX_LEAVES) else { continue };
        assert_eq!(tree.to_bytes(), damaged);
        assert!(tree.validate(&validator).is_err(), "bit {bit} of byte {place}");
    }
}

#[test]
fn size_and_bytes() {
    let bytes = Group::new(5).tree.to_bytes();
    assert!(RatchetTree::from_bytes(&bytes, 5).is_ok());
    let error = RatchetTree::from_bytes(&bytes, 4).unwrap_err();
    assert_eq!(error, Error::Limit(Limit::TreeSize));
    for end in 0..bytes.len() {
        assert!(matches!(RatchetTree::from_bytes(&bytes[..end], 5), Err(Error::Malformed(_))));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(RatchetTree::from_bytes(&longer, 5), Err(Error::Malformed(_))));
}

#[test]
fn adding_stops_at_the_limit() {
    let mut group = Group::new(4);
    let leaf = Client::new(&mut group.rng).leaf;
    assert_eq!(group.tree.add(ValidLeaf::unchecked(&leaf), 4).unwrap_err(), Limit::TreeSize);
    assert_eq!(group.tree.remove(LeafIndex(1)).add(ValidLeaf::unchecked(&leaf), 4).unwrap().1, LeafIndex(1));
}

#[test]
fn parent_hashes() {
    let valid = Model::of(&Group::new(5).tree);
    assert_eq!(validate(&valid), Ok(()));
    for node in 0..valid.0.len() {
        let Some(Node::Parent(_)) = valid.0[node] else { continue };
        // Its key, its parent hash, or itself beneath the one above.
        let mut forged = valid.clone();
        forged.parent(node).encryption_key = vec![7; 32].into();
        assert_eq!(validate(&forged), Err(Rule::ParentHash), "key of node {node}");
        let mut forged = valid.clone();
        forged.parent(node).parent_hash.push(1);
        assert_eq!(validate(&forged), Err(Rule::ParentHash), "parent hash of node {node}");
    }
    // A parent node which nobody made.
    let mut forged = Model::of(&Group::new(4).tree.remove(LeafIndex(3)));
    let made_up =
        ParentNode { encryption_key: vec![7; 32].into(), parent_hash: vec![], unmerged_leaves: vec![] };
    assert!(forged.0[3].is_none());
    forged.0[3] = Some(Node::Parent(made_up));
    assert_eq!(validate(&forged), Err(Rule::ParentHash));
}

#[test]
fn an_unmerged_leaf_that_was_not_there_breaks_the_parent_hash() {
    // Naming a member as unmerged that did get the path secret changes the original sibling tree hash.
    let mut forged = Model::of(&Group::new(4).tree);
    forged.parent(3).unmerged_leaves = vec![LeafIndex(0)];
    forged.parent(1).unmerged_leaves = vec![LeafIndex(0)];
    assert_eq!(validate(&forged), Err(Rule::ParentHash));
}

#[test]
fn unmerged_leaves() {
    let valid = unmerged();
    let head = valid.0.len() / 2;
    let is_unmerged = |node: &usize| match &valid.0[*node] {
        Some(Node::Parent(parent)) => !parent.unmerged_leaves.is_empty(),
        _ => false,
    };
    let lists: Vec<_> = (0..valid.0.len()).filter(is_unmerged).collect();
    assert_eq!(lists, [head, 11]);
    let change = |node: usize, change: &dyn Fn(&mut Vec<LeafIndex>)| {
        let mut forged = valid.clone();
        change(&mut forged.parent(node).unmerged_leaves);
        validate(&forged)
    };
    let refused = Err(Rule::UnmergedLeaves);
    // Missing further down, twice, unsorted, blank, no descendant, outside of the tree.
    assert_eq!(change(11, &|list| list.clear()), refused);
    assert_eq!(change(head, &|list| list.push(list[0])), refused);
    assert_eq!(change(head, &|list| list.push(LeafIndex(1))), refused);
    assert_eq!(change(11, &|list| list.insert(0, LeafIndex(1))), refused);
    assert_eq!(change(head, &|list| list.push(LeafIndex(99))), refused);
    let mut forged = valid.clone();
    forged.0[14] = None;
    assert_eq!(validate(&forged), refused);
}

#[test]
fn keys_are_unique() {
    let valid = Model::of(&Group::new(4).tree);
    let (leaf_key, parent_key) =
        (valid.clone().leaf(0).encryption_key.clone(), valid.clone().parent(3).clone());
    let mut forged = valid.clone();
    forged.leaf(3).encryption_key = leaf_key.clone();
    assert_eq!(validate(&forged), Err(Rule::DuplicateEncryptionKey));
    let mut forged = valid.clone();
    forged.leaf(3).encryption_key = parent_key.encryption_key;
    assert_eq!(validate(&forged), Err(Rule::DuplicateEncryptionKey));
    let mut forged = valid.clone();
    forged.parent(1).encryption_key = leaf_key;
    assert_eq!(validate(&forged), Err(Rule::DuplicateEncryptionKey));
    let mut forged = valid.clone();
    forged.leaf(3).signature_key = forged.leaf(1).signature_key.clone();
    assert_eq!(validate(&forged), Err(Rule::DuplicateSignatureKey));
}

#[test]
fn keys_may_pass_through_a_repeated_state() {
    let tree = Group::new(3).tree;
    let [one, two] = [0, 1].map(|leaf| tree.leaf(LeafIndex(leaf)).unwrap().clone());
    // Two members swap their keys in two updates.
    let swapping = tree.update(LeafIndex(0), ValidLeaf::unchecked(&two));
    assert_eq!(swapping.check_unique_keys(), Err(Rule::DuplicateEncryptionKey));
    assert_eq!(swapping.update(LeafIndex(1), ValidLeaf::unchecked(&one)).check_unique_keys(), Ok(()));
    // A member is removed and added again.
    let (again, _) = tree.remove(LeafIndex(1)).add(ValidLeaf::unchecked(&two), MAX_LEAVES).unwrap();
    assert_eq!(again.check_unique_keys(), Ok(()));
    let (twice, _) = tree.add(ValidLeaf::unchecked(&one), MAX_LEAVES).unwrap();
    assert_eq!(twice.check_unique_keys(), Err(Rule::DuplicateEncryptionKey));
}

#[test]
fn credential_types_must_be_supported_by_all() {
    let mut group = Group::new(3);
    assert_eq!(group.tree.check_credential_support(), Ok(()));
    let mut leaf = Client::new(&mut group.rng).leaf;
    leaf.capabilities.credentials = vec![CredentialType::X509];
    let (tree, place) = group.tree.add(ValidLeaf::unchecked(&leaf), MAX_LEAVES).unwrap();
    assert_eq!(tree.check_credential_support(), Err(Rule::LeafCredentialSupport));
    leaf.capabilities.credentials = vec![CredentialType::X509, CredentialType::BASIC];
    leaf.credential = Credential::X509(vec![]);
    let (both, _) = group.tree.add(ValidLeaf::unchecked(&leaf), MAX_LEAVES).unwrap();
    assert_eq!(both.check_credential_support(), Err(Rule::LeafCredentialSupport));
    assert_eq!(both.remove(place).check_credential_support(), Ok(()));
}

#[test]
fn the_leaves_are_validated_too() {
    // One member, and no parent node whose hash would cover the leaf.
    let tree = Group::new(4).tree;
    let mut model = Model::of(&tree.remove(LeafIndex(2)).remove(LeafIndex(1)).remove(LeafIndex(0)));
    assert_eq!(validate(&model), Ok(()));
    model.leaf(3).credential = Credential::basic("someone else");
    assert_eq!(validate(&model), Err(Rule::LeafSignature));
}
