//! What can go wrong in a primitive.

use std::fmt;

/// A primitive refused its input. Says nothing about secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptoError {
    /// A private or public key is not of the algorithm's form: its length, its range, a point that is not on the curve.
    InvalidKey,
    /// A Diffie-Hellman result is all zero (RFC 9180 s7.1.4).
    InvalidSharedSecret,
    /// A signature does not verify.
    InvalidSignature,
    /// A ciphertext does not authenticate.
    InvalidCiphertext,
    /// A MAC differs.
    InvalidTag,
    /// The provider failed for a reason of its own.
    Provider,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidKey => "a key is not of the algorithm's form",
            Self::InvalidSharedSecret => "a Diffie-Hellman result is not usable",
            Self::InvalidSignature => "a signature does not verify",
            Self::InvalidCiphertext => "a ciphertext does not authenticate",
            Self::InvalidTag => "a MAC does not verify",
            Self::Provider => "the cryptographic provider failed",
        })
    }
}

impl std::error::Error for CryptoError {}
