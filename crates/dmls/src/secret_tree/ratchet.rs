//! A sender's hash ratchet (RFC 9420 s9.1): one key and nonce per generation, each to be had once.
//!
//! ```text
//! ratchet_secret_[N]_[j]
//!       +--> DeriveTreeSecret(., "nonce", j, AEAD.Nn) = ratchet_nonce_[N]_[j]
//!       +--> DeriveTreeSecret(., "key", j, AEAD.Nk)   = ratchet_key_[N]_[j]
//!       V
//! DeriveTreeSecret(., "secret", j, KDF.Nh) = ratchet_secret_[N]_[j+1]
//! ```

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::SecretTreeError;
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_vector};
use crate::crypto::{Secret, Suite};

/// How far a message may turn a ratchet, and how much of what it jumps over is kept for messages that come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RatchetLimits {
    /// The largest distance between the next generation and the one that a message names. A limit, because a peer
    /// names it before it has proved anything, and each step costs a derivation.
    pub(crate) max_forward: u32,
    /// The largest number of unused keys kept for each ratchet; the oldest go first. A limit, because they are memory
    /// that a peer makes us hold, and each is a message that an attacker who takes the device could read.
    pub(crate) max_kept: usize,
}

/// How many messages a sender encrypts with one ratchet, in one epoch.
///
/// "During each epoch, senders MUST NOT encrypt more data than permitted by the security bounds of the AEAD scheme used"
/// (RFC 9420 s15.2). Each key encrypts one message, so the bound is that for many keys: for AES-GCM `q L B / 2^127`
/// (draft-irtf-cfrg-aead-limits-10 s6.1.2), q messages under all keys, L blocks in the longest, B blocks under any one key: B = L. A
/// message has at most L = 2^26 (a vector of MLS ends at 2^30 bytes): with 2^24 messages an attacker's advantage stays below
/// 2^(24 + 26 + 26 - 127) = 2^-51, with the default `Limits::message_size` below 2^-63 (DESIGN s3.6). Of the receiver nothing is asked:
/// it can't tell what others encrypted.
const MAX_SENT: u32 = 1 << 24;

/// The key and nonce of one message. The nonce still lacks the reuse guard (RFC 9420 s6.3.1).
pub(crate) struct MessageKey {
    pub(crate) key: Secret,
    pub(crate) nonce: Zeroizing<[u8; 12]>,
}

/// One ratchet: what can still be derived, and what was derived but not used.
pub(super) struct Ratchet {
    /// The first generation that was never derived, and its secret; `None` after generation 2^32 - 1.
    head: Option<(u32, Secret)>,
    /// All generations before this one were used, or their keys dropped: which of the two, is forgotten.
    forgotten: u32,
    /// Generations from there up to the head that were not used, ascending.
    kept: Zeroizing<Vec<KeptKey>>,
}

/// A key that waits for its message. Plain bytes, so that copying a ratchet is one copy of memory.
#[derive(Clone)]
struct KeptKey {
    generation: u32,
    nonce: [u8; 12],
    /// The key, and zeros behind it if the suite's keys are shorter.
    key: [u8; 32],
}

impl Ratchet {
    pub(super) fn new(secret: Secret) -> Self {
        Self { head: Some((0, secret)), forgotten: 0, kept: Zeroizing::default() }
    }

    /// The key of any generation that was not used yet, and the ratchet without it.
    pub(super) fn take(
        &self,
        suite: &Suite,
        generation: u32,
        limits: RatchetLimits,
    ) -> Result<(MessageKey, Self), SecretTreeError> {
        match &self.head {
            Some((next, secret)) if generation >= *next => {
                if generation - next > limits.max_forward {
                    return Err(SecretTreeError::TooFarAhead);
                }
                Ok(self.forward(suite, *next, secret, generation, limits.max_kept))
            }
            _ => self.take_kept(suite, generation),
        }
    }

    /// The next key to send with, and the ratchet without it.
    pub(super) fn take_next(&self, suite: &Suite) -> Result<(u32, MessageKey, Self), SecretTreeError> {
        let head = self.head.as_ref().filter(|(next, _)| *next < MAX_SENT);
        let (next, secret) = head.ok_or(SecretTreeError::Exhausted)?;
        let (key, after) = self.forward(suite, *next, secret, *next, usize::MAX);
        Ok((*next, key, after))
    }

    /// The generations whose keys wait for their messages.
    pub(super) fn skipped(&self) -> Vec<u32> {
        self.kept.iter().map(|kept| kept.generation).collect()
    }

    /// The first generation that was never derived; `None` if there are no more.
    pub(super) fn next(&self) -> Option<u32> {
        self.head.as_ref().map(|(next, _)| *next)
    }

    /// The encoding, in memory that is erased.
    pub(super) fn record(&self) -> Zeroizing<Vec<u8>> {
        let head = self.head.as_ref().map_or(0, |(_, secret)| 4 + 4 + secret.len());
        // Memory that doesn't grow leaves no copies behind.
        let mut out =
            Zeroizing::new(Vec::with_capacity(1 + head + 4 + 4 + self.kept.len() * KeptKey::LENGTH));
        self.encode(&mut out);
        out
    }

