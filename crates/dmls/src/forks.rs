//! A graph that forks, and the way through it: always the child that the fork choice prefers (draft s6.1.2).
//!
//! Members hold it by the names of epochs, observers by those of commits; it is the same graph and the same walk. The way
//! is kept, not searched: a new child changes it from its parent down and nothing else, so following a commit costs O(1)
//! without a fork and O(depth of the fork) with one, however much is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::Tag;
use crate::fork_choice::{Candidate, ForkChoice};
use crate::framing::Sender;
use crate::key_schedule::CommitId;
use crate::tree::LeafIndex;

/// The commit that leads to a vertex, as its siblings are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub commit: CommitId,
    pub tag: Tag,
    pub committer: Option<LeafIndex>,
    /// The leaves that it removes.
    pub removes: Vec<LeafIndex>,
}

impl Edge {
    /// Of a commit by `sender`. An external one counts as committed by the leaf that it replaces.
    pub(crate) fn new(commit: CommitId, tag: Tag, sender: Sender, removes: Vec<LeafIndex>) -> Self {
        let committer = match sender {
            Sender::Member(leaf) => Some(leaf),
            _ => removes.first().copied(),
        };
        Self { commit, tag, committer, removes }
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate { tag: &self.tag, commit: &self.commit, committer: self.committer, removes: &self.removes }
    }
}

/// An epoch in the graph.
#[derive(Debug)]
pub(crate) struct Vertex<K, N> {
    /// Which may not be in the graph. It counts only if its number is one less: who joins by a GroupInfo can't verify it.
    pub parent: Option<K>,
    pub number: u64,
    pub edge: Edge,
    /// How its children are chosen.
    pub choice: ForkChoice,
    pub value: N,
    /// On the way: the child that follows.
    next: Option<K>,
    on_way: bool,
    /// It is final, or a descendant is: the way goes through it.
    is_final: bool,
}

impl<K, N> Vertex<K, N> {
    pub(crate) fn new(parent: Option<K>, number: u64, edge: Edge, choice: ForkChoice, value: N) -> Self {
        Self { parent, number, edge, choice, value, next: None, on_way: false, is_final: false }
    }

    pub(crate) fn follows<M>(&self, parent: &Vertex<K, M>) -> bool {
        parent.number.checked_add(1) == Some(self.number)
    }

    /// The same without the epoch itself.
    pub(crate) fn bare(&self) -> Vertex<K, ()>
    where
        K: Clone,
    {
        Vertex {
            parent: self.parent.clone(),
            number: self.number,
            edge: self.edge.clone(),
            choice: self.choice,
            value: (),
            next: self.next.clone(),
            on_way: self.on_way,
            is_final: self.is_final,
        }
    }
}

/// Where the way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WayEnd<K> {
    pub key: K,
    /// The commit by which it leads out of the graph from there.
    pub dead_end: Option<CommitId>,
}

/// The graph.
#[derive(Debug)]
pub(crate) struct Forks<K, N> {
    vertices: BTreeMap<K, Vertex<K, N>>,
    /// Also of vertices that are not here.
    children: BTreeMap<K, BTreeSet<K>>,
    dead_ends: BTreeMap<K, Vec<Edge>>,
    by_commit: BTreeMap<CommitId, K>,
    finals: BTreeSet<CommitId>,
    blocked: BTreeSet<CommitId>,
    /// The topmost vertex above the one at which we began or last began anew.
    start: K,
    end: WayEnd<K>,
}

impl<K: Ord + Clone, N> Forks<K, N> {
    pub(crate) fn new(key: K, vertex: Vertex<K, N>) -> Self {
        let end = WayEnd { key: key.clone(), dead_end: None };
        let mut forks = Self {
            vertices: BTreeMap::new(),
            children: BTreeMap::new(),
            dead_ends: BTreeMap::new(),
            by_commit: BTreeMap::new(),
            finals: BTreeSet::new(),
            blocked: BTreeSet::new(),
            start: key.clone(),
            end,
        };
        forks.add(key, vertex);
        forks.walk_anew();
        forks
    }

