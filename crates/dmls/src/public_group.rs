//! A group as an observer sees it: the same graph without secrets, for delivery services.
//!
//! An observer follows the PublicMessages of a group. It checks everything that needs no secret: signatures, proposals,
//! update paths, trees. It can't check membership tags and confirmation tags, so anybody whom the
//! authentication service accepts can make an observer follow a
//! commit that the members refuse; what an observer knows is for routing and bookkeeping, never for trust.

use std::collections::BTreeMap;
use std::fmt;

use crate::codec::{Decode, Encode};
use crate::config::Config;
use crate::crypto::{ProposalRef, Suite, Tag};
use crate::epoch::{CommitSummary, Member, PublicEpoch, Rules, resolve};
use crate::error::{Error, Limit, Rule, Usage};
use crate::extension::Extensions;
use crate::framing::{AuthenticatedContent, Content, MlsMessage, PublicMessage, Sender, Verified};
use crate::group::{Candidate, CommitId, DmlsMessage};
use crate::key_schedule::{EpochId, KeySchedule};
use crate::message::Proposal;
use crate::time::Time;

/// A group without its secrets.
pub struct PublicGroup {
    suite: Suite,
    config: Config,
    nodes: BTreeMap<CommitId, Node>,
    /// Which epoch was meant by a `dmls_epoch` header, when it was last seen. Only a hint: the header is not
    /// authenticated (R12), the signature decides.
    hints: BTreeMap<EpochId, CommitId>,
    head: CommitId,
}

struct Node {
    parent: Option<CommitId>,
    epoch: PublicEpoch,
    commit: Option<CommitSummary>,
    proposals: BTreeMap<ProposalRef, (Proposal, Sender)>,
}

/// An epoch as an observer knows it: by the commit that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicEpochInfo {
    /// The commit; of the epoch in which the observer began as its GroupInfo says it, else that GroupInfo's hash (R15).
    pub commit: CommitId,
    /// The commit that made its parent.
    pub parent: Option<CommitId>,
    /// Its number.
    pub number: u64,
    /// The confirmation tag of its commit, as the committer claims it.
    pub confirmation_tag: Tag,
    /// What its commit did.
    pub summary: Option<CommitSummary>,
    /// Whether it is the head.
    pub is_head: bool,
}

/// What a message led to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicOutcome {
    /// A new epoch.
    Commit {
        /// The commit that made it.
        commit: CommitId,
        /// The commit that made its parent.
        parent: CommitId,
        /// What it does.
        summary: CommitSummary,
        /// Whether its parent has another child already.
        fork: bool,
        /// Whether the head is another than before.
        head_moved: bool,
    },
    /// A proposal, stored for its epoch.
    Proposal {
        /// The commit that made the epoch.
        epoch: CommitId,
        /// Its name.
        reference: ProposalRef,
        /// Who proposes.
        sender: Sender,
    },
    /// It is encrypted: there is nothing to see.
    Opaque,
    /// It was processed before.
    Duplicate,
    /// No epoch that we know verifies it: it is too early, too late, or forged. Keep it if you expect the former.
    UnknownEpoch,
}

impl PublicGroup {
    /// Begins with a MLSMessage(GroupInfo); `ratchet_tree` is needed where it is not inside.
    pub fn new(
        group_info: &[u8],
        ratchet_tree: Option<&[u8]>,
        config: Config,
        now: Time,
    ) -> Result<Self, Error> {
        if group_info.len() > config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let message = MlsMessage::from_bytes(group_info)?;
        let rules = Rules::received(&config, now);
        let MlsMessage::GroupInfo(info) = &message else { return Err(Usage::MessageKind.into()) };
        let suite = info.suite(rules)?;
        let info = info.clone().verify(rules, suite, ratchet_tree)?;
        let root = info.commit_id().cloned().unwrap_or_else(|| message.commit_id(&suite));
        let hint = info.dmls_epoch().cloned();
        let node = Node { parent: None, epoch: info.into_public(), commit: None, proposals: BTreeMap::new() };
        Ok(Self {
            suite,
            config,
            nodes: BTreeMap::from([(root.clone(), node)]),
            hints: hint.into_iter().map(|id| (id, root.clone())).collect(),
            head: root,
        })
    }

    /// The group id.
    pub fn id(&self) -> &[u8] {
        &self.node(&self.head).epoch.context.group_id
    }

