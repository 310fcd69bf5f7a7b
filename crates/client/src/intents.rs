//! What a person wants.

use dmls::codec::Encode;
use dmls::extension::Extensions;
use dmls::{Group, KeyPackage, LeafIndex, Member, NewGroupOptions, Time};
use dmls_store::{Order, Transaction};
use rand_core::CryptoRng;

use crate::client::{Client, GROUP_NAME, append, note, saw, unknown};
use crate::damaged::missing;
use crate::entry::{Entry, GroupEvent, Message, Note};
use crate::error::Error;
use crate::event::Event;
use crate::inbox::unsent_welcomes;
use crate::names::{check_name, name_in};
use crate::outbox;
use crate::own_packages;
use crate::parcel::{GroupTag, Name, Place};
use crate::payload::{MARKS, MAX_TEXT, Mark, MessageId, Payload};
use crate::people::{self, Fingerprint, Person};
use crate::state::{Local, MemberTag, Spaces, State};
use crate::unsettled::Unsettled;
use crate::work::Work;

impl Client {
    /// Creates a group with us as its only member; its id.
    pub fn create_group(&mut self, name: &str, now: Time, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, Error> {
        check_name(name)?;
        let mut extensions = Extensions::new();
        extensions.set(GROUP_NAME, name.as_bytes().to_vec());
        let options = NewGroupOptions { extensions, ..NewGroupOptions::default() };
        let founding = Group::create(&self.identity, options, self.config.clone(), now, rng)?;
        let id = founding.group().id().to_vec();
        let state = State::new(founding.group(), now);
        let mut told = Vec::new();
        let group = founding.persist(|changes| {
            self.profile.transaction(|tx| {
                tx.create_group(&id, changes)?;
                note(tx, &mut told, &id, Note::new(GroupEvent::Created, now).whom(vec![name.to_owned()]))?;
                state.store(tx, &id)
            })
        })?;
        self.events.extend(told);
        self.groups
            .insert(id.clone(), Local { group, tag: GroupTag::of(&id), state, changed: true, failed: None });
        Ok(id)
    }

    /// Invites people by their names, all by one commit. `key` says who is meant, where a name does not.
    pub fn invite(
        &mut self,
        id: &[u8],
        names: &[&str],
        key: Option<Fingerprint>,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        self.check_active(id)?;
        let mut adds = Vec::new();
        for name in names {
            let person = self.person(name, key, now)?;
            let members = self.members(id)?;
            if members.iter().any(|member| member.signature_key == *person.key()) {
                return Err(Error::AlreadyMember((*name).to_owned()));
            }
            adds.push(person.key_package);
        }
        self.commit_all(id, Work { adds, ..Work::default() }, now, rng)
    }

    /// The one person of a name who can be invited.
    fn person(&self, name: &str, key: Option<Fingerprint>, now: Time) -> Result<Person, Error> {
        let mut people = Person::named(&self.profile, name, now)?;
        if let Some(key) = key {
            people.retain(|person| Fingerprint::of(name, person.key()) == key);
        }
        let person = match people.len() {
            0 => return Err(Error::UnknownPerson(name.to_owned())),
            1 => people.remove(0),
            _ => {
                let keys = people.iter().map(|person| Fingerprint::of(name, person.key())).collect();
                return Err(Error::SeveralPeople(name.to_owned(), keys));
            }
        };
        match people::contact(&self.profile, name)? {
            Some(pinned) if pinned.key != *person.key() && key.is_none() => Err(Error::OtherKey {
                name: name.to_owned(),
                pinned: pinned.fingerprint(),
                found: Fingerprint::of(name, person.key()),
            }),
            _ => Ok(person),
        }
    }

    /// Removes members by their names, all by one commit.
    pub fn remove(
        &mut self,
        id: &[u8],
        names: &[&str],
        key: Option<Fingerprint>,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        self.check_active(id)?;
        let own = self.groups.get(id).and_then(|local| local.group.head().own_leaf());
        let mut work = Work::default();
        for name in names {
            let leaf = self.member(id, name, key)?;
            if Some(leaf) == own {
                return Err(Error::RemovesSelf);
            }
            work.removes.insert(leaf);
        }
        self.commit_all(id, work, now, rng)
    }

    /// The one member of a name.
    fn member(&self, id: &[u8], name: &str, key: Option<Fingerprint>) -> Result<LeafIndex, Error> {
        let mut found = self.members(id)?;
        let fingerprint = |member: &Member| Fingerprint::of(name, &member.signature_key);
        found.retain(|member| {
            name_in(&member.credential) == name && key.is_none_or(|key| fingerprint(member) == key)
        });
        match &found[..] {
            [] => Err(Error::NotMember(name.to_owned())),
            [member] => Ok(member.leaf),
            several => Err(Error::SeveralMembers(name.to_owned(), several.iter().map(fingerprint).collect())),
        }
    }

    fn members(&self, id: &[u8]) -> Result<Vec<Member>, Error> {
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        Ok(local.group.head().members().unwrap_or_default())
    }

    /// Renews our keys in a group.
    pub fn update(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.check_active(id)?;
        self.commit_all(id, Work::default(), now, rng)
    }

    /// Gives a group another name.
    pub fn rename(&mut self, id: &[u8], name: &str, now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        check_name(name)?;
        self.check_active(id)?;
        let local = self.groups.get(id).ok_or_else(|| unknown(id))?;
        let mut extensions = local.group.head().context_extensions().cloned().unwrap_or_default();
        extensions.set(GROUP_NAME, name.as_bytes().to_vec());
        self.commit_all(id, Work { extensions: Some(extensions), ..Work::default() }, now, rng)
    }

    /// Leaves a group: we propose it, in every new epoch, until another member has committed it. Until then we read on.
    pub fn leave(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        self.check_active(id)?;
        let state = State { leaving: true, ..self.local(id)?.state.clone() };
        let name = self.name();
        self.set_state_and_note(id, state, Some(Note::new(GroupEvent::Leaving, now).by(name)))?;
        self.tend(id, now, rng)
    }

    /// Forgets a group and all that was said in it. The others don't hear of it: [`Client::leave`] first.
    pub fn forget(&mut self, id: &[u8]) -> Result<(), Error> {
        if !self.damaged.contains_key(id) {
            self.local(id)?;
        }
        let welcomes = self.group(id).map(unsent_welcomes).unwrap_or_default();
        self.profile.transaction(|tx| {
            for welcome in &welcomes {
                outbox::post(tx, Place::Invitations, welcome)?;
            }
            tx.delete_group(id)?;
            State::delete(tx, id)?;
            Spaces(id).clear(tx)
        })?;
        self.groups.remove(id);
        self.damaged.remove(id);
        self.seen.remove(&Place::Group(GroupTag::of(id)));
        Ok(())
    }

    /// Asks the others to take us in again: where we can't follow them, where the group is damaged, or after an old copy of the profile was restored.
    pub fn rejoin(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        if self.damaged.contains_key(id) {
            return self.ask_for_damaged(id, now, rng);
        }
        let Self { groups, profile, identity, events, .. } = self;
        let local = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let state =
            State { asked: Some(now), asks: local.state.asks.saturating_add(1), ..local.state.clone() };
        let began = (state.guessed && !local.group.is_removed()).then_some(state.began);
        let mut told = Vec::new();
        profile.transaction(|tx| {
            own_packages::ask(tx, identity, id, began, now, rng)?;
            note(tx, &mut told, id, Note::new(GroupEvent::AskedAgain, now))?;
            state.store(tx, id)
        })?;
        local.state = state;
        events.extend(told);
        Ok(())
    }

    /// Writes to a group; the message's id. It is in the outbox when this returns.
    pub fn send(
        &mut self,
        id: &[u8],
        text: &str,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<MessageId, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::TooLong);
        }
        self.check_active(id)?;
        self.settle_proposals(id, now, rng)?;
        let message = Message {
            id: MessageId::random(rng),
            from: self.name(),
            key: self.identity.signer().public().clone(),
            own: true,
            sent: now,
            received: now,
            epoch: self.local(id)?.group.head().id().clone(),
            on_way: true,
            again: false,
            text: text.to_owned(),
        };
        let sent = message.id;
        self.seal(id, message, None, rng)?;
        Ok(sent)
    }

    /// Encrypts a message of ours into the outbox: a new one, or one that is at a place in the log already.
    pub(crate) fn seal(
        &mut self,
        id: &[u8],
        message: Message,
        place: Option<u64>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        let payload = message.payload(message.again);
        let spaces = Spaces(id);
        let sender = MemberTag::of(&message.key);
        let entry = Entry::Message(Box::new(message.clone()));
        self.say_to(id, payload, rng, |tx, name| {
            let order = match place {
                Some(place) => {
                    tx.replace(spaces.log(), Order(place), &entry.to_bytes())?;
                    place
                }
                None => append(tx, id, &entry)?,
            };
            tx.put(spaces.ids(), &sender.with(message.id), &order.to_bytes())?;
            let unsettled = Unsettled { order, epoch: message.epoch.clone(), mark: Mark::of(&name) };
            unsettled.store(tx, id, message.id)
        })?;
        if place.is_none() {
            self.events.push(Event::Entry { group: id.to_vec(), entry });
        }
        Ok(())
    }

    /// Says what we have taken in.
    pub(crate) fn send_receipt(
        &mut self,
        id: &[u8],
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        let payload = Payload::receipt(MessageId::random(rng), now, Vec::new());
        self.say_to(id, payload, rng, |_, _| Ok(()))
    }

    /// Encrypts a payload into the outbox, with what we have taken in and not said yet. `also` belongs into the same transaction.
    fn say_to(
        &mut self,
        id: &[u8],
        payload: Payload,
        rng: &mut dyn CryptoRng,
        also: impl FnOnce(&mut Transaction<'_>, Name) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self { groups, profile, seen, .. } = self;
        let Local { group, tag, state, .. } = groups.get_mut(id).ok_or_else(|| unknown(id))?;
        let spaces = Spaces(id);
        let unsaid = profile.entries_after(spaces.unsaid(), None, MARKS)?;
        let marks = unsaid.iter().filter_map(|(_, mark)| mark.as_bytes().try_into().ok().map(Mark)).collect();
        let payload = Payload { received: marks, ..payload };
        let sent_again = state.sent_again.saturating_add(u64::from(payload.again));
        let new_state = State { unsaid: None, sent_again, ..state.clone() };
        let step = group.send(&payload.to_bytes()).seal(rng)?;
        let sealed = step.persist(|changes, sealed| {
            profile.transaction(|tx| {
                tx.write_group(id, changes)?;
                let name = outbox::post_message(tx, id, *tag, sealed)?;
                also(tx, name)?;
                for (order, _) in &unsaid {
                    tx.remove(spaces.unsaid(), *order)?;
                }
                new_state.store(tx, id)
            })
        })?;
        *state = new_state;
        saw(seen, Place::Group(*tag), Name::of(&sealed));
        Ok(())
    }

    /// Whoever has seen proposals commits before it sends (RFC 9420 s12.4).
    fn settle_proposals(&mut self, id: &[u8], now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let waits = self.local(id)?.group.head().proposals().is_some_and(|proposals| !proposals.is_empty());
        if waits { self.commit_all(id, Work::default(), now, rng) } else { Ok(()) }
    }

    /// Commits what a person wants, and with it what is to be done anyway.
    fn commit_all(
        &mut self,
        id: &[u8],
        wanted: Work,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        let mut work = wanted;
        if let Some((due, _)) = self.due_work(id, now)? {
            let is_there = |key_package: &KeyPackage| {
                work.adds.iter().any(|add| add.leaf_node.signature_key == key_package.leaf_node.signature_key)
            };
            let lost = due.lost.filter(|again| {
                let mut removes = again.todo.removes.iter();
                !removes.any(|removal| work.removes.contains(&removal.member.leaf))
                    && !again.key_packages().any(is_there)
            });
            work.lost = lost;
        }
        self.commit(id, work, now, rng)
    }

    /// Nothing can be sent where we are no member, or where keys would be used twice.
    fn check_active(&self, id: &[u8]) -> Result<(), Error> {
        let local = self.groups.get(id).ok_or_else(|| missing(&self.damaged, id))?;
        if local.state.rolled_back {
            return Err(Error::RolledBack);
        }
        if local.group.is_removed() {
            return Err(Error::Excluded);
        }
        Ok(())
    }
}
