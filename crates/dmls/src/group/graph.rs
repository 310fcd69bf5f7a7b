//! The epoch graph: nodes are epochs by their ids, edges are commits.

use std::collections::BTreeMap;

use crate::crypto::Tag;
use crate::epoch::{CommitSummary, Epoch, PublicEpoch, Reading};
use crate::key_schedule::{EpochId, ResumptionPsk};

use super::outcome::{EpochInfo, Lost};
use super::{Candidate, CommitId, ForkChoice};

/// How much of an epoch is left.
#[derive(Debug)]
pub(crate) enum State {
    /// It can process commits and messages.
    Full(Box<Epoch>),
    /// It can read late messages.
    Readable(Box<Reading>),
    /// Only what is needed to recognise duplicates.
    Known,
}

/// One epoch in the graph.
#[derive(Debug)]
pub(crate) struct Node {
    pub parent: Option<EpochId>,
    pub number: u64,
    pub tag: Tag,
    /// The commit that made it. Of a joiner's first epoch there is none.
    pub commit: Option<(CommitId, CommitSummary)>,
    pub state: State,
    /// Kept for a while after the epoch is gone (RFC 9420 s8.6).
    pub resumption: Option<ResumptionPsk>,
    /// Commits of this epoch that remove us: their epochs can't be computed.
    pub removals: BTreeMap<CommitId, Tag>,
}

impl Node {
    pub(crate) fn new(
        parent: Option<EpochId>,
        commit: Option<(CommitId, CommitSummary)>,
        epoch: Box<Epoch>,
    ) -> Self {
        Self {
            parent,
            number: epoch.context().epoch,
            tag: epoch.public().confirmation_tag.clone(),
            commit,
            resumption: Some(ResumptionPsk(epoch.secrets.resumption_psk.0.duplicate())),
            state: State::Full(epoch),
            removals: BTreeMap::new(),
        }
    }

    /// The public part, while there is one.
    pub(crate) fn public(&self) -> Option<&PublicEpoch> {
        Some(&self.reading()?.public)
    }

    /// What reads messages, while there is something.
    pub(crate) fn reading(&self) -> Option<&Reading> {
        match &self.state {
            State::Full(epoch) => Some(&epoch.reading),
            State::Readable(reading) => Some(reading),
            State::Known => None,
        }
    }

    pub(crate) fn reading_mut(&mut self) -> Option<&mut Reading> {
        match &mut self.state {
            State::Full(epoch) => Some(&mut epoch.reading),
            State::Readable(reading) => Some(reading),
            State::Known => None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self.state, State::Full(_))
    }
}

/// All epochs of a group.
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: BTreeMap<EpochId, Node>,
    children: BTreeMap<EpochId, Vec<EpochId>>,
    /// Where each commit led: to a child, or to our removal.
    commits: BTreeMap<CommitId, Option<EpochId>>,
    head: EpochId,
}

impl Graph {
    pub(crate) fn new(id: EpochId, node: Node) -> Self {
        let mut graph = Self {
            nodes: BTreeMap::new(),
            children: BTreeMap::new(),
            commits: BTreeMap::new(),
            head: id.clone(),
        };
        graph.insert(id, node);
        graph
    }

    /// From stored nodes; the head among them is full.
    pub(crate) fn from_nodes(nodes: BTreeMap<EpochId, Node>, head: EpochId) -> Option<Self> {
        if !nodes.get(&head)?.is_full() {
            return None;
        }
        // Numbers rise along edges, so there are no cycles.
        let rises = |node: &Node| {
            let parent = node.parent.as_ref().and_then(|parent| nodes.get(parent));
            parent.is_none_or(|parent| parent.number.checked_add(1) == Some(node.number))
        };
        if !nodes.values().all(rises) {
            return None;
        }
        let mut graph =
            Self { nodes: BTreeMap::new(), children: BTreeMap::new(), commits: BTreeMap::new(), head };
        for (id, node) in nodes {
            graph.insert(id, node);
        }
        Some(graph)
    }

    pub(crate) fn head(&self) -> &EpochId {
        &self.head
    }

    pub(crate) fn set_head(&mut self, head: EpochId) {
        self.head = head;
    }

