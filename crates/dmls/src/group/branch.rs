//! How a commit becomes an epoch of the graph: others' when they arrive, ours when they are confirmed.

use crate::config::Limits;
use crate::crypto::{ProposalRef, Tag};
use crate::epoch::{CommitSummary, Epoch, ProcessedCommit, PublicEpoch, Rules};
use crate::error::{Error, Rule, Usage};
use crate::fork_choice::ForkChoice;
use crate::forks::{Edge, Vertex, WayEnd};
use crate::framing::{AuthenticatedContent, Content, Verified};
use crate::key_schedule::{ChildInput, CommitId, EpochId};
use crate::message::{Commit, Proposal, ProposalOrRef};
use crate::time::Time;
use crate::tree::LeafIndex;

use super::effect::Effect;
use super::graph::Node;
use super::outcome::{Lost, LostCommit, NewEpoch, Outcome, Stranded, WaitsFor};
use super::retention::{Added, Released};
use super::step::Decision;
use super::{Group, GroupState};

/// A commit of ours that may still lose, with the epoch that it makes: nobody else could give us its keys.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    /// As it is sent.
    pub message: Vec<u8>,
    pub authenticated_data: Vec<u8>,
    pub welcome: Option<Vec<u8>>,
    /// `None`: the external commit is for an epoch whose name we don't know (RFC 9420 groups).
    pub parent: Option<EpochId>,
    pub edge: Edge,
    pub commit: CommitSummary,
    pub made: Time,
    /// Of the parent's PPRF, which is punctured when the commit is confirmed.
    pub input: Option<ChildInput>,
    /// The proposals that it takes by reference, if that can be seen.
    pub references: Vec<ProposalRef>,
    /// It was refused; it is kept because it may have reached somebody.
    pub given_up: bool,
    pub epoch: Box<Epoch>,
}

impl PendingCommit {
    pub(crate) fn into_vertex(self) -> (EpochId, Vertex<EpochId, Node>) {
        let (number, choice) = (self.epoch.context().epoch, choice_in(self.epoch.public()));
        let id = self.epoch.id.clone();
        let node = Node::new(Some(self.commit.known()), self.made, self.epoch);
        (id, Vertex::new(self.parent, number, self.edge, choice, node))
    }
}

/// How many children of an epoch one committer may have before they must win: as the group's ruleset says, or else this client (R16).
pub(crate) fn children_per_committer(epoch: Option<&PublicEpoch>, limits: &Limits) -> usize {
    let ruleset = epoch.and_then(|epoch| epoch.ruleset.as_ref());
    ruleset.map_or(limits.children_per_committer, |ruleset| usize::from(ruleset.children_per_committer))
}

/// The fork choice that the GroupContext of an epoch names for its children (R16).
pub(crate) fn choice_in(epoch: &PublicEpoch) -> ForkChoice {
    ForkChoice::of(epoch.ruleset.as_ref())
}

/// A commit that is valid, on its way into the graph.
struct NewChild {
    id: EpochId,
    parent: Option<EpochId>,
    edge: Edge,
    number: u64,
    choice: ForkChoice,
    commit: CommitSummary,
    authenticated_data: Vec<u8>,
    made: Time,
}

/// A commit of ours, on its way into the graph.
struct OwnChild {
    child: NewChild,
    puncture: Option<Effect>,
    welcome: Option<Vec<u8>>,
}

impl NewChild {
    /// The effect that adds it as a name only.
    fn without_state(&self) -> Effect {
        let node = Node::known(Some(self.commit.known()), self.made);
        let vertex = Vertex::new(self.parent.clone(), self.number, self.edge.clone(), self.choice, node);
        Effect::AddEpoch(self.id.clone(), Box::new(vertex))
    }

    fn bare(&self) -> Vertex<EpochId, ()> {
        Vertex::new(self.parent.clone(), self.number, self.edge.clone(), self.choice, ())
    }
}

