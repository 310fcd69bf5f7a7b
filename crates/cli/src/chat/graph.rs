//! The epochs of a group in the side panel.

use dmls::{Credential, Group};
use ratatui::text::{Line, Span};

use super::theme::Theme;
use crate::demo::tell;
use crate::graph::{Detail, Drawing, GraphView, lines as draw};
use crate::term::Look;

/// The drawing, in columns; the newest epochs are at its end.
pub fn lines(group: &Group, own: &str, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let name = |credential: &Credential| match tell::name(credential) {
        name if name == own => "you".to_owned(),
        name => name,
    };
    let look = Look { color: theme.color, unicode: true };
    let drawing = Drawing { look, width: Some(width), all: false, detail: Detail::Brief, reasons: false };
    let line = |line: crate::graph::Line| {
        let span = |(ink, text)| Span::styled(text, theme.style(ink));
        Line::from(line.spans.into_iter().map(span).collect::<Vec<_>>())
    };
    draw(&GraphView::of(group, group.head().made(), &name), &drawing).into_iter().map(line).collect()
}
