//! Hash, MAC and KDF (RFC 9420 s5.1, s8), over sha2 in both providers.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{CryptoError, Secret};
use crate::codec::{Encode, encode_length, opaque_type};

opaque_type! {
    /// A MAC: a confirmation tag or a membership tag (RFC 9420 s6.1, s6.2).
    #[derive(Default)]
    pub struct Tag;
}

/// The hash function of a suite; its HMAC and HKDF go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

macro_rules! with_hash {
    ($algorithm:expr, $H:ident => $body:expr) => {
        match $algorithm {
            HashAlgorithm::Sha256 => {
                type $H = Sha256;
                $body
            }
            HashAlgorithm::Sha384 => {
                type $H = Sha384;
                $body
            }
            HashAlgorithm::Sha512 => {
                type $H = Sha512;
                $body
            }
        }
    };
}

impl HashAlgorithm {
    /// Output length in bytes: `KDF.Nh`.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// `Hash(parts[0] || parts[1] || ..)`.
    pub fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        #[cfg(test)]
        counted::add(self.compressions(total(parts)));
        with_hash!(self, H => {
            let mut hash = H::new();
            for part in parts {
                Digest::update(&mut hash, part);
            }
            hash.finalize().to_vec()
        })
    }

    /// `HMAC(key, parts[0] || parts[1] || ..)`.
    pub(crate) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        #[cfg(test)]
        counted::add(self.hmac_key_compressions(key.len()) + self.hmac_compressions(total(parts)));
        with_hash!(self, H => {
            let mut mac = Hmac::<H>::new_from_slice(key).expect("HMAC takes keys of any length");
            for part in parts {
                mac.update(part);
            }
            mac.finalize().into_bytes().to_vec()
        })
    }

    /// `KDF.Extract(salt, ikm)` (RFC 5869 s2.2), the input keying material in parts.
    pub(crate) fn extract(self, salt: &[u8], ikm: &[&[u8]]) -> Secret {
        Secret::new(self.hmac(salt, ikm))
    }

    /// `KDF.Expand(prk, info, length)` (RFC 5869 s2.3), the info in parts.
    pub(crate) fn expand(self, prk: &[u8], info: &[&[u8]], length: usize) -> Secret {
        debug_assert!(length <= 255 * self.length());
        #[cfg(test)]
        counted::add(self.hmac_key_compressions(prk.len()));
        with_hash!(self, H => {
            let keyed = Hmac::<H>::new_from_slice(prk).expect("HMAC takes keys of any length");
            let mut out = Zeroizing::new(Vec::with_capacity(length));
            let mut block = Zeroizing::new(Vec::with_capacity(self.length()));
            for counter in 1..=length.div_ceil(self.length()) {
                let mut mac = keyed.clone();
                mac.update(&block);
                for part in info {
                    mac.update(part);
                }
                mac.update(&[counter as u8]);
                #[cfg(test)]
                counted::add(self.hmac_compressions(block.len() + total(info) + 1));
                block.clear();
                block.extend_from_slice(&mac.finalize().into_bytes());
                let wanted = (length - out.len()).min(block.len());
                out.extend_from_slice(&block[..wanted]);
            }
            Secret::new(std::mem::take(&mut *out))
        })
    }

    /// `ExpandWithLabel(secret, label, context, length)` (RFC 9420 s8).
    ///
    /// ```text
    /// struct { uint16 length; opaque label<V> = "MLS 1.0 " + Label; opaque context<V>; } KDFLabel;
    /// ```
    pub(crate) fn expand_with_label(
        self,
        secret: &[u8],
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Secret {
        let mut info = Vec::with_capacity(2 + 1 + 8 + label.len() + 4 + context.len());
        (length as u16).encode(&mut info);
        labelled(label, context, &mut info);
        self.expand(secret, &[&info], length)
    }
}

/// `opaque label<V> = "MLS 1.0 " + Label; opaque content<V>`: the frame of every labelled operation (RFC 9420 s5.1, s8).
pub(super) fn labelled(label: &str, content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&label_header(label, content));
    out.extend_from_slice(content);
}

/// All of that frame but the content at its end.
pub(super) fn label_header(label: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 8 + label.len() + 4);
    encode_length(8 + label.len(), &mut out);
    out.extend_from_slice(b"MLS 1.0 ");
    out.extend_from_slice(label.as_bytes());
    encode_length(content.len(), &mut out);
    out
}

