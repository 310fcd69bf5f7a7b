//! What comes and goes is believed later each time.

use crate::ids::{Millis, doubled};

/// After it went away once, something must stay for a second before it counts, then for two, and so on.
const FIRST: u64 = 1_000;
/// No longer than this.
const LAST: u64 = 300_000;
/// Who stayed so long begins anew.
const STEADY: u64 = 600_000;

/// How often something went away.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackOff {
    up_since: Option<Millis>,
    flaps: u32,
}

impl BackOff {
    pub(super) fn up(&mut self, now: Millis) {
        self.up_since.get_or_insert(now);
    }

    pub(super) fn down(&mut self, now: Millis) {
        let Some(since) = self.up_since.take() else { return };
        let flaps = if since.after(STEADY) <= now { 0 } else { self.flaps };
        self.flaps = flaps.saturating_add(1);
    }

    pub(super) fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// From when on it counts, if it stays.
    pub(super) fn counts_from(&self) -> Option<Millis> {
        let hold = match self.flaps {
            0 => 0,
            flaps => doubled(FIRST, flaps - 1, LAST),
        };
        self.up_since.map(|since| since.after(hold))
    }

    pub(super) fn counts(&self, now: Millis) -> bool {
        self.counts_from().is_some_and(|from| from <= now)
    }
}
