//! Which public keys of others count, the same for every provider: two members that disagree on one would split the group.
//!
//! RFC 9420 s10: the `init_key` "MUST be a public key for the asymmetric encryption scheme defined by `cipher_suite`", and "the
//! `leaf_node` field MUST be valid for the cipher suite, including both the `encryption_key` and `signature_key` fields".
//! A key that nothing can be encrypted to would stop all commits of all members.
//!
//! That a `signature_key` is one, the signature shows which it makes over itself, in a leaf and in a KeyPackage.

use super::{CryptoError, Curve, HpkePublicKey, Suite};

impl Suite {
    /// Refuses what is not a public key of this suite's KEM.
    ///
    /// Of X25519 these are all strings of 32 bytes with which Diffie-Hellman is not all zero (RFC 9180 s7.1.4); RFC 7748 s5
    /// gives a meaning to those that are not canonical, too. Of the NIST curves, uncompressed points on the curve.
    pub fn check_hpke_public_key(&self, key: &HpkePublicKey) -> Result<(), CryptoError> {
        let key = key.as_bytes();
        check_form(self.curve, key)?;
        match self.curve {
            Curve::X25519 if is_of_small_order(key) => Err(CryptoError::InvalidKey),
            Curve::X25519 => Ok(()),
            nist => self.provider.0.check_point(nist, key),
        }
    }
}

/// Refuses the other encodings that the libraries would take: compressed and hybrid points, X.509.
///
/// RFC 9420 s5.1.1: ECDH and ECDSA public keys are uncompressed points (RFC 8446 s4.2.8.2).
pub(super) fn check_form(curve: Curve, public: &[u8]) -> Result<(), CryptoError> {
    let form = curve == Curve::X25519 || public.first() == Some(&4);
    if form && public.len() == curve.public_key_length() { Ok(()) } else { Err(CryptoError::InvalidKey) }
}

/// The u-coordinates below 2^255 of the points, on curve25519 and on its twist, whose order divides 8; little-endian. Clamped
/// scalars are multiples of 8 that no other order divides, so only these lead to an all-zero result.
const SMALL_ORDER: [[u8; 32]; 7] = [
    // 0, of order 2.
    [0; 32],
    // 1, of order 4.
    [0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    // Order 8, two values.
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    // p - 1, of order 4 on the twist; p and p + 1, which stand for 0 and 1.
    near_p(0xec),
    near_p(0xed),
    near_p(0xee),
];

/// `p - 0xed + low`, p = 2^255 - 19.
const fn near_p(low: u8) -> [u8; 32] {
    let mut u = [0xff; 32];
    u[0] = low;
    u[31] = 0x7f;
    u
}

/// Public data: not in constant time. The highest bit does not count (RFC 7748 s5).
fn is_of_small_order(public: &[u8]) -> bool {
    let same = |point: &[u8; 32]| public[..31] == point[..31] && public[31] & 0x7f == point[31];
    public.len() == 32 && SMALL_ORDER.iter().any(same)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::crypto::{Provider, Secret};

    fn random(length: usize, seed: u64) -> Vec<u8> {
        Secret::random(length, &mut ChaCha20Rng::seed_from_u64(seed)).as_bytes().to_vec()
    }

    /// What Diffie-Hellman says.
    fn works(suite: &Suite, public: &[u8]) -> bool {
        let mut private = random(suite.curve.private_key_length(), 1);
        private[0] = 0;
        suite.provider.diffie_hellman(suite.curve, &Secret::new(private), public).is_ok()
    }

    /// Every key that could be doubtful: each provider says of it what its Diffie-Hellman would come to, and so both the same.
    #[test]
    fn a_key_is_what_diffie_hellman_takes() {
        for provider in Provider::all() {
            for suite in provider.suites() {
                let (curve, length) = (suite.curve, suite.curve.public_key_length());
                let pair = suite.derive_key_pair(&Secret::new(random(32, 2))).unwrap();
                let valid = pair.public.as_bytes().to_vec();
                let mut keys = vec![vec![], vec![4], vec![0; length], vec![0xff; length]];
                keys.extend([valid[..length - 1].to_vec(), [&valid[..], &[0]].concat()]);
                keys.extend((0..32).map(|seed| random(length, seed)));
                let last = length - 1;
                if curve == Curve::X25519 {
                    let with_bit = |u: [u8; 32]| {
                        [u, {
                            let mut u = u;
                            u[31] |= 0x80;
                            u
                        }]
                    };
                    // Around p, everything that is not canonical, and the neighbours of each point of small order.
                    keys.extend((0xe0..=0xff).flat_map(|low| with_bit(near_p(low))).map(Vec::from));
                    for point in SMALL_ORDER.into_iter().flat_map(with_bit) {
                        keys.push(point.to_vec());
                        keys.extend((0..256).map(|bit| {
                            let mut near = point.to_vec();
                            near[bit / 8] ^= 1 << (bit % 8);
                            near
                        }));
                    }
                } else {
                    let coordinate = curve.private_key_length();
                    let mut changed = |place: usize, to: u8| {
                        let mut key = valid.clone();
                        key[place] = to;
                        keys.push(key);
                    };
                    // Compressed by name, hybrid, the point at infinity, off the curve, coordinates that are not reduced.
                    (0..=7).for_each(|form| changed(0, form));
                    changed(last, valid[last] ^ 1);
                    changed(1, valid[1] ^ 1);
                    keys.push([&[2 + (valid[last] & 1)], &valid[1..=coordinate]].concat());
                    keys.push([&[4], &vec![0xff; 2 * coordinate][..]].concat());
                    keys.push([&[4], &vec![0; 2 * coordinate][..]].concat());
                }
                keys.push(valid);
                let mut refused = 0;
                for key in keys {
                    let checked = suite.check_hpke_public_key(&key.clone().into()).is_ok();
                    assert_eq!(checked, works(&suite, &key), "{suite:?} {key:02x?}");
                    refused += usize::from(!checked);
                }
                assert!(refused > 10, "{suite:?}");
            }
        }
    }
}
