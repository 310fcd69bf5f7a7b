//! Commits: what of them can be checked without secrets, and where they lead.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{Decode, Encode};
use crate::crypto::ProposalRef;
use crate::epoch::{CommitSummary, Rules, resolve};
use crate::error::{Error, Limit, Rule, Usage};
use crate::extension::Extensions;
use crate::forks::{Edge, Vertex};
use crate::framing::{Content, MlsMessage, PublicMessage, Sender, Verified};
use crate::group::{Bundle, children_per_committer, decode_message};
use crate::key_schedule::{CommitId, EpochId};
use crate::message::{Commit, ProposalOrRef};

use super::step::Effect;
use super::{PublicChild, PublicGroup, PublicNode, PublicProposal, PublicStep, StagedCommit};

/// How a commit comes.
#[derive(Clone, Copy)]
struct Submission<'a> {
    commit: &'a [u8],
    proposals: &'a [Vec<u8>],
    /// Where the committer's word for the child is.
    bundle: Option<&'a Bundle>,
    /// Whether it may lose by its committer's quota.
    has_quota: bool,
}

impl PublicGroup {
    /// Decides about a commit of the epoch that `parent` made, as a client submits it. All of the bundle is checked, and nothing
    /// but the bundle, the parent and the quota of the committer decides.
    pub fn stage(
        &mut self,
        parent: &CommitId,
        bundle: &Bundle,
    ) -> Result<PublicStep<'_, StagedCommit>, Error> {
        self.submit(parent, Submission::new(bundle, true))
    }

    /// The same for a commit that delivery services have agreed on: no quota counts. Nor does it matter which came first of two
    /// commits that differ only in their membership tags: both are epochs here, of which members can process one.
    pub fn learn(
        &mut self,
        parent: &CommitId,
        bundle: &Bundle,
    ) -> Result<PublicStep<'_, StagedCommit>, Error> {
        self.submit(parent, Submission::new(bundle, false))
    }

    /// Decides about a commit without the committer's word for the child: for transcripts, and for groups of RFC 9420 alone. `proposals` are
    /// MLSMessages, as in a [`Bundle`]. The confirmation tag is no more than a claim: whoever can change the message on its
    /// way can set another, and so decide forks.
    pub fn stage_unattested(
        &mut self,
        parent: &CommitId,
        commit: &[u8],
        proposals: &[Vec<u8>],
    ) -> Result<PublicStep<'_, StagedCommit>, Error> {
        self.submit(parent, Submission { commit, proposals, bundle: None, has_quota: true })
    }

    /// Judges a proposal by itself, as it travels, in the epoch that `parent` made. Nothing is kept: it comes again with the
    /// commit that takes it.
    pub fn check_proposal(&self, parent: &CommitId, message: &[u8]) -> Result<PublicProposal, Error> {
        let node = &self.vertex(parent)?.value;
        let (message, header) = self.open_message(message)?;
        let content = self.verify(node, message, header.as_ref())?;
        self.proposal(node, &content)
    }

    fn vertex(&self, commit: &CommitId) -> Result<&Vertex<CommitId, PublicNode>, Usage> {
        self.graph.get(commit).ok_or(Usage::UnknownEpoch)
    }

    fn submit(
        &mut self,
        parent: &CommitId,
        submission: Submission<'_>,
    ) -> Result<PublicStep<'_, StagedCommit>, Error> {
        let (outcome, effects) = self.decide(parent, submission)?;
        Ok(self.step(outcome, effects))
    }

    fn decide(
        &self,
        parent: &CommitId,
        submission: Submission<'_>,
    ) -> Result<(StagedCommit, Vec<Effect>), Error> {
        let vertex = self.vertex(parent)?;
        let (message, header) = self.open_message(submission.commit)?;
        let commit = MlsMessage::PublicMessage(Box::new(message.clone())).commit_id(&self.suite);
        if self.graph.get(&commit).is_some_and(|known| known.parent.as_ref() == Some(parent)) {
            return Ok((StagedCommit::Duplicate { known: commit }, Vec::new()));
        }
        let content = self.verify(&vertex.value, message, header.as_ref())?;
        let (node, summary, edge) = self.child(&vertex.value, commit, &content, submission)?;
        // Under a parent that differs from its own in the membership tag only.
        if self.graph.get(&edge.commit).is_some() {
            return Ok((StagedCommit::Duplicate { known: edge.commit }, Vec::new()));
        }
        // A claim does not stand for what is attested, nor takes its room.
        let same = |child: &PublicNode| {
            submission.has_quota
                && child.epoch.context == node.epoch.context
                && child.epoch.confirmation_tag == node.epoch.confirmation_tag
                && (child.attested || !node.attested)
        };
        if let Some((known, _)) = self.graph.children(parent).find(|(_, child)| same(&child.value)) {
            return Ok((StagedCommit::Duplicate { known: known.clone() }, Vec::new()));
        }
        let over_quota = self.over_quota(parent, &edge, node.attested);
        if over_quota.is_some() && submission.has_quota && !self.graph.matters(parent, &edge) {
            return Ok((StagedCommit::Lost { commit: edge.commit }, Vec::new()));
        }
        let over_quota = over_quota.cloned();
        let dmls_epoch = node.dmls_epoch.clone();
        let vertex = node.into_vertex(Some(parent.clone()), edge);
        let head = self.graph.end_with_child(parent, &vertex.edge.commit, vertex.bare()).key;
        let is_head = head == vertex.edge.commit;
        let child = PublicChild {
            commit: vertex.edge.commit.clone(),
            parent: parent.clone(),
            number: vertex.number,
            dmls_epoch,
            summary,
            authenticated_data: content.get().content.authenticated_data.clone(),
            fork: self.graph.count_edges(parent) > 0,
            is_head,
            head_moved: head != self.graph.end().key,
            lost: self.lost(if is_head { parent } else { &head }),
            over_quota,
        };
        let effect = Effect::Add(child.commit.clone(), Box::new(vertex));
        Ok((StagedCommit::Child(Box::new(child)), vec![effect]))
    }

    /// A PublicMessage as it travels, with its header. Handshake messages that are encrypted can't be followed.
    fn open_message(&self, message: &[u8]) -> Result<(PublicMessage, Option<EpochId>), Error> {
        self.config.limits.check_message(message.len())?;
        match decode_message(self.config.schedule, self.suite.nh(), message)? {
            (MlsMessage::PublicMessage(message), header) => Ok((*message, header)),
            _ => Err(Rule::MessageKind.into()),
        }
    }

    /// Content of an epoch. Of members and joiners the signature covers the GroupContext, so it is of no other epoch.
    fn verify(
        &self,
        node: &PublicNode,
        message: PublicMessage,
        header: Option<&EpochId>,
    ) -> Result<Verified, Error> {
        let context = &node.epoch.context;
        if message.content.group_id != context.group_id {
            return Err(Rule::GroupId.into());
        }
        if let Some(header) = header {
            let is_other = node.dmls_epoch.as_ref().is_some_and(|name| name != header);
            if is_other || message.content.epoch != context.epoch {
                return Err(Rule::EpochHeader.into());
            }
        }
        Ok(node.epoch.verify(message.into_content()?)?)
    }

    /// A proposal that a commit may refer to.
    fn proposal(&self, node: &PublicNode, content: &Verified) -> Result<PublicProposal, Error> {
        let content = content.get();
        let Content::Proposal(proposal) = &content.content.content else {
            return Err(Rule::MessageKind.into());
        };
        let sender = content.content.sender;
        node.epoch.check_proposal(Rules::received(&self.config), &Extensions::new(), proposal, sender)?;
        // What comes from outside is not signed with the GroupContext, so siblings could not be told apart (R14).
        if let Some(name) = &node.dmls_epoch
            && !matches!(sender, Sender::Member(_))
            && self.config.wants_extension()
            && content.content.authenticated_data != name.as_bytes()
        {
            return Err(Rule::EpochHeader.into());
        }
        let reference = self.suite.proposal_ref(&content.to_bytes());
        Ok(PublicProposal { reference, sender, proposal: proposal.clone() })
    }

    /// The proposals of a bundle: those that the commit refers to and no others, so that their number is bounded by it.
    fn proposals(
        &self,
        node: &PublicNode,
        commit: &Commit,
        proposals: &[Vec<u8>],
    ) -> Result<BTreeMap<ProposalRef, PublicProposal>, Error> {
        let named: BTreeSet<_> = commit.proposals.iter().filter_map(reference_of).collect();
        if proposals.len() > named.len() {
            return Err(Rule::BundleProposals.into());
        }
        if proposals.iter().map(Vec::len).sum::<usize>() > self.config.limits.message_size {
            return Err(Limit::MessageSize.into());
        }
        let mut opened = BTreeMap::new();
        for message in proposals {
            let MlsMessage::PublicMessage(message) = MlsMessage::from_bytes(message)? else {
                return Err(Rule::MessageKind.into());
            };
            let proposal = self.proposal(node, &self.verify(node, *message, None)?)?;
            if !named.contains(&proposal.reference) {
                return Err(Rule::BundleProposals.into());
            }
            opened.insert(proposal.reference.clone(), proposal);
        }
        Ok(opened)
    }

    /// The epoch that a commit makes, and how it is compared with its siblings.
    fn child(
        &self,
        parent: &PublicNode,
        commit: CommitId,
        content: &Verified,
        submission: Submission<'_>,
    ) -> Result<(PublicNode, CommitSummary, Edge), Error> {
        if !matches!(content.get().content.content, Content::Commit(_)) {
            return Err(Rule::MessageKind.into());
        }
        if parent.summary.as_ref().is_some_and(|summary| summary.reinit.is_some()) {
            return Err(Rule::GroupEnded.into());
        }
        let proposals = self.proposals(parent, content.commit()?, submission.proposals)?;
        let sender = content.get().content.sender;
        let list = resolve(content.commit()?, sender, |reference| {
            proposals.get(reference).map(|found| (&found.proposal, found.sender))
        })?;
        let transition = parent.epoch.transition(Rules::received(&self.config), content, &list)?;
        let epoch = transition.public_child();
        let dmls_epoch = match submission.bundle {
            Some(bundle) => {
                let info = &bundle.group_info;
                let name = self.check_group_info(info, &commit, transition.committer, &epoch)?;
                self.check_welcome(bundle.welcome.as_deref(), &transition.summary.added)?;
                Some(name)
            }
            None => None,
        };
        let summary = transition.summary;
        let removes: Vec<_> = summary.removed.iter().map(|member| member.leaf).collect();
        let edge = Edge::new(commit, epoch.confirmation_tag.clone(), sender, removes);
        let attested = submission.bundle.is_some();
        let node = PublicNode { epoch, dmls_epoch, summary: Some(summary.clone()), attested };
        Ok((node, summary, edge))
    }

    /// The commit with the lowest tag of a committer who has as many of this epoch as it may have before they must win.
    fn over_quota(&self, parent: &CommitId, edge: &Edge, attested: bool) -> Option<&CommitId> {
        let is_same = |child: &Vertex<CommitId, PublicNode>| {
            child.edge.committer == edge.committer && child.value.attested == attested
        };
        let same: Vec<_> = self.graph.children(parent).filter(|(_, child)| is_same(child)).collect();
        let epoch = self.graph.get(parent).map(|parent| &parent.value.epoch);
        let is_full = same.len() >= children_per_committer(epoch, &self.config.limits).max(1);
        let lowest = same.into_iter().min_by_key(|(id, child)| (child.edge.tag.as_bytes(), *id));
        lowest.filter(|_| is_full).map(|(id, _)| id)
    }
}

fn reference_of(item: &ProposalOrRef) -> Option<&ProposalRef> {
    match item {
        ProposalOrRef::Proposal(_) => None,
        ProposalOrRef::Reference(reference) => Some(reference),
    }
}

impl<'a> Submission<'a> {
    fn new(bundle: &'a Bundle, has_quota: bool) -> Self {
        Self { commit: &bundle.commit, proposals: &bundle.proposals, bundle: Some(bundle), has_quota }
    }
}
