//! Keeps groups on disk: a step and all that belongs to it in one transaction, sealed, and gone when it is deleted.
//!
//! A [`Profile`] is a directory with the groups, identities and key packages of one person, and what an application keeps with them:
//! [`Table`]s and [`Log`]s. The library decides and gives [`Changes`](dmls::Changes); [`Profile::transaction`] takes these and the
//! caller's own records, all or none. So kill the process at any line: the message that was read is in the log exactly when its key
//! is gone, and what was not sent yet is in the outbox.
//!
//! ```
//! use std::path::Path;
//!
//! use dmls::danger::AcceptAnyCredential;
//! use dmls::{CipherSuite, Config, Credential, Group, Identity, Lifetime, NewGroupOptions, Outcome, Time};
//! use dmls_store::{Error, Key, Log, Profile, Table, Use};
//!
//! /// Bytes that were not sent yet, the oldest first.
//! const OUTBOX: Log = Log::new("outbox");
//!
//! # fn main() -> Result<(), Error> {
//! # let home = tempfile::tempdir().expect("a directory");
//! # let home: &Path = home.path();
//! let mut rng = rand::rng();
//! let now = Time(1_800_000_000); // seconds since 1970, from your clock
//! let config = Config::new(AcceptAnyCredential); // who is who: yours to say
//! let suite = config.provider.suite(CipherSuite::X25519_AES128).expect("every provider has it");
//! let mut alices = Profile::create(&home.join("alice"), &Key::random([1; 32]), &mut rng)?;
//! let mut bobs = Profile::create(&home.join("bob"), &Key::random([2; 32]), &mut rng)?;
//!
//! // Bob makes himself an identity, and a key package to publish.
//! let bob = Identity::generate(suite, Credential::basic("bob"), &mut rng)?;
//! let key_package = bob.key_package(Lifetime::starting(now, 90 * 86_400), &mut rng)?;
//! bobs.transaction(|tx| {
//!     tx.put_identity("me", &bob)?;
//!     tx.put_key_package(&key_package, &suite, Use::Once)
//! })?;
//!
//! // Alice creates a group and adds him.
//! let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng)?;
//! let founding = Group::create(&alice, NewGroupOptions::default(), config.clone(), now, &mut rng)?;
//! let id = founding.group().id().to_vec();
//! let mut a = founding.persist(|changes| {
//!     alices.transaction(|tx| {
//!         tx.put_identity("me", &alice)?;
//!         tx.create_group(&id, changes)
//!     })
//! })?;
//! let step = a.commit().add(key_package.key_package().clone()).stage_confirmed(now, &mut rng)?;
//! step.persist(|changes, added| {
//!     alices.transaction(|tx| {
//!         let welcome = added.epoch.welcome.as_ref().expect("Bob was added");
//!         tx.append(OUTBOX, welcome)?;
//!         tx.write_group(&id, changes)
//!     })
//! })?;
//!
//! // Bob joins. The private keys of the key package go in the same transaction.
//! let (_, welcome) = alices.entries_after(OUTBOX, None, 1)?.remove(0);
//! let used = bobs.key_package_for(welcome.as_bytes(), config.provider)?.ok_or(Error::UnknownKeyPackage)?;
//! let founding = Group::join(&used.own, welcome.as_bytes(), None, config.clone(), now)?;
//! let mut b = founding.persist(|changes| bobs.transaction(|tx| tx.join_group(&id, changes, &used)))?;
//!
//! // What is sent goes into the outbox with the step that encrypts it, and leaves from there.
//! a.send(b"hello").seal(&mut rng)?.persist(|changes, message| {
//!     alices.transaction(|tx| {
//!         tx.append(OUTBOX, message)?;
//!         tx.write_group(&id, changes)
//!     })
//! })?;
//!
//! // Bob reads from where his cursor is. Message, cursor and the keys that are used up: one transaction.
//! let cursor = Table::new("cursor");
//! let sent = alices.entries_after(OUTBOX, None, 10)?;
//! let (order, message) = &sent[1];
//! b.receive(message.as_bytes(), now)?.persist(|changes, outcome| {
//!     bobs.transaction(|tx| {
//!         if let Outcome::Application(hello) = outcome {
//!             tx.append(Log::of_group("messages", &id), &hello.data)?;
//!         }
//!         tx.put(cursor, b"alice", &order.0.to_be_bytes())?;
//!         tx.write_group(&id, changes)
//!     })
//! })?;
//!
//! // The process ends, and another one goes on.
//! drop((bobs, b));
//! let bobs = Profile::open(&home.join("bob"), &Key::random([2; 32]), &mut rng)?;
//! let b = bobs.load_group(&id, config)?;
//! assert_eq!(b.head(), a.head());
//! let read = bobs.entries_after(Log::of_group("messages", &id), None, 10)?;
//! assert_eq!(read[0].1.as_bytes(), b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! [`Error`] says what to do next. `docs/storage.md` has the layout of the file, what somebody who reads it learns, what happens when an
//! old copy is restored, and figures.

mod database;
mod error;
mod export;
mod key;
mod lock;
mod phrase;
mod profile;
mod seal;
mod sealed_stream;
mod space;
mod stored;
mod transaction;

pub use error::{DatabaseError, Error};
pub use export::{Export, Exported};
pub use key::Key;
pub use phrase::Phrase;
pub use profile::{Profile, Records};
pub use space::{Log, Order, Table};
pub use stored::{StoredKeyPackage, Use};
pub use transaction::Transaction;
