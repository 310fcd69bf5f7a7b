//! A group in storage: what its nodes look like, and how it comes back.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError, wire_struct};
use crate::config::Config;
use crate::crypto::{ProposalRef, Suite, Tag, to_secret_bytes};
use crate::epoch::{Epoch, StoredEpoch, StoredProposal};
use crate::error::{Error, RecordsError, Rule, Unsupported};
use crate::key_schedule::{EpochId, KeySchedule, NextInit, ResumptionPsk};
use crate::registry::CipherSuite;
use crate::secret_tree::SecretTree;
use crate::tree::TreeLoader;

use super::changes::Key;
use super::held::{HeldMessage, HeldMessages};
use super::step::Plan;
use super::tree_store::{TreeStore, TreeUses};
use super::{Changes, CommitId, Graph, Group, Node, PendingCommit, State};

/// The format of all records; a later one will say how it reads this one.
const FORMAT: u16 = 1;

/// The record of the group itself.
struct GroupRecord {
    format: u16,
    cipher_suite: CipherSuite,
    is_dmls: bool,
    group_id: Vec<u8>,
    head: EpochId,
}

wire_struct!(GroupRecord { format, cipher_suite, is_dmls, group_id, head });

/// Everything of a node but its state.
struct NodeRecord {
    parent: Option<EpochId>,
    number: u64,
    tag: Tag,
    commit: Option<CommitRecord>,
    resumption: Option<ResumptionPsk>,
    removals: Vec<RemovalRecord>,
}

wire_struct!(NodeRecord { parent, number, tag, commit, resumption, removals });

struct CommitRecord {
    id: CommitId,
    summary: crate::epoch::CommitSummary,
}

wire_struct!(CommitRecord { id, summary });

struct RemovalRecord {
    commit: CommitId,
    tag: Tag,
}

wire_struct!(RemovalRecord { commit, tag });

/// A pending commit: its epoch has records of its own, its node is here.
struct PendingRecord {
    message: Vec<u8>,
    welcome: Option<Vec<u8>>,
    id: EpochId,
    node: NodeRecord,
}

wire_struct!(PendingRecord { message, welcome, id, node });

impl Node {
    fn to_record(&self) -> NodeRecord {
        NodeRecord {
            parent: self.parent.clone(),
            number: self.number,
            tag: self.tag.clone(),
            commit: self.commit.clone().map(|(id, summary)| CommitRecord { id, summary }),
            resumption: self.resumption.as_ref().map(|psk| ResumptionPsk(psk.0.duplicate())),
            removals: self
                .removals
                .iter()
                .map(|(commit, tag)| RemovalRecord { commit: commit.clone(), tag: tag.clone() })
                .collect(),
        }
    }

    fn from_record(record: NodeRecord, state: State) -> Self {
        Self {
            parent: record.parent,
            number: record.number,
            tag: record.tag,
            commit: record.commit.map(|commit| (commit.id, commit.summary)),
            state,
            resumption: record.resumption,
            removals: record.removals.into_iter().map(|removal| (removal.commit, removal.tag)).collect(),
        }
    }

    pub(super) fn record(&self) -> Zeroizing<Vec<u8>> {
        to_secret_bytes(&[&self.to_record()])
    }

    pub(super) fn record_with_removal(&self, commit: &CommitId, tag: &Tag) -> Zeroizing<Vec<u8>> {
        let mut record = self.to_record();
        record.removals.push(RemovalRecord { commit: commit.clone(), tag: tag.clone() });
        record.removals.sort_by(|one, other| one.commit.cmp(&other.commit));
        to_secret_bytes(&[&record])
    }

    pub(super) fn record_without_resumption(&self) -> Zeroizing<Vec<u8>> {
        to_secret_bytes(&[&NodeRecord { resumption: None, ..self.to_record() }])
    }

    /// The node of an epoch that is deleted before it begins.
    pub(super) fn without_state(&self) -> Self {
        Self::from_record(NodeRecord { resumption: None, ..self.to_record() }, State::Known)
    }
}

impl PendingCommit {
    pub(super) fn record(&self) -> Zeroizing<Vec<u8>> {
        let record = PendingRecord {
            message: self.message.clone(),
            welcome: self.welcome.clone(),
            id: self.id.clone(),
            node: self.node.to_record(),
        };
        to_secret_bytes(&[&record])
    }
}

/// All records, by kind.
struct Records<'a>(&'a BTreeMap<Vec<u8>, Vec<u8>>);

