//! Who was seen where on the way to the head, to tell which old epochs somebody may still go on from (draft s7).
//!
//! Whoever has made a commit in an epoch, or in a descendant, makes none in that epoch any more: its head is below. So for each
//! member one number is enough, and a commit changes one of them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::RetentionRule;
use crate::epoch::KnownCommit;
use crate::forks::{Edge, Vertex};
use crate::key_schedule::EpochId;
use crate::time::Time;
use crate::tree::LeafIndex;

use super::Group;
use super::epoch_ref::speakers;
use super::graph::Node;

/// What was seen of the other members.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    own: LeafIndex,
    /// Whether any message counts, or commits alone.
    messages: bool,
    /// The epoch up to which they were followed.
    at: EpochId,
    /// Of each other member of it, the number of the first epoch on the way from which it may still go on.
    first: BTreeMap<LeafIndex, u64>,
    /// How many members have a number.
    counts: BTreeMap<u64, u32>,
    /// From which epochs members may go on who were removed after them and may not know it, and when the last such was removed.
    removed: BTreeMap<(u64, u64), Time>,
}

/// Which epochs on the way nobody needs any more.
#[derive(Debug)]
pub(super) struct Passed {
    /// All members of the head are past the epochs before this one.
    pub before: u64,
    removed: Vec<(Range<u64>, Time)>,
}

impl Passed {
    /// Whether an epoch with this number is among them. Who was removed is waited for `grace` seconds.
    pub(super) fn has(&self, number: u64, now: Time, grace: u64) -> bool {
        let waits = |(range, when): &(Range<u64>, Time)| {
            range.contains(&number) && now.0.saturating_sub(when.0) < grace
        };
        number < self.before && !self.removed.iter().any(waits)
    }
}

impl Heard {
    /// From all that is known on the way to an epoch that is full, and beside it, below the oldest that is retained.
    pub(super) fn new(group: &Group, head: &EpochId) -> Self {
        let epoch = group.full(head).expect("the head is a full epoch");
        let forks = group.graph.forks();
        let above = forks.ancestors(head);
        let mut way: Vec<_> = above.collect();
        // The oldest of which there is a tree: nobody asks about those before it.
        let oldest = way.iter().rposition(|(_, vertex)| vertex.value.public().is_some()).unwrap_or(0);
        way.truncate(oldest + 1);
        let mut heard = Self {
            own: epoch.own_leaf(),
            messages: group.config.retention.rule != RetentionRule::AllCommitted,
            at: head.clone(),
            first: BTreeMap::new(),
            counts: BTreeMap::new(),
            removed: BTreeMap::new(),
        };
        let members = way.last().and_then(|(_, vertex)| vertex.value.public());
        members.into_iter().flat_map(|public| public.tree.leaves()).for_each(|(leaf, _)| heard.set(leaf, 0));
        for (place, (_, vertex)) in way.iter().enumerate().rev() {
            if place < oldest {
                heard.step(vertex);
            }
            let speakers = speakers(&vertex.value);
            speakers.into_iter().for_each(|leaf| heard.speaks(leaf, vertex.number));
        }
        // Those who were added with so many others that the graph does not name them.
        let unnamed: Vec<_> = epoch.public().tree.leaves().map(|(leaf, _)| leaf).collect();
        for leaf in unnamed {
            if !heard.first.contains_key(&leaf) {
                heard.set(leaf, 0);
            }
        }
        heard.remove(heard.own);
        for (place, (id, _)) in way.iter().enumerate() {
            let next = place.checked_sub(1).map(|next| way[next].0);
            let beside = forks.children(id).filter(|(child, _)| Some(*child) != next);
            let mut open: Vec<_> = beside.collect();
            while let Some((child, vertex)) = open.pop() {
                heard.commits_beside(group, vertex);
                let speakers = speakers(&vertex.value);
                speakers.into_iter().for_each(|leaf| heard.speaks_beside(group, child, leaf));
                open.extend(forks.children(child));
            }
        }
        heard
    }

    pub(super) fn at(&self) -> &EpochId {
        &self.at
    }

