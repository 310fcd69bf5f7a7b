//! HPKE against the vectors of RFC 9180 and against the `hpke` crate, and what it must refuse.

use std::convert::Infallible;

use ::hpke::aead::{Aead as HpkeAead, AesGcm128, AesGcm256, ChaCha20Poly1305};
use ::hpke::kdf::{HkdfSha256, HkdfSha384, HkdfSha512, Kdf};
use ::hpke::kem::{DhP256HkdfSha256, DhP384HkdfSha384, DhP521HkdfSha512, X25519HkdfSha256};
use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender_with_rng};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_core::{TryCryptoRng, TryRng};

use super::*;
use crate::codec::Encode;
use crate::crypto::{Provider, SignatureKeyPair};
use crate::registry::CipherSuite;

const SUITES: [CipherSuite; 5] = [
    CipherSuite::X25519_AES128,
    CipherSuite::P256_AES128,
    CipherSuite::X25519_CHACHA20,
    CipherSuite::P384_AES256,
    CipherSuite::P521_AES256,
];

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn suites() -> impl Iterator<Item = Suite> {
    let providers = Provider::all().into_iter();
    providers
        .flat_map(|provider| SUITES.map(|code| provider.suite(code).expect("every provider has all five")))
}

/// A "generator" that gives the vector's randomness, once.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("only bytes are asked for")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("only bytes are asked for")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&std::mem::take(&mut self.0));
        Ok(())
    }
}

impl TryCryptoRng for Given {}

/// One of RFC 9180's base mode vectors, with its first encryption. Of P-384 it has none.
struct Vector {
    section: &'static str,
    suite: CipherSuite,
    ikm_e: &'static str,
    sk_e: &'static str,
    enc: &'static str,
    ikm_r: &'static str,
    sk_r: &'static str,
    pk_r: &'static str,
    key: &'static str,
    base_nonce: &'static str,
    exporter_secret: &'static str,
    ciphertext: &'static str,
    /// The export of 32 bytes for an empty context.
    export: Option<&'static str>,
}

const VECTORS: [Vector; 4] = [
    Vector {
        section: "A.1.1",
        suite: CipherSuite::X25519_AES128,
        ikm_e: "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234",
        sk_e: "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        enc: "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        ikm_r: "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037",
        sk_r: "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        pk_r: "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
        key: "4531685d41d65f03dc48f6b8302c05b0",
        base_nonce: "56d890e5accaaf011cff4b7d",
        exporter_secret: "45ff1c2e220db587171952c0592d5f5ebe103f1561a2614e38f2ffd47e99e3f8",
        ciphertext: "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
        export: Some("3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"),
    },
    Vector {
        section: "A.2.1",
        suite: CipherSuite::X25519_CHACHA20,
        ikm_e: "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
        sk_e: "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
        enc: "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
        ikm_r: "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
        sk_r: "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        pk_r: "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
        key: "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91",
        base_nonce: "5c4d98150661b848853b547f",
        exporter_secret: "a3b010d4994890e2c6968a36f64470d3c824c8f5029942feb11e7a74b2921922",
        ciphertext: "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        export: None,
    },
    Vector {
        section: "A.3.1",
        suite: CipherSuite::P256_AES128,
        ikm_e: "4270e54ffd08d79d5928020af4686d8f6b7d35dbe470265f1f5aa22816ce860e",
        sk_e: "4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb",
        enc: "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be\
              863c403ce65c9bfcb9382657222d18c4",
        ikm_r: "668b37171f1072f3cf12ea8a236a45df23fc13b82af3609ad1e354f6ef817550",
        sk_r: "f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2",
        pk_r: "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a826a779b4cf969b8a0e539c7f62fb3d30a\
               d6aa8f80e30f1d128aafd68a2ce72ea0",
        key: "868c066ef58aae6dc589b6cfdd18f97e",
        base_nonce: "4e0bc5018beba4bf004cca59",
        exporter_secret: "14ad94af484a7ad3ef40e9f3be99ecc6fa9036df9d4920548424df127ee0d99f",
        ciphertext: "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434",
        export: None,
    },
    Vector {
        section: "A.6.1",
        suite: CipherSuite::P521_AES256,
        ikm_e: "7f06ab8215105fc46aceeb2e3dc5028b44364f960426eb0d8e4026c2f8b5d7e7a986688f1591abf5ab753c357a5d6f0440\
                414b4ed4ede71317772ac98d9239f70904",
        sk_e: "014784c692da35df6ecde98ee43ac425dbdd0969c0c72b42f2e708ab9d535415a8569bdacfcc0a114c85b8e3f26acf4d68\
               115f8c91a66178cdbd03b7bcc5291e374b",
        enc: "040138b385ca16bb0d5fa0c0665fbbd7e69e3ee29f63991d3e9b5fa740aab8900aaeed46ed73a49055758425a0ce36507c\
              54b29cc5b85a5cee6bae0cf1c21f2731ece2013dc3fb7c8d21654bb161b463962ca19e8c654ff24c94dd2898de12051f1e\
              d0692237fb02b2f8d1dc1c73e9b366b529eb436e98a996ee522aef863dd5739d2f29b0",
        ikm_r: "2ad954bbe39b7122529f7dde780bff626cd97f850d0784a432784e69d86eccaade43b6c10a8ffdb94bf943c6da479db137\
                914ec835a7e715e36e45e29b587bab3bf1",
        sk_r: "01462680369ae375e4b3791070a7458ed527842f6a98a79ff5e0d4cbde83c27196a3916956655523a6a2556a7af62c5cad\
               abe2ef9da3760bb21e005202f7b2462847",
        pk_r: "0401b45498c1714e2dce167d3caf162e45e0642afc7ed435df7902ccae0e84ba0f7d373f646b7738bbbdca11ed91bdeae3\
               cdcba3301f2457be452f271fa6837580e661012af49583a62e48d44bed350c7118c0d8dc861c238c72a2bda17f64704f46\
               4b57338e7f40b60959480c0e58e6559b190d81663ed816e523b6b6a418f66d2451ec64",
        key: "751e346ce8f0ddb2305c8a2a85c70d5cf559c53093656be636b9406d4d7d1b70",
        base_nonce: "55ff7a7d739c69f44b25447b",
        exporter_secret: "e4ff9dfbc732a2b9c75823763c5ccc954a2c0648fc6de80a58581252d0ee3215388a4455e69086b50b87eb28\
                          c169a52f42e71de4ca61c920e7bd24c95cc3f992",
        ciphertext: "170f8beddfe949b75ef9c387e201baf4132fa7374593dfafa90768788b7b2b200aafcc6d80ea4c795a7c5b841a",
        export: Some("05e2e5bd9f0c30832b80a279ff211cc65eceb0d97001524085d609ead60d0412"),
    },
];

