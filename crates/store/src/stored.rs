//! Key packages as they are stored.

use dmls::crypto::{KeyPackageRef, Secret};
use dmls::{CipherSuite, OwnKeyPackage, Provider, Suite, Unsupported};
use zeroize::Zeroizing;

use crate::error::Error;

/// How often a key package is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// For one Welcome: its private keys are erased by the transaction that joins.
    Once,
    /// For any number: when those for one use have run out (RFC 9420 s16.8). Its Welcomes can be opened as long as it is kept.
    LastResort,
}

/// A key package of ours.
#[derive(Debug)]
pub struct StoredKeyPackage {
    /// With its private keys: for [`dmls::Group::join`].
    pub own: OwnKeyPackage,
    /// How often it is used.
    pub usage: Use,
    /// Its name.
    pub reference: KeyPackageRef,
}

impl StoredKeyPackage {
    /// `usage[1] || cipher suite[2] || OwnKeyPackage`
    pub(crate) fn to_secret(own: &OwnKeyPackage, suite: &Suite, usage: Use) -> Secret {
        let usage = match usage {
            Use::Once => 0,
            Use::LastResort => 1,
        };
        let own = own.to_secret();
        let mut bytes = Zeroizing::new(Vec::with_capacity(3 + own.len()));
        bytes.push(usage);
        bytes.extend_from_slice(&suite.code().0.to_be_bytes());
        bytes.extend_from_slice(own.as_bytes());
        Secret::new(std::mem::take(&mut *bytes))
    }

    pub(crate) fn from_secret(provider: Provider, stored: &Secret) -> Result<Self, Error> {
        const DAMAGED: Error = Error::Damaged("a key package");
        let (usage, rest) = stored.as_bytes().split_first().ok_or(DAMAGED)?;
        let (code, own) = rest.split_first_chunk().ok_or(DAMAGED)?;
        let usage = match usage {
            0 => Use::Once,
            1 => Use::LastResort,
            _ => return Err(DAMAGED),
        };
        let code = CipherSuite(u16::from_be_bytes(*code));
        let unsupported = || dmls::Error::Unsupported(Unsupported::CipherSuite(code));
        let suite = provider.suite(code).ok_or_else(unsupported)?;
        let own = OwnKeyPackage::from_secret(&suite, &Secret::new(own.to_vec()))?;
        let reference = own.reference(&suite);
        Ok(Self { own, usage, reference })
    }
}