    /// Follows the way by one epoch. False if that is not possible: begin anew.
    pub(super) fn follow(&mut self, group: &Group, id: &EpochId, vertex: &Vertex<EpochId, Node>) -> bool {
        let named = vertex.value.commit.as_ref().is_some_and(is_complete);
        let is_same = vertex.value.full().is_some_and(|epoch| epoch.own_leaf() == self.own);
        if vertex.parent.as_ref() != Some(&self.at) || !named || !is_same {
            return false;
        }
        self.step(vertex);
        self.at = id.clone();
        let oldest = group.graph.way().first().map_or(0, |(number, _)| *number);
        self.removed.retain(|(_, until), _| *until > oldest);
        true
    }

    /// A commit on the way.
    fn step(&mut self, vertex: &Vertex<EpochId, Node>) {
        let number = vertex.number;
        for leaf in &vertex.edge.removes {
            let first = self.remove(*leaf);
            // Who joins again and removes its old self knows.
            if let Some(first) = first.filter(|_| vertex.edge.committer != Some(*leaf)) {
                let made = vertex.value.made;
                self.removed
                    .entry((first, number))
                    .and_modify(|when| *when = made.max(*when))
                    .or_insert(made);
            }
        }
        if let Some(leaf) = vertex.edge.committer {
            self.raise(leaf, number);
        }
        let joined = vertex.value.commit.iter().flat_map(joined);
        joined
            .filter(|leaf| *leaf != self.own)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|leaf| self.set(leaf, number));
    }

    /// A commit that lost: who made it is past the epoch in which its branch began.
    pub(super) fn commits_beside(&mut self, group: &Group, vertex: &Vertex<EpochId, Node>) {
        if let (Some(parent), Some(leaf)) = (&vertex.parent, vertex.edge.committer) {
            self.seen_beside(group, parent, leaf);
        }
    }

    /// A message was read.
    pub(super) fn message(&mut self, group: &Group, id: &EpochId, leaf: LeafIndex) {
        let forks = group.graph.forks();
        match forks.get(id) {
            Some(vertex) if forks.is_on_way(id) => self.speaks(leaf, vertex.number),
            _ => self.speaks_beside(group, id, leaf),
        }
    }

    fn speaks(&mut self, leaf: LeafIndex, number: u64) {
        if self.messages {
            self.raise(leaf, number);
        }
    }

    fn speaks_beside(&mut self, group: &Group, id: &EpochId, leaf: LeafIndex) {
        if self.messages {
            self.seen_beside(group, id, leaf);
        }
    }

    /// A member was in an epoch beside the way, if nobody took its leaf over since the branch began.
    fn seen_beside(&mut self, group: &Group, id: &EpochId, leaf: LeafIndex) {
        let forks = group.graph.forks();
        for (id, vertex) in forks.ancestors(id) {
            if forks.is_on_way(id) {
                return self.raise(leaf, vertex.number.saturating_add(1));
            }
            let is_named = vertex.value.commit.as_ref().is_some_and(is_complete);
            let mut joined = vertex.value.commit.iter().flat_map(joined);
            if !is_named || vertex.edge.removes.contains(&leaf) || joined.any(|new| new == leaf) {
                return;
            }
        }
    }

    /// Those who may still go on from an epoch on the way with this number.
    pub(super) fn waited_for(&self, number: u64) -> impl Iterator<Item = LeafIndex> {
        self.first.iter().filter(move |(_, first)| **first <= number).map(|(leaf, _)| *leaf)
    }

    /// By the number of the epoch that removed them, when the last were removed who may still go on from there.
    pub(super) fn waited_for_removed(&self, number: u64) -> impl Iterator<Item = (u64, Time)> {
        let may = self.removed.iter().filter(move |((first, until), _)| (*first..*until).contains(&number));
        may.map(|((_, until), when)| (*until, *when))
    }

    pub(super) fn passed(&self) -> Passed {
        let before = self.counts.keys().next().copied().unwrap_or(u64::MAX);
        Passed {
            before,
            removed: self.removed.iter().map(|((first, until), when)| (*first..*until, *when)).collect(),
        }
    }

    /// The same after one more commit on the way.
    pub(super) fn passed_after(&self, edge: &Edge, number: u64, made: Time) -> Passed {
        let mut passed = self.passed();
        let mut changed = BTreeMap::<u64, u32>::new();
        let mut leaves: Vec<_> = edge.removes.iter().chain(&edge.committer).collect();
        leaves.sort_unstable();
        leaves.dedup();
        for leaf in leaves {
            let Some(first) = self.first.get(leaf) else { continue };
            *changed.entry(*first).or_default() += 1;
            if edge.committer != Some(*leaf) {
                passed.removed.push((*first..number, made));
            }
        }
        let stays = |(first, count): &(&u64, &u32)| changed.get(first) != Some(*count);
        passed.before = self.counts.iter().find(stays).map_or(number, |(first, _)| *first);
        passed
    }

    fn remove(&mut self, leaf: LeafIndex) -> Option<u64> {
        let first = self.first.remove(&leaf)?;
        if let Some(count) = self.counts.get_mut(&first) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&first);
            }
        }
        Some(first)
    }

    fn set(&mut self, leaf: LeafIndex, first: u64) {
        self.remove(leaf);
        self.first.insert(leaf, first);
        *self.counts.entry(first).or_default() += 1;
    }

    /// Seen further down; only members count.
    fn raise(&mut self, leaf: LeafIndex, first: u64) {
        if self.first.get(&leaf).is_some_and(|before| *before < first) {
            self.set(leaf, first);
        }
    }
}

