//! Lists that cover the messages for a while.

use ratatui::text::{Line, Span};

use super::command::COMMANDS;
use super::text::wrap;

/// A title and lines, some of which are on the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What it is.
    pub title: String,
    /// Clean text.
    pub lines: Vec<String>,
    /// How many of the lines are above the screen.
    pub above: usize,
}

impl Page {
    /// A list from its beginning.
    pub fn new(title: &str, lines: Vec<String>) -> Self {
        Self { title: title.to_owned(), lines, above: 0 }
    }

    /// What can be done.
    pub fn help(zone: &str) -> Self {
        let commands = COMMANDS.iter().map(|(name, usage, what)| {
            let command = format!("/{name} {usage}");
            format!("{command:<26} {what}")
        });
        let mut lines: Vec<_> = commands.collect();
        lines.extend(KEYS.lines().map(str::to_owned));
        lines.push(format!("Times are those at which messages came here, in {zone}."));
        Self::new("help", lines)
    }

    /// Its lines, in a width: the border takes two of it.
    pub fn rows(&self, width: usize) -> Vec<Line<'static>> {
        let line = |line: &String| wrap(&[Span::raw(line.clone())], width.saturating_sub(2), 4);
        self.lines.iter().flat_map(line).collect()
    }

    /// So many lines up or down, on an area of this size.
    pub fn scroll(&mut self, up: bool, lines: usize, width: usize, height: usize) {
        let above = if up { self.above.saturating_sub(lines) } else { self.above + lines };
        self.above = above.min(self.rows(width).len().saturating_sub(height.saturating_sub(2)));
    }
}

const KEYS: &str = "
Enter                      sends; Alt-Enter or Ctrl-J begins another line
Tab                        completes a command or a name; else the next group
Ctrl-N, Ctrl-P             the next group, the one before
PgUp, PgDn, Up, Down       through the messages; Ctrl-Home, Ctrl-End: first, last
F2, Ctrl-G                 the epochs of the group, and where it forked
Esc                        away with a warning or a list; then to the last message
Ctrl-C                     the end

A name with spaces stands in quotes: /invite \"Ann Lee\" Bob
Where several people have one name, the fingerprint says who is meant.

waits in the outbox        it goes out with the next synchronization
published                  it is where the others find it
2 of 4 have it             so many have told that they took it in
~                          only a lost branch saw it; yours go out again
";
