//! Leaf: which server speaks for it (DESIGN s3.4, R17; private use). The core only reads and writes it: delivery services judge
//! it when they take a message and when they vote, never when they learn of one.

use crate::codec::{Encode, wire_struct};
use crate::crypto::{CryptoError, Signature, SignaturePrivateKey, SignaturePublicKey, Suite};
use crate::registry::ExtensionType;

use super::ExtensionContent;

/// A server says that a signature key is of a device of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HomeAttestation {
    /// The server.
    pub server_id: Vec<u8>,
    /// The device, as the server knows it.
    pub device_id: Vec<u8>,
    /// Of the server, over both and the leaf's signature_key.
    pub signature: Signature,
}

wire_struct!(HomeAttestation { server_id, device_id, signature });

impl ExtensionContent for HomeAttestation {
    const TYPE: ExtensionType = ExtensionType::HOME_ATTESTATION;
}

const LABEL: &str = "DMLSHomeAttestation";

/// What the server signs: `opaque server_id<V>; opaque device_id<V>; opaque signature_key<V>`.
fn to_be_signed(server_id: &[u8], device_id: &[u8], signature_key: &SignaturePublicKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    server_id.encode(&mut out);
    device_id.encode(&mut out);
    signature_key.encode(&mut out);
    out
}

impl HomeAttestation {
    /// Made by the server, for a leaf with this signature key: SignWithLabel(., "DMLSHomeAttestation", .) of RFC 9420 s5.1.2 with
    /// the scheme of the suite.
    pub fn sign(
        suite: &Suite,
        server: &SignaturePrivateKey,
        server_id: Vec<u8>,
        device_id: Vec<u8>,
        signature_key: &SignaturePublicKey,
    ) -> Result<Self, CryptoError> {
        let signed = to_be_signed(&server_id, &device_id, signature_key);
        let signature = suite.sign_with_label(server, LABEL, &signed)?;
        Ok(Self { server_id, device_id, signature })
    }

    /// Whether the server with this key made it for a leaf with this signature key.
    pub fn verify(
        &self,
        suite: &Suite,
        server: &SignaturePublicKey,
        signature_key: &SignaturePublicKey,
    ) -> Result<(), CryptoError> {
        let signed = to_be_signed(&self.server_id, &self.device_id, signature_key);
        suite.verify_with_label(server, LABEL, &signed, &self.signature)
    }
}
