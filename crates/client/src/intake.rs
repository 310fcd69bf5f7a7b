//! Messages of groups come in: what one leads to is in the transaction that takes it in.

use std::collections::BTreeSet;

use dmls::codec::{Decode, Encode};
use dmls::crypto::SignaturePublicKey;
use dmls::framing::ContentType;
use dmls::{Application, Group, Limit, MessageKind, Outcome, Step, Time, WaitsFor};
use dmls_store::{Order, Profile, Transaction};

use crate::client::{Client, append, message_at, note, place_of, unknown};
use crate::doubt;
use crate::entry::{Entry, GroupEvent, Message, Note};
use crate::error::Error;
use crate::event::Event;
use crate::happened::new_epoch;
use crate::inbox::Fate;
use crate::names::name_in;
use crate::parcel::{GroupTag, Name, Place};
use crate::payload::{Mark, Payload};
use crate::state::{Local, MemberTag, Spaces, State, receipts, see};
use crate::unsettled::settle;

impl Client {
    /// A message of a group, and all that waited for it.
    pub(crate) fn take_message(
        &mut self,
        id: &[u8],
        name: Name,
        bytes: &[u8],
        now: Time,
    ) -> Result<Fate, Error> {
        let number = match dmls::classify(bytes) {
            Ok(MessageKind::Message { number, epoch, .. }) => {
                let group = &self.local(id)?.group;
                let is_unknown = epoch.is_some_and(|epoch| group.epoch(&epoch).is_none());
                // It would drive out others that wait, which would come again and drive it out: the network keeps it, and we look again once
                // there is another epoch.
                if is_unknown && group.held() >= group.config().limits.held_messages {
                    return Ok(Fate::Later);
                }
                number
            }
            _ => 0,
        };
        let (group, here, mut intake) = self.intake(id, now)?;
        match group.receive(bytes, now) {
            Ok(step) => intake.take(step, name, number)?,
            Err(e @ dmls::Error::Limit(Limit::MessageSize)) => return self.refuse(here, name, e.to_string()),
            Err(dmls::Error::Limit(Limit::ForwardRatchet)) => return Ok(Fate::Again),
            Err(dmls::Error::Limit(_)) => return Ok(Fate::Later),
            Err(e @ (dmls::Error::Records(_) | dmls::Error::Usage(_))) => return Err(e.into()),
            Err(e) => return self.refuse(here, name, e.to_string()),
        }
        while let Some(step) = group.resume(now) {
            intake.resumed(step)?;
        }
        Ok(Fate::Taken)
    }

    /// What waited for a message that was taken in, if the process ended before it came to that.
    pub(crate) fn take_held(&mut self, id: &[u8], now: Time) -> Result<(), Error> {
        let place = Place::Group(self.local(id)?.tag);
        self.load_seen(place)?;
        let (group, _, mut intake) = self.intake(id, now)?;
        while let Some(step) = group.resume(now) {
            intake.resumed(step)?;
        }
        Ok(())
    }

    fn intake<'c>(
        &'c mut self,
        id: &'c [u8],
        now: Time,
    ) -> Result<(&'c mut Group, Place, Intake<'c>), Error> {
        let others = self.others(id)?;
        let patience = self.settings.patience;
        let own_key = self.identity.signer().public().clone();
        let Self { groups, profile, events, seen, later, .. } = self;
        let Local { group, state, tag, changed, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let here = Place::Group(*tag);
        let (seen, later) = (seen.entry(here).or_default(), later.entry(here).or_default());
        let intake =
            Intake { profile, events, seen, later, id, state, others, changed, patience, own_key, now };
        Ok((group, here, intake))
    }
}

/// Takes in the messages of a group.
struct Intake<'c> {
    profile: &'c mut Profile,
    events: &'c mut Vec<Event>,
    seen: &'c mut BTreeSet<Name>,
    later: &'c mut BTreeSet<Name>,
    id: &'c [u8],
    state: &'c mut State,
    others: BTreeSet<MemberTag>,
    changed: &'c mut bool,
    patience: u64,
    own_key: SignaturePublicKey,
    now: Time,
}

impl Intake<'_> {
    fn take(&mut self, step: Step<'_, Outcome>, name: Name, number: u64) -> Result<(), Error> {
        let mut done = Done::new(self.seen, self.id, self.state, &self.others, &self.own_key, self.now);
        (done.number, done.patience) = (number, self.patience);
        let profile = &mut *self.profile;
        step.persist(|changes, outcome| {
            profile.transaction(|tx| {
                tx.write_group(done.id, changes)?;
                see(tx, done.id, &name)?;
                done.outcome(tx, outcome, name)?;
                done.finish(tx)
            })
        })?;
        let done = done.after;
        self.finish(done);
        Ok(())
    }

    fn resumed(&mut self, step: Step<'_, dmls::Resumed>) -> Result<(), Error> {
        let mut done = Done::new(self.seen, self.id, self.state, &self.others, &self.own_key, self.now);
        let profile = &mut *self.profile;
        step.persist(|changes, resumed| {
            let name = Name::of(&resumed.message);
            profile.transaction(|tx| {
                tx.write_group(done.id, changes)?;
                match &resumed.outcome {
                    Ok(outcome) => done.outcome(tx, outcome, name)?,
                    Err(dmls::Error::Limit(_)) => done.again(tx, name)?,
                    Err(e) => {
                        doubt::came(tx, done.id, &name)?;
                        let place = Place::Group(GroupTag::of(done.id));
                        done.after.told.push(Event::Refused { place, name, why: e.to_string() });
                    }
                }
                done.finish(tx)
            })
        })?;
        let done = done.after;
        self.finish(done);
        Ok(())
    }

    fn finish(&mut self, done: Finished) {
        let Finished { state, told, unseen, has_new_epoch } = done;
        if has_new_epoch {
            *self.changed = true;
            self.later.clear();
        }
        for name in unseen {
            self.seen.remove(&name);
            self.later.insert(name);
        }
        *self.state = state;
        self.events.extend(told);
    }
}

