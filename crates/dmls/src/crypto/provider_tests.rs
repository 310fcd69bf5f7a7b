//! Each provider by itself, and each against the other: what one makes, the other reads; what one refuses, the
//! other refuses.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

const CURVES: [Curve; 4] = [Curve::X25519, Curve::P256, Curve::P384, Curve::P521];
const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::Ed25519,
    SignatureScheme::EcdsaP256,
    SignatureScheme::EcdsaP384,
    SignatureScheme::EcdsaP521,
];
const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305];

/// What is done with a key, from the key on.
impl Provider {
    pub(super) fn public_key(&self, curve: Curve, private: &Secret) -> Result<Vec<u8>, CryptoError> {
        self.0.kem_key(curve, private)?.public_key()
    }

    pub(super) fn diffie_hellman(
        &self,
        curve: Curve,
        private: &Secret,
        public: &[u8],
    ) -> Result<Secret, CryptoError> {
        self.0.kem_key(curve, private)?.diffie_hellman(public)
    }

    fn verification_key(&self, scheme: SignatureScheme, private: &Secret) -> Result<Vec<u8>, CryptoError> {
        self.0.signing_key(scheme, private)?.public_key()
    }

    fn sign(
        &self,
        scheme: SignatureScheme,
        private: &Secret,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.0.signing_key(scheme, private)?.sign(message)
    }
}

/// Every ordered pair of providers, a provider with itself included.
fn pairs() -> Vec<(Provider, Provider)> {
    let all = Provider::all();
    all.iter().flat_map(|a| all.iter().map(|b| (*a, *b))).collect()
}

fn random(length: usize, seed: u64) -> Secret {
    Secret::random(length, &mut ChaCha20Rng::seed_from_u64(seed))
}

/// A scalar below every order: the first byte is 0.
fn private_key(length: usize, seed: u64) -> Secret {
    let mut bytes = random(length, seed).as_bytes().to_vec();
    bytes[0] = 0;
    Secret::new(bytes)
}

fn signing_length(scheme: SignatureScheme) -> usize {
    scheme.curve().map_or(32, Curve::private_key_length)
}

#[test]
fn same_public_keys_and_shared_secrets() {
    for (a, b) in pairs() {
        for curve in CURVES {
            let alice = private_key(curve.private_key_length(), 1);
            let bob = private_key(curve.private_key_length(), 2);
            let alice_public = a.public_key(curve, &alice).unwrap();
            let bob_public = b.public_key(curve, &bob).unwrap();
            assert_eq!(alice_public, b.public_key(curve, &alice).unwrap(), "{a:?} {b:?} {curve:?}");
            assert_eq!(alice_public.len(), curve.public_key_length());
            let shared = a.diffie_hellman(curve, &alice, &bob_public).unwrap();
            assert!(shared == b.diffie_hellman(curve, &bob, &alice_public).unwrap(), "{a:?} {b:?} {curve:?}");
        }
    }
}

#[test]
fn signatures_verify_across_providers() {
    for (a, b) in pairs() {
        for scheme in SCHEMES {
            let private = private_key(signing_length(scheme), 3);
            let public = a.verification_key(scheme, &private).unwrap();
            assert_eq!(public, b.verification_key(scheme, &private).unwrap());
            let signature = a.sign(scheme, &private, b"message").unwrap();
            assert_eq!(b.0.verify(scheme, &public, b"message", &signature), Ok(()), "{a:?} {b:?} {scheme:?}");
            assert_eq!(b.0.verify(scheme, &public, b"other", &signature), Err(CryptoError::InvalidSignature));
            for position in 0..signature.len() {
                let mut damaged = signature.clone();
                damaged[position] ^= 1;
                assert!(
                    b.0.verify(scheme, &public, b"message", &damaged).is_err(),
                    "{b:?} {scheme:?} {position}"
                );
                assert!(b.0.verify(scheme, &public, b"message", &signature[..position]).is_err());
            }
            let longer = [&signature[..], &[0]].concat();
            assert!(b.0.verify(scheme, &public, b"message", &longer).is_err(), "{b:?} {scheme:?}");
        }
    }
}

#[test]
fn a_key_signs_for_its_own_scheme() {
    for provider in Provider::all() {
        let suites: Vec<_> = provider.suites().collect();
        for key_of in &suites {
            let length = signing_length(key_of.scheme);
            let private = SignaturePrivateKey::new(key_of, private_key(length, 3)).unwrap();
            for suite in &suites {
                let signed = suite.sign_with_label(&private, "label", b"content");
                assert_eq!(signed.is_ok(), suite.scheme == key_of.scheme, "{suite:?} {key_of:?}");
            }
        }
    }
}

