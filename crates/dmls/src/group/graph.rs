//! The epoch graph: nodes are epochs by their ids, edges are commits. `forks.rs` has its shape and the way through it.

use std::collections::BTreeSet;

use crate::epoch::{Epoch, KnownCommit, PublicEpoch, Reading};
use crate::forks::{Forks, Vertex};
use crate::key_schedule::{CommitId, EpochId, ResumptionPsk};
use crate::time::Time;

/// How much of an epoch is left. It only goes down; what goes is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Its name, its parent and what its commit did: enough to recognise it.
    Known,
    /// It can read late messages.
    Readable,
    /// It can process and make commits, read and send messages.
    Full,
}

/// What is left of an epoch.
#[derive(Debug)]
pub(crate) enum State {
    Full(Box<Epoch>),
    Readable(Box<Reading>),
    Known,
}

/// One epoch.
#[derive(Debug)]
pub(crate) struct Node {
    /// What the commit that made it did. Of a joiner's first epoch, and of epoch 0, it is not known.
    pub commit: Option<KnownCommit>,
    /// When it was added here.
    pub made: Time,
    /// Since when it is kept for messages that come late, and for nothing else.
    pub left: Option<Time>,
    pub state: State,
    /// Kept for a while after the epoch is gone (RFC 9420 s8.6).
    pub resumption: Option<ResumptionPsk>,
}

impl Node {
    pub(crate) fn new(commit: Option<KnownCommit>, made: Time, epoch: Box<Epoch>) -> Self {
        let resumption = Some(ResumptionPsk(epoch.secrets.resumption_psk.0.duplicate()));
        Self { commit, made, left: None, state: State::Full(epoch), resumption }
    }

    /// The same without anything secret.
    pub(crate) fn known(commit: Option<KnownCommit>, made: Time) -> Self {
        Self { commit, made, left: None, state: State::Known, resumption: None }
    }

    pub(crate) fn level(&self) -> Level {
        match self.state {
            State::Full(_) => Level::Full,
            State::Readable(_) => Level::Readable,
            State::Known => Level::Known,
        }
    }

    pub(crate) fn full(&self) -> Option<&Epoch> {
        match &self.state {
            State::Full(epoch) => Some(epoch),
            _ => None,
        }
    }

    pub(crate) fn full_mut(&mut self) -> Option<&mut Epoch> {
        match &mut self.state {
            State::Full(epoch) => Some(epoch),
            _ => None,
        }
    }

    /// The public part, while there is one.
    pub(crate) fn public(&self) -> Option<&PublicEpoch> {
        Some(&self.reading()?.public)
    }

    /// What reads messages, while there is something.
    pub(crate) fn reading(&self) -> Option<&Reading> {
        match &self.state {
            State::Full(epoch) => Some(&epoch.reading),
            State::Readable(reading) => Some(reading),
            State::Known => None,
        }
    }

    pub(crate) fn reading_mut(&mut self) -> Option<&mut Reading> {
        match &mut self.state {
            State::Full(epoch) => Some(&mut epoch.reading),
            State::Readable(reading) => Some(reading),
            State::Known => None,
        }
    }

    fn lower(&mut self, level: Level) {
        self.state = match (std::mem::replace(&mut self.state, State::Known), level) {
            (State::Full(epoch), Level::Readable) => State::Readable(Box::new(epoch.reading)),
            (state, Level::Readable) => state,
            _ => State::Known,
        };
    }
}

/// All epochs of a group.
#[derive(Debug)]
pub(crate) struct Graph {
    forks: Forks<EpochId, Node>,
    /// Epochs that can be read or more, on the way and beside it, by number.
    way: BTreeSet<(u64, EpochId)>,
    beside: BTreeSet<(u64, EpochId)>,
    /// Those that are only known, on the way and beside it.
    known: BTreeSet<(u64, EpochId)>,
    lost: BTreeSet<(u64, EpochId)>,
    /// Those whose resumption_psk is kept.
    resumptions: BTreeSet<(u64, EpochId)>,
    /// Those that are kept for late messages, by when they were left.
    late: BTreeSet<(Time, u64, EpochId)>,
}

impl Graph {
    pub(crate) fn new(id: EpochId, vertex: Vertex<EpochId, Node>) -> Self {
        let mut graph = Self {
            forks: Forks::new(id.clone(), vertex),
            way: BTreeSet::new(),
            beside: BTreeSet::new(),
            known: BTreeSet::new(),
            lost: BTreeSet::new(),
            resumptions: BTreeSet::new(),
            late: BTreeSet::new(),
        };
        graph.place(&id);
        graph
    }

