//! Time is an argument: the core has no clock.

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Encode for Time {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Time {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(r).map(Self)
    }
}

/// When a KeyPackage's leaf is valid (RFC 9420 s7.2). Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The first second.
    pub not_before: Time,
    /// The last second.
    pub not_after: Time,
}

wire_struct!(Lifetime { not_before, not_after });

impl Lifetime {
    /// How far back a lifetime of our own begins, for peers whose clock is behind.
    const CLOCK_SKEW: u64 = 3600;

    /// From an hour ago until `seconds` from now.
    pub fn starting(now: Time, seconds: u64) -> Self {
        Self {
            not_before: Time(now.0.saturating_sub(Self::CLOCK_SKEW)),
            not_after: Time(now.0.saturating_add(seconds)),
        }
    }

    /// Whether `now` is within.
    pub fn contains(&self, now: Time) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whole length in seconds; nothing if it ends before it begins.
    pub fn seconds(&self) -> Option<u64> {
        self.not_after.0.checked_sub(self.not_before.0)
    }
}
