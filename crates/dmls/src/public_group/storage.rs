//! An observer in storage: what its records look like, and how it comes back.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::codec::{Encode, wire_struct};
use crate::config::Config;
use crate::crypto::Suite;
use crate::epoch::{CommitSummary, PublicEpoch};
use crate::error::{Error, RecordsError, Unsupported};
use crate::forks::{Edge, Forks, Vertex};
use crate::group::{Changes, FORMAT, Key, Kind, Records, TreeStore, TreeUses, decode_record};
use crate::key_schedule::{CommitId, EpochId, GroupContext, KeySchedule};
use crate::registry::CipherSuite;
use crate::tree::TreeLoader;

use super::{PublicGroup, PublicNode};

const GROUP: &str = "an observed group";
const EPOCH: &str = "an observed epoch";

/// The record of the group itself, after its format.
struct GroupRecord {
    cipher_suite: CipherSuite,
    is_dmls: bool,
    group_id: Vec<u8>,
}

wire_struct!(GroupRecord { cipher_suite, is_dmls, group_id });

/// An epoch; its tree is apart, under the tree hash of the context.
struct EpochRecord {
    parent: Option<CommitId>,
    context: GroupContext,
    edge: Edge,
    dmls_epoch: Option<EpochId>,
    summary: Option<CommitSummary>,
    attested: bool,
}

wire_struct!(EpochRecord { parent, context, edge, dmls_epoch, summary, attested });

impl Vertex<CommitId, PublicNode> {
    pub(super) fn record(&self) -> Vec<u8> {
        let PublicNode { epoch, dmls_epoch, summary, attested } = &self.value;
        let record = EpochRecord {
            parent: self.parent.clone(),
            context: epoch.context.clone(),
            edge: self.edge.clone(),
            dmls_epoch: dmls_epoch.clone(),
            summary: summary.clone(),
            attested: *attested,
        };
        record.to_bytes()
    }
}

impl EpochRecord {
    /// Whether it can be of this group, under this key.
    fn fits(&self, key: &[u8], suite: &Suite, group_id: &[u8]) -> bool {
        let is_hash = |bytes: &[u8]| bytes.len() == suite.nh();
        self.edge.commit.as_bytes() == key
            && self.context.group_id == group_id
            && self.context.cipher_suite == suite.code()
            && self.dmls_epoch.as_ref().is_none_or(|name| is_hash(name.as_bytes()))
            && [key, self.edge.tag.as_bytes()].into_iter().all(is_hash)
    }
}

type Vertices = BTreeMap<CommitId, Vertex<CommitId, PublicNode>>;

impl PublicGroup {
    /// Everything, as changes to an empty map: for a copy, or to compare.
    pub fn snapshot(&self) -> Changes {
        self.write_all().0
    }

    /// All records, and how often they use each tree node.
    pub(super) fn write_all(&self) -> (Changes, TreeUses) {
        let (mut changes, mut uses) = (Changes::default(), TreeUses::default());
        let mut record = FORMAT.to_bytes();
        GroupRecord {
            cipher_suite: self.suite.code(),
            is_dmls: self.config.schedule == KeySchedule::Dmls,
            group_id: self.group_id.clone(),
        }
        .encode(&mut record);
        changes.put(Key::PublicGroup, record);
        let stored = TreeStore::default();
        for (commit, vertex) in self.graph.iter() {
            changes.put(Key::PublicEpoch(commit), vertex.record());
            stored.retain(&self.suite, &vertex.value.epoch.tree, &mut uses, &mut changes);
        }
        self.graph.finals().iter().for_each(|commit| changes.put(Key::Final(commit), Vec::new()));
        self.graph.blocked().iter().for_each(|commit| changes.put(Key::Blocked(commit), Vec::new()));
        (changes, uses)
    }

    /// Comes back from storage: all records that all changes of this group left behind.
    pub fn load(records: &BTreeMap<Vec<u8>, Vec<u8>>, config: Config) -> Result<Self, Error> {
        let records = Records::new(records)?;
        let group: GroupRecord = records.formatted(Key::PublicGroup, GROUP)?;
        if group.is_dmls != (config.schedule == KeySchedule::Dmls) {
            return Err(RecordsError::Schedule.into());
        }
        let code = group.cipher_suite;
        let suite = config.provider.suite(code).ok_or(Unsupported::CipherSuite(code))?;
        let mut graph = load_graph(load_vertices(&records, suite, &group.group_id)?)?;
        let said_of = |kind| records.of_kind(kind).map(|(commit, _)| CommitId::from(commit));
        said_of(Kind::Final).for_each(|commit| graph.finalize(&commit));
        said_of(Kind::Blocked).for_each(|commit| graph.block(&commit));
        let mut loaded = Self { suite, config, group_id: group.group_id, graph, trees: TreeStore::default() };
        let (snapshot, uses) = loaded.write_all();
        loaded.trees.apply(uses);
        records.check_all_in(&snapshot)?;
        Ok(loaded)
    }
}

fn load_vertices(records: &Records<'_>, suite: Suite, group_id: &[u8]) -> Result<Vertices, RecordsError> {
    let mut trees = TreeLoader::default();
    let get = |hash: &[u8]| records.get(Key::Tree(hash)).map(<[u8]>::to_vec);
    let mut vertices = Vertices::new();
    for (key, bytes) in records.of_kind(Kind::PublicEpoch) {
        let record: EpochRecord = decode_record(EPOCH, bytes)?;
        if !record.fits(key, &suite, group_id) {
            return Err(RecordsError::Inconsistent(EPOCH));
        }
        let EpochRecord { parent, context, edge, dmls_epoch, summary, attested } = record;
        let tree = trees.load(&suite, &context.tree_hash, &get)?;
        let epoch = PublicEpoch::new(suite, context, tree, edge.tag.clone());
        let node = PublicNode { epoch, dmls_epoch, summary, attested };
        vertices.insert(key.into(), node.into_vertex(parent, edge));
    }
    Ok(vertices)
}

/// Numbers rise along edges, so there are no cycles; only the oldest epoch has no parent here.
fn load_graph(mut vertices: Vertices) -> Result<Forks<CommitId, PublicNode>, RecordsError> {
    let parent = |vertex: &Vertex<CommitId, PublicNode>| vertices.get(vertex.parent.as_ref()?);
    let rises = |vertex: &Vertex<_, _>| parent(vertex).is_none_or(|parent| vertex.follows(parent));
    if !vertices.values().all(rises) {
        return Err(RecordsError::Inconsistent("the numbers of epochs"));
    }
    let mut oldest = vertices.iter().filter(|(_, vertex)| parent(vertex).is_none()).map(|(id, _)| id);
    let (first, another) = (oldest.next().cloned(), oldest.next());
    if another.is_some() {
        return Err(RecordsError::Missing("the parent of an epoch"));
    }
    let first = first.and_then(|first| vertices.remove_entry(&first));
    let (first, vertex) = first.ok_or(RecordsError::Missing(EPOCH))?;
    let mut graph = Forks::new(first, vertex);
    // Parents first, so that no way is walked twice.
    let mut rest: Vec<_> = vertices.into_iter().collect();
    rest.sort_by_key(|(_, vertex)| vertex.number);
    for (id, vertex) in rest {
        graph.insert(id, vertex);
    }
    Ok(graph)
}
