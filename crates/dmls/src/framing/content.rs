//! What is signed in every message (RFC 9420 s6, s6.1).

use std::fmt;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{CryptoError, Signature, SignaturePrivateKey, SignaturePublicKey, Suite, Tag};
use crate::error::Rule;
use crate::key_schedule::GroupContext;
use crate::message::{Commit, Proposal};
use crate::registry::{ProtocolVersion, WireFormat};
use crate::tree::LeafIndex;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The member at this leaf.
    Member(LeafIndex),
    /// The sender at this place of the external_senders extension.
    External(u32),
    /// Someone who proposes to be added.
    NewMemberProposal,
    /// Someone who joins by an external commit.
    NewMemberCommit,
}

/// What kind of content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ContentType {
    /// Data of the application.
    Application,
    /// A proposal.
    Proposal,
    /// A commit.
    Commit,
}

/// The content.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Data of the application.
    Application(Vec<u8>),
    /// A proposal.
    Proposal(Proposal),
    /// A commit.
    Commit(Box<Commit>),
}

/// A message without its protection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FramedContent {
    /// The group.
    pub group_id: Vec<u8>,
    /// The epoch's number.
    pub epoch: u64,
    /// Who sends.
    pub sender: Sender,
    /// Authenticated, never encrypted.
    pub authenticated_data: Vec<u8>,
    /// The content.
    pub content: Content,
}

/// The proof that the sender sent it and, for a commit, arrived at the same epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FramedContentAuthData {
    /// Over FramedContentTBS.
    pub signature: Signature,
    /// `MAC(confirmation_key, confirmed_transcript_hash)` of the new epoch; of commits only.
    pub confirmation_tag: Option<Tag>,
}

/// Content with its proof. Not verified: only [`AuthenticatedContent::verify`] makes a [`Verified`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AuthenticatedContent {
    pub wire_format: WireFormat,
    pub content: FramedContent,
    pub auth: FramedContentAuthData,
}

/// Content whose signature was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verified(AuthenticatedContent);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What members tell each other is nobody else's business.
            Self::Application(data) => write!(f, "Application({} bytes)", data.len()),
            Self::Proposal(proposal) => f.debug_tuple("Proposal").field(proposal).finish(),
            Self::Commit(commit) => f.debug_tuple("Commit").field(commit).finish(),
        }
    }
}

impl Encode for Sender {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Member(leaf) => {
                out.push(1);
                leaf.encode(out);
            }
            Self::External(index) => {
                out.push(2);
                index.encode(out);
            }
            Self::NewMemberProposal => out.push(3),
            Self::NewMemberCommit => out.push(4),
        }
    }
}

impl Decode for Sender {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => LeafIndex::decode(r).map(Self::Member),
            2 => u32::decode(r).map(Self::External),
            3 => Ok(Self::NewMemberProposal),
            4 => Ok(Self::NewMemberCommit),
            _ => Err(DecodeError::at(start, "sender type 1 to 4")),
        }
    }
}

impl Encode for ContentType {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Application => 1,
            Self::Proposal => 2,
            Self::Commit => 3,
        });
    }
}

impl Decode for ContentType {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.position();
        match r.u8()? {
            1 => Ok(Self::Application),
            2 => Ok(Self::Proposal),
            3 => Ok(Self::Commit),
            _ => Err(DecodeError::at(start, "content type 1, 2 or 3")),
        }
    }
}

impl Content {
    /// The kind.
    pub fn content_type(&self) -> ContentType {
        match self {
            Self::Application(_) => ContentType::Application,
            Self::Proposal(_) => ContentType::Proposal,
            Self::Commit(_) => ContentType::Commit,
        }
    }

    /// The content without its type.
    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Application(data) => data.encode(out),
            Self::Proposal(proposal) => proposal.encode(out),
            Self::Commit(commit) => commit.encode(out),
        }
    }

    pub(crate) fn body_length(&self) -> usize {
        match self {
            Self::Application(data) => data.encoded_length(),
            Self::Proposal(proposal) => proposal.encoded_length(),
            Self::Commit(commit) => commit.encoded_length(),
        }
    }

    pub(crate) fn decode_body(content_type: ContentType, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match content_type {
            ContentType::Application => Vec::decode(r).map(Self::Application),
            ContentType::Proposal => Proposal::decode(r).map(Self::Proposal),
            ContentType::Commit => Decode::decode(r).map(Self::Commit),
        }
    }
}

