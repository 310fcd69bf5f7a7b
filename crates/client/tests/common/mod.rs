//! People with clients, and a network in memory that can be split and merged.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part, and a scene that fails is a failed test"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use dmls::Time;
use dmls_client::{
    Client, Entry, Event, Fault, Flow, Message, Name, Parcel, Place, Settings, Shown, Transport,
};
use dmls_store::{Key, Profile};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tempfile::TempDir;

pub const START: Time = Time(1_800_000_000);

/// Parcels by place: what a folder is, without a disk.
#[derive(Clone, Default)]
#[allow(clippy::type_complexity, reason = "a shelf of shelves")]
pub struct Network(Rc<RefCell<BTreeMap<Place, BTreeMap<Name, Vec<u8>>>>>);

impl Network {
    /// A copy that goes its own way from now on.
    pub fn copy(&self) -> Self {
        Self(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    /// Takes in all that the other has.
    pub fn merge(&self, other: &Network) {
        for (place, parcels) in &*other.0.borrow() {
            self.0.borrow_mut().entry(*place).or_default().extend(parcels.clone());
        }
    }

    pub fn parcels(&self) -> Vec<Parcel> {
        let parcels = self.0.borrow();
        let all = parcels.iter().flat_map(|(place, parcels)| {
            parcels.values().map(|bytes| Parcel { place: *place, bytes: bytes.clone() })
        });
        all.collect()
    }

    pub fn take_out(&self, place: Place, name: &Name) {
        if let Some(parcels) = self.0.borrow_mut().get_mut(&place) {
            parcels.remove(name);
        }
    }

    pub fn put(&self, parcel: &Parcel) {
        self.0.borrow_mut().entry(parcel.place).or_default().insert(parcel.name(), parcel.bytes.clone());
    }
}

/// A network as somebody sees it: in an order of its own each time.
pub struct Seen<'a> {
    pub network: &'a Network,
    pub rng: ChaCha20Rng,
}

impl Transport for Seen<'_> {
    type Error = Infallible;

    fn publish(&mut self, parcel: &Parcel) -> Result<(), Infallible> {
        self.network.put(parcel);
        Ok(())
    }

    fn arrived(
        &mut self,
        place: Place,
        known: &dyn Fn(&Name) -> bool,
        take: &mut dyn FnMut(Name, Vec<u8>) -> Flow,
    ) -> Result<Vec<Fault>, Infallible> {
        let parcels = self.network.0.borrow().get(&place).cloned().unwrap_or_default();
        let mut unknown: Vec<_> = parcels.into_iter().filter(|(name, _)| !known(name)).collect();
        shuffle(&mut unknown, &mut self.rng);
        for (name, bytes) in unknown {
            if take(name, bytes) == Flow::Stop {
                break;
            }
        }
        Ok(Vec::new())
    }

    fn remove(&mut self, place: Place, name: &Name) -> Result<(), Infallible> {
        if let Some(parcels) = self.network.0.borrow_mut().get_mut(&place) {
            parcels.remove(name);
        }
        Ok(())
    }
}

pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for n in (1..items.len()).rev() {
        items.swap(n, (rng.next_u32() as usize) % (n + 1));
    }
}

/// Somebody with a client, and the time.
pub struct Person {
    pub client: Client,
    pub rng: ChaCha20Rng,
    pub events: Vec<Event>,
    home: TempDir,
}

impl Person {
    pub fn new(name: &str, seed: u64) -> Self {
        Self::with(name, seed, |_| {})
    }

