//! Sending: application data, proposals, commits.

use std::sync::Arc;

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::{ProposalRef, SignatureKeyPair};
use crate::epoch::{OwnUpdate, StoredProposal};
use crate::error::{Error, Limit, Usage};
use crate::framing::{Content, MlsMessage, Sender};
use crate::identity::Identity;
use crate::key_package::KeyPackage;
use crate::key_schedule::{EpochId, KeySchedule};
use crate::message::{PreSharedKeyId, Proposal, Psk};
use crate::registry::WireFormat;
use crate::time::Time;
use crate::tree::{LeafIndex, LeafNode, LeafPlace, new_update};

use super::effect::Effect;
use super::receive::next_proposal_order;
use super::step::{Decision, Step};
use super::{DmlsMessage, Group};

/// A proposal of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentProposal {
    /// What to send to all members.
    pub message: Vec<u8>,
    /// Its name.
    pub reference: ProposalRef,
}

/// A message in the making.
#[must_use = "nothing is sent before `seal`"]
pub struct MessageBuilder<'g, 'd> {
    group: &'g mut Group,
    epoch: EpochId,
    data: &'d [u8],
    authenticated_data: Vec<u8>,
}

impl<'g> MessageBuilder<'g, '_> {
    /// In another epoch than the head.
    pub fn at(mut self, epoch: &EpochId) -> Self {
        self.epoch = epoch.clone();
        self
    }

    /// Data that travels with the message in the clear, authenticated.
    pub fn authenticated_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.authenticated_data = data.into();
        self
    }

    /// Encrypts. The outcome is what to send to all members.
    pub fn seal(self, rng: &mut dyn CryptoRng) -> Result<Step<'g, Vec<u8>>, Error> {
        let Self { group, epoch, data, authenticated_data } = self;
        group.check_member()?;
        let epoch = group.full(&epoch)?;
        if epoch.reinit.is_some() {
            return Err(Usage::GroupEnded.into());
        }
        // RFC 9420 s12.4: whoever saw proposals must commit before it sends application data.
        if !epoch.proposals.is_empty() {
            return Err(Usage::ProposalsPending.into());
        }
        if data.len().saturating_add(authenticated_data.len()) > group.config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let content = Content::Application(data.to_vec());
        let content = epoch.sign(WireFormat::PRIVATE_MESSAGE, authenticated_data, content)?;
        let outgoing = epoch.protect(&group.config, content, rng)?;
        let advance = outgoing.advance.map(|advance| Effect::Advance(epoch.id.clone(), advance));
        let message = group.wrap(outgoing.message, &epoch.id);
        Ok(Decision::new(message, advance.into_iter().collect()).into_step(group))
    }
}

impl Group {
    /// Begins a message: application data, encrypted in the head.
    pub fn send<'d>(&mut self, data: &'d [u8]) -> MessageBuilder<'_, 'd> {
        let epoch = self.state.head.clone();
        MessageBuilder { group: self, epoch, data, authenticated_data: Vec::new() }
    }

    /// Proposes to add a client.
    pub fn propose_add(
        &mut self,
        key_package: KeyPackage,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        self.propose(Proposal::Add(Box::new(key_package)), now, rng)
    }

    /// Proposes to remove a member; it may be ourselves.
    pub fn propose_remove(
        &mut self,
        leaf: LeafIndex,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        self.propose(Proposal::Remove(leaf), now, rng)
    }

    /// Proposes a fresh key for our own leaf. The private key is stored with the proposal, in every branch that commits
    /// it.
    pub fn propose_update(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        let epoch = self.head_epoch();
        let template = epoch.public().member(epoch.own_leaf())?.clone();
        self.propose_leaf(template, None, now, rng)
    }

    /// The same, and changes who we are in every branch that commits it: credential, signature key, capabilities and leaf
    /// extensions, as [`CommitBuilder::identity`](crate::CommitBuilder::identity) does for those who commit. Until then we sign
    /// with the old key. The identity must be of the group's suite.
    pub fn propose_identity(
        &mut self,
        identity: &Identity,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        self.check_member()?;
        identity.check_suite(&self.suite)?;
        self.propose_leaf(identity.leaf_template(), Some(identity.signer().clone()), now, rng)
    }

    fn propose_leaf(
        &mut self,
        template: LeafNode,
        signer: Option<Arc<SignatureKeyPair>>,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        let epoch = self.head_epoch();
        let place = LeafPlace { group_id: &self.group_id, leaf: epoch.own_leaf() };
        let key = signer.as_ref().unwrap_or(&epoch.signer).private();
        let (leaf, private) = new_update(&self.suite, place, template, key, rng)?;
        self.config.log("proposer_leaf_encryption_priv", private.as_bytes());
        let update = OwnUpdate { encryption: Arc::new(private), signer };
        self.propose_with(Proposal::Update(Box::new(leaf)), Some(update), now, rng)
    }

    /// Proposes to mix in a pre-shared key.
    pub fn propose_psk(
        &mut self,
        psk: Psk,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        let id = self.fresh_psk_id(psk, rng);
        self.propose(Proposal::PreSharedKey(id), now, rng)
    }

    /// Proposes anything else, in the head.
    pub fn propose(
        &mut self,
        proposal: Proposal,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        self.propose_with(proposal, None, now, rng)
    }

    fn propose_with(
        &mut self,
        proposal: Proposal,
        own_update: Option<OwnUpdate>,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        self.check_member()?;
        let epoch = self.head_epoch();
        if epoch.reinit.is_some() {
            return Err(Usage::GroupEnded.into());
        }
        let sender = Sender::Member(epoch.own_leaf());
        let rules = self.rules(now);
        let valid = epoch.public().check_proposal(rules, &epoch.context().extensions, &proposal, sender);
        valid.map_err(Error::refused)?;
        if !self.has_room(epoch, sender, &proposal) {
            return Err(Limit::Proposals.into());
        }
        let content = Content::Proposal(proposal.clone());
        let content = epoch.sign(epoch.handshake_format(&self.config), Vec::new(), content)?;
        let reference = self.suite.proposal_ref(&content.to_bytes());
        let outgoing = epoch.protect(&self.config, content, rng)?;
        let order = next_proposal_order(epoch);
        let message = match &outgoing.message {
            MlsMessage::PublicMessage(_) => Some(outgoing.message.to_bytes()),
            _ => None,
        };
        let stored = Box::new(StoredProposal { proposal, sender, order, own_update, message });
        let advance = outgoing.advance.map(|advance| Effect::Advance(epoch.id.clone(), advance));
        let store = Effect::StoreProposal(epoch.id.clone(), reference.clone(), stored);
        let message = self.wrap(outgoing.message, &epoch.id);
        let effects = advance.into_iter().chain([store]).collect();
        Ok(Decision::new(SentProposal { message, reference }, effects).into_step(self))
    }

    pub(super) fn fresh_psk_id(&self, psk: Psk, rng: &mut dyn CryptoRng) -> PreSharedKeyId {
        let mut psk_nonce = vec![0; self.suite.nh()];
        rng.fill_bytes(&mut psk_nonce);
        PreSharedKeyId { psk, psk_nonce }
    }

    /// A message as it travels in this group.
    pub(crate) fn wrap(&self, message: MlsMessage, epoch: &EpochId) -> Vec<u8> {
        match self.config.schedule {
            KeySchedule::Rfc9420 => message.to_bytes(),
            KeySchedule::Dmls => DmlsMessage { message, dmls_epoch: epoch.clone() }.to_bytes(),
        }
    }
}