#[test]
fn rfc_9180_vectors() {
    for provider in Provider::all() {
        for vector in &VECTORS {
            let suite = provider.suite(vector.suite).unwrap();
            let place = format!("{} {suite:?}", vector.section);
            let ephemeral = suite.derive_key_pair(&Secret::new(unhex(vector.ikm_e))).unwrap();
            assert_eq!(hex::encode(ephemeral.private.as_bytes()), vector.sk_e, "{place}");
            let receiver = suite.derive_key_pair(&Secret::new(unhex(vector.ikm_r))).unwrap();
            assert_eq!(hex::encode(receiver.private.as_bytes()), vector.sk_r, "{place}");
            assert_eq!(hex::encode(receiver.public.as_bytes()), vector.pk_r, "{place}");

            let info = &suite.key_schedule_context(&[b"Ode on a ", b"Grecian Urn"]);
            let mut given = Given(unhex(vector.ikm_e));
            let (kem_output, sender) = suite.setup_sender(&receiver.public, info, &mut given).unwrap();
            assert_eq!(hex::encode(kem_output.as_bytes()), vector.enc, "{place}");
            let received =
                suite.setup_receiver(&receiver.private, &receiver.public, &kem_output, info).unwrap();
            for context in [sender, received] {
                assert_eq!(hex::encode(context.key.as_bytes()), vector.key, "{place}");
                assert_eq!(hex::encode(context.nonce), vector.base_nonce, "{place}");
                assert_eq!(
                    hex::encode(context.exporter_secret.as_bytes()),
                    vector.exporter_secret,
                    "{place}"
                );
                let plaintext = b"Beauty is truth, truth beauty";
                let sealed = suite.aead_seal(&context.key, &context.nonce, b"Count-0", plaintext).unwrap();
                assert_eq!(hex::encode(sealed), vector.ciphertext, "{place}");
                if let Some(export) = vector.export {
                    assert_eq!(hex::encode(suite.export(&context, &[], 32).as_bytes()), export, "{place}");
                }
            }
        }
    }
}

