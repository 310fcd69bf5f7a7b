//! A state by 128 bits.

use std::hash::{DefaultHasher, Hasher};

/// Two hashes with different beginnings. Of ten million states two are taken for one with a chance below 1 in 10^24.
pub struct Fingerprint(DefaultHasher, DefaultHasher);

impl Fingerprint {
    /// Of nothing yet.
    pub fn new() -> Self {
        let mut other = DefaultHasher::new();
        other.write_u8(1);
        Self(DefaultHasher::new(), other)
    }

    /// Of what was written.
    pub fn value(&self) -> u128 {
        u128::from(self.0.finish()) << 64 | u128::from(self.1.finish())
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    /// Half of it.
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
