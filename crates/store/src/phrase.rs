//! A recovery phrase: what opens an exported profile, for people to write down.
//!
//! ```text
//! phrase = base32(secret[16] || SHA-256("dmls-store phrase 1" || secret)[..4])     32 signs, in groups of four
//! ```

use std::fmt;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// 128 random bits: nobody tries them all, so a key comes from them without a slow function.
const SECRET: usize = 16;
/// What tells a slip of the pen.
const SUM: usize = 4;
const SIGNS: usize = (SECRET + SUM) * 8 / 5;
/// Crockford's: without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What opens an exported profile: 32 letters and digits, 128 bits of them random.
pub struct Phrase(Zeroizing<[u8; SECRET]>);

impl Phrase {
    /// Of the record that keeps it, beside the profile's state.
    pub(crate) const KEY: &[u8] = b"phrase";

    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; SECRET]);
        rng.fill_bytes(&mut secret[..]);
        Self(secret)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// As people write it: eight groups of four.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; SECRET + SUM]);
        bytes[..SECRET].copy_from_slice(&self.0[..]);
        bytes[SECRET..].copy_from_slice(&sum(&self.0));
        let mut text = Zeroizing::new(String::with_capacity(SIGNS + SIGNS / 4));
        for sign in 0..SIGNS {
            if sign > 0 && sign % 4 == 0 {
                text.push('-');
            }
            let value = (0..5).fold(0, |value, bit| value << 1 | bit_of(&bytes[..], 5 * sign + bit));
            text.push(char::from(ALPHABET[usize::from(value)]));
        }
        text
    }

    /// What somebody typed. Case, blanks and hyphens don't count, O is 0, I and L are 1; none if it is no phrase, or has a mistake.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0_u8; SECRET + SUM]);
        let mut signs = 0;
        for sign in text.chars().filter(|sign| !sign.is_whitespace() && *sign != '-') {
            let value = value_of(sign)?;
            if signs == SIGNS {
                return None;
            }
            for bit in (0..5).filter(|bit| value & (0x10 >> bit) != 0) {
                let at = 5 * signs + bit;
                bytes[at / 8] |= 0x80 >> (at % 8);
            }
            signs += 1;
        }
        let (secret, found) = bytes.split_first_chunk::<SECRET>()?;
        let secret = Zeroizing::new(*secret);
        (signs == SIGNS && *found == sum(&secret)).then_some(Self(secret))
    }
}

fn bit_of(bytes: &[u8], at: usize) -> u8 {
    bytes[at / 8] >> (7 - at % 8) & 1
}

fn value_of(sign: char) -> Option<usize> {
    let sign = match sign.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|known| char::from(*known) == sign)
}

fn sum(secret: &[u8; SECRET]) -> [u8; SUM] {
    let whole = Sha256::new().chain_update(b"dmls-store phrase 1").chain_update(secret).finalize();
    std::array::from_fn(|n| whole[n])
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::Phrase;

    #[test]
    fn what_was_written_down_is_read_again() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..100 {
            let phrase = Phrase::generate(&mut rng);
            let text = phrase.text();
            assert_eq!(text.len(), 39);
            let careless = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            for typed in [text.as_str(), &careless, &format!("  {}\n", text.replace('-', ""))] {
                assert_eq!(Phrase::parse(typed).unwrap().as_bytes(), phrase.as_bytes(), "{typed}");
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_seen() {
        let phrase = Phrase::from_bytes(&[7; 16]).unwrap();
        let text = phrase.text();
        for (at, sign) in text.char_indices().filter(|(_, sign)| *sign != '-') {
            for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZU!é".chars().filter(|other| *other != sign) {
                let typed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert!(Phrase::parse(&typed).is_none(), "{typed}");
            }
        }
        for typed in ["", "0000", &text[1..], &format!("{}0", &*text)] {
            assert!(Phrase::parse(typed).is_none(), "{typed}");
        }
        assert_eq!(format!("{phrase:?}"), "Phrase(..)");
    }
}
