//! Leaf nodes (RFC 9420 s7.2).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::credential::Credential;
use crate::crypto::{CryptoError, HpkePublicKey, Signature, SignaturePrivateKey, SignaturePublicKey, Suite};
use crate::extension::{Capabilities, Extensions, HomeAttestation};
use crate::time::Lifetime;

use super::LeafIndex;

/// A member's place in the tree, signed by the member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafNode {
    /// For messages to this member alone.
    pub encryption_key: HpkePublicKey,
    /// Verifies what this member signs.
    pub signature_key: SignaturePublicKey,
    /// Who it is.
    pub credential: Credential,
    /// What it supports.
    pub capabilities: Capabilities,
    /// How the leaf came into the tree.
    pub source: LeafNodeSource,
    /// More about it.
    pub extensions: Extensions,
    /// Over all of the above and, unless it is from a KeyPackage, the place in the group.
    pub signature: Signature,
}

/// How a leaf came into the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeafNodeSource {
    /// From a KeyPackage, valid for a time.
    KeyPackage(Lifetime),
    /// By an Update proposal.
    Update,
    /// By a commit of the member; holds the parent hash, empty if the member is alone.
    Commit(Vec<u8>),
}

/// What the signature of a leaf binds it to.
#[derive(Clone, Copy)]
pub(crate) struct LeafPlace<'a> {
    pub group_id: &'a [u8],
    pub leaf: LeafIndex,
}

impl Encode for LeafNodeSource {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeyPackage(lifetime) => {
                out.push(1);
                lifetime.encode(out);
            }
            Self::Update => out.push(2),
            Self::Commit(parent_hash) => {
                out.push(3);
                parent_hash.encode(out);
            }
        }
    }
}

impl Decode for LeafNodeSource {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => Lifetime::decode(r).map(Self::KeyPackage),
            2 => Ok(Self::Update),
            3 => Vec::decode(r).map(Self::Commit),
            _ => Err(DecodeError::at(start, "leaf node source 1, 2 or 3")),
        }
    }
}

impl Encode for LeafNode {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_unsigned(out);
        self.signature.encode(out);
    }
}

impl Decode for LeafNode {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            encryption_key: Decode::decode(r).map_err(|e| e.or_in("LeafNode.encryption_key"))?,
            signature_key: Decode::decode(r).map_err(|e| e.or_in("LeafNode.signature_key"))?,
            credential: Decode::decode(r).map_err(|e| e.or_in("LeafNode.credential"))?,
            capabilities: Decode::decode(r).map_err(|e| e.or_in("LeafNode.capabilities"))?,
            source: Decode::decode(r).map_err(|e| e.or_in("LeafNode.leaf_node_source"))?,
            extensions: Decode::decode(r).map_err(|e| e.or_in("LeafNode.extensions"))?,
            signature: Decode::decode(r).map_err(|e| e.or_in("LeafNode.signature"))?,
        })
    }
}

impl LeafNode {
    fn encode_unsigned(&self, out: &mut Vec<u8>) {
        self.encryption_key.encode(out);
        self.signature_key.encode(out);
        self.credential.encode(out);
        self.capabilities.encode(out);
        self.source.encode(out);
        self.extensions.encode(out);
    }

    /// LeafNodeTBS: the place belongs to it unless the source is a KeyPackage.
    fn to_be_signed(&self, place: LeafPlace<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.encode_unsigned(&mut out);
        if !matches!(self.source, LeafNodeSource::KeyPackage(_)) {
            place.group_id.encode(&mut out);
            place.leaf.encode(&mut out);
        }
        out
    }

    /// Replaces the signature by a fresh one.
    pub(crate) fn sign(
        &mut self,
        suite: &Suite,
        key: &SignaturePrivateKey,
        place: LeafPlace<'_>,
    ) -> Result<(), CryptoError> {
        self.signature = suite.sign_with_label(key, "LeafNodeTBS", &self.to_be_signed(place))?;
        Ok(())
    }

    pub(crate) fn verify_signature(&self, suite: &Suite, place: LeafPlace<'_>) -> Result<(), CryptoError> {
        suite.verify_with_label(
            &self.signature_key,
            "LeafNodeTBS",
            &self.to_be_signed(place),
            &self.signature,
        )
    }

    /// Which server speaks for it, if it says so (R17). Not verified here.
    pub fn home_attestation(&self) -> Result<Option<HomeAttestation>, DecodeError> {
        self.extensions.content()
    }

    /// The parent hash, if the leaf came by a commit.
    pub(crate) fn parent_hash(&self) -> Option<&[u8]> {
        match &self.source {
            LeafNodeSource::Commit(parent_hash) => Some(parent_hash),
            _ => None,
        }
    }
}
