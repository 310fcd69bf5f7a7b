//! Sender data: who sent a PrivateMessage, and with which key (RFC 9420 s6.3.2).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{CryptoError, Secret, Suite};
use crate::key_schedule::SenderDataSecret;
use crate::tree::LeafIndex;

/// Who sent it, with which generation of its ratchet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SenderData {
    pub leaf_index: LeafIndex,
    pub generation: u32,
    pub reuse_guard: [u8; 4],
}

impl Encode for SenderData {
    fn encode(&self, out: &mut Vec<u8>) {
        self.leaf_index.encode(out);
        self.generation.encode(out);
        out.extend_from_slice(&self.reuse_guard);
    }
}

impl Decode for SenderData {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let leaf_index = LeafIndex::decode(r)?;
        let generation = u32::decode(r)?;
        let mut reuse_guard = [0; 4];
        reuse_guard.copy_from_slice(r.take(4, "a reuse guard of 4 bytes")?);
        Ok(Self { leaf_index, generation, reuse_guard })
    }
}

/// Key and nonce come from the secret and the first Nh bytes of the message's ciphertext.
///
/// So each message has a key of its own for its 12 bytes of sender data, and no count of messages is needed: two have the
/// same key if their samples collide, "the probability of collision is no more than 2^-128" (RFC 9420 s16.3).
pub(crate) fn sender_data_keys(
    suite: &Suite,
    secret: &SenderDataSecret,
    ciphertext: &[u8],
) -> Result<(Secret, [u8; 12]), CryptoError> {
    let sample = &ciphertext[..ciphertext.len().min(suite.nh())];
    let key = suite.expand_with_label(&secret.0, "key", sample, suite.nk());
    let nonce = suite.expand_with_label(&secret.0, "nonce", sample, suite.nn());
    Ok((key, nonce.as_bytes().try_into().map_err(|_| CryptoError::Provider)?))
}

impl SenderData {
    pub(crate) fn seal(
        &self,
        suite: &Suite,
        secret: &SenderDataSecret,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (key, nonce) = sender_data_keys(suite, secret, ciphertext)?;
        suite.aead_seal(&key, &nonce, aad, &self.to_bytes())
    }

    /// `None` if it does not decrypt or decode.
    pub(crate) fn open(
        suite: &Suite,
        secret: &SenderDataSecret,
        aad: &[u8],
        sealed: &[u8],
        ciphertext: &[u8],
    ) -> Option<Self> {
        let (key, nonce) = sender_data_keys(suite, secret, ciphertext).ok()?;
        let plaintext = suite.aead_open(&key, &nonce, aad, sealed).ok()?;
        Self::from_bytes(plaintext.as_bytes()).ok()
    }
}
