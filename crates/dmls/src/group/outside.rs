//! Proposals from outside of a group (RFC 9420 s12.1.8).

use crate::codec::{Decode, Encode};
use crate::crypto::Suite;
use crate::error::{Error, Rule, Unsupported};
use crate::framing::{AuthenticatedContent, Content, FramedContent, MlsMessage, PublicMessage, Sender};
use crate::identity::{Identity, OwnKeyPackage};
use crate::key_schedule::{EpochId, GroupContext};
use crate::message::Proposal;
use crate::registry::{ExtensionType, WireFormat};

use super::DmlsMessage;

/// The epoch of a group for which a proposal from outside is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    context: GroupContext,
    /// In groups with the draft's key schedule.
    dmls_epoch: Option<EpochId>,
}

impl GroupPlace {
    /// From a MLSMessage(GroupInfo). What it says is not verified here: a proposal for a false place is merely refused.
    pub fn from_group_info(group_info: &[u8]) -> Result<Self, Error> {
        let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(group_info)? else {
            return Err(Rule::MessageKind.into());
        };
        let dmls_epoch = info.extensions.data(ExtensionType::DMLS_EPOCH).map(EpochId::from);
        Ok(Self { context: info.group_context, dmls_epoch })
    }

    /// Names the `dmls_epoch`, where the GroupInfo does not say it.
    pub fn with_epoch(mut self, dmls_epoch: EpochId) -> Self {
        self.dmls_epoch = Some(dmls_epoch);
        self
    }

    fn propose(&self, identity: &Identity, sender: Sender, proposal: Proposal) -> Result<Vec<u8>, Error> {
        let suite: &Suite = identity.suite();
        if suite.code() != self.context.cipher_suite {
            return Err(Unsupported::CipherSuite(self.context.cipher_suite).into());
        }
        let content = FramedContent {
            group_id: self.context.group_id.clone(),
            epoch: self.context.epoch,
            sender,
            authenticated_data: self.dmls_epoch.as_ref().map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            content: Content::Proposal(proposal),
        };
        let key = identity.signer().private();
        let content =
            AuthenticatedContent::sign(suite, key, WireFormat::PUBLIC_MESSAGE, content, &self.context)?;
        let message = MlsMessage::PublicMessage(Box::new(PublicMessage::from_outside(content)));
        Ok(match &self.dmls_epoch {
            Some(epoch) => DmlsMessage { message, dmls_epoch: epoch.clone() }.to_bytes(),
            None => message.to_bytes(),
        })
    }
}

impl Identity {
    /// Proposes as the external sender at `sender_index` of the group's external_senders extension: add, remove, psk,
    /// reinit or group_context_extensions. Gives the message to send to all members.
    pub fn propose_as_external_sender(
        &self,
        place: &GroupPlace,
        sender_index: u32,
        proposal: Proposal,
    ) -> Result<Vec<u8>, Error> {
        if matches!(proposal, Proposal::Update(_) | Proposal::ExternalInit(_)) {
            return Err(Rule::ExternalContent.into());
        }
        place.propose(self, Sender::External(sender_index), proposal)
    }

    /// Asks to be added. Gives the message to send to all members; the Welcome will be for `own`.
    pub fn propose_to_join(&self, place: &GroupPlace, own: &OwnKeyPackage) -> Result<Vec<u8>, Error> {
        let proposal = Proposal::Add(Box::new(own.key_package().clone()));
        place.propose(self, Sender::NewMemberProposal, proposal)
    }
}
