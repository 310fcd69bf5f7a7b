//! PublicMessage (RFC 9420 s6.2).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{Suite, Tag};
use crate::error::Rule;
use crate::key_schedule::{GroupContext, MembershipKey};
use crate::registry::WireFormat;

use super::content::to_be_signed;
use super::{AuthenticatedContent, Content, FramedContent, FramedContentAuthData, Sender};

/// A message that is signed and not encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicMessage {
    /// The content.
    pub content: FramedContent,
    /// Its proof.
    pub auth: FramedContentAuthData,
    /// Of members only: proves that the sender knows the epoch.
    pub membership_tag: Option<Tag>,
}

impl Encode for PublicMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        self.content.encode(out);
        self.auth.encode(out);
        if let Some(tag) = &self.membership_tag {
            tag.encode(out);
        }
    }
}

impl Decode for PublicMessage {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let content = FramedContent::decode(r)?;
        let auth = FramedContentAuthData::decode(content.content.content_type(), r)?;
        let membership_tag = matches!(content.sender, Sender::Member(_))
            .then(|| Decode::decode(r).map_err(|e: DecodeError| e.or_in("PublicMessage.membership_tag")))
            .transpose()?;
        Ok(Self { content, auth, membership_tag })
    }
}

/// `membership_tag = MAC(membership_key, AuthenticatedContentTBM)`.
fn membership_tag(
    suite: &Suite,
    key: &MembershipKey,
    content: &AuthenticatedContent,
    context: &GroupContext,
) -> Tag {
    let mut tbm = to_be_signed(content.wire_format, &content.content, context);
    content.auth.encode(&mut tbm);
    suite.mac(&key.0, &tbm)
}

impl PublicMessage {
    /// Wraps signed content; a member's gets a membership tag.
    pub(crate) fn protect(
        suite: &Suite,
        key: &MembershipKey,
        content: AuthenticatedContent,
        context: &GroupContext,
    ) -> Result<Self, Rule> {
        if matches!(content.content.content, Content::Application(_)) {
            return Err(Rule::ApplicationInPublic);
        }
        let tag = matches!(content.content.sender, Sender::Member(_))
            .then(|| membership_tag(suite, key, &content, context));
        Ok(Self { content: content.content, auth: content.auth, membership_tag: tag })
    }

    /// Wraps content from outside of the group.
    pub(crate) fn from_outside(content: AuthenticatedContent) -> Self {
        Self { content: content.content, auth: content.auth, membership_tag: None }
    }

    /// Unwraps without a check of the membership tag: for observers, who don't have the key.
    pub(crate) fn into_content(self) -> Result<AuthenticatedContent, Rule> {
        if matches!(self.content.content, Content::Application(_)) {
            return Err(Rule::ApplicationInPublic);
        }
        Ok(AuthenticatedContent {
            wire_format: WireFormat::PUBLIC_MESSAGE,
            content: self.content,
            auth: self.auth,
        })
    }

    /// Checks the membership tag of a member's message and unwraps it.
    pub(crate) fn unprotect(
        mut self,
        suite: &Suite,
        key: &MembershipKey,
        context: &GroupContext,
    ) -> Result<AuthenticatedContent, Rule> {
        let tag = self.membership_tag.take();
        let is_member = matches!(self.content.sender, Sender::Member(_));
        let content = self.into_content()?;
        if is_member {
            let expected = membership_tag(suite, key, &content, context);
            tag.ok_or(Rule::MembershipTag)?.verify(&expected).map_err(|_| Rule::MembershipTag)?;
        }
        Ok(content)
    }
}
