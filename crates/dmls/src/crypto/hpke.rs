//! HPKE in base mode (RFC 9180), over the provider's Diffie-Hellman and AEAD, with MLS's labels (RFC 9420 s5.1.3).
//!
//! ```text
//! DHKEM: eae_prk       = LabeledExtract("", "eae_prk", dh)
//!        shared_secret = LabeledExpand(eae_prk, "shared_secret", enc || pkR, Nsecret)
//! base:  context = 0x00 || LabeledExtract("", "psk_id_hash", "") || LabeledExtract("", "info_hash", info)
//!        secret  = LabeledExtract(shared_secret, "secret", "")
//!        key, base_nonce, exporter_secret = LabeledExpand(secret, "key" / "base_nonce" / "exp", context, ..)
//! ```

#[cfg(test)]
mod tests;

use std::fmt;

use rand_core::CryptoRng;

use super::kdf::label_header;
use super::{Aead, CryptoError, Curve, HashAlgorithm, KemKey, Secret, Suite, secret_type};
use crate::codec::{opaque_type, wire_struct};

opaque_type! {
    /// A public key for HPKE, in RFC 9180's serialized form.
    #[derive(Default)]
    pub struct HpkePublicKey;
}

opaque_type! {
    /// An encapsulated key, `enc` in RFC 9180.
    pub struct KemOutput;
}

secret_type! {
    /// A private key for HPKE, in RFC 9180's serialized form.
    pub struct HpkePrivateKey;
}

impl HpkePrivateKey {
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

/// What one HPKE encryption gives (RFC 9420 s7.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HpkeCiphertext {
    /// The encapsulated key.
    pub kem_output: KemOutput,
    /// The ciphertext with its tag.
    pub ciphertext: Vec<u8>,
}

wire_struct!(HpkeCiphertext { kem_output, ciphertext });

/// A private key with its public key.
#[derive(PartialEq, Eq)]
pub struct HpkeKeyPair {
    /// The private key.
    pub private: HpkePrivateKey,
    /// The public key.
    pub public: HpkePublicKey,
}

impl fmt::Debug for HpkeKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HpkeKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What in HPKE's key schedule depends on the info alone: computed once for all who get something under the same info.
pub(crate) struct HpkeInfo {
    /// `mode || psk_id_hash || info_hash`.
    key_schedule_context: Vec<u8>,
}

/// The key schedule of one HPKE context; MLS uses each for one message or one export.
struct Context {
    key: Secret,
    nonce: [u8; 12],
    exporter_secret: Secret,
}

impl Suite {
    /// `DeriveKeyPair(ikm)` (RFC 9180 s7.1.3).
    pub(crate) fn derive_key_pair(&self, ikm: &Secret) -> Result<HpkeKeyPair, CryptoError> {
        let (private, key) = self.derive_kem_key(ikm)?;
        Ok(HpkeKeyPair { private: HpkePrivateKey(private), public: key.public_key()?.into() })
    }

    fn derive_kem_key(&self, ikm: &Secret) -> Result<(Secret, Box<dyn KemKey>), CryptoError> {
        let id = self.kem_id();
        let prk = self.labeled_extract(&id, &[], "dkp_prk", &[ikm.as_bytes()]);
        let length = self.curve.private_key_length();
        if self.curve == Curve::X25519 {
            let private = self.labeled_expand(&id, &prk, "sk", &[], length);
            let key = self.provider.0.kem_key(self.curve, &private)?;
            return Ok((private, key));
        }
        for counter in 0..=u8::MAX {
            let mut candidate =
                self.labeled_expand(&id, &prk, "candidate", &[&[counter]], length).as_bytes().to_vec();
            if self.curve == Curve::P521 {
                candidate[0] &= 1;
            }
            let private = Secret::new(candidate);
            match self.provider.0.kem_key(self.curve, &private) {
                Err(CryptoError::InvalidKey) => continue,
                key => return Ok((private, key?)),
            }
        }
        Err(CryptoError::Provider)
    }

    /// As many random bytes as RFC 9180 s7.1.3 asks for to derive a key pair: `Nsk`.
    fn random_ikm(&self, rng: &mut dyn CryptoRng) -> Secret {
        Secret::random(self.curve.private_key_length(), rng)
    }