    fn forward(
        &self,
        suite: &Suite,
        next: u32,
        secret: &Secret,
        generation: u32,
        max_kept: usize,
    ) -> (MessageKey, Self) {
        let skipped = (generation - next) as usize;
        let new = skipped.min(max_kept);
        let old = self.kept.len().min(max_kept - new);
        let mut kept = Zeroizing::new(Vec::with_capacity(old + new));
        let dropped = self.kept.len() - old;
        kept.extend_from_slice(&self.kept[dropped..]);
        let forgotten = match dropped.checked_sub(1) {
            _ if new < skipped => generation - new as u32,
            Some(last) => self.kept[last].generation + 1,
            None => self.forgotten,
        };

        let mut secret = secret.duplicate();
        for skipped in next..generation {
            if (generation - skipped) as usize <= new {
                kept.push(KeptKey::new(skipped, &message_key(suite, &secret, skipped)));
            }
            secret = suite.derive_tree_secret(&secret, "secret", skipped, suite.nh());
        }
        let key = message_key(suite, &secret, generation);
        let head = generation
            .checked_add(1)
            .map(|next| (next, suite.derive_tree_secret(&secret, "secret", generation, suite.nh())));
        (key, Self { head, forgotten, kept })
    }

    fn take_kept(&self, suite: &Suite, generation: u32) -> Result<(MessageKey, Self), SecretTreeError> {
        if generation < self.forgotten {
            return Err(SecretTreeError::TooOld);
        }
        let position = self.kept.binary_search_by_key(&generation, |kept| kept.generation);
        let position = position.map_err(|_| SecretTreeError::KeyUsed)?;
        let key = self.kept[position].message_key(suite);
        let mut kept = Zeroizing::new(Vec::with_capacity(self.kept.len() - 1));
        kept.extend_from_slice(&self.kept[..position]);
        kept.extend_from_slice(&self.kept[position + 1..]);
        let head = self.head.as_ref().map(|(next, secret)| (*next, secret.duplicate()));
        Ok((key, Self { head, forgotten: self.forgotten, kept }))
    }
}

fn message_key(suite: &Suite, secret: &Secret, generation: u32) -> MessageKey {
    let nonce = suite.derive_tree_secret(secret, "nonce", generation, suite.nn());
    let nonce = nonce.as_bytes().try_into().expect("AEAD.Nn is 12 in every suite");
    MessageKey {
        key: suite.derive_tree_secret(secret, "key", generation, suite.nk()),
        nonce: Zeroizing::new(nonce),
    }
}

impl KeptKey {
    /// Length of the encoding.
    const LENGTH: usize = 4 + 12 + 32;

    fn new(generation: u32, from: &MessageKey) -> Self {
        let mut key = [0; 32];
        key[..from.key.len()].copy_from_slice(from.key.as_bytes());
        Self { generation, nonce: *from.nonce, key }
    }

    fn message_key(&self, suite: &Suite) -> MessageKey {
        MessageKey { key: Secret::new(self.key[..suite.nk()].to_vec()), nonce: Zeroizing::new(self.nonce) }
    }
}

impl Zeroize for KeptKey {
    fn zeroize(&mut self) {
        self.nonce.zeroize();
        self.key.zeroize();
    }
}

/// ```text
/// struct { uint32 generation; opaque nonce[12]; opaque key[32]; } KeptKey;
/// struct { optional<Head> head; uint32 forgotten; KeptKey kept<V>; } Ratchet;
/// struct { uint32 generation; opaque secret<V>; } Head;
/// ```
impl Encode for Ratchet {
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.head {
            None => out.push(0),
            Some((next, secret)) => {
                out.push(1);
                next.encode(out);
                secret.encode(out);
            }
        }
        self.forgotten.encode(out);
        encode_vector(out, |out| {
            for kept in self.kept.iter() {
                kept.generation.encode(out);
                out.extend_from_slice(&kept.nonce);
                out.extend_from_slice(&kept.key);
            }
        });
    }
}

impl Decode for Ratchet {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        let head = match r.u8()? {
            0 => None,
            1 => Some((u32::decode(r)?, Secret::decode(r)?)),
            _ => return Err(DecodeError::at(start, "0 (absent) or 1 (present)")),
        };
        let start = r.position();
        let forgotten = u32::decode(r)?;
        if head.as_ref().is_some_and(|(next, _)| forgotten > *next) {
            return Err(DecodeError::at(start, "a generation that is not after the next one"));
        }
        let mut r = r.vector()?;
        let mut kept: Zeroizing<Vec<KeptKey>> =
            Zeroizing::new(Vec::with_capacity(r.remaining() / KeptKey::LENGTH));
        while !r.is_empty() {
            let start = r.position();
            let generation = u32::decode(&mut r)?;
            let ascending = kept.last().map_or(forgotten <= generation, |last| last.generation < generation);
            if !ascending || head.as_ref().is_some_and(|(next, _)| generation >= *next) {
                return Err(DecodeError::at(
                    start,
                    "generations in ascending order, none forgotten, before the next one",
                ));
            }
            let (mut nonce, mut key) = ([0; 12], Zeroizing::new([0; 32]));
            nonce.copy_from_slice(r.take(12, "a nonce")?);
            key.copy_from_slice(r.take(32, "a key")?);
            kept.push(KeptKey { generation, nonce, key: *key });
        }
        Ok(Self { head, forgotten, kept })
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKey(..)")
    }
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.head.as_ref().map(|(next, _)| next);
        f.debug_struct("Ratchet").field("next", &next).field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}
