//! Signatures with labels (RFC 9420 s5.1.2).

use std::fmt;

use rand_core::CryptoRng;

use super::kdf::labelled;
use super::{CryptoError, Secret, SignatureScheme, Suite, secret_type};
use crate::codec::opaque_type;

opaque_type! {
    /// A public key for signatures, in the format of the suite's scheme.
    pub struct SignaturePublicKey;
}

opaque_type! {
    /// A signature: DER for ECDSA, `R || S` for EdDSA.
    #[derive(Default)]
    pub struct Signature;
}

secret_type! {
    /// A private key for signatures: the seed for Ed25519, the big-endian scalar for ECDSA.
    pub struct SignaturePrivateKey;
}

/// A private key with its public key.
pub struct SignatureKeyPair {
    pub(crate) private: SignaturePrivateKey,
    public: SignaturePublicKey,
}

impl SignatureKeyPair {
    /// Makes a fresh key pair.
    pub fn generate(suite: &Suite, rng: &mut dyn CryptoRng) -> Result<Self, CryptoError> {
        let length = match suite.scheme {
            SignatureScheme::Ed25519 | SignatureScheme::EcdsaP256 => 32,
            SignatureScheme::EcdsaP384 => 48,
            SignatureScheme::EcdsaP521 => 66,
        };
        // A random string is a valid ECDSA scalar with overwhelming probability, except for P-521, where the
        // seven bits above 521 must be zero.
        for _ in 0..64 {
            let mut private = Secret::random(length, rng).as_bytes().to_vec();
            if suite.scheme == SignatureScheme::EcdsaP521 {
                private[0] &= 1;
            }
            match Self::from_private(suite, Secret::new(private)) {
                Err(CryptoError::InvalidKey) => continue,
                result => return result,
            }
        }
        Err(CryptoError::Provider)
    }

    /// From raw bytes (see [`SignaturePrivateKey`]).
    pub fn from_private(suite: &Suite, private: Secret) -> Result<Self, CryptoError> {
        let public = suite.provider.0.verification_key(suite.scheme, &private)?.into();
        Ok(Self { private: SignaturePrivateKey(private), public })
    }

    /// The public key.
    pub fn public(&self) -> &SignaturePublicKey {
        &self.public
    }

    /// The private key.
    pub fn private(&self) -> &SignaturePrivateKey {
        &self.private
    }

    /// A second copy, where several groups or epochs hold the same key.
    pub fn duplicate(&self) -> Self {
        Self { private: SignaturePrivateKey(self.private.0.duplicate()), public: self.public.clone() }
    }
}

impl fmt::Debug for SignatureKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Suite {
    /// `SignWithLabel(key, label, content)`.
    pub(crate) fn sign_with_label(
        &self,
        key: &SignaturePrivateKey,
        label: &str,
        content: &[u8],
    ) -> Result<Signature, CryptoError> {
        let mut message = Vec::with_capacity(label.len() + content.len() + 16);
        labelled(label, content, &mut message);
        self.provider.0.sign(self.scheme, &key.0, &message).map(Signature::from)
    }

    /// `VerifyWithLabel(key, label, content, signature)`.
    pub(crate) fn verify_with_label(
        &self,
        key: &SignaturePublicKey,
        label: &str,
        content: &[u8],
        signature: &Signature,
    ) -> Result<(), CryptoError> {
        let mut message = Vec::with_capacity(label.len() + content.len() + 16);
        labelled(label, content, &mut message);
        self.provider.0.verify(self.scheme, key.as_bytes(), &message, signature.as_bytes())
    }
}