    pub(crate) fn forks(&self) -> &Forks<EpochId, Node> {
        &self.forks
    }

    pub(crate) fn vertex(&self, id: &EpochId) -> Option<&Vertex<EpochId, Node>> {
        self.forks.get(id)
    }

    pub(crate) fn node(&self, id: &EpochId) -> Option<&Node> {
        self.forks.get(id).map(|vertex| &vertex.value)
    }

    pub(crate) fn node_mut(&mut self, id: &EpochId) -> Option<&mut Node> {
        self.forks.value_mut(id)
    }

    /// Retained epochs on the way, by number.
    pub(crate) fn way(&self) -> &BTreeSet<(u64, EpochId)> {
        &self.way
    }

    /// Retained epochs that are not on the way, by number.
    pub(crate) fn beside(&self) -> &BTreeSet<(u64, EpochId)> {
        &self.beside
    }

    /// Epochs that can be read or more: those on the way, by number, then those beside it.
    pub(crate) fn retained(&self) -> impl Iterator<Item = &(u64, EpochId)> {
        self.way.iter().chain(&self.beside)
    }

    /// How many these are.
    pub(crate) fn count_retained(&self) -> usize {
        self.way.len() + self.beside.len()
    }

    /// How many epochs are only known.
    pub(crate) fn known(&self) -> usize {
        self.known.len() + self.lost.len()
    }

    /// Epochs beside the way of which only the name is left, by number.
    pub(crate) fn lost(&self) -> &BTreeSet<(u64, EpochId)> {
        &self.lost
    }

    /// Epochs that are kept for late messages, by when they were left, their numbers and names.
    pub(crate) fn late(&self) -> &BTreeSet<(Time, u64, EpochId)> {
        &self.late
    }

    pub(crate) fn resumptions(&self) -> &BTreeSet<(u64, EpochId)> {
        &self.resumptions
    }

    pub(crate) fn insert(&mut self, id: EpochId, vertex: Vertex<EpochId, Node>) {
        let parent = vertex.parent.clone();
        let (start, end) = (self.forks.start().clone(), self.forks.end().clone());
        self.forks.insert(id.clone(), vertex);
        let extends = self.forks.end().key == id && Some(&end.key) == parent.as_ref();
        if !extends {
            self.sort_out(&start, &end.key);
        }
        self.place(&id);
    }

