//! What others wrote, made fit for a terminal: nothing in it moves the cursor, turns the direction of what follows or hides.

use std::ops::Range;

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Characters of a grapheme, at most: a letter may carry marks without end, which pile up over its neighbours. The longest emoji have ten.
const MAX_MARKS: usize = 16;

/// A text as a line of its own: line breaks are shown as signs.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for grapheme in text.graphemes(true) {
        push_visible(grapheme, &mut out);
    }
    out
}

/// A text that may have several lines.
pub fn clean_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for grapheme in text.graphemes(true) {
        match grapheme {
            "\n" | "\r\n" | "\u{85}" | "\u{2028}" | "\u{2029}" => out.push('\n'),
            _ => push_visible(grapheme, &mut out),
        }
    }
    out
}

/// What is shown of a grapheme.
pub fn visible(grapheme: &str) -> String {
    let mut out = String::new();
    push_visible(grapheme, &mut out);
    out
}

fn push_visible(grapheme: &str, out: &mut String) {
    for c in grapheme.chars().take(MAX_MARKS) {
        match c {
            '\t' => out.push_str("    "),
            // Unicode has a picture of each.
            '\0'..='\x1f' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\x7f' => out.push('\u{2421}'),
            _ if is_hidden(c) => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(c),
        }
    }
}

/// Characters that turn the direction of a text, that nobody sees, or that terminals take as commands. Joiners (U+200C, U+200D) and selectors of
/// variants are none of them: Persian and emoji need them.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text in so many columns at most, with a sign where it was cut.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = columns.saturating_sub(1);
    for grapheme in text.graphemes(true) {
        let Some(rest) = left.checked_sub(width(grapheme)) else { break };
        left = rest;
        out.push_str(grapheme);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Breaks clean text into lines of a width, between words where that is possible. Lines but the first are indented, if there is room.
pub fn wrap(spans: &[Span<'_>], width: usize, indent: usize) -> Vec<Line<'static>> {
    let width = width.max(1);
    let indent = if width > 2 * indent { indent } else { 0 };
    let pieces = spans
        .iter()
        .flat_map(|span| span.content.graphemes(true).map(|text| Piece { text, style: span.style }));
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    for piece in pieces {
        if piece.text == "\n" {
            lines.push(Vec::new());
            column = indent;
            continue;
        }
        let piece_width = self::width(piece.text);
        if piece_width + indent > width {
            // It does not fit anywhere.
            continue;
        }
        if column + piece_width > width && piece.text == " " {
            // The break stands for it.
            lines.push(Vec::new());
            column = indent;
            continue;
        }
        if column + piece_width > width {
            let line = lines.pop().unwrap_or_default();
            let (line, rest) = split_at_word(line, (width - indent - piece_width).min(width / 2));
            column = indent + columns(&rest);
            lines.extend([line, rest]);
        }
        column += piece_width;
        if let Some(line) = lines.last_mut() {
            line.push(piece);
        }
    }
    let indented = |(n, line): (usize, Vec<Piece<'_>>)| joined(&line, if n == 0 { 0 } else { indent });
    lines.into_iter().enumerate().map(indented).collect()
}

#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    style: Style,
}

/// A full line, and what of it belongs to the next: the word that does not end here, unless that has no room there.
fn split_at_word(mut line: Vec<Piece<'_>>, room: usize) -> (Vec<Piece<'_>>, Vec<Piece<'_>>) {
    let word = line.iter().rposition(|piece| piece.text == " ").map_or(0, |space| space + 1);
    if word == 0 || columns(&line[word..]) > room {
        return (line, Vec::new());
    }
    let rest = line.split_off(word);
    (line, rest)
}

fn columns(line: &[Piece<'_>]) -> usize {
    line.iter().map(|piece| width(piece.text)).sum()
}

fn joined(line: &[Piece<'_>], indent: usize) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    if indent > 0 {
        spans.push(Span::raw(" ".repeat(indent)));
    }
    let same = |one: &Piece<'_>, other: &Piece<'_>| one.style == other.style;
    for run in line.chunk_by(same) {
        let text: String = run.iter().map(|piece| piece.text).collect();
        spans.push(Span::styled(text, run[0].style));
    }
    Line::from(spans)
}

/// The places of the graphemes of a text.
pub fn graphemes(text: &str) -> impl DoubleEndedIterator<Item = Range<usize>> {
    text.grapheme_indices(true).map(|(start, grapheme)| start..start + grapheme.len())
}
