//! Parcels come in: each is taken in once, in one transaction with all that it leads to.

use std::collections::BTreeSet;

use dmls::codec::{Decode, Encode};
use dmls::framing::ContentType;
use dmls::{Application, EpochId, Founding, Group, KeyPackage, Outcome, Step, Time};
use dmls_store::{Order, Profile, StoredKeyPackage, Table, Transaction};

use crate::client::{Client, append, group_name, message_at, note, place_of, see_common};
use crate::entry::{Entry, GroupEvent, Message, Note};
use crate::error::Error;
use crate::event::Event;
use crate::happened::{meet, new_epoch, stranded};
use crate::names::name_in;
use crate::own_packages;
use crate::parcel::{GroupTag, Name, Place};
use crate::payload::{Mark, Payload};
use crate::people::{Origin, Person, is_presentable};
use crate::state::{Local, MemberTag, Spaces, State, Unsettled, receipts, see};

/// Invitations that wait, by the name of their parcel.
const INVITATIONS: Table<'_> = Table::new("invitations");

/// What becomes of a parcel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was taken in.
    Taken,
    /// There is no room for it yet: it comes again.
    Later,
}

impl Client {
    /// Takes in a parcel of a place. Whatever its bytes are, it is taken in once; false if it should be given again later.
    pub fn take_in(&mut self, place: Place, bytes: &[u8], now: Time) -> Result<bool, Error> {
        let name = Name::of(bytes);
        self.load_seen(place)?;
        if self.seen.get(&place).is_some_and(|seen| seen.contains(&name)) {
            return Ok(true);
        }
        let fate = match place {
            Place::People => self.take_person(name, bytes, now)?,
            Place::Invitations => self.take_invitation(name, bytes, now)?,
            Place::Requests => self.take_request(name, bytes, now)?,
            Place::Group(_) => match self.group_at(place) {
                Some(id) => self.take_message(&id, name, bytes, now)?,
                None => return Ok(false),
            },
        };
        if fate == Fate::Taken {
            self.seen.entry(place).or_default().insert(name);
        }
        Ok(fate == Fate::Taken)
    }

    fn refuse(&mut self, place: Place, name: Name, why: String) -> Result<Fate, Error> {
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
        let mut told = Vec::new();
        self.profile.transaction(|tx| {
            see_common(tx, &name)?;
            if !own {
                meet(tx, &mut told, &leaf.credential, &leaf.signature_key, now)?;
                Person::put(tx, &key_package, reference.as_bytes())?;
            }
            Ok::<_, Error>(())
        })?;
        self.events.extend(told);
        Ok(Fate::Taken)
    }

    /// A KeyPackage as it came. Whether it is valid is checked by the library when it is used.
    fn key_package(&self, bytes: &[u8]) -> Result<KeyPackage, String> {
        let key_package = KeyPackage::from_message(bytes).map_err(|e| e.to_string())?;
        if key_package.cipher_suite != self.identity.suite().code() {
            return Err("its cipher suite is not ours".to_owned());
        }
        if !is_presentable(&key_package) {
            return Err("its name can't be shown".to_owned());
        }
        Ok(key_package)
    }

