//! The tree in a GroupInfo (RFC 9420 s12.4.3.3): `optional<Node> ratchet_tree<V>`, each node between its subtrees.

use std::sync::Arc;

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_vector};
use crate::error::{Error, Limit, Rule};

use super::subtree::{Content, CredentialSummary, Subtree};
use super::{LeafIndex, LeafNode, NodeIndex, ParentNode, RatchetTree, TreeSize};

/// A node that is not blank.
enum Node {
    Leaf(Box<LeafNode>),
    Parent(ParentNode),
}

impl Decode for Node {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => Decode::decode(r).map(Self::Leaf),
            2 => Decode::decode(r).map(Self::Parent),
            _ => Err(DecodeError::at(start, "node type 1 (leaf) or 2 (parent)")),
        }
    }
}

impl Encode for RatchetTree {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_vector(out, |out| {
            let mut end = out.len();
            encode_nodes(&self.root, out, &mut end);
            // "the sender MUST NOT include blank nodes after the last non-blank node"
            out.truncate(end);
        });
    }
}

/// Appends the nodes; `end` is where the last that is not blank ends.
fn encode_nodes(subtree: &Subtree, out: &mut Vec<u8>, end: &mut usize) {
    match subtree.content() {
        Content::Blank => out.resize(out.len() + 2 * subtree.index().span().1 as usize - 1, 0),
        Content::Leaf(leaf) => {
            out.extend([1, 1]);
            leaf.encode(out);
            *end = out.len();
        }
        Content::Parent { node, children: [left, right] } => {
            encode_nodes(left, out, end);
            match node {
                None => out.push(0),
                Some(node) => {
                    out.extend([1, 2]);
                    node.encode(out);
                    *end = out.len();
                }
            }
            encode_nodes(right, out, end);
        }
    }
}

impl RatchetTree {
    /// Decodes a tree of at most `max_leaves` leaves. It is well-formed, but nothing else was checked.
    pub(crate) fn from_bytes(bytes: &[u8], max_leaves: u32) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let mut nodes = decode_nodes(&mut r.vector()?, max_leaves)?;
        r.finish()?;
        let leaves = u32::try_from(nodes.len() / 2 + 1).map_err(|_| Limit::TreeSize)?;
        let size = TreeSize::with_room_for(leaves).ok_or(Limit::TreeSize)?;
        Ok(Self::from_root(build(size.root(), &mut nodes, &mut None)))
    }
}

fn decode_nodes(r: &mut Reader<'_>, max_leaves: u32) -> Result<Vec<Option<Node>>, Error> {
    let mut nodes = Vec::new();
    while !r.is_empty() {
        if nodes.len() / 2 >= max_leaves as usize {
            return Err(Limit::TreeSize.into());
        }
        let node = Option::<Node>::decode(r)?;
        match (&node, nodes.len() % 2) {
            (None, _) | (Some(Node::Leaf(_)), 0) | (Some(Node::Parent(_)), 1) => nodes.push(node),
            _ => return Err(Rule::TreeStructure.into()),
        }
    }
    match nodes.last() {
        Some(Some(_)) => Ok(nodes),
        _ => Err(Rule::TreeStructure.into()),
    }
}

/// Takes the nodes of a subtree out of the array. Beyond its end all is blank.
fn build(
    index: NodeIndex,
    nodes: &mut [Option<Node>],
    neighbour: &mut Option<Arc<CredentialSummary>>,
) -> Arc<Subtree> {
    let (LeafIndex(first), _) = index.span();
    if 2 * first as usize >= nodes.len() {
        return Subtree::blank(index);
    }
    let node = nodes.get_mut(index.0 as usize).and_then(Option::take);
    match (index.left(), index.right()) {
        (Some(left), Some(right)) => {
            let node = match node {
                Some(Node::Parent(node)) => Some(node),
                _ => None,
            };
            let left = build(left, nodes, neighbour);
            Subtree::parent(index, node, left, build(right, nodes, neighbour))
        }
        _ => match node {
            Some(Node::Leaf(leaf)) => {
                let subtree = Subtree::leaf(LeafIndex(first), *leaf, neighbour.as_ref());
                *neighbour = subtree.credentials().cloned();
                subtree
            }
            _ => Subtree::blank(index),
        },
    }
}
