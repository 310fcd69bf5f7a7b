//! What is deleted of an epoch, and when (draft s6.1.2, s7).
//!
//! - The network is whole: a commit deletes all epochs but the head.
//! - It is split: all stay, up to [`Limits::epochs`]. What a full house evicts is where a missing commit is least likely:
//!   branches that lost, the oldest first; then the oldest epoch, if everybody was heard after it; then the newest of those
//!   that are neither recent nor a place where branches part. Who was silent since a split began will go on at the old end;
//!   commits that crossed each other are at the new one.
//! - A commit is final: its ancestors, and what it excludes, can only be read; until all its messages were delivered.

use std::collections::BTreeMap;

use crate::error::{Error, Usage};
use crate::forks::Edge;
use crate::key_schedule::{CommitId, EpochId};
use crate::tree::LeafIndex;

use super::effect::Effect;
use super::epoch_ref::speakers;
use super::graph::Node;
use super::outcome::{Deleted, Why};
use super::step::{Decision, Step};
use super::{Group, Level, Network};

/// What goes of an epoch.
#[derive(Debug)]
pub(super) struct LetGo {
    pub id: EpochId,
    pub number: u64,
    /// What stays.
    pub level: Level,
    pub why: Why,
}

/// A final commit, by which others are released.
#[derive(Clone, Copy)]
pub(super) struct Released<'a> {
    pub commit: &'a CommitId,
    /// Its epoch, if that is in the graph already.
    pub id: Option<&'a EpochId>,
    pub parent: Option<&'a EpochId>,
}

