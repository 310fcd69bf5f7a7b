//! A client: a profile with its groups, opened.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use dmls::codec::{Decode, Encode};
use dmls::crypto::Secret;
use dmls::extension::Extensions;
use dmls::{CipherSuite, Config, Credential, Group, Identity, Provider, Time};
use dmls_store::{Order, Profile, Table, Transaction};
use rand_core::CryptoRng;

use crate::crowd::Crowd;
use crate::damaged::{self, Damaged, missing};
use crate::entry::{Entry, Message, Note};
use crate::error::Error;
use crate::event::Event;
use crate::names::{Names, check_name, is_name, name_in};
use crate::outbox::{self, Outgoing};
use crate::own_packages;
use crate::parcel::{Name, Place};
use crate::payload::{Mark, MessageId};
use crate::people::{self, Contact, Fingerprint, Person};
use crate::settings::Settings;
use crate::state::{Local, MemberTag, Spaces, State, receipts};
use crate::unsettled::Unsettled;

/// Parcels of no group that were taken in.
const SEEN: Table<'_> = Table::new("seen");
const IDENTITY: &str = "me";

/// The extension of the GroupContext that holds a group's name, as UTF-8 (private use).
pub(crate) const GROUP_NAME: dmls::registry::ExtensionType = dmls::registry::ExtensionType(0xF0DB);

/// A person's client: groups, people, messages, and what is to be published.
///
/// It has no clock, no network and no generator of its own: what a person wants goes in as calls, parcels of a network as
/// [`Client::take_in`], and the time with each of them; [`Client::outbox`] is to be published, [`Client::events`] to be shown.
/// [`Client::sync`] does this with a [`crate::Transport`]. All that a call decides is on the disk when it returns, so a process may end anywhere.
pub struct Client {
    pub(crate) profile: Profile,
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) groups: BTreeMap<Vec<u8>, Local>,
    pub(crate) damaged: BTreeMap<Vec<u8>, Damaged>,
    /// What was taken in, of places that were looked at.
    pub(crate) seen: BTreeMap<Place, BTreeSet<Name>>,
    /// Parcels for which there was no room. They stay in the network, and are looked at again when there may be, or after a restart.
    pub(crate) later: BTreeMap<Place, BTreeSet<Name>>,
    /// Who has key packages here, once it was counted.
    pub(crate) crowd: Option<Crowd>,
    /// Whether invitations that wait are to be looked at again.
    pub(crate) waits_for_us: bool,
    pub(crate) events: Vec<Event>,
}

/// A group, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its id.
    pub id: Vec<u8>,
    /// Its name.
    pub name: String,
    /// The names of its members, as of the head.
    pub members: Vec<String>,
    /// Whether we are not a member any more.
    pub excluded: bool,
    /// Whether the others are on a branch that we can't follow.
    pub stranded: bool,
    /// Whether we want to leave.
    pub leaving: bool,
    /// Why it can't be read, if its records are damaged: no member is known then, and nothing can be done in it but to rejoin or to forget it.
    pub damaged: Option<String>,
}

/// An entry with its place, and what is known of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// Its place in the log: it rises.
    pub place: u64,
    /// The entry.
    pub entry: Entry,
    /// Of a message: whether its epoch leads to the head. What a lost branch alone saw is told apart.
    pub on_head: bool,
    /// Of a message of ours: the names of those who have taken it in. `None`: all who are in the group.
    pub received_by: Option<Vec<String>>,
    /// Of a message of ours: whether it waits in the outbox.
    pub waiting: bool,
}

impl Client {
    /// Gives a new profile to a person. Its name and keys stay.
    pub fn create(
        mut profile: Profile,
        name: &str,
        settings: Settings,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, Error> {
        check_name(name)?;
        let provider = Provider::default();
        let suite = provider.suite(CipherSuite::X25519_AES128).expect("every provider has it");
        let identity = Identity::generate(suite, Credential::basic(name), rng)?;
        let mut capabilities = identity.capabilities().clone();
        capabilities.extensions.push(GROUP_NAME);
        let identity = identity.with_capabilities(capabilities);
        profile.transaction(|tx| {
            tx.put_identity(IDENTITY, &identity)?;
            settings.store(tx)
        })?;
        Self::open(profile)
    }

    /// Opens the client of a profile: all of its groups are loaded. Those that are damaged are told ([`Event::Damaged`]), and the others go on.
    pub fn open(profile: Profile) -> Result<Self, Error> {
        let config = config();
        let identity = profile.identity(IDENTITY, config.provider)?.ok_or(Error::NoIdentity)?;
        let settings = Settings::load(&profile)?;
        let (groups, damaged) = damaged::load_all(&profile, &config)?;
        let (seen, later, events) = (BTreeMap::new(), BTreeMap::new(), damaged::told(&damaged));
        let crowd = None;
        Ok(Self {
            profile,
            identity,
            config,
            settings,
            groups,
            damaged,
            seen,
            later,
            crowd,
            waits_for_us: true,
            events,
        })
    }

    /// Whether a profile belongs to somebody.
    pub fn has_identity(profile: &Profile) -> Result<bool, Error> {
        Ok(profile.identities()?.iter().any(|name| name == IDENTITY))
    }

    /// The profile, for an application's own records.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The profile, for an application's own records. Those of the client are not to be touched.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// Gives the profile back.
    pub fn into_profile(self) -> Profile {
        self.profile
    }

    /// Our name.
    pub fn name(&self) -> String {
        name_in(self.identity.credential())
    }

    /// What others compare with us.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.name(), self.identity.signer().public())
    }

