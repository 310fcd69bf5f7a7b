//! The graph in lines: for a terminal, or a panel of one.

use super::layout::{Bar, Folded, Row, Shape, What, rows};
use super::text;
use super::view::{EpochView, GraphView, Side};
use super::words;
use crate::term::{Ink, Look};

/// Where marks stand, if names are not longer.
const COLUMN: usize = 52;

/// What an epoch is told in has at least so many columns; marks that leave less are left out.
const LEAST: usize = 16;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct Drawing {
    /// Colours and signs.
    pub look: Look,
    /// Columns of a line; as many as it takes if `None`.
    pub width: Option<usize>,
    /// Folds nothing.
    pub all: bool,
    /// How much is told of each epoch.
    pub detail: Detail,
    /// A line beneath each epoch that is kept, which says why.
    pub reasons: bool,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Who did what, and how forks ended: for a narrow panel.
    Brief,
    /// Names of epochs, messages and ages too, and what is undone at forks.
    Usual,
    /// Also the tags that decided, and what is left of each epoch.
    Technical,
}

/// A line, in pieces of one colour each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The pieces: safe to be written anywhere.
    pub spans: Vec<(Ink, String)>,
    /// The place of the epoch that it shows, in [`GraphView::epochs`]: for a panel in which one can be chosen.
    pub epoch: Option<usize>,
}

impl Line {
    /// As it is written to a terminal.
    pub fn paint(&self, look: Look) -> String {
        let painted: String = self.spans.iter().map(|(ink, text)| look.paint(*ink, text)).collect();
        painted.trim_end().to_owned()
    }

    /// Without colours.
    #[cfg(test)]
    pub fn text(&self) -> String {
        let text: String = self.spans.iter().map(|(_, text)| &text[..]).collect();
        text.trim_end().to_owned()
    }
}

/// The lines of the drawing.
pub fn lines(view: &GraphView, drawing: &Drawing) -> Vec<Line> {
    let pen = Pen::new(view, *drawing);
    let rows = rows(view, drawing.all);
    let cells: Vec<Option<Cell>> = rows.iter().map(|row| pen.cell(row)).collect();
    let column = cells
        .iter()
        .flatten()
        .map(|cell| cell.lanes + text::width(&cell.text))
        .filter(|end| *end <= COLUMN)
        .max();
    let mut lines = Vec::new();
    for (row, cell) in rows.iter().zip(&cells) {
        match (cell, &row.what) {
            (Some(cell), _) => lines.push(pen.line(row, cell, column.unwrap_or(0))),
            (None, What::Fork(place)) => lines.extend(pen.explain(row, *place)),
            (None, _) => {}
        }
        if let (true, What::Epoch(place)) = (drawing.reasons, &row.what) {
            lines.extend(pen.reason(row, *place));
        }
    }
    lines
}

/// What stands in a line on the right of the lanes.
struct Cell {
    /// Columns on the left of it.
    lanes: usize,
    sign: (Ink, String),
    ink: Ink,
    text: String,
    /// The first are the most important.
    marks: Vec<(Ink, String)>,
    epoch: Option<usize>,
}

struct Pen<'v> {
    view: &'v GraphView,
    drawing: Drawing,
    /// Digits of the highest number.
    digits: usize,
}

impl<'v> Pen<'v> {
    fn new(view: &'v GraphView, drawing: Drawing) -> Self {
        let highest = view.epochs().last().map_or(0, |epoch| epoch.number);
        Self { view, drawing, digits: highest.to_string().len().max(2) }
    }

    fn sign(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        self.drawing.look.sign(unicode, ascii)
    }

    /// As far as the terminal can show it.
    fn shown(&self, text: &str) -> String {
        if self.drawing.look.unicode { text.to_owned() } else { text::ascii(text) }
    }