    pub(crate) fn get(&self, key: &K) -> Option<&Vertex<K, N>> {
        self.vertices.get(key)
    }

    /// With its key as it is stored here.
    pub(crate) fn entry(&self, key: &K) -> Option<(&K, &Vertex<K, N>)> {
        self.vertices.get_key_value(key)
    }

    pub(crate) fn value_mut(&mut self, key: &K) -> Option<&mut N> {
        self.vertices.get_mut(key).map(|vertex| &mut vertex.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Vertex<K, N>)> {
        self.vertices.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.vertices.len()
    }

    pub(crate) fn by_commit(&self, commit: &CommitId) -> Option<&K> {
        self.by_commit.get(commit)
    }

    pub(crate) fn children(&self, key: &K) -> impl Iterator<Item = (&K, &Vertex<K, N>)> {
        let parent = self.vertices.get(key);
        self.below(key).filter(move |(_, child)| parent.is_none_or(|parent| child.follows(parent)))
    }

    /// How many commits of an epoch are in the graph, those that remove us too.
    pub(crate) fn count_edges(&self, key: &K) -> usize {
        self.children.get(key).map_or(0, BTreeSet::len) + self.dead_ends.get(key).map_or(0, Vec::len)
    }

    pub(crate) fn start(&self) -> &K {
        &self.start
    }

    pub(crate) fn end(&self) -> &WayEnd<K> {
        &self.end
    }

    pub(crate) fn is_on_way(&self, key: &K) -> bool {
        self.vertices.get(key).is_some_and(|vertex| vertex.on_way)
    }

    pub(crate) fn is_final(&self, key: &K) -> bool {
        self.vertices.get(key).is_some_and(|vertex| vertex.is_final)
    }

    /// What the delivery service called final, as far as it is not implied by something later.
    pub(crate) fn finals(&self) -> &BTreeSet<CommitId> {
        &self.finals
    }

    pub(crate) fn blocked(&self) -> &BTreeSet<CommitId> {
        &self.blocked
    }

    /// An epoch and those above it, as far as they are here.
    pub(crate) fn ancestors<'a>(&'a self, key: &'a K) -> impl Iterator<Item = (&'a K, &'a Vertex<K, N>)> {
        let first = self.vertices.get_key_value(key);
        std::iter::successors(first, |(_, vertex)| {
            let parent = self.vertices.get_key_value(vertex.parent.as_ref()?);
            parent.filter(|(_, parent)| vertex.follows(parent))
        })
    }

    /// Whether `ancestor` is above `key`, or is it.
    pub(crate) fn is_above(&self, ancestor: &K, key: &K) -> bool {
        let Some(number) = self.vertices.get(ancestor).map(|vertex| vertex.number) else { return false };
        self.ancestors(key).take_while(|(_, vertex)| vertex.number >= number).any(|(key, _)| key == ancestor)
    }

    /// Where the way will end with another child; nothing is changed yet.
    pub(crate) fn end_with_child(&self, parent: &K, key: &K, vertex: Vertex<K, ()>) -> WayEnd<K> {
        if self.children.contains_key(key) || self.finals.contains(&vertex.edge.commit) {
            return self.end_after(|forks| forks.insert(key.clone(), vertex));
        }
        if !self.is_on_way(parent) {
            return self.end.clone();
        }
        match self.choose(parent, Some((Chosen::Child(key), &vertex.edge))) {
            Some(Chosen::Child(child)) if child == key => WayEnd { key: key.clone(), dead_end: None },
            chosen if chosen == self.choose(parent, None) => self.end.clone(),
            // A commit that loses can make another win (`RemovalsFirst`).
            _ => self.end_after(|forks| forks.insert(key.clone(), vertex)),
        }
    }

    /// Whether a commit would be preferred to all others of its epoch.
    pub(crate) fn would_win(&self, parent: &K, edge: &Edge) -> bool {
        let new = Chosen::DeadEnd(&edge.commit);
        matches!(self.choose(parent, Some((new, edge))), Some(Chosen::DeadEnd(commit)) if *commit == edge.commit)
    }

