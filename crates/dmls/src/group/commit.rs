//! Commits of ours: making one, and what becomes of it until it is confirmed.

use rand_core::CryptoRng;

use crate::codec::Encode;
use crate::crypto::ProposalRef;
use crate::epoch::{CommitRequest, Recipient};
use crate::error::{Error, Limit, Usage};
use crate::extension::Extensions;
use crate::forks::Edge;
use crate::framing::{Content, MlsMessage};
use crate::identity::Identity;
use crate::key_package::KeyPackage;
use crate::key_schedule::{ChildInput, CommitId, EpochId, KeySchedule};
use crate::message::{Proposal, ProposalOrRef, Psk, ReInit};
use crate::time::Time;
use crate::tree::LeafIndex;

use super::Group;
use super::branch::PendingCommit;
use super::consolidate::Consolidation;
use super::effect::Effect;
use super::outcome::{Bundle, NewEpoch, SentCommit};
use super::receive::sent_proposals;
use super::step::{Decision, Step};

/// A commit that was staged and confirmed in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// What to send to all members, once the step is persisted.
    pub sent: SentCommit,
    /// The new epoch, with the Welcome.
    pub epoch: NewEpoch,
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

/// A commit that was made, with what else making it does.
struct Made<'g> {
    group: &'g mut Group,
    pending: PendingCommit,
    advance: Option<Effect>,
    left_out: Vec<(ProposalRef, Error)>,
}

impl<'g> CommitBuilder<'g> {
    /// Commits in another epoch than the head.
    pub fn at(mut self, epoch: &EpochId) -> Self {
        self.epoch = epoch.clone();
        self
    }

    /// Changes who we are: credential, signature key, capabilities and leaf extensions from the next epoch on. The commit itself is
    /// still signed with the old key. The identity must be of the group's suite ([`crate::Rule::LeafSuite`]).
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

    /// Takes in what [`Group::consolidate`] found: removes all who are to be removed, and adds those for whom there is a fresh KeyPackage;
    /// the others can follow later. A KeyPackage must be of one of them, by its signature key, and not be the one that is used up.
    pub fn consolidate(
        self,
        todo: &Consolidation,
        key_packages: impl IntoIterator<Item = KeyPackage>,
    ) -> Result<Self, Error> {
        if self.epoch != todo.head {
            return Err(Usage::OtherHead.into());
        }
        let mut commit = self;
        for removal in &todo.removes {
            commit = commit.remove(removal.member.leaf);
        }
        for key_package in key_packages {
            todo.check_fresh(&key_package, &commit.group.suite)?;
            commit = commit.add(key_package);
        }
        Ok(commit)
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
        let Made { group, pending, advance, left_out } = self.make(now, rng)?;
        group.check_pending()?;
        let sent = SentCommit { left_out, ..pending.sent() };
        let effect = Effect::Pending(sent.id.clone(), Box::new(pending));
        Ok(Decision::new(sent, advance.into_iter().chain([effect]).collect()).into_step(group))
    }

    /// Stages and confirms in one step, for those who have no delivery service to ask. Persist it before you send the commit:
    /// whoever publishes first and confirms later can lose its own branch.
    pub fn stage_confirmed(self, now: Time, rng: &mut dyn CryptoRng) -> Result<Step<'g, Committed>, Error> {
        let Made { group, pending, advance, left_out } = self.make(now, rng)?;
        let sent = SentCommit { left_out, ..pending.sent() };
        let decision = group.decide_at_once(pending)?.after(advance);
        Ok(decision.map(|epoch| Committed { sent, epoch }).into_step(group))
    }

    fn make(self, now: Time, rng: &mut dyn CryptoRng) -> Result<Made<'g>, Error> {
        let Self { group, epoch, mut proposals, psks, references, authenticated_data, identity, omit_path } =
            self;
        group.check_member()?;
        if let Some(identity) = &identity {
            identity.check_suite(&group.suite)?;
        }
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
        Ok(Made { group, pending, advance, left_out: staged.left_out })
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

    /// What a delivery service takes of a pending commit of ours. It releases the Welcome by itself, so don't send that.
    pub fn bundle(&self, commit: &CommitId, now: Time) -> Result<Bundle, Error> {
        let pending = self.pending.get(commit).ok_or(Usage::UnknownCommit)?;
        let info = pending.epoch.group_info(self.rules(now), Recipient::Server)?;
        // A commit by which we join again refers to none, and its parent may not be here.
        let proposals = match &pending.parent {
            Some(parent) if !pending.references.is_empty() => {
                sent_proposals(self.full(parent)?, &pending.references)
            }
            _ => Vec::new(),
        };
        Ok(Bundle {
            commit: pending.message.clone(),
            proposals,
            welcome: pending.welcome.clone(),
            group_info: MlsMessage::GroupInfo(Box::new(info)).to_bytes(),
        })
    }

    /// Whether there is room for another commit that is not confirmed.
    pub(super) fn check_pending(&self) -> Result<(), Limit> {
        let staged = self.pending.values().filter(|pending| !pending.given_up).count();
        if staged >= self.config.limits.pending { Err(Limit::Pending) } else { Ok(()) }
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
