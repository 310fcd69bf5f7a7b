//! Parcels come in: each is taken in once, in one transaction with all that it leads to.

use dmls::codec::Encode;
use dmls::{Founding, Group, KeyPackage, Member, Time};
use dmls_store::{StoredKeyPackage, Table, Transaction};

use crate::client::{Client, group_name, note, see_common};
use crate::crowd::{Crowd, Room};
use crate::doubt;
use crate::entry::{GroupEvent, Note};
use crate::error::Error;
use crate::event::Event;
use crate::happened::meet;
use crate::names::name_in;
use crate::outbox;
use crate::own_packages;
use crate::parcel::{GroupTag, Name, Place};
use crate::people::{Origin, Person, is_presentable};
use crate::state::{Local, Spaces, State, see};

/// Invitations that wait, by the name of their parcel.
const INVITATIONS: Table<'_> = Table::new("invitations");

/// Invitations that wait, at most: anybody who has a key package of ours can make one. More than a person would look through.
const MAX_INVITATIONS: usize = 256;
/// Invitations that wait, at most, for one into a group that we are in to wait with them: members leave room for others.
const MAX_WAITING: usize = 64;
/// Groups that we join by ourselves, at most: each costs memory, and time at each synchronization. A person can join more.
const MAX_GROUPS: usize = 256;

/// Why an invitation is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It has just come.
    New,
    /// A person accepts what waits.
    Person,
    /// It waits, and something else has changed.
    Again,
}

/// What becomes of a parcel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was taken in.
    Taken,
    /// There is no room for it: it is looked at again when there may be.
    Later,
    /// It can be taken in once others were.
    Again,
}

impl Client {
    /// Takes in a parcel of a place. Whatever its bytes are, it is taken in once; false if it should be given again later.
    pub fn take_in(&mut self, place: Place, bytes: &[u8], now: Time) -> Result<bool, Error> {
        let name = Name::of(bytes);
        self.load_seen(place)?;
        if self.seen.get(&place).is_some_and(|seen| seen.contains(&name)) {
            return Ok(true);
        }
        if self.later.get(&place).is_some_and(|later| later.contains(&name)) {
            return Ok(false);
        }
        let taken = match place {
            Place::People => self.take_person(name, bytes, now),
            Place::Invitations => self.take_invitation(name, bytes, now),
            Place::Requests => self.take_request(name, bytes),
            Place::Group(_) => match self.group_at(place) {
                Some(id) => self.take_message(&id, name, bytes, now),
                None => return Ok(false),
            },
        };
        let fate = match taken {
            Ok(fate) => fate,
            Err(e) if e.is_fatal() => return Err(e),
            // It must not keep others out. After a restart it is tried again.
            Err(e) => {
                self.events.push(Event::Refused { place, name, why: e.to_string() });
                Fate::Later
            }
        };
        match fate {
            Fate::Taken => self.seen.entry(place).or_default().insert(name),
            Fate::Later => self.later.entry(place).or_default().insert(name),
            Fate::Again => false,
        };
        Ok(fate == Fate::Taken)
    }

    pub(crate) fn refuse(&mut self, place: Place, name: Name, why: String) -> Result<Fate, Error> {
        let group = self.group_at(place);
        self.profile.transaction(|tx| match &group {
            Some(id) => see(tx, id, &name),
            None => see_common(tx, &name),
        })?;
        self.events.push(Event::Refused { place, name, why });
        Ok(Fate::Taken)
    }

