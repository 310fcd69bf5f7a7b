//! Receiving: messages in any order, each answered by a typed outcome (draft s3, s6.1.2; DESIGN s3.2).

use crate::codec::{Decode, Encode};
use crate::crypto::ProposalRef;
use crate::epoch::{Claim, Epoch, Member, Opened, Rules, StoredProposal};
use crate::error::{Error, Limit, Rule, Usage};
use crate::extension::Extensions;
use crate::forks::Edge;
use crate::framing::{AuthenticatedContent, Content, ContentType, MlsMessage, Sender, Verified};
use crate::key_schedule::{CommitId, EpochId, KeySchedule};
use crate::message::{Proposal, ProposalOrRef};
use crate::time::Time;

use super::changes::Changes;
use super::effect::Effect;
use super::graph::{Level, Node, State};
use super::held::HeldMessage;
use super::outcome::{
    Application, EpochDeleted, Held, NewEpoch, Outcome, ReceivedProposal, Resumed, RolledBack, Stranded,
    WaitsFor,
};
use super::step::{Decision, Step};
use super::{DmlsMessage, Group};

/// Where a message leads, by what can be seen of it.
enum Route<'g> {
    /// Nothing is to be looked into.
    Answer(Outcome),
    /// Its epoch is not here yet.
    Hold(WaitsFor),
    /// It is a commit of ours that came back.
    Confirm,
    /// It is opened in its epoch.
    Open(&'g EpochId, &'g Node),
}

/// A message of this group, decoded.
struct Arrived<'a> {
    bytes: &'a [u8],
    message: MlsMessage,
    header: Option<EpochId>,
    commit_id: CommitId,
    /// Its place among the held messages, if it was one.
    was_held: Option<u64>,
}

impl Arrived<'_> {
    fn number(&self) -> u64 {
        self.message.group_and_epoch().map_or(0, |(_, number)| number)
    }

    fn content_type(&self) -> ContentType {
        match &self.message {
            MlsMessage::PublicMessage(m) => m.content.content.content_type(),
            MlsMessage::PrivateMessage(m) => m.content_type,
            _ => ContentType::Application,
        }
    }
}

