//! The terminal: colours where they are wanted, lines of a width, a reader who may go away.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Effects, Style};

use crate::Failure;

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Escape codes for colours.
    pub color: bool,
    /// Box drawing and other signs beyond ASCII.
    pub unicode: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Nothing special.
    Plain,
    /// A heading.
    Title,
    /// Not so important.
    Faint,
    /// The first side of a split.
    Left,
    /// The other side.
    Right,
    /// It won, it is right.
    Good,
    /// It lost, it is wrong.
    Bad,
    /// Worth a look.
    Note,
}

impl Look {
    /// For standard output: no colours if it is no terminal, nor with `NO_COLOR` or `plain`.
    pub fn of_stdout(plain: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { color: !plain && wanted && io::stdout().is_terminal(), unicode: !plain }
    }

    /// The text in its colour.
    pub fn paint(self, ink: Ink, text: &str) -> String {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        let style = match ink {
            Ink::Plain => Style::new(),
            Ink::Title => Style::new().effects(Effects::BOLD),
            Ink::Faint => Style::new().effects(Effects::DIMMED),
            Ink::Left => color(AnsiColor::Cyan),
            Ink::Right => color(AnsiColor::Magenta),
            Ink::Good => color(AnsiColor::Green),
            Ink::Bad => color(AnsiColor::Red),
            Ink::Note => color(AnsiColor::Yellow),
        };
        if self.color && ink != Ink::Plain && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// One of two signs.
    pub fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

/// The text with blanks up to a width in characters.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Columns of the terminal; of a file or a pipe none.
pub fn width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// Writes to standard output. That its reader went away (`| head`) ends the process, and is no failure.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Failure::Failed(format!("can't write to standard output: {e}"))),
    }
}
