//! Receiving: messages in any order, each answered by a typed outcome (draft s3, s6.1.2; DESIGN s3.2).

use std::collections::BTreeSet;

use crate::codec::{Decode, Encode};
use crate::crypto::Tag;
use crate::epoch::{Claim, CommitSummary, Epoch, Member, PathKeys, Rules, StoredProposal};
use crate::error::{Error, Limit, Rule, Usage};
use crate::extension::Extensions;
use crate::framing::{AuthenticatedContent, Content, ContentType, MlsMessage, Sender, Verified};
use crate::key_schedule::{EpochId, KeySchedule};
use crate::time::Time;

use super::held::HeldMessage;
use super::outcome::{Application, Held, NewEpoch, Outcome, ReceivedProposal, Removed, Resumed};
use super::step::{Plan, Step};
use super::{Candidate, Changes, CommitId, DmlsMessage, Group, Node, State};

/// The circumstances in which a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The time.
    pub now: Time,
    /// Whether the delivery service says that old epochs must be retained, because the network is split (draft
    /// s6.1.1). Otherwise a commit deletes all epochs but the head (s6.1.2).
    pub retain: bool,
}

impl Arrival {
    /// In a network that is whole.
    pub fn at(now: Time) -> Self {
        Self { now, retain: false }
    }

    /// In a network that is split: what is old may still be needed.
    pub fn retaining(now: Time) -> Self {
        Self { now, retain: true }
    }
}

/// A message of this group, decoded and located.
struct Located {
    message: MlsMessage,
    commit_id: CommitId,
    epoch: EpochId,
}

/// A commit that is valid, on its way into the graph.
pub(super) struct Child<'a> {
    pub parent: &'a EpochId,
    pub id: &'a EpochId,
    pub tag: &'a Tag,
    pub number: u64,
}