impl Tag {
    /// Compares in constant time.
    pub(crate) fn verify(&self, expected: &Tag) -> Result<(), CryptoError> {
        if self.as_bytes().ct_eq(expected.as_bytes()).into() { Ok(()) } else { Err(CryptoError::InvalidTag) }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
fn total(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// How often the compression function is called (FIPS 180-4 s5.1, s5.2).
#[cfg(test)]
impl HashAlgorithm {
    /// In bytes: a block, and what padding takes at least, a bit and the length.
    fn block(self) -> (usize, usize) {
        match self {
            Self::Sha256 => (64, 1 + 8),
            Self::Sha384 | Self::Sha512 => (128, 1 + 16),
        }
    }

    /// Of so many bytes.
    fn compressions(self, bytes: usize) -> usize {
        let (block, padding) = self.block();
        (bytes + padding).div_ceil(block)
    }

    /// Of an HMAC's key: a block for each of the two hashes; a longer key is hashed first.
    fn hmac_key_compressions(self, key: usize) -> usize {
        let (block, _) = self.block();
        2 + if key > block { self.compressions(key) } else { 0 }
    }

    /// Of an HMAC over so many bytes, once the key is in.
    fn hmac_compressions(self, bytes: usize) -> usize {
        let (block, _) = self.block();
        let after_a_block = |bytes| self.compressions(block + bytes) - 1;
        after_a_block(bytes) + after_a_block(self.length())
    }
}

/// How much is hashed, for tests that say what may grow. Signatures hash by themselves; that is not counted.
#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    thread_local! {
        static COMPRESSIONS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(compressions: usize) {
        COMPRESSIONS.set(COMPRESSIONS.get() + compressions);
    }

    /// How many compressions `work` takes, in this thread.
    pub(crate) fn compressions(work: impl FnOnce()) -> usize {
        let before = COMPRESSIONS.get();
        work();
        COMPRESSIONS.get() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869 A.1 to A.3.
    #[test]
    fn hkdf_vectors() {
        let unhex = |text| hex::decode(text).unwrap();
        let long = |first: u8, last: u8| (first..=last).collect::<Vec<u8>>();
        for (ikm, salt, info, prk, okm) in [
            (
                vec![0x0b; 22],
                long(0, 0x0c),
                long(0xf0, 0xf9),
                "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                long(0, 0x4f),
                long(0x60, 0xaf),
                long(0xb0, 0xff),
                "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                 da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                vec![0x0b; 22],
                vec![],
                vec![],
                "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ] {
            let (head, tail) = ikm.split_at(7);
            let found = HashAlgorithm::Sha256.extract(&salt, &[head, tail]);
            assert_eq!(found.as_bytes(), unhex(prk));
            let okm = unhex(okm);
            assert_eq!(HashAlgorithm::Sha256.expand(found.as_bytes(), &[&info], okm.len()).as_bytes(), okm);
        }
    }

    #[test]
    fn compressions_are_counted() {
        let count = |work: &dyn Fn()| counted::compressions(work);
        for (bytes, sha256, sha512) in
            [(0, 1, 1), (55, 1, 1), (56, 2, 1), (111, 2, 1), (112, 2, 2), (119, 2, 2)]
        {
            let bytes = vec![0; bytes];
            assert_eq!(count(&|| drop(HashAlgorithm::Sha256.hash(&[&bytes]))), sha256);
            assert_eq!(count(&|| drop(HashAlgorithm::Sha512.hash(&[&bytes]))), sha512);
        }
        assert_eq!(count(&|| drop(HashAlgorithm::Sha256.hmac(&[0; 32], &[&[0; 20], &[0; 35]]))), 4);
        assert_eq!(count(&|| drop(HashAlgorithm::Sha256.hmac(&[0; 65], &[&[0; 56]]))), 7);
        // Two blocks of output: the key once, then one byte of info and the counter; and the first block before them.
        assert_eq!(count(&|| drop(HashAlgorithm::Sha256.expand(&[0; 32], &[&[0]], 64))), 2 + 2 + 2);
    }

    #[test]
    fn tags_are_compared_whole() {
        let tag = Tag::from(vec![7; 32]);
        assert_eq!(tag.verify(&tag), Ok(()));
        for position in 0..32 {
            let mut other = tag.as_bytes().to_vec();
            other[position] ^= 1;
            assert_eq!(tag.verify(&other.into()), Err(CryptoError::InvalidTag));
            assert_eq!(tag.verify(&tag.as_bytes()[..position].into()), Err(CryptoError::InvalidTag));
        }
    }
}
