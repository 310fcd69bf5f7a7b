//! An entry of the log as lines.

use dmls_client::{Entry, Message, Note, Shown};
use ratatui::text::{Line, Span};

use super::clock::Clock;
use super::text::{clean, clean_lines, cut, width, wrap};
use super::theme::Theme;
use crate::term::Ink;

/// Columns of a name in front of a message, at most.
const MAX_NAME: usize = 20;
/// Columns before a text: those of the time.
const INDENT: usize = 6;
/// Seconds after which it is told when a message was written, if that is not when it came.
const LATE: u64 = 300;

/// How entries are shown.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Columns.
    pub width: usize,
    /// Where the person is.
    pub clock: Clock,
    /// Colours.
    pub theme: Theme,
    /// How many others are in the group.
    pub others: usize,
    /// The last entry that was seen before.
    pub seen: Option<u64>,
}

/// The lines of an entry: a new day is told first, and where the unread ones begin.
pub fn block(before: Option<&Shown>, shown: &Shown, sight: &Sight) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let day = |shown: &Shown| sight.clock.day(time(shown));
    if before.is_none_or(|before| day(before) != day(shown)) {
        let zone = sight.clock.zone(time(shown));
        lines.push(rule(&format!("{} ({zone})", day(shown)), Ink::Faint, sight));
    }
    if before.is_some_and(|before| Some(before.place) == sight.seen) {
        lines.push(rule("new", Ink::Note, sight));
    }
    lines.extend(match &shown.entry {
        Entry::Message(message) => message_lines(message, shown, sight),
        Entry::Note(note) => note_lines(note, sight),
        _ => Vec::new(),
    });
    lines
}

/// When it came here: this clock never jumps, whatever those of others say.
fn time(shown: &Shown) -> dmls::Time {
    match &shown.entry {
        Entry::Message(message) => message.received,
        Entry::Note(note) => note.at,
        _ => dmls::Time(0),
    }
}

fn rule(text: &str, ink: Ink, sight: &Sight) -> Line<'static> {
    let text = cut(&format!(" {text} "), sight.width);
    let left = (sight.width - width(&text)) / 2;
    let right = sight.width - width(&text) - left;
    Line::styled(format!("{}{text}{}", "─".repeat(left), "─".repeat(right)), sight.theme.style(ink))
}

fn note_lines(note: &Note, sight: &Sight) -> Vec<Line<'static>> {
    let time = Span::styled(format!("{} ", sight.clock.minute(note.at)), sight.theme.style(Ink::Faint));
    let text = Span::styled(format!("* {}", clean(&note.to_string())), sight.theme.style(Ink::Note));
    wrap(&[time, text], sight.width, INDENT)
}

fn message_lines(message: &Message, shown: &Shown, sight: &Sight) -> Vec<Line<'static>> {
    let faint = sight.theme.style(Ink::Faint);
    let text = if shown.on_head { sight.theme.style(Ink::Plain) } else { faint };
    let name = if shown.on_head { sight.theme.name(&message.from) } else { faint };
    let mut spans = vec![Span::styled(format!("{} ", sight.clock.minute(message.received)), faint)];
    if !shown.on_head {
        spans.push(Span::styled("~ ", sight.theme.style(Ink::Bad)));
    }
    spans.push(Span::styled(format!("{}: ", cut(&clean(&message.from), MAX_NAME)), name));
    spans.push(Span::styled(clean_lines(&message.text), text));
    for remark in remarks(message, shown, sight) {
        spans.push(Span::styled(format!(" ({remark})"), faint));
    }
    wrap(&spans, sight.width, INDENT)
}

/// What else is known of a message.
fn remarks(message: &Message, shown: &Shown, sight: &Sight) -> Vec<String> {
    let mut remarks = Vec::new();
    if message.sent.0.abs_diff(message.received.0) >= LATE {
        let same_day = sight.clock.day(message.sent) == sight.clock.day(message.received);
        let sent = if same_day {
            sight.clock.minute(message.sent)
        } else {
            sight.clock.day_and_minute(message.sent)
        };
        remarks.push(format!("written {sent}"));
    }
    if message.again {
        remarks.push("sent again".to_owned());
    }
    match (shown.on_head, message.own) {
        (false, true) => remarks.push("only a lost branch saw it: it goes out again".to_owned()),
        (false, false) => remarks.push("only a lost branch saw it".to_owned()),
        (true, true) => remarks.extend(delivery(shown, sight.others)),
        (true, false) => {}
    }
    remarks
}

/// How far a message of ours has come.
fn delivery(shown: &Shown, others: usize) -> Option<String> {
    if shown.waiting {
        return Some("waits in the outbox".to_owned());
    }
    match &shown.received_by {
        _ if others == 0 => None,
        None => Some("all have it".to_owned()),
        Some(names) if names.is_empty() => Some("published".to_owned()),
        Some(names) => Some(format!("{} of {others} have it", names.len())),
    }
}
