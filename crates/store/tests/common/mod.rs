//! What the tests of the store share.

#![allow(dead_code, reason = "each test uses a part")]

use dmls_store::Key;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The key of every profile of a test.
pub fn key() -> Key {
    Key::random([1; 32])
}

/// A generator by its seed.
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}
