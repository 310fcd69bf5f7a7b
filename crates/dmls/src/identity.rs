//! A client's own keys: its identity, and the key packages that it publishes.

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::credential::Credential;
use crate::crypto::{HpkePrivateKey, KeyPackageRef, Secret, Signature, SignatureKeyPair, Suite};
use crate::extension::{Capabilities, Extensions};
use crate::framing::MlsMessage;
use crate::key_package::KeyPackage;
use crate::registry::{CredentialType, ExtensionType, ProtocolVersion};
use crate::time::Lifetime;
use crate::tree::{LeafIndex, LeafNode, LeafNodeSource, LeafPlace};
use crate::{Error, RecordsError};

/// Who a client is in one suite: credential, signature key, what it supports.
#[derive(Clone)]
pub struct Identity {
    suite: Suite,
    credential: Credential,
    signer: Arc<SignatureKeyPair>,
    capabilities: Capabilities,
    extensions: Extensions,
}

impl Identity {
    /// A fresh signature key for a credential. Its capabilities are greased (RFC 9420 s13.5).
    pub fn generate(suite: Suite, credential: Credential, rng: &mut dyn CryptoRng) -> Result<Self, Error> {
        let mut identity = Self::new(suite, credential, SignatureKeyPair::generate(&suite, rng)?);
        identity.capabilities = identity.capabilities.with_grease(rng);
        Ok(identity)
    }

    /// From a signature key that exists. It supports what this library supports.
    pub fn new(suite: Suite, credential: Credential, signer: SignatureKeyPair) -> Self {
        let mut credentials = vec![CredentialType::BASIC, CredentialType::X509];
        if !credentials.contains(&credential.credential_type()) {
            credentials.push(credential.credential_type());
        }
        let capabilities = Capabilities {
            versions: vec![ProtocolVersion::MLS10],
            cipher_suites: vec![suite.code()],
            extensions: vec![ExtensionType::DMLS, ExtensionType::RULESET, ExtensionType::HOME_ATTESTATION],
            proposals: Vec::new(),
            credentials,
        };
        Self { suite, credential, signer: Arc::new(signer), capabilities, extensions: Extensions::new() }
    }

    /// Replaces what it says that it supports. Without [`ExtensionType::DMLS`] it can only join groups that don't have
    /// the extension of R9.
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Leaves out the extensions of R9 and R16, to take part in groups of the bare draft and of RFC 9420.
    pub fn without_dmls(mut self) -> Self {
        let left_out = [ExtensionType::DMLS, ExtensionType::RULESET];
        self.capabilities.extensions.retain(|extension| !left_out.contains(extension));
        self
    }

    /// Adds extensions to its leaves. Types that are not default must be in its capabilities.
    pub fn with_extensions(mut self, extensions: Extensions) -> Self {
        self.extensions = extensions;
        self
    }

    /// The suite.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// The credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The signature key pair.
    pub fn signer(&self) -> &Arc<SignatureKeyPair> {
        &self.signer
    }

    /// A leaf with everything but keys, source and signature.
    pub(crate) fn leaf_template(&self) -> LeafNode {
        LeafNode {
            encryption_key: Default::default(),
            signature_key: self.signer.public().clone(),
            credential: self.credential.clone(),
            capabilities: self.capabilities.clone(),
            source: LeafNodeSource::Update,
            extensions: self.extensions.clone(),
            signature: Signature::default(),
        }
    }

    /// A signed leaf of a given source, valid at any place only for a KeyPackage.
    pub(crate) fn key_package_leaf(
        &self,
        lifetime: Lifetime,
        rng: &mut dyn CryptoRng,
    ) -> Result<(LeafNode, HpkePrivateKey), Error> {
        let pair = self.suite.generate_key_pair(rng)?;
        let mut leaf = self.leaf_template();
        leaf.encryption_key = pair.public;
        leaf.source = LeafNodeSource::KeyPackage(lifetime);
        leaf.sign(&self.suite, self.signer.private(), LeafPlace { group_id: &[], leaf: LeafIndex(0) })?;
        Ok((leaf, pair.private))
    }