/// Ours seals and theirs opens, theirs seals and ours opens, and both exports agree.
fn differential<A: HpkeAead, D: Kdf, K: Kem>(code: CipherSuite) {
    for provider in Provider::all() {
        let suite = provider.suite(code).unwrap();
        let mut rng = rng(u64::from(code.0));
        for round in 0..8 {
            let place = format!("{suite:?} round {round}");
            let pair = suite.generate_key_pair(&mut rng).unwrap();
            let their_private = K::PrivateKey::from_bytes(pair.private.as_bytes()).unwrap();
            let their_public = K::PublicKey::from_bytes(pair.public.as_bytes()).unwrap();
            assert_eq!(K::sk_to_pk(&their_private).to_bytes().as_slice(), pair.public.as_bytes(), "{place}");
            let (_, their_derived) = K::derive_keypair(pair.private.as_bytes());
            let derived = suite.derive_key_pair(&pair.private.0).unwrap();
            assert_eq!(their_derived.to_bytes().as_slice(), derived.public.as_bytes(), "{place}");

            let plaintext = vec![round; 100 * usize::from(round)];
            let info = [label_header("UpdatePathNode", b"context"), b"context".to_vec()].concat();

            let sealed = suite
                .encrypt_with_label(&pair.public, "UpdatePathNode", b"context", &plaintext, &mut rng)
                .unwrap();
            let enc = K::EncappedKey::from_bytes(sealed.kem_output.as_bytes()).unwrap();
            let mut theirs = setup_receiver::<A, D, K>(&OpModeR::Base, &their_private, &enc, &info).unwrap();
            assert_eq!(theirs.open(&sealed.ciphertext, b"").unwrap(), plaintext, "{place}");

            let (enc, mut theirs) =
                setup_sender_with_rng::<A, D, K>(&OpModeS::Base, &their_public, &info, &mut rng).unwrap();
            let sealed = HpkeCiphertext {
                kem_output: enc.to_bytes().as_slice().into(),
                ciphertext: theirs.seal(&plaintext, b"").unwrap(),
            };
            let opened = suite
                .decrypt_with_label(&pair.private, &pair.public, "UpdatePathNode", b"context", &sealed)
                .unwrap();
            assert_eq!(opened.as_bytes(), plaintext, "{place}");

            let (kem_output, ours) =
                suite.hpke_export_sender(&pair.public, b"exporter context", suite.nh(), &mut rng).unwrap();
            let enc = K::EncappedKey::from_bytes(kem_output.as_bytes()).unwrap();
            let receiver = setup_receiver::<A, D, K>(&OpModeR::Base, &their_private, &enc, b"").unwrap();
            let mut exported = vec![0; suite.nh()];
            receiver.export(b"exporter context", &mut exported).unwrap();
            assert_eq!(ours.as_bytes(), exported, "{place}");
            let received =
                suite.hpke_export_receiver(&pair, &kem_output, b"exporter context", suite.nh()).unwrap();
            assert_eq!(received.as_bytes(), exported, "{place}");
        }
    }
}

#[test]
fn same_as_the_hpke_crate() {
    differential::<AesGcm128, HkdfSha256, X25519HkdfSha256>(CipherSuite::X25519_AES128);
    differential::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(CipherSuite::X25519_CHACHA20);
    differential::<AesGcm128, HkdfSha256, DhP256HkdfSha256>(CipherSuite::P256_AES128);
    differential::<AesGcm256, HkdfSha384, DhP384HkdfSha384>(CipherSuite::P384_AES256);
    differential::<AesGcm256, HkdfSha512, DhP521HkdfSha512>(CipherSuite::P521_AES256);
}

#[test]
fn sealed_with_one_provider_opened_with_another() {
    for sealer in suites() {
        for opener in suites().filter(|opener| *opener == sealer) {
            let pair = opener.generate_key_pair(&mut rng(1)).unwrap();
            let sealed = sealer
                .encrypt_with_label(&pair.public, "label", b"context", b"plaintext", &mut rng(2))
                .unwrap();
            let opened = opener.decrypt_with_label(&pair.private, &pair.public, "label", b"context", &sealed);
            assert_eq!(opened.unwrap().as_bytes(), b"plaintext", "{sealer:?} {opener:?}");
            let pair = SignatureKeyPair::generate(&sealer, &mut rng(3)).unwrap();
            let signature = sealer.sign_with_label(pair.private(), "label", b"content").unwrap();
            assert_eq!(opener.verify_with_label(pair.public(), "label", b"content", &signature), Ok(()));
        }
    }
}