impl Group {
    pub(crate) fn add_epoch(&mut self, id: EpochId, vertex: Vertex<EpochId, Node>) {
        let number = vertex.number;
        self.graph.insert(id.clone(), vertex);
        self.held.wake(&WaitsFor::Epoch(id.clone()));
        if self.is_linear() {
            self.held.wake_numbers(number);
        }
        self.track(&id);
    }

    /// Decides about a commit of another that was opened.
    pub(crate) fn decide_commit(
        &self,
        parent: &Epoch,
        commit_id: CommitId,
        content: &Verified,
        now: Time,
    ) -> Result<Decision<Outcome>, Error> {
        let edge = self.edge(parent, commit_id, content.get())?;
        if self.is_over_quota(&parent.id, &edge) && !self.graph.forks().matters(&parent.id, &edge) {
            let lost = LostCommit { parent: parent.id.clone(), commit: edge.commit };
            return Ok(Decision::nothing(Outcome::Lost(lost)));
        }
        let rules = Rules::received(&self.config);
        let id = edge.commit.clone();
        let processed = self.with_psks(&parent.id, |psks| parent.process_commit(rules, content, id, psks))?;
        let authenticated_data = content.get().content.authenticated_data.clone();
        self.decide_processed(parent, edge, processed, authenticated_data, now)
    }

    pub(crate) fn decide_processed(
        &self,
        parent: &Epoch,
        edge: Edge,
        processed: ProcessedCommit,
        authenticated_data: Vec<u8>,
        now: Time,
    ) -> Result<Decision<Outcome>, Error> {
        let (epoch, commit, puncture) = match processed {
            ProcessedCommit::Child { epoch, summary, puncture } => (epoch, summary, puncture),
            ProcessedCommit::RemovesUs { summary } => {
                return self.decide_removal(&parent.id, edge, summary);
            }
        };
        if self.graph.node(&epoch.id).is_some() {
            return Ok(Decision::nothing(Outcome::Duplicate));
        }
        let child = NewChild {
            id: epoch.id.clone(),
            parent: Some(parent.id.clone()),
            edge,
            number: epoch.context().epoch,
            choice: choice_in(epoch.public()),
            commit,
            authenticated_data,
            made: now,
        };
        let puncture = puncture.map(|puncture| Effect::Puncture(parent.id.clone(), puncture));
        let node = Node::new(Some(child.commit.known()), now, epoch);
        let decision = self.decide_child(child, false, |child, stays| {
            if !stays {
                return vec![child.without_state()];
            }
            let (parent, edge) = (child.parent.clone(), child.edge.clone());
            let vertex = Vertex::new(parent, child.number, edge, child.choice, node);
            vec![Effect::AddEpoch(child.id.clone(), Box::new(vertex))]
        });
        Ok(decision.after(puncture).map(|outcome| Outcome::Commit(Box::new(outcome))))
    }

    /// Decides about a commit of ours that is accepted.
    pub(super) fn decide_confirm(&self, commit: &CommitId) -> Result<Decision<NewEpoch>, Error> {
        let pending = self.pending.get(commit).ok_or(Usage::UnknownCommit)?;
        let own = self.own_child(pending)?;
        Ok(self.decide_own_child(own, |child, stays| match stays {
            true => vec![Effect::Confirm(commit.clone())],
            false => vec![Effect::DropPending(commit.clone()), child.without_state()],
        }))
    }

    /// Decides about a commit of ours that was not pending.
    pub(crate) fn decide_at_once(&self, pending: PendingCommit) -> Result<Decision<NewEpoch>, Error> {
        let own = self.own_child(&pending)?;
        Ok(self.decide_own_child(own, |child, stays| {
            if !stays {
                return vec![child.without_state()];
            }
            let (id, vertex) = pending.into_vertex();
            vec![Effect::AddEpoch(id, Box::new(vertex))]
        }))
    }