impl Encode for FramedContent {
    fn encode(&self, out: &mut Vec<u8>) {
        self.group_id.encode(out);
        self.epoch.encode(out);
        self.sender.encode(out);
        self.authenticated_data.encode(out);
        self.content.content_type().encode(out);
        self.content.encode_body(out);
    }
}

impl Decode for FramedContent {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            group_id: Decode::decode(r).map_err(|e| e.or_in("FramedContent.group_id"))?,
            epoch: Decode::decode(r).map_err(|e| e.or_in("FramedContent.epoch"))?,
            sender: Decode::decode(r).map_err(|e| e.or_in("FramedContent.sender"))?,
            authenticated_data: Decode::decode(r).map_err(|e| e.or_in("FramedContent.authenticated_data"))?,
            content: {
                let content_type =
                    ContentType::decode(r).map_err(|e| e.or_in("FramedContent.content_type"))?;
                Content::decode_body(content_type, r).map_err(|e| e.or_in("FramedContent.content"))?
            },
        })
    }
}

impl FramedContentAuthData {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.signature.encode(out);
        if let Some(tag) = &self.confirmation_tag {
            tag.encode(out);
        }
    }

    pub(crate) fn encoded_length(&self) -> usize {
        self.signature.encoded_length() + self.confirmation_tag.as_ref().map_or(0, Tag::encoded_length)
    }

    pub(crate) fn decode(content_type: ContentType, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            signature: Decode::decode(r).map_err(|e| e.or_in("FramedContentAuthData.signature"))?,
            confirmation_tag: (content_type == ContentType::Commit)
                .then(|| Decode::decode(r).map_err(|e| e.or_in("FramedContentAuthData.confirmation_tag")))
                .transpose()?,
        })
    }
}

impl Encode for AuthenticatedContent {
    fn encode(&self, out: &mut Vec<u8>) {
        self.wire_format.encode(out);
        self.content.encode(out);
        self.auth.encode(out);
    }
}

impl Decode for AuthenticatedContent {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let wire_format = WireFormat::decode(r)?;
        let content = FramedContent::decode(r)?;
        let auth = FramedContentAuthData::decode(content.content.content_type(), r)?;
        Ok(Self { wire_format, content, auth })
    }
}

/// FramedContentTBS: version, wire format, content and, for members and joiners, the GroupContext.
pub(super) fn to_be_signed(
    wire_format: WireFormat,
    content: &FramedContent,
    context: &GroupContext,
) -> Vec<u8> {
    let mut out = Vec::new();
    ProtocolVersion::MLS10.encode(&mut out);
    wire_format.encode(&mut out);
    content.encode(&mut out);
    if matches!(content.sender, Sender::Member(_) | Sender::NewMemberCommit) {
        context.encode(&mut out);
    }
    out
}

impl AuthenticatedContent {
    /// Signs. A commit's confirmation tag can only be computed from the signature, so it comes later.
    pub(crate) fn sign(
        suite: &Suite,
        key: &SignaturePrivateKey,
        wire_format: WireFormat,
        content: FramedContent,
        context: &GroupContext,
    ) -> Result<Self, CryptoError> {
        let tbs = to_be_signed(wire_format, &content, context);
        let signature = suite.sign_with_label(key, "FramedContentTBS", &tbs)?;
        Ok(Self { wire_format, content, auth: FramedContentAuthData { signature, confirmation_tag: None } })
    }

    /// ConfirmedTranscriptHashInput (RFC 9420 s8.2).
    ///
    /// ```text
    /// struct { WireFormat wire_format; FramedContent content; opaque signature<V>; } ConfirmedTranscriptHashInput;
    /// ```
    pub(crate) fn transcript_input(&self) -> Vec<u8> {
        let mut input = self.wire_format.to_bytes();
        self.content.encode(&mut input);
        self.auth.signature.encode(&mut input);
        input
    }

    /// Checks the signature against the key of its sender.
    pub(crate) fn verify(
        self,
        suite: &Suite,
        key: &SignaturePublicKey,
        context: &GroupContext,
    ) -> Result<Verified, Rule> {
        let tbs = to_be_signed(self.wire_format, &self.content, context);
        suite
            .verify_with_label(key, "FramedContentTBS", &tbs, &self.auth.signature)
            .map_err(|_| Rule::ContentSignature)?;
        Ok(Verified(self))
    }
}

impl Verified {
    /// What was verified.
    pub(crate) fn get(&self) -> &AuthenticatedContent {
        &self.0
    }

    /// The commit in it.
    pub(crate) fn commit(&self) -> Result<&Commit, Rule> {
        match &self.0.content.content {
            Content::Commit(commit) => Ok(commit),
            _ => Err(Rule::Sender),
        }
    }
}
