//! Welcome (RFC 9420 s12.4.3.1): an invitation for those whom a commit adds.

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::crypto::{CryptoError, HpkeCiphertext, KeyPackageRef, Secret, Suite};
use crate::key_schedule::{JoinerSecret, WelcomeSecret};
use crate::registry::CipherSuite;

use super::{GroupInfo, PreSharedKeyId};

/// An invitation for one or more new members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The group's suite.
    pub cipher_suite: CipherSuite,
    /// One entry for each new member.
    pub secrets: Vec<EncryptedGroupSecrets>,
    /// The GroupInfo, for all of them.
    pub encrypted_group_info: Vec<u8>,
}

wire_struct!(Welcome { cipher_suite, secrets, encrypted_group_info });

/// The group secrets for one new member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncryptedGroupSecrets {
    /// Whose.
    pub new_member: KeyPackageRef,
    /// Encrypted to the KeyPackage's init_key.
    pub encrypted_group_secrets: HpkeCiphertext,
}

wire_struct!(EncryptedGroupSecrets { new_member, encrypted_group_secrets });

/// What a new member needs besides the GroupInfo.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct GroupSecrets {
    pub joiner_secret: JoinerSecret,
    pub path_secret: Option<Secret>,
    pub psks: Vec<PreSharedKeyId>,
}

wire_struct!(GroupSecrets { joiner_secret, path_secret, psks });

impl GroupSecrets {
    /// The encoding, as a secret of its own.
    pub(crate) fn to_secret(&self) -> Secret {
        Secret::encoding(&[self])
    }
}

/// The key and nonce of `encrypted_group_info`.
pub(crate) struct WelcomeKeys {
    key: Secret,
    nonce: [u8; 12],
}

impl WelcomeKeys {
    /// `welcome_nonce = ExpandWithLabel(welcome_secret, "nonce", "", Nn)`, `welcome_key` likewise.
    pub(crate) fn derive(suite: &Suite, secret: &WelcomeSecret) -> Result<Self, CryptoError> {
        let nonce = suite.expand_with_label(&secret.0, "nonce", &[], suite.nn());
        Ok(Self {
            key: suite.expand_with_label(&secret.0, "key", &[], suite.nk()),
            nonce: nonce.as_bytes().try_into().map_err(|_| CryptoError::Provider)?,
        })
    }

    pub(crate) fn seal(&self, suite: &Suite, group_info: &GroupInfo) -> Result<Vec<u8>, CryptoError> {
        suite.aead_seal(&self.key, &self.nonce, &[], &group_info.to_bytes())
    }

    pub(crate) fn open(&self, suite: &Suite, encrypted: &[u8]) -> Result<Secret, CryptoError> {
        suite.aead_open(&self.key, &self.nonce, &[], encrypted)
    }
}

impl GroupInfo {
    /// Decodes what [`WelcomeKeys::open`] gave.
    pub(crate) fn from_secret(plaintext: &Secret) -> Result<Self, DecodeError> {
        let mut r = Reader::new(plaintext.as_bytes());
        let group_info = Self::decode(&mut r)?;
        r.finish()?;
        Ok(group_info)
    }
}