    /// A fresh key pair.
    pub(crate) fn generate_key_pair(&self, rng: &mut dyn CryptoRng) -> Result<HpkeKeyPair, CryptoError> {
        self.derive_key_pair(&self.random_ikm(rng))
    }

    /// The key pair of a private key.
    pub(crate) fn key_pair(&self, private: Secret) -> Result<HpkeKeyPair, CryptoError> {
        let public = self.provider.0.kem_key(self.curve, &private)?.public_key()?.into();
        Ok(HpkeKeyPair { private: HpkePrivateKey(private), public })
    }

    /// The info of `EncryptWithLabel` and `DecryptWithLabel` for a label and a context.
    pub(crate) fn hpke_info(&self, label: &str, context: &[u8]) -> HpkeInfo {
        self.key_schedule_context(&[&label_header(label, context), context])
    }

    /// `EncryptWithLabel(public_key, label, context, plaintext)`, label and context being those of the info.
    pub(crate) fn hpke_seal(
        &self,
        info: &HpkeInfo,
        public: &HpkePublicKey,
        plaintext: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<HpkeCiphertext, CryptoError> {
        let (kem_output, hpke) = self.setup_sender(public, info, rng)?;
        let ciphertext = self.aead_seal(&hpke.key, &hpke.nonce, &[], plaintext)?;
        Ok(HpkeCiphertext { kem_output, ciphertext })
    }

    /// `EncryptWithLabel(public_key, label, context, plaintext)`, for one recipient.
    #[cfg(any(test, feature = "vectors"))]
    pub(crate) fn encrypt_with_label(
        &self,
        public: &HpkePublicKey,
        label: &str,
        context: &[u8],
        plaintext: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<HpkeCiphertext, CryptoError> {
        self.hpke_seal(&self.hpke_info(label, context), public, plaintext, rng)
    }

    /// `DecryptWithLabel(private_key, label, context, kem_output, ciphertext)`; the public key saves a computation.
    pub(crate) fn decrypt_with_label(
        &self,
        private: &HpkePrivateKey,
        public: &HpkePublicKey,
        label: &str,
        context: &[u8],
        sealed: &HpkeCiphertext,
    ) -> Result<Secret, CryptoError> {
        let info = self.hpke_info(label, context);
        let hpke = self.setup_receiver(private, public, &sealed.kem_output, &info)?;
        self.aead_open(&hpke.key, &hpke.nonce, &[], &sealed.ciphertext)
    }

    /// `SetupBaseS(public, "")` and `context.export(exporter_context, length)`: the sender's side of an external init.
    pub(crate) fn hpke_export_sender(
        &self,
        public: &HpkePublicKey,
        exporter_context: &[u8],
        length: usize,
        rng: &mut dyn CryptoRng,
    ) -> Result<(KemOutput, Secret), CryptoError> {
        let (kem_output, hpke) = self.setup_sender(public, &self.key_schedule_context(&[]), rng)?;
        Ok((kem_output, self.export(&hpke, exporter_context, length)))
    }

    /// `SetupBaseR(kem_output, private, "")` and `context.export(exporter_context, length)`.
    pub(crate) fn hpke_export_receiver(
        &self,
        pair: &HpkeKeyPair,
        kem_output: &KemOutput,
        exporter_context: &[u8],
        length: usize,
    ) -> Result<Secret, CryptoError> {
        let hpke =
            self.setup_receiver(&pair.private, &pair.public, kem_output, &self.key_schedule_context(&[]))?;
        Ok(self.export(&hpke, exporter_context, length))
    }

    fn setup_sender(
        &self,
        public: &HpkePublicKey,
        info: &HpkeInfo,
        rng: &mut dyn CryptoRng,
    ) -> Result<(KemOutput, Context), CryptoError> {
        let (_, ephemeral) = self.derive_kem_key(&self.random_ikm(rng))?;
        let dh = ephemeral.diffie_hellman(public.as_bytes())?;
        let enc = ephemeral.public_key()?;
        let context = self.context(&dh, &enc, public.as_bytes(), info)?;
        Ok((enc.into(), context))
    }

    fn setup_receiver(
        &self,
        private: &HpkePrivateKey,
        public: &HpkePublicKey,
        kem_output: &KemOutput,
        info: &HpkeInfo,
    ) -> Result<Context, CryptoError> {
        let dh = self.provider.0.kem_key(self.curve, &private.0)?.diffie_hellman(kem_output.as_bytes())?;
        self.context(&dh, kem_output.as_bytes(), public.as_bytes(), info)
    }

    fn key_schedule_context(&self, info: &[&[u8]]) -> HpkeInfo {
        let id = self.hpke_id();
        let mut key_schedule_context = vec![0];
        key_schedule_context.extend_from_slice(self.labeled_extract(&id, &[], "psk_id_hash", &[]).as_bytes());
        key_schedule_context.extend_from_slice(self.labeled_extract(&id, &[], "info_hash", info).as_bytes());
        HpkeInfo { key_schedule_context }
    }

    fn context(
        &self,
        dh: &Secret,
        enc: &[u8],
        receiver: &[u8],
        info: &HpkeInfo,
    ) -> Result<Context, CryptoError> {
        if dh.as_bytes().iter().fold(0, |acc, byte| acc | byte) == 0 {
            return Err(CryptoError::InvalidSharedSecret);
        }
        let kem = self.kem_id();
        let prk = self.labeled_extract(&kem, &[], "eae_prk", &[dh.as_bytes()]);
        let shared = self.labeled_expand(&kem, &prk, "shared_secret", &[enc, receiver], self.nh());

        let id = self.hpke_id();
        let context = &info.key_schedule_context;
        let secret = self.labeled_extract(&id, shared.as_bytes(), "secret", &[]);
        let base_nonce = self.labeled_expand(&id, &secret, "base_nonce", &[context], self.nn());
        Ok(Context {
            key: self.labeled_expand(&id, &secret, "key", &[context], self.nk()),
            nonce: base_nonce.as_bytes().try_into().map_err(|_| CryptoError::Provider)?,
            exporter_secret: self.labeled_expand(&id, &secret, "exp", &[context], self.nh()),
        })
    }

    fn export(&self, hpke: &Context, exporter_context: &[u8], length: usize) -> Secret {
        self.labeled_expand(&self.hpke_id(), &hpke.exporter_secret, "sec", &[exporter_context], length)
    }

    fn labeled_extract(&self, suite_id: &[u8], salt: &[u8], label: &str, ikm: &[&[u8]]) -> Secret {
        let mut parts = vec![b"HPKE-v1", suite_id, label.as_bytes()];
        parts.extend_from_slice(ikm);
        self.hash.extract(salt, &parts)
    }

    fn labeled_expand(
        &self,
        suite_id: &[u8],
        prk: &Secret,
        label: &str,
        info: &[&[u8]],
        length: usize,
    ) -> Secret {
        let length_bytes = (length as u16).to_be_bytes();
        let mut parts = vec![&length_bytes[..], b"HPKE-v1", suite_id, label.as_bytes()];
        parts.extend_from_slice(info);
        self.hash.expand(prk.as_bytes(), &parts, length)
    }

    /// `"KEM" || I2OSP(kem_id, 2)`.
    fn kem_id(&self) -> [u8; 5] {
        let [high, low] = self.kem_code().to_be_bytes();
        [b'K', b'E', b'M', high, low]
    }

    /// `"HPKE" || I2OSP(kem_id, 2) || I2OSP(kdf_id, 2) || I2OSP(aead_id, 2)`.
    fn hpke_id(&self) -> [u8; 10] {
        let [high, low] = self.kem_code().to_be_bytes();
        let kdf = match self.hash {
            HashAlgorithm::Sha256 => 1,
            HashAlgorithm::Sha384 => 2,
            HashAlgorithm::Sha512 => 3,
        };
        let aead = match self.aead {
            Aead::Aes128Gcm => 1,
            Aead::Aes256Gcm => 2,
            Aead::ChaCha20Poly1305 => 3,
        };
        [b'H', b'P', b'K', b'E', high, low, 0, kdf, 0, aead]
    }

    /// The KEM's code point (RFC 9180 s7.1). In each suite the KEM's hash is the suite's.
    fn kem_code(&self) -> u16 {
        match self.curve {
            Curve::P256 => 0x0010,
            Curve::P384 => 0x0011,
            Curve::P521 => 0x0012,
            Curve::X25519 => 0x0020,
        }
    }
}