    /// How the client behaves.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes how the client behaves.
    pub fn set_settings(&mut self, settings: Settings) -> Result<(), Error> {
        self.profile.transaction(|tx| settings.store(tx))?;
        self.settings = settings;
        Ok(())
    }

    /// All groups, by name.
    pub fn groups(&self) -> Vec<GroupInfo> {
        let damaged = self.damaged.iter().map(|(id, damaged)| damaged.info(id));
        let mut groups: Vec<_> =
            self.groups.values().map(|local| self.group_info(local)).chain(damaged).collect();
        groups.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        groups
    }

    fn group_info(&self, local: &Local) -> GroupInfo {
        let head = local.group.head();
        let members = head.members().unwrap_or_default();
        GroupInfo {
            id: local.group.id().to_vec(),
            name: group_name(&local.group),
            members: members.iter().map(|member| name_in(&member.credential)).collect(),
            excluded: local.group.is_removed(),
            stranded: local.state.stranded,
            leaving: local.state.leaving,
            damaged: None,
        }
    }

    /// The id of a group, by its name or by the beginning of its id in hexadecimal.
    pub fn find_group(&self, name: &str) -> Result<Vec<u8>, Error> {
        let hex = |id: &[u8]| data_encoding::HEXLOWER.encode(id);
        let loaded = self.groups.iter().map(|(id, local)| (id, group_name(&local.group)));
        let damaged = self.damaged.iter().map(|(id, damaged)| (id, damaged.name.clone()));
        let all: Vec<_> = loaded.chain(damaged).collect();
        let named: Vec<_> = all.iter().filter(|(_, other)| other == name).map(|(id, _)| *id).collect();
        let found = match &named[..] {
            [] => {
                let ids = all.iter().map(|(id, _)| *id);
                ids.filter(|id| name.len() >= 4 && hex(id).starts_with(name)).collect()
            }
            _ => named,
        };
        match &found[..] {
            [] => Err(Error::UnknownGroup(name.to_owned())),
            [id] => Ok(id.to_vec()),
            several => {
                let ids = several.iter().map(|id| hex(id)).collect();
                Err(Error::SeveralGroups(name.to_owned(), ids))
            }
        }
    }

    /// A group as the library has it: heads, epochs, members, exposure.
    pub fn group(&self, id: &[u8]) -> Option<&Group> {
        self.groups.get(id).map(|local| &local.group)
    }

    /// A group as [`Client::group`] gives it, or why there is none: it is unknown, or damaged.
    pub fn loaded(&self, id: &[u8]) -> Result<&Group, Error> {
        self.group(id).ok_or_else(|| missing(&self.damaged, id))
    }

    pub(crate) fn local(&mut self, id: &[u8]) -> Result<&mut Local, Error> {
        let Self { groups, damaged, .. } = self;
        groups.get_mut(id).ok_or_else(|| missing(damaged, id))
    }

    /// Entries of a group's log behind a place, or from its beginning.
    pub fn entries(&self, id: &[u8], after: Option<u64>, limit: usize) -> Result<Vec<Shown>, Error> {
        let entries = self.profile.entries_after(Spaces(id).log(), after.map(Order), limit)?;
        self.all_shown(id, entries)
    }

    /// The last entries of a group's log before a place, or before its end; the oldest of them first.
    pub fn last_entries(&self, id: &[u8], before: Option<u64>, limit: usize) -> Result<Vec<Shown>, Error> {
        let mut entries = self.profile.entries_before(Spaces(id).log(), before.map(Order), limit)?;
        entries.reverse();
        self.all_shown(id, entries)
    }

    fn all_shown(&self, id: &[u8], entries: Vec<(Order, Secret)>) -> Result<Vec<Shown>, Error> {
        let outbox = OnceCell::new();
        entries.into_iter().map(|(order, stored)| self.shown(id, order, stored.as_bytes(), &outbox)).collect()
    }

