//! Which server speaks for a leaf (DESIGN s3.4, R17), as servers read it.
//!
//! The core's attestation names its server by bytes. Here they are
//!
//! ```text
//! uint32 number;      in the roster
//! opaque key<V>;      SignaturePublicKey, by which this very attestation is verified
//! ```
//!
//! and its device by the 32 bytes of its name.

use dmls::Suite;
use dmls::codec::{Decode, Encode};
use dmls::crypto::{CryptoError, SignaturePrivateKey, SignaturePublicKey};
use dmls::extension::HomeAttestation;

use super::invalid::HomeRule;
use crate::codec::record;
use crate::ids::{Device, ServerId};

/// A server as leaves name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its number in the roster.
    pub server: ServerId,
    /// The key by which it attests, in the scheme of the group's suite. It is as old as the number: another key takes another number.
    pub key: SignaturePublicKey,
}

record!(Home { server, key });

impl Home {
    /// Attests that a signature key is of a device of this server. `private` belongs to [`Home::key`].
    pub fn attest(
        &self,
        suite: &Suite,
        private: &SignaturePrivateKey,
        device: Device,
        signature_key: &SignaturePublicKey,
    ) -> Result<HomeAttestation, CryptoError> {
        HomeAttestation::sign(suite, private, self.to_bytes(), device.0.to_vec(), signature_key)
    }

    /// What a leaf says, not verified yet.
    pub(super) fn read(attestation: &HomeAttestation) -> Result<(Self, Device), HomeRule> {
        let home = Self::from_bytes(&attestation.server_id).map_err(|_| HomeRule::Malformed)?;
        let device = attestation.device_id[..].try_into().map_err(|_| HomeRule::Malformed)?;
        Ok((home, Device(device)))
    }
}
