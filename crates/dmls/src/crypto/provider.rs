//! What a provider of primitives gives. Providers are values, not type parameters.

use std::fmt;

use super::ed25519::is_acceptable;
use super::{CryptoError, Secret, Suite};
use crate::registry::CipherSuite;

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

    /// The public key of a KEM private key.
    fn public_key(&self, curve: Curve, private: &Secret) -> Result<Vec<u8>, CryptoError>;

    /// The Diffie-Hellman result: X25519's 32 bytes (never all zero) or the x-coordinate.
    fn diffie_hellman(&self, curve: Curve, private: &Secret, public: &[u8]) -> Result<Secret, CryptoError>;

    /// The public key of a signature private key.
    fn verification_key(&self, scheme: SignatureScheme, private: &Secret) -> Result<Vec<u8>, CryptoError>;

    /// Signs.
    fn sign(&self, scheme: SignatureScheme, private: &Secret, message: &[u8])
    -> Result<Vec<u8>, CryptoError>;

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

/// A provider, by value.
#[derive(Clone, Copy)]
pub struct Provider(pub(super) &'static dyn CryptoProvider);

impl Provider {
    /// A provider of your own.
    pub fn new(primitives: &'static dyn CryptoProvider) -> Self {
        Self(primitives)
    }

    /// aws-lc-rs: the fast one, for native targets.
    #[cfg(feature = "aws-lc-rs")]
    pub fn aws_lc() -> Self {
        Self(&super::aws_lc::AwsLc)
    }

    /// RustCrypto: the portable one, also for WebAssembly.
    #[cfg(feature = "rustcrypto")]
    pub fn rust_crypto() -> Self {
        Self(&super::rust_crypto::RustCrypto)
    }

    /// All that this build has, the default first.
    pub fn all() -> Vec<Self> {
        vec![
            #[cfg(feature = "aws-lc-rs")]
            Self::aws_lc(),
            #[cfg(feature = "rustcrypto")]
            Self::rust_crypto(),
        ]
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The suite, if its primitives are there. No suite has X448 or Ed448: no maintained crate offers a stable release.
    pub fn suite(&self, code: CipherSuite) -> Option<Suite> {
        Suite::with_provider(code, *self)
    }
}

#[cfg(any(feature = "aws-lc-rs", feature = "rustcrypto"))]
impl Default for Provider {
    fn default() -> Self {
        #[cfg(feature = "aws-lc-rs")]
        return Self::aws_lc();
        #[cfg(not(feature = "aws-lc-rs"))]
        return Self::rust_crypto();
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name())
    }
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

/// Refuses the other encodings that the libraries would take: compressed and hybrid points, X.509.
///
/// RFC 9420 s5.1.1: ECDH and ECDSA public keys are uncompressed points (RFC 8446 s4.2.8.2).
pub(super) fn check_public_key(curve: Curve, public: &[u8]) -> Result<(), CryptoError> {
    let form = curve == Curve::X25519 || public.first() == Some(&4);
    if form && public.len() == curve.public_key_length() { Ok(()) } else { Err(CryptoError::InvalidKey) }
}

/// Refuses keys and signatures of Ed25519 on which the libraries don't agree: `public` and the `R` of `R || S`.
pub(super) fn check_strict_ed25519(public: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let public = public.try_into().map_err(|_| CryptoError::InvalidKey)?;
    let (r, s) = signature.split_first_chunk().ok_or(CryptoError::InvalidSignature)?;
    match (is_acceptable(public), is_acceptable(r) && s.len() == 32) {
        (true, true) => Ok(()),
        (true, false) => Err(CryptoError::InvalidSignature),
        (false, _) => Err(CryptoError::InvalidKey),
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
