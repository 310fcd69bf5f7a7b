//! Telling what happens, line by line.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use dmls::{Credential, EpochId, KnownCommit};

use crate::Failure;
use crate::graph::text;
use crate::graph::words::{self, Tense};
use crate::term::{Ink, Look, hex, pad, write};

/// Where a line's second column begins.
const COLUMN: usize = 52;

/// Tells, or with `--json` keeps silent.
pub struct Teller {
    pub look: Look,
    pub silent: bool,
    /// Between two lines, for people to follow.
    pub pace: Duration,
}

impl Teller {
    /// A line as it is.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        write(&format!("{}\n", text.trim_end()))?;
        std::thread::sleep(self.pace);
        Ok(())
    }

    /// A new chapter.
    pub fn chapter(&self, unicode: &'static str, ascii: &'static str, title: &str) -> Result<(), Failure> {
        self.line("")?;
        let sign = self.look.paint(Ink::Note, self.look.sign(unicode, ascii));
        self.line(&format!("{sign} {}", self.look.paint(Ink::Title, title)))
    }

    /// Something happened.
    pub fn event(&self, text: &str) -> Result<(), Failure> {
        self.line(&format!("  {text}"))
    }

    /// Something happened on a side, which led to an epoch.
    pub fn step(&self, side: Option<u8>, text: &str, number: u64, id: &EpochId) -> Result<(), Failure> {
        let arrow = self.look.sign("→", "->");
        let epoch = self.look.paint(Ink::Faint, &format!("{arrow} epoch {number} {}", short(id)));
        self.line(&format!("  {}{} {epoch}", self.side(side), pad(text, COLUMN - margin(side))))
    }

    /// Somebody said something.
    pub fn says(&self, side: Option<u8>, name: &str, text: &str, readers: &str) -> Result<(), Failure> {
        let (open, close) = if self.look.unicode { ("“", "”") } else { ("\"", "\"") };
        let said = pad(&format!("{name}: {open}{text}{close}"), COLUMN - margin(side));
        self.line(&format!("  {}{said} {}", self.side(side), self.look.paint(Ink::Faint, readers)))
    }

    /// The mark of a side, with blanks behind it.
    pub fn side(&self, side: Option<u8>) -> String {
        match side {
            None => String::new(),
            Some(0) => self.look.paint(Ink::Left, "left   "),
            Some(_) => self.look.paint(Ink::Right, "right  "),
        }
    }
}

/// How wide the mark of a side is.
fn margin(side: Option<u8>) -> usize {
    side.map_or(0, |_| 7)
}

/// The first digits of an epoch's name.
pub fn short(id: &EpochId) -> String {
    hex(&id.as_bytes()[..id.as_bytes().len().min(4)])
}

/// Names in a row, the last ones counted if they are many.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    words::list(names, names.len())
}

/// The name in a credential, as far as it can be shown.
pub fn name(credential: &Credential) -> String {
    text::name(&String::from_utf8_lossy(credential.identity().unwrap_or(b"?")))
}

/// Who committed.
pub fn committer(commit: &KnownCommit) -> String {
    commit.credential.as_ref().map_or_else(|| "?".to_owned(), name)
}

/// What a commit does.
pub fn changes(commit: &KnownCommit) -> String {
    words::changes(commit, Tense::Present, &name)
}

/// A verb for so many: `1 leaves`, `2 leave`.
pub fn verb(number: usize, plural: &str) -> String {
    if number == 1 { format!("{plural}s") } else { plural.to_owned() }
}

/// A line on standard error that says how far a long run is; only on a terminal.
pub fn progress() -> Box<dyn FnMut(u64, usize)> {
    const EVERY: Duration = Duration::from_millis(100);
    if !std::io::stderr().is_terminal() {
        return Box::new(|_, _| {});
    }
    let (mut last, mut shown) = (Instant::now(), false);
    Box::new(move |delivered, flying| {
        if flying > 0 && last.elapsed() < EVERY {
            return;
        }
        last = Instant::now();
        let mut err = std::io::stderr().lock();
        // A terminal that can't be written to is no reason to stop.
        if flying > 0 {
            let _ = write!(err, "\r\x1b[2K  {delivered} packets delivered, {flying} on their way");
            let _ = err.flush();
            shown = true;
        } else if flying == 0 && shown {
            let _ = write!(err, "\r\x1b[2K");
            let _ = err.flush();
            shown = false;
        }
    })
}