impl Group {
    /// Deletes all epochs but the head now, instead of at the next commit: the network is whole again.
    pub fn delete_old_epochs(&mut self) -> Step<'_, Vec<Deleted>> {
        let old = self.graph.retained().filter(|(_, id)| *id != self.state.head);
        let let_go = old.map(|(number, id)| self.gone(id, *number, Level::Known, Why::Whole)).collect();
        self.lower(let_go).into_step(self)
    }

    /// Deletes what an epoch has beyond a level. The head can't go. See [`super::EpochRef::member_facts`] for what to decide by.
    pub fn delete_epoch(&mut self, id: &EpochId, level: Level) -> Result<Step<'_, Vec<Deleted>>, Error> {
        let vertex = self.graph.vertex(id).ok_or(Usage::UnknownEpoch)?;
        if *id == self.state.head {
            return Err(Usage::DeletesHead.into());
        }
        let lowers = vertex.value.level() > level;
        let let_go = lowers.then(|| self.gone(id, vertex.number, level, Why::Asked)).into_iter().collect();
        Ok(self.lower(let_go).into_step(self))
    }

    fn gone(&self, id: &EpochId, number: u64, level: Level, why: Why) -> LetGo {
        LetGo { id: id.clone(), number, level, why }
    }

    fn lower(&self, let_go: Vec<LetGo>) -> Decision<Vec<Deleted>> {
        let mut effects = Vec::new();
        let deleted = self.carry_out(let_go, &mut effects);
        Decision::new(deleted, effects)
    }

    /// What one more epoch lets go, itself perhaps; `head` is the head with it.
    pub(super) fn let_go(
        &self,
        head: &EpochId,
        new: &EpochId,
        number: u64,
        parent: Option<&EpochId>,
        edge: &Edge,
    ) -> Vec<LetGo> {
        let mut let_go = Vec::new();
        if self.state.network == Network::Whole {
            let old = self.graph.retained().filter(|(_, id)| id != head);
            let_go.extend(old.map(|(number, id)| self.gone(id, *number, Level::Known, Why::Whole)));
            let_go.extend((new != head).then(|| self.gone(new, number, Level::Known, Why::Whole)));
            return let_go;
        }
        if self.graph.forks().finals().contains(&edge.commit) {
            let_go.extend(self.released_by(Released { commit: &edge.commit, id: None, parent }));
        }
        if self.is_linear() {
            let old = self.graph.retained().filter(|(_, id)| id != head && self.is_full(id));
            let_go.extend(old.map(|(number, id)| self.gone(id, *number, Level::Readable, Why::Linear)));
        }
        let_go.extend(parent.into_iter().flat_map(|parent| self.over_quota(head, parent, edge)));
        // An epoch may go for two reasons: then the lower level stays. The head never goes.
        let_go.retain(|gone| gone.id != *head);
        let_go.sort_by(|a, b| (a.number, &a.id, a.level).cmp(&(b.number, &b.id, b.level)));
        let_go.dedup_by(|one, before| one.id == before.id);
        self.evict(head, new, number, parent, &mut let_go);
        let_go
    }

    fn is_full(&self, id: &EpochId) -> bool {
        self.graph.node(id).is_some_and(|node| node.level() == Level::Full)
    }

    /// A child that wins drives out the branch of the same committer's lowest tag, if there are too many. A lower one that
    /// leads to the head, because it is final, stays.
    fn over_quota(&self, head: &EpochId, parent: &EpochId, edge: &Edge) -> Vec<LetGo> {
        let children = self.graph.forks().children(parent);
        let same = children.filter(|(_, vertex)| {
            vertex.edge.committer == edge.committer && vertex.value.level() > Level::Known
        });
        let same: Vec<_> = same.collect();
        if same.len() < self.children_per_committer(parent) {
            return Vec::new();
        }
        let losers = same.into_iter().filter(|(id, _)| !self.graph.forks().is_above(id, head));
        let lowest = losers.min_by_key(|(_, vertex)| vertex.edge.tag.as_bytes());
        let mut open: Vec<_> = lowest.into_iter().collect();
        let mut branch = Vec::new();
        while let Some((id, vertex)) = open.pop() {
            open.extend(self.graph.forks().children(id));
            if vertex.value.level() > Level::Known {
                branch.push(self.gone(id, vertex.number, Level::Known, Why::Quota));
            }
        }
        branch
    }

    /// The start holds all that follows it. If so much does that more would be known than the limit allows, it goes, though somebody
    /// may still be there.
    fn let_start_go(&self, head: &EpochId, let_go: &mut Vec<LetGo>) {
        if self.graph.known() < self.config.limits.known_epochs {
            return;
        }
        let start = self.graph.forks().start();
        if let Some(vertex) = self.graph.vertex(start).filter(|vertex| vertex.value.level() > Level::Known)
            && start != head
            && !let_go.iter().any(|gone| gone.id == *start)
        {
            let_go.push(self.gone(start, vertex.number, Level::Known, Why::Limit));
        }
    }

    /// What the limit asks for.
    fn evict(
        &self,
        head: &EpochId,
        new: &EpochId,
        number: u64,
        parent: Option<&EpochId>,
        let_go: &mut Vec<LetGo>,
    ) {
        self.let_start_go(head, let_go);
        let gone = let_go.iter().filter(|gone| gone.level == Level::Known).count();
        let excess =
            (self.graph.count_retained() + 1).saturating_sub(gone + self.config.limits.epochs.max(1));
        if excess == 0 {
            return;
        }
        // Without a fork the way goes on; after a turn it is what is above the new head.
        let turned = new == head && parent != Some(&self.state.head);
        let above = |id: &EpochId| parent.is_some_and(|parent| self.graph.forks().is_above(id, parent));
        let is_beside = |id: &EpochId| turned && !above(id);
        let way = || self.graph.way().iter().filter(|(_, id)| id != head && !is_beside(id));
        let lost = self.graph.way().iter().filter(|(_, id)| id != head && is_beside(id));
        let new_lost = (number, new.clone());
        let mut beside: Vec<_> = self
            .graph
            .beside()
            .iter()
            .filter(|(_, id)| id != head && (!turned || !above(id)))
            .chain(lost)
            .collect();
        if new != head {
            beside.push(&new_lost);
        }
        beside.sort_unstable();

        let newest = if new == head { number } else { self.head().number() };
        let recent = newest.saturating_sub((self.config.limits.epochs / 8) as u64);
        let floor = self.moved.as_ref().map_or(0, Moved::floor);
        let passed = way().take_while(|(number, _)| *number < floor);
        let parts = |id: &EpochId| self.graph.forks().count_edges(id) > 1;
        let settled = (recent, EpochId::from(Vec::new()));
        let middle = self.graph.way().range(..settled).rev();
        let middle = middle.filter(|(_, id)| id != head && !is_beside(id) && !parts(id));
        let order = beside.into_iter().chain(passed).chain(middle).chain(way());
        let mut left = excess;
        for (number, id) in order {
            if left == 0 {
                break;
            }
            match let_go.iter_mut().find(|gone| gone.id == *id) {
                Some(gone) if gone.level == Level::Known => continue,
                Some(gone) => (gone.level, gone.why) = (Level::Known, Why::Limit),
                None => let_go.push(self.gone(id, *number, Level::Known, Why::Limit)),
            }
            left -= 1;
        }
    }

    /// What a final commit releases: its ancestors and what it excludes can only be read. Of what does not follow a final commit before
    /// which all was delivered, not even messages are left.
    pub(super) fn released_by(&self, by: Released<'_>) -> Vec<LetGo> {
        let is_below = |id: Option<&EpochId>, other: &EpochId| {
            id.is_some_and(|id| self.graph.forks().is_above(id, other))
        };
        let flushed = self.flushed_by(by).next();
        let released = self.graph.retained().filter_map(|(number, id)| {
            let (level, why) = match flushed {
                Some((_, flushed)) if !is_below(flushed, id) => (Level::Known, Why::Flushed),
                _ if !is_below(by.id, id) => (Level::Readable, Why::Final),
                _ => return None,
            };
            let lowers = self.graph.node(id).is_some_and(|node| node.level() > level);
            lowers.then(|| self.gone(id, *number, level, why))
        });
        released.collect()
    }

    /// Of the commits that are final by a final one, it first, those before which all was delivered; with their epochs.
    pub(super) fn flushed_by<'a>(
        &'a self,
        by: Released<'a>,
    ) -> impl Iterator<Item = (&'a CommitId, Option<&'a EpochId>)> {
        let parent = by.parent.filter(|_| !self.flushed.is_empty());
        let above = parent.into_iter().flat_map(|parent| self.graph.forks().ancestors(parent));
        let above = above.map(|(id, vertex)| (&vertex.edge.commit, Some(id)));
        let all = std::iter::once((by.commit, by.id)).chain(above);
        all.filter(|(commit, _)| self.flushed.contains(*commit))
    }

    /// The effects of letting go: own commits go with the epochs that they were made in. But not one by which we join again: it needs
    /// nothing of its parent.
    pub(super) fn carry_out(&self, let_go: Vec<LetGo>, effects: &mut Vec<Effect>) -> Vec<Deleted> {
        let mut deleted = Vec::new();
        let confirmed: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Confirm(commit) | Effect::DropPending(commit) => Some(commit.clone()),
                _ => None,
            })
            .collect();
        for LetGo { id, number, level, why } in let_go {
            let mut dropped = Vec::new();
            if let Some(vertex) = self.graph.vertex(&id) {
                effects.push(Effect::Lower(id.clone(), level));
                let commit = &vertex.edge.commit;
                let welcome = level == Level::Known && self.welcomes.contains_key(commit);
                effects.extend(welcome.then(|| Effect::Welcome(commit.clone(), None)));
                for (commit, pending) in &self.pending {
                    let goes = pending.parent.as_ref() == Some(&id) && !pending.commit.external;
                    if goes && !confirmed.contains(commit) {
                        effects.push(Effect::DropPending(commit.clone()));
                        dropped.push(commit.clone());
                    }
                }
            }
            deleted.push(Deleted { id, number, level, why, dropped });
        }
        deleted
    }

    /// Drops resumption keys and ids of epochs that are long gone; not the parent of what is new.
    pub(super) fn forget_old(&self, head: &EpochId, newest: u64, parent: Option<&EpochId>) -> Vec<Effect> {
        let limits = &self.config.limits;
        let is_old = |number: u64| number.saturating_add(limits.resumption_psks) < newest;
        let old = self.graph.resumptions().iter().take_while(|(number, _)| is_old(*number));
        let mut effects: Vec<_> =
            old.filter(|(_, id)| id != head).map(|(_, id)| Effect::DropResumption(id.clone())).collect();

        let forks = self.graph.forks();
        let excess = self.graph.known().saturating_sub(limits.known_epochs);
        if excess == 0 {
            return effects;
        }
        let is_name = |id: &EpochId, node: &Node| node.level() == Level::Known && Some(id) != parent;
        let mut forgotten: Vec<&EpochId> = Vec::new();
        for (id, losers) in forks.forgettable_chain(is_name) {
            if forgotten.len() >= excess {
                break;
            }
            forgotten.extend(losers);
            forgotten.push(id);
        }
        let more = excess.saturating_sub(forgotten.len());
        let losers = self.graph.lost().iter().map(|(_, id)| id);
        let losers = losers.filter(|id| !forgotten.contains(id) && Some(*id) != parent);
        let losers: Vec<_> = losers.filter(|id| forks.is_forgettable(id, is_name)).take(more).collect();
        forgotten.extend(losers);
        for id in forgotten {
            effects.push(Effect::Forget(id.clone()));
            if let Some(vertex) = self.graph.vertex(id) {
                let commit = &vertex.edge.commit;
                effects.extend(forks.finals().contains(commit).then(|| Effect::DropFinal(commit.clone())));
                effects.extend(forks.blocked().contains(commit).then(|| Effect::Unblock(commit.clone())));
                effects.extend(self.flushed.contains(commit).then(|| Effect::DropFlushed(commit.clone())));
            }
            let removals = self.removals.iter().filter(|(_, removal)| removal.parent == *id);
            effects.extend(removals.map(|(commit, _)| Effect::ForgetRemoval(commit.clone())));
        }
        effects
    }

    /// Keeps count of who was heard where, once the limit of epochs is near; before, nobody asks.
    pub(super) fn track_moved(&mut self, new: &EpochId) {
        if self.graph.count_retained() < self.config.limits.epochs {
            self.moved = None;
            return;
        }
        let Some(vertex) = self.graph.vertex(new) else { return };
        let extends = vertex.parent.as_ref().is_some_and(|parent| {
            self.graph.forks().is_on_way(new) && self.moved.as_ref().is_some_and(|moved| moved.at == *parent)
        });
        match self.moved.take() {
            Some(mut moved) if extends => {
                moved.follow(new, vertex.number, vertex.edge.committer, &vertex.edge.removes);
                let added = vertex.value.commit.iter().flat_map(|commit| &commit.added);
                added.for_each(|added| moved.set(added.member.leaf, vertex.number));
                self.moved = Some(moved);
            }
            Some(moved) if !self.graph.forks().is_on_way(new) => self.moved = Some(moved),
            _ => {
                // The head is not said yet; what is new becomes it if it can.
                let is_head = self.graph.forks().end().key == *new && self.is_full(new);
                let head = if is_head { new } else { &self.state.head };
                self.moved = Some(Moved::new(self, head));
            }
        }
    }

    /// A member spoke in an epoch.
    pub(super) fn heard(&mut self, id: &EpochId, leaf: LeafIndex) {
        let on_way = self.graph.forks().is_on_way(id);
        let number = self.graph.vertex(id).map(|vertex| vertex.number);
        if let (Some(moved), Some(number), true) = (&mut self.moved, number, on_way) {
            moved.raise(leaf, number);
        }
    }
}

