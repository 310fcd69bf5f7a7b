//! Ways to damage bytes.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    rng.next_u64() as usize % bound.max(1)
}

/// A part of `bytes`, not longer than `longest`.
fn part<'a>(bytes: &'a [u8], longest: usize, rng: &mut ChaCha20Rng) -> &'a [u8] {
    let start = below(rng, bytes.len());
    let length = below(rng, longest.min(bytes.len() - start) + 1);
    &bytes[start..start + length]
}

/// Length headers: the largest of each form, forms that are not minimal, and one of the form that does not exist.
const HEADERS: [&[u8]; 8] = [
    &[0x3f],
    &[0x7f, 0xff],
    &[0xbf, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 1],
    &[0x40, 0],
    &[0xff],
    &[0],
    &[0x80, 1, 0, 0],
];

/// Damages `bytes` in one to three ways. `other` is what parts are taken from.
pub fn mutate(bytes: &[u8], other: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + below(rng, 3) {
        let place = below(rng, out.len());
        match below(rng, 9) {
            0 | 1 if !out.is_empty() => out[place] ^= 1 << below(rng, 8),
            2 if !out.is_empty() => out[place] = rng.next_u32() as u8,
            3 => out.truncate(place),
            4 => drop(out.drain(place..(place + below(rng, 40)).min(out.len()))),
            5 => drop(out.splice(place..place, part(other, 200, rng).iter().copied())),
            6 => {
                let again = part(&out, 400, rng).repeat(1 + below(rng, 4));
                out.splice(place..place, again);
            }
            7 => {
                let header = HEADERS[below(rng, HEADERS.len())];
                let end = (place + header.len()).min(out.len());
                out.splice(place..end, header.iter().copied());
            }
            // A longer vector of small items: a one-byte length becomes a two-byte one, with zeros behind it.
            _ => {
                let zeros = below(rng, 4000);
                let header = [0x40 | (zeros >> 8) as u8, zeros as u8];
                let end = (place + 1).min(out.len());
                out.splice(place..end, header.into_iter().chain(std::iter::repeat_n(0, zeros)));
            }
        }
    }
    out
}
