//! Two people and their profiles, and a script of steps, each of which is one transaction. A step knows from the profile whether it was
//! done, and its randomness from its number: so a world that was killed anywhere goes on as it would have gone on.

#![allow(dead_code, reason = "each test uses a part")]

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use dmls::danger::AcceptAnyCredential;
use dmls::{
    CipherSuite, Config, Credential, ExternalJoinOptions, Founding, Group, Identity, Lifetime, Network,
    NewGroupOptions, Outcome, Retention, Step, Time,
};
use dmls_store::{Error, Log, Order, Profile, Table, Transaction, Use};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

use crate::common::{key, rng};

const NOW: Time = Time(1_800_000_000);
/// What leaves, in order: the other one reads it.
const OUTBOX: Log<'_> = Log::new("outbox");
/// What was read.
const MESSAGES: Log<'_> = Log::new("messages");
/// How far the script is, and how far the other's outbox was read.
const PLACES: Table<'_> = Table::new("places");

type Done = Result<(), Error>;

pub struct Person {
    pub directory: PathBuf,
    pub profile: Profile,
    pub group: Option<Group>,
}

pub struct World {
    pub alice: Person,
    pub bob: Person,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Alice,
    Bob,
}

/// A line of the script: who acts, in how many transactions, and what happens. It gets the actor, the other one, and the number of the
/// first transaction that is left.
type Line = (Who, u32, fn(&mut Person, &Person, u32, u32) -> Done);

use Who::{Alice, Bob};

const SCRIPT: &[Line] = &[
    (Alice, 1, create),
    (Bob, 1, publish),
    (Alice, 1, add),
    (Alice, 1, welcome_sent),
    (Bob, 1, join),
    (Alice, 1, send),
    (Alice, 1, send),
    (Alice, 1, send),
    (Bob, 3, receive),
    // A fork, and how it heals.
    (Alice, 1, commit),
    (Bob, 1, commit),
    (Alice, 1, send),
    (Bob, 2, receive),
    (Alice, 1, receive),
    // A commit that waits for its confirmation.
    (Bob, 1, stage),
    (Bob, 1, confirm),
    (Alice, 1, receive),
    (Bob, 1, send),
    (Alice, 1, receive),
    // Alice comes in again.
    (Bob, 1, offer),
    (Alice, 1, rejoin),
    (Alice, 1, confirm),
    (Bob, 1, receive),
    // Everything has arrived.
    (Alice, 1, whole),
    (Bob, 1, whole),
    (Alice, 1, delete_old),
    (Bob, 1, delete_old),
    (Bob, 1, send),
    (Alice, 1, receive),
    (Alice, 1, second_group),
    (Alice, 1, delete_second_group),
    (Bob, 1, forget),
    (Alice, 1, send),
    (Bob, 1, receive),
];

fn config() -> Config {
    Config { retention: Retention::while_told(), ..Config::new(AcceptAnyCredential) }
}

/// Whether lines of several transactions are batches, or one by one: it makes no difference for what is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    Whole,
    Split,
}

/// How many transactions are done after the line that follows so many.
pub fn next_line(done: u32) -> u32 {
    let ends = SCRIPT.iter().scan(0, |end, (_, transactions, _)| {
        *end += transactions;
        Some(*end)
    });
    ends.into_iter().find(|end| *end > done).unwrap_or(done)
}

