//! What travels: bytes, and where they belong.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Bytes on their way, and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Where they belong.
    pub place: Place,
    /// A message as the library makes it.
    pub bytes: Vec<u8>,
}

impl Parcel {
    /// The name of its bytes.
    pub fn name(&self) -> Name {
        Name::of(&self.bytes)
    }
}

/// Where a parcel belongs: who should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// KeyPackages, by which people are found and invited: for everybody.
    People,
    /// Welcomes: for those who published the key packages that they name.
    Invitations,
    /// KeyPackages of members who ask to be taken in again: for the members of their group.
    Requests,
    /// Messages of a group: for its members.
    Group(GroupTag),
}

/// Names a group for the network: a hash of its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupTag(pub [u8; 16]);

impl GroupTag {
    /// That of a group.
    pub fn of(group_id: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(b"dmls group tag").chain_update(group_id).finalize();
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash[..16]);
        Self(tag)
    }
}

impl fmt::Display for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names a parcel: the SHA-256 of its bytes. So a copy is no second one, and what is damaged does not fit its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub [u8; 32]);

impl Name {
    /// That of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 lowercase hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
