//! What stands in which row, and how far to the right. Time runs down; the branch that won is on the left.
//!
//! Nothing here calls itself: a graph may be as deep as others like.

use std::collections::BTreeSet;

use super::view::{GraphView, Side};

/// A run of this many epochs in which nothing happens but commits is folded.
const FOLDED: usize = 4;

/// How many epochs stay visible at the end of a run: the last ones are of more interest.
const SHOWN: usize = 2;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What runs through it on the left of its own lane. There are as many lanes before it.
    pub bars: Vec<Bar>,
    /// What it shows.
    pub what: What,
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// That what was before is not known any more.
    Forgotten(Side),
    /// An epoch.
    Epoch(usize),
    /// Several epochs in one row, oldest first.
    Fold(Vec<usize>),
    /// What happened after an epoch, where branches part: it stands between them.
    Fork(usize),
}

/// What is in a lane that a row passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Whose line it is.
    pub side: Side,
    /// What it does there.
    pub shape: Shape,
}

/// What a line does beside a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It passes.
    Pass,
    /// It passes, and the row's branch leaves it.
    Tee,
    /// It turns into the row's branch.
    Corner,
    /// There is none.
    Blank,
}

impl Shape {
    /// What is left of it beneath the row in which it turned.
    pub fn below(self) -> Self {
        match self {
            Self::Tee => Self::Pass,
            Self::Corner => Self::Blank,
            other => other,
        }
    }
}

/// A branch that is still to be drawn.
struct Open {
    first: usize,
    /// The bars of its first row; the last is where it leaves another branch.
    bars: Vec<Bar>,
}

/// The rows of a graph; `all` folds nothing.
pub fn rows(view: &GraphView, all: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let roots = (0..view.epochs().len()).rev().filter(|place| view.parent(*place).is_none());
    let mut open: Vec<Open> = roots.map(|first| Open { first, bars: Vec::new() }).collect();
    while let Some(branch) = open.pop() {
        draw(view, all, branch, &mut open, &mut rows);
    }
    rows
}

/// One branch up to where others leave it; what is below that waits.
fn draw(view: &GraphView, all: bool, branch: Open, open: &mut Vec<Open>, rows: &mut Vec<Row>) {
    let Open { first, mut bars } = branch;
    let epoch = &view.epochs()[first];
    if view.parent(first).is_none() && epoch.parent.is_some() {
        rows.push(Row { bars: bars.clone(), what: What::Forgotten(epoch.side) });
    }
    rows.push(Row { bars: bars.clone(), what: What::Epoch(first) });
    bars.iter_mut().for_each(|bar| bar.shape = bar.shape.below());
    let (mut last, mut run) = (first, Vec::new());
    while let &[next] = view.children(last) {
        if view.next(last).is_none() {
            break;
        }
        last = next;
        match all || stands_alone(view, next) {
            true => {
                fold(std::mem::take(&mut run), &bars, rows);
                rows.push(Row { bars: bars.clone(), what: What::Epoch(next) });
            }
            false => run.push(next),
        }
    }
    fold(run, &bars, rows);
    part(view, last, bars, open, rows);
}

/// The branches that leave an epoch: first those that lost, then the one that goes on.
fn part(view: &GraphView, place: usize, bars: Vec<Bar>, open: &mut Vec<Open>, rows: &mut Vec<Row>) {
    let next = view.next(place);
    if view.is_fork(place) {
        rows.push(Row { bars: bars.clone(), what: What::Fork(place) });
    }
    open.extend(next.map(|first| Open { first, bars: bars.clone() }));
    let side = next.map_or(Side::Lost, |next| view.epochs()[next].side);
    let mut is_last = next.is_none();
    // What is pushed last is drawn first.
    for first in view.children(place).iter().copied().filter(|child| Some(*child) != next).rev() {
        let shape = if is_last { Shape::Corner } else { Shape::Tee };
        let bar = Bar { side, shape };
        open.push(Open { first, bars: bars.iter().copied().chain([bar]).collect() });
        is_last = false;
    }
}

/// Whether an epoch has a row of its own, however long the run that it is in.
fn stands_alone(view: &GraphView, place: usize) -> bool {
    let epoch = &view.epochs()[place];
    let children = view.children(place).len();
    epoch.is_head || children != 1 || view.begins_lost(place) || !epoch.note.is_empty()
}

/// A run in which nothing of interest is, the last of it shown.
fn fold(mut run: Vec<usize>, bars: &[Bar], rows: &mut Vec<Row>) {
    let shown = if run.len() < FOLDED + SHOWN { run.len() } else { SHOWN };
    let shown = run.split_off(run.len() - shown);
    if !run.is_empty() {
        rows.push(Row { bars: bars.to_vec(), what: What::Fold(run) });
    }
    rows.extend(shown.into_iter().map(|place| Row { bars: bars.to_vec(), what: What::Epoch(place) }));
}

/// What is told of several epochs in one row.
pub struct Folded {
    /// How many, and their numbers.
    pub text: String,
    /// Who made them, and what else.
    pub more: String,
    /// Whether nothing but their names is left.
    pub is_gone: bool,
}

impl Folded {
    /// Of these.
    pub fn of(view: &GraphView, places: &[usize]) -> Self {
        let epochs = || places.iter().map(|place| &view.epochs()[*place]);
        let (first, last) = (epochs().next(), epochs().next_back());
        let number = |epoch: Option<&super::EpochView>| epoch.map_or(0, |epoch| epoch.number);
        let mut seen = BTreeSet::new();
        let by: Vec<&str> =
            epochs().filter_map(|epoch| epoch.by.as_deref()).filter(|by| seen.insert(*by)).collect();
        let by = super::words::list(&by, by.len());
        let moves = epochs().filter(|epoch| epoch.moves_members).count();
        let messages: u64 = epochs().filter_map(|epoch| epoch.messages).sum();
        let mut more = vec![format!("by {by}")];
        if moves > 0 {
            more.push(format!("members came or went in {moves} of them"));
        }
        if messages > 0 {
            more.push(super::words::count(messages as usize, "message"));
        }
        Self {
            text: format!("… {} epochs, {} to {}", places.len(), number(first), number(last)),
            more: more.join("; "),
            is_gone: epochs().all(super::EpochView::is_gone),
        }
    }
}