/// What one step leads to: it counts once the transaction is done.
struct Done<'c> {
    id: &'c [u8],
    /// Parcels that were taken in.
    seen: &'c BTreeSet<Name>,
    /// The other members.
    others: &'c BTreeSet<MemberTag>,
    before: &'c State,
    now: Time,
    /// The number of the message's epoch, as it says.
    number: u64,
    patience: u64,
    own_key: &'c SignaturePublicKey,
    after: Finished,
}

struct Finished {
    state: State,
    told: Vec<Event>,
    /// Parcels that are to be given again.
    unseen: Vec<Name>,
    has_new_epoch: bool,
}

impl<'c> Done<'c> {
    fn new(
        seen: &'c BTreeSet<Name>,
        id: &'c [u8],
        before: &'c State,
        others: &'c BTreeSet<MemberTag>,
        own_key: &'c SignaturePublicKey,
        now: Time,
    ) -> Self {
        let (told, unseen) = (Vec::new(), Vec::new());
        let after = Finished { state: before.clone(), told, unseen, has_new_epoch: false };
        Self { id, seen, others, before, now, number: 0, patience: 0, own_key, after }
    }

    fn finish(&mut self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        if self.after.state == *self.before { Ok(()) } else { self.after.state.store(tx, self.id) }
    }

    /// A parcel is to be given again.
    fn again(&mut self, tx: &mut Transaction<'_>, name: Name) -> Result<(), Error> {
        self.after.unseen.push(name);
        doubt::came(tx, self.id, &name)?;
        Ok(tx.delete(Spaces(self.id).seen(), &name.0)?)
    }

    fn unreadable(&mut self, name: Name, why: &'static str) {
        self.after.told.push(Event::Unreadable { group: self.id.to_vec(), name, why });
    }

    fn outcome(&mut self, tx: &mut Transaction<'_>, outcome: &Outcome, name: Name) -> Result<(), Error> {
        let now = self.now;
        let mut acknowledge = true;
        if !matches!(outcome, Outcome::Held(_)) {
            doubt::came(tx, self.id, &name)?;
        }
        match outcome {
            Outcome::Application(application) => return self.application(tx, application, name),
            Outcome::Commit(new) => {
                self.after.has_new_epoch = true;
                for added in &new.commit.added {
                    let requests = Spaces(self.id).requests();
                    tx.delete(requests, added.key_package.as_bytes())?;
                }
                new_epoch(tx, &mut self.after.told, self.id, &mut self.after.state, new, now)?;
            }
            Outcome::Held(held) => {
                acknowledge = false;
                for evicted in &held.evicted {
                    self.again(tx, Name::of(evicted))?;
                }
                if matches!(held.waits_for, WaitsFor::Epoch(_)) {
                    doubt::waits(tx, self.id, &mut self.after.state, &name, self.number, now)?;
                }
            }
            Outcome::EpochDeleted(deleted) => {
                if deleted.content == ContentType::Commit {
                    self.after.state.speak_up(now);
                }
                if deleted.wins == Some(true) && (!self.after.state.stranded || self.after.state.guessed) {
                    (self.after.state.stranded, self.after.state.guessed) = (true, false);
                    note(tx, &mut self.after.told, self.id, Note::new(GroupEvent::Stranded, now))?;
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
            Outcome::RolledBack(rolled) if rolled.verified && !self.after.state.rolled_back => {
                self.after.state.rolled_back = true;
                note(tx, &mut self.after.told, self.id, Note::new(GroupEvent::RolledBack, now))?;
            }
            Outcome::BeforeUs { .. } => {
                // Who was taken in again has not read what was said meanwhile; who is new need not.
                acknowledge = !self.after.state.again;
                doubt::before_us(&mut self.after.state, self.patience, now);
            }
            // It is carried out by the next `tend`. If it takes us in again, a Welcome comes, too.
            Outcome::Removed(removed) => {
                let mut added = removed.commit.added.iter();
                if added.any(|added| added.member.signature_key == *self.own_key) {
                    self.after.state.awaited.get_or_insert(now);
                }
            }
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
            Ok(payload) if payload.is_ours() => payload,
            _ => {
                self.unreadable(name, "it was made by a newer version, is damaged or too long");
                return Ok(());
            }
        };
        let sender = MemberTag::of(&application.sender.signature_key);
        if application.on_way {
            self.after.state.sign = None;
        }
        for mark in &payload.received {
            self.receipt(tx, sender, *mark)?;
        }
        if payload.kind == Payload::RECEIPT {
            return Ok(());
        }
        self.after.state.unsaid.get_or_insert(self.now);
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
                self.after.told.push(Event::Entry { group: self.id.to_vec(), entry });
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
    ///
    /// What never came here is not noted: a member may lie about any number of parcels. If it comes later, the receipt is missing, and the parcel is
    /// not taken back by us; its author knows it.
    fn receipt(&mut self, tx: &mut Transaction<'_>, from: MemberTag, mark: Mark) -> Result<(), Error> {
        if !mark.names_one_of(self.seen) {
            return Ok(());
        }
        let mut known = receipts(tx, self.id, mark)?;
        if known.contains(&from) {
            return Ok(());
        }
        known.push(from);
        tx.put(Spaces(self.id).receipts(), &mark.0, &known.to_bytes())?;
        if self.others.iter().all(|other| known.contains(other)) {
            settle(tx, self.id, mark)?;
        }
        Ok(())
    }
}