    pub(crate) fn node(&self, id: &EpochId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(crate) fn node_mut(&mut self, id: &EpochId) -> Option<&mut Node> {
        self.nodes.get_mut(id)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&EpochId, &Node)> {
        self.nodes.iter()
    }

    pub(crate) fn insert(&mut self, id: EpochId, node: Node) {
        if let Some(parent) = &node.parent {
            self.children.entry(parent.clone()).or_default().push(id.clone());
        }
        if let Some((commit, _)) = &node.commit {
            self.commits.insert(commit.clone(), Some(id.clone()));
        }
        for commit in node.removals.keys() {
            self.commits.insert(commit.clone(), None);
        }
        self.nodes.insert(id, node);
    }

    pub(crate) fn record_removal(&mut self, parent: &EpochId, commit: CommitId, tag: Tag) {
        if let Some(node) = self.nodes.get_mut(parent) {
            self.commits.insert(commit.clone(), None);
            node.removals.insert(commit, tag);
        }
    }

    /// Takes an epoch out altogether: its commits are no longer recognised.
    pub(crate) fn forget(&mut self, id: &EpochId) {
        let Some(node) = self.nodes.remove(id) else { return };
        if let Some(siblings) = node.parent.and_then(|parent| self.children.get_mut(&parent)) {
            siblings.retain(|sibling| sibling != id);
        }
        self.children.remove(id);
        for commit in node.commit.iter().map(|(commit, _)| commit).chain(node.removals.keys()) {
            self.commits.remove(commit);
        }
    }

    /// Whether this commit was processed before, and in which epoch.
    pub(crate) fn knows_commit(&self, commit: &CommitId) -> bool {
        self.commits.contains_key(commit)
    }

    pub(crate) fn children(&self, id: &EpochId) -> &[EpochId] {
        self.children.get(id).map_or(&[], |children| children)
    }

    /// The ancestor with this number, on the branch of an epoch (R11).
    pub(crate) fn ancestor(&self, from: &EpochId, number: u64) -> Option<&Node> {
        let mut node = self.node(from)?;
        while node.number > number {
            node = self.node(node.parent.as_ref()?)?;
        }
        (node.number == number).then_some(node)
    }

    /// The one retained epoch with this number, in a group without forks (RFC 9420).
    pub(crate) fn by_number(&self, number: u64) -> Option<&EpochId> {
        let mut found =
            self.nodes.iter().filter(|(_, node)| node.number == number && node.reading().is_some());
        found.next().map(|(id, _)| id)
    }

    /// Epochs without a known parent: where the walk to the head begins. Usually one.
    fn roots(&self) -> impl Iterator<Item = &EpochId> {
        let is_root =
            |node: &Node| node.parent.as_ref().is_none_or(|parent| !self.nodes.contains_key(parent));
        self.nodes.iter().filter(move |(_, node)| is_root(node)).map(|(id, _)| id)
    }

    /// The head by a fork choice: from the last common epoch on always the preferred child, back where a branch holds
    /// no full epoch. `extra` is a child that is about to be inserted.
    pub(crate) fn choose_head(
        &self,
        choice: &dyn ForkChoice,
        extra: Option<(&EpochId, &EpochId, &Tag)>,
    ) -> Option<EpochId> {
        let is_full = |id: &EpochId| {
            extra.is_some_and(|(_, child, _)| child == id) || self.node(id).is_some_and(Node::is_full)
        };
        // The preferred of a stack's siblings is on top. An epoch is the head if it is full and nothing below it is.
        let mut stack: Vec<(EpochId, bool)> = self.roots().map(|id| (id.clone(), false)).collect();
        stack.sort_by_key(|(id, _)| self.node(id).map(|node| std::cmp::Reverse(node.number)));
        while let Some((id, expanded)) = stack.pop() {
            if expanded {
                if is_full(&id) {
                    return Some(id);
                }
                continue;
            }
            let mut children: Vec<(&EpochId, &Tag)> = self
                .children(&id)
                .iter()
                .filter_map(|child| Some((child, &self.node(child)?.tag)))
                .chain(extra.filter(|(parent, ..)| **parent == id).map(|(_, child, tag)| (child, tag)))
                .collect();
            children.sort_by(|(one, one_tag), (other, other_tag)| {
                let candidate = |id, tag| Candidate { id: Some(id), tag };
                choice.compare(candidate(one, one_tag), candidate(other, other_tag)).then(one.cmp(other))
            });
            let children: Vec<_> = children.into_iter().map(|(child, _)| (child.clone(), false)).collect();
            stack.push((id, true));
            stack.extend(children);
        }
        None
    }

    /// Whether somewhere between the roots and the head a commit that removes us is preferred to the head's branch.
    pub(crate) fn is_removed(&self, choice: &dyn ForkChoice) -> bool {
        let mut below: Option<(&EpochId, &Node)> = None;
        let mut current = self.node(&self.head).map(|node| (&self.head, node));
        while let Some((id, node)) = current {
            let preferred = |tag: &Tag| match below {
                None => true,
                Some((below_id, below)) => {
                    let own = Candidate { id: Some(below_id), tag: &below.tag };
                    choice.compare(Candidate { id: None, tag }, own).is_gt()
                }
            };
            if node.removals.values().any(preferred) {
                return true;
            }
            below = Some((id, node));
            current = node.parent.as_ref().and_then(|parent| Some((parent, self.node(parent)?)));
        }
        false
    }

    /// Whether `ancestor` is above `id`, or is it.
    fn is_above(&self, ancestor: &EpochId, id: &EpochId) -> bool {
        let mut current = Some(id);
        while let Some(id) = current {
            if id == ancestor {
                return true;
            }
            current = self.node(id).and_then(|node| node.parent.as_ref());
        }
        false
    }

    /// The epochs that were on the way to `old` and are not on the way to `new`, whose parent is `new_parent`.
    pub(crate) fn lost(&self, old: &EpochId, new: &EpochId, new_parent: &EpochId) -> Vec<Lost> {
        let mut lost = Vec::new();
        let mut current = Some(old);
        while let Some(id) = current {
            let Some(node) = self.node(id) else { break };
            if id == new || self.is_above(id, new) || self.is_above(id, new_parent) {
                break;
            }
            let commit = node.commit.as_ref().map(|(_, summary)| summary.clone());
            lost.push(Lost { id: id.clone(), number: node.number, commit });
            current = node.parent.as_ref();
        }
        lost.reverse();
        lost
    }

    pub(crate) fn info(&self, id: &EpochId) -> Option<EpochInfo> {
        let node = self.node(id)?;
        Some(EpochInfo {
            id: id.clone(),
            parent: node.parent.clone(),
            number: node.number,
            confirmation_tag: node.tag.clone(),
            commit: node.commit.as_ref().map(|(_, summary)| summary.clone()),
            is_full: node.is_full(),
            is_readable: node.reading().is_some(),
            is_head: *id == self.head,
        })
    }

    /// Parents first.
    pub(crate) fn infos(&self) -> Vec<EpochInfo> {
        let mut infos: Vec<_> = self.nodes.keys().filter_map(|id| self.info(id)).collect();
        infos.sort_by(|one, other| (one.number, &one.id).cmp(&(other.number, &other.id)));
        infos
    }
}
