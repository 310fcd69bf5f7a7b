//! Proposals (RFC 9420 s12.1).

use crate::codec::{Decode, DecodeError, Encode, Reader, wire_struct};
use crate::crypto::KemOutput;
use crate::extension::Extensions;
use crate::key_package::KeyPackage;
use crate::key_schedule::psk::PreSharedKeyId;
use crate::registry::{CipherSuite, ProposalType, ProtocolVersion};
use crate::tree::{LeafIndex, LeafNode};

/// A change that a commit can make.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Proposal {
    /// Add the client of this KeyPackage.
    Add(Box<KeyPackage>),
    /// Replace the sender's leaf.
    Update(Box<LeafNode>),
    /// Remove the member at this leaf.
    Remove(LeafIndex),
    /// Mix in a pre-shared key.
    PreSharedKey(PreSharedKeyId),
    /// End the group; another takes its place.
    ReInit(ReInit),
    /// Begin an external commit.
    ExternalInit(KemOutput),
    /// Replace the extensions of the GroupContext.
    GroupContextExtensions(Extensions),
}

impl Proposal {
    /// The registered type.
    pub fn proposal_type(&self) -> ProposalType {
        match self {
            Self::Add(_) => ProposalType::ADD,
            Self::Update(_) => ProposalType::UPDATE,
            Self::Remove(_) => ProposalType::REMOVE,
            Self::PreSharedKey(_) => ProposalType::PSK,
            Self::ReInit(_) => ProposalType::REINIT,
            Self::ExternalInit(_) => ProposalType::EXTERNAL_INIT,
            Self::GroupContextExtensions(_) => ProposalType::GROUP_CONTEXT_EXTENSIONS,
        }
    }

    /// Whether a commit with it needs an update path (RFC 9420 s12.4).
    pub(crate) fn needs_path(&self) -> bool {
        !matches!(self, Self::Add(_) | Self::PreSharedKey(_) | Self::ReInit(_))
    }
}

impl Encode for Proposal {
    fn encode(&self, out: &mut Vec<u8>) {
        self.proposal_type().encode(out);
        match self {
            Self::Add(key_package) => key_package.encode(out),
            Self::Update(leaf_node) => leaf_node.encode(out),
            Self::Remove(removed) => removed.encode(out),
            Self::PreSharedKey(id) => id.encode(out),
            Self::ReInit(reinit) => reinit.encode(out),
            Self::ExternalInit(kem_output) => kem_output.encode(out),
            Self::GroupContextExtensions(extensions) => extensions.encode(out),
        }
    }
}

impl Decode for Proposal {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        Ok(match ProposalType::decode(r)? {
            ProposalType::ADD => Self::Add(Decode::decode(r)?),
            ProposalType::UPDATE => Self::Update(Decode::decode(r)?),
            ProposalType::REMOVE => Self::Remove(Decode::decode(r)?),
            ProposalType::PSK => Self::PreSharedKey(Decode::decode(r)?),
            ProposalType::REINIT => Self::ReInit(Decode::decode(r)?),
            ProposalType::EXTERNAL_INIT => Self::ExternalInit(Decode::decode(r)?),
            ProposalType::GROUP_CONTEXT_EXTENSIONS => Self::GroupContextExtensions(Decode::decode(r)?),
            // The RFC gives an unknown proposal no length, so nothing behind it could be found.
            _ => return Err(DecodeError::at(start, "proposal type 1 to 7")),
        })
    }
}

/// Parameters of the group that takes this one's place (RFC 9420 s12.1.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReInit {
    /// Its group id.
    pub group_id: Vec<u8>,
    /// Its version; not lower than this group's.
    pub version: ProtocolVersion,
    /// Its suite.
    pub cipher_suite: CipherSuite,
    /// Its GroupContext extensions.
    pub extensions: Extensions,
}

wire_struct!(ReInit { group_id, version, cipher_suite, extensions });
