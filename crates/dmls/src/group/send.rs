//! Sending: application data, proposals, commits.

use std::sync::Arc;

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::{HpkePrivateKey, ProposalRef};
use crate::epoch::{CommitRequest, Epoch};
use crate::error::{Error, Limit, Usage};
use crate::extension::Extensions;
use crate::framing::{Content, MlsMessage, Sender};
use crate::key_package::KeyPackage;
use crate::key_schedule::{EpochId, KeySchedule};
use crate::message::{PreSharedKeyId, Proposal, Psk, ReInit};
use crate::registry::WireFormat;
use crate::time::Time;
use crate::tree::{LeafIndex, LeafNodeSource, LeafPlace};

use super::outcome::SentCommit;
use super::step::{Plan, Step};
use super::{DmlsMessage, Group, Node, PendingCommit};

/// A proposal of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentProposal {
    /// What to send to all members.
    pub message: Vec<u8>,
    /// Its name.
    pub reference: ProposalRef,
}

/// A commit in the making.
#[must_use = "nothing is committed before `stage`"]
pub struct CommitBuilder<'g> {
    group: &'g mut Group,
    epoch: EpochId,
    proposals: Vec<Proposal>,
    psks: Vec<Psk>,
    references: Option<Vec<ProposalRef>>,
    authenticated_data: Vec<u8>,
    omit_path: bool,
}

impl Group {
    /// Encrypts data of the application in the head. `authenticated_data` travels with it in the clear.
    pub fn send(
        &mut self,
        data: &[u8],
        authenticated_data: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, Vec<u8>>, Error> {
        let head = self.head().clone();
        self.send_at(&head, data, authenticated_data, rng)
    }

    /// Encrypts data of the application in a given epoch.
    pub fn send_at(
        &mut self,
        epoch: &EpochId,
        data: &[u8],
        authenticated_data: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, Vec<u8>>, Error> {
        let mut plan = Plan::default();
        let epoch = self.full(epoch)?;
        if epoch.reinit.is_some() {
            return Err(Usage::GroupEnded.into());
        }
        // RFC 9420 s12.4: whoever saw proposals must commit before it sends application data.
        if !epoch.proposals.is_empty() {
            return Err(Usage::ProposalsPending.into());
        }
        let content = Content::Application(data.to_vec());
        let content = epoch.sign(WireFormat::PRIVATE_MESSAGE, authenticated_data.to_vec(), content)?;
        let outgoing = epoch.protect(&self.config, content, rng)?;
        plan.advance(&epoch.id, outgoing.advance);
        let message = self.wrap(outgoing.message, &epoch.id);
        Ok(plan.into_step(self, message))
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
        let own = epoch.own_leaf();
        let mut leaf = epoch.public().member(own)?.clone();
        let pair = self.suite.generate_key_pair(rng)?;
        leaf.encryption_key = pair.public;
        leaf.source = LeafNodeSource::Update;
        let place = LeafPlace { group_id: &self.group_id, leaf: own };
        leaf.sign(&self.suite, epoch.signer.private(), place)?;
        let private = Arc::new(pair.private);
        self.config.log("proposer_leaf_encryption_priv", private.as_bytes());
        self.propose_with(Proposal::Update(Box::new(leaf)), Some(private), now, rng)
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
        own_update: Option<Arc<HpkePrivateKey>>,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step<'_, SentProposal>, Error> {
        let mut plan = Plan::default();
        let epoch = self.head_epoch();
        if epoch.reinit.is_some() {
            return Err(Usage::GroupEnded.into());
        }
        let sender = Sender::Member(epoch.own_leaf());
        epoch.public().check_proposal(self.rules(now), &epoch.context().extensions, &proposal, sender)?;
        let content = Content::Proposal(proposal.clone());
        let content = epoch.sign(epoch.handshake_format(&self.config), Vec::new(), content)?;
        let reference = self.suite.proposal_ref(&content.to_bytes());
        let outgoing = epoch.protect(&self.config, content, rng)?;
        self.store_proposal(&mut plan, epoch, &reference, proposal, sender, own_update)?;
        plan.advance(&epoch.id, outgoing.advance);
        let message = self.wrap(outgoing.message, &epoch.id);
        Ok(plan.into_step(self, SentProposal { message, reference }))
    }

    fn fresh_psk_id(&self, psk: Psk, rng: &mut dyn CryptoRng) -> PreSharedKeyId {
        let mut psk_nonce = vec![0; self.suite.nh()];
        rng.fill_bytes(&mut psk_nonce);
        PreSharedKeyId { psk, psk_nonce }
    }

    /// Begins a commit in the head. It takes in the stored proposals that fit, unless told otherwise.
    pub fn commit(&mut self) -> CommitBuilder<'_> {
        let epoch = self.head().clone();
        CommitBuilder {
            group: self,
            epoch,
            proposals: Vec::new(),
            psks: Vec::new(),
            references: None,
            authenticated_data: Vec::new(),
            omit_path: false,
        }
    }

    /// A message as it travels in this group.
    pub(crate) fn wrap(&self, message: MlsMessage, epoch: &EpochId) -> Vec<u8> {
        match self.config.schedule {
            KeySchedule::Rfc9420 => message.to_bytes(),
            KeySchedule::Dmls => DmlsMessage { message, dmls_epoch: epoch.clone() }.to_bytes(),
        }
    }

    fn check_pending(&self) -> Result<(), Limit> {
        if self.pending.len() >= self.config.limits.pending { Err(Limit::Pending) } else { Ok(()) }
    }
}

impl<'g> CommitBuilder<'g> {
    /// Commits in another epoch than the head.
    pub fn at(mut self, epoch: &EpochId) -> Self {
        self.epoch = epoch.clone();
        self
    }

