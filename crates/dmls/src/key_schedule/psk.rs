//! Pre-shared keys in the key schedule (RFC 9420 s8.4).

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::crypto::{Secret, Suite, secret_type};
use crate::error::Rule;

/// Names a pre-shared key, once (RFC 9420 s8.4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PreSharedKeyId {
    /// Which key.
    pub psk: Psk,
    /// Random, Nh bytes.
    pub psk_nonce: Vec<u8>,
}

wire_struct!(PreSharedKeyId { psk, psk_nonce });

/// Which pre-shared key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Psk {
    /// One that the application gave to its members.
    External(Vec<u8>),
    /// The resumption_psk of an earlier epoch.
    Resumption {
        /// What for.
        usage: ResumptionPskUsage,
        /// Of which group.
        group_id: Vec<u8>,
        /// Of which epoch: on the branch of the epoch in which it is used (DESIGN s3.4, R11).
        epoch: u64,
    },
}

impl Encode for Psk {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::External(id) => {
                out.push(1);
                id.encode(out);
            }
            Self::Resumption { usage, group_id, epoch } => {
                out.push(2);
                usage.encode(out);
                group_id.encode(out);
                epoch.encode(out);
            }
        }
    }
}

impl Decode for Psk {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => Vec::decode(r).map(Self::External),
            2 => Ok(Self::Resumption {
                usage: Decode::decode(r)?,
                group_id: Decode::decode(r)?,
                epoch: Decode::decode(r)?,
            }),
            _ => Err(DecodeError::at(start, "psk type 1 (external) or 2 (resumption)")),
        }
    }
}

/// What a resumption psk is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ResumptionPskUsage {
    /// Any use by the application.
    Application,
    /// The successor of a group that was ended.
    ReInit,
    /// A subgroup.
    Branch,
}

impl Encode for ResumptionPskUsage {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Application => 1,
            Self::ReInit => 2,
            Self::Branch => 3,
        });
    }
}

impl Decode for ResumptionPskUsage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => Ok(Self::Application),
            2 => Ok(Self::ReInit),
            3 => Ok(Self::Branch),
            _ => Err(DecodeError::at(start, "resumption psk usage 1, 2 or 3")),
        }
    }
}

secret_type! {
    /// All pre-shared keys of a commit, combined.
    pub(crate) struct PskSecret;
}

/// A pre-shared key with its name.
#[derive(Debug)]
pub(crate) struct ResolvedPsk {
    pub id: PreSharedKeyId,
    pub secret: Secret,
}

impl PskSecret {
    /// ```text
    /// psk_extracted_[i] = KDF.Extract(0, psk_[i])
    /// psk_input_[i] = ExpandWithLabel(psk_extracted_[i], "derived psk", PSKLabel, KDF.Nh)
    /// psk_secret_[0] = 0;  psk_secret_[i] = KDF.Extract(psk_input_[i-1], psk_secret_[i-1])
    /// ```
    ///
    /// PSKLabel holds the id, the place as uint16 and the count as uint16. Without keys the result is zero.
    pub(crate) fn derive(suite: &Suite, psks: &[ResolvedPsk]) -> Self {
        let zero = Secret::zero(suite.nh());
        let mut secret = Secret::zero(suite.nh());
        for (index, psk) in psks.iter().enumerate() {
            let extracted = suite.extract(&zero, &psk.secret);
            let mut label = psk.id.to_bytes();
            (index as u16).encode(&mut label);
            (psks.len() as u16).encode(&mut label);
            let input = suite.expand_with_label(&extracted, "derived psk", &label, suite.nh());
            secret = suite.extract(&input, &secret);
        }
        Self(secret)
    }
}

/// Where the members of an epoch find pre-shared keys.
#[derive(Clone, Copy)]
pub(crate) struct PskLookup<'a>(pub &'a dyn Fn(&PreSharedKeyId) -> Option<Secret>);

impl PskLookup<'_> {
    /// The combined secret of all keys in a commit or a Welcome, in their order.
    pub(crate) fn psk_secret(&self, suite: &Suite, ids: &[PreSharedKeyId]) -> Result<PskSecret, Rule> {
        // PSKLabel counts them in 16 bits.
        if ids.len() > usize::from(u16::MAX) {
            return Err(Rule::PskCount);
        }
        let resolve = |id: &PreSharedKeyId| Some(ResolvedPsk { id: id.clone(), secret: (self.0)(id)? });
        let psks: Option<Vec<_>> = ids.iter().map(resolve).collect();
        Ok(PskSecret::derive(suite, &psks.ok_or(Rule::PskUnknown)?))
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rustcrypto")))]
mod tests {
    use super::*;
    use crate::{CipherSuite, Provider};

    #[test]
    fn no_more_keys_than_the_label_can_count() {
        let suite = Provider::default().suite(CipherSuite::X25519_AES128).unwrap();
        let lookup = PskLookup(&|_| None);
        let id = PreSharedKeyId { psk: Psk::External(Vec::new()), psk_nonce: Vec::new() };
        let many = vec![id; 1 << 16];
        assert_eq!(lookup.psk_secret(&suite, &many).unwrap_err(), Rule::PskCount);
        assert_eq!(lookup.psk_secret(&suite, &many[1..]).unwrap_err(), Rule::PskUnknown);
    }
}
