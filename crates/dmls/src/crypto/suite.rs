//! A cipher suite as a value: which primitives, and from whom (RFC 9420 s5.1, s17.1).

use std::fmt;

use zeroize::Zeroizing;

use super::kdf::HashAlgorithm;
use super::{Aead, CryptoError, Curve, Provider, Secret, SignatureScheme, Tag};
use crate::codec::MAX_LENGTH;
use crate::registry::CipherSuite;

// "The overall size of the AAD and ciphertext MUST fit within the limits established for the group's AEAD algorithm"
// (RFC 9420 s6.3.1). One message may have 2^36 - 31 bytes with AES-GCM (RFC 5116 s5.1) and 2^38 - 64 with
// ChaCha20-Poly1305 (RFC 8439 s2.8): no vector of MLS is that long, and `Limits::message_size` is far smaller.
const _: () = assert!((MAX_LENGTH as u64) < (1 << 36) - 31);

/// A cipher suite with its primitives. Small and `Copy`: pass it by value or by reference.
#[derive(Clone, Copy)]
pub struct Suite {
    pub(super) code: CipherSuite,
    pub(super) curve: Curve,
    pub(super) hash: HashAlgorithm,
    pub(super) aead: Aead,
    pub(super) scheme: SignatureScheme,
    pub(super) provider: Provider,
}

impl Suite {
    pub(super) fn with_provider(code: CipherSuite, provider: Provider) -> Option<Self> {
        use {Aead::*, Curve::*, HashAlgorithm::*, SignatureScheme::*};
        let (curve, aead, hash, scheme) = match code {
            CipherSuite::X25519_AES128 => (X25519, Aes128Gcm, Sha256, Ed25519),
            CipherSuite::P256_AES128 => (P256, Aes128Gcm, Sha256, EcdsaP256),
            CipherSuite::X25519_CHACHA20 => (X25519, ChaCha20Poly1305, Sha256, Ed25519),
            CipherSuite::P521_AES256 => (P521, Aes256Gcm, Sha512, EcdsaP521),
            CipherSuite::P384_AES256 => (P384, Aes256Gcm, Sha384, EcdsaP384),
            _ => return None,
        };
        Some(Self { code, curve, hash, aead, scheme, provider })
    }

    /// The registered code point.
    pub fn code(&self) -> CipherSuite {
        self.code
    }

    /// Who provides the primitives.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The hash function, whose HKDF is the suite's KDF.
    pub fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash
    }

    /// `KDF.Nh`: length of hashes and secrets in bytes.
    pub fn nh(&self) -> usize {
        self.hash.length()
    }

    /// `AEAD.Nk`.
    pub(crate) fn nk(&self) -> usize {
        self.aead.key_length()
    }

    /// `AEAD.Nn`.
    pub(crate) fn nn(&self) -> usize {
        self.aead.nonce_length()
    }

    /// `Hash(parts[0] || ..)`.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.hash.hash(parts)
    }

    /// `MAC(key, message)`.
    pub(crate) fn mac(&self, key: &Secret, message: &[u8]) -> Tag {
        self.hash.hmac(key.as_bytes(), &[message]).into()
    }

    /// `KDF.Extract(salt, ikm)`.
    pub(crate) fn extract(&self, salt: &Secret, ikm: &Secret) -> Secret {
        self.hash.extract(salt.as_bytes(), &[ikm.as_bytes()])
    }

    /// `ExpandWithLabel(secret, label, context, length)`.
    pub(crate) fn expand_with_label(
        &self,
        secret: &Secret,
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Secret {
        self.hash.expand_with_label(secret.as_bytes(), label, context, length)
    }

    /// `DeriveSecret(secret, label) = ExpandWithLabel(secret, label, "", Nh)`.
    pub(crate) fn derive_secret(&self, secret: &Secret, label: &str) -> Secret {
        self.expand_with_label(secret, label, &[], self.nh())
    }

    /// `DeriveTreeSecret(secret, label, generation, length)` (RFC 9420 s9.1).
    pub(crate) fn derive_tree_secret(
        &self,
        secret: &Secret,
        label: &str,
        generation: u32,
        length: usize,
    ) -> Secret {
        self.expand_with_label(secret, label, &generation.to_be_bytes(), length)
    }

    /// `AEAD.Seal`: the ciphertext with its tag.
    pub(crate) fn aead_seal(
        &self,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut buffer = Vec::with_capacity(plaintext.len() + 16);
        buffer.extend_from_slice(plaintext);
        self.provider.0.seal(self.aead, key, nonce, aad, &mut buffer)?;
        Ok(buffer)
    }

    /// `AEAD.Open`: the plaintext, as a secret.
    pub(crate) fn aead_open(
        &self,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Secret, CryptoError> {
        // Also where it fails half-way, nothing that was decrypted is left behind.
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        self.provider.0.open(self.aead, key, nonce, aad, &mut buffer)?;
        Ok(Secret::new(std::mem::take(&mut *buffer)))
    }
}

impl PartialEq for Suite {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl Eq for Suite {}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.code, self.provider.name())
    }
}
