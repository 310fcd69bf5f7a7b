//! What a provider of primitives gives.

use std::sync::Arc;

use super::{CryptoError, Secret};

/// The group of a suite's KEM, `DHKEM` of RFC 9180 s4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256: scalar 32 bytes big-endian, uncompressed point 65 bytes.
    P256,
    /// NIST P-384: 48 and 97 bytes.
    P384,
    /// NIST P-521: 66 and 133 bytes.
    P521,
    /// X25519: 32 and 32 bytes.
    X25519,
}

/// A suite's signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// ECDSA over P-256 with SHA-256, DER-encoded; private key: scalar, 32 bytes big-endian.
    EcdsaP256,
    /// ECDSA over P-384 with SHA-384.
    EcdsaP384,
    /// ECDSA over P-521 with SHA-512; private key 66 bytes.
    EcdsaP521,
    /// Ed25519 (RFC 8032); private key: the 32-byte seed.
    Ed25519,
}

/// A suite's AEAD. Nonces have 12 bytes, tags 16 and follow the ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// The primitives that differ between providers. Hash, HMAC and HKDF are the same for all.
pub trait CryptoProvider: Sync + Send {
    /// For people.
    fn name(&self) -> &'static str;

    /// A KEM private key, ready for use.
    fn kem_key(&self, curve: Curve, private: &Secret) -> Result<Box<dyn KemKey>, CryptoError>;

    /// Refuses what is not a point of a NIST curve. It has the right length and form, and the curve is never X25519.
    fn check_point(&self, curve: Curve, public: &[u8]) -> Result<(), CryptoError>;

    /// A signature private key, ready for use. Not in a `Box`, of which an `Arc` would be a copy that leaves the first one behind.
    fn signing_key(
        &self,
        scheme: SignatureScheme,
        private: &Secret,
    ) -> Result<Arc<dyn SigningKey>, CryptoError>;

    /// Verifies one signature, strictly.
    fn verify(
        &self,
        scheme: SignatureScheme,
        public: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError>;

    /// Encrypts in place and appends the tag.
    fn seal(
        &self,
        aead: Aead,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError>;

    /// Decrypts in place and cuts the tag. On failure the buffer is of no use.
    fn open(
        &self,
        aead: Aead,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError>;
}

/// A KEM private key with what a provider computes of it once. Erased when dropped.
pub trait KemKey: Send + Sync {
    /// The public key.
    fn public_key(&self) -> Result<Vec<u8>, CryptoError>;

    /// The Diffie-Hellman result: X25519's 32 bytes (never all zero) or the x-coordinate.
    fn diffie_hellman(&self, public: &[u8]) -> Result<Secret, CryptoError>;
}

/// A signature private key with what a provider computes of it once. Erased when dropped.
pub trait SigningKey: Send + Sync {
    /// The public key.
    fn public_key(&self) -> Result<Vec<u8>, CryptoError>;

    /// Signs.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

impl Curve {
    /// Length of a private key, `Nsk`.
    pub fn private_key_length(self) -> usize {
        match self {
            Self::P256 | Self::X25519 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Length of a public key, `Npk`.
    pub fn public_key_length(self) -> usize {
        match self {
            Self::X25519 => 32,
            _ => 1 + 2 * self.private_key_length(),
        }
    }
}

impl SignatureScheme {
    /// The curve of an ECDSA scheme.
    pub(super) fn curve(self) -> Option<Curve> {
        match self {
            Self::EcdsaP256 => Some(Curve::P256),
            Self::EcdsaP384 => Some(Curve::P384),
            Self::EcdsaP521 => Some(Curve::P521),
            Self::Ed25519 => None,
        }
    }
}

impl Aead {
    /// Key length, `Nk`.
    pub fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Nonce length, `Nn`.
    pub fn nonce_length(self) -> usize {
        12
    }
}