#[test]
fn sealed_by_one_opened_by_the_other() {
    for (a, b) in pairs() {
        for aead in AEADS {
            let key = random(aead.key_length(), 4);
            let mut buffer = b"plaintext".to_vec();
            a.0.seal(aead, &key, &[7; 12], b"aad", &mut buffer).unwrap();
            assert_eq!(buffer.len(), 9 + 16);
            let sealed = buffer.clone();
            b.0.open(aead, &key, &[7; 12], b"aad", &mut buffer).unwrap();
            assert_eq!(buffer, b"plaintext", "{a:?} {b:?} {aead:?}");
            for position in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[position] ^= 1;
                let opened = b.0.open(aead, &key, &[7; 12], b"aad", &mut damaged);
                assert_eq!(opened, Err(CryptoError::InvalidCiphertext), "{b:?} {aead:?} {position}");
                let mut cut = sealed[..position].to_vec();
                assert_eq!(
                    b.0.open(aead, &key, &[7; 12], b"aad", &mut cut),
                    Err(CryptoError::InvalidCiphertext)
                );
            }
            let short = random(aead.key_length() - 1, 5);
            assert_eq!(a.0.seal(aead, &short, &[7; 12], b"", &mut buffer), Err(CryptoError::InvalidKey));
            assert_eq!(a.0.open(aead, &short, &[7; 12], b"", &mut buffer), Err(CryptoError::InvalidKey));
        }
    }
}

/// The order of each group, big-endian: the smallest scalar that is too large.
fn order(curve: Curve) -> Vec<u8> {
    hex::decode(match curve {
        Curve::P256 => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        Curve::P384 => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
        Curve::P521 => {
            "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5\
             c9b8899c47aebb6fb71e91386409"
        }
        Curve::X25519 => "",
    })
    .unwrap()
}

#[test]
fn private_keys_out_of_range_are_refused() {
    for provider in Provider::all() {
        for curve in CURVES {
            let length = curve.private_key_length();
            let mut refused = vec![vec![], vec![1; length - 1], vec![1; length + 1]];
            if curve != Curve::X25519 {
                refused.extend([vec![0; length], order(curve), vec![0xff; length]]);
                let mut largest = order(curve);
                *largest.last_mut().unwrap() -= 1;
                assert!(provider.public_key(curve, &Secret::new(largest)).is_ok(), "{provider:?} {curve:?}");
            }
            let public = provider.public_key(curve, &private_key(length, 1)).unwrap();
            for bytes in refused {
                let key = Secret::new(bytes.clone());
                let context = format!("{provider:?} {curve:?} {bytes:02x?}");
                assert_eq!(provider.public_key(curve, &key), Err(CryptoError::InvalidKey), "{context}");
                assert_eq!(
                    provider.diffie_hellman(curve, &key, &public),
                    Err(CryptoError::InvalidKey),
                    "{context}"
                );
                let scheme = SCHEMES.into_iter().find(|scheme| scheme.curve() == Some(curve));
                let scheme = scheme.unwrap_or(SignatureScheme::Ed25519);
                assert_eq!(
                    provider.verification_key(scheme, &key),
                    Err(CryptoError::InvalidKey),
                    "{context}"
                );
                assert_eq!(provider.sign(scheme, &key, b""), Err(CryptoError::InvalidKey), "{context}");
            }
        }
    }
}

#[test]
fn public_keys_of_another_form_are_refused() {
    for provider in Provider::all() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let length = curve.private_key_length();
            let private = private_key(length, 1);
            let public = provider.public_key(curve, &private).unwrap();
            let scheme = SCHEMES.into_iter().find(|scheme| scheme.curve() == Some(curve)).unwrap();
            let signature = provider.sign(scheme, &private, b"").unwrap();

            let compressed = [&[2 + (public[2 * length] & 1)], &public[1..=length]].concat();
            let mut hybrid = public.clone();
            hybrid[0] = 6 + (public[2 * length] & 1);
            let mut off_curve = public.clone();
            off_curve[2 * length] ^= 1;
            let not_reduced = [&[4][..], &vec![0xff; 2 * length]].concat();
            let garbage = random(public.len(), 6).as_bytes().to_vec();
            for bytes in [vec![], vec![0], vec![4], compressed, hybrid, off_curve, not_reduced, garbage] {
                let context = format!("{provider:?} {curve:?} {bytes:02x?}");
                let shared = provider.diffie_hellman(curve, &private, &bytes);
                assert_eq!(shared, Err(CryptoError::InvalidKey), "{context}");
                let verified = provider.0.verify(scheme, &bytes, b"", &signature);
                assert_eq!(verified, Err(CryptoError::InvalidKey), "{context}");
            }
        }
        for length in [0, 31, 33] {
            let shared = provider.diffie_hellman(Curve::X25519, &random(32, 1), &vec![9; length]);
            assert_eq!(shared, Err(CryptoError::InvalidKey), "{provider:?} {length}");
        }
    }
}

