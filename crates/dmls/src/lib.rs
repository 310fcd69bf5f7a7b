//! Decentralized Messaging Layer Security: RFC 9420 underneath, draft-kohbrok-mls-dmls-02 on top.

// Temporary: until the layers above use everything below.
#![allow(dead_code, unused_imports)]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rustcrypto")))]
compile_error!("dmls needs a provider of primitives: enable the feature `aws-lc-rs` or `rustcrypto`");

pub mod codec;
pub mod credential;
pub mod crypto;
mod error;
pub mod extension;
pub mod framing;
pub mod key_package;
pub mod key_schedule;
pub mod message;
mod pprf;
pub mod registry;
mod secret_tree;
mod time;
pub mod tree;
#[cfg(feature = "vectors")]
pub mod vectors;

pub use error::{Error, Limit, RecordsError, Rule, Unsupported, Usage};
pub use key_schedule::EpochId;
pub use time::{Lifetime, Time};