    /// Adds a client.
    #[allow(clippy::should_implement_trait)] // The RFC's word; nobody adds numbers here.
    pub fn add(self, key_package: KeyPackage) -> Self {
        self.proposal(Proposal::Add(Box::new(key_package)))
    }

    /// Removes a member.
    pub fn remove(self, leaf: LeafIndex) -> Self {
        self.proposal(Proposal::Remove(leaf))
    }

    /// Replaces the extensions of the GroupContext, all of them.
    pub fn extensions(self, extensions: Extensions) -> Self {
        self.proposal(Proposal::GroupContextExtensions(extensions))
    }

    /// Ends the group; it must be the only proposal.
    pub fn reinit(self, reinit: ReInit) -> Self {
        self.proposal(Proposal::ReInit(reinit))
    }

    /// Mixes in a pre-shared key.
    pub fn psk(mut self, psk: Psk) -> Self {
        self.psks.push(psk);
        self
    }

    /// Adds any proposal by value.
    pub fn proposal(mut self, proposal: Proposal) -> Self {
        self.proposals.push(proposal);
        self
    }

    /// Takes in exactly these stored proposals.
    pub fn references(mut self, references: Vec<ProposalRef>) -> Self {
        self.references = Some(references);
        self
    }

    /// Data that travels with the commit, authenticated; in the clear, whatever the format.
    pub fn authenticated_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.authenticated_data = data.into();
        self
    }

    /// Leaves out the update path where RFC 9420 s12.4 allows it. In a DMLS group commits always have one (R4).
    pub fn omit_path(mut self) -> Self {
        self.omit_path = self.group.config.schedule == KeySchedule::Rfc9420;
        self
    }

    /// Decides about the commit. Applied, it is pending: its epoch begins when it is confirmed.
    pub fn stage(self, now: Time, rng: &mut dyn CryptoRng) -> Result<Step<'g, SentCommit>, Error> {
        let Self { group, epoch, mut proposals, psks, references, authenticated_data, omit_path } = self;
        for psk in psks {
            proposals.push(Proposal::PreSharedKey(group.fresh_psk_id(psk, rng)));
        }
        let mut plan = Plan::default();
        group.check_pending()?;
        let parent = group.full(&epoch)?;
        let own_removal = Proposal::Remove(parent.own_leaf());
        if proposals.contains(&own_removal) {
            return Err(Usage::RemovesSelf.into());
        }
        let request = CommitRequest { proposals, references, authenticated_data, omit_path };
        let sent = group.stage_commit(&mut plan, parent, request, now, rng)?;
        Ok(plan.into_step(group, sent))
    }
}

impl Group {
    fn stage_commit(
        &self,
        plan: &mut Plan,
        parent: &Epoch,
        request: CommitRequest,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<SentCommit, Error> {
        let rules = self.rules(now);
        let staged = self.with_psks(&parent.id, |psks| parent.stage_commit(rules, request, psks, rng))?;
        let id = staged.id;
        let epoch = staged.child.id.clone();
        let message = self.wrap(staged.message, &parent.id);
        let node =
            Node::new(Some(parent.id.clone()), Some((id.clone(), staged.summary.clone())), staged.child);
        let welcome = staged.welcome.map(|welcome| MlsMessage::Welcome(welcome).to_bytes());
        plan.advance(&parent.id, staged.advance);
        plan.puncture(parent, staged.puncture);
        let pending = PendingCommit { message: message.clone(), welcome, id: epoch.clone(), node };
        plan.add_pending(self, id.clone(), pending);
        Ok(SentCommit { id, epoch, message, commit: staged.summary, left_out: staged.left_out })
    }
}