/// The points of small order, with and without the bit that RFC 7748 s5 masks.
#[test]
fn an_all_zero_shared_secret_is_refused() {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for provider in Provider::all() {
        for point in points {
            let mut point = hex::decode(point).unwrap();
            for mask in [0, 0x80] {
                point[31] |= mask;
                let shared = provider.diffie_hellman(Curve::X25519, &random(32, 1), &point);
                assert_eq!(shared, Err(CryptoError::InvalidSharedSecret), "{provider:?} {point:02x?}");
            }
        }
    }
}

/// With a key of small order, `R = [S]B` for any `S` can verify for messages that nobody signed.
#[test]
fn ed25519_is_strict() {
    let mut identity = [0; 32];
    identity[0] = 1;
    for provider in Provider::all() {
        // S = 0, R = identity, A = identity verifies for every message, if points of small order are let in.
        let forged = [identity, [0; 32]].concat();
        let verified = provider.0.verify(SignatureScheme::Ed25519, &identity, b"any", &forged);
        assert_eq!(verified, Err(CryptoError::InvalidKey), "{provider:?}");

        let private = random(32, 7);
        let public = provider.verification_key(SignatureScheme::Ed25519, &private).unwrap();
        let verified = provider.0.verify(SignatureScheme::Ed25519, &public, b"any", &forged);
        assert_eq!(verified, Err(CryptoError::InvalidSignature), "{provider:?}");

        // S + L is the same scalar in another encoding.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut signature = provider.sign(SignatureScheme::Ed25519, &private, b"message").unwrap();
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        let verified = provider.0.verify(SignatureScheme::Ed25519, &public, b"message", &signature);
        assert_eq!(verified, Err(CryptoError::InvalidSignature), "{provider:?}");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    for provider in Provider::all() {
        for _ in 0..100 {
            let length = (rng.next_u32() % 140) as usize;
            let bytes = Secret::random(length, &mut rng);
            for curve in CURVES {
                let _ = provider.public_key(curve, &bytes);
                let _ = provider.diffie_hellman(
                    curve,
                    &private_key(curve.private_key_length(), 1),
                    bytes.as_bytes(),
                );
            }
            for scheme in SCHEMES {
                let _ = provider.sign(scheme, &bytes, b"message");
                let public =
                    provider.verification_key(scheme, &private_key(signing_length(scheme), 1)).unwrap();
                assert!(provider.0.verify(scheme, &public, b"message", bytes.as_bytes()).is_err());
                assert!(provider.0.verify(scheme, bytes.as_bytes(), b"message", bytes.as_bytes()).is_err());
            }
        }
    }
}

/// A secret shows as its type, a key pair as its public key.
#[test]
fn debug_shows_no_secret() {
    for provider in Provider::all() {
        let suite = provider.suite(crate::registry::CipherSuite::X25519_AES128).unwrap();
        assert_eq!(format!("{:?}", random(32, 1)), "Secret(..)");
        let hpke = suite.derive_key_pair(&random(32, 1)).unwrap();
        assert_eq!(format!("{:?}", hpke.private), "HpkePrivateKey(..)");
        assert_eq!(format!("{hpke:?}"), format!("HpkeKeyPair {{ public: {:?}, .. }}", hpke.public));
        let signature = SignatureKeyPair::from_private(&suite, random(32, 2)).unwrap();
        assert_eq!(format!("{:?}", signature.private()), "SignaturePrivateKey(..)");
        assert_eq!(
            format!("{signature:?}"),
            format!("SignatureKeyPair {{ public: {:?}, .. }}", signature.public())
        );
        for (shown, secret) in [
            (format!("{hpke:?}"), hpke.private.as_bytes()),
            (format!("{signature:?}"), signature.private().as_bytes()),
        ] {
            assert!(!shown.contains(&hex::encode(&secret[..4])), "{shown}");
        }
        assert_eq!(format!("{suite:?}"), format!("{:?} ({})", suite.code(), provider.name()));
    }
}
