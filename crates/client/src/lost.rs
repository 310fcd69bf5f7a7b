//! Branches that lost: what of them is to be done again, and by which key packages.

use std::collections::BTreeSet;

use dmls::crypto::{KeyPackageRef, SignaturePublicKey};
use dmls::{Added, Consolidation, EpochId, Group, KeyPackage, Time};
use dmls_store::Profile;

use crate::client::{Client, note, unknown};
use crate::entry::{GroupEvent, Note};
use crate::error::Error;
use crate::names::name_in;
use crate::people::{Origin, Person};
use crate::record::Text;
use crate::state::{Local, State};

/// What lost branches did and the head's did not, as far as it can be done again.
pub(crate) struct Repeat {
    pub todo: Consolidation,
    /// Key packages that those whom they had added have published since.
    pub fresh: Vec<KeyPackage>,
    /// Key packages by which we had added somebody, by a commit that lost before its Welcome was sent. Their owners have heard of nothing, and
    /// publish no others soon.
    pub unused: Vec<KeyPackage>,
}

impl Repeat {
    pub(crate) fn find(profile: &Profile, group: &Group, lost: &[EpochId], now: Time) -> Result<Self, Error> {
        let todo = group.consolidate(lost);
        let (mut fresh, mut unused) = (Vec::new(), Vec::new());
        if !todo.adds.is_empty() {
            let people = Person::all(profile)?;
            let never_used = never_used(group);
            for added in &todo.adds {
                let of =
                    |person: &&Person| *person.key() == added.member.signature_key && person.is_valid_at(now);
                let there = people.get(added.key_package.as_bytes()).filter(of);
                let others =
                    people.iter().filter(|(reference, _)| *reference != added.key_package.as_bytes());
                let newest = others
                    .map(|(_, person)| person)
                    .filter(of)
                    .max_by_key(|person| Origin::of(&person.key_package.leaf_node).made);
                if let Some(person) = newest {
                    fresh.push(person.key_package.clone());
                } else if let Some(person) = there.filter(|_| never_used.contains(&added.key_package)) {
                    unused.push(person.key_package.clone());
                }
            }
        }
        Ok(Self { todo, fresh, unused })
    }

    /// Whether nothing of it can be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.todo.removes.is_empty() && self.key_packages().next().is_none()
    }

    /// Those by which it adds people.
    pub(crate) fn key_packages(&self) -> impl Iterator<Item = &KeyPackage> {
        self.fresh.iter().chain(&self.unused)
    }

    /// Whether it adds somebody with this key.
    pub(crate) fn adds(&self, key: &SignaturePublicKey) -> bool {
        self.key_packages().any(|key_package| key_package.leaf_node.signature_key == *key)
    }
}

/// Key packages that we have used in commits on branches that lost, whose Welcomes were not sent.
fn never_used(group: &Group) -> BTreeSet<KeyPackageRef> {
    let is_unsent =
        |epoch: &dmls::EpochRef<'_>| !epoch.is_on_way() && group.has_unsent_welcome(epoch.commit_id());
    let commits = group.epochs().filter(is_unsent).filter_map(|epoch| epoch.commit());
    commits.flat_map(|commit| &commit.added).map(|added: &Added| added.key_package.clone()).collect()
}

impl Client {
    /// Branches that lost: once nothing of them is left to be done again they are forgotten. Who was added there and can't be invited again is told.
    pub(crate) fn look_at_lost(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        let Self { groups, profile, events, .. } = self;
        let Local { group, state, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        // Who is lost itself finds nothing.
        if state.lost.is_empty() || state.stranded {
            return Ok(());
        }
        let again = Repeat::find(profile, group, &state.lost, now)?;
        let missing = again.todo.adds.iter().filter(|added| !again.adds(&added.member.signature_key));
        let missing: Vec<_> = missing.map(|added| name_in(&added.member.credential)).collect();
        let lost = if again.todo.is_empty() { Vec::new() } else { state.lost.clone() };
        let new_state = State { lost, missing: missing.iter().cloned().map(Text).collect(), ..state.clone() };
        if new_state == *state {
            return Ok(());
        }
        let is_new = !missing.is_empty() && new_state.missing != state.missing;
        let mut told = Vec::new();
        profile.transaction(|tx| {
            if is_new {
                note(tx, &mut told, id, Note::new(GroupEvent::NotAdded, now).whom(missing))?;
            }
            new_state.store(tx, id)
        })?;
        *state = new_state;
        events.extend(told);
        Ok(())
    }
}
