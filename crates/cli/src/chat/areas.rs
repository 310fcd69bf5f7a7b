//! Where things are on the screen: as many of them as there is room for.

use ratatui::layout::{Constraint, Layout, Rect, Size};

/// Columns below which the groups are not listed: the title says how many there are.
const WITH_GROUPS: u16 = 64;
/// Columns below which the epochs take the place of the messages instead of standing beside them.
const WITH_PANEL: u16 = 76;
/// Rows below which the keys are not listed.
const WITH_KEYS: u16 = 8;

/// The places of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// The group, and who is in it.
    pub title: Rect,
    /// All between title and status.
    pub body: Rect,
    /// All groups.
    pub groups: Option<Rect>,
    /// The messages.
    pub log: Rect,
    /// The epochs.
    pub panel: Option<Rect>,
    /// What happened last.
    pub status: Rect,
    /// What is being typed.
    pub input: Rect,
    /// What keys do.
    pub keys: Option<Rect>,
}

impl Areas {
    /// On a screen of a size, with a panel, and with so many rows of input and status, if possible.
    pub fn of(size: Size, panel: bool, input_rows: usize, status_rows: usize) -> Self {
        let screen = Rect::new(0, 0, size.width, size.height);
        let at_most = |rows, most: u16| u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, most.max(1));
        let input_rows = at_most(input_rows, size.height / 3);
        let status_rows = at_most(status_rows, size.height / 4);
        let with_keys = size.height >= WITH_KEYS;
        let [title, body, status, input, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(status_rows),
            Constraint::Length(input_rows),
            Constraint::Length(u16::from(with_keys)),
        ])
        .areas(screen);
        let (groups, rest) = if size.width >= WITH_GROUPS {
            let columns = Constraint::Length((size.width / 5).min(28));
            let [groups, rest] = Layout::horizontal([columns, Constraint::Min(1)]).areas(body);
            (Some(groups), rest)
        } else {
            (None, body)
        };
        let (log, panel) = match panel {
            false => (rest, None),
            true if size.width < WITH_PANEL => (Rect { width: 0, ..rest }, Some(rest)),
            true => {
                let [log, panel] =
                    Layout::horizontal([Constraint::Min(1), Constraint::Percentage(45)]).areas(rest);
                (log, Some(panel))
            }
        };
        Self { title, body, groups, log, panel, status, input, keys: with_keys.then_some(keys) }
    }
}
