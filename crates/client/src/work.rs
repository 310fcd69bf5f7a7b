//! Commits: what a person wants, and what one of the members has to do for all.

use std::collections::BTreeSet;

use dmls::codec::{Decode, Encode};
use dmls::crypto::KeyPackageRef;
use dmls::extension::Extensions;
use dmls::tree::LeafNode;
use dmls::{Group, KeyPackage, LeafIndex, Suite, Time};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use crate::client::{Client, group_name, name_given, note, saw, unknown};
use crate::doubt::{AHEAD, Began};
use crate::entry::{GroupEvent, Note};
use crate::error::Error;
use crate::happened::new_epoch;
use crate::lost::Repeat;
use crate::outbox;
use crate::parcel::{Name, Place};
use crate::people::{Origin, Person};
use crate::record::Text;
use crate::state::{Local, Spaces, State};

/// What a commit of ours is to do, beside the proposals that wait.
#[derive(Default)]
pub(crate) struct Work {
    pub removes: BTreeSet<LeafIndex>,
    pub adds: Vec<KeyPackage>,
    pub extensions: Option<Extensions>,
    /// What lost branches did.
    pub lost: Option<Repeat>,
    /// Requests that it answers, or that are void.
    pub requests: Vec<KeyPackageRef>,
}

impl Work {
    /// The key packages of others that it would use.
    pub(crate) fn key_packages(&self, suite: &Suite) -> Vec<KeyPackageRef> {
        let again = self.lost.iter().flat_map(Repeat::key_packages);
        self.adds.iter().chain(again).map(|key_package| key_package.reference(suite)).collect()
    }

    /// Whether it decides about a member already.
    fn decides(&self, leaf: LeafIndex, key_package: &KeyPackage) -> bool {
        let key = &key_package.leaf_node.signature_key;
        let mut lost = self.lost.iter();
        self.removes.contains(&leaf)
            || lost.any(|again| {
                again.todo.removes.iter().any(|removal| removal.member.leaf == leaf) || again.adds(key)
            })
    }
}

/// Somebody asks to be taken in again.
struct Request {
    reference: KeyPackageRef,
    key_package: KeyPackage,
    /// The member's leaf; none if the request is void.
    replaces: Option<LeafIndex>,
}

impl Request {
    /// Whether we should answer: who only guesses that it lost the way is answered by those who know more of it, or by anybody after a day.
    fn is_ours(&self, began: Began, now: Time) -> bool {
        let origin = Origin::of(&self.key_package.leaf_node);
        origin.began.is_none_or(|other| began < other) || now.0 >= origin.made.saturating_add(AHEAD)
    }
}

