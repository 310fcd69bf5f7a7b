//! Sending: application data, proposals, commits.

use std::sync::Arc;

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::{HpkePrivateKey, ProposalRef};
use crate::epoch::{CommitRequest, Recipient, StoredProposal};
use crate::error::{Error, Limit, Usage};
use crate::extension::Extensions;
use crate::forks::Edge;
use crate::framing::{Content, MlsMessage, Sender};
use crate::identity::Identity;
use crate::key_package::KeyPackage;
use crate::key_schedule::{ChildInput, CommitId, EpochId, KeySchedule};
use crate::message::{PreSharedKeyId, Proposal, ProposalOrRef, Psk, ReInit};
use crate::registry::WireFormat;
use crate::time::Time;
use crate::tree::{LeafIndex, LeafPlace, new_update};

use super::branch::PendingCommit;
use super::effect::Effect;
use super::outcome::{Bundle, NewEpoch, SentCommit};
use super::receive::{next_proposal_order, sent_proposals};
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

/// A commit that was staged and confirmed in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// What to send to all members, once the step is persisted.
    pub sent: SentCommit,
    /// The new epoch, with the Welcome.
    pub epoch: NewEpoch,
}

/// A message in the making.
#[must_use = "nothing is sent before `seal`"]
pub struct MessageBuilder<'g, 'd> {
    group: &'g mut Group,
    epoch: EpochId,
    data: &'d [u8],
    authenticated_data: Vec<u8>,
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
    identity: Option<Identity>,
    omit_path: bool,
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
        let own = epoch.own_leaf();
        let template = epoch.public().member(own)?.clone();
        let place = LeafPlace { group_id: &self.group_id, leaf: own };
        let (leaf, private) = new_update(&self.suite, place, template, epoch.signer.private(), rng)?;
        let private = Arc::new(private);
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

    fn fresh_psk_id(&self, psk: Psk, rng: &mut dyn CryptoRng) -> PreSharedKeyId {
        let mut psk_nonce = vec![0; self.suite.nh()];
        rng.fill_bytes(&mut psk_nonce);
        PreSharedKeyId { psk, psk_nonce }
    }

    /// Begins a commit in the head. It takes in the stored proposals that fit, unless told otherwise.
    pub fn commit(&mut self) -> CommitBuilder<'_> {
        let epoch = self.state.head.clone();
        CommitBuilder {
            group: self,
            epoch,
            proposals: Vec::new(),
            psks: Vec::new(),
            references: None,
            authenticated_data: Vec::new(),
            identity: None,
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
}

impl<'g> CommitBuilder<'g> {
    /// Commits in another epoch than the head.
    pub fn at(mut self, epoch: &EpochId) -> Self {
        self.epoch = epoch.clone();
        self
    }

    /// Changes who we are: credential, signature key, capabilities and leaf extensions from the next epoch on. The commit itself is
    /// still signed with the old key.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
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

    /// Decides about the commit. Persisted, it is pending: its epoch begins when it is confirmed. Send it to the delivery
    /// service, or [`Group::bundle`].
    pub fn stage(self, now: Time, rng: &mut dyn CryptoRng) -> Result<Step<'g, SentCommit>, Error> {
        let (group, pending, advance, left_out) = self.make(now, rng)?;
        let staged = group.pending.values().filter(|pending| !pending.given_up).count();
        if staged >= group.config.limits.pending {
            return Err(Limit::Pending.into());
        }
        let sent = SentCommit { left_out, ..pending.sent() };
        let effect = Effect::Pending(sent.id.clone(), Box::new(pending));
        Ok(Decision::new(sent, advance.into_iter().chain([effect]).collect()).into_step(group))
    }