    fn own_child(&self, pending: &PendingCommit) -> Result<OwnChild, Error> {
        let puncture = match (&pending.parent, &pending.input) {
            (Some(parent), Some(input)) => {
                let (_, puncture) = self.full(parent)?.next_init.evaluate(&self.suite, input)?;
                Some(Effect::Puncture(parent.clone(), puncture))
            }
            _ => None,
        };
        self.check_parent(pending)?;
        let child = NewChild {
            id: pending.epoch.id.clone(),
            parent: pending.parent.clone(),
            edge: pending.edge.clone(),
            number: pending.epoch.context().epoch,
            choice: choice_in(pending.epoch.public()),
            commit: pending.commit.clone(),
            authenticated_data: pending.authenticated_data.clone(),
            made: pending.made,
        };
        Ok(OwnChild { child, puncture, welcome: pending.welcome.clone() })
    }

    /// The parent that a GroupInfo names for a commit by which we join again can't be verified, but it must fit, if it is here.
    pub(super) fn check_parent(&self, pending: &PendingCommit) -> Result<(), Rule> {
        let parent = pending.parent.as_ref().and_then(|parent| self.graph.vertex(parent));
        let number = pending.epoch.context().epoch;
        let fits = parent.is_none_or(|parent| parent.number.checked_add(1) == Some(number));
        if fits { Ok(()) } else { Err(Rule::EpochHeader) }
    }

    fn decide_own_child(
        &self,
        own: OwnChild,
        add: impl FnOnce(&NewChild, bool) -> Vec<Effect>,
    ) -> Decision<NewEpoch> {
        let OwnChild { child, puncture, welcome } = own;
        let begins = child.parent.as_ref().is_none_or(|parent| self.graph.node(parent).is_none());
        let decision = self.decide_child(child, begins, |child, stays| {
            let mut effects = add(child, stays);
            let welcome = welcome.clone().filter(|_| stays);
            effects.extend(welcome.map(|welcome| Effect::Welcome(child.edge.commit.clone(), Some(welcome))));
            effects.extend(begins.then(|| Effect::BeginAt(child.id.clone())));
            effects
        });
        decision.after(puncture).map(|mut outcome| {
            outcome.own = true;
            // Nobody joins a branch that lost.
            outcome.welcome = welcome.filter(|_| outcome.is_head);
            outcome
        })
    }

    /// Everything that follows from one more epoch. `add` gives the effects that add it, with its state if that `stays`.
    fn decide_child(
        &self,
        child: NewChild,
        begins: bool,
        add: impl FnOnce(&NewChild, bool) -> Vec<Effect>,
    ) -> Decision<NewEpoch> {
        let forks = self.graph.forks();
        let end = match &child.parent {
            Some(parent) if !begins => forks.end_with_child(parent, &child.id, child.bare()),
            _ => WayEnd { key: child.id.clone(), dead_end: None },
        };
        let (head, stranded) = self.usable(&end, Some(&child.id));
        let fork = child.parent.as_ref().is_some_and(|parent| forks.count_edges(parent) > 0);
        let (id, edge, parent) = (&child.id, &child.edge, child.parent.as_ref());
        let let_go = self.let_go(&head, Added { id, number: child.number, parent, edge, made: child.made });
        let stays = head == child.id || !let_go.iter().any(|gone| gone.id == child.id);
        let mut effects = add(&child, stays);
        if forks.finals().contains(&child.edge.commit) {
            let by = Released { commit: &child.edge.commit, id: None, parent: child.parent.as_ref() };
            effects.extend(self.flushed_by(by).map(|(commit, _)| Effect::DropFlushed(commit.clone())));
        }
        let gone = self.carry_out(let_go, child.made, &mut effects);
        effects.extend(self.forget_old(&head, child.number, child.parent.as_ref()));

        // Who follows the commit by which we joined has accepted it.
        let joined = self.state.joining.as_ref().and_then(|joining| forks.by_commit(&joining.commit));
        let joining =
            self.state.joining.clone().filter(|_| joined.is_none() || joined != child.parent.as_ref());
        let head_moved = head != self.state.head;
        let parent = child.parent.as_ref();
        let kept = if head == child.id { parent } else { Some(&head) };
        let lost = if head_moved { self.lost(kept) } else { Vec::new() };
        let outcome = NewEpoch {
            is_head: head == child.id,
            commit_id: child.edge.commit,
            parent: child.parent,
            number: child.number,
            commit: child.commit,
            authenticated_data: child.authenticated_data,
            own: false,
            fork,
            head_moved,
            lost,
            welcome: None,
            ready: self.held.count(&WaitsFor::Epoch(child.id.clone()))
                + self.held.count(&WaitsFor::Number(child.number)),
            deleted: gone,
            stranded,
            id: child.id,
        };
        Decision { outcome, effects, state: Some(GroupState { head, joining, ..self.state.clone() }) }
    }

