//! What a step writes: records by key, for any store that can write several at once.
//!
//! The keys of one group, in a map of its own or behind a prefix:
//!
//! ```text
//! g                       format, suite, schedule, head
//! n epoch                 a node of the graph
//! e epoch                 an epoch's fixed part       i epoch place       what its children start from
//! r epoch place           its secret tree             p epoch reference   a stored proposal
//! o commit                an own commit that is not confirmed
//! h message               a held message
//! t hash                  a node of a ratchet tree, shared by all epochs that have it
//! ```

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::ProposalRef;
use crate::key_schedule::EpochId;
use crate::secret_tree;
use crate::tree::{LeafIndex, NodeIndex};

use super::CommitId;

/// Records to write and to delete, all of them or none. Values are secret.
#[derive(Default)]
pub struct Changes {
    records: BTreeMap<Vec<u8>, Option<Zeroizing<Vec<u8>>>>,
}

impl Changes {
    /// Each key with its new value; `None` deletes it (overwrite it on disk: it may be a key).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.records.iter().map(|(key, value)| (&key[..], value.as_ref().map(|value| &value[..])))
    }

    /// How many records change.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len)).sum()
    }

    /// Writes them into a map, as a store would.
    pub fn replay_into(&self, map: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
        for (key, value) in self.iter() {
            match value {
                Some(value) => map.insert(key.to_vec(), value.to_vec()),
                None => map.remove(key),
            };
        }
    }

    pub(crate) fn put(&mut self, key: Key<'_>, value: impl Into<Zeroizing<Vec<u8>>>) {
        self.records.insert(key.to_bytes(), Some(value.into()));
    }

    pub(crate) fn delete(&mut self, key: Key<'_>) {
        self.records.insert(key.to_bytes(), None);
    }

    /// Deletes what this very step was about to write of an epoch's secret tree (`r`) or PPRF (`i`).
    pub(crate) fn delete_all(&mut self, kind: u8, id: &EpochId) {
        let prefix = [&[kind], id.as_bytes()].concat();
        for (_, value) in
            self.records.range_mut(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix))
        {
            *value = None;
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changes({} records, {} bytes)", self.len(), self.size())
    }
}

/// The key of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key<'a> {
    Group,
    Node(&'a EpochId),
    Epoch(&'a EpochId),
    Init(&'a EpochId, &'a [u8]),
    Ratchet(&'a EpochId, secret_tree::RecordKey),
    Proposal(&'a EpochId, &'a ProposalRef),
    Pending(&'a CommitId),
    Held(&'a [u8]),
    Tree(&'a [u8]),
}

impl Key<'_> {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        use secret_tree::{RatchetKind, RecordKey};
        let join = |tag: u8, parts: &[&[u8]]| {
            let mut key = vec![tag];
            parts.iter().for_each(|part| key.extend_from_slice(part));
            key
        };
        match self {
            Self::Group => vec![b'g'],
            Self::Node(id) => join(b'n', &[id.as_bytes()]),
            Self::Epoch(id) => join(b'e', &[id.as_bytes()]),
            Self::Init(id, place) => join(b'i', &[id.as_bytes(), place]),
            Self::Ratchet(id, RecordKey::Node(NodeIndex(node))) => {
                join(b'r', &[id.as_bytes(), &[0], &node.to_be_bytes()])
            }
            Self::Ratchet(id, RecordKey::Ratchet(LeafIndex(leaf), kind)) => {
                let kind = match kind {
                    RatchetKind::Handshake => 1,
                    RatchetKind::Application => 2,
                };
                join(b'r', &[id.as_bytes(), &[kind], &leaf.to_be_bytes()])
            }
            Self::Proposal(id, reference) => join(b'p', &[id.as_bytes(), reference.as_bytes()]),
            Self::Pending(commit) => join(b'o', &[commit.as_bytes()]),
            Self::Held(message) => join(b'h', &[message]),
            Self::Tree(hash) => join(b't', &[hash]),
        }
    }

    /// The place in the secret tree that a key of an epoch's ratchets names.
    pub(crate) fn ratchet_place(place: &[u8]) -> Option<secret_tree::RecordKey> {
        use secret_tree::{RatchetKind, RecordKey};
        let (kind, index) = place.split_first()?;
        let index = u32::from_be_bytes(index.try_into().ok()?);
        match kind {
            0 => Some(RecordKey::Node(NodeIndex(index))),
            1 => Some(RecordKey::Ratchet(LeafIndex(index), RatchetKind::Handshake)),
            2 => Some(RecordKey::Ratchet(LeafIndex(index), RatchetKind::Application)),
            _ => None,
        }
    }
}