impl<'a> Records<'a> {
    /// The rest of each key of a kind, with the value.
    fn with_prefix(&self, prefix: Vec<u8>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let length = prefix.len();
        self.0
            .range(prefix.clone()..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(move |(key, value)| (&key[length..], &value[..]))
    }

    fn get(&self, key: Key<'_>) -> Option<&'a [u8]> {
        self.0.get(&key.to_bytes()).map(|value| &value[..])
    }
}

fn decode<T: Decode>(what: &'static str, bytes: &[u8]) -> Result<T, RecordsError> {
    T::from_bytes(bytes).map_err(|e| RecordsError::Malformed(what, e))
}

/// Reads epochs; trees share their nodes.
struct Loader<'a> {
    suite: Suite,
    records: Records<'a>,
    trees: TreeLoader,
    schedule: KeySchedule,
}

impl Loader<'_> {
    fn state(&mut self, id: &EpochId) -> Result<State, Error> {
        let Some(bytes) = self.records.get(Key::Epoch(id)) else { return Ok(State::Known) };
        let stored = StoredEpoch::from_record(bytes)?;
        let (suite, records) = (self.suite, &self.records);
        let get = |hash: &[u8]| records.get(Key::Tree(hash)).map(<[u8]>::to_vec);
        let tree = self.trees.load(&suite, &stored.context.tree_hash, &get)?;
        let messages = self.messages(id, tree.size().leaves())?;
        let (reading, processing) = stored.into_reading(suite, tree, messages);
        let Some(processing) = processing else { return Ok(State::Readable(Box::new(reading))) };
        let init = self.records.with_prefix([b"i", id.as_bytes()].concat());
        let next_init = NextInit::from_records(&suite, self.schedule, init)
            .map_err(|e| RecordsError::Malformed("an epoch's init secret", e))?;
        let proposals = self.proposals(id)?;
        let epoch: Epoch = processing.into_epoch(id.clone(), reading, next_init, proposals)?;
        Ok(State::Full(Box::new(epoch)))
    }

    fn messages(&self, id: &EpochId, leaves: u32) -> Result<SecretTree, RecordsError> {
        const WHAT: &str = "a secret tree";
        let mut places = Vec::new();
        for (place, bytes) in self.records.with_prefix([b"r", id.as_bytes()].concat()) {
            let expected = DecodeError::at(0, "a place in the secret tree");
            let place = Key::ratchet_place(place).ok_or(RecordsError::Malformed(WHAT, expected))?;
            places.push((place, bytes));
        }
        SecretTree::from_records(leaves, places).map_err(|e| RecordsError::Malformed(WHAT, e))
    }

    fn proposals(&self, id: &EpochId) -> Result<BTreeMap<ProposalRef, StoredProposal>, RecordsError> {
        let stored = self.records.with_prefix([b"p", id.as_bytes()].concat());
        stored.map(|(reference, bytes)| Ok((reference.into(), StoredProposal::from_record(bytes)?))).collect()
    }
}

impl Group {
    pub(super) fn record(&self, head: &EpochId) -> Zeroizing<Vec<u8>> {
        let record = GroupRecord {
            format: FORMAT,
            cipher_suite: self.suite.code(),
            is_dmls: self.config.schedule == KeySchedule::Dmls,
            group_id: self.group_id.clone(),
            head: head.clone(),
        };
        to_secret_bytes(&[&record])
    }

    /// Everything, as changes to an empty map: for a copy, or to compare.
    pub fn snapshot(&self) -> Changes {
        let mut plan = Plan::default();
        let empty = TreeStore::default();
        plan.everything(self, &empty);
        plan.into_parts().0
    }

    /// Comes back from storage: all records that all changes of this group left behind.
    pub fn load(records: &BTreeMap<Vec<u8>, Vec<u8>>, config: Config) -> Result<Self, Error> {
        let records = Records(records);
        let bytes = records.get(Key::Group).ok_or(RecordsError::Missing("the group"))?;
        let group: GroupRecord = decode("the group", bytes)?;
        if group.format != FORMAT {
            return Err(RecordsError::Inconsistent("the format of a later version").into());
        }
        if group.is_dmls != (config.schedule == KeySchedule::Dmls) {
            return Err(Rule::KeySchedule.into());
        }
        let code = group.cipher_suite;
        let suite = config.provider.suite(code).ok_or(Unsupported::CipherSuite(code))?;
        let mut loader = Loader { suite, records, trees: TreeLoader::default(), schedule: config.schedule };

        let mut nodes = BTreeMap::new();
        for (id, bytes) in loader.records.with_prefix(vec![b'n']).collect::<Vec<_>>() {
            let id = EpochId::from(id);
            let state = loader.state(&id)?;
            nodes.insert(id, Node::from_record(decode("a node of the graph", bytes)?, state));
        }
        let mut pending = BTreeMap::new();
        for (commit, bytes) in loader.records.with_prefix(vec![b'o']).collect::<Vec<_>>() {
            let record: PendingRecord = decode("a pending commit", bytes)?;
            let state = loader.state(&record.id)?;
            if !matches!(state, State::Full(_)) {
                return Err(RecordsError::Missing("the epoch of a pending commit").into());
            }
            let node = Node::from_record(record.node, state);
            let stored =
                PendingCommit { message: record.message, welcome: record.welcome, id: record.id, node };
            pending.insert(CommitId::from(commit), stored);
        }
        let mut held = HeldMessages::default();
        for (hash, bytes) in loader.records.with_prefix(vec![b'h']) {
            held.insert(hash.to_vec(), decode::<HeldMessage>("a held message", bytes)?);
        }
        let graph = Graph::from_nodes(nodes, group.head).ok_or(RecordsError::Missing("the head"))?;
        let mut loaded = Self {
            suite,
            config,
            group_id: group.group_id,
            graph,
            pending,
            held,
            trees: TreeStore::default(),
        };
        loaded.count_trees();
        Ok(loaded)
    }

    /// Counts how often each stored tree node is used.
    fn count_trees(&mut self) {
        let mut uses = TreeUses::default();
        let mut ignored = Changes::default();
        let pending = self.pending.values().map(|pending| &pending.node);
        for node in self.graph.nodes().map(|(_, node)| node).chain(pending) {
            if let Some(public) = node.public() {
                self.trees.retain(&self.suite, &public.tree, &mut uses, &mut ignored);
            }
        }
        self.trees.apply(uses);
    }
}
