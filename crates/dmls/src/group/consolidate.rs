//! What of a branch that lost is to be proposed again on the winner, and by whom.
//!
//! | the lost branch | the winner, since the fork | then |
//! |---|---|---|
//! | added X | X is not there | add X, by a fresh KeyPackage |
//! | added X | X is there, or was removed | nothing |
//! | removed X | X is there and has not committed | remove X |
//! | removed X | X is there and has committed | remove X; the caller may decide otherwise ([`ToRemove::active`]) |
//! | removed X | X was removed | nothing; if X was added again, that is told |
//! | removed X and added it again | whatever | nothing |
//! | removed X, who joined again by itself | | as if X had not |
//! | new keys, by updates and paths | | nothing: the next commit of each has some |
//! | extensions, pre-shared keys, a reinit | | told |
//!
//! It is a function of the graph, without a clock and without a state. What is done is not found again, and what the winner
//! decided about somebody since the fork stands: so it can be asked at any time, by any number of members, and after a restart.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::Encode;
use crate::credential::Credential;
use crate::crypto::{SignaturePublicKey, Suite};
use crate::epoch::{Added, KnownCommit, Member};
use crate::error::Usage;
use crate::forks::Vertex;
use crate::framing::Sender;
use crate::key_package::KeyPackage;
use crate::key_schedule::EpochId;
use crate::message::Proposal;
use crate::tree::{LeafIndex, RatchetTree};

use super::Group;
use super::graph::Node;
use super::since_fork::{Came, Gone, SinceFork, Who};

/// What branches that lost did and the winner has not: for [`crate::CommitBuilder::consolidate`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consolidation {
    /// The head for which it was found: all leaves are those of its members, except in `adds`.
    pub head: EpochId,
    /// Clients to be added again, as they were on the lost branch. The KeyPackage named is used up: each needs a fresh one.
    pub adds: Vec<Added>,
    /// Members to be removed. Take out whom you want to keep.
    pub removes: Vec<ToRemove>,
    /// Proposals of ours that no commit took, with the leaves of the head; of epochs that are still [`crate::Level::Full`]. Propose or
    /// commit them again. Updates are not among them.
    pub proposals: Vec<Proposal>,
    /// What is never repeated by itself, each with the epoch whose commit did it.
    pub told: Vec<(EpochId, Told)>,
    /// Who should commit, in this order: those who made the lost commits, then the other members, both by
    /// hash(epoch id, leaf). The first need not wait; each other waits its place times a delay of yours, then asks again what is left. All who know
    /// the same branches have the same order; who doesn't know them lets its turn pass. Empty if there is nobody to add or to remove.
    pub turns: Vec<LeafIndex>,
}

/// A member of the winner whom the lost branch removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToRemove {
    /// The member.
    pub member: Member,
    /// Whether it made a commit on the winner since the fork, or joined there by one.
    pub active: bool,
}

/// What a commit of a lost branch did that is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// It replaced the extensions of the GroupContext.
    Extensions,
    /// It mixed in so many pre-shared keys.
    Psks(u32),
    /// It ended the group; a successor may exist.
    ReInit,
    /// Somebody joined by it, by an external commit, and has to join again.
    Joined(Option<Credential>),
    /// Somebody was added on both branches by the same KeyPackage: if it took the Welcome of the lost branch, it can't take the
    /// other, and has to join again.
    SameKeyPackage(Member),
    /// It removed somebody whom the winner removed too and has added again: that stands.
    AddedAgain(Member),
    /// So many clients whom it added are not known: lists that are kept for long are short ([`KnownCommit`]).
    UnlistedAdds(u32),
    /// It removed somebody, and because of such a list it is not known whom.
    UnlistedRemove,
    /// The branch is not known from here up: the graph has forgotten it.
    Forgotten,
}

impl Consolidation {
    /// Whether there is nobody to add and nobody to remove.
    pub fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.removes.is_empty()
    }

    /// Whether a KeyPackage is good for one of those who are to be added.
    pub(super) fn check_fresh(&self, key_package: &KeyPackage, suite: &Suite) -> Result<(), Usage> {
        let key = &key_package.leaf_node.signature_key;
        let added = self.adds.iter().find(|added| added.member.signature_key == *key);
        let added = added.ok_or(Usage::NotToAdd)?;
        if added.key_package == key_package.reference(suite) {
            return Err(Usage::KeyPackageUsed);
        }
        Ok(())
    }
}

