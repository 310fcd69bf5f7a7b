//! A group in storage: what its records look like, and how it comes back.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::config::Config;
use crate::crypto::{ProposalRef, Secret, Suite, to_secret_bytes};
use crate::epoch::{CommitSummary, Epoch, KnownCommit, StoredEpoch, StoredProposal};
use crate::error::{Error, RecordsError, Unsupported};
use crate::fork_choice::ForkChoice;
use crate::forks::{Edge, Vertex};
use crate::key_schedule::{ChildInput, CommitId, EpochId, KeySchedule, NextInit, ResumptionPsk};
use crate::registry::CipherSuite;
use crate::secret_tree::SecretTree;
use crate::time::Time;
use crate::tree::TreeLoader;

use super::branch::PendingCommit;
use super::changes::{Changes, Key, Kind, open_record};
use super::effect::{Writer, write_epoch, write_vertex};
use super::graph::{Graph, Node, State};
use super::held::{HeldMessage, HeldMessages};
use super::removal::Removal;
use super::tree_store::TreeStore;
use super::{Group, GroupState, Joining, Network};

/// The format of all records; a later one will say how it reads this one.
pub(crate) const FORMAT: u16 = 3;

/// The record of the group itself, after its format.
struct GroupRecord {
    cipher_suite: CipherSuite,
    is_dmls: bool,
    group_id: Vec<u8>,
    state: GroupState,
}

wire_struct!(GroupRecord { cipher_suite, is_dmls, group_id, state });
wire_struct!(GroupState { head, network, joining, successor_of });
wire_struct!(Joining { commit, message, summary });

impl Encode for Network {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self == Self::Split).encode(out);
    }
}

impl Decode for Network {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(r)? { Self::Split } else { Self::Whole })
    }
}

wire_struct!(Edge { commit, tag, committer, removes });
wire_struct!(Removal { parent, edge, stands });

/// How many commits of each committer count; all of them if only the highest does.
impl Encode for ForkChoice {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::HighestConfirmationTag => 0_u16.encode(out),
            Self::RemovalsFirst { of_each } => of_each.encode(out),
        }
    }
}

impl Decode for ForkChoice {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u16::decode(r)? {
            0 => Self::HighestConfirmationTag,
            of_each => Self::RemovalsFirst { of_each },
        })
    }
}

/// Everything of an epoch's place in the graph.
struct VertexRecord {
    parent: Option<EpochId>,
    number: u64,
    edge: Edge,
    choice: ForkChoice,
    commit: Option<KnownCommit>,
    made: Time,
    left: Option<Time>,
}

wire_struct!(VertexRecord { parent, number, edge, choice, commit, made, left });

/// A pending commit: its epoch has records of its own.
struct PendingRecord {
    message: Vec<u8>,
    authenticated_data: Vec<u8>,
    welcome: Option<Vec<u8>>,
    parent: Option<EpochId>,
    edge: Edge,
    commit: CommitSummary,
    made: u64,
    input: Option<ChildInput>,
    references: Vec<ProposalRef>,
    given_up: bool,
    id: EpochId,
}

wire_struct!(PendingRecord {
    message,
    authenticated_data,
    welcome,
    parent,
    edge,
    commit,
    made,
    input,
    references,
    given_up,
    id,
});

impl Vertex<EpochId, Node> {
    pub(super) fn record(&self, left: Option<Time>) -> Vec<u8> {
        let (number, choice, made) = (self.number, self.choice, self.value.made);
        let (parent, edge, commit) = (self.parent.clone(), self.edge.clone(), self.value.commit.clone());
        VertexRecord { parent, number, edge, choice, commit, made, left }.to_bytes()
    }
}

impl VertexRecord {
    fn into_vertex(self, state: State, resumption: Option<ResumptionPsk>) -> Vertex<EpochId, Node> {
        let node = Node { commit: self.commit, made: self.made, left: self.left, state, resumption };
        Vertex::new(self.parent, self.number, self.edge, self.choice, node)
    }
}

