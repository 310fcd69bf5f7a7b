//! Groups whose records can't be read. All others go on; nothing of such a group is touched until a backup is restored, the others take us in
//! again ([`Client::rejoin`]), or it is forgotten. What was said in it can be read as far as the log can.

use std::collections::BTreeMap;

use dmls::{Config, Member, Time};
use dmls_store::Profile;
use rand_core::CryptoRng;

use crate::client::{Client, GroupInfo, group_name, note, unknown};
use crate::entry::{Entry, GroupEvent, Note};
use crate::error::Error;
use crate::event::Event;
use crate::own_packages;
use crate::parcel::GroupTag;
use crate::state::{Local, State};

/// Entries of a log that are looked through at once.
const PAGE: usize = 256;

/// A group whose records can't be read.
pub(crate) struct Damaged {
    /// The last that is known of it.
    pub name: String,
    pub state: Option<State>,
    pub why: String,
}

impl Damaged {
    pub(crate) fn info(&self, id: &[u8]) -> GroupInfo {
        GroupInfo {
            id: id.to_vec(),
            name: self.name.clone(),
            members: Vec::new(),
            excluded: false,
            stranded: false,
            leaving: self.state.as_ref().is_some_and(|state| state.leaving),
            damaged: Some(self.why.clone()),
        }
    }
}

/// Loads all groups of a profile, as far as they can be.
#[allow(clippy::type_complexity, reason = "two maps by the ids of groups")]
pub(crate) fn load_all(
    profile: &Profile,
    config: &Config,
) -> Result<(BTreeMap<Vec<u8>, Local>, BTreeMap<Vec<u8>, Damaged>), Error> {
    let (mut groups, mut damaged) = (BTreeMap::new(), BTreeMap::new());
    for id in profile.groups()? {
        let group = profile.load_group(&id, config.clone()).map_err(Error::from).and_then(|group| {
            if group.id() == id { Ok(group) } else { Err(Error::Damaged("the id of a group")) }
        });
        let state = State::load(profile, &id);
        match (group, state) {
            (Err(e), _) | (_, Err(e)) if e.is_fatal() => return Err(e),
            (Ok(group), Ok(state)) => {
                let tag = GroupTag::of(&id);
                groups.insert(id, Local { group, tag, state, changed: true, failed: None });
            }
            (Ok(group), Err(e)) => {
                let name = group_name(&group);
                damaged.insert(id, Damaged { name, state: None, why: e.to_string() });
            }
            (Err(e), state) => {
                let state = state.ok();
                let name = state.as_ref().map(|state| state.name.0.clone()).unwrap_or_default();
                damaged.insert(id, Damaged { name, state, why: e.to_string() });
            }
        }
    }
    Ok((groups, damaged))
}

/// What is told when a profile was opened.
pub(crate) fn told(damaged: &BTreeMap<Vec<u8>, Damaged>) -> Vec<Event> {
    let event = |(id, damaged): (&Vec<u8>, &Damaged)| Event::Damaged {
        group: id.clone(),
        name: damaged.name.clone(),
        why: damaged.why.clone(),
    };
    damaged.iter().map(event).collect()
}

/// Why there is no such group.
pub(crate) fn missing(damaged: &BTreeMap<Vec<u8>, Damaged>, id: &[u8]) -> Error {
    match damaged.get(id) {
        Some(damaged) => Error::DamagedGroup { name: damaged.name.clone(), why: damaged.why.clone() },
        None => unknown(id),
    }
}

impl Client {
    /// Asks the others to take us in again. It is all that we can do, and we don't do it by ourselves: a backup would lose less.
    pub(crate) fn ask_for_damaged(
        &mut self,
        id: &[u8],
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        let Self { profile, identity, events, .. } = self;
        let mut told = Vec::new();
        profile.transaction(|tx| {
            own_packages::ask(tx, identity, id, None, now, rng)?;
            note(tx, &mut told, id, Note::new(GroupEvent::AskedAgain, now))
        })?;
        events.extend(told);
        Ok(())
    }

    /// Whether somebody has said something in a group. Who its members were can't be seen any more where that is damaged.
    pub(crate) fn has_spoken(&self, id: &[u8], somebody: &Member) -> Result<bool, Error> {
        let mut before = None;
        loop {
            let shown = self.last_entries(id, before, PAGE)?;
            let Some(oldest) = shown.first() else { return Ok(false) };
            before = Some(oldest.place);
            let is_by = |entry: &Entry| matches!(entry, Entry::Message(message) if message.key == somebody.signature_key);
            if shown.iter().any(|shown| is_by(&shown.entry)) {
                return Ok(true);
            }
        }
    }

    /// A group that is damaged was shown up to a place.
    pub(crate) fn set_damaged_shown(&mut self, id: &[u8], place: u64) -> Result<(), Error> {
        let Self { profile, damaged, .. } = self;
        let Some(state) = damaged.get_mut(id).and_then(|damaged| damaged.state.as_mut()) else {
            return Ok(());
        };
        let new_state = State { shown: Some(place), ..state.clone() };
        profile.transaction(|tx| new_state.store(tx, id))?;
        *state = new_state;
        Ok(())
    }
}