    /// Stages and confirms in one step, for those who have no delivery service to ask. Persist it before you send the commit:
    /// whoever publishes first and confirms later can lose its own branch.
    pub fn stage_confirmed(self, now: Time, rng: &mut dyn CryptoRng) -> Result<Step<'g, Committed>, Error> {
        let (group, pending, advance, left_out) = self.make(now, rng)?;
        let sent = SentCommit { left_out, ..pending.sent() };
        let decision = group.decide_at_once(pending)?.after(advance);
        Ok(decision.map(|epoch| Committed { sent, epoch }).into_step(group))
    }

    fn make(
        self,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> Result<(&'g mut Group, PendingCommit, Option<Effect>, Vec<(ProposalRef, Error)>), Error> {
        let Self { group, epoch, mut proposals, psks, references, authenticated_data, identity, omit_path } =
            self;
        group.check_member()?;
        for psk in psks {
            proposals.push(Proposal::PreSharedKey(group.fresh_psk_id(psk, rng)));
        }
        let parent = group.full(&epoch)?;
        if proposals.contains(&Proposal::Remove(parent.own_leaf())) {
            return Err(Usage::RemovesSelf.into());
        }
        let rules = group.rules(now);
        let request = CommitRequest {
            proposals,
            references,
            authenticated_data: authenticated_data.clone(),
            identity,
            omit_path,
        };
        let staged = group
            .with_psks(&parent.id, |psks| parent.stage_commit(rules, request, psks, rng))
            .map_err(Error::refused)?;
        let references = references_of(&staged.message);
        let removes: Vec<_> = staged.summary.removed.iter().map(|member| member.leaf).collect();
        let pending = PendingCommit {
            message: group.wrap(staged.message, &parent.id),
            authenticated_data,
            welcome: staged.welcome.map(|welcome| MlsMessage::Welcome(welcome).to_bytes()),
            parent: Some(parent.id.clone()),
            edge: Edge {
                commit: staged.id,
                tag: staged.child.public().confirmation_tag.clone(),
                committer: Some(parent.own_leaf()),
                removes,
            },
            commit: staged.summary,
            made: now,
            input: staged.puncture.as_ref().map(ChildInput::of),
            references,
            given_up: false,
            epoch: staged.child,
        };
        let advance = staged.advance.map(|advance| Effect::Advance(parent.id.clone(), advance));
        Ok((group, pending, advance, staged.left_out))
    }
}

impl PendingCommit {
    pub(super) fn sent(&self) -> SentCommit {
        SentCommit {
            id: self.edge.commit.clone(),
            epoch: self.epoch.id.clone(),
            message: self.message.clone(),
            commit: self.commit.clone(),
            left_out: Vec::new(),
        }
    }
}

impl Group {
    /// What a delivery service takes of a pending commit of ours. It releases the Welcome by itself, so don't send that.
    pub fn bundle(&self, commit: &CommitId, now: Time) -> Result<Bundle, Error> {
        let pending = self.pending.get(commit).ok_or(Usage::UnknownCommit)?;
        let info = pending.epoch.group_info(self.rules(now), Recipient::Server)?;
        let proposals = match &pending.parent {
            Some(parent) => sent_proposals(self.full(parent)?, &pending.references),
            None => Vec::new(),
        };
        Ok(Bundle {
            commit: pending.message.clone(),
            proposals,
            welcome: pending.welcome.clone(),
            group_info: MlsMessage::GroupInfo(Box::new(info)).to_bytes(),
        })
    }

    /// Gives a commit of ours up: the delivery service refused it. It may have reached somebody all the same, and the
    /// delivery service may change its mind, so what follows it is kept as long as its parent. The oldest such goes if there are
    /// more than [`crate::Limits::pending`]; it is told.
    pub fn abandon(&mut self, commit: &CommitId) -> Result<Step<'_, Option<CommitId>>, Error> {
        if !self.pending.contains_key(commit) {
            return Err(Usage::UnknownCommit.into());
        }
        let given_up = self.pending.iter().filter(|(id, pending)| pending.given_up && *id != commit);
        let oldest =
            given_up.clone().min_by_key(|(id, pending)| (pending.made, *id)).map(|(id, _)| id.clone());
        let dropped = oldest.filter(|_| given_up.count() >= self.config.limits.pending);
        let mut effects = vec![Effect::GiveUp(commit.clone())];
        effects.extend(dropped.clone().map(Effect::DropPending));
        Ok(Decision::new(dropped, effects).into_step(self))
    }

    /// Erases a commit of ours that certainly never left this device. If it did, and others follow it, we can't.
    pub fn discard_unsent(&mut self, commit: &CommitId) -> Result<Step<'_, ()>, Error> {
        if !self.pending.contains_key(commit) {
            return Err(Usage::UnknownCommit.into());
        }
        Ok(Decision::new((), vec![Effect::DropPending(commit.clone())]).into_step(self))
    }
}

/// The proposals that a commit takes by reference, if that can be seen.
fn references_of(message: &MlsMessage) -> Vec<ProposalRef> {
    let MlsMessage::PublicMessage(message) = message else { return Vec::new() };
    let Content::Commit(commit) = &message.content.content else { return Vec::new() };
    let references = commit.proposals.iter().filter_map(|item| match item {
        ProposalOrRef::Reference(reference) => Some(reference.clone()),
        ProposalOrRef::Proposal(_) => None,
    });
    references.collect()
}