#[test]
fn every_part_is_authenticated() {
    for suite in suites() {
        let pair = suite.generate_key_pair(&mut rng(1)).unwrap();
        let other = suite.generate_key_pair(&mut rng(2)).unwrap();
        let sealed =
            suite.encrypt_with_label(&pair.public, "label", b"context", b"text", &mut rng(3)).unwrap();
        let open = |pair: &HpkeKeyPair, label, context: &[u8], sealed: &HpkeCiphertext| {
            suite.decrypt_with_label(&pair.private, &pair.public, label, context, sealed)
        };
        assert!(open(&pair, "label", b"context", &sealed).is_ok(), "{suite:?}");
        assert_eq!(open(&pair, "other", b"context", &sealed), Err(CryptoError::InvalidCiphertext));
        assert_eq!(open(&pair, "label", b"other", &sealed), Err(CryptoError::InvalidCiphertext));
        assert_eq!(open(&other, "label", b"context", &sealed), Err(CryptoError::InvalidCiphertext));
        for position in 0..sealed.ciphertext.len() {
            let mut damaged = sealed.clone();
            damaged.ciphertext[position] ^= 0x80;
            assert_eq!(open(&pair, "label", b"context", &damaged), Err(CryptoError::InvalidCiphertext));
        }
        // Another encapsulated key. Of X25519's, some bits don't matter to the Diffie-Hellman, but all do to its hash.
        for position in 0..sealed.kem_output.as_bytes().len() {
            let mut kem_output = sealed.kem_output.as_bytes().to_vec();
            kem_output[position] ^= 0x80;
            let damaged = HpkeCiphertext { kem_output: kem_output.into(), ..sealed.clone() };
            assert!(open(&pair, "label", b"context", &damaged).is_err(), "{suite:?} {position}");
        }
        for length in 0..sealed.to_bytes().len().min(80) {
            let kem_output = vec![7; length].into();
            assert!(
                open(&pair, "label", b"context", &HpkeCiphertext { kem_output, ..sealed.clone() }).is_err()
            );
            let ciphertext = sealed.ciphertext[..length.min(sealed.ciphertext.len() - 1)].to_vec();
            assert!(
                open(&pair, "label", b"context", &HpkeCiphertext { ciphertext, ..sealed.clone() }).is_err()
            );
        }
    }
}

/// Providers refuse it already; one of the caller's own might not.
#[test]
fn an_all_zero_result_is_refused_whoever_computed_it() {
    for suite in suites() {
        let zero = Secret::zero(suite.curve.private_key_length());
        let context = suite.context(&zero, b"enc", b"receiver", &suite.key_schedule_context(&[]));
        assert_eq!(context.err().unwrap(), CryptoError::InvalidSharedSecret, "{suite:?}");
    }
}

#[test]
fn unusable_public_keys_are_refused() {
    for suite in suites() {
        let pair = suite.generate_key_pair(&mut rng(1)).unwrap();
        let seal = |public: Vec<u8>| suite.encrypt_with_label(&public.into(), "label", b"", b"", &mut rng(2));
        let export = |public: Vec<u8>| suite.hpke_export_sender(&public.into(), b"", 32, &mut rng(2));
        let length = pair.public.as_bytes().len();
        for public in [vec![], vec![0], vec![0; length - 1], vec![0; length + 1]] {
            assert_eq!(seal(public.clone()).err(), Some(CryptoError::InvalidKey), "{suite:?}");
            assert_eq!(export(public).err(), Some(CryptoError::InvalidKey), "{suite:?}");
        }
        // X25519 takes every string of 32 bytes, but zero has order 2.
        let expected = if suite.curve == Curve::X25519 {
            CryptoError::InvalidSharedSecret
        } else {
            CryptoError::InvalidKey
        };
        assert_eq!(seal(vec![0; length]).err(), Some(expected), "{suite:?}");
        assert_eq!(export(vec![0; length]).err(), Some(expected), "{suite:?}");
        let kem_output = vec![0; length].into();
        assert_eq!(
            suite.hpke_export_receiver(&pair, &kem_output, b"", 32).err(),
            Some(expected),
            "{suite:?}"
        );
        if suite.curve != Curve::X25519 {
            let mut off_curve = pair.public.as_bytes().to_vec();
            off_curve[length - 1] ^= 1;
            assert_eq!(seal(off_curve).err(), Some(CryptoError::InvalidKey), "{suite:?}");
        }
    }
}
