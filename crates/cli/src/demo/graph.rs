//! The graph of all epochs that ever began, whoever knows of them.

use dmls::EpochId;

use super::tell::{committer, name};
use super::world::Recorded;
use crate::graph::words::{self, Tense};
use crate::graph::{EpochView, GraphView, Side};
use crate::term::hex;

/// All epochs that ever began, and which of them led to the head.
pub struct Graph<'a> {
    epochs: &'a [Recorded],
    /// From the first epoch to the head.
    path: Vec<&'a EpochId>,
}

impl<'a> Graph<'a> {
    pub fn new(epochs: &'a [Recorded], head: &'a EpochId) -> Self {
        let mut path = Vec::new();
        let mut current = Some(head);
        while let Some(epoch) = current.and_then(|id| epochs.iter().find(|epoch| epoch.id == *id)) {
            path.push(&epoch.id);
            current = epoch.parent.as_ref();
        }
        path.reverse();
        Self { epochs, path }
    }

    /// Whether an epoch led to the head.
    pub fn won(&self, id: &EpochId) -> bool {
        self.path.contains(&id)
    }

    /// The epochs that lost.
    pub fn lost(&self) -> impl Iterator<Item = &'a Recorded> {
        self.epochs.iter().filter(|epoch| !self.won(&epoch.id))
    }

    /// The children of an epoch, by rising tag: the rule of the draft (s6.1.2) prefers the last.
    pub fn children(&self, parent: &EpochId) -> Vec<&'a Recorded> {
        let mut children: Vec<_> =
            self.epochs.iter().filter(|epoch| epoch.parent.as_ref() == Some(parent)).collect();
        children.sort_by(|one, other| one.tag.cmp(&other.tag));
        children
    }

    /// Where branches part.
    pub fn forks(&self) -> impl Iterator<Item = (&'a Recorded, Vec<&'a Recorded>)> {
        let fork = |epoch: &'a Recorded| Some((epoch, self.children(&epoch.id)));
        self.epochs.iter().filter_map(fork).filter(|(_, children)| children.len() > 1)
    }

    /// How many epochs a branch has from one on.
    pub fn size(&self, from: &EpochId) -> usize {
        1 + self.children(from).iter().map(|child| self.size(&child.id)).sum::<usize>()
    }

    /// Where the draft's rule leads to, computed here once more from nothing but the tags.
    pub fn by_the_rule(&self) -> Option<&'a EpochId> {
        let mut here = &self.epochs.first()?.id;
        while let Some(preferred) = self.children(here).pop() {
            here = &preferred.id;
        }
        Some(here)
    }

    /// As it is drawn.
    pub fn view(&self) -> GraphView {
        GraphView::new(self.epochs.iter().map(|epoch| self.epoch(epoch)).collect())
    }

    /// Nobody holds all of them, so nothing is said of what is left, nor when it came to whom.
    fn epoch(&self, epoch: &Recorded) -> EpochView {
        let commit = epoch.commit.as_ref();
        EpochView {
            id: epoch.id.clone(),
            parent: epoch.parent.clone(),
            number: epoch.number,
            tag: hex(&epoch.tag),
            side: if self.won(&epoch.id) { Side::Way } else { Side::Lost },
            is_head: self.path.last() == Some(&&epoch.id),
            is_final: false,
            level: None,
            kept: None,
            made: None,
            by: commit.map(committer),
            what: commit.map_or_else(
                || words::beginning(epoch.number).to_owned(),
                |commit| words::changes(commit, Tense::Past, &name),
            ),
            moves_members: commit.is_some_and(words::moves_members),
            messages: None,
            note: String::new(),
        }
    }
}
