//! Cryptographic objects, codec, secret tree and PPRF.

use rand_core::CryptoRng;
use serde_json::Value;

use super::{At, Outcome, array, bytes, equal, field, integer, same, text};
use crate::codec::{Reader, decode_length, encode_length};
use crate::crypto::{
    HpkeCiphertext, HpkePrivateKey, HpkePublicKey, Secret, Signature, SignaturePrivateKey, Suite,
};
use crate::framing::sender_data_keys;
use crate::key_schedule::SenderDataSecret;
use crate::pprf::{Pprf, PprfError};
use crate::secret_tree::{MessageKey, RatchetKind, RatchetLimits, SecretTree, SecretTreeError};
use crate::tree::LeafIndex;

/// One case of `crypto-basics.json`.
pub fn crypto_basics(suite: &Suite, case: &Value, rng: &mut dyn CryptoRng) -> Outcome {
    derivations(suite, case)?;
    sign_with_label(suite, field(case, "sign_with_label")?).at("sign_with_label")?;
    encrypt_with_label(suite, field(case, "encrypt_with_label")?, rng).at("encrypt_with_label")
}

fn derivations(suite: &Suite, case: &Value) -> Outcome {
    let part = field(case, "ref_hash")?;
    same("ref_hash", &suite.ref_hash(text(part, "label")?, &bytes(part, "value")?), &bytes(part, "out")?)?;

    let part = field(case, "expand_with_label")?;
    let context = bytes(part, "context")?;
    let out =
        suite.expand_with_label(&secret(part)?, text(part, "label")?, &context, integer(part, "length")?);
    same("expand_with_label", out.as_bytes(), &bytes(part, "out")?)?;

    let part = field(case, "derive_secret")?;
    let out = suite.derive_secret(&secret(part)?, text(part, "label")?);
    same("derive_secret", out.as_bytes(), &bytes(part, "out")?)?;

    let part = field(case, "derive_tree_secret")?;
    let (generation, length) = (integer(part, "generation")?, integer(part, "length")?);
    let out = suite.derive_tree_secret(&secret(part)?, text(part, "label")?, generation, length);
    same("derive_tree_secret", out.as_bytes(), &bytes(part, "out")?)
}

fn sign_with_label(suite: &Suite, part: &Value) -> Outcome {
    let private = SignaturePrivateKey::new(suite, Secret::new(bytes(part, "priv")?)).at("private key")?;
    let public = bytes(part, "pub")?.into();
    let (label, content) = (text(part, "label")?, bytes(part, "content")?);
    let given = Signature::from(bytes(part, "signature")?);
    suite.verify_with_label(&public, label, &content, &given).at("given signature")?;
    let own = suite.sign_with_label(&private, label, &content).at("signing")?;
    suite.verify_with_label(&public, label, &content, &own).at("own signature")
}

fn encrypt_with_label(suite: &Suite, part: &Value, rng: &mut dyn CryptoRng) -> Outcome {
    let private = HpkePrivateKey(Secret::new(bytes(part, "priv")?));
    let public = HpkePublicKey::from(bytes(part, "pub")?);
    let (label, context) = (text(part, "label")?, bytes(part, "context")?);
    let plaintext = bytes(part, "plaintext")?;
    let given = HpkeCiphertext {
        kem_output: bytes(part, "kem_output")?.into(),
        ciphertext: bytes(part, "ciphertext")?,
    };
    let opened =
        suite.decrypt_with_label(&private, &public, label, &context, &given).at("given ciphertext")?;
    same("plaintext", opened.as_bytes(), &plaintext)?;

    let own = suite.encrypt_with_label(&public, label, &context, &plaintext, rng).at("encrypting")?;
    let opened = suite.decrypt_with_label(&private, &public, label, &context, &own).at("own ciphertext")?;
    same("plaintext", opened.as_bytes(), &plaintext)
}

/// One case of `secret-tree.json`.
pub fn secret_tree(suite: &Suite, case: &Value) -> Outcome {
    let part = field(case, "sender_data")?;
    let sender_data_secret = SenderDataSecret(Secret::new(bytes(part, "sender_data_secret")?));
    let (key, nonce) =
        sender_data_keys(suite, &sender_data_secret, &bytes(part, "ciphertext")?).at("sender_data")?;
    same("sender_data.key", key.as_bytes(), &bytes(part, "key")?)?;
    same("sender_data.nonce", &nonce, &bytes(part, "nonce")?)?;

    let leaves = array(case, "leaves")?;
    let mut tree = SecretTree::new(Secret::new(bytes(case, "encryption_secret")?), leaves.len() as u32);
    for (leaf, generations) in (0..).map(LeafIndex).zip(leaves) {
        for generation in generations.as_array().into_iter().flatten() {
            leaf_keys(suite, &mut tree, leaf, generation).at(format_args!("leaf {}", leaf.0))?;
        }
    }
    Ok(())
}

fn leaf_keys(suite: &Suite, tree: &mut SecretTree, leaf: LeafIndex, case: &Value) -> Outcome {
    let generation = integer(case, "generation")?;
    let limits = RatchetLimits { max_forward: u32::MAX, max_kept: 1000 };
    for (kind, key_name, nonce_name) in [
        (RatchetKind::Handshake, "handshake_key", "handshake_nonce"),
        (RatchetKind::Application, "application_key", "application_nonce"),
    ] {
        let (MessageKey { key, nonce }, advance) =
            tree.key(suite, leaf, kind, generation, limits).at(format_args!("generation {generation}"))?;
        same(key_name, key.as_bytes(), &bytes(case, key_name)?)?;
        same(nonce_name, &*nonce, &bytes(case, nonce_name)?)?;
        tree.apply(advance);
        let again = tree.key(suite, leaf, kind, generation, limits);
        equal("the same key again", again.err(), Some(SecretTreeError::KeyUsed))?;
    }
    Ok(())
}

/// One case of `deserialization.json`.
pub fn deserialization(case: &Value) -> Outcome {
    let header = bytes(case, "vlbytes_header")?;
    let length: usize = integer(case, "length")?;
    let mut r = Reader::new(&header);
    equal("length", decode_length(&mut r).at("vlbytes_header")?, length)?;
    r.finish().at("vlbytes_header")?;

    let mut encoded = Vec::new();
    encode_length(length, &mut encoded);
    same("vlbytes_header", &encoded, &header)
}

/// One case of `dmls/pprf.json`: evaluations in order, each followed by its puncture. Where the output is `null`, the
/// input was punctured before.
pub fn pprf(suite: &Suite, case: &Value) -> Outcome {
    let mut pprf = Pprf::new(Secret::new(bytes(case, "root")?));
    for (number, evaluation) in array(case, "evaluations")?.iter().enumerate() {
        pprf_evaluation(suite, &mut pprf, evaluation).at(format_args!("evaluation {number}"))?;
    }
    Ok(())
}

fn pprf_evaluation(suite: &Suite, pprf: &mut Pprf, case: &Value) -> Outcome {
    let input = bytes(case, "input")?;
    if !field(case, "output")?.is_null() {
        let (output, puncture) = pprf.evaluate(suite, &input).at("output")?;
        same("output", output.as_bytes(), &bytes(case, "output")?)?;
        pprf.apply(puncture);
    }
    equal("the same input again", pprf.evaluate(suite, &input).err(), Some(PprfError::Punctured))?;
    equal("live_nodes", pprf.live_nodes(), integer(case, "live_nodes")?)
}

fn secret(part: &Value) -> Result<Secret, String> {
    bytes(part, "secret").map(Secret::new)
}