impl World {
    /// Both profiles, made if they are not there yet.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            alice: Person::open(&directory.join("alice"))?,
            bob: Person::open(&directory.join("bob"))?,
        })
    }

    /// All that is left of the script. Tells `each` after every line how many transactions are done.
    pub fn run(&mut self, batches: Batches, each: impl FnMut(&Self, u32)) -> Done {
        self.run_to(u32::MAX, batches, each)
    }

    /// The script as far as so many transactions.
    pub fn run_to(&mut self, last: u32, batches: Batches, mut each: impl FnMut(&Self, u32)) -> Done {
        let mut first = 0;
        for (who, transactions, line) in SCRIPT {
            let (end, size) =
                (first + transactions, if batches == Batches::Whole { *transactions } else { 1 });
            while first < end.min(last) {
                let next = first + size;
                let (actor, other) = match who {
                    Alice => (&mut self.alice, &self.bob),
                    Bob => (&mut self.bob, &self.alice),
                };
                let start = actor.next()?.max(first);
                if start < next {
                    line(actor, other, start, next)?;
                    each(self, next);
                }
                first = next;
            }
        }
        Ok(())
    }

    /// How many transactions are done.
    pub fn done(&self) -> u32 {
        self.alice.next().unwrap().max(self.bob.next().unwrap())
    }

    /// Everything that both have stored, as a number for each.
    pub fn digest(&self) -> [u64; 2] {
        [self.alice.digest(), self.bob.digest()]
    }

    /// After the script, whatever happened on the way: they agree, and each has read what the other sent, once, in order.
    pub fn check(&self) {
        let (alice, bob) = (self.alice.group.as_ref().unwrap(), self.bob.group.as_ref().unwrap());
        assert_eq!(alice.head(), bob.head());
        assert_eq!(alice.head().authenticator().unwrap(), bob.head().authenticator().unwrap());
        let read = |person: &Person| {
            let read = person.profile.entries_after(MESSAGES, None, 100).unwrap();
            read.iter()
                .map(|(_, text)| String::from_utf8(text.as_bytes().to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&self.bob), ["message 5", "message 6", "message 7", "message 13", "message 35"]);
        assert_eq!(read(&self.alice), ["message 20", "message 30"]);
    }
}

impl Person {
    fn open(directory: &Path) -> Result<Self, Error> {
        // What a killed process leaves of a profile that it was making is no profile.
        let profile = match Profile::open(directory, &key(), &mut rng(0)) {
            Err(Error::NotFound(_)) => Profile::create(directory, &key(), &mut rng(0))?,
            other => other?,
        };
        let group = match profile.groups()?.first() {
            Some(_) => Some(profile.load_group(&main_group(&profile)?, config())?),
            None => None,
        };
        Ok(Self { directory: directory.to_owned(), profile, group })
    }

    /// The number of the first transaction that this one has not done, of its own.
    fn next(&self) -> Result<u32, Error> {
        let place = self.profile.get(PLACES, b"script")?;
        Ok(place.map_or(0, |place| u32::from_be_bytes(place.as_bytes().try_into().unwrap())))
    }

    fn digest(&self) -> u64 {
        digest(&self.profile)
    }

    /// What is next in the other's outbox.
    fn incoming(&self, other: &Person) -> Result<(Order, Vec<u8>), Error> {
        let cursor = self.profile.get(PLACES, b"cursor")?;
        let cursor = cursor.map(|cursor| Order(u64::from_be_bytes(cursor.as_bytes().try_into().unwrap())));
        let (order, message) = other.profile.entries_after(OUTBOX, cursor, 1)?.remove(0);
        Ok((order, message.as_bytes().to_vec()))
    }
}

/// Everything that a profile holds, as a number.
pub fn digest(profile: &Profile) -> u64 {
    let mut hash = Sha256::new();
    let mut absorb = |parts: &[&[u8]]| {
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    };
    for id in profile.groups().unwrap() {
        let records = profile.records(&id).unwrap();
        absorb(&[b"group", &id]);
        records.as_map().iter().for_each(|(key, value)| absorb(&[key, value]));
    }
    let provider = config().provider;
    for name in profile.identities().unwrap() {
        let identity = profile.identity(&name, provider).unwrap().unwrap();
        absorb(&[b"identity", name.as_bytes(), identity.to_secret().as_bytes()]);
    }
    for stored in profile.key_packages(provider).unwrap() {
        let usage = [u8::from(stored.usage == Use::Once)];
        absorb(&[b"key package", stored.own.to_secret().as_bytes(), &usage]);
    }
    for (key, value) in profile.all(PLACES).unwrap() {
        absorb(&[b"place", &key, value.as_bytes()]);
    }
    for (name, log) in [(&b"outbox"[..], OUTBOX), (b"messages", MESSAGES)] {
        for (order, value) in profile.entries_after(log, None, usize::MAX).unwrap() {
            absorb(&[name, &order.0.to_be_bytes(), value.as_bytes()]);
        }
    }
    let whole = hash.finalize();
    u64::from_be_bytes(std::array::from_fn(|n| whole[n]))
}

/// The one with both; Alice has a second for a moment.
fn main_group(profile: &Profile) -> Result<Vec<u8>, Error> {
    Ok(profile.get(PLACES, b"group")?.unwrap().as_bytes().to_vec())
}

