//! The step from a node of a secret tree to its children (RFC 9420 s9), which a puncturable PRF takes 8 * Nh times.
//!
//! ```text
//! left  = ExpandWithLabel(node, "tree", "left", Nh)  = HMAC(node, KDFLabel("left") || 0x01)
//! right = ExpandWithLabel(node, "tree", "right", Nh) = HMAC(node, KDFLabel("right") || 0x01)
//! ```
//!
//! Both have the same key, so its two HMAC blocks are hashed once: 6 compressions for SHA-256, where two HKDF calls
//! take 8 or more and set up a hash object for each.

use sha2::block_api::compress256;
use zeroize::Zeroize;

use super::{HashAlgorithm, Secret, Suite};

/// Derives children; owns the memory for intermediate values and erases it.
pub(crate) struct TreeKdf {
    hash: HashAlgorithm,
    scratch: Scratch,
}

/// The longest `Nh`.
pub(crate) const MAX_NH: usize = 64;

const LEFT: &[u8] = b"left";
const RIGHT: &[u8] = b"right";

impl TreeKdf {
    pub(crate) fn new(hash: HashAlgorithm) -> Self {
        Self { hash, scratch: Scratch::default() }
    }

    /// Writes the children of `node`. All three have `Nh` bytes.
    pub(crate) fn children(&mut self, node: &[u8], left: &mut [u8], right: &mut [u8]) {
        match (self.hash, node.first_chunk()) {
            (HashAlgorithm::Sha256, Some(key)) if node.len() == 32 => self.scratch.children(key, left, right),
            _ => {
                for (context, child) in [(LEFT, left), (RIGHT, right)] {
                    child.copy_from_slice(
                        self.hash.expand_with_label(node, "tree", context, self.hash.length()).as_bytes(),
                    );
                }
            }
        }
    }
}

impl Suite {
    /// `tree_node_[left]_secret` and `tree_node_[right]_secret` of a node.
    pub(crate) fn tree_children(&self, node: &Secret) -> (Secret, Secret) {
        let mut left = vec![0; self.nh()];
        let mut right = vec![0; self.nh()];
        TreeKdf::new(self.hash).children(node.as_bytes(), &mut left, &mut right);
        (Secret::new(left), Secret::new(right))
    }
}

/// SHA-256's initial state (FIPS 180-4 s5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

const LEFT_BLOCK: [u8; 64] = inner_block(LEFT);
const RIGHT_BLOCK: [u8; 64] = inner_block(RIGHT);

/// What follows the key block in the inner hash, in one block: KDFLabel, HKDF's counter, SHA-256's padding.
const fn inner_block(context: &[u8]) -> [u8; 64] {
    let mut block = [0; 64];
    let position = write(&mut block, 0, &[0, 32, 12]);
    let position = write(&mut block, position, b"MLS 1.0 tree");
    let position = write(&mut block, position, &[context.len() as u8]);
    let position = write(&mut block, position, context);
    let position = write(&mut block, position, &[1]);
    pad(block, position)
}

const fn write(block: &mut [u8; 64], start: usize, bytes: &[u8]) -> usize {
    let mut i = 0;
    while i < bytes.len() {
        block[start + i] = bytes[i];
        i += 1;
    }
    start + bytes.len()
}

/// Pads a message of one whole block and `used` more bytes.
const fn pad(mut block: [u8; 64], used: usize) -> [u8; 64] {
    block[used] = 0x80;
    let bits = (64 + used as u16) * 8;
    [block[62], block[63]] = bits.to_be_bytes();
    block
}

/// HMAC-SHA-256 (RFC 2104) over the compression function, for a key and results of 32 bytes.
struct Scratch {
    key_block: [u8; 64],
    /// The state behind `key ^ ipad`, and behind `key ^ opad`.
    inner: [u32; 8],
    outer: [u32; 8],
    state: [u32; 8],
    /// The inner hash, padded.
    outer_block: [u8; 64],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            key_block: [0; 64],
            inner: INITIAL,
            outer: INITIAL,
            state: INITIAL,
            outer_block: pad([0; 64], 32),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.key_block.zeroize();
        self.inner.zeroize();
        self.outer.zeroize();
        self.state.zeroize();
        self.outer_block.zeroize();
    }
}

impl Scratch {
    fn children(&mut self, key: &[u8; 32], left: &mut [u8], right: &mut [u8]) {
        self.inner = self.keyed(key, 0x36);
        self.outer = self.keyed(key, 0x5c);
        for (block, child) in [(LEFT_BLOCK, left), (RIGHT_BLOCK, right)] {
            self.state = self.inner;
            compress256(&mut self.state, &[block]);
            write_state(&self.state, &mut self.outer_block[..32]);
            self.state = self.outer;
            compress256(&mut self.state, &[self.outer_block]);
            write_state(&self.state, child);
        }
    }

    fn keyed(&mut self, key: &[u8; 32], pad: u8) -> [u32; 8] {
        self.key_block = [pad; 64];
        for (byte, key) in self.key_block.iter_mut().zip(key) {
            *byte ^= key;
        }
        let mut state = INITIAL;
        compress256(&mut state, &[self.key_block]);
        state
    }
}

fn write_state(state: &[u32; 8], out: &mut [u8]) {
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_those_of_expand_with_label() {
        for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            let mut kdf = TreeKdf::new(hash);
            let mut node = vec![7; hash.length()];
            for _ in 0..10 {
                let (mut left, mut right) = (vec![0; hash.length()], vec![0; hash.length()]);
                kdf.children(&node, &mut left, &mut right);
                let expected = |context| hash.expand_with_label(&node, "tree", context, hash.length());
                assert_eq!(left, expected(LEFT).as_bytes(), "{hash}");
                assert_eq!(right, expected(RIGHT).as_bytes(), "{hash}");
                node = right;
            }
        }
    }
}