    fn cell(&self, row: &Row) -> Option<Cell> {
        let lanes = 2 * row.bars.len() + 2;
        let dotted = |side: Side| (ink(side), self.sign("┊", ":").to_owned());
        Some(match &row.what {
            What::Fork(_) => return None,
            What::Forgotten(side) => Cell {
                lanes,
                sign: dotted(*side),
                ink: Ink::Faint,
                text: self.shown("… what was before is not known here any more"),
                marks: Vec::new(),
                epoch: None,
            },
            What::Fold(places) => {
                let folded = Folded::of(self.view, places);
                let side = places.first().map_or(Side::Way, |place| self.view.epochs()[*place].side);
                let marks = vec![(Ink::Faint, self.shown(&folded.more))];
                let ink = if folded.is_gone || side == Side::Lost { Ink::Faint } else { Ink::Plain };
                Cell { lanes, sign: dotted(side), ink, text: self.shown(&folded.text), marks, epoch: None }
            }
            What::Epoch(place) => {
                let epoch = &self.view.epochs()[*place];
                let is_faint = epoch.is_gone() || epoch.side == Side::Lost;
                Cell {
                    lanes,
                    sign: self.epoch_sign(epoch),
                    ink: if epoch.is_head {
                        Ink::Title
                    } else if is_faint {
                        Ink::Faint
                    } else {
                        Ink::Plain
                    },
                    text: self.epoch_text(epoch),
                    marks: self.marks(*place),
                    epoch: Some(*place),
                }
            }
        })
    }

    fn epoch_sign(&self, epoch: &EpochView) -> (Ink, String) {
        let sign = match (epoch.is_head, epoch.side, epoch.is_gone()) {
            (true, _, _) => self.sign("◉", "@"),
            (false, Side::Way, false) => self.sign("●", "*"),
            (false, Side::Way, true) => self.sign("•", "."),
            (false, Side::Lost, _) => self.sign("○", "o"),
        };
        (ink(epoch.side), sign.to_owned())
    }

    fn epoch_text(&self, epoch: &EpochView) -> String {
        let number = format!("{:>1$}", epoch.number, self.digits);
        let sentence = self.shown(&epoch.sentence());
        match self.drawing.detail {
            Detail::Brief => format!("{number}  {sentence}"),
            _ => format!("{number}  {}  {sentence}", epoch.short()),
        }
    }

    /// What stands behind an epoch.
    fn marks(&self, place: usize) -> Vec<(Ink, String)> {
        let (view, epoch) = (self.view, &self.view.epochs()[place]);
        let mut marks = vec![(Ink::Good, epoch.note.clone())];
        match self.drawing.detail {
            Detail::Technical => marks.extend(self.technical_marks(place)),
            _ => {
                let here = if epoch.is_head { self.sign("← you are here", "<- you are here") } else { "" };
                let lost = if view.begins_lost(place) { self.sign("✗ lost", "x lost") } else { "" };
                marks.extend([(Ink::Good, here.into()), (Ink::Bad, lost.into())]);
            }
        }
        if self.drawing.detail > Detail::Brief {
            let messages = epoch.messages.filter(|messages| *messages > 0);
            let messages = messages.map(|messages| words::count(messages as usize, "message"));
            marks.push((Ink::Plain, messages.unwrap_or_default()));
            marks.push((Ink::Faint, words::ago(epoch.made, view.now()).unwrap_or_default()));
        }
        marks.retain(|(_, mark)| !mark.is_empty());
        marks.into_iter().map(|(ink, mark)| (ink, self.shown(&mark))).collect()
    }

    /// The tag that decided where branches part, and what is left of the epoch.
    fn technical_marks(&self, place: usize) -> Vec<(Ink, String)> {
        let epoch = &self.view.epochs()[place];
        let tag = &epoch.tag[..epoch.tag.len().min(8)];
        let decided = match (self.view.is_sibling(place), epoch.side) {
            (true, Side::Way) => (Ink::Good, format!("tag {tag} {} wins", self.sign("★", "*"))),
            (true, Side::Lost) => (Ink::Bad, format!("tag {tag} {} loses", self.sign("✗", "x"))),
            (false, _) => (Ink::Plain, String::new()),
        };
        let level = epoch.level.map(words::level);
        let states = [epoch.is_head.then_some("head"), epoch.is_final.then_some("final"), level];
        vec![decided, (Ink::Note, states.into_iter().flatten().collect::<Vec<_>>().join(", "))]
    }

