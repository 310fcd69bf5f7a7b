//! The graph of all epochs, drawn: time runs down, the branch that won is on the left.

use dmls::EpochId;

use super::tell::{changes, committer, short};
use super::world::Recorded;
use crate::term::{Ink, Look, hex, pad};

/// What else is to be said of an epoch.
pub type Note<'a> = &'a dyn Fn(&Recorded) -> String;

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

    /// The lines of the drawing, with a note behind each epoch.
    pub fn draw(&self, look: Look, note: Note<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        let is_root = |epoch: &&Recorded| {
            let parent = epoch.parent.as_ref();
            parent.is_none_or(|parent| self.epochs.iter().all(|other| other.id != *parent))
        };
        for root in self.epochs.iter().filter(is_root) {
            self.draw_branch(look, root, note, &mut Vec::new(), &mut lines);
        }
        lines
    }

    fn draw_branch(
        &self,
        look: Look,
        from: &Recorded,
        note: Note<'_>,
        bars: &mut Vec<String>,
        lines: &mut Vec<String>,
    ) {
        let mut epoch = from;
        loop {
            let drawn = self.draw_epoch(look, epoch, bars.len());
            lines.push(format!("{}{drawn}  {}", bars.concat(), note(epoch)));
            let mut children = self.children(&epoch.id);
            // The child that won goes on straight; on a branch that lost, the one with the highest tag.
            let winner = children.iter().position(|child| self.won(&child.id));
            let Some(main) = winner.map(|place| children.remove(place)).or_else(|| children.pop()) else {
                return;
            };
            let ink = if self.won(&main.id) { Ink::Good } else { Ink::Bad };
            for child in children.into_iter().rev() {
                let turn = format!(
                    "{}{}",
                    look.paint(ink, look.sign("├", "|")),
                    look.paint(Ink::Bad, look.sign("─╮", "\\"))
                );
                lines.push(format!("{}{turn}", bars.concat()));
                bars.push(look.paint(ink, look.sign("│ ", "| ")));
                self.draw_branch(look, child, note, bars, lines);
                bars.pop();
            }
            epoch = main;
        }
    }

    fn draw_epoch(&self, look: Look, epoch: &Recorded, depth: usize) -> String {
        let won = self.won(&epoch.id);
        let is_head = self.path.last() == Some(&&epoch.id);
        let (ink, sign) = match (won, is_head) {
            (true, true) => (Ink::Good, look.sign("◉", "@")),
            (true, false) => (Ink::Good, look.sign("●", "*")),
            (false, _) => (Ink::Bad, look.sign("○", "o")),
        };
        let what = match &epoch.commit {
            Some(commit) => format!("{} {}", committer(commit), changes(commit)),
            None if epoch.number == 0 => "the group is created".into(),
            None => "we joined".into(),
        };
        let text = format!("{:>3}  {}  {what}", epoch.number, short(&epoch.id));
        // Each bar on the left takes two columns.
        let text = pad(&text, 52 - 2 * depth.min(20));
        let text = if won { text } else { look.paint(Ink::Faint, &text) };
        format!("{} {text}  {}", look.paint(ink, sign), self.mark(look, epoch))
    }

    /// What stands behind an epoch: at a fork the tags that decided.
    fn mark(&self, look: Look, epoch: &Recorded) -> String {
        let siblings = epoch.parent.as_ref().map_or(0, |parent| self.children(parent).len());
        let tag = format!("tag {}", hex(&epoch.tag[..epoch.tag.len().min(4)]));
        match (siblings > 1, self.won(&epoch.id)) {
            (true, true) => look.paint(Ink::Good, &format!("{tag} {} wins", look.sign("★", "*"))),
            (true, false) => look.paint(Ink::Bad, &format!("{tag} {} loses", look.sign("✗", "x"))),
            (false, _) => String::new(),
        }
    }
}
