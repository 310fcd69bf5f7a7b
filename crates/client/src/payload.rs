//! What our application messages hold, inside of the ciphertext.
//!
//! ```text
//! uint8  version = 1;
//! uint8  kind;            0 text, 1 receipt
//! opaque id[16];          random: copies are dropped by it
//! uint64 sent;            seconds since 1970, by the sender's clock
//! uint8  again;           1: sent again, because a branch lost
//! opaque received<V>;     marks of parcels that the sender has taken in, 16 bytes each
//! opaque body<V>;         of a text: UTF-8
//! ```

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::HEXLOWER;
use dmls::Time;
use rand_core::CryptoRng;

use crate::parcel::Name;
use crate::record::{fixed, record};

/// Names a message of a person: the same in every copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

fixed!(MessageId, 16, "a message id of 16 bytes");

impl MessageId {
    pub(crate) fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        Self(id)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The beginning of a parcel's name: enough to say that it was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(pub [u8; 16]);

fixed!(Mark, 16, "the mark of a parcel, 16 bytes");

impl Mark {
    pub(crate) fn of(name: &Name) -> Self {
        let mut mark = [0; 16];
        mark.copy_from_slice(&name.0[..16]);
        Self(mark)
    }

    /// Whether it is the mark of one of these.
    pub(crate) fn names_one_of(self, names: &BTreeSet<Name>) -> bool {
        let mut first = [0; 32];
        first[..16].copy_from_slice(&self.0);
        names.range(Name(first)..).next().is_some_and(|name| Self::of(name) == self)
    }
}

/// Bytes of a text, at most.
pub const MAX_TEXT: usize = 1 << 16;
/// Marks that travel with one message, at most.
pub(crate) const MARKS: usize = 512;

/// An application message.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    pub version: u8,
    pub kind: u8,
    pub id: MessageId,
    pub sent: Time,
    pub again: bool,
    pub received: Vec<Mark>,
    pub body: Vec<u8>,
}

record!(Payload { version, kind, id, sent, again, received, body });

impl Payload {
    pub(crate) const VERSION: u8 = 1;
    pub(crate) const TEXT: u8 = 0;
    pub(crate) const RECEIPT: u8 = 1;

    /// Whether it is one that a client of this version makes. The limits hold for what members send as well: what is longer was made by none of
    /// our clients.
    pub(crate) fn is_ours(&self) -> bool {
        self.version == Self::VERSION
            && self.kind <= Self::RECEIPT
            && self.received.len() <= MARKS
            && self.body.len() <= MAX_TEXT
    }

    pub(crate) fn text(id: MessageId, sent: Time, again: bool, received: Vec<Mark>, text: &str) -> Self {
        let body = text.as_bytes().to_vec();
        Self { version: Self::VERSION, kind: Self::TEXT, id, sent, again, received, body }
    }

    pub(crate) fn receipt(id: MessageId, sent: Time, received: Vec<Mark>) -> Self {
        let (kind, again, body) = (Self::RECEIPT, false, Vec::new());
        Self { version: Self::VERSION, kind, id, sent, again, received, body }
    }
}
