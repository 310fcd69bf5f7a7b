//! The provider over RustCrypto and curve25519-dalek: portable, also to WebAssembly. ECDSA nonces are those of
//! RFC 6979, so every operation is a function of its arguments.

use std::sync::Arc;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use curve25519_dalek::montgomery::MontgomeryPoint;
use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::{Signer, Verifier};
use zeroize::Zeroizing;

use super::ed25519::check_strict;
use super::public_key::check_form;
use super::{Aead, CryptoError, CryptoProvider, Curve, KemKey, Secret, SignatureScheme, SigningKey};

pub(super) struct RustCrypto;

/// Evaluates the body with `$nist` as the crate of the curve: they share their names, but no trait short enough.
macro_rules! with_nist {
    ($curve:expr, $nist:ident => $body:expr, X25519 => $other:expr) => {
        match $curve {
            Curve::P256 => {
                use p256 as $nist;
                $body
            }
            Curve::P384 => {
                use p384 as $nist;
                $body
            }
            Curve::P521 => {
                use p521 as $nist;
                $body
            }
            Curve::X25519 => $other,
        }
    };
}

impl CryptoProvider for RustCrypto {
    fn name(&self) -> &'static str {
        "RustCrypto"
    }

    fn kem_key(&self, curve: Curve, private: &Secret) -> Result<Box<dyn KemKey>, CryptoError> {
        check_private_key(curve, private)?;
        with_nist!(curve,
            nist => {
                let key = nist::SecretKey::from_slice(private.as_bytes()).map_err(|_| CryptoError::InvalidKey)?;
                Ok(Box::new(key))
            },
            X25519 => Ok(Box::new(X25519Key(bytes_32(private)?)))
        )
    }

    fn check_point(&self, curve: Curve, public: &[u8]) -> Result<(), CryptoError> {
        with_nist!(curve,
            nist => nist::PublicKey::from_sec1_bytes(public).map(drop).map_err(|_| CryptoError::InvalidKey),
            X25519 => Err(CryptoError::InvalidKey)
        )
    }

    fn signing_key(
        &self,
        scheme: SignatureScheme,
        private: &Secret,
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        let Some(curve) = scheme.curve() else { return Ok(Arc::new(ed25519_key(private)?)) };
        check_private_key(curve, private)?;
        with_nist!(curve,
            nist => {
                let key = nist::ecdsa::SigningKey::from_slice(private.as_bytes());
                Ok(Arc::new(key.map_err(|_| CryptoError::InvalidKey)?))
            },
            X25519 => Err(CryptoError::InvalidKey)
        )
    }

    fn verify(
        &self,
        scheme: SignatureScheme,
        public: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let Some(curve) = scheme.curve() else {
            return verify_ed25519(public, message, signature);
        };
        check_form(curve, public)?;
        with_nist!(curve,
            nist => {
                let key = nist::ecdsa::VerifyingKey::from_sec1_bytes(public).map_err(|_| CryptoError::InvalidKey)?;
                let signature =
                    nist::ecdsa::Signature::from_der(signature).map_err(|_| CryptoError::InvalidSignature)?;
                key.verify(message, &signature).map_err(|_| CryptoError::InvalidSignature)
            },
            X25519 => Err(CryptoError::InvalidKey)
        )
    }

    fn seal(
        &self,
        aead: Aead,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let nonce = nonce.into();
        let sealed = match aead {
            Aead::Aes128Gcm => aead_key::<Aes128Gcm>(key)?.encrypt_in_place(nonce, aad, buffer),
            Aead::Aes256Gcm => aead_key::<Aes256Gcm>(key)?.encrypt_in_place(nonce, aad, buffer),
            Aead::ChaCha20Poly1305 => aead_key::<ChaCha20Poly1305>(key)?.encrypt_in_place(nonce, aad, buffer),
        };
        sealed.map_err(|_| CryptoError::Provider)
    }

    fn open(
        &self,
        aead: Aead,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let nonce = nonce.into();
        let opened = match aead {
            Aead::Aes128Gcm => aead_key::<Aes128Gcm>(key)?.decrypt_in_place(nonce, aad, buffer),
            Aead::Aes256Gcm => aead_key::<Aes256Gcm>(key)?.decrypt_in_place(nonce, aad, buffer),
            Aead::ChaCha20Poly1305 => aead_key::<ChaCha20Poly1305>(key)?.decrypt_in_place(nonce, aad, buffer),
        };
        opened.map_err(|_| CryptoError::InvalidCiphertext)
    }
}