    /// `outbox` holds what waits there, once somebody asked.
    fn shown(
        &self,
        id: &[u8],
        order: Order,
        stored: &[u8],
        outbox: &OnceCell<BTreeSet<Mark>>,
    ) -> Result<Shown, Error> {
        let entry = Entry::from_bytes(stored).map_err(|_| Error::Damaged("a message"))?;
        let mut shown = Shown { place: order.0, entry, on_head: true, received_by: None, waiting: false };
        let Entry::Message(message) = &shown.entry else { return Ok(shown) };
        let Some(local) = self.groups.get(id) else {
            shown.on_head = message.on_way;
            return if self.damaged.contains_key(id) { Ok(shown) } else { Err(unknown(id)) };
        };
        shown.on_head = local.group.epoch(&message.epoch).map_or(message.on_way, |epoch| epoch.is_on_way());
        let unsettled = if message.own { Unsettled::load(&self.profile, id, message.id)? } else { None };
        if let Some(unsettled) = unsettled {
            shown.received_by = Some(self.received_by(local, unsettled.mark)?);
            if outbox.get().is_none() {
                let _ = outbox.set(outbox::marks(&self.profile)?);
            }
            shown.waiting = outbox.get().is_some_and(|waiting| waiting.contains(&unsettled.mark));
        }
        Ok(shown)
    }

    /// Who has taken in a parcel of ours.
    fn received_by(&self, local: &Local, mark: Mark) -> Result<Vec<String>, Error> {
        let tags = receipts(&self.profile, local.group.id(), mark)?;
        let members = local.group.head().members().unwrap_or_default();
        let received = members.iter().filter(|member| tags.contains(&MemberTag::of(&member.signature_key)));
        Ok(received.map(|member| name_in(&member.credential)).collect())
    }

    /// The place up to which a group's log was shown ([`Client::set_shown`]).
    pub fn shown_to(&self, id: &[u8]) -> Option<u64> {
        let damaged = self.damaged.get(id).and_then(|damaged| damaged.state.as_ref());
        self.groups.get(id).map(|local| &local.state).or(damaged).and_then(|state| state.shown)
    }

    /// The log of a group was shown up to a place.
    pub fn set_shown(&mut self, id: &[u8], place: u64) -> Result<(), Error> {
        if self.damaged.contains_key(id) {
            return self.set_damaged_shown(id, place);
        }
        let state = State { shown: Some(place), ..self.local(id)?.state.clone() };
        self.set_state(id, state)
    }

    /// Writes the state of a group.
    pub(crate) fn set_state(&mut self, id: &[u8], state: State) -> Result<(), Error> {
        self.set_state_and_note(id, state, None)
    }

    /// Writes the state of a group, and what people are told of it: no crash comes between them.
    pub(crate) fn set_state_and_note(
        &mut self,
        id: &[u8],
        state: State,
        noted: Option<Note>,
    ) -> Result<(), Error> {
        let mut told = Vec::new();
        self.profile.transaction(|tx| {
            if let Some(noted) = noted {
                note(tx, &mut told, id, noted)?;
            }
            state.store(tx, id)
        })?;
        self.local(id)?.state = state;
        self.events.extend(told);
        Ok(())
    }

    /// Everybody whose key is pinned.
    pub fn contacts(&self) -> Result<Vec<Contact>, Error> {
        people::contacts(&self.profile)
    }

    /// The names of those who can be invited, with their fingerprints.
    pub fn people(&self, now: Time) -> Result<Vec<(String, Fingerprint)>, Error> {
        let people = Person::all(&self.profile)?.into_values().filter(|person| person.is_valid_at(now));
        let people: BTreeSet<_> =
            people.map(|person| (person.name.clone(), Fingerprint::of(&person.name, person.key()))).collect();
        Ok(people.into_iter().collect())
    }

    /// The fingerprint of somebody was compared with `fingerprint`, which it gave us by other means: its key is pinned from now on.
    /// False if nobody who was seen here has it.
    pub fn verify(&mut self, name: &str, fingerprint: Fingerprint, now: Time) -> Result<bool, Error> {
        let mut keys: Vec<_> =
            Person::all(&self.profile)?.into_values().filter(|person| person.name == name).collect();
        let known = people::contact(&self.profile, name)?.map(|contact| contact.key);
        let members = self.groups.values().filter_map(|local| local.group.head().members()).flatten();
        let members =
            members.filter(|member| name_in(&member.credential) == name).map(|member| member.signature_key);
        let mut all: Vec<_> =
            members.chain(known).chain(keys.drain(..).map(|person| person.key().clone())).collect();
        all.retain(|key| Fingerprint::of(name, key) == fingerprint);
        let Some(key) = all.pop() else { return Ok(false) };
        self.profile.transaction(|tx| people::verify(tx, name, key, now))?;
        Ok(true)
    }

