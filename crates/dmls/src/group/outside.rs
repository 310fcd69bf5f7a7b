//! Proposals from outside of a group (RFC 9420 s12.1.8).

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::crypto::Suite;
use crate::epoch::Rules;
use crate::error::{Error, Limit, Rule, Unsupported};
use crate::framing::{AuthenticatedContent, Content, FramedContent, MlsMessage, PublicMessage, Sender};
use crate::identity::{Identity, OwnKeyPackage};
use crate::key_schedule::{EpochId, GroupContext};
use crate::message::Proposal;
use crate::registry::WireFormat;

use super::DmlsMessage;

/// The epoch of a group for which a proposal from outside is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    context: GroupContext,
    /// In groups with the draft's key schedule.
    dmls_epoch: Option<EpochId>,
}

impl GroupPlace {
    /// From a MLSMessage(GroupInfo), verified as by a joiner (RFC 9420 s12.4.3.1): its tree and leaves, and that one of the members
    /// signed it. `ratchet_tree` is needed where it is not inside. Look whether it is the group that you mean.
    pub fn from_group_info(
        group_info: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: &Config,
    ) -> Result<Self, Error> {
        if group_info.len() > config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let MlsMessage::GroupInfo(info) = MlsMessage::from_bytes(group_info)? else {
            return Err(Rule::MessageKind.into());
        };
        let rules = Rules::received(config);
        let suite = info.suite(rules)?;
        let info = info.verify(rules, suite, ratchet_tree)?;
        let dmls_epoch = info.dmls_epoch().cloned();
        Ok(Self { context: info.into_public().context, dmls_epoch })
    }

    /// The group.
    pub fn group_id(&self) -> &[u8] {
        &self.context.group_id
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