    /// Whether a commit would win, or may decide between others of its epoch.
    pub(crate) fn matters(&self, parent: &K, edge: &Edge) -> bool {
        self.would_win(parent, edge) || self.decides(parent, Some(edge), &edge.commit)
    }

    /// Whether a commit of an epoch, which may be `new`, can decide between others though it loses.
    fn decides(&self, parent: &K, new: Option<&Edge>, commit: &CommitId) -> bool {
        let Some(choice) = self.vertices.get(parent).map(|parent| parent.choice) else { return false };
        if !choice.hears_losers() {
            return false;
        }
        let edges = self.commits(parent).map(|(_, edge)| edge).chain(new);
        let candidates: Vec<_> = edges.map(Edge::candidate).collect();
        choice.counted(&candidates).into_iter().any(|place| candidates[place].commit == commit)
    }

    /// Where the way will end after a change that is rare: it is tried on a copy without the epochs themselves, O(known).
    pub(crate) fn end_after(&self, change: impl FnOnce(&mut Forks<K, ()>)) -> WayEnd<K> {
        let mut copy = Forks {
            vertices: self.vertices.iter().map(|(key, vertex)| (key.clone(), vertex.bare())).collect(),
            children: self.children.clone(),
            dead_ends: self.dead_ends.clone(),
            by_commit: self.by_commit.clone(),
            finals: self.finals.clone(),
            blocked: self.blocked.clone(),
            start: self.start.clone(),
            end: self.end.clone(),
        };
        change(&mut copy);
        copy.end
    }

    /// Adds an epoch. The parent may be missing, and may come later.
    pub(crate) fn insert(&mut self, key: K, vertex: Vertex<K, N>) {
        let parent = vertex.parent.clone();
        let (joins, is_final) = (self.children.contains_key(&key), self.finals.contains(&vertex.edge.commit));
        self.add(key.clone(), vertex);
        if is_final || self.children(&key).any(|(_, child)| child.is_final) {
            self.mark_final(&key);
        }
        match parent {
            _ if joins || is_final => self.walk_anew(),
            Some(parent) if self.is_on_way(&parent) => self.walk_from(parent),
            _ => {}
        }
    }

    /// Begins anew at an epoch whose parent is not here: the way goes through it from now on.
    pub(crate) fn begin_at(&mut self, key: &K) {
        self.start = key.clone();
        self.walk_anew();
    }

    /// Adds a commit that leads out of the graph.
    pub(crate) fn add_dead_end(&mut self, parent: &K, edge: Edge) {
        let is_final = self.finals.contains(&edge.commit);
        self.dead_ends.entry(parent.clone()).or_default().push(edge);
        if is_final {
            self.mark_final(parent);
            self.walk_anew();
        } else if self.is_on_way(parent) {
            self.walk_from(parent.clone());
        }
    }

    pub(crate) fn finalize(&mut self, commit: &CommitId) {
        self.finals.insert(commit.clone());
        if let Some(key) = self.by_commit.get(commit).cloned() {
            self.mark_final(&key);
            if !self.is_on_way(&key) {
                self.walk_anew();
            }
        } else if let Some(parent) = self.parent_of_dead_end(commit).cloned() {
            self.mark_final(&parent);
            self.walk_anew();
        }
    }

    /// Forgets that a commit is final: a later one implies it.
    pub(crate) fn drop_final(&mut self, commit: &CommitId) {
        self.finals.remove(commit);
    }

    pub(crate) fn block(&mut self, commit: &CommitId) {
        self.blocked.insert(commit.clone());
        self.walk_again_at(commit);
    }

    pub(crate) fn unblock(&mut self, commit: &CommitId) {
        self.blocked.remove(commit);
        self.walk_again_at(commit);
    }

    /// Takes an epoch out altogether; the start only if one way leads on from it.
    pub(crate) fn forget(&mut self, key: &K) -> Option<N> {
        let vertex = self.vertices.remove(key)?;
        self.by_commit.remove(&vertex.edge.commit);
        self.dead_ends.remove(key);
        self.finals.remove(&vertex.edge.commit);
        if let Some(parent) = &vertex.parent
            && let Some(siblings) = self.children.get_mut(parent)
        {
            siblings.remove(key);
            if siblings.is_empty() {
                self.children.remove(parent);
            }
        }
        if self.start == *key
            && let Some(next) = vertex.next
        {
            self.start = next;
        }
        if vertex.is_final && !vertex.on_way {
            self.mark_finals_anew();
        }
        Some(vertex.value)
    }

