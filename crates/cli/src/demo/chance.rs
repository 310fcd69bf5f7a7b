//! Choices by a seeded generator.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator of the world with this seed; each purpose has its own stream, so that one does not disturb another.
pub fn stream(seed: u64, stream: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// A number from 0 to `end - 1`. The bias of the remainder does not matter in a demonstration.
pub fn below(rng: &mut ChaCha20Rng, end: u32) -> u32 {
    rng.next_u32() % end.max(1)
}

/// Whether something happens that happens so often in a hundred times.
pub fn percent(rng: &mut ChaCha20Rng, often: u32) -> bool {
    below(rng, 100) < often
}

/// One of several; there is at least one.
pub fn pick<T: Copy>(rng: &mut ChaCha20Rng, from: &[T]) -> Option<T> {
    from.get(below(rng, from.len() as u32) as usize).copied()
}

/// Another order.
pub fn shuffle<T>(rng: &mut ChaCha20Rng, items: &mut [T]) {
    for place in (1..items.len()).rev() {
        items.swap(place, below(rng, place as u32 + 1) as usize);
    }
}