impl Group {
    /// Decides about a message: a DMLSMessage, or in a group with the RFC's key schedule an MLSMessage.
    pub fn receive(&mut self, message: &[u8], arrival: Arrival) -> Result<Step<'_, Outcome>, Error> {
        let mut plan = Plan::default();
        let outcome = self.decide(&mut plan, message, arrival)?;
        Ok(plan.into_step(self, outcome))
    }

    /// Decides about the oldest held message that can be processed now. Call it until it gives `None`, after each
    /// step that adds an epoch or a proposal; or use [`Group::deliver`], which does.
    pub fn resume(&mut self, arrival: Arrival) -> Option<Step<'_, Resumed>> {
        let (hash, held) = self.held.ready(|held| self.wait_is_over(held))?;
        let (hash, message) = (hash.to_vec(), held.message.clone());
        let mut plan = Plan::default();
        plan.release(&hash);
        let outcome = self.decide(&mut plan, &message, arrival);
        if outcome.is_err() {
            plan = Plan::default();
            plan.release(&hash);
        }
        Some(plan.into_step(self, Resumed { outcome }))
    }

    /// Receives a message and every held one that can follow it. `persist` writes the changes of each step, and keeps
    /// its outcome in the same transaction: a message can be read once only. What it refuses does not happen.
    pub fn deliver<E: From<Error>>(
        &mut self,
        message: &[u8],
        arrival: Arrival,
        mut persist: impl FnMut(&Changes, &Resumed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut plan = Plan::default();
        let outcome = self.decide(&mut plan, message, arrival)?;
        let step = plan.into_step(self, Resumed { outcome: Ok(outcome) });
        persist(step.changes(), step.outcome())?;
        step.apply();
        while let Some(step) = self.resume(arrival) {
            persist(step.changes(), step.outcome())?;
            step.apply();
        }
        Ok(())
    }

    /// Confirms a commit of ours: the delivery service accepted it. Its Welcome is in the outcome.
    pub fn confirm(&mut self, commit: &CommitId, arrival: Arrival) -> Result<Step<'_, NewEpoch>, Error> {
        let mut plan = Plan::default();
        let outcome = self.decide_confirm(&mut plan, commit, arrival)?;
        Ok(plan.into_step(self, outcome))
    }

    /// Gives a commit of ours up: the delivery service refused it. Its punctures stay.
    pub fn abandon(&mut self, commit: &CommitId) -> Result<Step<'_, ()>, Error> {
        let mut plan = Plan::default();
        let pending = self.pending.get(commit).ok_or(Usage::UnknownCommit)?;
        plan.drop_pending(self, commit, pending);
        Ok(plan.into_step(self, ()))
    }

    /// Deletes all epochs but the head: the network is whole again.
    pub fn delete_old_epochs(&mut self) -> Step<'_, ()> {
        let mut plan = Plan::default();
        let head = self.head().clone();
        self.retain(&mut plan, &head, None, false);
        plan.into_step(self, ())
    }

    fn decide(&self, plan: &mut Plan, bytes: &[u8], arrival: Arrival) -> Result<Outcome, Error> {
        if bytes.len() > self.config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let (message, header) = self.decode(bytes)?;
        let (group_id, number) = match &message {
            MlsMessage::PublicMessage(m) => (&m.content.group_id, m.content.epoch),
            MlsMessage::PrivateMessage(m) => (&m.group_id, m.epoch),
            _ => return Err(Usage::MessageKind.into()),
        };
        if *group_id != self.group_id {
            return Err(Rule::GroupId.into());
        }
        let commit_id = self.commit_id(&message);
        if self.graph.knows_commit(&commit_id) {
            return Ok(Outcome::Duplicate);
        }
        let waits_for = match &header {
            Some(id) => Held::Epoch(id.clone()),
            None => Held::Number(number),
        };
        let epoch = match header {
            Some(id) => Some(id).filter(|id| self.graph.node(id).is_some()),
            None => self.graph.by_number(number).cloned(),
        };
        let Some(epoch) = epoch else {
            if waits_for == Held::Number(number) && number <= self.head_epoch().context().epoch {
                return Ok(Outcome::EpochDeleted { epoch: EpochId::default() });
            }
            return self.hold(plan, bytes, waits_for);
        };
        if let Some(pending) = self.pending.get(&commit_id) {
            if pending.node.parent.as_ref() != Some(&epoch) {
                return Err(Rule::EpochHeader.into());
            }
            return Ok(Outcome::Commit(Box::new(self.decide_confirm(plan, &commit_id, arrival)?)));
        }
        self.open(plan, bytes, Located { message, commit_id, epoch }, arrival)
    }

    fn decode(&self, bytes: &[u8]) -> Result<(MlsMessage, Option<EpochId>), Error> {
        match self.config.schedule {
            KeySchedule::Rfc9420 => Ok((MlsMessage::from_bytes(bytes)?, None)),
            KeySchedule::Dmls => {
                let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(bytes)?;
                if dmls_epoch.as_bytes().len() != self.suite.nh() {
                    return Err(Rule::EpochIdLength.into());
                }
                Ok((message, Some(dmls_epoch)))
            }
        }
    }

    pub(crate) fn commit_id(&self, message: &MlsMessage) -> CommitId {
        self.suite.hash(&[&message.to_bytes()]).into()
    }

    fn hold(&self, plan: &mut Plan, bytes: &[u8], waits_for: Held) -> Result<Outcome, Error> {
        let hash = self.suite.hash(&[bytes]);
        if self.held.get(&hash).is_some_and(|held| held.waits_for == waits_for) {
            return Ok(Outcome::Duplicate);
        }
        let room = self.held.make_room(&waits_for, bytes.len(), &self.config.limits).ok_or(Limit::Held)?;
        for evicted in room {
            plan.release(&evicted);
        }
        let order = self.held.next_order();
        plan.hold(hash, HeldMessage { waits_for: waits_for.clone(), message: bytes.to_vec(), order });
        Ok(Outcome::Held(waits_for))
    }

    pub(super) fn wait_is_over(&self, held: &Held) -> bool {
        match held {
            Held::Epoch(id) => self.graph.node(id).is_some(),
            Held::Number(number) => *number <= self.head_epoch().context().epoch,
            // Once its epoch is gone the commit never comes to anything.
            Held::Proposal { epoch, reference } => {
                self.full(epoch).map_or(true, |epoch| epoch.proposals.contains_key(reference))
            }
        }
    }

    fn open(
        &self,
        plan: &mut Plan,
        bytes: &[u8],
        located: Located,
        arrival: Arrival,
    ) -> Result<Outcome, Error> {
        let Located { message, commit_id, epoch: id } = located;
        let deleted = Outcome::EpochDeleted { epoch: id.clone() };
        let node = self.graph.node(&id).ok_or(Usage::UnknownEpoch)?;
        let Some(reading) = node.reading() else { return Ok(deleted) };
        let number = message.group_and_epoch().map(|(_, number)| number);
        if number != Some(reading.public.context.epoch) {
            return Err(Rule::EpochHeader.into());
        }
        let kind = match &message {
            MlsMessage::PublicMessage(m) => m.content.content.content_type(),
            MlsMessage::PrivateMessage(m) => m.content_type,
            _ => return Err(Usage::MessageKind.into()),
        };
        if let Claim::Own = reading.claim(&message)? {
            // A commit of ours that is not pending can't be processed: only its record could lead into its epoch.
            return if kind == ContentType::Commit {
                Err(Usage::UnknownCommit.into())
            } else {
                Ok(Outcome::Own)
            };
        }
        let opened = match (&node.state, message) {
            (State::Full(epoch), message) => epoch.open(&self.config, message),
            (_, MlsMessage::PrivateMessage(m)) if kind == ContentType::Application => {
                reading.open_private(&self.config, m)
            }
            _ => return Ok(deleted),
        };
        let opened = match opened {
            Err(Error::Invalid(Rule::MessageKeyUsed)) if kind != ContentType::Commit => {
                return Ok(Outcome::Duplicate);
            }
            opened => opened?,
        };
        let content = opened.content.get();
        let outcome = match (&content.content.content, &node.state) {
            (Content::Application(data), _) => {
                Ok(Outcome::Application(application(&id, node, content, data)?))
            }
            (Content::Proposal(_), State::Full(epoch)) => self.decide_proposal(plan, epoch, &opened.content),
            (Content::Commit(_), State::Full(epoch)) => {
                if let Some(reference) = epoch.missing_proposal(content) {
                    return self.hold(plan, bytes, Held::Proposal { epoch: id, reference });
                }
                plan.advance(&id, opened.advance);
                return self.decide_commit(
                    plan,
                    epoch,
                    commit_id,
                    &opened.content,
                    PathKeys::Decrypt,
                    arrival,
                );
            }
            _ => return Ok(deleted),
        };
        plan.advance(&id, opened.advance);
        outcome
    }

    fn decide_proposal(&self, plan: &mut Plan, epoch: &Epoch, content: &Verified) -> Result<Outcome, Error> {
        let content = content.get();
        let Content::Proposal(proposal) = &content.content.content else { return Err(Rule::Sender.into()) };
        let reference = self.suite.proposal_ref(&content.to_bytes());
        if epoch.proposals.contains_key(&reference) {
            return Ok(Outcome::Duplicate);
        }
        let sender = content.content.sender;
        let rules = Rules::received(&self.config);
        epoch.public().check_proposal(rules, &Extensions::new(), proposal, sender)?;
        // What comes from outside is not signed with the GroupContext, so siblings could not be told apart (R14).
        let is_outside = !matches!(sender, Sender::Member(_));
        if is_outside
            && self.config.wants_extension()
            && content.content.authenticated_data != epoch.id.as_bytes()
        {
            return Err(Rule::EpochHeader.into());
        }
        self.store_proposal(plan, epoch, &reference, proposal.clone(), sender, None)?;
        Ok(Outcome::Proposal(ReceivedProposal {
            epoch: epoch.id.clone(),
            sender,
            reference,
            proposal: proposal.clone(),
        }))
    }

    pub(crate) fn store_proposal(
        &self,
        plan: &mut Plan,
        epoch: &Epoch,
        reference: &crate::crypto::ProposalRef,
        proposal: crate::message::Proposal,
        sender: Sender,
        own_update: Option<std::sync::Arc<crate::crypto::HpkePrivateKey>>,
    ) -> Result<(), Error> {
        let limits = &self.config.limits;
        let same = epoch.proposals.values().filter(|stored| stored.sender == sender).count();
        if epoch.proposals.len() >= limits.proposals
            || same >= limits.proposals_per_sender
            || proposal.to_bytes().len() > limits.proposal_size
        {
            return Err(Limit::Proposals.into());
        }
        let order = epoch.proposals.values().map(|stored| stored.order.saturating_add(1)).max().unwrap_or(0);
        let stored = StoredProposal { proposal, sender, order, own_update };
        plan.store_proposal(&epoch.id, reference.clone(), stored);
        Ok(())
    }

    pub(crate) fn decide_commit(
        &self,
        plan: &mut Plan,
        parent: &Epoch,
        commit_id: CommitId,
        content: &Verified,
        keys: PathKeys,
        arrival: Arrival,
    ) -> Result<Outcome, Error> {
        self.check_children(&parent.id)?;
        let rules = Rules::received(&self.config);
        let processed =
            self.with_psks(&parent.id, |psks| parent.process_commit(rules, content, psks, keys))?;
        if processed.tag.as_bytes().len() != self.suite.nh() {
            return Err(Rule::ConfirmationTag.into());
        }
        let Some(epoch) = processed.child else {
            let removed = Removed {
                parent: parent.id.clone(),
                commit: processed.summary,
                wins: self.removal_wins(&parent.id, &processed.tag),
            };
            // Its tag can't be verified, so one member could send any number of them: they have a limit of their own, and
            // take no room from children.
            let noted = self.graph.node(&parent.id).map_or(0, |node| node.removals.len());
            if noted < self.config.limits.children {
                plan.add_removal(self, &parent.id, commit_id, processed.tag);
            }
            return Ok(Outcome::Removed(Box::new(removed)));
        };
        if self.graph.node(&epoch.id).is_some() {
            return Ok(Outcome::Duplicate);
        }
        plan.puncture(parent, processed.puncture);
        let id = epoch.id.clone();
        let mut node =
            Node::new(Some(parent.id.clone()), Some((commit_id, processed.summary.clone())), epoch);
        let child = Child { parent: &parent.id, id: &id, tag: &processed.tag, number: node.number };
        let mut outcome = self.new_epoch(&child, processed.summary);
        outcome.authenticated_data = content.get().content.authenticated_data.clone();
        let head = self.settle(plan, &child, &mut outcome);
        if !arrival.retain && head != id {
            node.state = State::Known;
            node.resumption = None;
        }
        plan.add_epoch(self, id.clone(), node);
        self.retain(plan, &head, Some(&child), arrival.retain);
        Ok(Outcome::Commit(Box::new(outcome)))
    }

    fn check_children(&self, parent: &EpochId) -> Result<(), Limit> {
        let pending = self.pending.values().filter(|p| p.node.parent.as_ref() == Some(parent)).count();
        let children = self.graph.children(parent).len() + pending;
        if children >= self.config.limits.children { Err(Limit::Children) } else { Ok(()) }
    }

    fn decide_confirm(
        &self,
        plan: &mut Plan,
        commit: &CommitId,
        arrival: Arrival,
    ) -> Result<NewEpoch, Error> {
        let pending = self.pending.get(commit).ok_or(Usage::UnknownCommit)?;
        let parent = pending.node.parent.as_ref().ok_or(Usage::UnknownCommit)?;
        let summary = pending.node.commit.as_ref().map(|(_, summary)| summary.clone());
        let child = Child { parent, id: &pending.id, tag: &pending.node.tag, number: pending.node.number };
        let mut outcome = self.new_epoch(&child, summary.ok_or(Usage::UnknownCommit)?);
        outcome.own = true;
        outcome.welcome = pending.welcome.clone();
        let head = self.settle(plan, &child, &mut outcome);
        if !arrival.retain && head != pending.id {
            // It lost: its state goes, its Welcome with it.
            outcome.welcome = None;
            plan.drop_pending(self, commit, pending);
            plan.add_epoch(self, pending.id.clone(), pending.node.without_state());
        } else {
            plan.confirm(commit, pending);
        }
        self.retain(plan, &head, Some(&child), arrival.retain);
        Ok(outcome)
    }

    fn new_epoch(&self, child: &Child<'_>, commit: CommitSummary) -> NewEpoch {
        NewEpoch {
            id: child.id.clone(),
            parent: child.parent.clone(),
            number: child.number,
            commit,
            authenticated_data: Vec::new(),
            own: false,
            fork: !self.graph.children(child.parent).is_empty(),
            head_moved: false,
            lost: Vec::new(),
            welcome: None,
            ready: self.held.count(|held| match held {
                Held::Epoch(id) => id == child.id,
                Held::Number(number) => *number == child.number,
                Held::Proposal { .. } => false,
            }),
        }
    }

    /// The head with a new child in the graph.
    fn settle(&self, plan: &mut Plan, child: &Child<'_>, outcome: &mut NewEpoch) -> EpochId {
        let extra = Some((child.parent, child.id, child.tag));
        let head =
            self.graph.choose_head(&*self.config.fork_choice, extra).unwrap_or_else(|| self.head().clone());
        outcome.head_moved = head != *self.head();
        if outcome.head_moved {
            outcome.lost = self.graph.lost(self.head(), &head, child.parent);
        }
        plan.head(self, &head);
        head
    }

    fn removal_wins(&self, parent: &EpochId, tag: &Tag) -> bool {
        let removal = Candidate { id: None, tag };
        let mut below: Option<(&EpochId, &Node)> = None;
        let mut current = Some(self.head());
        while let Some(id) = current {
            let Some(node) = self.graph.node(id) else { return false };
            if id == parent {
                return below.is_none_or(|(id, below)| {
                    let own = Candidate { id: Some(id), tag: &below.tag };
                    self.config.fork_choice.compare(removal, own).is_gt()
                });
            }
            below = Some((id, node));
            current = node.parent.as_ref();
        }
        false
    }

    /// Deletes what is not retained any more (draft s6.1.2), and what the limits forbid in any case.
    pub(super) fn retain(&self, plan: &mut Plan, head: &EpochId, child: Option<&Child<'_>>, retain: bool) {
        let mut old: Vec<(&EpochId, &Node)> =
            self.graph.nodes().filter(|(id, node)| *id != head && node.reading().is_some()).collect();
        old.sort_by_key(|(_, node)| node.number);
        let linear = self.config.schedule == KeySchedule::Rfc9420;
        // The head counts, and a new child that is not the head.
        let new = 1 + usize::from(child.is_some_and(|child| child.id != head));
        let excess = (old.len() + new).saturating_sub(self.config.limits.epochs);
        let mut deleted = Vec::new();
        for (place, (id, node)) in old.into_iter().enumerate() {
            if !retain || place < excess {
                plan.delete(self, id);
                deleted.push(id);
            } else if linear && node.is_full() {
                plan.keep_readable(self, id);
                deleted.push(id);
            }
        }
        for (commit, pending) in &self.pending {
            let confirmed = child.is_some_and(|child| *child.id == pending.id);
            if !confirmed && pending.node.parent.as_ref().is_some_and(|parent| deleted.contains(&parent)) {
                plan.drop_pending(self, commit, pending);
            }
        }
        self.forget_old(plan, head, child);
    }

    /// Drops resumption keys and ids of epochs that are long gone.
    fn forget_old(&self, plan: &mut Plan, head: &EpochId, child: Option<&Child<'_>>) {
        let newest = match (child, self.graph.node(head)) {
            (Some(child), _) if child.id == head => child.number,
            (_, node) => node.map_or(0, |node| node.number),
        };
        let mut known: Vec<(&EpochId, &Node)> =
            self.graph.nodes().filter(|(_, node)| node.reading().is_none()).collect();
        known.sort_by_key(|(_, node)| node.number);
        let excess = known.len().saturating_sub(self.config.limits.known_epochs);
        let forgotten = self.choose_forgotten(&known, excess);
        for (id, node) in known {
            if forgotten.contains(id) {
                plan.forget(id);
            } else if node.resumption.is_some() && node.number + self.config.limits.resumption_psks < newest {
                plan.drop_resumption(id, node);
            }
        }
    }

    /// Which ids can go without a change to the fork choice: the oldest epoch as long as it has one child, and the
    /// ends of branches on which nothing is left.
    fn choose_forgotten<'a>(&self, known: &[(&'a EpochId, &Node)], excess: usize) -> BTreeSet<&'a EpochId> {
        let mut forgotten = BTreeSet::new();
        while forgotten.len() < excess {
            let next = known.iter().find(|(id, node)| {
                let children = self.graph.children(id).iter().filter(|child| !forgotten.contains(child));
                let children = children.count();
                let parent = node.parent.as_ref();
                let is_root = parent.is_none_or(|id| self.graph.node(id).is_none() || forgotten.contains(id));
                !forgotten.contains(id) && (children == 0 || is_root && children == 1)
            });
            let Some((id, _)) = next else { break };
            forgotten.insert(*id);
        }
        forgotten
    }
}

fn application(
    id: &EpochId,
    node: &Node,
    content: &AuthenticatedContent,
    data: &[u8],
) -> Result<Application, Error> {
    let Sender::Member(leaf) = content.content.sender else { return Err(Rule::Sender.into()) };
    let public = node.public().ok_or(Usage::UnknownEpoch)?;
    Ok(Application {
        epoch: id.clone(),
        sender: Member { leaf, credential: public.member(leaf)?.credential.clone() },
        data: data.to_vec(),
        authenticated_data: content.content.authenticated_data.clone(),
    })
}
