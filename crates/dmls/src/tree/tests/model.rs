//! The tree as RFC 9420 Appendix C has it: an array. Slow and plain; also a tool to forge trees.

use std::ops::Range;

use super::*;
use crate::codec::{Encode, encode_vector};
use crate::crypto::HpkePublicKey;

#[derive(Clone)]
pub enum Node {
    Leaf(LeafNode),
    Parent(ParentNode),
}

/// As many nodes as a full tree has.
#[derive(Clone)]
pub struct Model(pub Vec<Option<Node>>);

/// The head of a range of nodes.
fn head(range: &Range<usize>) -> usize {
    (range.start + range.end) / 2
}

impl Model {
    pub fn of(tree: &RatchetTree) -> Self {
        let node = |index: u32| match LeafIndex(index / 2) {
            leaf if index.is_multiple_of(2) => tree.leaf(leaf).cloned().map(Node::Leaf),
            _ => tree.parent(NodeIndex(index)).cloned().map(Node::Parent),
        };
        Self((0..tree.size().nodes()).map(node).collect())
    }

    pub fn parent(&mut self, index: usize) -> &mut ParentNode {
        match &mut self.0[index] {
            Some(Node::Parent(node)) => node,
            _ => panic!("node {index} is no parent node"),
        }
    }

    pub fn leaf(&mut self, index: usize) -> &mut LeafNode {
        match &mut self.0[2 * index] {
            Some(Node::Leaf(leaf)) => leaf,
            _ => panic!("leaf {index} is blank"),
        }
    }

    /// As it would come over the wire.
    pub fn tree(&self) -> RatchetTree {
        RatchetTree::from_bytes(&self.encode(), MAX_LEAVES).unwrap()
    }

    pub fn encode(&self) -> Vec<u8> {
        let used = self.0.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let mut out = Vec::new();
        encode_vector(&mut out, |out| {
            for node in &self.0[..used] {
                match node {
                    None => out.push(0),
                    Some(Node::Leaf(leaf)) => {
                        out.extend([1, 1]);
                        leaf.encode(out);
                    }
                    Some(Node::Parent(node)) => {
                        out.extend([1, 2]);
                        node.encode(out);
                    }
                }
            }
        });
        out
    }

    /// The ranges from the root down to a node.
    pub fn ranges(&self, node: usize) -> Vec<Range<usize>> {
        let mut path: Vec<_> = std::iter::once(0..self.0.len()).collect();
        while let Some(range) = path.last().filter(|range| head(range) != node).cloned() {
            let middle = head(&range);
            path.push(if node < middle { range.start..middle } else { middle + 1..range.end });
        }
        path
    }

    pub fn resolution(&self, range: &Range<usize>) -> Vec<NodeIndex> {
        let middle = head(range);
        match &self.0[middle] {
            Some(Node::Leaf(_)) => vec![NodeIndex(middle as u32)],
            Some(Node::Parent(node)) => {
                let mut all = vec![NodeIndex(middle as u32)];
                all.extend(node.unmerged_leaves.iter().map(|leaf| NodeIndex(2 * leaf.0)));
                all
            }
            None if range.len() == 1 => vec![],
            None => {
                let mut all = self.resolution(&(range.start..middle));
                all.extend(self.resolution(&(middle + 1..range.end)));
                all
            }
        }
    }

    pub fn hash(&self, range: &Range<usize>) -> Vec<u8> {
        let middle = head(range);
        let mut input = Vec::new();
        if range.len() == 1 {
            input.push(1);
            ((middle / 2) as u32).encode(&mut input);
        } else {
            input.push(2);
        }
        match &self.0[middle] {
            None => input.push(0),
            Some(Node::Leaf(leaf)) => Some(leaf.clone()).encode(&mut input),
            Some(Node::Parent(node)) => Some(node.clone()).encode(&mut input),
        }
        if range.len() > 1 {
            self.hash(&(range.start..middle)).encode(&mut input);
            self.hash(&(middle + 1..range.end)).encode(&mut input);
        }
        suite().hash(&[&input])
    }

    pub fn add(&mut self, leaf: LeafNode) -> LeafIndex {
        let blank = (0..self.0.len()).step_by(2).find(|i| self.0[*i].is_none());
        let place = blank.unwrap_or(self.0.len() + 1);
        if blank.is_none() {
            self.0.resize_with(2 * self.0.len() + 1, || None);
        }
        let index = LeafIndex((place / 2) as u32);
        for range in self.ranges(place) {
            if let Some(Node::Parent(node)) = &mut self.0[head(&range)] {
                node.unmerged_leaves.push(index);
                node.unmerged_leaves.sort();
            }
        }
        self.0[place] = Some(Node::Leaf(leaf));
        index
    }

    fn blank_path(&mut self, leaf: LeafIndex) {
        for range in self.ranges(2 * leaf.0 as usize) {
            self.0[head(&range)] = None;
        }
    }

    pub fn update(&mut self, leaf: LeafIndex, node: LeafNode) {
        self.blank_path(leaf);
        self.0[2 * leaf.0 as usize] = Some(Node::Leaf(node));
    }

    pub fn remove(&mut self, leaf: LeafIndex) {
        self.blank_path(leaf);
        while self.0.len() > 1 && self.0[self.0.len() / 2 + 1..].iter().step_by(2).all(Option::is_none) {
            self.0.truncate(self.0.len() / 2);
        }
    }

    /// Merges the public keys of a path, computing all parent hashes anew; gives that of the leaf.
    pub fn merge(&mut self, leaf: LeafIndex, leaf_node: LeafNode, keys: &[HpkePublicKey]) -> Vec<u8> {
        let ranges = self.ranges(2 * leaf.0 as usize);
        self.blank_path(leaf);
        let mut keys = keys.iter().rev();
        let mut above = Vec::new();
        for pair in ranges.windows(2) {
            let (range, child) = (&pair[0], &pair[1]);
            let middle = head(range);
            let sibling =
                if child.start == range.start { middle + 1..range.end } else { range.start..middle };
            if self.resolution(&sibling).is_empty() {
                continue;
            }
            let encryption_key = keys.next().expect("one key for each node of the filtered path").clone();
            let mut input = Vec::new();
            encryption_key.encode(&mut input);
            above.encode(&mut input);
            self.hash(&sibling).encode(&mut input);
            let node = ParentNode { encryption_key, parent_hash: above, unmerged_leaves: vec![] };
            self.0[middle] = Some(Node::Parent(node));
            above = suite().hash(&[&input]);
        }
        assert_eq!(keys.next(), None);
        self.0[2 * leaf.0 as usize] = Some(Node::Leaf(leaf_node));
        above
    }
}