    /// A key package by which somebody can be invited.
    fn take_person(&mut self, name: Name, bytes: &[u8], now: Time) -> Result<Fate, Error> {
        let key_package = match self.key_package(bytes) {
            Ok(key_package) => key_package,
            Err(why) => return self.refuse(Place::People, name, why),
        };
        let reference = key_package.reference(self.identity.suite());
        let leaf = &key_package.leaf_node;
        let own = leaf.signature_key == *self.identity.signer().public();
        let crowd = match self.crowd.take() {
            Some(crowd) => crowd,
            None => Crowd::load(&self.profile)?,
        };
        let crowd = self.crowd.insert(crowd);
        let replaced = match crowd.room(&self.profile, &key_package)? {
            _ if own => None,
            Room::Yes(replaced) => replaced,
            Room::Newer => {
                self.profile.transaction(|tx| see_common(tx, &name))?;
                return Ok(Fate::Taken);
            }
            Room::No => {
                let why = "too many key packages of others are here: it is looked at after a restart";
                self.events.push(Event::Refused { place: Place::People, name, why: why.to_owned() });
                return Ok(Fate::Later);
            }
        };
        let mut told = Vec::new();
        self.profile.transaction(|tx| {
            see_common(tx, &name)?;
            if let Some(replaced) = &replaced {
                Person::delete(tx, replaced)?;
            }
            if !own {
                meet(tx, &mut told, &leaf.credential, &leaf.signature_key, now)?;
                Person::put(tx, &key_package, reference.as_bytes())?;
            }
            Ok::<_, Error>(())
        })?;
        if !own {
            crowd.add(&key_package, reference.as_bytes().to_vec());
        }
        self.events.extend(told);
        Ok(Fate::Taken)
    }

    /// A KeyPackage as it came. That it is signed is checked now: what somebody else made under a name would else take the place of what its owner
    /// made, or be refused again and again where it is used.
    fn key_package(&self, bytes: &[u8]) -> Result<KeyPackage, String> {
        let key_package = KeyPackage::from_message(bytes).map_err(|e| e.to_string())?;
        if key_package.cipher_suite != self.identity.suite().code() {
            return Err("its cipher suite is not ours".to_owned());
        }
        if !is_presentable(&key_package) {
            return Err("its name can't be shown".to_owned());
        }
        let (suite, config) = (self.identity.suite(), &self.config);
        let checked = key_package.check(suite, config.max_lifetime, &*config.authentication);
        checked.map_err(|e| e.to_string())?;
        Ok(key_package)
    }

