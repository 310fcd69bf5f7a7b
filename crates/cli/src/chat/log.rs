//! The part of a group's log that is on the screen. What lies around it is loaded, and nothing else.

use dmls_client::Shown;
use ratatui::text::Line;

use super::block::{Sight, block};

/// What of a log is shown.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Entries around the place, the oldest first.
    loaded: Vec<Shown>,
    /// Whether nothing comes behind them.
    to_end: bool,
    /// The lowest line; `None`: that of the newest entry, whatever comes.
    bottom: Option<Bottom>,
    /// It moved: other entries are needed.
    moved: bool,
}

/// The lowest line on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bottom {
    /// Of this entry.
    place: u64,
    /// So many of its lines are below the screen.
    hidden: usize,
}

impl Log {
    /// Whether the newest entry is on the screen.
    pub fn is_at_end(&self) -> bool {
        self.bottom.is_none()
    }

    /// The place of the newest entry that is loaded.
    pub fn last(&self) -> Option<u64> {
        self.loaded.last().map(|shown| shown.place)
    }

    /// The place around which entries are needed; `None`: the end.
    pub fn place(&self) -> Option<u64> {
        self.bottom.map(|bottom| bottom.place)
    }

    /// Whether other entries are needed than those that are loaded.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Takes entries around [`Log::place`]: those up to it, and those behind it; whether nothing comes behind these.
    pub fn load(&mut self, mut up_to: Vec<Shown>, behind: Vec<Shown>, to_end: bool) {
        up_to.extend(behind);
        self.loaded = up_to;
        self.to_end = to_end;
        self.moved = false;
    }

    /// To the newest entry, and along with it.
    pub fn go_to_end(&mut self) {
        self.bottom = None;
        self.moved = true;
    }

    /// To the first entry.
    pub fn go_to_start(&mut self) {
        self.bottom = Some(Bottom { place: 0, hidden: 0 });
        self.moved = true;
    }

    /// So many lines up, as far as there are any.
    pub fn up(&mut self, lines: usize, height: usize, sight: &Sight) {
        let Some((lowest, hidden)) = self.lowest() else { return };
        let wanted = hidden + lines + height;
        let mut there = 0;
        for n in (0..=lowest).rev() {
            there += self.block(n, sight).len();
            if there >= wanted {
                break;
            }
        }
        let hidden = (hidden + lines).min(there.saturating_sub(height)).max(hidden);
        self.set_bottom(lowest, hidden, sight);
    }

    /// So many lines down; at the end it stays there.
    pub fn down(&mut self, lines: usize, sight: &Sight) {
        let Some((mut lowest, mut hidden)) = self.lowest() else { return };
        let mut left = lines;
        while left > hidden && lowest + 1 < self.loaded.len() {
            left -= hidden;
            lowest += 1;
            hidden = self.block(lowest, sight).len();
        }
        self.set_bottom(lowest, hidden.saturating_sub(left), sight);
    }

    /// So that the screen is full, if there is enough for it.
    pub fn settle(&mut self, height: usize, sight: &Sight) {
        if self.bottom.is_none() {
            return;
        }
        let Some((lowest, hidden)) = self.lowest() else { return self.go_to_end() };
        let mut there = 0;
        for n in (0..=lowest).rev() {
            there += self.block(n, sight).len();
            if there >= height + hidden {
                return;
            }
        }
        self.down(height + hidden - there, sight);
    }

    /// The lines on the screen, at most so many.
    pub fn lines(&self, height: usize, sight: &Sight) -> Vec<Line<'static>> {
        let Some((lowest, hidden)) = self.lowest() else { return Vec::new() };
        let mut lines: Vec<Line<'static>> = Vec::new();
        for n in (0..=lowest).rev() {
            lines.splice(0..0, self.block(n, sight));
            if lines.len() >= height + hidden {
                break;
            }
        }
        lines.truncate(lines.len().saturating_sub(hidden));
        lines.split_off(lines.len().saturating_sub(height))
    }

    fn block(&self, n: usize, sight: &Sight) -> Vec<Line<'static>> {
        let before = n.checked_sub(1).map(|before| &self.loaded[before]);
        block(before, &self.loaded[n], sight)
    }

    /// Which of the loaded entries is the lowest on the screen, and how many of its lines are below.
    fn lowest(&self) -> Option<(usize, usize)> {
        let last = self.loaded.len().checked_sub(1)?;
        let Some(bottom) = self.bottom else { return Some((last, 0)) };
        let n = self.loaded.partition_point(|shown| shown.place <= bottom.place);
        match n.checked_sub(1) {
            Some(n) if self.loaded[n].place == bottom.place => Some((n, bottom.hidden)),
            n => Some((n.unwrap_or(0), 0)),
        }
    }

    fn set_bottom(&mut self, mut lowest: usize, mut hidden: usize, sight: &Sight) {
        while lowest > 0 {
            let lines = self.block(lowest, sight).len();
            if hidden < lines.max(1) {
                break;
            }
            hidden -= lines;
            lowest -= 1;
        }
        let is_end = self.to_end && lowest + 1 == self.loaded.len() && hidden == 0;
        self.bottom = (!is_end).then(|| Bottom { place: self.loaded[lowest].place, hidden });
        self.moved = true;
    }
}