impl Removal {
    pub(super) fn record(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl PendingCommit {
    pub(super) fn record(&self, given_up: bool) -> Zeroizing<Vec<u8>> {
        let record = PendingRecord {
            message: self.message.clone(),
            authenticated_data: self.authenticated_data.clone(),
            welcome: self.welcome.clone(),
            parent: self.parent.clone(),
            edge: self.edge.clone(),
            commit: self.commit.clone(),
            made: self.made.0,
            input: self.input.as_ref().map(ChildInput::duplicate),
            references: self.references.clone(),
            given_up,
            id: self.epoch.id.clone(),
        };
        to_secret_bytes(&[&record])
    }

    /// The records that it lacks as an epoch of the graph.
    pub(super) fn write_node(&self, changes: &mut Changes) {
        let (id, context) = (&self.epoch.id, self.epoch.context());
        let record = VertexRecord {
            parent: self.parent.clone(),
            number: context.epoch,
            edge: self.edge.clone(),
            choice: super::branch::choice_in(self.epoch.public()),
            commit: Some(self.commit.known()),
            made: self.made,
            left: None,
        };
        changes.put(Key::Node(id), record.to_bytes());
        changes.put(Key::Resumption(id), self.epoch.secrets.resumption_psk.record());
    }
}

impl ResumptionPsk {
    pub(super) fn record(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.as_bytes().to_vec())
    }
}

/// All records, opened.
pub(crate) struct Records<'a>(BTreeMap<&'a [u8], &'a [u8]>);

impl<'a> Records<'a> {
    /// Refuses records that were damaged, and kinds that this version does not know.
    pub(crate) fn new(stored: &'a BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, RecordsError> {
        let open = |(key, value): (&'a Vec<u8>, &'a Vec<u8>)| Ok((&key[..], open_record(key, value)?));
        stored.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Every record belongs to something: one that is not in the snapshot of what was loaded is what is left of something
    /// that is missing.
    pub(crate) fn check_all_in(&self, snapshot: &Changes) -> Result<(), RecordsError> {
        // Both in the order of their keys; a snapshot deletes nothing.
        if !snapshot.iter().map(|(key, _)| key).eq(self.0.keys().copied()) {
            return Err(RecordsError::Inconsistent("a record that nothing refers to"));
        }
        Ok(())
    }

    /// The rest of each key of a kind, with the value.
    fn with_prefix(&self, prefix: Vec<u8>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let length = prefix.len();
        let last = prefix.clone();
        self.0
            .range::<[u8], _>((std::ops::Bound::Included(&prefix[..]), std::ops::Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(&last))
            .map(move |(key, value)| (&key[length..], *value))
            .collect::<Vec<_>>()
            .into_iter()
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.with_prefix(vec![kind.letter()])
    }

    pub(crate) fn get(&self, key: Key<'_>) -> Option<&'a [u8]> {
        self.0.get(&key.to_bytes()[..]).copied()
    }

    /// The record that begins with the format of all.
    pub(crate) fn formatted<T: Decode>(&self, key: Key<'_>, what: &'static str) -> Result<T, RecordsError> {
        let bytes = self.get(key).ok_or(RecordsError::Missing(what))?;
        let (format, rest) = bytes.split_at_checked(2).ok_or(RecordsError::Damaged(what))?;
        let format = u16::from_be_bytes([format[0], format[1]]);
        if format != FORMAT {
            return Err(RecordsError::Format(format));
        }
        decode_record(what, rest)
    }
}

/// A record's value.
pub(crate) fn decode_record<T: Decode>(what: &'static str, bytes: &[u8]) -> Result<T, RecordsError> {
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
    fn graph(&mut self, head: &EpochId) -> Result<Graph, Error> {
        let mut vertices = BTreeMap::new();
        for (id, bytes) in self.records.of_kind(Kind::Node).collect::<Vec<_>>() {
            let id = EpochId::from(id);
            let state = self.state(&id)?;
            let resumption = self.records.get(Key::Resumption(&id));
            let resumption = resumption.map(|psk| ResumptionPsk(Secret::new(psk.to_vec())));
            let record: VertexRecord = decode_record("an epoch of the graph", bytes)?;
            vertices.insert(id, record.into_vertex(state, resumption));
        }
        let (head, first) = vertices.remove_entry(head).ok_or(RecordsError::Missing("the head"))?;
        if first.value.full().is_none() {
            return Err(RecordsError::Missing("the head's state").into());
        }
        let mut graph = Graph::new(head.clone(), first);
        // Parents first, so that no way is walked twice.
        let mut rest: Vec<_> = vertices.into_iter().collect();
        rest.sort_by_key(|(_, vertex)| vertex.number);
        for (id, vertex) in rest {
            graph.insert(id, vertex);
        }
        graph.change(|forks| forks.begin_at(&head));
        Ok(graph)
    }

    fn pending(&mut self) -> Result<BTreeMap<CommitId, PendingCommit>, Error> {
        let mut pending = BTreeMap::new();
        for (commit, bytes) in self.records.of_kind(Kind::Pending).collect::<Vec<_>>() {
            let record: PendingRecord = decode_record("a pending commit", bytes)?;
            let State::Full(epoch) = self.state(&record.id)? else {
                return Err(RecordsError::Missing("the epoch of a pending commit").into());
            };
            let stored = PendingCommit {
                message: record.message,
                authenticated_data: record.authenticated_data,
                welcome: record.welcome,
                parent: record.parent,
                edge: record.edge,
                commit: record.commit,
                made: Time(record.made),
                input: record.input,
                references: record.references,
                given_up: record.given_up,
                epoch,
            };
            pending.insert(CommitId::from(commit), stored);
        }
        Ok(pending)
    }

    fn by_commit<T>(
        &self,
        kind: Kind,
        read: impl Fn(&[u8]) -> Result<T, RecordsError>,
    ) -> Result<BTreeMap<CommitId, T>, RecordsError> {
        let records = self.records.of_kind(kind);
        records.map(|(commit, bytes)| Ok((CommitId::from(commit), read(bytes)?))).collect()
    }

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
        stored
            .map(|(reference, bytes)| {
                Ok((reference.into(), StoredProposal::from_record(&self.suite, bytes)?))
            })
            .collect()
    }
}

impl Group {
    pub(super) fn record(&self, state: &GroupState) -> Vec<u8> {
        let mut out = FORMAT.to_bytes();
        let record = GroupRecord {
            cipher_suite: self.suite.code(),
            is_dmls: self.config.schedule == KeySchedule::Dmls,
            group_id: self.group_id.clone(),
            state: state.clone(),
        };
        record.encode(&mut out);
        out
    }

    /// Everything, as changes to an empty map: for a copy, or to compare.
    pub fn snapshot(&self) -> Changes {
        self.write_all().changes
    }

    /// All records, and how often they use each tree node.
    pub(super) fn write_all(&self) -> Writer {
        let mut out = Writer::new();
        let stored = TreeStore::default();
        for (id, vertex) in self.graph.forks().iter() {
            write_vertex(self, &stored, id, vertex, &mut out);
        }
        for (commit, pending) in &self.pending {
            out.changes.put(Key::Pending(commit), pending.record(pending.given_up));
            write_epoch(self, &stored, &pending.epoch, &mut out);
        }
        let changes = &mut out.changes;
        self.welcomes.iter().for_each(|(commit, welcome)| changes.put(Key::Welcome(commit), welcome.clone()));
        self.removals
            .iter()
            .for_each(|(commit, removal)| changes.put(Key::Removal(commit), removal.record()));
        let forks = self.graph.forks();
        forks.finals().iter().for_each(|commit| changes.put(Key::Final(commit), Vec::new()));
        forks.blocked().iter().for_each(|commit| changes.put(Key::Blocked(commit), Vec::new()));
        self.flushed.iter().for_each(|commit| changes.put(Key::Flushed(commit), Vec::new()));
        self.held.iter().for_each(|(order, held)| changes.put(Key::Held(order), held.to_bytes()));
        changes.put(Key::Group, self.record(&self.state));
        out
    }

    /// Comes back from storage: all records that all changes of this group left behind.
    ///
    /// Records that were changed are refused, each by its checksum; and records that don't fit together: where one is missing that
    /// others refer to - the group, an epoch that can be read, its init secret, secret tree, ratchet tree, a pending commit - or
    /// one is left over. To keep the rest, as it was written last, is the store's task. What is not noticed:
    ///
    /// - A proposal, a resumption_psk, a Welcome, a removal, a held message, what the delivery service said (`p`, `s`, `w`, `x`, `h`,
    ///   `f`, `b`, `y`) and an epoch of which only the name is left (`n`) stand for themselves: it is as if they had never come.
    /// - An epoch of another group of which only the name is left is taken for one that led here once.
    /// - An older value of a record, or older records altogether: a count or a digest would be as old as they are. Whoever sends then
    ///   uses a key again. An own message that comes back shows it: [`Outcome::RolledBack`](crate::Outcome::RolledBack).
    pub fn load(records: &BTreeMap<Vec<u8>, Vec<u8>>, config: Config) -> Result<Self, Error> {
        let records = Records::new(records)?;
        let group: GroupRecord = records.formatted(Key::Group, "the group")?;
        if group.is_dmls != (config.schedule == KeySchedule::Dmls) {
            return Err(RecordsError::Schedule.into());
        }
        let code = group.cipher_suite;
        let suite = config.provider.suite(code).ok_or(Unsupported::CipherSuite(code))?;
        let mut loader = Loader { suite, records, trees: TreeLoader::default(), schedule: config.schedule };
        let graph = loader.graph(&group.state.head)?;
        let pending = loader.pending()?;
        let mut loaded = Self {
            suite,
            config,
            group_id: group.group_id,
            graph,
            state: group.state,
            pending,
            welcomes: loader.by_commit(Kind::Welcome, |bytes| Ok(bytes.to_vec()))?,
            removals: loader.by_commit(Kind::Removal, |bytes| decode_record("a removal", bytes))?,
            flushed: loader.by_commit(Kind::Flushed, |_| Ok(()))?.into_keys().collect(),
            held: HeldMessages::default(),
            trees: TreeStore::default(),
            heard: None,
        };
        for (order, bytes) in loader.records.of_kind(Kind::Held) {
            let order = order.try_into().map_err(|_| RecordsError::Damaged("a held message"))?;
            loaded
                .held
                .insert(u64::from_be_bytes(order), decode_record::<HeldMessage>("a held message", bytes)?);
        }
        loaded.wake_all();
        loaded.say_again(&loader.records)?;
        let all = loaded.write_all();
        loaded.trees.apply(all.uses);
        loader.records.check_all_in(&all.changes)?;
        let head = loaded.state.head.clone();
        loaded.track(&head);
        Ok(loaded)
    }

    fn wake_all(&mut self) {
        let waits: BTreeSet<_> = self.held.iter().map(|(_, held)| held.waits_for.clone()).collect();
        for waits_for in waits {
            if self.wait_is_over(&waits_for) {
                self.held.wake(&waits_for);
            }
        }
    }

    /// What the delivery service and the caller had said of commits.
    fn say_again(&mut self, records: &Records<'_>) -> Result<(), RecordsError> {
        let commits = |kind| records.of_kind(kind).map(|(commit, _)| CommitId::from(commit));
        let standing = self.removals.values().filter(|removal| removal.stands);
        let standing: Vec<_> =
            standing.map(|removal| (removal.parent.clone(), removal.edge.clone())).collect();
        self.graph.change(|forks| {
            commits(Kind::Final).for_each(|commit| forks.finalize(&commit));
            commits(Kind::Blocked).for_each(|commit| forks.block(&commit));
            standing.into_iter().for_each(|(parent, edge)| forks.add_dead_end(&parent, edge));
        });
        Ok(())
    }
}