    /// A Welcome. Those for others are none of our business.
    fn take_invitation(&mut self, name: Name, bytes: &[u8], now: Time) -> Result<Fate, Error> {
        match self.profile.key_package_for(bytes, self.config.provider) {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.profile.transaction(|tx| see_common(tx, &name))?;
                return Ok(Fate::Taken);
            }
            Err(dmls_store::Error::Core(e)) => return self.refuse(Place::Invitations, name, e.to_string()),
            Err(e) => return Err(e.into()),
        }
        self.profile.transaction(|tx| {
            tx.put(INVITATIONS, &name.0, bytes)?;
            see_common(tx, &name)
        })?;
        if self.settings.ask {
            self.events.push(Event::Invited { invitation: name });
        } else {
            self.accept(name, now)?;
        }
        Ok(Fate::Taken)
    }

    /// Joins the groups to which we are invited; how many.
    pub fn join(&mut self, now: Time) -> Result<usize, Error> {
        let waiting: Vec<_> = self.profile.all(INVITATIONS)?.into_keys().collect();
        let mut joined = 0;
        for name in waiting.into_iter().filter_map(|name| name.try_into().ok().map(Name)) {
            joined += usize::from(self.accept(name, now)?);
        }
        Ok(joined)
    }

    /// Accepts an invitation into a group that we are not in, or the answer to our request to be taken in again.
    ///
    /// An invitation into a group that we are in comes of a split, on both sides of which we were invited: we can't tell which side won, and ask.
    pub(crate) fn accept(&mut self, invitation: Name, now: Time) -> Result<bool, Error> {
        let Some(stored) = self.profile.get(INVITATIONS, &invitation.0)? else { return Ok(false) };
        let (used, founding) = match self.open_welcome(stored.as_bytes(), now)? {
            Ok(opened) => opened,
            Err(why) => {
                self.events.push(Event::Refused { place: Place::Invitations, name: invitation, why });
                self.profile.transaction(|tx| tx.delete(INVITATIONS, &invitation.0).map_err(Error::from))?;
                return Ok(false);
            }
        };
        let id = founding.group().id().to_vec();
        match self.groups.get(&id) {
            None => self.enter(invitation, used, founding, GroupEvent::Joined, now)?,
            Some(local) => {
                // Anybody can make a group with this id. Only who was a member takes us into ours.
                let known = local.group.head().members().unwrap_or_default();
                let is_known = founding.inviter().is_some_and(|inviter| {
                    known.iter().any(|member| member.signature_key == inviter.signature_key)
                });
                // By a key package that we made after we came in: on the branch that won we were added once more, or asked for it.
                let head = local.group.head();
                let leaf = head.own_leaf().and_then(|leaf| head.leaf(leaf));
                let newer = leaf.is_some_and(|leaf| {
                    Origin::of(leaf).made < Origin::of(&used.own.key_package().leaf_node).made
                });
                if is_known && (newer || local.group.is_removed()) {
                    self.enter(invitation, used, founding, GroupEvent::JoinedAgain, now)?;
                } else {
                    let invited = if is_known { Some(now) } else { None };
                    let state = State { invited: local.state.invited.or(invited), ..local.state.clone() };
                    self.profile.transaction(|tx| {
                        tx.delete(INVITATIONS, &invitation.0)?;
                        state.store(tx, &id)
                    })?;
                    self.local(&id)?.state = state;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Opens a Welcome.
    fn open_welcome(
        &self,
        welcome: &[u8],
        now: Time,
    ) -> Result<Result<(StoredKeyPackage, Founding), String>, Error> {
        let Some(used) = self.profile.key_package_for(welcome, self.config.provider)? else {
            return Ok(Err(
                "the key package that it names was deleted here: ask to be invited again".to_owned()
            ));
        };
        let founding = Group::join(&used.own, welcome, None, self.config.clone(), now);
        Ok(founding.map(|founding| (used, founding)).map_err(|e| e.to_string()))
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
        let is_there = before.is_some();
        let shown = before.and_then(|local| local.state.shown);
        let by = founding.inviter().map(|inviter| name_in(&inviter.credential)).unwrap_or_default();
        let entered = Note::new(event, now).by(by).whom(vec![group_name(founding.group())]);
        let members = founding.group().head().members().unwrap_or_default();
        let own_key = self.identity.signer().public();
        let mut told = Vec::new();
        // Our keys were made by the key package, which others may have used too: they are renewed soon.
        let state = State { shown, again: is_there, committed: Time(0), ..State::new(now) };
        let group = founding.persist(|changes| {
            self.profile.transaction(|tx| {
                if is_there {
                    tx.delete_group(&id)?;
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
        self.groups.insert(id, Local { group, tag, state });
        Ok(())
    }

    /// Somebody asks to be taken in again. What is to be done is decided when it is our turn.
    fn take_request(&mut self, name: Name, bytes: &[u8], now: Time) -> Result<Fate, Error> {
        let key_package = match self.key_package(bytes) {
            Ok(key_package) => key_package,
            Err(why) => return self.refuse(Place::Requests, name, why),
        };
        let _ = now;
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

    /// A message of a group, and all that waited for it.
    fn take_message(&mut self, id: &[u8], name: Name, bytes: &[u8], now: Time) -> Result<Fate, Error> {
        let Self { groups, profile, events, seen, .. } = self;
        let Some(Local { group, state, tag }) = groups.get_mut(id) else { return Ok(Fate::Later) };
        let seen = seen.entry(Place::Group(*tag)).or_default();
        let mut intake = Intake { profile, events, seen, id, state, now };
        let head = group.head().id().clone();
        match group.receive(bytes, now) {
            Ok(step) => intake.take(step, head, name)?,
            // There may be room for it once others were taken in.
            Err(dmls::Error::Limit(_)) => return Ok(Fate::Later),
            Err(e @ (dmls::Error::Records(_) | dmls::Error::Usage(_))) => return Err(e.into()),
            Err(e) => {
                let here = Place::Group(*tag);
                return self.refuse(here, name, e.to_string());
            }
        }
        loop {
            let head = group.head().id().clone();
            let Some(step) = group.resume(now) else { break };
            intake.resumed(step, head)?;
        }
        Ok(Fate::Taken)
    }
}

/// Takes in the messages of a group.
struct Intake<'c> {
    profile: &'c mut Profile,
    events: &'c mut Vec<Event>,
    seen: &'c mut BTreeSet<Name>,
    id: &'c [u8],
    state: &'c mut State,
    now: Time,
}

impl Intake<'_> {
    fn take(&mut self, step: Step<'_, Outcome>, head: EpochId, name: Name) -> Result<(), Error> {
        let mut done = Done::new(self.id, head, self.state, self.now);
        let profile = &mut *self.profile;
        step.persist(|changes, outcome| {
            profile.transaction(|tx| {
                tx.write_group(done.id, changes)?;
                see(tx, done.id, &name)?;
                done.outcome(tx, outcome, name)?;
                done.finish(tx)
            })
        })?;
        self.finish(done);
        Ok(())
    }

    fn resumed(&mut self, step: Step<'_, dmls::Resumed>, head: EpochId) -> Result<(), Error> {
        let mut done = Done::new(self.id, head, self.state, self.now);
        let profile = &mut *self.profile;
        step.persist(|changes, resumed| {
            let name = Name::of(&resumed.message);
            profile.transaction(|tx| {
                tx.write_group(done.id, changes)?;
                match &resumed.outcome {
                    Ok(outcome) => done.outcome(tx, outcome, name)?,
                    Err(dmls::Error::Limit(_)) => done.again(tx, name)?,
                    Err(e) => done.told.push(Event::Refused {
                        place: Place::Group(GroupTag::of(done.id)),
                        name,
                        why: e.to_string(),
                    }),
                }
                done.finish(tx)
            })
        })?;
        self.finish(done);
        Ok(())
    }

    fn finish(&mut self, done: Done<'_>) {
        for name in &done.unseen {
            self.seen.remove(name);
        }
        *self.state = done.state;
        self.events.extend(done.told);
    }
}

/// What one step leads to: it counts once the transaction is done.
struct Done<'c> {
    id: &'c [u8],
    before: State,
    state: State,
    told: Vec<Event>,
    /// Parcels that are to be given again.
    unseen: Vec<Name>,
    /// Where we are before it.
    head: EpochId,
    now: Time,
}

impl<'c> Done<'c> {
    fn new(id: &'c [u8], head: EpochId, state: &State, now: Time) -> Self {
        Self {
            id,
            before: state.clone(),
            state: state.clone(),
            told: Vec::new(),
            unseen: Vec::new(),
            head,
            now,
        }
    }

    fn finish(&mut self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        if self.state == self.before { Ok(()) } else { self.state.store(tx, self.id) }
    }

    /// A parcel is to be given again.
    fn again(&mut self, tx: &mut Transaction<'_>, name: Name) -> Result<(), Error> {
        self.unseen.push(name);
        Ok(tx.delete(Spaces(self.id).seen(), &name.0)?)
    }

    fn unreadable(&mut self, name: Name, why: &'static str) {
        self.told.push(Event::Unreadable { group: self.id.to_vec(), name, why });
    }

    fn outcome(&mut self, tx: &mut Transaction<'_>, outcome: &Outcome, name: Name) -> Result<(), Error> {
        let now = self.now;
        let mut acknowledge = true;
        match outcome {
            Outcome::Application(application) => return self.application(tx, application, name),
            Outcome::Commit(new) => {
                for added in &new.commit.added {
                    let requests = Spaces(self.id).requests();
                    tx.delete(requests, added.key_package.as_bytes())?;
                    Person::delete(tx, added.key_package.as_bytes())?;
                }
                new_epoch(tx, &mut self.told, self.id, &mut self.state, new, now)?;
            }
            Outcome::Held(held) => {
                acknowledge = false;
                for evicted in &held.evicted {
                    self.again(tx, Name::of(evicted))?;
                }
                if let Some(sign) = &held.stranded {
                    stranded(tx, &mut self.told, self.id, &mut self.state, sign, now)?;
                }
            }
            Outcome::EpochDeleted(deleted) => {
                if deleted.wins == Some(true) && !self.state.stranded {
                    self.state.stranded = true;
                    note(tx, &mut self.told, self.id, Note::new(GroupEvent::Stranded, now))?;
                }
                // A commit that comes where we need none any more is of a branch that lost (docs/policy.md): who made it sends again what was said there.
                if deleted.content == ContentType::Application {
                    acknowledge = false;
                    self.unreadable(name, "its epoch was deleted");
                }
            }
            Outcome::TooOld { .. } => {
                acknowledge = false;
                self.unreadable(name, "its key was deleted: it came too late, or again");
            }
            // Who was taken in again has not read what was said meanwhile; who is new need not.
            Outcome::BeforeUs { .. } => acknowledge = !self.state.again,
            Outcome::RolledBack(rolled) if rolled.verified && !self.state.rolled_back => {
                self.state.rolled_back = true;
                note(tx, &mut self.told, self.id, Note::new(GroupEvent::RolledBack, now))?;
            }
            // Claims are carried out by the next `tend`.
            _ => {}
        }
        if acknowledge { self.acknowledge(tx, name) } else { Ok(()) }
    }

    /// It will be acknowledged.
    fn acknowledge(&mut self, tx: &mut Transaction<'_>, name: Name) -> Result<(), Error> {
        tx.append(Spaces(self.id).unsaid(), &Mark::of(&name).0)?;
        Ok(())
    }

    fn application(
        &mut self,
        tx: &mut Transaction<'_>,
        application: &Application,
        name: Name,
    ) -> Result<(), Error> {
        self.acknowledge(tx, name)?;
        let payload = match Payload::from_bytes(&application.data) {
            Ok(payload) if payload.version == Payload::VERSION && payload.kind <= Payload::RECEIPT => payload,
            _ => {
                self.unreadable(name, "it was made by a newer version, or is damaged");
                return Ok(());
            }
        };
        if application.epoch == self.head {
            // Somebody else is where we are.
            self.state.doubt = None;
        }
        let sender = MemberTag::of(&application.sender.signature_key);
        for mark in &payload.received {
            self.receipt(tx, sender, *mark)?;
        }
        if payload.kind == Payload::RECEIPT {
            return Ok(());
        }
        self.state.unsaid.get_or_insert(self.now);
        let Ok(text) = String::from_utf8(payload.body) else {
            self.unreadable(name, "it is not text");
            return Ok(());
        };
        let message = Message {
            id: payload.id,
            from: name_in(&application.sender.credential),
            key: application.sender.signature_key.clone(),
            own: false,
            sent: payload.sent,
            received: self.now,
            epoch: application.epoch.clone(),
            on_way: application.on_way,
            again: payload.again,
            text,
        };
        match place_of(tx, self.id, sender, message.id)? {
            None => {
                let entry = Entry::Message(Box::new(message));
                let place = append(tx, self.id, &entry)?;
                tx.put(Spaces(self.id).ids(), &sender.with(payload.id), &place.to_bytes())?;
                self.told.push(Event::Entry { group: self.id.to_vec(), entry });
            }
            // A copy, on another branch: it is there, and not told again.
            Some(place) if application.on_way => self.came_again(tx, place, &message)?,
            Some(_) => {}
        }
        Ok(())
    }

    /// A copy of a message that is there came on the way to the head.
    fn came_again(&mut self, tx: &mut Transaction<'_>, place: u64, copy: &Message) -> Result<(), Error> {
        let Some(message) = message_at(tx, self.id, place)? else { return Ok(()) };
        let (epoch, on_way, again) = (copy.epoch.clone(), true, message.again | copy.again);
        let entry = Entry::Message(Box::new(Message { epoch, on_way, again, ..message }));
        tx.replace(Spaces(self.id).log(), Order(place), &entry.to_bytes())?;
        Ok(())
    }

    /// A member has taken in a parcel.
    fn receipt(&mut self, tx: &mut Transaction<'_>, from: MemberTag, mark: Mark) -> Result<(), Error> {
        let mut known = receipts(tx, self.id, mark)?;
        if !known.contains(&from) {
            known.push(from);
            tx.put(Spaces(self.id).receipts(), &mark.0, &known.to_bytes())?;
        }
        Ok(())
    }
}

/// Messages of ours that not all have taken in.
pub(crate) fn unsettled(profile: &Profile, id: &[u8]) -> Result<Vec<([u8; 16], Unsettled)>, Error> {
    const DAMAGED: Error = Error::Damaged("the state of a message");
    let all = profile.all(Spaces(id).unsettled())?;
    let decode = |(key, stored): (Vec<u8>, dmls::crypto::Secret)| {
        let unsettled = Unsettled::from_bytes(stored.as_bytes()).map_err(|_| DAMAGED)?;
        Ok((key.try_into().map_err(|_| DAMAGED)?, unsettled))
    };
    all.into_iter().map(decode).collect()
}
