//! What comes with a commit besides its proposals (R15): the committer's GroupInfo of the child, and the Welcome.

use crate::codec::Decode;
use crate::epoch::{Added, PublicEpoch};
use crate::error::{Error, Rule};
use crate::extension::ExternalPub;
use crate::framing::MlsMessage;
use crate::key_schedule::{CommitId, EpochId};
use crate::registry::ExtensionType;
use crate::tree::LeafIndex;

use super::PublicGroup;

impl PublicGroup {
    /// Checks that the committer vouches for the child, and gives the name that it says the child has.
    pub(super) fn check_group_info(
        &self,
        group_info: &[u8],
        commit: &CommitId,
        committer: LeafIndex,
        child: &PublicEpoch,
    ) -> Result<EpochId, Error> {
        self.config.limits.check_message(group_info.len())?;
        let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(group_info)? else {
            return Err(Rule::MessageKind.into());
        };
        if info.group_context != child.context {
            return Err(Rule::BundleContext.into());
        }
        if info.confirmation_tag != child.confirmation_tag {
            return Err(Rule::BundleTag.into());
        }
        if info.signer != committer {
            return Err(Rule::BundleSigner.into());
        }
        let key = &child.member(committer)?.signature_key;
        info.verify_signature(&self.suite, key).map_err(|_| Rule::GroupInfoSignature)?;
        let named = info.name(&self.suite, ExtensionType::COMMIT_ID)?;
        if named != Some(commit.as_bytes()) {
            return Err(Rule::BundleCommit.into());
        }
        let offers = info.extensions.content::<ExternalPub>()?.is_some();
        if offers && !child.allows_external_joins() {
            return Err(Rule::BundleExternalPub.into());
        }
        let dmls_epoch = info.name(&self.suite, ExtensionType::DMLS_EPOCH)?.ok_or(Rule::BundleEpoch)?;
        Ok(EpochId::from(dmls_epoch))
    }

    /// Checks that the Welcome is for those whom the commit adds, and for nobody else. What is in it only they can see.
    pub(super) fn check_welcome(&self, welcome: Option<&[u8]>, added: &[Added]) -> Result<(), Error> {
        let Some(welcome) = welcome else {
            return if added.is_empty() { Ok(()) } else { Err(Rule::BundleWelcome.into()) };
        };
        self.config.limits.check_message(welcome.len())?;
        let MlsMessage::Welcome(welcome) = MlsMessage::from_bytes(welcome)? else {
            return Err(Rule::MessageKind.into());
        };
        let mut invited: Vec<_> = welcome.secrets.iter().map(|entry| &entry.new_member).collect();
        let mut added: Vec<_> = added.iter().map(|added| &added.key_package).collect();
        invited.sort_unstable();
        added.sort_unstable();
        if welcome.cipher_suite != self.suite.code() || added.is_empty() || invited != added {
            return Err(Rule::BundleWelcome.into());
        }
        Ok(())
    }
}
