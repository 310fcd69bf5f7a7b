//! What is to be told of a group's epochs: plain data, in words, without anything secret.

use std::collections::BTreeMap;

use dmls::{Credential, EpochId, EpochRef, Group, Kept, Level, Time};

use super::text;
use super::words::{self, Tense};
use crate::term::hex;

/// The epochs of a group.
#[derive(Clone, Debug)]
pub struct GraphView {
    title: String,
    now: Option<Time>,
    /// Parents first.
    epochs: Vec<EpochView>,
    /// Of each epoch, the place of its parent, if that is here.
    parents: Vec<Option<usize>>,
    /// Of each epoch, the places of those that follow: first the one with which its branch goes on, if there is one.
    children: Vec<Vec<usize>>,
    /// Of each epoch, how many there are from it on, and how many messages were sent in these.
    sizes: Vec<usize>,
    messages: Vec<u64>,
}

/// One epoch.
#[derive(Clone, Debug)]
pub struct EpochView {
    /// Its name.
    pub id: EpochId,
    /// The epoch before it, which may not be known any more.
    pub parent: Option<EpochId>,
    /// Its number. Siblings share it.
    pub number: u64,
    /// The confirmation tag of its commit, in hex digits: where branches part, it decides in most groups.
    pub tag: String,
    /// On which side it is.
    pub side: Side,
    /// Whether it is the head: what is written now is sent in it.
    pub is_head: bool,
    /// Whether the delivery service said that it, or what follows it, is final.
    pub is_final: bool,
    /// How much of it is left, if that is known.
    pub level: Option<Level>,
    /// Until when, or for whom, it is kept.
    pub kept: Option<String>,
    /// When it came here.
    pub made: Option<Time>,
    /// Who made its commit.
    pub by: Option<String>,
    /// What that did, in the past tense.
    pub what: String,
    /// Whether somebody came or went by it.
    pub moves_members: bool,
    /// How many messages were sent in it, if somebody counted.
    pub messages: Option<u64>,
    /// A remark of the caller's.
    pub note: String,
}

/// Where an epoch is, as seen from the branch that won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On the way that won.
    Way,
    /// On a branch that lost.
    Lost,
}

impl GraphView {
    /// Of a group: `now` is what ages are counted from, `names` says who is who. It may say `you`.
    pub fn of(group: &Group, now: Time, names: &dyn Fn(&Credential) -> String) -> Self {
        // The report looks at all epochs once, `EpochRef::kept` each time that it is asked.
        let report = group.exposure_report(now);
        let kept: BTreeMap<&EpochId, &Kept> =
            report.epochs.iter().map(|epoch| (&epoch.id, &epoch.kept)).collect();
        let epochs = group.epochs().map(|epoch| {
            let kept = kept.get(epoch.id()).map(|kept| words::kept(kept, now, names));
            EpochView::of(epoch, kept, names)
        });
        let title = format!("Group {}", hex(&group.id()[..group.id().len().min(4)]));
        Self { now: Some(now), ..Self::new(epochs.collect()) }.with_title(&title)
    }

    /// Of any epochs, in any order.
    pub fn new(mut epochs: Vec<EpochView>) -> Self {
        epochs.sort_by_key(|epoch| epoch.number);
        epochs.iter_mut().for_each(EpochView::make_safe);
        let parents = parents(&epochs);
        let (children, sizes) = children(&epochs, &parents);
        let messages = vec![0; epochs.len()];
        let view = Self { title: String::new(), now: None, epochs, parents, children, sizes, messages };
        view.summed()
    }

    /// With what is to stand above it.
    pub fn with_title(mut self, title: &str) -> Self {
        self.title = text::safe(title);
        self
    }

    /// With how many messages were sent in each epoch, as far as the caller knows.
    pub fn with_messages(mut self, count: impl Fn(&EpochId) -> Option<u64>) -> Self {
        self.epochs.iter_mut().for_each(|epoch| epoch.messages = count(&epoch.id));
        self.summed()
    }

    /// With a remark on each epoch; an empty one is none. Epochs with a remark are never folded.
    pub fn with_notes(mut self, note: impl Fn(&EpochView) -> String) -> Self {
        self.epochs.iter_mut().for_each(|epoch| epoch.note = text::safe(&note(epoch)));
        self
    }

    /// What is to stand above it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What ages are counted from.
    pub fn now(&self) -> Option<Time> {
        self.now
    }

    /// All epochs, parents first. Places are places in this.
    pub fn epochs(&self) -> &[EpochView] {
        &self.epochs
    }

    /// The place of the head.
    pub fn head(&self) -> Option<usize> {
        self.epochs.iter().position(|epoch| epoch.is_head)
    }

    /// The place of the epoch before one.
    pub fn parent(&self, place: usize) -> Option<usize> {
        self.parents[place]
    }

    /// The places of those that follow an epoch: first the one with which its branch goes on, if it goes on.
    pub fn children(&self, place: usize) -> &[usize] {
        &self.children[place]
    }

    /// The child with which a branch goes on: the one that won; on a branch that lost anyway, the one after which there is most.
    pub fn next(&self, place: usize) -> Option<usize> {
        let first = *self.children[place].first()?;
        (self.epochs[first].side == self.epochs[place].side).then_some(first)
    }

