//! The confirmation tag (RFC 9420 s6.1, s8.1): what shows that the secrets of an epoch are those that the committer has.

use crate::crypto::{Suite, Tag};
use crate::error::Rule;

use super::{ConfirmationKey, EpochKeys, Expanded, GroupContext};

/// The secrets of an epoch together with the context and the tag that they were confirmed by. Only [`Expanded::confirm`] and
/// [`Expanded::confirm_own`] make one: an epoch whose tag nobody compared is a missing value. The confirmation_key is erased.
pub(crate) struct Confirmed {
    suite: Suite,
    context: GroupContext,
    tag: Tag,
    keys: EpochKeys,
}

impl ConfirmationKey {
    /// `confirmation_tag = MAC(confirmation_key, confirmed_transcript_hash)` (RFC 9420 s6.1).
    pub(crate) fn tag(&self, suite: &Suite, confirmed_transcript_hash: &[u8]) -> Tag {
        suite.mac(&self.0, confirmed_transcript_hash)
    }
}

impl Expanded {
    fn tag(&self, suite: &Suite, context: &GroupContext) -> Tag {
        self.confirmation_key.tag(suite, &context.confirmed_transcript_hash)
    }

    /// Of an epoch that another made: its tag must be the one that the commit or the GroupInfo claims.
    pub(crate) fn confirm(
        self,
        suite: &Suite,
        context: GroupContext,
        claimed: &Tag,
    ) -> Result<Confirmed, Rule> {
        let tag = self.tag(suite, &context);
        claimed.verify(&tag).map_err(|_| Rule::ConfirmationTag)?;
        Ok(Confirmed { suite: *suite, context, tag, keys: self.keys })
    }

    /// Of an epoch that we make ourselves; the tag goes into the commit.
    pub(crate) fn confirm_own(self, suite: &Suite, context: GroupContext) -> (Confirmed, Tag) {
        let tag = self.tag(suite, &context);
        (Confirmed { suite: *suite, context, tag: tag.clone(), keys: self.keys }, tag)
    }
}

impl Confirmed {
    /// What an epoch is made of: its suite, its context, the tag of the commit that made it, its secrets.
    pub(crate) fn into_parts(self) -> (Suite, GroupContext, Tag, EpochKeys) {
        (self.suite, self.context, self.tag, self.keys)
    }
}