/// For each other member, the number of the last epoch on the way in which it was heard.
#[derive(Debug)]
pub(crate) struct Moved {
    own: LeafIndex,
    /// The epoch up to which it was followed.
    at: EpochId,
    last: BTreeMap<LeafIndex, u64>,
    /// How many members were last heard in an epoch.
    counts: BTreeMap<u64, u32>,
}

impl Moved {
    /// From all that is retained on the way to an epoch.
    fn new(group: &Group, head: &EpochId) -> Self {
        let epoch = group.full(head).expect("the head is a full epoch");
        let mut moved =
            Self { own: epoch.own_leaf(), at: head.clone(), last: BTreeMap::new(), counts: BTreeMap::new() };
        for (leaf, _) in epoch.public().tree.leaves() {
            moved.set(leaf, 0);
        }
        // From the head up: what a leaf did before it was somebody's who is gone does not count.
        let mut settled = std::collections::BTreeSet::new();
        for (_, vertex) in group.graph.forks().ancestors(head) {
            let here = speakers(&vertex.value);
            for leaf in here.into_iter().chain(vertex.edge.committer).filter(|leaf| !settled.contains(leaf)) {
                moved.raise(leaf, vertex.number);
            }
            let added =
                vertex.value.commit.iter().flat_map(|commit| &commit.added).map(|added| added.member.leaf);
            for leaf in added {
                moved.raise(leaf, vertex.number);
                settled.insert(leaf);
            }
            settled.extend(&vertex.edge.removes);
        }
        moved
    }

