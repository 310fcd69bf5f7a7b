//! Decentralized Messaging Layer Security: RFC 9420 underneath, draft-kohbrok-mls-dmls-02 on top.

// Temporary: until the layers above use all of the primitives.
#![allow(dead_code, unused_imports)]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rustcrypto")))]
compile_error!("dmls needs a provider of primitives: enable the feature `aws-lc-rs` or `rustcrypto`");

pub mod codec;
pub mod crypto;
pub mod registry;