    /// Changes what the delivery service or the caller said of commits, or where the way begins.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Forks<EpochId, Node>)) {
        let (start, end) = (self.forks.start().clone(), self.forks.end().clone());
        change(&mut self.forks);
        self.sort_out(&start, &end.key);
    }

    pub(crate) fn lower(&mut self, id: &EpochId, level: Level) {
        if let Some(node) = self.forks.value_mut(id) {
            node.lower(level);
            self.place(id);
        }
    }

    pub(crate) fn leave(&mut self, id: &EpochId, now: Time) {
        if let Some(node) = self.forks.value_mut(id) {
            node.left = Some(now);
            self.place(id);
        }
    }

    pub(crate) fn drop_resumption(&mut self, id: &EpochId) {
        if let Some(node) = self.forks.value_mut(id) {
            node.resumption = None;
            self.place(id);
        }
    }

    pub(crate) fn forget(&mut self, id: &EpochId) {
        let Some(vertex) = self.forks.get(id) else { return };
        let key = (vertex.number, id.clone());
        if let Some(left) = vertex.value.left {
            self.late.remove(&(left, key.0, key.1.clone()));
        }
        self.forks.forget(id);
        for set in [&mut self.way, &mut self.beside, &mut self.known, &mut self.lost, &mut self.resumptions] {
            set.remove(&key);
        }
    }

    /// Whether this commit led to an epoch that is here.
    pub(crate) fn knows_commit(&self, commit: &CommitId) -> bool {
        self.forks.by_commit(commit).is_some()
    }

    /// The ancestor with this number, on the branch of an epoch (R11).
    pub(crate) fn ancestor<'a>(&'a self, from: &'a EpochId, number: u64) -> Option<&'a Node> {
        let (_, vertex) = self.forks.ancestors(from).find(|(_, vertex)| vertex.number <= number)?;
        (vertex.number == number).then_some(&vertex.value)
    }

    /// The one retained epoch with this number, in a group without forks (RFC 9420).
    pub(crate) fn by_number(&self, number: u64) -> Option<&EpochId> {
        let first = (number, EpochId::from(Vec::new()));
        self.way.range(first..).next().filter(|(found, _)| *found == number).map(|(_, id)| id)
    }

    /// Puts an epoch into the sets that its state says.
    fn place(&mut self, id: &EpochId) {
        let Some(vertex) = self.forks.get(id) else { return };
        let key = (vertex.number, id.clone());
        let is_retained = vertex.value.level() > Level::Known;
        let on_way = self.forks.is_on_way(id);
        let has_resumption = vertex.value.resumption.is_some();
        if let Some(left) = vertex.value.left {
            let late = (left, key.0, key.1.clone());
            // One to which the way came back is needed again.
            match vertex.value.level() {
                Level::Known => self.late.remove(&late),
                Level::Full if on_way => self.late.remove(&late),
                _ => self.late.insert(late),
            };
        }
        for (set, belongs) in [
            (&mut self.way, is_retained && on_way),
            (&mut self.beside, is_retained && !on_way),
            (&mut self.known, !is_retained && on_way),
            (&mut self.lost, !is_retained && !on_way),
            (&mut self.resumptions, has_resumption),
        ] {
            if belongs {
                set.insert(key.clone());
            } else {
                set.remove(&key);
            }
        }
    }

    /// Where the way has turned: what was on it and what is on it now, down from where the two part. `start` and `before` are
    /// where it began and ended.
    fn sort_out(&mut self, start: &EpochId, before: &EpochId) {
        if self.forks.start() != start {
            // It begins elsewhere, or what is above it came last: so it may have changed where it ends as before.
            let all: Vec<_> = self.forks.iter().map(|(id, _)| id.clone()).collect();
            all.iter().for_each(|id| self.place(id));
            return;
        }
        if self.forks.end().key == *before {
            return;
        }
        let on_way = |id: &EpochId| self.forks.is_on_way(id);
        let left = self.forks.ancestors(before).take_while(|(id, _)| !on_way(id));
        let is_placed = |id: &EpochId, number: u64| {
            let key = (number, id.clone());
            self.way.contains(&key) || self.known.contains(&key)
        };
        let entered = self.forks.ancestors(&self.forks.end().key);
        let entered = entered.take_while(|(id, vertex)| !is_placed(id, vertex.number));
        let turned: Vec<_> = left.chain(entered).map(|(id, _)| id.clone()).collect();
        for id in turned {
            self.place(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork_choice::ForkChoice;
    use crate::forks::Edge;

    fn id(name: u8) -> EpochId {
        vec![name; 32].into()
    }

    fn vertex(parent: u8, name: u8, number: u64) -> Vertex<EpochId, Node> {
        let edge = Edge {
            commit: vec![name; 32].into(),
            tag: vec![name; 32].into(),
            committer: None,
            removes: Vec::new(),
        };
        let node = Node::known(None, Time(0));
        Vertex::new(Some(id(parent)), number, edge, ForkChoice::default(), node)
    }

    fn names(set: &BTreeSet<(u64, EpochId)>) -> Vec<u8> {
        set.iter().map(|(_, id)| id.as_bytes()[0]).collect()
    }

    #[test]
    fn what_is_on_the_way_is_sorted_out_though_it_ends_as_before() {
        let mut graph = Graph::new(id(1), vertex(0, 1, 1));
        graph.insert(id(2), vertex(1, 2, 2));
        graph.insert(id(4), vertex(3, 4, 4));
        graph.change(|forks| forks.begin_at(&id(4)));
        assert_eq!((names(&graph.known), names(&graph.lost)), (vec![4], vec![1, 2]));
        graph.insert(id(3), vertex(2, 3, 3));
        assert_eq!((names(&graph.known), names(&graph.lost)), (vec![1, 2, 3, 4], vec![]));
    }

    #[test]
    fn what_is_above_a_commit_that_was_final_before_it_came_is_sorted_out() {
        let mut graph = Graph::new(id(1), vertex(0, 1, 1));
        graph.insert(id(9), vertex(1, 9, 2));
        graph.insert(id(2), vertex(1, 2, 2));
        graph.insert(id(3), vertex(2, 3, 3));
        graph.change(|forks| forks.finalize(&vec![4; 32].into()));
        graph.insert(id(4), vertex(3, 4, 4));
        assert_eq!((names(&graph.known), names(&graph.lost)), (vec![1, 2, 3, 4], vec![9]));
    }
}
