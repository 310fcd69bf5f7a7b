//! A client's own keys: its identity, and the key packages that it publishes.

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::credential::Credential;
use crate::crypto::{HpkePrivateKey, KeyPackageRef, Provider, Secret, Signature, SignatureKeyPair, Suite};
use crate::error::{Rule, Unsupported};
use crate::extension::{Capabilities, Extensions};
use crate::framing::MlsMessage;
use crate::key_package::KeyPackage;
use crate::registry::{CipherSuite, CredentialType, ExtensionType, ProtocolVersion};
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
        // s7.2: "The client MUST list all values for the respective parameters that it supports."
        let capabilities = Capabilities {
            versions: vec![ProtocolVersion::MLS10],
            cipher_suites: suite.provider().suites().map(|suite| suite.code()).collect(),
            extensions: vec![ExtensionType::DMLS, ExtensionType::RULESET, ExtensionType::HOME_ATTESTATION],
            proposals: Vec::new(),
            credentials: vec![CredentialType::BASIC, CredentialType::X509],
        };
        Self { suite, credential, signer: Arc::new(signer), capabilities, extensions: Extensions::new() }
    }

    /// Replaces what it says that it supports. Default types are left out: they "MUST NOT be listed" (RFC 9420 s7.2). Without
    /// [`ExtensionType::DMLS`] it can only join groups that don't have the extension of R9.
    pub fn with_capabilities(mut self, mut capabilities: Capabilities) -> Self {
        capabilities.extensions.retain(|extension| !extension.is_default());
        capabilities.proposals.retain(|proposal| !proposal.is_default());
        self.capabilities = capabilities;
        self
    }

    /// The same client with another signature key and another credential, or the same; what it supports stays.
    /// [`crate::CommitBuilder::identity`] brings it into a group, in which its authentication service must take it for a successor.
    pub fn rotated(&self, credential: Credential, signer: SignatureKeyPair) -> Self {
        Self { credential, signer: Arc::new(signer), ..self.clone() }
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

    /// What it says that it supports.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The signature key pair.
    pub fn signer(&self) -> &Arc<SignatureKeyPair> {
        &self.signer
    }

    /// For storage. Secret: erase what you don't need any more.
    pub fn to_secret(&self) -> Secret {
        let (code, private) = (self.suite.code(), self.signer.private());
        Secret::encoding(&[&FORMAT, &code, &self.credential, &self.capabilities, &self.extensions, private])
    }

    /// From storage. The provider must have its suite.
    pub fn from_secret(provider: Provider, stored: &Secret) -> Result<Self, Error> {
        let malformed = |e| RecordsError::Malformed("an identity", e);
        let mut r = open_record(stored).map_err(malformed)?;
        let mut decode = || -> Result<_, DecodeError> {
            let parts = (
                CipherSuite::decode(&mut r)?,
                Credential::decode(&mut r)?,
                Capabilities::decode(&mut r)?,
                Extensions::decode(&mut r)?,
                Secret::decode(&mut r)?,
            );
            r.finish().map(|()| parts)
        };
        let (code, credential, capabilities, extensions, signer) = decode().map_err(malformed)?;
        let suite = provider.suite(code).ok_or(Unsupported::CipherSuite(code))?;
        let signer = Arc::new(SignatureKeyPair::from_private(&suite, signer)?);
        Ok(Self { suite, credential, signer, capabilities, extensions })
    }

    /// Who takes part in a group does so in its suite.
    pub(crate) fn check_suite(&self, group: &Suite) -> Result<(), Error> {
        if self.suite.code() != group.code() {
            return Err(Error::Refused(Rule::LeafSuite));
        }
        Ok(())
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

/// The format of stored identities and key packages: it stands in front.
const FORMAT: u16 = 1;

/// What stands behind the format.
fn open_record(stored: &Secret) -> Result<Reader<'_>, DecodeError> {
    let mut r = Reader::new(stored.as_bytes());
    match u16::decode(&mut r)? {
        FORMAT => Ok(r),
        _ => Err(DecodeError::at(0, "format 1")),
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
        Secret::encoding(&[&FORMAT, &self.key_package, &self.init_private, &self.encryption_private, private])
    }

    /// From storage.
    pub fn from_secret(suite: &Suite, stored: &Secret) -> Result<Self, Error> {
        let (key_package, init, encryption, signer) =
            Self::decode_parts(stored).map_err(|e| RecordsError::Malformed("a key package", e))?;
        let signer = SignatureKeyPair::from_private(suite, signer)?;
        Self::from_parts(suite, key_package, init, encryption, signer)
    }

    fn decode_parts(stored: &Secret) -> Result<(KeyPackage, Secret, Secret, Secret), DecodeError> {
        let mut r = open_record(stored)?;
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