    pub fn with(name: &str, seed: u64, change: impl FnOnce(&mut Settings)) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let home = scratch();
        let profile = Profile::create(&home.path().join("profile"), &key(), &mut rng).unwrap();
        let mut settings = Settings::default();
        change(&mut settings);
        let client = Client::create(profile, name, settings, &mut rng).unwrap();
        Self { client, rng, events: Vec::new(), home }
    }

    /// The process ends, and another one goes on.
    pub fn restart(self) -> Self {
        let Self { client, mut rng, events, home } = self;
        drop(client);
        let profile = Profile::open(&home.path().join("profile"), &key(), &mut rng).unwrap();
        Self { client: Client::open(profile).unwrap(), rng, events, home }
    }

    /// A copy of the profile's directory.
    pub fn backup(self) -> (Self, TempDir) {
        let copy = scratch();
        let Self { client, mut rng, events, home } = self;
        drop(client);
        for file in std::fs::read_dir(home.path().join("profile")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let profile = Profile::open(&home.path().join("profile"), &key(), &mut rng).unwrap();
        (Self { client: Client::open(profile).unwrap(), rng, events, home }, copy)
    }

    /// The copy takes the place of the profile.
    pub fn restore(self, copy: &TempDir) -> Self {
        let Self { client, mut rng, events, home } = self;
        drop(client);
        let profile = home.path().join("profile");
        for file in std::fs::read_dir(&profile).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        for file in std::fs::read_dir(copy.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), profile.join(file.file_name())).unwrap();
        }
        // Nobody has seen the newer one.
        let profile = Profile::open(&profile, &key(), &mut rng).unwrap();
        // Another generator than the first time: a real one would not repeat itself.
        let rng = ChaCha20Rng::seed_from_u64(rng.next_u64() ^ 1);
        Self { client: Client::open(profile).unwrap(), rng, events, home }
    }

    pub fn sync(&mut self, network: &Network, now: Time) {
        let mut seen = Seen { network, rng: ChaCha20Rng::seed_from_u64(self.rng.next_u64()) };
        self.client.sync(&mut seen, now, &mut self.rng, &mut |_| {}).unwrap();
        let new = self.client.events();
        self.events.extend(new);
    }

    /// Something that the client does, in a group.
    pub fn act<R>(&mut self, group: &str, what: impl FnOnce(&mut Client, &[u8], &mut ChaCha20Rng) -> R) -> R {
        let id = self.id(group);
        what(&mut self.client, &id, &mut self.rng)
    }

    pub fn create(&mut self, group: &str, now: Time) {
        self.client.create_group(group, now, &mut self.rng).unwrap();
    }

    pub fn invite(&mut self, group: &str, names: &[&str], now: Time) {
        let id = self.id(group);
        self.client.invite(&id, names, None, now, &mut self.rng).unwrap();
    }

    pub fn say(&mut self, group: &str, text: &str, now: Time) {
        let id = self.id(group);
        self.client.send(&id, text, now, &mut self.rng).unwrap();
    }

    pub fn update(&mut self, group: &str, now: Time) {
        let id = self.id(group);
        self.client.update(&id, now, &mut self.rng).unwrap();
    }

    pub fn id(&self, group: &str) -> Vec<u8> {
        self.client.find_group(group).unwrap()
    }

    pub fn log(&self, group: &str) -> Vec<Shown> {
        self.client.entries(&self.id(group), None, usize::MAX).unwrap()
    }

    pub fn messages(&self, group: &str) -> Vec<Message> {
        let message = |shown: Shown| match shown.entry {
            Entry::Message(message) => Some(*message),
            _ => None,
        };
        self.log(group).into_iter().filter_map(message).collect()
    }

    /// What was said, sorted.
    pub fn texts(&self, group: &str) -> Vec<String> {
        let mut texts: Vec<_> = self.messages(group).into_iter().map(|message| message.text).collect();
        texts.sort();
        texts
    }

    pub fn notes(&self, group: &str) -> Vec<String> {
        let note = |shown: Shown| match shown.entry {
            Entry::Note(note) => Some(note.to_string()),
            _ => None,
        };
        self.log(group).into_iter().filter_map(note).collect()
    }

    pub fn head(&self, group: &str) -> dmls::EpochId {
        self.client.group(&self.id(group)).unwrap().head().id().clone()
    }

    /// How many messages wait in the only group, its head in short, and the number of that.
    pub fn place(&self) -> (usize, String, u64) {
        let groups = self.client.groups();
        let Some(group) = groups.first().and_then(|group| self.client.group(&group.id)) else {
            return (0, "-".to_owned(), 0);
        };
        let head = group.head();
        let short = head.id().as_bytes().iter().take(2).map(|byte| format!("{byte:02x}")).collect();
        (group.held(), short, head.number())
    }

    pub fn members(&self, group: &str) -> Vec<String> {
        let id = self.id(group);
        let mut members =
            self.client.groups().into_iter().find(|group| group.id == id).map(|group| group.members).unwrap();
        members.sort();
        members
    }
}

/// A directory in memory where there is one: thousands of transactions reach the disk, and nothing is to be kept.
fn scratch() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn key() -> Key {
    Key::random([7; 32])
}

/// Everybody synchronizes until nothing moves; time goes on meanwhile.
pub fn settle(people: &mut [&mut Person], network: &Network, now: &mut Time) {
    for _ in 0..people.len() * 3 + 6 {
        for person in people.iter_mut() {
            person.sync(network, *now);
            now.0 += 7;
        }
        now.0 += 60;
    }
}

/// A group of so many, whose first member created it.
pub fn group(names: &[&str], seed: u64, now: &mut Time) -> (Vec<Person>, Network) {
    let network = Network::default();
    let mut people: Vec<_> =
        names.iter().enumerate().map(|(n, name)| Person::new(name, seed * 1000 + n as u64)).collect();
    people.iter_mut().for_each(|person| person.sync(&network, *now));
    people.iter_mut().for_each(|person| person.sync(&network, *now));
    people[0].create("friends", *now);
    people[0].invite("friends", &names[1..], *now);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &network, now);
    (people, network)
}
