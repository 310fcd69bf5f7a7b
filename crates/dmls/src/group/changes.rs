//! What a step writes: records by key, for any store that can write several at once.
//!
//! The keys of one group, in a map of its own or behind a prefix:
//!
//! ```text
//! g                       format, suite, key schedule, group id, head, network, where we came from
//! n epoch                 an epoch of the graph: parent, number, commit
//! s epoch                 its resumption_psk
//! e epoch                 its fixed part              i epoch place   what its children start from
//! r epoch place           its secret tree             p epoch reference   a stored proposal
//! o commit                an own commit that is not confirmed
//! w commit                its Welcome, once it is confirmed and until it was sent
//! x commit                a commit that removes us
//! f commit, b commit      the delivery service says: final, blocked
//! y commit                and: all that was sent before it is delivered, though it is not here or not final yet
//! h order                 a held message
//! t hash                  a node of a ratchet tree, shared by all epochs that have it
//!
//! An observer's ([`crate::PublicGroup`]) has f, b and t like a group, and:
//!
//! u                       format, suite, key schedule, group id
//! c commit                an epoch: parent, context, commit
//! ```

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::ProposalRef;
use crate::error::RecordsError;
use crate::key_schedule::{CommitId, EpochId};
use crate::secret_tree;
use crate::tree::{LeafIndex, NodeIndex};

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
        let key = key.to_bytes();
        let value = close_record(&key, &value.into());
        self.records.insert(key, Some(value));
    }

    pub(crate) fn delete(&mut self, key: Key<'_>) {
        self.records.insert(key.to_bytes(), None);
    }

    /// Deletes what this very step was about to write of a kind of an epoch's records.
    pub(crate) fn delete_all(&mut self, kind: Kind, id: &EpochId) {
        let prefix = [&[kind.letter()], id.as_bytes()].concat();
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

/// How many bytes at the end of a record say that it is whole.
const CHECKSUM: usize = 4;

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

/// A value with a checksum over it and its key: against accidents, not against attackers.
pub(crate) fn close_record(key: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut record = Zeroizing::new(Vec::with_capacity(value.len() + CHECKSUM));
    record.extend_from_slice(value);
    record.extend_from_slice(&checksum(key, value));
    record
}

/// The value of a record, if it is whole and of a kind that this version knows.
pub(crate) fn open_record<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], RecordsError> {
    let kind = key.first().and_then(|letter| Kind::ALL.iter().find(|kind| kind.letter() == *letter));
    let kind = kind.ok_or(RecordsError::Damaged("a record of no known kind"))?;
    let length = record.len().checked_sub(CHECKSUM).ok_or(RecordsError::Damaged(kind.name()))?;
    let (value, claimed) = record.split_at(length);
    if claimed == checksum(key, value) { Ok(value) } else { Err(RecordsError::Damaged(kind.name())) }
}

/// Kinds of records, each with the letter that their keys begin with, and a name for people.
macro_rules! kinds {
    ($($kind:ident $letter:literal $name:literal;)*) => {
        /// The kind of a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        impl Kind {
            const ALL: &'static [Self] = &[$(Self::$kind,)*];

            pub(crate) fn letter(self) -> u8 {
                match self { $(Self::$kind => $letter,)* }
            }

            fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    Group b'g' "the group";
    Node b'n' "an epoch of the graph";
    Resumption b's' "a resumption_psk";
    Epoch b'e' "an epoch";
    Init b'i' "an epoch's init secret";
    Ratchet b'r' "a secret tree";
    Proposal b'p' "a proposal";
    Pending b'o' "a pending commit";
    Welcome b'w' "a Welcome";
    Removal b'x' "a removal";
    Final b'f' "a final commit";
    Blocked b'b' "a blocked commit";
    Flushed b'y' "a flushed commit";
    Held b'h' "a held message";
    Tree b't' "a tree node";
    PublicGroup b'u' "an observed group";
    PublicEpoch b'c' "an observed epoch";
}

/// The key of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key<'a> {
    Group,
    Node(&'a EpochId),
    Resumption(&'a EpochId),
    Epoch(&'a EpochId),
    Init(&'a EpochId, &'a [u8]),
    Ratchet(&'a EpochId, secret_tree::RecordKey),
    Proposal(&'a EpochId, &'a ProposalRef),
    Pending(&'a CommitId),
    Welcome(&'a CommitId),
    Removal(&'a CommitId),
    Final(&'a CommitId),
    Blocked(&'a CommitId),
    Flushed(&'a CommitId),
    Held(u64),
    Tree(&'a [u8]),
    PublicGroup,
    PublicEpoch(&'a CommitId),
}

impl Key<'_> {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        use secret_tree::{RatchetKind, RecordKey};
        let join = |kind: Kind, parts: &[&[u8]]| {
            let mut key = vec![kind.letter()];
            parts.iter().for_each(|part| key.extend_from_slice(part));
            key
        };
        match self {
            Self::Group => join(Kind::Group, &[]),
            Self::Node(id) => join(Kind::Node, &[id.as_bytes()]),
            Self::Resumption(id) => join(Kind::Resumption, &[id.as_bytes()]),
            Self::Epoch(id) => join(Kind::Epoch, &[id.as_bytes()]),
            Self::Init(id, place) => join(Kind::Init, &[id.as_bytes(), place]),
            Self::Ratchet(id, RecordKey::Node(NodeIndex(node))) => {
                join(Kind::Ratchet, &[id.as_bytes(), &[0], &node.to_be_bytes()])
            }
            Self::Ratchet(id, RecordKey::Ratchet(LeafIndex(leaf), kind)) => {
                let kind = match kind {
                    RatchetKind::Handshake => 1,
                    RatchetKind::Application => 2,
                };
                join(Kind::Ratchet, &[id.as_bytes(), &[kind], &leaf.to_be_bytes()])
            }
            Self::Proposal(id, reference) => join(Kind::Proposal, &[id.as_bytes(), reference.as_bytes()]),
            Self::Pending(commit) => join(Kind::Pending, &[commit.as_bytes()]),
            Self::Welcome(commit) => join(Kind::Welcome, &[commit.as_bytes()]),
            Self::Removal(commit) => join(Kind::Removal, &[commit.as_bytes()]),
            Self::Final(commit) => join(Kind::Final, &[commit.as_bytes()]),
            Self::Blocked(commit) => join(Kind::Blocked, &[commit.as_bytes()]),
            Self::Flushed(commit) => join(Kind::Flushed, &[commit.as_bytes()]),
            Self::Held(order) => join(Kind::Held, &[&order.to_be_bytes()]),
            Self::Tree(hash) => join(Kind::Tree, &[hash]),
            Self::PublicGroup => join(Kind::PublicGroup, &[]),
            Self::PublicEpoch(commit) => join(Kind::PublicEpoch, &[commit.as_bytes()]),
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