    /// From the start on, what can be forgotten one after the other without changing the way or a later choice: each with the commits
    /// that lost to the way there, which go with it. `is_name` says of which epochs nothing is left that could be lost.
    pub(crate) fn forgettable_chain<'a>(
        &'a self,
        is_name: impl Fn(&K, &N) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a K, Vec<&'a K>)> {
        let first = self.vertices.get_key_value(&self.start);
        let chain =
            std::iter::successors(first, |(_, vertex)| self.vertices.get_key_value(vertex.next.as_ref()?));
        chain.map_while(move |(key, vertex)| {
            let next = vertex.next.as_ref().filter(|_| is_name(key, &vertex.value))?;
            let mut losers = self.below(key).filter(|(loser, _)| *loser != next);
            let can_go =
                losers.clone().all(|(loser, vertex)| self.is_end(loser) && is_name(loser, &vertex.value));
            can_go.then(|| (key, losers.by_ref().map(|(loser, _)| loser).collect()))
        })
    }

    /// Whether the end of a branch that lost can be forgotten without changing the way or a later choice.
    pub(crate) fn is_forgettable(&self, key: &K, is_name: impl Fn(&K, &N) -> bool) -> bool {
        let Some(vertex) = self.vertices.get(key) else { return false };
        if vertex.on_way || !self.is_end(key) {
            return false;
        }
        let Some(parent) = &vertex.parent else { return true };
        // If the way came here it would take another of them; that is all the same where none leads to more than a name.
        let mut losers = self.below(parent).filter(|(_, vertex)| !vertex.on_way);
        let are_names = losers.all(|(key, vertex)| self.is_end(key) && is_name(key, &vertex.value));
        are_names && !(self.is_on_way(parent) && self.is_heard(key))
    }

    /// Whether the commit that made an epoch can decide between others though it loses.
    pub(crate) fn is_heard(&self, key: &K) -> bool {
        let Some(vertex) = self.vertices.get(key) else { return false };
        vertex.parent.as_ref().is_some_and(|parent| self.decides(parent, None, &vertex.edge.commit))
    }

    /// Whether nothing follows an epoch.
    fn is_end(&self, key: &K) -> bool {
        !self.children.contains_key(key)
    }

    /// All that name an epoch as their parent.
    fn below<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a Vertex<K, N>)> + Clone {
        let children = self.children.get(key).into_iter().flatten();
        children.filter_map(|child| self.vertices.get_key_value(child))
    }

    fn add(&mut self, key: K, vertex: Vertex<K, N>) {
        if let Some(parent) = &vertex.parent {
            self.children.entry(parent.clone()).or_default().insert(key.clone());
        }
        self.by_commit.insert(vertex.edge.commit.clone(), key.clone());
        self.vertices.insert(key, vertex);
    }

    fn mark_final(&mut self, key: &K) {
        let not_yet = self.ancestors(key).take_while(|(_, vertex)| !vertex.is_final);
        let not_yet: Vec<_> = not_yet.map(|(key, _)| key.clone()).collect();
        for key in &not_yet {
            if let Some(vertex) = self.vertices.get_mut(key) {
                vertex.is_final = true;
            }
        }
    }

    /// After one that was final, and lost against another, is gone.
    fn mark_finals_anew(&mut self) {
        self.vertices.values_mut().for_each(|vertex| vertex.is_final = false);
        let finals = self.finals.iter();
        let finals = finals.filter_map(|commit| self.by_commit(commit).or(self.parent_of_dead_end(commit)));
        let finals: Vec<_> = finals.cloned().collect();
        finals.iter().for_each(|key| self.mark_final(key));
    }

    fn walk_again_at(&mut self, commit: &CommitId) {
        let parent = match self.by_commit.get(commit) {
            Some(key) => self.vertices.get(key).and_then(|vertex| vertex.parent.as_ref()),
            None => self.parent_of_dead_end(commit),
        };
        if let Some(parent) = parent.filter(|parent| self.is_on_way(parent)).cloned() {
            self.walk_from(parent);
        }
    }

    /// There are few: of each only a commit that removes us, and that stands.
    fn parent_of_dead_end(&self, commit: &CommitId) -> Option<&K> {
        let mut dead_ends = self.dead_ends.iter();
        dead_ends.find(|(_, edges)| edges.iter().any(|edge| edge.commit == *commit)).map(|(parent, _)| parent)
    }

    /// The whole way, from the topmost ancestor of the start.
    fn walk_anew(&mut self) {
        for vertex in self.vertices.values_mut() {
            (vertex.on_way, vertex.next) = (false, None);
        }
        let start = self.ancestors(&self.start).last().map(|(key, _)| key.clone());
        if let Some(start) = start {
            self.start = start.clone();
            if let Some(vertex) = self.vertices.get_mut(&start) {
                vertex.on_way = true;
            }
            self.walk_from(start);
        }
    }

    /// The way from an epoch on it down.
    fn walk_from(&mut self, mut at: K) {
        loop {
            let (next, dead_end) = match self.choose(&at, None) {
                Some(Chosen::Child(child)) => (Some(child.clone()), None),
                Some(Chosen::DeadEnd(commit)) => (None, Some(commit.clone())),
                None => (None, None),
            };
            let Some(vertex) = self.vertices.get_mut(&at) else { return };
            if next.is_some() && vertex.next == next {
                return;
            }
            let mut left = std::mem::replace(&mut vertex.next, next.clone());
            while let Some(vertex) = left.as_ref().and_then(|key| self.vertices.get_mut(key)) {
                vertex.on_way = false;
                left = vertex.next.take();
            }
            let Some(next) = next else {
                self.end = WayEnd { key: at, dead_end };
                return;
            };
            if let Some(vertex) = self.vertices.get_mut(&next) {
                vertex.on_way = true;
            }
            at = next;
        }
    }

    /// The commit of an epoch that wins: a final one, else by the fork choice among those that are not blocked.
    fn choose<'a>(&'a self, at: &'a K, new: Option<(Chosen<'a, K>, &'a Edge)>) -> Option<Chosen<'a, K>> {
        let choice = self.vertices.get(at)?.choice;
        let mut candidates: Vec<_> = self.commits(at).chain(new).collect();
        let is_final = |(chosen, edge): &(Chosen<'_, K>, &Edge)| {
            matches!(chosen, Chosen::Child(key) if self.is_final(key)) || self.finals.contains(&edge.commit)
        };
        if candidates.iter().any(is_final) {
            candidates.retain(is_final);
        } else {
            // One that is blocked counts for its committer's share, or else what was not processed for it might have to be.
            let counted = choice.counted(&compared(&candidates));
            candidates = counted.into_iter().map(|place| candidates[place]).collect();
            candidates.retain(|(_, edge)| !self.blocked.contains(&edge.commit));
        }
        choice.choose(&compared(&candidates)).map(|place| candidates[place].0)
    }

    /// All commits of an epoch.
    fn commits<'a>(&'a self, at: &K) -> impl Iterator<Item = (Chosen<'a, K>, &'a Edge)> {
        let children = self.children(at).map(|(key, vertex)| (Chosen::Child(key), &vertex.edge));
        let dead_ends = self.dead_ends.get(at).into_iter().flatten();
        children.chain(dead_ends.map(|edge| (Chosen::DeadEnd(&edge.commit), edge)))
    }
}

fn compared<'a, K>(candidates: &[(Chosen<'a, K>, &'a Edge)]) -> Vec<Candidate<'a>> {
    candidates.iter().map(|(_, edge)| edge.candidate()).collect()
}

/// What the way takes.
#[derive(Debug, PartialEq, Eq)]
enum Chosen<'a, K> {
    Child(&'a K),
    DeadEnd(&'a CommitId),
}

impl<K> Clone for Chosen<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Chosen<'_, K> {}

#[cfg(test)]
mod tests;