/// The traits of keys for those of one NIST curve.
macro_rules! nist_keys {
    ($nist:ident, $curve:expr) => {
        impl KemKey for $nist::SecretKey {
            fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
                Ok($nist::Sec1Point::from(self.public_key()).as_bytes().to_vec())
            }

            fn diffie_hellman(&self, public: &[u8]) -> Result<Secret, CryptoError> {
                check_form($curve, public)?;
                let public =
                    $nist::PublicKey::from_sec1_bytes(public).map_err(|_| CryptoError::InvalidKey)?;
                Ok(Secret::new(self.diffie_hellman(&public).raw_secret_bytes().to_vec()))
            }
        }

        impl SigningKey for $nist::ecdsa::SigningKey {
            fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
                Ok(self.verifying_key().to_sec1_point(false).as_bytes().to_vec())
            }

            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
                let signature: $nist::ecdsa::Signature =
                    self.try_sign(message).map_err(|_| CryptoError::Provider)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    };
}

nist_keys!(p256, Curve::P256);
nist_keys!(p384, Curve::P384);
nist_keys!(p521, Curve::P521);

struct X25519Key(Zeroizing<[u8; 32]>);

impl KemKey for X25519Key {
    fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
        Ok(MontgomeryPoint::mul_base_clamped(*self.0).0.to_vec())
    }

    fn diffie_hellman(&self, public: &[u8]) -> Result<Secret, CryptoError> {
        check_form(Curve::X25519, public)?;
        let public = MontgomeryPoint(public.try_into().map_err(|_| CryptoError::InvalidKey)?);
        let shared = Secret::new(public.mul_clamped(*self.0).0.to_vec());
        if shared == Secret::zero(32) { Err(CryptoError::InvalidSharedSecret) } else { Ok(shared) }
    }
}

impl SigningKey for ed25519_dalek::SigningKey {
    fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
        Ok(self.verifying_key().to_bytes().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(self.try_sign(message).map_err(|_| CryptoError::Provider)?.to_bytes().to_vec())
    }
}

/// The crates pad a short scalar; the RFC's have a fixed length.
fn check_private_key(curve: Curve, private: &Secret) -> Result<(), CryptoError> {
    if private.len() == curve.private_key_length() { Ok(()) } else { Err(CryptoError::InvalidKey) }
}

fn bytes_32(secret: &Secret) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let bytes = secret.as_bytes().try_into().map_err(|_| CryptoError::InvalidKey)?;
    Ok(Zeroizing::new(bytes))
}

fn ed25519_key(seed: &Secret) -> Result<ed25519_dalek::SigningKey, CryptoError> {
    Ok(ed25519_dalek::SigningKey::from_bytes(&*bytes_32(seed)?))
}

fn verify_ed25519(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    check_strict(public, signature)?;
    let public = public.try_into().map_err(|_| CryptoError::InvalidKey)?;
    // Not every library tells a key that is no point from a signature that is none.
    let key = VerifyingKey::from_bytes(public).map_err(|_| CryptoError::InvalidSignature)?;
    let signature = signature.try_into().map_err(|_| CryptoError::InvalidSignature)?;
    key.verify_strict(message, &signature).map_err(|_| CryptoError::InvalidSignature)
}

fn aead_key<A: KeyInit>(key: &Secret) -> Result<A, CryptoError> {
    A::new_from_slice(key.as_bytes()).map_err(|_| CryptoError::InvalidKey)
}