    /// All others were heard in an epoch with this number, or later.
    fn floor(&self) -> u64 {
        self.counts.keys().next().copied().unwrap_or(u64::MAX)
    }

    fn follow(&mut self, id: &EpochId, number: u64, committer: Option<LeafIndex>, removed: &[LeafIndex]) {
        self.at = id.clone();
        removed.iter().for_each(|leaf| self.remove(*leaf));
        committer.into_iter().for_each(|leaf| self.raise(leaf, number));
    }

    fn remove(&mut self, leaf: LeafIndex) {
        if let Some(number) = self.last.remove(&leaf) {
            self.count_down(number);
        }
    }

    fn count_down(&mut self, number: u64) {
        if let Some(count) = self.counts.get_mut(&number) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&number);
            }
        }
    }

    fn set(&mut self, leaf: LeafIndex, number: u64) {
        if leaf == self.own {
            return;
        }
        self.remove(leaf);
        self.last.insert(leaf, number);
        *self.counts.entry(number).or_default() += 1;
    }

    /// Heard again; only members count.
    fn raise(&mut self, leaf: LeafIndex, number: u64) {
        if self.last.get(&leaf).is_some_and(|last| *last < number) {
            self.set(leaf, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::danger::AcceptAnyCredential;
    use crate::time::Time;
    use crate::{CipherSuite, Config, Credential, Identity, Limits, NewGroupOptions};

    #[test]
    fn who_was_heard_is_followed_and_not_searched_for_at_each_commit() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let limits = Limits { epochs: 4, ..Limits::default() };
        let config = Config { limits, ..Config::new(AcceptAnyCredential) };
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let alice = Identity::generate(suite, Credential::basic("alice"), rng).unwrap();
        let founding = Group::create(&alice, NewGroupOptions::default(), config, Time(0), rng).unwrap();
        let mut group = founding.apply_unsaved();
        for number in 1..10 {
            group.commit().stage_confirmed(Time(0), rng).unwrap().apply_unsaved();
            let at = group.moved.as_ref().map(|moved| moved.at.clone());
            assert_eq!(at, (number >= 3).then(|| group.state.head.clone()), "after {number} commits");
        }
    }
}