    /// What is to be done in the network, the oldest first; [`Client::done`] takes it out.
    pub fn outbox(&self, limit: usize) -> Result<Vec<(u64, Outgoing)>, Error> {
        outbox::first(&self.profile, limit)
    }

    /// Something of the outbox is done.
    pub fn done(&mut self, place: u64) -> Result<(), Error> {
        self.profile.transaction(|tx| outbox::remove(tx, place))
    }

    /// What happened since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// A fresh key package of ours, to be published: by it others invite us. Those before it still work for a while.
    pub fn publish_key_package(&mut self, now: Time, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let identity = &self.identity;
        self.profile.transaction(|tx| own_packages::publish(tx, identity, now, rng))
    }

    /// The parcels of a place that were taken in.
    pub(crate) fn load_seen(&mut self, place: Place) -> Result<(), Error> {
        if self.seen.contains_key(&place) {
            return Ok(());
        }
        let id = self.group_at(place);
        let table = match &id {
            Some(id) => Spaces(id).seen(),
            None => SEEN,
        };
        let names = self.profile.all(table)?.into_keys();
        let names = names.filter_map(|name| name.try_into().ok().map(Name)).collect();
        self.seen.insert(place, names);
        Ok(())
    }

    /// The group whose place it is.
    pub(crate) fn group_at(&self, place: Place) -> Option<Vec<u8>> {
        let Place::Group(tag) = place else { return None };
        let local = self.groups.values().find(|local| local.tag == tag)?;
        Some(local.group.id().to_vec())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

/// How we take part. What was said on a branch that lost is read for a week, also if the branch is long.
fn config() -> Config {
    let mut config = Config::new(Names);
    config.retention.late_epochs = 256;
    config.limits.epochs = 512;
    config
}

/// The name that a group's head gives it.
pub(crate) fn group_name(group: &Group) -> String {
    group.head().context_extensions().map(name_given).unwrap_or_default()
}

/// The name that extensions of a group give it.
pub(crate) fn name_given(extensions: &Extensions) -> String {
    let name = extensions.data(GROUP_NAME).and_then(|name| String::from_utf8(name.to_vec()).ok());
    name.filter(|name| is_name(name)).unwrap_or_default()
}

pub(crate) fn unknown(id: &[u8]) -> Error {
    Error::UnknownGroup(data_encoding::HEXLOWER.encode(id))
}

/// A parcel of ours need not be taken in. Where nothing was loaded yet ([`Client::load_seen`]), its note is with all others.
pub(crate) fn saw(seen: &mut BTreeMap<Place, BTreeSet<Name>>, place: Place, name: Name) {
    if let Some(seen) = seen.get_mut(&place) {
        seen.insert(name);
    }
}

/// Notes that a parcel of no group was taken in.
pub(crate) fn see_common(tx: &mut Transaction<'_>, name: &Name) -> Result<(), Error> {
    Ok(tx.put(SEEN, &name.0, &[])?)
}

/// Appends to the log of a group.
pub(crate) fn append(tx: &mut Transaction<'_>, group: &[u8], entry: &Entry) -> Result<u64, Error> {
    Ok(tx.append(Spaces(group).log(), &entry.to_bytes())?.0)
}

/// Appends a note to the log of a group, and tells it once it is written.
pub(crate) fn note(
    tx: &mut Transaction<'_>,
    told: &mut Vec<Event>,
    group: &[u8],
    note: Note,
) -> Result<(), Error> {
    let entry = Entry::Note(note);
    append(tx, group, &entry)?;
    told.push(Event::Entry { group: group.to_vec(), entry });
    Ok(())
}

/// The message of an entry.
pub(crate) fn message_at(profile: &Profile, group: &[u8], order: u64) -> Result<Option<Message>, Error> {
    let Some(stored) = profile.entry(Spaces(group).log(), Order(order))? else { return Ok(None) };
    match Entry::from_bytes(stored.as_bytes()).map_err(|_| Error::Damaged("a message"))? {
        Entry::Message(message) => Ok(Some(*message)),
        Entry::Note(_) => Ok(None),
    }
}

/// The place of a message in the log.
pub(crate) fn place_of(
    profile: &Profile,
    group: &[u8],
    sender: MemberTag,
    id: MessageId,
) -> Result<Option<u64>, Error> {
    let stored = profile.get(Spaces(group).ids(), &sender.with(id))?;
    let place = stored.map(|stored| u64::from_bytes(stored.as_bytes())).transpose();
    place.map_err(|_| Error::Damaged("the place of a message"))
}
