//! The graph as a picture: one SVG file that needs nothing else, light or dark as whoever looks at it prefers.
//!
//! No scripts, no fonts from elsewhere, no links: it may be opened by somebody who did not make it.

use std::fmt::Write;

use super::layout::{Folded, Row, What, rows};
use super::text;
use super::view::{EpochView, GraphView, Side};
use super::words;

/// Pixels from one lane to the next.
const LANE: usize = 28;
/// Of the first lane, and on the other sides.
const MARGIN: usize = 32;
/// From the last lane of a row to its text.
const GAP: usize = 22;
/// Heights of rows.
const EPOCH: usize = 52;
const FOLD: usize = 48;
const FORGOTTEN: usize = 34;
/// From the top of a row to where its dot is.
const MIDDLE: usize = 18;
/// Of a line in a box.
const LINE: usize = 19;
/// Around the lines of a box, and between a box and what is around it.
const PADDING: usize = 10;
/// Columns of text.
const COLUMNS: usize = 76;

const STYLE: &str = "
svg { font-family: ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif; }
.back { fill: #ffffff; } .title { fill: #1f2328; font-size: 19px; font-weight: 600; }
.text { fill: #1f2328; font-size: 14px; } .gone, .lost-text { fill: #59636e; } .head-text { font-weight: 600; }
.small { fill: #59636e; font-size: 11.5px; } .id { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.way { stroke: #1a7f4b; } .lost { stroke: #bf4a73; } .line { fill: none; stroke-width: 2.5; stroke-linecap: round; }
.dashed { stroke-dasharray: 0.1 6; } .dot { stroke-width: 2.5; } .dot.way { fill: #1a7f4b; } .dot.lost { fill: #ffffff; }
.dot.gone { opacity: 0.55; } .ring { fill: #1a7f4b; opacity: 0.18; }
.here { fill: #1a7f4b; font-size: 12px; font-weight: 600; } .over { fill: #bf4a73; font-size: 12px; font-weight: 600; }
.box { fill: #fff8e6; stroke: #e6d3a3; } .edge { fill: #d29922; } .told { fill: #4d3d12; font-size: 13px; }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117; } .title, .text { fill: #e6edf3; } .text.gone, .text.lost-text, .small { fill: #9198a1; }
.way { stroke: #3fb97a; } .lost { stroke: #e5789b; } .dot.way { fill: #3fb97a; } .dot.lost { fill: #0d1117; }
.ring { fill: #3fb97a; opacity: 0.25; } .here { fill: #3fb97a; } .over { fill: #e5789b; }
.box { fill: #221d10; stroke: #4a3c16; } .told { fill: #e9dcb6; }
}
";

/// The picture; `all` folds nothing.
pub fn svg(view: &GraphView, all: bool) -> String {
    let mut picture = Picture::new(view, rows(view, all));
    picture.edges();
    for place in 0..picture.rows.len() {
        picture.row(place);
    }
    picture.close()
}

/// A row and where it is.
struct Placed {
    row: Row,
    /// Its top and its middle.
    top: usize,
    middle: usize,
    told: Vec<String>,
}

struct Picture<'v> {
    view: &'v GraphView,
    rows: Vec<Placed>,
    /// Of each epoch, the row in which it is.
    shown: Vec<usize>,
    body: String,
    /// How far text goes to the right.
    right: usize,
    bottom: usize,
}

impl<'v> Picture<'v> {
    fn new(view: &'v GraphView, rows: Vec<Row>) -> Self {
        let mut picture = Self {
            view,
            rows: Vec::new(),
            shown: vec![0; view.epochs().len()],
            body: String::new(),
            right: 420,
            bottom: MARGIN + 16,
        };
        picture.header();
        rows.into_iter().for_each(|row| picture.place(row));
        picture
    }

    fn header(&mut self) {
        let title = text::cut(self.view.title(), COLUMNS / 2, "…");
        self.write("title", MARGIN - 12, self.bottom, &title, 1.4);
        for line in words::summary(self.view).iter().flat_map(|line| text::wrap(line, COLUMNS, "…")) {
            self.bottom += 22;
            self.write("small", MARGIN - 12, self.bottom, &line, 0.9);
        }
        self.bottom += 18;
    }

    /// A row beneath those before.
    fn place(&mut self, row: Row) {
        let place = self.rows.len();
        let (mut height, mut told) = (EPOCH, Vec::new());
        match &row.what {
            What::Epoch(epoch) => self.shown[*epoch] = place,
            What::Fold(epochs) => {
                epochs.iter().for_each(|epoch| self.shown[*epoch] = place);
                height = FOLD;
            }
            What::Forgotten(_) => height = FORGOTTEN,
            What::Fork(epoch) => {
                let sentences = words::fork(self.view, *epoch);
                told = sentences.iter().flat_map(|told| text::wrap(told, COLUMNS, "…")).collect();
                height = told.len() * LINE + 4 * PADDING - 4;
            }
        }
        self.rows.push(Placed { row, top: self.bottom, middle: self.bottom + MIDDLE, told });
        self.bottom += height;
    }

    /// The lines between epochs, those of the branch that won above the others.
    fn edges(&mut self) {
        let mut lines = [String::new(), String::new()];
        for (place, epoch) in self.view.epochs().iter().enumerate() {
            let to = self.shown[place];
            let from = self.view.parent(place).map(|parent| self.shown[parent]);
            let before = to
                .checked_sub(1)
                .filter(|before| from.is_none() && matches!(self.rows[*before].row.what, What::Forgotten(_)));
            let Some(from) = from.or(before).filter(|from| *from != to) else { continue };
            let line = self.edge(from, to, epoch.side);
            lines[usize::from(epoch.side == Side::Way)].push_str(&line);
        }
        self.body.push_str(&lines.concat());
    }

    fn edge(&self, from: usize, to: usize, side: Side) -> String {
        let (x1, y1) = (lane(&self.rows[from].row), self.rows[from].middle);
        let (x2, y2) = (lane(&self.rows[to].row), self.rows[to].middle);
        let is_dashed = [from, to].iter().any(|row| !matches!(self.rows[*row].row.what, What::Epoch(_)));
        let path = match x1 == x2 {
            true => format!("V{y2}"),
            // Down beside the branch that goes on, then in a bend to its own lane.
            false => format!("V{} Q{x1},{y2} {},{y2} H{x2}", y2 - 16, x1 + 16),
        };
        let dashed = if is_dashed { " dashed" } else { "" };
        format!("<path class=\"line {}{dashed}\" d=\"M{x1},{y1} {path}\"/>\n", class(side))
    }

    fn row(&mut self, place: usize) {
        let row = self.rows[place].row.clone();
        let (x, y) = (lane(&row), self.rows[place].middle);
        match &row.what {
            What::Epoch(epoch) => self.epoch(*epoch, x, y),
            What::Fork(_) => self.told(place, x),
            What::Fold(epochs) => {
                let folded = Folded::of(self.view, epochs);
                let class = if folded.is_gone { "text gone" } else { "text" };
                self.write(class, x + GAP, y + 5, &folded.text, 1.0);
                self.write("small", x + GAP, y + 22, &folded.more, 0.85);
            }
            What::Forgotten(_) => {
                self.write("small", x + GAP, y + 4, "what was before is not known here any more", 0.85);
            }
        }
    }

    fn epoch(&mut self, place: usize, x: usize, y: usize) {
        let (view, epoch) = (self.view, &self.view.epochs()[place]);
        let (side, is_gone) = (class(epoch.side), if epoch.is_gone() { " gone" } else { "" });
        let _ = write!(self.body, "<g><title>{}</title>", escape(&tooltip(epoch)));
        if epoch.is_head {
            let _ = write!(self.body, "<circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"13\"/>");
        }
        // What is behind it must not shine through.
        let _ = write!(self.body, "<circle class=\"back\" cx=\"{x}\" cy=\"{y}\" r=\"7\"/>");
        let radius = if epoch.is_gone() { 4.5 } else { 6.5 };
        let _ =
            write!(self.body, "<circle class=\"dot {side}{is_gone}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");

        let look = match (epoch.is_head, epoch.side) {
            (true, _) => "text head-text",
            (false, Side::Lost) => "text lost-text",
            (false, Side::Way) => ["text", "text gone"][usize::from(epoch.is_gone())],
        };
        let sentence = text::cut(&epoch.sentence(), COLUMNS, "…");
        let marks = [
            (epoch.is_head, "here", "you are here"),
            (view.begins_lost(place), "over", "lost"),
            (epoch.is_final, "here", "final"),
            (!epoch.note.is_empty(), "here", &text::cut(&epoch.note, COLUMNS / 2, "…")),
        ];
        let marks: Vec<_> = marks.iter().filter(|(is, _, _)| *is).collect();
        let behind: String = marks
            .iter()
            .map(|(_, class, mark)| format!("<tspan class=\"{class}\" dx=\"12\">{}</tspan>", escape(mark)))
            .collect();
        let taken: f64 = marks.iter().map(|(_, _, mark)| 12.0 + estimate(mark)).sum();
        self.reach(x + GAP, estimate(&sentence) * 1.06 + taken);
        // The dot stands beside the first of two lines.
        let (x, above, below) = (x + GAP, y + 5, y + 22);
        let _ = writeln!(
            self.body,
            "<text class=\"{look}\" x=\"{x}\" y=\"{above}\">{}{behind}</text>",
            escape(&sentence)
        );
        let rest = rest(view, epoch);
        self.reach(x, estimate(&rest) * 0.85 + 90.0);
        let _ = writeln!(
            self.body,
            "<text class=\"small\" x=\"{x}\" y=\"{below}\">epoch {} · <tspan class=\"id\">{}</tspan>{}</text></g>",
            epoch.number,
            epoch.short(),
            escape(&rest)
        );
    }

    /// What happened where branches part, in a box beside the lanes.
    fn told(&mut self, place: usize, x: usize) {
        let row = &self.rows[place];
        let (left, top, told) = (x + GAP - 4, row.top + PADDING - 6, row.told.clone());
        let width = told.iter().map(|line| estimate(line)).fold(0.0, f64::max) * 0.86 + 34.0;
        let height = told.len() * LINE + 2 * PADDING;
        let _ = writeln!(
            self.body,
            "<rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{width:.0}\" height=\"{height}\" rx=\"6\"/>\
             <rect class=\"edge\" x=\"{left}\" y=\"{top}\" width=\"4\" height=\"{height}\" rx=\"2\"/>"
        );
        self.reach(left, width);
        for (line, text) in told.iter().enumerate() {
            let y = top + PADDING + 14 + line * LINE;
            let _ = writeln!(
                self.body,
                "<text class=\"told\" x=\"{}\" y=\"{y}\">{}</text>",
                left + 16,
                escape(text)
            );
        }
    }

    fn write(&mut self, class: &str, x: usize, y: usize, text: &str, scale: f64) {
        self.reach(x, estimate(text) * scale);
        let _ = writeln!(self.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text));
    }

    /// The picture is so wide that this fits.
    fn reach(&mut self, x: usize, width: f64) {
        self.right = self.right.max(x + width.ceil() as usize);
    }

    fn close(self) -> String {
        let (width, height) = (self.right + MARGIN, self.bottom + MARGIN);
        let title = escape(self.view.title());
        let described = escape(&words::summary(self.view).join(". "));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{title}</title>\n<desc id=\"d\">{described}</desc>\n\
             <style>{STYLE}</style>\n<rect class=\"back\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// Where the lane of a row is.
fn lane(row: &Row) -> usize {
    MARGIN + row.bars.len() * LANE
}

fn class(side: Side) -> &'static str {
    match side {
        Side::Way => "way",
        Side::Lost => "lost",
    }
}

/// What is told beneath the sentence of an epoch, behind its name.
fn rest(view: &GraphView, epoch: &EpochView) -> String {
    let messages = epoch.messages.filter(|messages| *messages > 0);
    let messages = messages.map(|messages| words::count(messages as usize, "message"));
    let gone = epoch.is_gone().then(|| "keys deleted".to_owned());
    let parts = [messages, words::ago(epoch.made, view.now()), gone];
    parts.into_iter().flatten().map(|part| format!(" · {part}")).collect()
}

/// What is told to those who point at an epoch.
fn tooltip(epoch: &EpochView) -> String {
    let mut told = format!("epoch {} {}\n{}", epoch.number, epoch.hex(), epoch.sentence());
    if let Some(kept) = &epoch.kept {
        let _ = write!(told, "\nkept {kept}");
    }
    told
}

/// About how many pixels a text takes at 14 px, rather too many: fonts differ.
fn estimate(text: &str) -> f64 {
    let one = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '·' => 5.5,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 13.5,
        'A'..='Z' => 10.5,
        c if c.is_ascii() => 8.8,
        c => (text::width(c.encode_utf8(&mut [0; 4])) * 10) as f64,
    };
    text.chars().map(one).sum()
}

/// Text that is nothing but text, also between quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
