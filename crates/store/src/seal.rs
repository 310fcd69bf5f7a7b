//! What stands in the file: sealed values under blinded names.
//!
//! ```text
//! name   = space[8] || key[16]                 of a table:  keyed hashes
//!        = space[8] || epoch[4] || key[12]     of a group:  the same, and what belongs to one epoch stands together
//!        = space[8] || order[8]                of a log:    the order in the clear, big-endian
//!
//! sealed = nonce[24] || XChaCha20-Poly1305(value key, nonce, aad = "dmls-store 1" || name, plain)
//! plain  = key length[4] || value length[4] || key || value || zeros, up to the size of a slot
//! ```

use std::cell::Cell;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use dmls::crypto::Secret;
use hmac::{Hmac, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::key::ProfileKey;

const SPACE: usize = 8;
const KEY: usize = 16;
/// Of the key's bytes: those of its epoch.
const EPOCH: usize = 4;
const NONCE: usize = 24;
const TAG: usize = 16;
const LENGTHS: usize = 8;
/// The format and what this is, before the name.
const CONTEXT: &[u8] = b"dmls-store 1";

/// Whose records: a number that says nothing to who has no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpaceName([u8; SPACE]);

/// The name of a record in the file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The order of a log's entry.
    pub(crate) fn order(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.0.get(SPACE..)?.try_into().ok()?))
    }
}

impl SpaceName {
    /// The name of a log's entry.
    pub(crate) fn entry(self, order: u64) -> Name {
        Name([&self.0[..], &order.to_be_bytes()].concat())
    }

    /// The names of all its records are between these two, the second excluded.
    pub(crate) fn bounds(self) -> (Vec<u8>, Vec<u8>) {
        // Names are shorter than this end.
        (self.0.to_vec(), [&self.0[..], &[0xff; KEY + 1]].concat())
    }
}

/// The keys of an open profile.
pub(crate) struct Sealer {
    values: XChaCha20Poly1305,
    names: Hmac<Sha256>,
    nonces: Nonces,
}

impl Sealer {
    pub(crate) fn new(key: &ProfileKey, rng: &mut dyn CryptoRng) -> Self {
        let derive = |label: &[u8]| {
            let mut mac = hmac(key.as_bytes());
            mac.update(label);
            Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()))
        };
        Self {
            values: XChaCha20Poly1305::new((&*derive(b"values")).into()),
            names: hmac(&*derive(b"names")),
            nonces: Nonces::new(rng),
        }
    }

    /// Names a space by what tells it from all others.
    pub(crate) fn space(&self, kind: u8, name: &[u8], group: Option<&[u8]>) -> SpaceName {
        let length = (name.len() as u64).to_be_bytes();
        let group = group.map_or_else(Vec::new, |group| [&[1], group].concat());
        SpaceName(self.hash(&[b"space", &[kind], &length, name, &group]))
    }

    /// The name of a table's record.
    pub(crate) fn name(&self, space: SpaceName, key: &[u8]) -> Name {
        let hash: [u8; KEY] = self.hash(&[b"key", &space.0, key]);
        Name([&space.0[..], &hash].concat())
    }

    /// The name of a group's record. A commit writes some twenty records of two epochs: together they are two or three pages of
    /// SQLite's, scattered they would be twenty.
    pub(crate) fn record_name(&self, space: SpaceName, key: &[u8]) -> Name {
        let mut name = self.name(space, key);
        // `letter || epoch[at least 32] || place`; with other keys it does no harm.
        let epoch = key.get(1..).map_or(key, |rest| rest.get(..32).unwrap_or(rest));
        let epoch: [u8; EPOCH] = self.hash(&[b"epoch", &space.0, epoch]);
        name.0[SPACE..SPACE + EPOCH].copy_from_slice(&epoch);
        name
    }

    fn hash<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut mac = self.names.clone();
        parts.iter().for_each(|part| mac.update(part));
        let whole = mac.finalize().into_bytes();
        std::array::from_fn(|n| whole[n])
    }

    /// Seals a value and its key, to the length of a slot.
    pub(crate) fn seal(&self, name: &Name, key: &[u8], value: &[u8]) -> Result<Vec<u8>, Error> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| Error::TooLarge);
        let size = slot_size(NONCE + LENGTHS + key.len() + value.len() + TAG);
        let mut plain = Zeroizing::new(Vec::with_capacity(size - NONCE - TAG));
        plain.extend_from_slice(&length(key)?.to_be_bytes());
        plain.extend_from_slice(&length(value)?.to_be_bytes());
        plain.extend_from_slice(key);
        plain.extend_from_slice(value);
        plain.resize(size - NONCE - TAG, 0);
        let nonce = self.nonces.next();
        let payload = Payload { msg: &plain, aad: &[CONTEXT, name.as_bytes()].concat() };
        let sealed = self.values.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::TooLarge)?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// The key and the value, if this is what was sealed under this name.
    pub(crate) fn open(&self, name: &Name, sealed: &[u8]) -> Result<(Vec<u8>, Secret), Error> {
        let damaged = || Error::Damaged("a stored value");
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let payload = Payload { msg: sealed, aad: &[CONTEXT, name.as_bytes()].concat() };
        let plain = self.values.decrypt(&XNonce::from(*nonce), payload).map_err(|_| damaged())?;
        let plain = Zeroizing::new(plain);
        let parts = || {
            let (key_length, rest) = plain.split_first_chunk::<4>()?;
            let (value_length, rest) = rest.split_first_chunk::<4>()?;
            let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*key_length) as usize)?;
            Some((
                key.to_vec(),
                Secret::new(rest.get(..u32::from_be_bytes(*value_length) as usize)?.to_vec()),
            ))
        };
        parts().ok_or_else(damaged)
    }
}

/// HMAC takes keys of any length.
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length will do")
}

/// Nonces of one opening: 16 random bytes, and a counter. No two openings have the same bytes, so no two values have the same nonce.
struct Nonces {
    opening: [u8; 16],
    counter: Cell<u64>,
}

impl Nonces {
    fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut opening = [0; 16];
        rng.fill_bytes(&mut opening);
        Self { opening, counter: Cell::new(0) }
    }

    fn next(&self) -> [u8; NONCE] {
        let counter = self.counter.get();
        self.counter.set(counter + 1);
        let mut nonce = [0; NONCE];
        nonce[..16].copy_from_slice(&self.opening);
        nonce[16..].copy_from_slice(&counter.to_be_bytes());
        nonce
    }
}

/// The length of the slot for so many bytes: at most an eighth more, in steps of at least 32. So sizes tell less, and a slot that is
/// free fits another value. (Padmé: Nikitin and others, "Reducing Metadata Leakage from Encrypted Files", 2019.)
fn slot_size(bytes: usize) -> usize {
    let exponent = bytes.max(2).ilog2();
    let step = 1_usize << (exponent - (exponent.ilog2() + 1)).max(5);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::slot_size;

    #[test]
    fn slots_are_never_too_short_and_little_too_long() {
        for bytes in 1..100_000 {
            let size = slot_size(bytes);
            assert!(size >= bytes && size <= (bytes + bytes / 8).max(bytes + 31), "{bytes}: {size}");
            assert_eq!(slot_size(size), size);
        }
    }
}