    /// A Welcome. Those for others are none of our business.
    fn take_invitation(&mut self, name: Name, bytes: &[u8], now: Time) -> Result<Fate, Error> {
        match self.profile.key_package_for(bytes, self.config.provider) {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.answered_twice(bytes, now, |tx| see_common(tx, &name))?;
                return Ok(Fate::Taken);
            }
            Err(dmls_store::Error::Core(e)) => return self.refuse(Place::Invitations, name, e.to_string()),
            Err(e) => return Err(e.into()),
        }
        if self.profile.all(INVITATIONS)?.len() >= MAX_INVITATIONS {
            let why = "too many invitations wait".to_owned();
            self.events.push(Event::Refused { place: Place::Invitations, name, why });
            return Ok(Fate::Later);
        }
        self.profile.transaction(|tx| {
            tx.put(INVITATIONS, &name.0, bytes)?;
            see_common(tx, &name)
        })?;
        if self.settings.ask || self.groups.len() >= MAX_GROUPS {
            self.events.push(Event::Invited { invitation: name });
        } else {
            self.accept(name, Look::New, now)?;
        }
        Ok(Fate::Taken)
    }

    /// Accepts what waits, unless a person is to be asked: after a restart, and when it may be known now who invited us.
    pub(crate) fn accept_waiting(&mut self, now: Time) -> Result<(), Error> {
        while self.waits_for_us && !self.settings.ask {
            self.accept_all(Look::Again, now)?;
        }
        Ok(())
    }

    /// Joins the groups to which we are invited; how many.
    pub fn join(&mut self, now: Time) -> Result<usize, Error> {
        self.accept_all(Look::Person, now)
    }

    fn accept_all(&mut self, look: Look, now: Time) -> Result<usize, Error> {
        let waiting: Vec<_> = self.profile.all(INVITATIONS)?.into_keys().collect();
        let mut joined = 0;
        self.waits_for_us = false;
        for name in waiting.into_iter().filter_map(|name| name.try_into().ok().map(Name)) {
            joined += usize::from(self.accept(name, look, now)?);
        }
        Ok(joined)
    }

    /// Accepts an invitation into a group that we are not in, or the answer to our request to be taken in again.
    ///
    /// An invitation into a group that we are in comes of a split, on both sides of which we were invited, or after a removal of which we have not
    /// heard: we can't tell. It waits for such a removal. The first time it is a reason to ask, if there is more that we can't follow.
    fn accept(&mut self, invitation: Name, look: Look, now: Time) -> Result<bool, Error> {
        let is_new = look != Look::Again;
        let Some(stored) = self.profile.get(INVITATIONS, &invitation.0)? else { return Ok(false) };
        let welcome = stored.as_bytes();
        let Some(used) = self.profile.key_package_for(welcome, self.config.provider)? else {
            self.answered_twice(welcome, now, |tx| Ok(tx.delete(INVITATIONS, &invitation.0)?))?;
            return Ok(false);
        };
        let founding = match Group::join(&used.own, welcome, None, self.config.clone(), now) {
            Ok(founding) => founding,
            Err(e) => {
                self.refuse_invitation(invitation, e.to_string())?;
                return Ok(false);
            }
        };
        let id = founding.group().id().to_vec();
        let answers = Origin::of(&used.own.key_package().leaf_node).rejoins == id;
        if self.damaged.contains_key(&id) {
            let is_known = match founding.inviter() {
                Some(inviter) => answers && self.has_spoken(&id, inviter)?,
                None => false,
            };
            if is_known || look == Look::Person {
                self.enter(invitation, used, founding, GroupEvent::JoinedAgain, now)?;
                return Ok(true);
            }
            // Who was a member can't be seen: a person decides.
            if look == Look::New {
                self.events.push(Event::Invited { invitation });
            }
            return Ok(false);
        }
        let Some(local) = self.groups.get(&id) else {
            self.enter(invitation, used, founding, GroupEvent::Joined, now)?;
            return Ok(true);
        };
        // Anybody can make a group with this id. Only who was a member takes us into ours.
        let is_known = founding.inviter().is_some_and(|inviter| was_member(&local.group, inviter));
        // What waited may be older than the removal, and of another branch.
        let is_ahead = is_new || founding.group().head().number() > local.group.head().number();
        let is_out = local.group.is_removed() && is_ahead || local.state.stranded && is_new;
        if is_known && (answers || is_out) {
            self.enter(invitation, used, founding, GroupEvent::JoinedAgain, now)?;
            return Ok(true);
        }
        // An answer by somebody who came on another branch waits as well: another answer may tell us of it.
        if !is_known && !answers {
            let why = "it is for a group that you are in, by somebody who never was";
            self.refuse_invitation(invitation, why.to_owned())?;
        } else if is_known && is_new {
            self.wait_for_removal(&id, invitation, now)?;
        }
        Ok(false)
    }

    /// An invitation is no good.
    fn refuse_invitation(&mut self, invitation: Name, why: String) -> Result<(), Error> {
        self.profile.transaction(|tx| tx.delete(INVITATIONS, &invitation.0).map_err(Error::from))?;
        self.events.push(Event::Refused { place: Place::Invitations, name: invitation, why });
        Ok(())
    }

    /// An invitation into a group that we are in came: it stays until its key package is erased, if there are not too many of them.
    fn wait_for_removal(&mut self, id: &[u8], invitation: Name, now: Time) -> Result<(), Error> {
        if let Some(state) = self.signed(id, now) {
            self.set_state(id, state)?;
        }
        if self.profile.all(INVITATIONS)?.len() > MAX_WAITING {
            let why = "it is for a group that you are in, and too many such invitations wait";
            self.refuse_invitation(invitation, why.to_owned())?;
        }
        Ok(())
    }

    /// A Welcome that we can't open: if it answers a request of ours that was answered before, it is a sign that there is another branch.
    fn answered_twice(
        &mut self,
        welcome: &[u8],
        now: Time,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let group = own_packages::answered(&self.profile, welcome)?;
        let state = group.and_then(|id| Some((self.signed(&id, now)?, id)));
        self.profile.transaction(|tx| {
            if let Some((state, id)) = &state {
                state.store(tx, id)?;
            }
            write(tx)
        })?;
        if let Some((state, id)) = state {
            self.local(&id)?.state = state;
        }
        Ok(())
    }

    /// The state of a group once there was a sign that others are on another branch, and that we are a member there.
    fn signed(&self, id: &[u8], now: Time) -> Option<State> {
        let state = &self.groups.get(id)?.state;
        let (sign, awaited) = (state.sign.or(Some(now)), state.awaited.or(Some(now)));
        Some(State { sign, awaited, ..state.clone() })
    }

    /// Begins a group, in the place of what was known of it.
    fn enter(
        &mut self,
        invitation: Name,
        used: StoredKeyPackage,
        founding: Founding,
        event: GroupEvent,
        now: Time,
    ) -> Result<(), Error> {
        let id = founding.group().id().to_vec();
        let tag = GroupTag::of(&id);
        let before = self.groups.get(&id);
        let damaged = self.damaged.get(&id);
        let is_there = before.is_some() || damaged.is_some();
        // Our commits are with the others, and may win: those whom they add would wait for ever.
        let welcomes = before.map(|local| unsent_welcomes(&local.group)).unwrap_or_default();
        let before = before.map(|local| &local.state).or(damaged.and_then(|damaged| damaged.state.as_ref()));
        let before = before.cloned();
        let by = founding.inviter().map(|inviter| name_in(&inviter.credential)).unwrap_or_default();
        let entered = Note::new(event, now).by(by).whom(vec![group_name(founding.group())]);
        let members = founding.group().head().members().unwrap_or_default();
        let own_key = self.identity.signer().public();
        let mut told = Vec::new();
        // Our keys were made by the key package, which others may have used too: they are renewed soon.
        let mut state = State { committed: Time(0), again: is_there, ..State::new(founding.group(), now) };
        if let Some(State { shown, asked, asks, unsaid, .. }) = before {
            // How often we asked is remembered: who can put parcels into the network can make us doubt, and ask, but less and less.
            state = State { shown, asked, asks, unsaid, ..state };
        }
        let mut again = Vec::new();
        let group = founding.persist(|changes| {
            self.profile.transaction(|tx| {
                if is_there {
                    tx.delete_group(&id)?;
                    again = doubt::begin_anew(tx, &id)?;
                }
                for welcome in &welcomes {
                    outbox::post(tx, Place::Invitations, welcome)?;
                }
                tx.join_group(&id, changes, &used)?;
                own_packages::note_used(tx, &used.reference)?;
                tx.delete(INVITATIONS, &invitation.0)?;
                for member in members.iter().filter(|member| member.signature_key != *own_key) {
                    meet(tx, &mut told, &member.credential, &member.signature_key, now)?;
                }
                note(tx, &mut told, &id, entered)?;
                state.store(tx, &id)
            })
        })?;
        self.events.extend(told);
        if self.damaged.remove(&id).is_some() {
            self.seen.remove(&Place::Group(tag));
        }
        self.groups.insert(id, Local { group, tag, state, changed: true, failed: None });
        self.forget_seen(Place::Group(tag), &again);
        self.waits_for_us = true;
        self.later.remove(&Place::Group(tag));
        Ok(())
    }

    /// Somebody asks to be taken in again. What is to be done is decided when it is our turn.
    fn take_request(&mut self, name: Name, bytes: &[u8]) -> Result<Fate, Error> {
        let key_package = match self.key_package(bytes) {
            Ok(key_package) => key_package,
            Err(why) => return self.refuse(Place::Requests, name, why),
        };
        let group = Origin::of(&key_package.leaf_node).rejoins;
        let reference = key_package.reference(self.identity.suite());
        let ours = self.groups.contains_key(&group);
        self.profile.transaction(|tx| {
            see_common(tx, &name)?;
            if ours {
                tx.put(Spaces(&group).requests(), reference.as_bytes(), &key_package.to_bytes())?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(Fate::Taken)
    }
}

/// Whether somebody is, or was in an epoch that is still here, a member.
fn was_member(group: &Group, somebody: &Member) -> bool {
    let mut members = group.epochs().filter_map(|epoch| epoch.members()).flatten();
    members.any(|member| member.signature_key == somebody.signature_key)
}

/// Welcomes of our commits that were not sent.
pub(crate) fn unsent_welcomes(group: &Group) -> Vec<Vec<u8>> {
    group.unsent_welcomes().map(|(_, welcome)| welcome.to_vec()).collect()
}
