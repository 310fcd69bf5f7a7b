//! Decentralized Messaging Layer Security: RFC 9420 underneath, draft-kohbrok-mls-dmls-02 on top.
//!
//! A [`Group`] is a graph of epochs. Several commits may follow one epoch; each makes an epoch with a name of its own, and
//! all members end on the same one, the head, in whatever order messages arrive. The core has no clock, no global
//! randomness, no network and no disk: time and randomness are arguments, messages are bytes, and every operation gives a
//! [`Step`]: its outcome and the [`Changes`] to write. [`persist`](Step::persist) it; or drop it, and nothing has happened.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use dmls::danger::AcceptAnyCredential;
//! use dmls::{Changes, CipherSuite, Config, Credential, Error, Group, Identity, Lifetime, NewGroupOptions, Outcome, Time};
//!
//! # fn main() -> Result<(), Error> {
//! let (mut rng, now, config) = (rand::rng(), Time(1_800_000_000), Config::new(AcceptAnyCredential));
//! let suite = config.provider.suite(CipherSuite::X25519_AES128).expect("every provider has it");
//! let alice = Identity::generate(suite, Credential::basic("alice"), &mut rng)?;
//! let bob = Identity::generate(suite, Credential::basic("bob"), &mut rng)?;
//! let bobs = bob.key_package(Lifetime::starting(now, 86_400), &mut rng)?;
//!
//! // Each has a store, here a map: all changes of a step in one transaction.
//! let (mut disk_a, mut disk_b) = (BTreeMap::new(), BTreeMap::new());
//! let mut write_a = |changes: &Changes| -> Result<(), Error> { Ok(changes.replay_into(&mut disk_a)) };
//! let mut write_b = |changes: &Changes| -> Result<(), Error> { Ok(changes.replay_into(&mut disk_b)) };
//!
//! let founding = Group::create(&alice, NewGroupOptions::default(), config.clone(), now, &mut rng)?;
//! let mut a = founding.persist(&mut write_a)?;
//! let step = a.commit().add(bobs.key_package().clone()).stage_confirmed(now, &mut rng)?;
//! let welcome = step.persist(|changes, _| write_a(changes))?.epoch.welcome.expect("somebody was added");
//! let mut b = Group::join(&bobs, &welcome, None, config, now)?.persist(&mut write_b)?;
//!
//! let message = a.send(b"hello").seal(&mut rng)?.persist(|changes, _| write_a(changes))?;
//! let outcome = b.receive(&message, now)?.persist(|changes, _| write_b(changes))?;
//! assert!(matches!(outcome, Outcome::Application(hello) if hello.data == b"hello"));
//! # Ok(())
//! # }
//! ```
//!
//! The README goes on from here: a fork, how it heals, how a group is stored, and what else belongs into the transaction so that
//! a crash loses nothing. [`Error`] says whose fault it is and what to do; [`Limits`] are what peers can make grow, and how
//! far; [`Rule`] has an id for every rule that a message can break.

#[cfg(not(any(feature = "aws-lc-rs", feature = "rustcrypto")))]
compile_error!("dmls needs a provider of primitives: enable the feature `aws-lc-rs` or `rustcrypto`");

pub mod codec;
mod config;
mod credential;
pub mod crypto;
pub mod danger;
mod epoch;
mod error;
pub mod extension;
mod fork_choice;
mod forks;
pub mod framing;
mod group;
mod identity;
mod key_package;
mod key_schedule;
pub mod message;
mod pprf;
mod public_group;
pub mod registry;
mod secret_tree;
#[cfg(test)]
mod tests;
mod time;
pub mod tree;
#[cfg(feature = "vectors")]
pub mod vectors;

#[cfg(feature = "vectors")]
pub use config::KeyLog;
pub use config::{Config, Limits, NoPreSharedKeys, PreSharedKeys, Retention, RetentionRule};
pub use credential::{AuthenticationService, Certificate, Credential, Operation, Presented};
pub use crypto::providers::Provider;
pub use crypto::suite::Suite;
pub use epoch::{Added, CommitSummary, KnownCommit, Member, NewGroupOptions};
pub use error::{Error, Limit, RecordsError, Rule, Unsupported, Usage};
pub use fork_choice::{Candidate, ForkChoice};
pub use group::exposure;
pub use group::{
    Application, Bundle, Changes, CommitBuilder, Committed, Consolidation, Deleted, DmlsMessage,
    EpochDeleted, EpochRef, ExternalJoinOptions, Founding, Group, GroupPlace, Held, Kept, Level, Lost,
    LostCommit, MemberFacts, MessageBuilder, MessageKind, Network, NewEpoch, Outcome, ReceivedProposal,
    Removed, Resumed, RolledBack, SentCommit, SentProposal, Step, Stranded, ToRemove, Told, Turn, WaitsFor,
    Why, classify,
};
pub use identity::{Identity, OwnKeyPackage};
pub use key_package::KeyPackage;
pub use key_schedule::{CommitId, EpochId, ExportedSecret, GroupContext, KeySchedule, ResumptionPsk};
pub use public_group::{
    PublicChild, PublicEpochRef, PublicFounding, PublicGroup, PublicMember, PublicProposal, PublicStep,
    PublicTurn, StagedCommit,
};
pub use registry::cipher_suite::CipherSuite;
pub use time::{Lifetime, Time};
pub use tree::index::LeafIndex;

/// The README's programs are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
