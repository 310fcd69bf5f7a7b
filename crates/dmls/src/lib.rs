//! Decentralized Messaging Layer Security: RFC 9420 underneath, draft-kohbrok-mls-dmls-02 on top.

// Temporary: until the layers above use everything below.
#![allow(dead_code, unused_imports)]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rustcrypto")))]
compile_error!("dmls needs a provider of primitives: enable the feature `aws-lc-rs` or `rustcrypto`");

pub mod codec;
mod config;
pub mod credential;
pub mod crypto;
mod epoch;
mod error;
pub mod extension;
pub mod framing;
mod group;
mod identity;
pub mod key_package;
pub mod key_schedule;
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
pub use config::{Config, Limits, NoPreSharedKeys, PreSharedKeys};
pub use credential::{AcceptAnyCredential, AuthenticationService, Credential};
pub use crypto::{Provider, Suite};
pub use epoch::{CommitSummary, Member, NewGroupOptions};
pub use error::{Error, Limit, RecordsError, Rule, Unsupported, Usage};
pub use group::{
    Application, Arrival, Candidate, Changes, CommitBuilder, CommitId, DmlsMessage, EpochInfo,
    ExternalJoinOptions, ForkChoice, Founding, Group, GroupPlace, Held, HighestConfirmationTag, Lost,
    NewEpoch, Outcome, ReceivedProposal, Removed, Resumed, SentCommit, SentProposal, Step,
};
pub use identity::{Identity, OwnKeyPackage};
pub use key_package::KeyPackage;
pub use key_schedule::{EpochId, KeySchedule};
pub use public_group::{PublicEpochInfo, PublicGroup, PublicOutcome};
pub use registry::CipherSuite;
pub use time::{Lifetime, Time};
pub use tree::LeafIndex;
