//! Trees in storage: one record for each subtree, under its tree hash, so that trees share what they have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::Suite;
use crate::error::RecordsError;

use super::subtree::{Content, CredentialSummary, Subtree};
use super::tree_hash::{encode_optional, hash_of_leaf, hash_of_parent};
use super::{LeafNode, NodeIndex, ParentNode, RatchetTree, TreeSize};

/// What these records are called in errors.
const TREE_NODE: &str = "a tree node";

/// A subtree to be stored.
pub(crate) struct TreeRecord<'a> {
    /// Its tree hash, which is its name.
    pub hash: &'a [u8],
    /// What is stored.
    pub bytes: Vec<u8>,
}

/// One subtree, its children by their hashes.
///
/// ```text
/// uint8 level; uint8 kind; select (kind) {
///   case 0 (blank):  ;
///   case 1 (leaf):   LeafNode leaf_node;
///   case 2 (parent): optional<ParentNode> parent_node; opaque left_hash<V>; opaque right_hash<V>;
/// };
/// ```
struct Record {
    level: u8,
    kind: Kind,
}

enum Kind {
    Blank,
    Leaf(LeafNode),
    Parent { node: Option<ParentNode>, left: Vec<u8>, right: Vec<u8> },
}

impl Decode for Record {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let level = r.u8()?;
        let start = r.position();
        let kind = match r.u8()? {
            0 => Kind::Blank,
            1 => Kind::Leaf(Decode::decode(r)?),
            2 => {
                Kind::Parent { node: Decode::decode(r)?, left: Decode::decode(r)?, right: Decode::decode(r)? }
            }
            _ => return Err(DecodeError::at(start, "a kind of tree node: 0, 1 or 2")),
        };
        Ok(Self { level, kind })
    }
}

impl RatchetTree {
    /// Gives the records of all subtrees whose hashes are not `known`, each before those below it. What is below a
    /// known one is known.
    pub(crate) fn records(
        &self,
        suite: &Suite,
        known: &dyn Fn(&[u8]) -> bool,
        out: &mut dyn FnMut(TreeRecord<'_>),
    ) {
        give_records(&self.root, suite, known, out);
    }
}

fn give_records(
    subtree: &Subtree,
    suite: &Suite,
    known: &dyn Fn(&[u8]) -> bool,
    out: &mut dyn FnMut(TreeRecord<'_>),
) {
    let hash = subtree.hash(suite);
    if known(hash) {
        return;
    }
    let mut bytes = vec![subtree.index().level() as u8];
    match subtree.content() {
        Content::Blank => {
            bytes.push(0);
            out(TreeRecord { hash, bytes });
        }
        Content::Leaf(leaf) => {
            bytes.push(1);
            leaf.encode(&mut bytes);
            out(TreeRecord { hash, bytes });
        }
        Content::Parent { node, children: [left, right] } => {
            bytes.push(2);
            encode_optional(node.as_ref(), &mut bytes);
            left.hash(suite).encode(&mut bytes);
            right.hash(suite).encode(&mut bytes);
            out(TreeRecord { hash, bytes });
            give_records(left, suite, known, out);
            give_records(right, suite, known, out);
        }
    }
}

/// Reads trees back. Trees that are read by one loader share what they have in common.
#[derive(Default)]
pub(crate) struct TreeLoader {
    subtrees: BTreeMap<Vec<u8>, Arc<Subtree>>,
    last: Option<RatchetTree>,
}

impl TreeLoader {
    /// The tree with this tree hash. A record that does not fit its hash is refused.
    pub(crate) fn load(
        &mut self,
        suite: &Suite,
        root_hash: &[u8],
        get: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<RatchetTree, RecordsError> {
        let mut loading = Loading { suite, get, known: &self.subtrees, loaded: Vec::new(), neighbour: None };
        let root = loading.root(root_hash)?;
        // A large blank subtree takes as many hashes as it has nodes. By now the leaves have proved the tree's depth.
        let loaded = loading.loaded;
        for (hash, subtree) in &loaded {
            if subtree.is_blank() && subtree.hash(suite) != hash {
                return Err(RecordsError::Inconsistent(TREE_NODE));
            }
        }
        self.subtrees.extend(loaded);
        let tree = match &self.last {
            Some(last) => last.successor(root),
            None => RatchetTree::from_root(root),
        };
        self.last = Some(tree.clone());
        Ok(tree)
    }
}

struct Loading<'a> {
    suite: &'a Suite,
    get: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
    known: &'a BTreeMap<Vec<u8>, Arc<Subtree>>,
    loaded: Vec<(Vec<u8>, Arc<Subtree>)>,
    neighbour: Option<Arc<CredentialSummary>>,
}

impl Loading<'_> {
    /// The root: its record says how deep the tree is.
    fn root(&mut self, hash: &[u8]) -> Result<Arc<Subtree>, RecordsError> {
        if let Some(subtree) = self.known.get(hash) {
            return Ok(Arc::clone(subtree));
        }
        let record = self.record(hash)?;
        let size = 1_u32.checked_shl(record.level.into()).and_then(TreeSize::with_room_for);
        let size = size.ok_or(RecordsError::Inconsistent(TREE_NODE))?;
        if matches!(record.kind, Kind::Blank) && size.leaves() > 1 {
            return Err(RecordsError::Inconsistent(TREE_NODE));
        }
        self.subtree(hash, record, size.root())
    }

    fn child(&mut self, hash: &[u8], index: NodeIndex) -> Result<Arc<Subtree>, RecordsError> {
        match self.known.get(hash) {
            Some(subtree) if subtree.index() == index => Ok(Arc::clone(subtree)),
            Some(_) => Err(RecordsError::Inconsistent(TREE_NODE)),
            None => {
                let record = self.record(hash)?;
                self.subtree(hash, record, index)
            }
        }
    }

    fn record(&self, hash: &[u8]) -> Result<Record, RecordsError> {
        let bytes = (self.get)(hash).ok_or(RecordsError::Missing(TREE_NODE))?;
        Record::from_bytes(&bytes).map_err(|e| RecordsError::Malformed(TREE_NODE, e))
    }

    fn subtree(
        &mut self,
        hash: &[u8],
        record: Record,
        index: NodeIndex,
    ) -> Result<Arc<Subtree>, RecordsError> {
        let (first, _) = index.span();
        let fits = u32::from(record.level) == index.level();
        let subtree = match (record.kind, index.left(), index.right()) {
            (Kind::Blank, ..) if fits => Subtree::blank(index),
            (Kind::Leaf(leaf), None, None)
                if fits && hash_of_leaf(self.suite, first, Some(&leaf)) == hash =>
            {
                let subtree = Subtree::leaf(first, leaf, self.neighbour.as_ref());
                self.neighbour = subtree.credentials().cloned();
                subtree
            }
            (Kind::Parent { node, left, right }, Some(left_index), Some(right_index))
                if fits && hash_of_parent(self.suite, node.as_ref(), &left, &right) == hash =>
            {
                let left = self.child(&left, left_index)?;
                Subtree::parent(index, node, left, self.child(&right, right_index)?)
            }
            _ => return Err(RecordsError::Inconsistent(TREE_NODE)),
        };
        if !subtree.is_blank() {
            // Verified above, so it need not be computed again.
            let _ = subtree.hash.set(hash.into());
        }
        self.loaded.push((hash.to_vec(), Arc::clone(&subtree)));
        Ok(subtree)
    }
}
