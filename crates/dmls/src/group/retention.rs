//! What is deleted of an epoch, and when (draft s6.1.2, s7).
//!
//! - The network is whole: a commit deletes all epochs but the head.
//! - It is split: an epoch stays full as long as a member may still make a commit in it, as [`Retention`] says; after that,
//!   and if its branch lost, it is kept for a while to read messages that come late.
//! - In any case there are no more than [`Limits::epochs`]. What a full house evicts is where a missing commit is least likely:
//!   branches that lost, the oldest first; then the oldest epoch, if everybody was seen after it; then the newest of those
//!   that are neither recent nor a place where branches part. Who was silent since a split began will go on at the old end;
//!   commits that crossed each other are at the new one.
//! - A commit is final: its ancestors, and what it excludes, can only be read; until all its messages were delivered.

use std::collections::BTreeSet;

use crate::config::RetentionRule;
use crate::error::{Error, Usage};
use crate::forks::Edge;
use crate::key_schedule::{CommitId, EpochId};
use crate::time::Time;
use crate::tree::LeafIndex;

use super::effect::Effect;
use super::graph::Node;
use super::heard::{Heard, Passed};
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
    /// Whether what stays is for late messages only.
    pub is_left: bool,
}

/// One more epoch, on its way into the graph.
#[derive(Clone, Copy)]
pub(super) struct Added<'a> {
    pub id: &'a EpochId,
    pub number: u64,
    pub parent: Option<&'a EpochId>,
    pub edge: &'a Edge,
    pub made: Time,
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
        let now = self.head().made();
        self.lower(let_go, now).into_step(self)
    }

    /// Deletes what an epoch has beyond a level. The head can't go. See [`super::EpochRef::member_facts`] for what to decide by.
    pub fn delete_epoch(&mut self, id: &EpochId, level: Level) -> Result<Step<'_, Vec<Deleted>>, Error> {
        let vertex = self.graph.vertex(id).ok_or(Usage::UnknownEpoch)?;
        if *id == self.state.head {
            return Err(Usage::DeletesHead.into());
        }
        let lowers = vertex.value.level() > level;
        let let_go = lowers.then(|| self.gone(id, vertex.number, level, Why::Asked)).into_iter().collect();
        let now = self.head().made();
        Ok(self.lower(let_go, now).into_step(self))
    }

    /// Deletes what time alone makes superfluous: epochs that waited for somebody who was removed, and those that were kept for late messages. Call
    /// it after the start and every hour or so; a commit does the same.
    pub fn expire(&mut self, now: Time) -> Step<'_, Vec<Deleted>> {
        let let_go = match self.state.network {
            Network::Whole => Vec::new(),
            Network::Split => self.not_needed(&self.state.head, None, now),
        };
        self.lower(let_go, now).into_step(self)
    }

    fn gone(&self, id: &EpochId, number: u64, level: Level, why: Why) -> LetGo {
        LetGo { id: id.clone(), number, level, why, is_left: false }
    }

    fn lower(&self, let_go: Vec<LetGo>, now: Time) -> Decision<Vec<Deleted>> {
        let mut effects = Vec::new();
        let deleted = self.carry_out(let_go, now, &mut effects);
        Decision::new(deleted, effects)
    }

    /// What one more epoch lets go, itself perhaps; `head` is the head with it.
    pub(super) fn let_go(&self, head: &EpochId, new: Added<'_>) -> Vec<LetGo> {
        let mut let_go = Vec::new();
        if self.state.network == Network::Whole {
            let old = self.graph.retained().filter(|(_, id)| id != head);
            let_go.extend(old.map(|(number, id)| self.gone(id, *number, Level::Known, Why::Whole)));
            let_go.extend((new.id != head).then(|| self.gone(new.id, new.number, Level::Known, Why::Whole)));
            return let_go;
        }
        if self.graph.forks().finals().contains(&new.edge.commit) {
            let by = Released { commit: &new.edge.commit, id: None, parent: new.parent };
            let_go.extend(self.released_by(by));
        }
        if self.is_linear() {
            let old = self.graph.retained().filter(|(_, id)| id != head && self.is_full(id));
            let_go.extend(old.map(|(number, id)| self.gone(id, *number, Level::Readable, Why::Linear)));
        }
        let_go.extend(new.parent.into_iter().flat_map(|parent| self.over_quota(head, parent, new.edge)));
        let_go.extend(self.not_needed(head, Some(new), new.made));
        // An epoch may go for two reasons: then the lower level stays. The head never goes.
        let_go.retain(|gone| gone.id != *head);
        let_go.sort_by(|a, b| (a.number, &a.id, a.level).cmp(&(b.number, &b.id, b.level)));
        let_go.dedup_by(|one, before| one.id == before.id);
        self.evict(head, new, &mut let_go);
        let_go
    }

    /// What the rule does not need any more ([`crate::Retention`]).
    pub(super) fn not_needed(&self, head: &EpochId, new: Option<Added<'_>>, now: Time) -> Vec<LetGo> {
        let retention = &self.config.retention;
        if retention.rule == RetentionRule::WhileTold || self.is_linear() {
            return Vec::new();
        }
        let level = if retention.late_epochs > 0 { Level::Readable } else { Level::Known };
        let mut let_go = Vec::new();
        let leaves_way = self.leaves_way(head, new);
        if let Some(passed) = self.passed(head, new) {
            let before = (passed.before, EpochId::from(Vec::new()));
            let old = self.graph.way().range(..before).filter(|(_, id)| id != head && !leaves_way(id));
            let old = old.filter(|(number, _)| passed.has(*number, now, retention.removed_grace));
            let_go.extend(old.map(|(number, id)| self.left(id, *number, level, Why::Passed)));
        }
        for (number, id) in self.lost_for_good(head, new) {
            // Who is still there goes on from the end of the branch; what they say can be read as long as that is followed.
            let is_followed = new.is_some_and(|new| new.parent == Some(id));
            let is_end = !is_followed && self.graph.forks().children(id).next().is_none();
            let level = if is_end && level > Level::Known { Level::Full } else { level };
            let_go.push(self.left(id, *number, level, Why::Lost));
        }
        let is_lost = new.filter(|new| new.id != head && !self.hears_losers() && level == Level::Known);
        let_go.extend(is_lost.map(|new| self.gone(new.id, new.number, level, Why::Lost)));
        self.expire_late(now, &mut let_go);
        let_go
    }

    fn left(&self, id: &EpochId, number: u64, level: Level, why: Why) -> LetGo {
        LetGo { is_left: level > Level::Known, ..self.gone(id, number, level, why) }
    }

    /// Epochs on the way that nobody needs any more, as far as that can be said before the step.
    fn passed(&self, head: &EpochId, new: Option<Added<'_>>) -> Option<Passed> {
        let heard = self.heard.as_ref().filter(|heard| *heard.at() == self.state.head);
        match new {
            Some(new) if new.id != head => heard.map(Heard::passed),
            Some(new) if new.parent == Some(&self.state.head) => {
                heard.map(|heard| heard.passed_after(new.edge, new.number, new.made))
            }
            // The way turns: the next step will see.
            Some(_) => None,
            None => Some(heard.map_or_else(|| Heard::new(self, head).passed(), Heard::passed)),
        }
    }

    /// Branches that can't win any more. By the highest tag the first commit in which they differ has decided; where losers are
    /// heard, a commit may still come as long as the epoch in which they part processes some.
    fn lost_for_good<'a>(&'a self, head: &'a EpochId, new: Option<Added<'a>>) -> Vec<&'a (u64, EpochId)> {
        let leaves_way = self.leaves_way(head, new);
        let comes_back =
            |id: &EpochId| new.is_some_and(|new| new.id == head && self.is_above_parent(id, new));
        let beside = self.graph.beside().iter().filter(|(_, id)| id != head && !comes_back(id));
        if self.hears_losers() {
            let forks = self.graph.forks();
            let parts =
                |id: &EpochId| forks.ancestors(id).map(|(id, _)| id).find(|id| forks.is_on_way(id)).cloned();
            return beside.filter(|(_, id)| parts(id).is_none_or(|id| !self.is_full(&id))).collect();
        }
        beside.chain(self.graph.way().iter().filter(|(_, id)| id != head && leaves_way(id))).collect()
    }

    pub(super) fn hears_losers(&self) -> bool {
        self.graph.vertex(&self.state.head).is_some_and(|head| head.choice.hears_losers())
    }

    fn is_above_parent(&self, id: &EpochId, new: Added<'_>) -> bool {
        new.parent.is_some_and(|parent| self.graph.forks().is_above(id, parent))
    }

    /// Whether an epoch on the way is beside it with a new one that is the head. Without a turn the way goes on.
    fn leaves_way<'a>(&'a self, head: &EpochId, new: Option<Added<'a>>) -> impl Fn(&EpochId) -> bool + 'a {
        let turned = new.filter(|new| new.id == head && new.parent != Some(&self.state.head));
        move |id| turned.is_some_and(|new| !self.is_above_parent(id, new))
    }

    /// Of what is kept for late messages the oldest go, and what was kept long enough.
    fn expire_late(&self, now: Time, let_go: &mut Vec<LetGo>) {
        let retention = &self.config.retention;
        let lowest = |id: &EpochId| let_go.iter().filter(|gone| gone.id == *id).map(|gone| gone.level).min();
        let mut late: BTreeSet<_> = self.graph.late().clone();
        late.retain(|(_, _, id)| lowest(id) != Some(Level::Known));
        let new = let_go.iter().filter(|gone| gone.is_left && !late.iter().any(|(_, _, id)| *id == gone.id));
        let new: Vec<_> = new.map(|gone| (now, gone.number, gone.id.clone())).collect();
        late.extend(new);
        let excess = late.len().saturating_sub(retention.late_epochs);
        for (place, (left, number, id)) in late.iter().enumerate() {
            if place < excess || now.0.saturating_sub(left.0) >= retention.late_seconds {
                let_go.retain(|gone| gone.id != *id);
                let_go.push(self.gone(id, *number, Level::Known, Why::Late));
            }
        }
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
    fn evict(&self, head: &EpochId, new: Added<'_>, let_go: &mut Vec<LetGo>) {
        let Added { id, number, .. } = new;
        self.let_start_go(head, let_go);
        let gone = let_go.iter().filter(|gone| gone.level == Level::Known).count();
        let excess =
            (self.graph.count_retained() + 1).saturating_sub(gone + self.config.limits.epochs.max(1));
        if excess == 0 {
            return;
        }
        let is_beside = self.leaves_way(head, Some(new));
        let comes_back = |id: &EpochId| new.id == head && self.is_above_parent(id, new);
        let way = || self.graph.way().iter().filter(|(_, id)| id != head && !is_beside(id));
        let lost = self.graph.way().iter().filter(|(_, id)| id != head && is_beside(id));
        let beside = self.graph.beside().iter().filter(|(_, id)| id != head && !comes_back(id));
        let mut beside: Vec<_> = beside.chain(lost).collect();
        let new_lost = (number, id.clone());
        if id != head {
            beside.push(&new_lost);
        }
        beside.sort_unstable();

        let newest = if id == head { number } else { self.head().number() };
        let recent = newest.saturating_sub((self.config.limits.epochs / 8) as u64);
        let floor = self.heard.as_ref().map_or(0, |heard| heard.passed().before);
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
    pub(super) fn carry_out(&self, let_go: Vec<LetGo>, now: Time, effects: &mut Vec<Effect>) -> Vec<Deleted> {
        let mut deleted = Vec::new();
        let confirmed: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Confirm(commit) | Effect::DropPending(commit) => Some(commit.clone()),
                _ => None,
            })
            .collect();
        for LetGo { id, number, level, why, is_left } in let_go {
            let mut dropped = Vec::new();
            if let Some(vertex) = self.graph.vertex(&id) {
                let is_left = is_left && vertex.value.left.is_none();
                effects.extend(is_left.then(|| Effect::Leave(id.clone(), now)));
                if vertex.value.level() <= level {
                    continue;
                }
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

    /// Keeps count of who was seen where: always if the rule asks for it, or else once the limit of epochs is near.
    pub(super) fn track(&mut self, new: &EpochId) {
        let is_asked = self.config.retention.rule != RetentionRule::WhileTold
            || self.graph.count_retained() >= self.config.limits.epochs;
        let heard = self.heard.take().filter(|_| is_asked);
        let Some(vertex) = self.graph.vertex(new).filter(|_| is_asked) else { return };
        let forks = self.graph.forks();
        let followed = heard.and_then(|mut heard| {
            if !forks.is_on_way(new) {
                heard.commits_beside(self, vertex);
                return Some(heard);
            }
            heard.follow(self, new, vertex).then_some(heard)
        });
        // The head is not said yet; what is new becomes it if it can.
        let is_head = forks.end().key == *new && self.is_full(new);
        let head = if is_head { new } else { &self.state.head };
        self.heard = Some(followed.unwrap_or_else(|| Heard::new(self, head)));
    }

    /// A member spoke in an epoch.
    pub(super) fn heard(&mut self, id: &EpochId, leaf: LeafIndex) {
        if let Some(mut heard) = self.heard.take() {
            heard.message(self, id, leaf);
            self.heard = Some(heard);
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
    use crate::{CipherSuite, Config, Credential, Identity, Limits, NewGroupOptions, Retention};

    #[test]
    fn who_was_heard_is_followed_and_not_searched_for_at_each_commit() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let limits = Limits { epochs: 4, ..Limits::default() };
        let retention = Retention::while_told();
        let config = Config { limits, retention, ..Config::new(AcceptAnyCredential) };
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let alice = Identity::generate(suite, Credential::basic("alice"), rng).unwrap();
        let founding = Group::create(&alice, NewGroupOptions::default(), config, Time(0), rng).unwrap();
        let mut group = founding.apply_unsaved();
        for number in 1..10 {
            group.commit().stage_confirmed(Time(0), rng).unwrap().apply_unsaved();
            let at = group.heard.as_ref().map(|heard| heard.at().clone());
            assert_eq!(at, (number >= 3).then(|| group.state.head.clone()), "after {number} commits");
        }
    }
}