    /// The epoch in which we can send if the way ends there: the last on it that is full. If there is none, the head stays.
    pub(super) fn usable(&self, end: &WayEnd<EpochId>, new: Option<&EpochId>) -> (EpochId, Option<Stranded>) {
        if Some(&end.key) == new {
            return (end.key.clone(), None);
        }
        let is_full = |id: &EpochId| self.graph.node(id).is_some_and(|node| node.full().is_some());
        if is_full(&end.key) {
            return (end.key.clone(), None);
        }
        let mut above = self.graph.forks().ancestors(&end.key).map(|(id, _)| id);
        let head = above.find(|id| is_full(id)).unwrap_or(&self.state.head).clone();
        (head, Some(Stranded::HeadDeleted(end.key.clone())))
    }

    /// Whether a committer has as many children of an epoch as it may have before they must win.
    fn is_over_quota(&self, parent: &EpochId, edge: &Edge) -> bool {
        let children = self.graph.forks().children(parent);
        let same = children.filter(|(_, vertex)| vertex.edge.committer == edge.committer).count();
        same >= self.children_per_committer(parent)
    }

    pub(super) fn children_per_committer(&self, parent: &EpochId) -> usize {
        let public = self.graph.node(parent).and_then(Node::public);
        children_per_committer(public, &self.config.limits)
    }

    /// How a commit is compared with its siblings: known before anything is decrypted.
    pub(crate) fn edge(
        &self,
        parent: &Epoch,
        commit_id: CommitId,
        content: &AuthenticatedContent,
    ) -> Result<Edge, Rule> {
        let Content::Commit(commit) = &content.content.content else { return Err(Rule::Sender) };
        let tag: Tag = content.auth.confirmation_tag.clone().ok_or(Rule::ConfirmationTag)?;
        if tag.as_bytes().len() != self.suite.nh() {
            return Err(Rule::ConfirmationTag);
        }
        Ok(Edge::new(commit_id, tag, content.content.sender, removed_by(parent, commit)))
    }

    /// The epochs on the way to the head that are not on the way to `kept`, where the new way goes through.
    pub(super) fn lost(&self, kept: Option<&EpochId>) -> Vec<Lost> {
        let forks = self.graph.forks();
        let is_kept = |id: &EpochId| kept.is_some_and(|kept| forks.is_above(id, kept));
        let left = forks.ancestors(&self.state.head).take_while(|(id, _)| !is_kept(id));
        let mut lost: Vec<_> = left
            .map(|(id, vertex)| Lost {
                id: id.clone(),
                number: vertex.number,
                commit: vertex.value.commit.clone(),
            })
            .collect();
        lost.reverse();
        lost
    }
}

/// Whom a commit removes, by value and by reference.
fn removed_by(parent: &Epoch, commit: &Commit) -> Vec<LeafIndex> {
    let removed = commit.proposals.iter().filter_map(|item| {
        let proposal = match item {
            ProposalOrRef::Proposal(proposal) => proposal,
            ProposalOrRef::Reference(reference) => &parent.proposals.get(reference)?.proposal,
        };
        match proposal {
            Proposal::Remove(leaf) => Some(*leaf),
            _ => None,
        }
    });
    removed.collect()
}