fn step_rng(number: u32) -> ChaCha20Rng {
    rng(1_000 + u64::from(number))
}

/// Notes that a transaction of the script is done.
fn note(tx: &mut Transaction<'_>, number: u32) -> Done {
    tx.put(PLACES, b"script", &(number + 1).to_be_bytes())
}

/// A step of the group in one transaction, with what goes out.
fn persist<T: Debug>(
    profile: &mut Profile,
    number: u32,
    step: Step<'_, T>,
    out: impl FnOnce(&T) -> Option<Vec<u8>>,
) -> Result<T, Error> {
    let id = main_group(profile)?;
    step.persist(|changes, outcome| {
        profile.transaction(|tx| {
            tx.write_group(&id, changes)?;
            if let Some(message) = out(outcome) {
                tx.append(OUTBOX, &message)?;
            }
            note(tx, number)
        })
    })
}

fn begin(
    profile: &mut Profile,
    number: u32,
    founding: Founding,
    also: impl FnOnce(&mut Transaction<'_>, &dmls::Changes) -> Done,
) -> Result<Group, Error> {
    let id = founding.group().id().to_vec();
    founding.persist(|changes| {
        profile.transaction(|tx| {
            also(tx, changes)?;
            tx.put(PLACES, b"group", &id)?;
            note(tx, number)
        })
    })
}

fn identity(name: &str, rng: &mut ChaCha20Rng) -> Result<Identity, Error> {
    let suite = config().provider.suite(CipherSuite::X25519_AES128).unwrap();
    Ok(Identity::generate(suite, Credential::basic(name), rng)?)
}

fn create(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let rng = &mut step_rng(number);
    let alice = identity("alice", rng)?;
    let founding = Group::create(&alice, NewGroupOptions::default(), config(), NOW, rng)?;
    let id = founding.group().id().to_vec();
    let group = begin(&mut me.profile, number, founding, |tx, changes| {
        tx.put_identity("me", &alice)?;
        tx.create_group(&id, changes)
    })?;
    me.group = Some(group);
    Ok(())
}

fn publish(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let rng = &mut step_rng(number);
    let bob = identity("bob", rng)?;
    let lifetime = Lifetime::starting(NOW, 90 * 86_400);
    let (once, last) = (bob.key_package(lifetime, rng)?, bob.key_package(lifetime, rng)?);
    me.profile.transaction(|tx| {
        tx.put_identity("me", &bob)?;
        tx.put_key_package(&once, bob.suite(), Use::Once)?;
        tx.put_key_package(&last, bob.suite(), Use::LastResort)?;
        tx.append(OUTBOX, &once.message())?;
        note(tx, number)
    })
}

fn add(me: &mut Person, other: &Person, number: u32, _: u32) -> Done {
    let (order, message) = me.incoming(other)?;
    let key_package = dmls::KeyPackage::from_message(&message)?;
    let group = me.group.as_mut().unwrap();
    let id = group.id().to_vec();
    let step = group.commit().add(key_package).stage_confirmed(NOW, &mut step_rng(number))?;
    step.persist(|changes, added| {
        me.profile.transaction(|tx| {
            tx.write_group(&id, changes)?;
            tx.append(OUTBOX, added.epoch.welcome.as_ref().unwrap())?;
            tx.put(PLACES, b"cursor", &order.0.to_be_bytes())?;
            note(tx, number)
        })
    })?;
    Ok(())
}

fn welcome_sent(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let group = me.group.as_mut().unwrap();
    let commit = group.unsent_welcomes().next().unwrap().0.clone();
    persist(&mut me.profile, number, group.welcome_sent(&commit)?, |_| None)?;
    Ok(())
}

fn join(me: &mut Person, other: &Person, number: u32, _: u32) -> Done {
    let (order, welcome) = me.incoming(other)?;
    let used = me.profile.key_package_for(&welcome, config().provider)?.unwrap();
    let founding = Group::join(&used.own, &welcome, None, config(), NOW)?;
    let id = founding.group().id().to_vec();
    let group = begin(&mut me.profile, number, founding, |tx, changes| {
        tx.put(PLACES, b"cursor", &order.0.to_be_bytes())?;
        tx.join_group(&id, changes, &used)
    })?;
    me.group = Some(group);
    Ok(())
}

fn send(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let text = format!("message {number}");
    let step = me.group.as_mut().unwrap().send(text.as_bytes()).seal(&mut step_rng(number))?;
    persist(&mut me.profile, number, step, |message| Some(message.clone()))?;
    Ok(())
}

/// Several of them are a batch.
fn receive(me: &mut Person, other: &Person, start: u32, next: u32) -> Done {
    let mut messages = Vec::new();
    let cursor = me.incoming(other)?;
    messages.push(cursor.clone());
    let rest = other.profile.entries_after(OUTBOX, Some(cursor.0), (next - start - 1) as usize)?;
    messages.extend(rest.into_iter().map(|(order, message)| (order, message.as_bytes().to_vec())));
    let group = me.group.as_mut().unwrap();
    let id = group.id().to_vec();
    me.profile.batch(|profile| {
        for (number, (order, message)) in (start..next).zip(messages) {
            group.receive(&message, NOW)?.persist(|changes, outcome| {
                profile.transaction(|tx| {
                    match outcome {
                        Outcome::Application(text) => tx.append(MESSAGES, &text.data).map(drop)?,
                        Outcome::Commit(_) => {}
                        other => panic!("transaction {number}: {other:?}"),
                    }
                    tx.put(PLACES, b"cursor", &order.0.to_be_bytes())?;
                    tx.write_group(&id, changes)?;
                    note(tx, number)
                })
            })?;
        }
        Ok(())
    })
}

fn commit(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let step = me.group.as_mut().unwrap().commit().stage_confirmed(NOW, &mut step_rng(number))?;
    persist(&mut me.profile, number, step, |made| Some(made.sent.message.clone()))?;
    Ok(())
}

fn stage(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let step = me.group.as_mut().unwrap().commit().stage(NOW, &mut step_rng(number))?;
    persist(&mut me.profile, number, step, |sent| Some(sent.message.clone()))?;
    Ok(())
}

fn confirm(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let group = me.group.as_mut().unwrap();
    let commit = group.pending().next().unwrap().0.clone();
    persist(&mut me.profile, number, group.confirm(&commit)?, |_| None)?;
    Ok(())
}

fn offer(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let info = me.group.as_ref().unwrap().head().group_info(NOW)?;
    me.profile.transaction(|tx| {
        tx.append(OUTBOX, &info)?;
        note(tx, number)
    })
}

fn rejoin(me: &mut Person, other: &Person, number: u32, _: u32) -> Done {
    let (order, info) = me.incoming(other)?;
    let alice = me.profile.identity("me", config().provider)?.unwrap();
    let group = me.group.as_mut().unwrap();
    let id = group.id().to_vec();
    let step = group.rejoin(&alice, &info, ExternalJoinOptions::default(), NOW, &mut step_rng(number))?;
    step.persist(|changes, sent| {
        me.profile.transaction(|tx| {
            tx.write_group(&id, changes)?;
            tx.append(OUTBOX, &sent.message)?;
            tx.put(PLACES, b"cursor", &order.0.to_be_bytes())?;
            note(tx, number)
        })
    })?;
    Ok(())
}

fn whole(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    persist(&mut me.profile, number, me.group.as_mut().unwrap().set_network(Network::Whole), |_| None)?;
    Ok(())
}

fn delete_old(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    persist(&mut me.profile, number, me.group.as_mut().unwrap().delete_old_epochs(), |_| None)?;
    Ok(())
}

fn second_group(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let alice = me.profile.identity("me", config().provider)?.unwrap();
    let options = NewGroupOptions::default();
    let founding = Group::create(&alice, options, config(), NOW, &mut step_rng(number))?;
    let id = founding.group().id().to_vec();
    founding.persist(|changes| {
        me.profile.transaction(|tx| {
            tx.create_group(&id, changes)?;
            note(tx, number)
        })
    })?;
    Ok(())
}

fn delete_second_group(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let main = main_group(&me.profile)?;
    let second = me.profile.groups()?.into_iter().find(|id| *id != main).unwrap();
    me.profile.transaction(|tx| {
        tx.delete_group(&second)?;
        note(tx, number)
    })
}

fn forget(me: &mut Person, _: &Person, number: u32, _: u32) -> Done {
    let left = me.profile.key_packages(config().provider)?;
    me.profile.transaction(|tx| {
        for stored in &left {
            tx.delete_key_package(&stored.reference)?;
        }
        tx.clear_log(OUTBOX)?;
        note(tx, number)
    })
}