    fn line(&self, row: &Row, cell: &Cell, column: usize) -> Line {
        let width = self.drawing.width.unwrap_or(usize::MAX);
        let room = width.saturating_sub(cell.lanes);
        let mut marks = &cell.marks[..];
        let joined =
            |marks: &[(Ink, String)]| -> usize { marks.iter().map(|(_, mark)| text::width(mark) + 2).sum() };
        let needed = LEAST.min(text::width(&cell.text));
        while let [rest @ .., _] = marks {
            if joined(marks).saturating_add(needed) <= room {
                break;
            }
            marks = rest;
        }
        let behind = joined(marks);
        let told = text::cut(&cell.text, room.saturating_sub(behind), self.sign("…", ".."));
        let fill = column.saturating_sub(cell.lanes).min(room.saturating_sub(behind));
        let told = if marks.is_empty() { told } else { text::fill(&told, fill) };

        let mut spans = self.bars(&row.bars);
        spans.extend([cell.sign.clone(), (Ink::Plain, " ".into()), (cell.ink, told)]);
        for (ink, mark) in marks {
            spans.extend([(Ink::Plain, "  ".into()), (*ink, mark.clone())]);
        }
        Line { spans, epoch: cell.epoch }
    }

    fn bars(&self, bars: &[Bar]) -> Vec<(Ink, String)> {
        let last = bars.len().saturating_sub(1);
        let mut spans = Vec::new();
        for (lane, bar) in bars.iter().enumerate() {
            // Only the last of them turns.
            let turn = (Ink::Bad, self.sign("─", "-").to_owned());
            match bar.shape {
                Shape::Blank => spans.push((Ink::Plain, "  ".into())),
                Shape::Tee if lane == last => {
                    spans.extend([(ink(bar.side), self.sign("├", "|").into()), turn])
                }
                Shape::Corner if lane == last => spans.extend([(Ink::Bad, self.sign("╰", "`").into()), turn]),
                _ => spans.push((ink(bar.side), self.sign("│ ", "| ").into())),
            }
        }
        spans
    }

    /// What happened where branches part.
    fn explain(&self, row: &Row, place: usize) -> Vec<Line> {
        let mut sentences = words::fork(self.view, place);
        if self.drawing.detail == Detail::Brief {
            sentences.truncate(1);
        }
        // The line that goes on from the epoch runs beside it.
        let side = self.view.next(place).map_or(Side::Lost, |next| self.view.epochs()[next].side);
        self.beside(row, Some(side), &sentences, Ink::Note)
    }

    /// Why an epoch is kept.
    fn reason(&self, row: &Row, place: usize) -> Vec<Line> {
        let Some(kept) = &self.view.epochs()[place].kept else { return Vec::new() };
        let child = self.view.children(place).first();
        let side =
            child.map(|_| self.view.next(place).map_or(Side::Lost, |next| self.view.epochs()[next].side));
        self.beside(row, side, &[format!("kept {kept}")], Ink::Faint)
    }

    /// Text beside the lanes beneath an epoch, in as many lines as it takes.
    fn beside(&self, row: &Row, side: Option<Side>, told: &[String], colour: Ink) -> Vec<Line> {
        let below = row.bars.iter().map(|bar| Bar { shape: bar.shape.below(), ..*bar });
        let own = Bar { side: side.unwrap_or(Side::Way), shape: side.map_or(Shape::Blank, |_| Shape::Pass) };
        let bars = self.bars(&below.chain([own]).collect::<Vec<_>>());
        let room = self.drawing.width.unwrap_or(96).saturating_sub(2 * row.bars.len() + 3).max(1);
        let told = told.iter().flat_map(|told| text::wrap(&self.shown(told), room, self.sign("…", "..")));
        let line = |told: String| {
            let spans = bars.iter().cloned().chain([(Ink::Plain, " ".into()), (colour, told)]).collect();
            Line { spans, epoch: None }
        };
        told.map(line).collect()
    }
}

fn ink(side: Side) -> Ink {
    match side {
        Side::Way => Ink::Good,
        Side::Lost => Ink::Bad,
    }
}
