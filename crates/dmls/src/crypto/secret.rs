//! Secret byte strings.

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// Secret bytes: erased when dropped, never printed, compared in constant time, copied only by name.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; they are erased with the secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A secret of `length` zero bytes, where the RFC wants one.
    pub(crate) fn zero(length: usize) -> Self {
        Self::new(vec![0; length])
    }

    /// Fresh random bytes.
    pub fn random(length: usize, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = Zeroizing::new(vec![0; length]);
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The encodings of what holds secrets, as a secret of its own.
    pub(crate) fn encoding(parts: &[&dyn Encode]) -> Self {
        Self(to_secret_bytes(parts))
    }

    /// The bytes, for a primitive or for storage.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second copy. Not `Clone`, so that each copy is seen in the code.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl ZeroizeOnDrop for Secret {}

impl Encode for Secret {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.as_slice().encode(out);
    }

    fn encoded_length(&self) -> usize {
        self.0.as_slice().encoded_length()
    }
}

impl Decode for Secret {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Vec::decode(r).map(Self::new)
    }
}

/// The encodings of what holds secrets, one after the other, in memory that is erased and never grows: what a growing
/// buffer leaves behind is not erased.
pub(crate) fn to_secret_bytes(parts: &[&dyn Encode]) -> Zeroizing<Vec<u8>> {
    let length = parts.iter().map(|part| part.encoded_length()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    parts.iter().for_each(|part| part.encode(&mut out));
    debug_assert_eq!(out.len(), length, "encoded_length says how long it gets");
    out
}

/// One type for each secret of the RFC, so that one can't be used for another.
macro_rules! secret_type {
    ($(#[$meta:meta])* $vis:vis struct $name:ident;) => {
        $(#[$meta])*
        #[derive(PartialEq, Eq)]
        $vis struct $name(pub(crate) $crate::crypto::Secret);

        impl zeroize::ZeroizeOnDrop for $name {}

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl $name {
            /// The bytes. They are secret: the caller takes care of them from here.
            #[allow(dead_code)] // Not every secret is read as bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn encoded_length(&self) -> usize {
                self.0.encoded_length()
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                $crate::codec::Decode::decode(r).map(Self)
            }
        }
    };
}

pub(crate) use secret_type;