/// A branch that lost: its epochs, the newest first, and where it begins.
struct LostBranch<'g> {
    path: Vec<(&'g EpochId, &'g Vertex<EpochId, Node>)>,
    fork: &'g EpochId,
}

/// A proposal of ours in an epoch of a lost branch.
struct Intent {
    proposal: Proposal,
    /// Whom it removes.
    target: Option<(Who, SignaturePublicKey)>,
}

impl Group {
    /// What branches that lost did and the head's has not. `lost` names an epoch of each, the last that is to count; those above
    /// it are included. Give `NewEpoch::lost` or `Turn::lost` when the head moves, and `NewEpoch::id` of a commit that is not the head's; or after a
    /// restart all epochs that are not [`crate::EpochRef::is_on_way`]. Nothing is found while we are stranded, or out of the group.
    pub fn consolidate<'a>(&self, lost: impl IntoIterator<Item = &'a EpochId>) -> Consolidation {
        let mut found = Found::default();
        let mut winners = BTreeMap::new();
        for branch in self.lost_branches(lost, &mut found.told) {
            let winner = winners.entry(branch.fork).or_insert_with(|| self.since(branch.fork));
            let (lost, intents) = self.follow_lost(&branch);
            let tree = &self.head_epoch().public().tree;
            Comparison { tree, lost: &lost, winner }.compare(intents, &mut found);
            lost.told.into_iter().for_each(|(epoch, told)| found.tell(&epoch, told));
        }
        let turns = self.turns(&found);
        Consolidation {
            head: self.state.head.clone(),
            adds: found.adds,
            removes: found.removes.into_values().collect(),
            proposals: found.proposals,
            told: found.told,
            turns,
        }
    }

    /// From the ends of the branches; who names an inner epoch too means the same branch.
    fn lost_branches<'a>(
        &self,
        lost: impl IntoIterator<Item = &'a EpochId>,
        told: &mut Vec<(EpochId, Told)>,
    ) -> Vec<LostBranch<'_>> {
        let forks = self.graph.forks();
        // The others are on a branch that we can't follow: nothing of ours would help them.
        if forks.end().key != self.state.head || forks.end().dead_end.is_some() {
            return Vec::new();
        }
        let winner: BTreeSet<_> = forks.ancestors(&self.state.head).map(|(id, _)| id).collect();
        let mut branches = BTreeMap::new();
        let mut inner = BTreeSet::new();
        for id in lost {
            let Some((id, _)) = forks.entry(id) else {
                told.push((id.clone(), Told::Forgotten));
                continue;
            };
            let mut above = forks.ancestors(id);
            let mut path = Vec::new();
            let fork = above.find_map(|(id, vertex)| {
                let is_common = winner.contains(id);
                path.extend((!is_common).then_some((id, vertex)));
                is_common.then_some(id)
            });
            match (fork, path.first()) {
                (Some(fork), Some((end, _))) => {
                    inner.extend(path.iter().skip(1).map(|(id, _)| *id));
                    branches.insert(*end, LostBranch { path, fork });
                }
                (Some(_), None) => {}
                (None, _) => {
                    told.push((path.last().map_or(id, |(top, _)| *top).clone(), Told::Forgotten));
                }
            }
        }
        branches.into_iter().filter(|(end, _)| !inner.contains(end)).map(|(_, branch)| branch).collect()
    }

    /// What the way to the head did.
    fn since(&self, fork: &EpochId) -> SinceFork {
        let above = self.graph.forks().ancestors(&self.state.head);
        let way: Vec<_> = above.take_while(|(id, _)| *id != fork).collect();
        let mut since = SinceFork::default();
        way.into_iter().rev().for_each(|(id, vertex)| since.follow(id, vertex));
        since
    }

    /// What a branch did, and what we wanted on it.
    fn follow_lost(&self, branch: &LostBranch<'_>) -> (SinceFork, Vec<Intent>) {
        let mut since = SinceFork::default();
        let mut intents = Vec::new();
        for (place, (id, vertex)) in branch.path.iter().enumerate().rev() {
            since.follow(id, vertex);
            let next = place.checked_sub(1).map(|next| branch.path[next].1);
            intents.extend(self.intents(vertex, next, &since));
        }
        (since, intents)
    }

    /// Proposals of ours in an epoch that the next commit did not take.
    fn intents(
        &self,
        vertex: &Vertex<EpochId, Node>,
        next: Option<&Vertex<EpochId, Node>>,
        since: &SinceFork,
    ) -> Vec<Intent> {
        let Some(epoch) = vertex.value.full() else { return Vec::new() };
        let own = Sender::Member(epoch.own_leaf());
        let next =
            next.and_then(|next| next.value.commit.as_ref().map(|commit| (commit, &next.edge.removes)));
        let mut stored: Vec<_> = epoch.proposals.values().filter(|stored| stored.sender == own).collect();
        stored.sort_by_key(|stored| stored.order);
        let intent = |proposal: &Proposal| {
            let taken = next.is_some_and(|(commit, removes)| self.takes(commit, removes, proposal));
            let target = match proposal {
                Proposal::Update(_) => return None,
                Proposal::Remove(leaf) => {
                    Some((since.who(*leaf), epoch.public().tree.leaf(*leaf)?.signature_key.clone()))
                }
                _ => None,
            };
            (!taken).then(|| Intent { proposal: proposal.clone(), target })
        };
        stored.into_iter().filter_map(|stored| intent(&stored.proposal)).collect()
    }

    /// Whether a commit took a proposal, as far as one can see by what it did.
    fn takes(&self, commit: &KnownCommit, removes: &[LeafIndex], proposal: &Proposal) -> bool {
        match proposal {
            Proposal::Add(key_package) => {
                let reference = key_package.reference(&self.suite);
                let is_cut = commit.added.len() < commit.added_count as usize;
                is_cut || commit.added.iter().any(|added| added.key_package == reference)
            }
            Proposal::Remove(leaf) => removes.contains(leaf),
            Proposal::PreSharedKey(_) => commit.psks > 0,
            Proposal::GroupContextExtensions(_) => commit.extensions_changed,
            Proposal::ReInit(_) => commit.reinit,
            Proposal::Update(_) | Proposal::ExternalInit(_) => true,
        }
    }

    fn turns(&self, found: &Found) -> Vec<LeafIndex> {
        if found.adds.is_empty() && found.removes.is_empty() {
            return Vec::new();
        }
        let head = &self.state.head;
        let leaves = self.head_epoch().public().tree.leaves().map(|(leaf, _)| leaf);
        // Nobody can commit its own removal.
        let able = leaves.filter(|leaf| !found.removes.contains_key(leaf));
        let mut turns: Vec<_> = able
            .map(|leaf| {
                let hash = self.suite.hash(&[head.as_bytes(), &leaf.to_bytes()]);
                (!found.authors.contains(&leaf), hash, leaf)
            })
            .collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, _, leaf)| leaf).collect()
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    adds: Vec<Added>,
    removes: BTreeMap<LeafIndex, ToRemove>,
    proposals: Vec<Proposal>,
    told: Vec<(EpochId, Told)>,
    /// Who committed what was lost, by the leaves of the head.
    authors: BTreeSet<LeafIndex>,
}

