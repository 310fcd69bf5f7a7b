//! The key of a profile: random, wrapped by what the caller gives. So a passphrase changes without rewriting what it protects.
//!
//! ```text
//! header  = profile id[16] || kdf[1] || memory[4] || passes[4] || lanes[4] || salt[16]
//!           || nonce[24] || XChaCha20-Poly1305(wrapping key, nonce, aad = "dmls-store key 1" || all before the nonce, profile key[32])
//!
//! kdf 0:  the caller's key wraps                       memory, passes, lanes and salt are zero
//! kdf 1:  Argon2id 1.3 of a passphrase, 32 bytes       memory in KiB
//! ```

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::error::Error;

/// What opens a profile.
pub struct Key(Kind);

enum Kind {
    Random(Zeroizing<[u8; 32]>),
    Passphrase(Zeroizing<String>),
}

impl Key {
    /// 32 random bytes, kept where the operating system keeps keys.
    pub fn random(bytes: [u8; 32]) -> Self {
        Self(Kind::Random(Zeroizing::new(bytes)))
    }

    /// A passphrase, its bytes as they are given. Opening takes 64 MiB of memory and three passes over it.
    pub fn passphrase(passphrase: impl Into<String>) -> Self {
        Self(Kind::Passphrase(Zeroizing::new(passphrase.into())))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Random(_) => "Key::random(..)",
            Kind::Passphrase(_) => "Key::passphrase(..)",
        })
    }
}

/// What all other keys come from.
pub(crate) struct ProfileKey(Zeroizing<[u8; 32]>);

impl ProfileKey {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut key[..]);
        Self(key)
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

/// Tells one profile from another, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProfileId(pub [u8; 16]);

const SALT: usize = 16;
const NONCE: usize = 24;
/// Everything before the nonce.
const PREFIX: usize = 16 + 1 + 12 + SALT;
const HEADER: usize = PREFIX + NONCE + 32 + 16;
const CONTEXT: &[u8] = b"dmls-store key 1";

/// How a passphrase becomes a key: RFC 9106 s4, the second recommended option.
const COST: Cost = Cost { memory: 1 << 16, passes: 3, lanes: 4 };
/// More than this no profile of ours asks for: a header must not take all memory.
const LARGEST: Cost = Cost { memory: 1 << 21, passes: 64, lanes: 64 };

#[derive(Clone, Copy)]
struct Cost {
    /// In KiB.
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// Wraps the profile's key: the header of a profile.
pub(crate) fn wrap(
    id: ProfileId,
    key: &ProfileKey,
    by: &Key,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, Error> {
    let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
    rng.fill_bytes(&mut nonce);
    let (kdf, cost) = match by.0 {
        Kind::Random(_) => (0, Cost { memory: 0, passes: 0, lanes: 0 }),
        Kind::Passphrase(_) => {
            rng.fill_bytes(&mut salt);
            (1, COST)
        }
    };
    let mut header = [&id.0[..], &[kdf]].concat();
    for number in [cost.memory, cost.passes, cost.lanes] {
        header.extend_from_slice(&number.to_be_bytes());
    }
    header.extend_from_slice(&salt);
    let wrapping = wrapping_key(by, cost, &salt)?;
    let payload = Payload { msg: key.as_bytes(), aad: &[CONTEXT, &header].concat() };
    let wrapped = XChaCha20Poly1305::new((&*wrapping).into()).encrypt(&XNonce::from(nonce), payload);
    let wrapped = wrapped.map_err(|_| Error::Damaged("the profile's key"))?;
    Ok([&header[..], &nonce, &wrapped].concat())
}

/// The profile's id and key.
pub(crate) fn unwrap(header: &[u8], by: &Key) -> Result<(ProfileId, ProfileKey), Error> {
    const DAMAGED: Error = Error::Damaged("the profile's header");
    let header: &[u8; HEADER] = header.try_into().map_err(|_| DAMAGED)?;
    let (prefix, rest) = header.split_at(PREFIX);
    let (nonce, wrapped) = rest.split_first_chunk::<NONCE>().ok_or(DAMAGED)?;
    let (id, rest) = prefix.split_first_chunk::<16>().ok_or(DAMAGED)?;
    let (kdf, rest) = rest.split_first().ok_or(DAMAGED)?;
    let (numbers, salt) = rest.split_first_chunk::<12>().ok_or(DAMAGED)?;
    match (kdf, &by.0) {
        (0, Kind::Random(_)) | (1, Kind::Passphrase(_)) => {}
        (0 | 1, _) => return Err(Error::WrongKindOfKey),
        _ => return Err(DAMAGED),
    }
    let number = |n: usize| u32::from_be_bytes(std::array::from_fn(|byte| numbers[4 * n + byte]));
    let cost = Cost { memory: number(0), passes: number(1), lanes: number(2) };
    if cost.memory > LARGEST.memory || cost.passes > LARGEST.passes || cost.lanes > LARGEST.lanes {
        return Err(DAMAGED);
    }
    let wrapping = wrapping_key(by, cost, salt)?;
    let payload = Payload { msg: wrapped, aad: &[CONTEXT, prefix].concat() };
    let key = XChaCha20Poly1305::new((&*wrapping).into()).decrypt(&XNonce::from(*nonce), payload);
    let key = Zeroizing::new(key.map_err(|_| Error::WrongKey)?);
    let key = <[u8; 32]>::try_from(&key[..]).map_err(|_| DAMAGED)?;
    Ok((ProfileId(*id), ProfileKey(Zeroizing::new(key))))
}

fn wrapping_key(by: &Key, cost: Cost, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
    let passphrase = match &by.0 {
        Kind::Random(key) => return Ok(key.clone()),
        Kind::Passphrase(passphrase) => passphrase,
    };
    let damaged = |_| Error::Damaged("the profile's header");
    let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(32)).map_err(damaged)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key[..])
        .map_err(damaged)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::{HEADER, Key, ProfileId, ProfileKey, unwrap, wrap};
    use crate::error::Error;

    #[test]
    fn every_byte_of_the_header_counts() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (id, key, by) = (ProfileId([7; 16]), ProfileKey::generate(&mut rng), Key::random([1; 32]));
        let header = wrap(id, &key, &by, &mut rng).unwrap();
        assert_eq!(header.len(), HEADER);
        let (found, opened) = unwrap(&header, &by).unwrap();
        assert_eq!((found, opened.as_bytes()), (id, key.as_bytes()));
        for at in 0..HEADER {
            let mut damaged = header.clone();
            damaged[at] ^= 0x10;
            assert!(unwrap(&damaged, &by).is_err(), "byte {at}");
        }
        assert!(matches!(unwrap(&header, &Key::random([2; 32])), Err(Error::WrongKey)));
        assert!(matches!(unwrap(&header, &Key::passphrase("1")), Err(Error::WrongKindOfKey)));
        assert!(unwrap(&header[1..], &by).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?} {:?}", Key::random([1; 32]), Key::passphrase("s")),
            "Key::random(..) Key::passphrase(..)"
        );
    }
}