    /// Makes a key package (RFC 9420 s10). Store it before publishing it: without its private keys its Welcome is lost.
    pub fn key_package(&self, lifetime: Lifetime, rng: &mut dyn CryptoRng) -> Result<OwnKeyPackage, Error> {
        let init = self.suite.generate_key_pair(rng)?;
        let (leaf_node, encryption_private) = self.key_package_leaf(lifetime, rng)?;
        let mut key_package = KeyPackage {
            version: ProtocolVersion::MLS10,
            cipher_suite: self.suite.code(),
            init_key: init.public,
            extensions: leaf_node.capabilities.grease_extensions(rng),
            leaf_node,
            signature: Signature::default(),
        };
        key_package.sign(&self.suite, self.signer.private())?;
        Ok(OwnKeyPackage {
            key_package,
            init_private: init.private,
            encryption_private,
            signer: self.signer.clone(),
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("suite", &self.suite)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

/// A key package of ours with its private keys. Use it for one Welcome and delete it.
pub struct OwnKeyPackage {
    pub(crate) key_package: KeyPackage,
    pub(crate) init_private: HpkePrivateKey,
    pub(crate) encryption_private: HpkePrivateKey,
    pub(crate) signer: Arc<SignatureKeyPair>,
}

impl OwnKeyPackage {
    /// From parts made elsewhere; the private keys must belong to the key package.
    pub fn from_parts(
        suite: &Suite,
        key_package: KeyPackage,
        init_private: Secret,
        encryption_private: Secret,
        signer: SignatureKeyPair,
    ) -> Result<Self, Error> {
        let init = suite.key_pair(init_private)?;
        let encryption = suite.key_pair(encryption_private)?;
        let leaf = &key_package.leaf_node;
        if init.public != key_package.init_key
            || encryption.public != leaf.encryption_key
            || *signer.public() != leaf.signature_key
        {
            return Err(RecordsError::Inconsistent("a key package and its private keys").into());
        }
        Ok(Self {
            key_package,
            init_private: init.private,
            encryption_private: encryption.private,
            signer: Arc::new(signer),
        })
    }

    /// The public part.
    pub fn key_package(&self) -> &KeyPackage {
        &self.key_package
    }

    /// What is published: MLSMessage(KeyPackage).
    pub fn message(&self) -> Vec<u8> {
        MlsMessage::KeyPackage(Box::new(self.key_package.clone())).to_bytes()
    }

    /// The name under which a Welcome refers to it.
    pub fn reference(&self, suite: &Suite) -> KeyPackageRef {
        self.key_package.reference(suite)
    }

    /// For storage. Secret: erase what you don't need any more.
    pub fn to_secret(&self) -> Secret {
        let private = self.signer.private();
        Secret::encoding(&[&self.key_package, &self.init_private, &self.encryption_private, private])
    }

    /// From storage.
    pub fn from_secret(suite: &Suite, stored: &Secret) -> Result<Self, Error> {
        let (key_package, init, encryption, signer) =
            Self::decode_parts(stored.as_bytes()).map_err(|e| RecordsError::Malformed("a key package", e))?;
        let signer = SignatureKeyPair::from_private(suite, signer)?;
        Self::from_parts(suite, key_package, init, encryption, signer)
    }

    fn decode_parts(bytes: &[u8]) -> Result<(KeyPackage, Secret, Secret, Secret), DecodeError> {
        let mut r = Reader::new(bytes);
        let parts = (
            Decode::decode(&mut r)?,
            Decode::decode(&mut r)?,
            Decode::decode(&mut r)?,
            Decode::decode(&mut r)?,
        );
        r.finish()?;
        Ok(parts)
    }
}

impl fmt::Debug for OwnKeyPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKeyPackage").field("key_package", &self.key_package).finish_non_exhaustive()
    }
}
