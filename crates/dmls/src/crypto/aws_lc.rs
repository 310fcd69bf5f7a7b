//! The provider over aws-lc-rs.
//!
//! ECDSA nonces come from aws-lc's own generator, which no caller can seed: with P-256, P-384 and P-521 two
//! signatures of one message differ. Everything else is a function of its arguments.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, ED25519,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, ParsedPublicKey, VerificationAlgorithm,
};
use zeroize::Zeroizing;

use super::ed25519::check_strict;
use super::public_key::check_form;
use super::{Aead, CryptoError, CryptoProvider, Curve, KemKey, Secret, SignatureScheme, SigningKey};

pub(super) struct AwsLc;

impl CryptoProvider for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc-rs"
    }

    fn kem_key(&self, curve: Curve, private: &Secret) -> Result<Box<dyn KemKey>, CryptoError> {
        let key = PrivateKey::from_private_key(dh(curve), private.as_bytes());
        Ok(Box::new(KeyPair { curve, key: key.map_err(|_| CryptoError::InvalidKey)? }))
    }

    fn check_point(&self, curve: Curve, public: &[u8]) -> Result<(), CryptoError> {
        parsed(curve, public).map(drop)
    }

    fn signing_key(
        &self,
        scheme: SignatureScheme,
        private: &Secret,
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        match scheme.curve() {
            Some(curve) => Ok(Arc::new(ecdsa_key(curve, private)?)),
            None => Ok(Arc::new(ed25519_key(private)?)),
        }
    }

    fn verify(
        &self,
        scheme: SignatureScheme,
        public: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let algorithm: &'static dyn VerificationAlgorithm = match scheme {
            SignatureScheme::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            SignatureScheme::EcdsaP384 => &ECDSA_P384_SHA384_ASN1,
            SignatureScheme::EcdsaP521 => &ECDSA_P521_SHA512_ASN1,
            SignatureScheme::Ed25519 => &ED25519,
        };
        match scheme.curve() {
            Some(curve) => check_form(curve, public)?,
            None => check_strict(public, signature)?,
        }
        let public = ParsedPublicKey::new(algorithm, public).map_err(|_| CryptoError::InvalidKey)?;
        public.verify_sig(message, signature).map_err(|_| CryptoError::InvalidSignature)
    }

    fn seal(
        &self,
        aead: Aead,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        aead_key(aead, key)?
            .seal_in_place_append_tag(nonce, Aad::from(aad), buffer)
            .map_err(|_| CryptoError::Provider)
    }

    fn open(
        &self,
        aead: Aead,
        key: &Secret,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plaintext = aead_key(aead, key)?
            .open_in_place(nonce, Aad::from(aad), buffer)
            .map_err(|_| CryptoError::InvalidCiphertext)?;
        let length = plaintext.len();
        buffer.truncate(length);
        Ok(())
    }
}

struct KeyPair {
    curve: Curve,
    key: PrivateKey,
}

impl KemKey for KeyPair {
    fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
        let public = self.key.compute_public_key().map_err(|_| CryptoError::InvalidKey)?;
        Ok(public.as_ref().to_vec())
    }

    fn diffie_hellman(&self, public: &[u8]) -> Result<Secret, CryptoError> {
        check_form(self.curve, public)?;
        let public = parsed(self.curve, public)?;
        agreement::agree(&self.key, public, CryptoError::InvalidSharedSecret, |shared| {
            Ok(Secret::new(shared.to_vec()))
        })
    }
}

impl SigningKey for EcdsaKeyPair {
    fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
        Ok(signature::KeyPair::public_key(self).as_ref().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = Self::sign(self, &SystemRandom::new(), message);
        Ok(signature.map_err(|_| CryptoError::Provider)?.as_ref().to_vec())
    }
}

impl SigningKey for Ed25519KeyPair {
    fn public_key(&self) -> Result<Vec<u8>, CryptoError> {
        Ok(signature::KeyPair::public_key(self).as_ref().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(self.try_sign(message).map_err(|_| CryptoError::Provider)?.as_ref().to_vec())
    }
}

fn dh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &ECDH_P256,
        Curve::P384 => &ECDH_P384,
        Curve::P521 => &ECDH_P521,
        Curve::X25519 => &X25519,
    }
}

fn parsed(curve: Curve, public: &[u8]) -> Result<agreement::ParsedPublicKey, CryptoError> {
    UnparsedPublicKey::new(dh(curve), public).try_into().map_err(|_| CryptoError::InvalidKey)
}

fn ed25519_key(seed: &Secret) -> Result<Ed25519KeyPair, CryptoError> {
    if seed.len() != 32 {
        return Err(CryptoError::InvalidKey);
    }
    Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).map_err(|_| CryptoError::InvalidKey)
}

/// By way of RFC 5915's DER without the public key: the only import that doesn't ask for it.
///
/// ```text
/// ECPrivateKey ::= SEQUENCE { version INTEGER { 1 }, privateKey OCTET STRING, parameters [0] OBJECT IDENTIFIER }
/// ```
fn ecdsa_key(curve: Curve, private: &Secret) -> Result<EcdsaKeyPair, CryptoError> {
    let (algorithm, oid): (&'static EcdsaSigningAlgorithm, &[u8]) = match curve {
        Curve::P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
        Curve::P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, &[0x2b, 0x81, 0x04, 0x00, 0x22]),
        Curve::P521 => (&ECDSA_P521_SHA512_ASN1_SIGNING, &[0x2b, 0x81, 0x04, 0x00, 0x23]),
        Curve::X25519 => return Err(CryptoError::InvalidKey),
    };
    if private.len() != curve.private_key_length() {
        return Err(CryptoError::InvalidKey);
    }
    let (scalar_length, oid_length) = (private.len() as u8, oid.len() as u8);
    let mut der = Zeroizing::new(Vec::with_capacity(128));
    der.extend_from_slice(&[0x30, 3 + 2 + scalar_length + 4 + oid_length, 0x02, 1, 1, 0x04, scalar_length]);
    der.extend_from_slice(private.as_bytes());
    der.extend_from_slice(&[0xa0, 2 + oid_length, 0x06, oid_length]);
    der.extend_from_slice(oid);
    EcdsaKeyPair::from_private_key_der(algorithm, &der).map_err(|_| CryptoError::InvalidKey)
}

fn aead_key(aead: Aead, key: &Secret) -> Result<LessSafeKey, CryptoError> {
    let algorithm = match aead {
        Aead::Aes128Gcm => &AES_128_GCM,
        Aead::Aes256Gcm => &AES_256_GCM,
        Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    UnboundKey::new(algorithm, key.as_bytes()).map(LessSafeKey::new).map_err(|_| CryptoError::InvalidKey)
}
