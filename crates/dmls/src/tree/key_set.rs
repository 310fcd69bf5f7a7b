//! The keys in a tree, to find repeated ones in O(log n) (RFC 9420 s7.3, s12.4.2): a persistent binary trie.
//!
//! It counts, so a list of proposals may pass through states in which a key is there twice (an update takes over
//! the key of a member that is removed by the next proposal); what counts is the state after all of them.

use std::sync::Arc;

use crate::crypto::HashAlgorithm;

/// Public keys of one kind, with how often each is in the tree. A clone shares what does not change afterwards.
#[derive(Clone, Default)]
pub(super) struct KeySet {
    root: Option<Arc<Node>>,
    /// How many keys are there more than once.
    repeated: u32,
}

/// Keys are placed by their SHA-256, so that nobody can make two fall together or the trie deep.
#[derive(Clone)]
enum Node {
    Key {
        hash: [u8; 32],
        count: u32,
    },
    /// The keys below agree on all bits before `bit` and part on it.
    Branch {
        bit: u16,
        children: [Arc<Node>; 2],
    },
}

impl KeySet {
    pub(super) fn insert(&mut self, key: &[u8]) {
        let hash = digest(key);
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Key { hash, count: 1 }));
            return;
        };
        match first_difference(&hash, nearest(root, &hash).0) {
            Some(difference) => branch(root, &hash, difference),
            None => {
                let count = counter(root, &hash);
                *count += 1;
                self.repeated += u32::from(*count == 2);
            }
        }
    }

    /// Takes one occurrence out. A key that is not there is none of ours, and nothing happens.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let hash = digest(key);
        let Some(root) = &mut self.root else { return };
        match nearest(root, &hash) {
            (found, _) if *found != hash => {}
            (_, 1) => self.root = without(root, &hash),
            _ => {
                let count = counter(root, &hash);
                *count -= 1;
                self.repeated -= u32::from(*count == 1);
            }
        }
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let hash = digest(key);
        self.root.as_ref().is_some_and(|root| *nearest(root, &hash).0 == hash)
    }

    /// Whether a key is there more than once.
    pub(super) fn has_repeated(&self) -> bool {
        self.repeated > 0
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    HashAlgorithm::Sha256.hash(&[key]).try_into().expect("SHA-256 gives 32 bytes")
}

fn bit(hash: &[u8; 32], index: u16) -> usize {
    usize::from(hash[usize::from(index / 8)] >> (7 - index % 8) & 1)
}

/// The first bit in which two hashes differ.
fn first_difference(one: &[u8; 32], other: &[u8; 32]) -> Option<u16> {
    let byte = (0..32).find(|i| one[*i] != other[*i])?;
    Some(byte as u16 * 8 + (one[byte] ^ other[byte]).leading_zeros() as u16)
}

/// The key to which the bits of `hash` lead, and its count. If `hash` is there, it is that one.
fn nearest<'a>(mut node: &'a Node, hash: &[u8; 32]) -> (&'a [u8; 32], u32) {
    loop {
        match node {
            Node::Key { hash, count } => return (hash, *count),
            Node::Branch { bit: at, children } => node = &children[bit(hash, *at)],
        }
    }
}

/// The count of a hash that is there; the way to it becomes ours alone.
fn counter<'a>(mut node: &'a mut Arc<Node>, hash: &[u8; 32]) -> &'a mut u32 {
    loop {
        match Arc::make_mut(node) {
            Node::Key { count, .. } => return count,
            Node::Branch { bit: at, children } => node = &mut children[bit(hash, *at)],
        }
    }
}

/// Puts in a hash that is not there: above the first node whose keys agree beyond the `difference`.
fn branch(mut node: &mut Arc<Node>, hash: &[u8; 32], difference: u16) {
    while matches!(&**node, Node::Branch { bit, .. } if *bit < difference) {
        let Node::Branch { bit: at, children } = Arc::make_mut(node) else { return };
        node = &mut children[bit(hash, *at)];
    }
    let key = Arc::new(Node::Key { hash: *hash, count: 1 });
    let old = Arc::clone(node);
    let children = if bit(hash, difference) == 0 { [key, old] } else { [old, key] };
    *node = Arc::new(Node::Branch { bit: difference, children });
}

/// What is left without a hash that is there.
fn without(node: &Arc<Node>, hash: &[u8; 32]) -> Option<Arc<Node>> {
    let Node::Branch { bit: at, children } = &**node else { return None };
    let side = bit(hash, *at);
    let Some(rest) = without(&children[side], hash) else { return Some(Arc::clone(&children[1 - side])) };
    let mut children = children.clone();
    children[side] = rest;
    Some(Arc::new(Node::Branch { bit: *at, children }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn agrees_with_a_map() {
        let mut set = KeySet::default();
        let mut map = BTreeMap::<u32, u32>::new();
        let mut state = 1_u32;
        for _ in 0..5_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = state >> 8 & 0x7f;
            if state >> 31 == 0 {
                set.insert(&key.to_be_bytes());
                *map.entry(key).or_default() += 1;
            } else {
                set.remove(&key.to_be_bytes());
                if let Some(count) = map.get_mut(&key) {
                    *count -= 1;
                }
                map.retain(|_, count| *count > 0);
            }
            assert_eq!(set.contains(&key.to_be_bytes()), map.contains_key(&key));
            assert_eq!(set.has_repeated(), map.values().any(|count| *count > 1));
        }
        for key in 0..0x80_u32 {
            assert_eq!(set.contains(&key.to_be_bytes()), map.contains_key(&key));
        }
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut set = KeySet::default();
        set.insert(b"one");
        set.insert(b"two");
        let earlier = set.clone();
        set.remove(b"one");
        set.insert(b"two");
        assert!(earlier.contains(b"one") && !earlier.has_repeated());
        assert!(!set.contains(b"one") && set.has_repeated());
    }

    #[test]
    fn nodes_are_small() {
        assert_eq!(size_of::<Node>(), 40);
    }
}
