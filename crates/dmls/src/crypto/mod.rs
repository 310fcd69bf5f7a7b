//! Cryptographic objects (RFC 9420 s5.1, s5.2), HPKE (RFC 9180) and the providers underneath.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
mod ed25519;
mod error;
mod hash_ref;
mod hpke;
mod kdf;
mod provider;
pub(crate) mod providers;
mod public_key;
#[cfg(feature = "rustcrypto")]
mod rust_crypto;
mod secret;
mod signature;
pub(crate) mod suite;
mod tree_kdf;

pub use error::CryptoError;
pub use hash_ref::{KeyPackageRef, ProposalRef};
pub use hpke::{HpkeCiphertext, HpkeKeyPair, HpkePrivateKey, HpkePublicKey, KemOutput};
#[cfg(test)]
pub(crate) use kdf::counted;
pub use kdf::{HashAlgorithm, Tag};
pub use provider::{Aead, CryptoProvider, Curve, KemKey, SignatureScheme, SigningKey};
pub(crate) use providers::Provider;
pub use secret::Secret;
pub(crate) use secret::{secret_type, to_secret_bytes};
pub use signature::{Signature, SignatureKeyPair, SignaturePrivateKey, SignaturePublicKey};
pub(crate) use suite::Suite;
pub(crate) use tree_kdf::{MAX_NH, TreeKdf};

#[cfg(test)]
mod provider_tests;
