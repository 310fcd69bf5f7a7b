//! Key packages (RFC 9420 s10).

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::credential::{AuthenticationService, Operation};
use crate::crypto::{CryptoError, HpkePublicKey, KeyPackageRef, Signature, SignaturePrivateKey, Suite};
use crate::error::{Error, Rule};
use crate::extension::Extensions;
use crate::registry::{CipherSuite, ProtocolVersion, WireFormat};
use crate::tree::{Judge, LeafNode, LeafValidator, ValidLeaf};

/// What someone publishes so that others can add it to a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPackage {
    /// mls10.
    pub version: ProtocolVersion,
    /// The suite of the group that it can be added to.
    pub cipher_suite: CipherSuite,
    /// Encrypts the Welcome; used once.
    pub init_key: HpkePublicKey,
    /// The leaf that will stand in the tree.
    pub leaf_node: LeafNode,
    /// More about it.
    pub extensions: Extensions,
    /// Over all of the above, by the leaf's signature key.
    pub signature: Signature,
}

wire_struct!(KeyPackage { version, cipher_suite, init_key, leaf_node, extensions, signature });

/// A key package that was judged valid: what of it enters the tree, and what its Welcome needs.
pub(crate) struct ValidKeyPackage<'a> {
    pub leaf: ValidLeaf<'a>,
    pub recipient: Recipient,
}

/// Whom a Welcome is for.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    pub init_key: HpkePublicKey,
    pub reference: KeyPackageRef,
}

impl KeyPackage {
    /// KeyPackageTBS.
    fn to_be_signed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.version.encode(&mut out);
        self.cipher_suite.encode(&mut out);
        self.init_key.encode(&mut out);
        self.leaf_node.encode(&mut out);
        self.extensions.encode(&mut out);
        out
    }

    pub(crate) fn sign(&mut self, suite: &Suite, key: &SignaturePrivateKey) -> Result<(), CryptoError> {
        self.signature = suite.sign_with_label(key, "KeyPackageTBS", &self.to_be_signed())?;
        Ok(())
    }

    pub(crate) fn verify_signature(&self, suite: &Suite) -> Result<(), CryptoError> {
        suite.verify_with_label(
            &self.leaf_node.signature_key,
            "KeyPackageTBS",
            &self.to_be_signed(),
            &self.signature,
        )
    }

    /// From an MLSMessage, as it is published. Nothing but its form is judged: that is done for the group that it is added to.
    pub fn from_message(message: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(message);
        if ProtocolVersion::decode(&mut r)? != ProtocolVersion::MLS10 {
            return Err(DecodeError::at(0, "protocol version 1 (mls10)").into());
        }
        let start = r.position();
        if WireFormat::decode(&mut r)? != WireFormat::KEY_PACKAGE {
            return Err(DecodeError::at(start, "wire format 5 (mls_key_package)").into());
        }
        let key_package = Self::decode(&mut r)?;
        r.finish()?;
        // s10: "MUST verify that the `version` field of the KeyPackage has the same value".
        if key_package.version != ProtocolVersion::MLS10 {
            return Err(Rule::KeyPackageVersion.into());
        }
        Ok(key_package)
    }

    /// Judges a key package, downloaded or in an Add proposal (RFC 9420 s10.1).
    pub(crate) fn validate(
        &self,
        validator: &LeafValidator<'_>,
        operation: Operation,
    ) -> Result<ValidKeyPackage<'_>, Rule> {
        let leaf = &self.leaf_node;
        if self.version != ProtocolVersion::MLS10 || self.cipher_suite != validator.suite.code() {
            return Err(Rule::KeyPackageVersion);
        }
        if leaf.encryption_key == self.init_key {
            return Err(Rule::KeyPackageInitKey);
        }
        // s10 asks this of the creator; s10.1 does not ask it of receivers.
        if validator.judge != Judge::Received && !leaf.capabilities.support_all(&self.extensions) {
            return Err(Rule::KeyPackageExtensions);
        }
        validator.suite.check_hpke_public_key(&self.init_key).map_err(|_| Rule::KeyPackageInitKeyForm)?;
        let leaf = validator.key_package_leaf(leaf, operation)?;
        self.verify_signature(validator.suite).map_err(|_| Rule::KeyPackageSignature)?;
        let reference = self.reference(validator.suite);
        Ok(ValidKeyPackage { leaf, recipient: Recipient { init_key: self.init_key.clone(), reference } })
    }

    /// Judges one that came from anybody, for no group in particular: that its owner signed it, and that nothing in it is void (RFC 9420 s10.1). Who
    /// keeps key packages for later should not keep others. Whether it fits a group, and is valid at the time, is judged when it is added.
    /// `max_lifetime` and `auth` are those of [`crate::Config`].
    pub fn check(
        &self,
        suite: &Suite,
        max_lifetime: u64,
        auth: &dyn AuthenticationService,
    ) -> Result<(), Error> {
        let (group_id, extensions) = (&[][..], &Extensions::new());
        let judge = Judge::Received;
        let validator = LeafValidator { suite, group_id, extensions, judge, max_lifetime, auth };
        self.validate(&validator, Operation::Add)?;
        Ok(())
    }

    /// The name under which a Welcome refers to it.
    pub fn reference(&self, suite: &Suite) -> KeyPackageRef {
        suite.key_package_ref(&self.to_bytes())
    }
}