impl Client {
    /// Commits. Without a server a commit counts as soon as it is made: it is confirmed in the transaction that queues it, so that we never
    /// commit in its parent again.
    pub(crate) fn commit(
        &mut self,
        id: &[u8],
        work: Work,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        let own_name = self.name();
        let Self { groups, profile, events, seen, .. } = self;
        let Local { group, tag, state, changed, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let before = group_name(group);
        let name = work.extensions.as_ref().map(name_given).filter(|name| *name != before);
        let mut commit = group.commit();
        let repeated: BTreeSet<_> = work
            .lost
            .iter()
            .flat_map(|again| &again.todo.removes)
            .map(|removal| removal.member.leaf)
            .collect();
        let consolidates = work.lost.as_ref().is_some_and(|again| !again.is_empty());
        if let Some(Repeat { todo, fresh, unused }) = &work.lost {
            commit = commit.consolidate(todo, fresh.iter().cloned())?;
            for key_package in unused {
                commit = commit.add(key_package.clone());
            }
        }
        for leaf in work.removes.difference(&repeated) {
            commit = commit.remove(*leaf);
        }
        for key_package in &work.adds {
            commit = commit.add(key_package.clone());
        }
        if let Some(extensions) = work.extensions {
            commit = commit.extensions(extensions);
        }
        let step = commit.stage_confirmed(now, rng)?;
        let mut told = Vec::new();
        let mut new_state = State { due: None, ..state.clone() };
        let made = step.persist(|changes, made| {
            profile.transaction(|tx| {
                tx.write_group(id, changes)?;
                outbox::post_message(tx, id, *tag, &made.sent.message)?;
                for reference in &work.requests {
                    tx.delete(Spaces(id).requests(), reference.as_bytes())?;
                }
                new_epoch(tx, &mut told, id, &mut new_state, &made.epoch, now)?;
                if consolidates {
                    note(tx, &mut told, id, Note::new(GroupEvent::Consolidated, now).by(own_name.clone()))?;
                }
                if let Some(name) = name {
                    new_state.name = Text(name.clone());
                    let renamed = Note::new(GroupEvent::Renamed, now).by(own_name).whom(vec![name]);
                    note(tx, &mut told, id, renamed)?;
                }
                new_state.store(tx, id)
            })
        })?;
        (*state, *changed) = (new_state, true);
        saw(seen, Place::Group(*tag), Name::of(&made.sent.message));
        events.extend(told);
        Ok(())
    }

    /// What members should do in a group, and whose turn it is: how many come before us. `None` if there is nothing to do.
    pub(crate) fn due_work(&self, id: &[u8], now: Time) -> Result<Option<(Work, u64)>, Error> {
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        let group = &local.group;
        let head = group.head();
        let mut work = Work::default();
        let Some(own) = head.own_leaf() else { return Ok(None) };
        let mut turn = None;
        if !local.state.lost.is_empty() {
            let again = Repeat::find(&self.profile, group, &local.state.lost, now)?;
            if !again.is_empty() {
                turn = again.todo.turns.iter().position(|leaf| *leaf == own);
                work.lost = Some(again);
            }
        }
        for request in self.requests(group, now)? {
            if !request.is_ours(local.state.began, now) {
                continue;
            }
            let is_decided = request.replaces.is_some_and(|leaf| work.decides(leaf, &request.key_package));
            if let Some(leaf) = request.replaces.filter(|_| !is_decided) {
                work.removes.insert(leaf);
                work.adds.push(request.key_package);
            }
            work.requests.push(request.reference);
        }
        let waiting = head.proposals().is_some_and(|proposals| !proposals.is_empty());
        let something = work.lost.is_some() || !work.adds.is_empty() || waiting;
        if !something && !self.update_due(local, now) {
            return Ok(None);
        }
        let without: BTreeSet<_> = work.removes.clone();
        Ok(Some((work, turn.unwrap_or_else(|| place_in_line(group, own, &without)) as u64)))
    }

    /// Forgets key packages that can't be used.
    pub(crate) fn drop_key_packages(&mut self, id: &[u8], used: &[KeyPackageRef]) -> Result<(), Error> {
        self.profile.transaction(|tx| {
            for reference in used {
                tx.delete(Spaces(id).requests(), reference.as_bytes())?;
                Person::delete(tx, reference.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Requests to be taken in again, the newest first: of each member that one counts.
    fn requests(&self, group: &Group, now: Time) -> Result<Vec<Request>, Error> {
        let head = group.head();
        let members = head.members().unwrap_or_default();
        let mut requests = Vec::new();
        for (reference, stored) in self.profile.all(Spaces(group.id()).requests())? {
            let key_package =
                KeyPackage::from_bytes(stored.as_bytes()).map_err(|_| Error::Damaged("a request"))?;
            let leaf = &key_package.leaf_node;
            let is_now = Person::lifetime_of(&key_package).is_some_and(|lifetime| lifetime.contains(now));
            // What is not newer than the leaf was answered, or is repeated by somebody else.
            let newer = |there: &LeafNode| Origin::of(there).made < Origin::of(leaf).made;
            let member = members.iter().find(|member| member.signature_key == leaf.signature_key);
            let replaces = member
                .filter(|member| Some(member.leaf) != head.own_leaf() && is_now)
                .filter(|member| head.leaf(member.leaf).is_some_and(newer))
                .map(|member| member.leaf);
            requests.push(Request { reference: KeyPackageRef::from(reference), key_package, replaces });
        }
        requests.sort_by_key(|request| std::cmp::Reverse(Origin::of(&request.key_package.leaf_node).made));
        Ok(requests)
    }

    /// Whether our keys are to be renewed: regularly, and once others wait for a commit of ours (draft s7).
    fn update_due(&self, local: &Local, now: Time) -> bool {
        const DAY: u64 = 86_400;
        let State { committed, .. } = local.state;
        if now.0 >= committed.0.saturating_add(self.settings.update_after) {
            return true;
        }
        // What only renewed keys is not waited for in a day: each renewal would make the next one due, for ever.
        let waits = |epoch: dmls::EpochRef<'_>| {
            epoch.level() == dmls::Level::Full
                && epoch.is_on_way()
                && committed < epoch.made()
                && now.0 >= epoch.made().0.saturating_add(DAY)
                && epoch.commit().is_some_and(decides_something)
        };
        local.group.epochs().any(waits)
    }
}

/// How many members come before us, by hash(epoch id, leaf): all who are in the epoch have the same order, and no member is always first.
fn place_in_line(group: &Group, own: LeafIndex, without: &BTreeSet<LeafIndex>) -> usize {
    let head = group.head();
    let rank = |leaf: LeafIndex| {
        let hash = Sha256::new().chain_update(b"dmls turn").chain_update(head.id().as_bytes());
        <[u8; 32]>::from(hash.chain_update(leaf.to_bytes()).finalize())
    };
    let ours = rank(own);
    let members = head.members().unwrap_or_default();
    let others =
        members.iter().map(|member| member.leaf).filter(|leaf| *leaf != own && !without.contains(leaf));
    others.filter(|leaf| rank(*leaf) < ours).count()
}

/// Whether a commit did more than to renew the keys of its author.
fn decides_something(commit: &dmls::KnownCommit) -> bool {
    commit.added_count > 0
        || commit.removed_count > 0
        || commit.psks > 0
        || commit.extensions_changed
        || commit.reinit
        || commit.external
}