    /// How many epochs there are from one on, along all branches.
    pub fn size(&self, place: usize) -> usize {
        self.sizes[place]
    }

    /// How many messages were sent from one epoch on, along all branches, as far as they were counted.
    pub fn messages_from(&self, place: usize) -> u64 {
        self.messages[place]
    }

    /// Those from which branches part.
    pub fn forks(&self) -> impl Iterator<Item = usize> {
        (0..self.epochs.len()).filter(|place| self.is_fork(*place))
    }

    /// Whether branches part after it.
    pub fn is_fork(&self, place: usize) -> bool {
        self.children[place].len() > 1
    }

    /// Whether it is the first of its branch: another commit was made in the same epoch.
    pub fn is_sibling(&self, place: usize) -> bool {
        self.parents[place].is_some_and(|parent| self.is_fork(parent))
    }

    /// Whether a branch that lost begins with it: what was before won.
    pub fn begins_lost(&self, place: usize) -> bool {
        let parent = self.parents[place].map(|parent| self.epochs[parent].side);
        parent == Some(Side::Way) && self.epochs[place].side == Side::Lost
    }

    /// Whether the branch that won goes where this group can't follow.
    pub fn is_stranded(&self) -> bool {
        let Some(head) = self.head() else { return false };
        self.epochs[head].side == Side::Lost || self.next(head).is_some()
    }

    fn summed(mut self) -> Self {
        self.messages = self.epochs.iter().map(|epoch| epoch.messages.unwrap_or(0)).collect();
        for (place, parent) in self.parents.iter().enumerate().rev() {
            if let Some(parent) = *parent {
                self.messages[parent] = self.messages[parent].saturating_add(self.messages[place]);
            }
        }
        self
    }
}

/// The place of each epoch's parent.
fn parents(epochs: &[EpochView]) -> Vec<Option<usize>> {
    let places: BTreeMap<&EpochId, usize> =
        epochs.iter().enumerate().map(|(place, epoch)| (&epoch.id, place)).collect();
    let parent = |epoch: &EpochView| {
        let place = *places.get(epoch.parent.as_ref()?)?;
        // Who joins can't verify the parent that it is told: only one with the number before counts. So there are no circles.
        (epochs[place].number.checked_add(1) == Some(epoch.number)).then_some(place)
    };
    epochs.iter().map(parent).collect()
}

/// The places of each epoch's children, and how many epochs there are from each one on.
fn children(epochs: &[EpochView], parents: &[Option<usize>]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let (mut children, mut sizes) = (vec![Vec::new(); epochs.len()], vec![1; epochs.len()]);
    for (place, parent) in parents.iter().enumerate().rev() {
        if let Some(parent) = *parent {
            sizes[parent] += sizes[place];
            children[parent].push(place);
        }
    }
    // On a branch that lost the longest goes straight on. So a drawing is never deeper than the logarithm of its epochs, whatever
    // others make of the graph.
    let rank = |place: &usize| {
        let epoch = &epochs[*place];
        (epoch.side == Side::Way, sizes[*place], &epoch.tag, &epoch.id)
    };
    children.iter_mut().for_each(|children| children.sort_by(|one, other| rank(other).cmp(&rank(one))));
    (children, sizes)
}

impl EpochView {
    fn of(epoch: EpochRef<'_>, kept: Option<String>, names: &dyn Fn(&Credential) -> String) -> Self {
        let commit = epoch.commit();
        let by = commit.map(|commit| match &commit.credential {
            Some(credential) => text::name(&names(credential)),
            None => format!("member {}", commit.committer.0),
        });
        let what = match commit {
            Some(commit) => words::changes(commit, Tense::Past, names),
            None => words::beginning(epoch.number()).into(),
        };
        Self {
            id: epoch.id().clone(),
            parent: epoch.parent().cloned(),
            number: epoch.number(),
            tag: hex(epoch.confirmation_tag().as_bytes()),
            side: if epoch.is_on_way() { Side::Way } else { Side::Lost },
            is_head: epoch.is_head(),
            is_final: epoch.is_final(),
            level: Some(epoch.level()),
            kept,
            made: Some(epoch.made()),
            by,
            what,
            moves_members: commit.is_some_and(words::moves_members),
            messages: None,
            note: String::new(),
        }
    }

    /// Its name in hex digits.
    pub fn hex(&self) -> String {
        hex(self.id.as_bytes())
    }

    /// The first digits of its name.
    pub fn short(&self) -> String {
        hex(&self.id.as_bytes()[..self.id.as_bytes().len().min(4)])
    }

    /// Who did what.
    pub fn sentence(&self) -> String {
        let by = self.by.as_ref().map(|by| format!("{by} ")).unwrap_or_default();
        format!("{by}{}", self.what)
    }

    /// Whether nothing but its name is left.
    pub fn is_gone(&self) -> bool {
        self.level == Some(Level::Known)
    }

    /// Whoever made it: nothing hostile gets past this.
    fn make_safe(&mut self) {
        for shown in [&mut self.tag, &mut self.what, &mut self.note].into_iter().chain(&mut self.by) {
            *shown = text::safe(shown);
        }
        self.kept = self.kept.as_deref().map(text::safe);
    }
}