/// Two branches may begin with the same commits.
impl Found {
    fn add(&mut self, came: &Came) {
        let key = &came.added.member.signature_key;
        if !self.adds.iter().any(|added| added.member.signature_key == *key) {
            self.adds.push(came.added.clone());
        }
    }

    fn tell(&mut self, epoch: &EpochId, told: Told) {
        let told = (epoch.clone(), told);
        if !self.told.contains(&told) {
            self.told.push(told);
        }
    }
}

/// A branch that lost beside the winner; both begin at one epoch.
struct Comparison<'a> {
    /// Of the head.
    tree: &'a RatchetTree,
    lost: &'a SinceFork,
    winner: &'a SinceFork,
}

impl Comparison<'_> {
    fn compare(&self, intents: Vec<Intent>, found: &mut Found) {
        for gone in &self.lost.removed {
            self.removal(gone, found);
        }
        for came in self.lost.added.values() {
            if !self.is_settled(came, found) {
                found.add(came);
                found.authors.extend(self.on_winner(came.by, None));
            }
        }
        for (epoch, credential) in self.lost.joined.values() {
            found.tell(epoch, Told::Joined(credential.clone()));
        }
        for proposal in intents.into_iter().filter_map(|intent| self.intent(intent)) {
            if !found.proposals.contains(&proposal) {
                found.proposals.push(proposal);
            }
        }
    }

    fn removal(&self, gone: &Gone, found: &mut Found) {
        let on_winner = self.on_winner(gone.who, gone.key.as_ref());
        let member = on_winner.and_then(|leaf| self.member(leaf));
        let came_back = |key: &SignaturePublicKey| self.lost.added(key).is_some();
        let keys = gone.key.iter().chain(member.iter().map(|member| &member.signature_key));
        if keys.into_iter().any(came_back) {
            return;
        }
        if self.winner.has_removed(Some(gone.who), gone.key.as_ref()) {
            let again = gone.key.as_ref().and_then(|key| self.find(key));
            if let Some(member) = again.and_then(|leaf| self.member(leaf)) {
                found.tell(&gone.epoch, Told::AddedAgain(member));
            }
            return;
        }
        let Some(member) = member else { return };
        if !gone.is_sure && gone.key.as_ref() != Some(&member.signature_key) {
            return found.tell(&gone.epoch, Told::UnlistedRemove);
        }
        let active = self.winner.has_committed(member.leaf);
        found.authors.extend(self.on_winner(gone.by, None));
        found.removes.insert(member.leaf, ToRemove { member, active });
    }

    /// Whether somebody who was added is on the winner, or is a matter that the winner has decided.
    fn is_settled(&self, came: &Came, found: &mut Found) -> bool {
        let key = &came.added.member.signature_key;
        if let Some((leaf, other)) = self.winner.added(key) {
            let twice = self.member(leaf).filter(|_| other.key_package == came.added.key_package);
            if let Some(member) = twice {
                found.tell(&came.epoch, Told::SameKeyPackage(member));
            }
            return true;
        }
        if self.tree.has_signature_key(key) {
            return true;
        }
        // Also under another key, if it was there at the fork.
        let was_there = |gone: &Gone| matches!(gone.who, Who::AtFork(_)) && gone.key.as_ref() == Some(key);
        self.winner.has_removed(None, Some(key)) || self.lost.removed.iter().any(was_there)
    }

    fn intent(&self, intent: Intent) -> Option<Proposal> {
        match (intent.proposal, intent.target) {
            (Proposal::Remove(_), Some((who, key))) => self.on_winner(who, Some(&key)).map(Proposal::Remove),
            (Proposal::Add(key_package), _) => {
                let is_there = self.tree.has_signature_key(&key_package.leaf_node.signature_key);
                (!is_there).then_some(Proposal::Add(key_package))
            }
            (proposal, _) => Some(proposal),
        }
    }

    /// Where somebody of the lost branch is in the head.
    fn on_winner(&self, who: Who, key: Option<&SignaturePublicKey>) -> Option<LeafIndex> {
        match who {
            Who::AtFork(leaf) => {
                let is_there = !self.winner.has_removed(Some(who), None);
                is_there.then(|| self.winner.place(leaf))
            }
            Who::Since(_) => self.find(key?),
        }
    }

    fn member(&self, leaf: LeafIndex) -> Option<Member> {
        Some(Member::new(leaf, self.tree.leaf(leaf)?))
    }

    /// Who has a signature key in the head, or was added by it.
    fn find(&self, key: &SignaturePublicKey) -> Option<LeafIndex> {
        if let Some((leaf, _)) = self.winner.added(key) {
            return Some(leaf);
        }
        self.tree.leaves().find(|(_, leaf)| leaf.signature_key == *key).map(|(leaf, _)| leaf)
    }
}
