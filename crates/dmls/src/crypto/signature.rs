//! Signatures with labels (RFC 9420 s5.1.2).

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::ZeroizeOnDrop;

use super::kdf::labelled;
use super::{CryptoError, Secret, SignatureScheme, SigningKey, Suite};
use crate::codec::{Encode, opaque_type};

opaque_type! {
    /// A public key for signatures, in the format of the suite's scheme.
    pub struct SignaturePublicKey;
}

opaque_type! {
    /// A signature: DER for ECDSA, `R || S` for EdDSA.
    #[derive(Default)]
    pub struct Signature;
}

/// A private key for signatures: the seed for Ed25519, the big-endian scalar for ECDSA. Copies share what a provider has computed of it.
pub struct SignaturePrivateKey {
    bytes: Secret,
    scheme: SignatureScheme,
    key: Arc<dyn SigningKey>,
}

impl SignaturePrivateKey {
    pub(crate) fn new(suite: &Suite, bytes: Secret) -> Result<Self, CryptoError> {
        let key = suite.provider.0.signing_key(suite.scheme, &bytes)?;
        Ok(Self { bytes, scheme: suite.scheme, key })
    }

    /// The bytes. They are secret: the caller takes care of them from here.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }
}

impl ZeroizeOnDrop for SignaturePrivateKey {}

impl fmt::Debug for SignaturePrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignaturePrivateKey(..)")
    }
}

impl Encode for SignaturePrivateKey {
    fn encode(&self, out: &mut Vec<u8>) {
        self.bytes.encode(out);
    }

    fn encoded_length(&self) -> usize {
        self.bytes.encoded_length()
    }
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
        let private = SignaturePrivateKey::new(suite, private)?;
        Ok(Self { public: private.key.public_key()?.into(), private })
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
        let SignaturePrivateKey { bytes, scheme, key } = &self.private;
        let private = SignaturePrivateKey { bytes: bytes.duplicate(), scheme: *scheme, key: Arc::clone(key) };
        Self { private, public: self.public.clone() }
    }
}

impl fmt::Debug for SignatureKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Suite {
    /// `SignWithLabel(key, label, content)`. Labels of the RFC and of this library are taken.
    pub fn sign_with_label(
        &self,
        key: &SignaturePrivateKey,
        label: &str,
        content: &[u8],
    ) -> Result<Signature, CryptoError> {
        if key.scheme != self.scheme {
            return Err(CryptoError::InvalidKey);
        }
        let mut message = Vec::with_capacity(label.len() + content.len() + 16);
        labelled(label, content, &mut message);
        key.key.sign(&message).map(Signature::from)
    }

    /// `VerifyWithLabel(key, label, content, signature)`.
    pub fn verify_with_label(
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