    /// The commit that made the head, by the fork choice.
    pub fn head(&self) -> &CommitId {
        &self.head
    }

    /// All epochs, parents first.
    pub fn epochs(&self) -> Vec<PublicEpochInfo> {
        let mut infos: Vec<_> = self
            .nodes
            .iter()
            .map(|(id, node)| PublicEpochInfo {
                commit: id.clone(),
                parent: node.parent.clone(),
                number: node.epoch.context.epoch,
                confirmation_tag: node.epoch.confirmation_tag.clone(),
                summary: node.commit.clone(),
                is_head: *id == self.head,
            })
            .collect();
        infos.sort_by(|one, other| (one.number, &one.commit).cmp(&(other.number, &other.commit)));
        infos
    }

    /// The members of an epoch, by the commit that made it.
    pub fn members_of(&self, commit: &CommitId) -> Option<Vec<Member>> {
        let leaves = self.nodes.get(commit)?.epoch.tree.leaves();
        Some(leaves.map(|(leaf, node)| Member { leaf, credential: node.credential.clone() }).collect())
    }

    /// The ratchet tree of an epoch, for joiners (RFC 9420 s12.4.3.3).
    pub fn ratchet_tree(&self, commit: &CommitId) -> Option<Vec<u8>> {
        Some(self.nodes.get(commit)?.epoch.tree.to_bytes())
    }

    /// Follows a message. On an error nothing has changed.
    pub fn receive(&mut self, message: &[u8], now: Time) -> Result<PublicOutcome, Error> {
        if message.len() > self.config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let (message, header) = match self.config.schedule {
            KeySchedule::Rfc9420 => (MlsMessage::from_bytes(message)?, None),
            KeySchedule::Dmls => {
                let DmlsMessage { message, dmls_epoch } = DmlsMessage::from_bytes(message)?;
                if dmls_epoch.as_bytes().len() != self.suite.nh() {
                    return Err(Rule::EpochIdLength.into());
                }
                (message, Some(dmls_epoch))
            }
        };
        let id = message.commit_id(&self.suite);
        if self.nodes.contains_key(&id) {
            return Ok(PublicOutcome::Duplicate);
        }
        match message {
            MlsMessage::PublicMessage(public) if public.content.group_id != self.id() => {
                Err(Rule::GroupId.into())
            }
            MlsMessage::PublicMessage(public) => self.receive_public(*public, id, header, now),
            MlsMessage::PrivateMessage(_) => Ok(PublicOutcome::Opaque),
            _ => Err(Usage::MessageKind.into()),
        }
    }

    fn receive_public(
        &mut self,
        message: PublicMessage,
        id: CommitId,
        header: Option<EpochId>,
        now: Time,
    ) -> Result<PublicOutcome, Error> {
        let number = message.content.epoch;
        let content = message.into_content()?;
        let Some((place, verified)) = self.locate(&content, number, header.as_ref()) else {
            return Ok(PublicOutcome::UnknownEpoch);
        };
        let outcome = match &content.content.content {
            Content::Application(_) => return Err(Rule::ApplicationInPublic.into()),
            Content::Proposal(proposal) => self.store_proposal(&place, &content, proposal.clone(), now)?,
            Content::Commit(_) => self.process_commit(&place, &verified, id, now)?,
        };
        // What is new is bounded; a duplicate can come under any number of headers.
        if let Some(header) = header.filter(|_| outcome != PublicOutcome::Duplicate) {
            self.hints.insert(header, place);
        }
        Ok(outcome)
    }

    /// The epoch in which the message's signature verifies. Of members and joiners that covers the GroupContext, so it is the
    /// right one; a proposal from outside may stand in a sibling instead.
    fn locate(
        &self,
        content: &AuthenticatedContent,
        number: u64,
        header: Option<&EpochId>,
    ) -> Option<(CommitId, Verified)> {
        let hinted = header.and_then(|header| self.hints.get(header));
        let others = self.nodes.iter().filter(|(_, node)| node.epoch.context.epoch == number);
        let mut candidates = hinted.into_iter().chain(others.map(|(id, _)| id));
        candidates.find_map(|id| {
            let verified = self.nodes.get(id)?.epoch.verify(content.clone()).ok()?;
            Some((id.clone(), verified))
        })
    }

