//! Which Ed25519 encodings count (RFC 8032 s5.1.3, s5.1.7), the same for every provider.
//!
//! Libraries differ on points of small order and on encodings that are not canonical. Two members that disagree on
//! a signature would split the group, so what they could disagree on is refused before the provider is asked.

use super::CryptoError;

/// The y-coordinates of the eight points of small order, little-endian.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // The neutral element, 1.
    [0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    // Order 2, p - 1.
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    // Order 4, 0.
    [0; 32],
    // Order 8, two values.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Refuses keys and signatures on which the libraries don't agree: `public` and the `R` of `R || S`.
pub(super) fn check_strict(public: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let public = public.try_into().map_err(|_| CryptoError::InvalidKey)?;
    let (r, s) = signature.split_first_chunk().ok_or(CryptoError::InvalidSignature)?;
    match (is_acceptable(public), is_acceptable(r) && s.len() == 32) {
        (true, true) => Ok(()),
        (true, false) => Err(CryptoError::InvalidSignature),
        (false, _) => Err(CryptoError::InvalidKey),
    }
}

/// Whether `point` is a canonical encoding and not of small order. Public data: not in constant time.
fn is_acceptable(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    let canonical = !(y[0] >= 0xed && y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff));
    canonical && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_of_canonical_encodings() {
        let p_minus = |low: u8| {
            let mut y = [0xff; 32];
            (y[0], y[31]) = (low, 0x7f);
            y
        };
        assert!(is_acceptable(&p_minus(0xeb)));
        for low in 0xec..=0xff {
            assert!(!is_acceptable(&p_minus(low)), "{low:#x}: p - 1 has order 2, above it is not canonical");
        }
    }

    #[cfg(feature = "rustcrypto")]
    #[test]
    fn the_table_is_the_torsion_subgroup() {
        for point in curve25519_dalek::constants::EIGHT_TORSION {
            let mut y = point.compress().0;
            y[31] &= 0x7f;
            assert!(SMALL_ORDER.contains(&y));
        }
    }
}