/// The leaves of those who join by a commit, as far as it is known.
fn joined(commit: &KnownCommit) -> impl Iterator<Item = LeafIndex> {
    let external = commit.external.then_some(commit.committer);
    commit.added.iter().map(|added| added.member.leaf).chain(external)
}

/// Whether all who join by it are known.
fn is_complete(commit: &KnownCommit) -> bool {
    commit.added.len() == commit.added_count as usize
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::danger::AcceptAnyCredential;
    use crate::extension::{ExternalJoins, Ruleset};
    use crate::{CipherSuite, Config, Credential, ExternalJoinOptions, Identity, Lifetime, NewGroupOptions};

    /// Following the way finds what a search from the oldest epoch finds, whoever comes and goes.
    #[test]
    fn what_is_followed_is_what_is_found_again() {
        const NOW: Time = Time(1_800_000_000);
        let rng = &mut ChaCha20Rng::seed_from_u64(2);
        let ruleset = Some(Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() });
        let config = Config { ruleset, ..Config::new(AcceptAnyCredential) };
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let alice = Identity::generate(suite, Credential::basic("alice"), rng).unwrap();
        let founding = Group::create(&alice, NewGroupOptions::default(), config.clone(), NOW, rng).unwrap();
        let mut group = founding.apply_unsaved();
        let check = |group: &Group, members: usize| {
            let found = Heard::new(group, &group.state.head);
            assert_eq!(group.heard.as_ref(), Some(&found));
            assert_eq!(found.first.len(), members);
        };
        check(&group, 0);
        // More than the graph names.
        let many: Vec<_> =
            (0..70).map(|n| Identity::generate(suite, Credential::basic(format!("n{n}")), rng)).collect();
        let many = many.into_iter().map(|new| new.unwrap().key_package(Lifetime::starting(NOW, 86_400), rng));
        let many: Vec<_> = many.map(|own| own.unwrap().key_package().clone()).collect();
        let commit = many.into_iter().fold(group.commit(), |commit, new| commit.add(new));
        commit.stage_confirmed(NOW, rng).unwrap().apply_unsaved();
        check(&group, 70);
        let info = group.head().group_info(NOW).unwrap();
        let bob = Identity::generate(suite, Credential::basic("bob"), rng).unwrap();
        let joined =
            Group::join_external(&bob, &info, ExternalJoinOptions::default(), config, NOW, rng).unwrap();
        group.receive(joined.commit().unwrap(), NOW).unwrap().apply_unsaved();
        check(&group, 71);
        group.commit().remove(LeafIndex(3)).stage_confirmed(NOW, rng).unwrap().apply_unsaved();
        check(&group, 70);
    }
}