    fn store_proposal(
        &mut self,
        place: &CommitId,
        content: &AuthenticatedContent,
        proposal: Proposal,
        now: Time,
    ) -> Result<PublicOutcome, Error> {
        let reference = self.suite.proposal_ref(&content.to_bytes());
        let sender = content.content.sender;
        let node = self.node(place);
        if node.proposals.contains_key(&reference) {
            return Ok(PublicOutcome::Duplicate);
        }
        if node.proposals.len() >= self.config.limits.proposals {
            return Err(Limit::Proposals.into());
        }
        node.epoch.check_proposal(
            Rules::received(&self.config, now),
            &Extensions::new(),
            &proposal,
            sender,
        )?;
        if let Some(node) = self.nodes.get_mut(place) {
            node.proposals.insert(reference.clone(), (proposal, sender));
        }
        Ok(PublicOutcome::Proposal { epoch: place.clone(), reference, sender })
    }

    fn process_commit(
        &mut self,
        place: &CommitId,
        content: &Verified,
        id: CommitId,
        now: Time,
    ) -> Result<PublicOutcome, Error> {
        let parent = self.node(place);
        if parent.commit.as_ref().is_some_and(|summary| summary.reinit.is_some()) {
            return Err(Rule::GroupEnded.into());
        }
        let list = resolve(content.commit()?, content.get().content.sender, |reference| {
            parent.proposals.get(reference).map(|(proposal, sender)| (proposal, *sender))
        })?;
        let rules = Rules::received(&self.config, now);
        let transition = parent.epoch.transition(rules, content, &list)?;
        let is_child = |node: &&Node| node.parent.as_ref() == Some(place);
        let siblings = self.nodes.values().filter(is_child).count();
        if siblings >= self.config.limits.children {
            return Err(Limit::Children.into());
        }
        let epoch = transition.public_child();
        let summary = transition.summary;
        let node = Node {
            parent: Some(place.clone()),
            epoch,
            commit: Some(summary.clone()),
            proposals: BTreeMap::new(),
        };
        self.nodes.insert(id.clone(), node);
        let before = self.head.clone();
        self.head = self.choose_head();
        self.forget_old();
        Ok(PublicOutcome::Commit {
            commit: id,
            parent: place.clone(),
            summary,
            fork: siblings > 0,
            head_moved: self.head != before,
        })
    }

    /// From the oldest epoch on always the preferred child (draft s6.1.2).
    fn choose_head(&self) -> CommitId {
        let oldest = self.nodes.iter().min_by_key(|(_, node)| node.epoch.context.epoch);
        let mut head = oldest.map_or_else(|| self.head.clone(), |(id, _)| id.clone());
        loop {
            let children = self.nodes.iter().filter(|(_, node)| node.parent.as_ref() == Some(&head));
            let preferred = children.max_by(|(one_id, one), (other_id, other)| {
                let one = Candidate { id: None, tag: &one.epoch.confirmation_tag };
                let other = Candidate { id: None, tag: &other.epoch.confirmation_tag };
                self.config.fork_choice.compare(one, other).then(one_id.cmp(other_id))
            });
            match preferred {
                Some((id, _)) => head = id.clone(),
                None => return head,
            }
        }
    }

    /// Drops the oldest epochs beyond the limit: first those that lost, then ancestors of the head.
    fn forget_old(&mut self) {
        while self.nodes.len() > self.config.limits.epochs.max(1) {
            let on_branch = self.branch_of_head();
            let oldest = self
                .nodes
                .iter()
                .filter(|(id, _)| **id != self.head)
                .min_by_key(|(id, node)| (on_branch.contains(id), node.epoch.context.epoch))
                .map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.nodes.remove(&oldest);
            self.hints.retain(|_, place| *place != oldest);
        }
    }

    fn branch_of_head(&self) -> Vec<&CommitId> {
        std::iter::successors(Some(&self.head), |id| self.nodes.get(id)?.parent.as_ref()).collect()
    }

    #[cfg(test)]
    pub(crate) fn hint_count(&self) -> usize {
        self.hints.len()
    }

    fn node(&self, id: &CommitId) -> &Node {
        self.nodes.get(id).expect("only ids of nodes are kept")
    }
}

impl fmt::Debug for PublicGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicGroup")
            .field("suite", &self.suite)
            .field("head", &self.head)
            .field("epochs", &self.nodes.len())
            .finish_non_exhaustive()
    }
}