impl Group {
    /// Decides about a message: a DMLSMessage, or in a group with the RFC's key schedule an MLSMessage.
    pub fn receive(&mut self, message: &[u8], now: Time) -> Result<Step<'_, Outcome>, Error> {
        Ok(self.decide(message, now, None)?.into_step(self))
    }

    /// Decides about the oldest held message that can be processed now. Call it until it gives `None`, after each
    /// step that adds an epoch or a proposal; or use [`Group::deliver`], which does.
    pub fn resume(&mut self, now: Time) -> Option<Step<'_, Resumed>> {
        let (order, held) = self.held.ready()?;
        let message = held.message.clone();
        let decision = match self.decide(&message, now, Some(order)) {
            Ok(decision) => decision.map(Ok),
            Err(e) => Decision::nothing(Err(e)),
        };
        let decision = decision.after([Effect::Release(order)]);
        Some(decision.map(|outcome| Resumed { message, outcome }).into_step(self))
    }

    /// Receives a message and every held one that can follow it. `write` stores the changes of each step and its outcome in
    /// one transaction: a message can be read once only. What it refuses does not happen.
    pub fn deliver<E: From<Error>>(
        &mut self,
        message: &[u8],
        now: Time,
        mut write: impl FnMut(&Changes, &Resumed) -> Result<(), E>,
    ) -> Result<(), E> {
        let decision = self.decide(message, now, None)?;
        let decision = decision.map(|outcome| Resumed { message: message.to_vec(), outcome: Ok(outcome) });
        decision.into_step(self).persist(&mut write)?;
        while let Some(step) = self.resume(now) {
            step.persist(&mut write)?;
        }
        Ok(())
    }

    /// Confirms a commit of ours: the delivery service accepted it. Its Welcome is in the outcome, and kept until
    /// [`Group::welcome_sent`].
    pub fn confirm(&mut self, commit: &CommitId) -> Result<Step<'_, NewEpoch>, Error> {
        if self.state.joining.as_ref().is_some_and(|joining| joining.commit == *commit) {
            return Ok(self.decide_joined()?.into_step(self));
        }
        Ok(self.decide_confirm(commit)?.into_step(self))
    }

    fn decide(&self, bytes: &[u8], now: Time, was_held: Option<u64>) -> Result<Decision<Outcome>, Error> {
        if bytes.len() > self.config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let (message, header) = decode(self.config.schedule, self.suite.nh(), bytes)?;
        let (group_id, _) = message.group_and_epoch().ok_or(Rule::MessageKind)?;
        if !matches!(message, MlsMessage::PublicMessage(_) | MlsMessage::PrivateMessage(_)) {
            return Err(Rule::MessageKind.into());
        }
        if group_id != self.group_id {
            return Err(Rule::GroupId.into());
        }
        let commit_id = message.commit_id(&self.suite);
        let arrived = Arrived { bytes, message, header, commit_id, was_held };
        match self.route(&arrived)? {
            Route::Answer(outcome) => Ok(Decision::nothing(outcome)),
            Route::Hold(waits_for) => self.hold(&arrived, waits_for),
            Route::Confirm if self.pending.contains_key(&arrived.commit_id) => {
                let decision = self.decide_confirm(&arrived.commit_id)?;
                Ok(decision.map(|new| Outcome::Commit(Box::new(new))))
            }
            Route::Confirm => Ok(self.decide_joined()?.map(|new| Outcome::Commit(Box::new(new)))),
            Route::Open(id, node) => self.open(arrived, id, node, now),
        }
    }

    fn route(&self, arrived: &Arrived<'_>) -> Result<Route<'_>, Error> {
        let commit = &arrived.commit_id;
        let is_joining = self.state.joining.as_ref().is_some_and(|joining| joining.commit == *commit);
        if is_joining && self.graph.knows_commit(commit) {
            return Ok(Route::Confirm);
        }
        if self.graph.knows_commit(commit) || self.removals.contains_key(commit) {
            return Ok(Route::Answer(Outcome::Duplicate));
        }
        let found = match &arrived.header {
            Some(id) => self.graph.forks().entry(id),
            None => self.graph.by_number(arrived.number()).and_then(|id| self.graph.forks().entry(id)),
        };
        if let Some(pending) = self.pending.get(commit) {
            if arrived.header.is_some() && arrived.header != pending.parent {
                return Err(Rule::EpochHeader.into());
            }
            let is_compared = pending.parent.as_ref().is_some_and(|parent| self.graph.node(parent).is_some());
            if pending.given_up && !is_compared {
                return Ok(Route::Answer(Outcome::GivenUp { commit: commit.clone() }));
            }
            return Ok(Route::Confirm);
        }
        let Some((id, vertex)) = found else { return Ok(self.route_unknown(arrived)) };
        if arrived.number() != vertex.number {
            return Err(Rule::EpochHeader.into());
        }
        if vertex.value.level() == Level::Known {
            return Ok(Route::Answer(self.deleted(arrived, id, Level::Known)));
        }
        Ok(Route::Open(id, &vertex.value))
    }

    /// A message of an epoch that is not here. Its number is in the clear and not authenticated; who changes it only keeps
    /// this copy from us.
    fn route_unknown(&self, arrived: &Arrived<'_>) -> Route<'static> {
        let number = arrived.number();
        let start = self.graph.vertex(self.graph.forks().start()).map_or(0, |vertex| vertex.number);
        match &arrived.header {
            _ if number < start => Route::Answer(Outcome::BeforeUs { number }),
            Some(id) => Route::Hold(WaitsFor::Epoch(id.clone())),
            None if number <= self.head().number() => Route::Answer(Outcome::EpochDeleted(EpochDeleted {
                epoch: None,
                level: Level::Known,
                content: arrived.content_type(),
                wins: None,
            })),
            None => Route::Hold(WaitsFor::Number(number)),
        }
    }

    fn deleted(&self, arrived: &Arrived<'_>, id: &EpochId, level: Level) -> Outcome {
        let forks = self.graph.forks();
        let edge = self.edge_seen(arrived, id);
        let wins = edge.map(|edge| forks.is_on_way(id) && forks.would_win(id, &edge));
        let content = arrived.content_type();
        Outcome::EpochDeleted(EpochDeleted { epoch: Some(id.clone()), level, content, wins })
    }

    /// How a commit is compared that can't be opened any more; not if it hides what counts.
    fn edge_seen(&self, arrived: &Arrived<'_>, parent: &EpochId) -> Option<Edge> {
        let MlsMessage::PublicMessage(message) = &arrived.message else { return None };
        let Content::Commit(commit) = &message.content.content else { return None };
        let tag = message.auth.confirmation_tag.clone()?;
        let mut removes = Vec::new();
        for item in &commit.proposals {
            match item {
                ProposalOrRef::Proposal(proposal) => {
                    removes.extend(if let Proposal::Remove(leaf) = **proposal { Some(leaf) } else { None });
                }
                // It may remove somebody.
                ProposalOrRef::Reference(_) if self.graph.vertex(parent)?.choice.hears_losers() => {
                    return None;
                }
                ProposalOrRef::Reference(_) => {}
            }
        }
        Some(Edge::new(arrived.commit_id.clone(), tag, message.content.sender, removes))
    }

    fn hold(&self, arrived: &Arrived<'_>, waits_for: WaitsFor) -> Result<Decision<Outcome>, Error> {
        let hash = self.suite.hash(&[arrived.bytes]);
        if self.held.find(&hash).is_some_and(|order| Some(order) != arrived.was_held) {
            return Ok(Decision::nothing(Outcome::Duplicate));
        }
        let limits = &self.config.limits;
        let room = self.held.make_room(&waits_for, arrived.bytes.len(), arrived.was_held, limits);
        let room = room.ok_or(Limit::Held)?;
        let evicted = room.iter().filter_map(|order| Some(self.held.get(*order)?.message.clone())).collect();
        let mut effects: Vec<_> = room.into_iter().map(Effect::Release).collect();
        let message = arrived.bytes.to_vec();
        // As long as nobody has accepted the commit by which we joined, what comes later may be of others' branch as well.
        let is_later = arrived.number() > self.head().number();
        let passed = matches!(waits_for, WaitsFor::Epoch(_)) && (!is_later || self.state.joining.is_some());
        let held = HeldMessage { waits_for: waits_for.clone(), message, hash, passed };
        effects.push(Effect::Hold(self.held.next_order(), held));
        let messages = self.held.passed() + 1;
        let stranded = (passed && messages >= self.config.limits.stranded_after)
            .then_some(Stranded::OtherBranch { messages });
        Ok(Decision::new(Outcome::Held(Held { waits_for, evicted, stranded }), effects))
    }

    pub(super) fn wait_is_over(&self, waits_for: &WaitsFor) -> bool {
        match waits_for {
            WaitsFor::Epoch(id) => self.graph.node(id).is_some(),
            WaitsFor::Number(number) => *number <= self.head().number(),
            // Once its epoch is gone the commit never comes to anything.
            WaitsFor::Proposal { epoch, reference } => {
                self.full(epoch).map_or(true, |epoch| epoch.proposals.contains_key(reference))
            }
            WaitsFor::Room { epoch, reference } => {
                let named = WaitsFor::Proposal { epoch: epoch.clone(), reference: reference.clone() };
                self.full(epoch).is_err() || self.held.waits(&named)
            }
        }
    }

    fn open(
        &self,
        arrived: Arrived<'_>,
        id: &EpochId,
        node: &Node,
        now: Time,
    ) -> Result<Decision<Outcome>, Error> {
        let reading = node.reading().ok_or(Usage::UnknownEpoch)?;
        if let Claim::Own = reading.claim(&arrived.message)? {
            return self.decide_own(&arrived, id, node);
        }
        let kind = arrived.content_type();
        let opened = match (&node.state, arrived.message.clone()) {
            (State::Full(epoch), message) => epoch.open(&self.config, message),
            (_, MlsMessage::PrivateMessage(m)) if kind == ContentType::Application => {
                reading.open_private(&self.config, m)
            }
            _ => return Ok(Decision::nothing(self.deleted(&arrived, id, node.level()))),
        };
        let opened = match opened {
            Err(Error::Invalid(Rule::MessageKeyUsed)) if kind != ContentType::Commit => {
                return Ok(Decision::nothing(Outcome::Duplicate));
            }
            Err(Error::Invalid(Rule::MessageKeyTooOld)) => {
                return Ok(Decision::nothing(Outcome::TooOld { epoch: id.clone() }));
            }
            opened => opened?,
        };
        let Opened { content, advance } = opened;
        let decision = match (&content.get().content.content, &node.state) {
            (Content::Application(data), _) => {
                Decision::nothing(Outcome::Application(self.application(id, node, content.get(), data)?))
            }
            (Content::Proposal(_), State::Full(epoch)) => self.decide_proposal(&arrived, epoch, &content)?,
            (Content::Commit(_), State::Full(epoch)) => {
                if let Some(reference) = epoch.missing_proposal(content.get()) {
                    return self.hold(&arrived, WaitsFor::Proposal { epoch: id.clone(), reference });
                }
                self.decide_commit(epoch, arrived.commit_id, &content, now)?
            }
            _ => return Ok(Decision::nothing(self.deleted(&arrived, id, node.level()))),
        };
        // What was held, or noted only, is opened again some day.
        let keeps_key = matches!(decision.outcome, Outcome::Held(_) | Outcome::Lost(_) | Outcome::Duplicate);
        let advance = advance.filter(|_| !keeps_key).map(|advance| Effect::Advance(id.clone(), advance));
        Ok(decision.after(advance))
    }

    /// A message that names us as its sender: what we sent, or what an earlier self of ours sent whom we don't remember.
    fn decide_own(
        &self,
        arrived: &Arrived<'_>,
        id: &EpochId,
        node: &Node,
    ) -> Result<Decision<Outcome>, Error> {
        let content = arrived.content_type();
        let opened = match (&node.state, arrived.message.clone()) {
            (State::Full(epoch), message) => epoch.open(&self.config, message),
            (State::Readable(reading), MlsMessage::PrivateMessage(m)) => {
                reading.open_private(&self.config, m)
            }
            _ => return Ok(Decision::nothing(self.deleted(arrived, id, node.level()))),
        };
        let rolled_back = |verified| Outcome::RolledBack(RolledBack { epoch: id.clone(), content, verified });
        let outcome = match opened {
            // The key is gone, so it was sent from here. A commit is pending or known as long as it can be followed.
            Err(Error::Invalid(Rule::MessageKeyUsed | Rule::MessageKeyTooOld)) => match content {
                ContentType::Commit => rolled_back(false),
                _ => Outcome::Own,
            },
            Err(e) => return Err(e),
            Ok(opened) => {
                let content = opened.content.get();
                let is_stored = matches!(content.content.content, Content::Proposal(_))
                    && node.full().is_some_and(|epoch| {
                        epoch.proposals.contains_key(&self.suite.proposal_ref(&content.to_bytes()))
                    });
                if is_stored { Outcome::Own } else { rolled_back(true) }
            }
        };
        Ok(Decision::nothing(outcome))
    }

    fn decide_proposal(
        &self,
        arrived: &Arrived<'_>,
        epoch: &Epoch,
        content: &Verified,
    ) -> Result<Decision<Outcome>, Error> {
        let content = content.get();
        let Content::Proposal(proposal) = &content.content.content else { return Err(Rule::Sender.into()) };
        let reference = self.suite.proposal_ref(&content.to_bytes());
        if epoch.proposals.contains_key(&reference) {
            return Ok(Decision::nothing(Outcome::Duplicate));
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
        let named = WaitsFor::Proposal { epoch: epoch.id.clone(), reference: reference.clone() };
        if !self.held.waits(&named) && !self.has_room(epoch, sender, proposal) {
            return self.hold(arrived, WaitsFor::Room { epoch: epoch.id.clone(), reference });
        }
        let message = match &arrived.message {
            MlsMessage::PublicMessage(_) => Some(arrived.message.to_bytes()),
            _ => None,
        };
        let stored = StoredProposal {
            proposal: proposal.clone(),
            sender,
            order: next_proposal_order(epoch),
            own_update: None,
            message,
        };
        let received = ReceivedProposal {
            epoch: epoch.id.clone(),
            sender,
            reference: reference.clone(),
            proposal: proposal.clone(),
        };
        let effects = vec![Effect::StoreProposal(epoch.id.clone(), reference, Box::new(stored))];
        Ok(Decision::new(Outcome::Proposal(received), effects))
    }

    /// Whether a proposal of this sender may be stored though no commit refers to it yet.
    pub(super) fn has_room(&self, epoch: &Epoch, sender: Sender, proposal: &Proposal) -> bool {
        let limits = &self.config.limits;
        let same = epoch.proposals.values().filter(|stored| stored.sender == sender).count();
        let ruleset = epoch.public().ruleset.as_ref();
        let per_sender =
            ruleset.map_or(limits.proposals_per_sender, |ruleset| ruleset.proposals_per_sender.into());
        epoch.proposals.len() < limits.proposals
            && same < per_sender
            && proposal.to_bytes().len() <= limits.proposal_size
    }

    fn application(
        &self,
        id: &EpochId,
        node: &Node,
        content: &AuthenticatedContent,
        data: &[u8],
    ) -> Result<Application, Error> {
        let Sender::Member(leaf) = content.content.sender else { return Err(Rule::Sender.into()) };
        let public = node.public().ok_or(Usage::UnknownEpoch)?;
        let sender = Member::new(leaf, public.member(leaf)?);
        let head = &self.head_epoch().public().tree;
        Ok(Application {
            epoch: id.clone(),
            on_way: self.graph.forks().is_on_way(id),
            is_member: head.has_signature_key(&sender.signature_key),
            sender,
            data: data.to_vec(),
            authenticated_data: content.content.authenticated_data.clone(),
        })
    }
}

pub(crate) fn next_proposal_order(epoch: &Epoch) -> u32 {
    epoch.proposals.values().map(|stored| stored.order.saturating_add(1)).max().unwrap_or(0)
}

/// The message and its header, by the key schedule of the group.
pub(crate) fn decode(
    schedule: KeySchedule,
    nh: usize,
    bytes: &[u8],
) -> Result<(MlsMessage, Option<EpochId>), Error> {
    match schedule {
        KeySchedule::Rfc9420 => Ok((MlsMessage::from_bytes(bytes)?, None)),
        KeySchedule::Dmls => {
            let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(bytes)?;
            if dmls_epoch.as_bytes().len() != nh {
                return Err(Rule::EpochIdLength.into());
            }
            Ok((message, Some(dmls_epoch)))
        }
    }
}

/// The names of proposals that a commit of ours takes, and the proposals as they were sent.
pub(super) fn sent_proposals(epoch: &Epoch, references: &[ProposalRef]) -> Vec<Vec<u8>> {
    references.iter().filter_map(|reference| epoch.proposals.get(reference)?.message.clone()).collect()
}
