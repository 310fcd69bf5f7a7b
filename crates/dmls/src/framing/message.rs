//! MLSMessage (RFC 9420 s6): the envelope of everything.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::Suite;
use crate::key_package::KeyPackage;
use crate::key_schedule::CommitId;
use crate::message::{GroupInfo, Welcome};
use crate::registry::{ProtocolVersion, WireFormat};

use super::{PrivateMessage, PublicMessage};

/// Anything that one client sends to another.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MlsMessage {
    /// Signed, not encrypted.
    PublicMessage(Box<PublicMessage>),
    /// Signed and encrypted.
    PrivateMessage(PrivateMessage),
    /// An invitation.
    Welcome(Welcome),
    /// For external joiners.
    GroupInfo(Box<GroupInfo>),
    /// For those who want to add its owner.
    KeyPackage(Box<KeyPackage>),
}

impl MlsMessage {
    /// The registered wire format.
    pub fn wire_format(&self) -> WireFormat {
        match self {
            Self::PublicMessage(_) => WireFormat::PUBLIC_MESSAGE,
            Self::PrivateMessage(_) => WireFormat::PRIVATE_MESSAGE,
            Self::Welcome(_) => WireFormat::WELCOME,
            Self::GroupInfo(_) => WireFormat::GROUP_INFO,
            Self::KeyPackage(_) => WireFormat::KEY_PACKAGE,
        }
    }

    /// Its hash: the name of a commit, and of epoch 0 if it is that epoch's first GroupInfo (DESIGN s3.4, R15).
    pub fn commit_id(&self, suite: &Suite) -> CommitId {
        suite.hash(&[&self.to_bytes()]).into()
    }

    /// The group and the epoch's number, where a message has them in the clear.
    pub fn group_and_epoch(&self) -> Option<(&[u8], u64)> {
        match self {
            Self::PublicMessage(m) => Some((&m.content.group_id, m.content.epoch)),
            Self::PrivateMessage(m) => Some((&m.group_id, m.epoch)),
            Self::GroupInfo(m) => Some((&m.group_context.group_id, m.group_context.epoch)),
            Self::Welcome(_) | Self::KeyPackage(_) => None,
        }
    }
}

impl Encode for MlsMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        ProtocolVersion::MLS10.encode(out);
        self.wire_format().encode(out);
        match self {
            Self::PublicMessage(m) => m.encode(out),
            Self::PrivateMessage(m) => m.encode(out),
            Self::Welcome(m) => m.encode(out),
            Self::GroupInfo(m) => m.encode(out),
            Self::KeyPackage(m) => m.encode(out),
        }
    }
}

impl Decode for MlsMessage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        if ProtocolVersion::decode(r)? != ProtocolVersion::MLS10 {
            return Err(DecodeError::at(start, "protocol version 1 (mls10)"));
        }
        let start = r.position();
        Ok(match WireFormat::decode(r)? {
            WireFormat::PUBLIC_MESSAGE => Self::PublicMessage(Decode::decode(r)?),
            WireFormat::PRIVATE_MESSAGE => Self::PrivateMessage(Decode::decode(r)?),
            WireFormat::WELCOME => Self::Welcome(Decode::decode(r)?),
            WireFormat::GROUP_INFO => Self::GroupInfo(Decode::decode(r)?),
            WireFormat::KEY_PACKAGE => Self::KeyPackage(Decode::decode(r)?),
            _ => return Err(DecodeError::at(start, "wire format 1 to 5")),
        })
    }
}
