//! Another server, end to end: whether it answers, and by which way it is asked.

use std::collections::BTreeSet;

use super::back_off::BackOff;
use crate::ids::{Millis, ServerId};

/// How often a peer is asked.
pub(super) const PROBE: u64 = 500;
/// Who is silent for longer is lost.
pub(super) const SILENCE: u64 = 2_000;
/// A way by which so many probes in a row were not answered is left.
const UNANSWERED: u32 = 3;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing since we were started: that does not mean that it is down.
    Unknown,
    /// It answers.
    Live,
    /// It answered before.
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) reach: Reach,
    /// Since when it is unknown or lost.
    pub(super) since: Millis,
    /// Groups don't wait for it any more.
    pub(super) is_given_up: bool,
    /// It says that it has come back from a backup.
    pub(super) is_recovering: bool,
    heard: Option<Millis>,
    back_off: BackOff,
    /// When it is asked next.
    pub(super) ask_at: Millis,
    /// The last probe, its way, and how many were not answered on it.
    asked: u64,
    path: Vec<ServerId>,
    unanswered: u32,
    /// Relays that may swallow what is for it; the peer itself stands for the direct link.
    pub(super) suspects: BTreeSet<ServerId>,
}

impl Peer {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            reach: Reach::Unknown,
            since: now,
            is_given_up: false,
            is_recovering: false,
            heard: None,
            back_off: BackOff::default(),
            ask_at: now,
            asked: 0,
            path: Vec::new(),
            unanswered: 0,
            suspects: BTreeSet::new(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.reach == Reach::Live
    }

    /// Any byte of it counts.
    pub(super) fn on_heard(&mut self, now: Millis) {
        self.heard = Some(now);
        self.back_off.up(now);
    }

    pub(super) fn on_answer(&mut self, number: u64) {
        if number == self.asked {
            self.unanswered = 0;
        }
    }

    /// Silence, and the return from it.
    pub(super) fn look(&mut self, now: Millis) {
        if self.heard.is_some_and(|heard| heard.after(SILENCE) <= now) {
            self.heard = None;
            self.back_off.down(now);
        }
        match (self.is_live(), self.back_off.counts(now)) {
            (false, true) => {
                self.reach = Reach::Live;
                self.is_given_up = false;
            }
            (true, false) => {
                self.reach = Reach::Lost;
                self.since = now;
            }
            _ => {}
        }
    }

    /// Whether the way of the last probes is to be left.
    pub(super) fn is_swallowed(&mut self) -> bool {
        if self.unanswered < UNANSWERED {
            return false;
        }
        self.unanswered = 0;
        match self.path.get(1..) {
            Some([peer]) => self.suspects.extend([*peer]),
            Some([relays @ .., _]) => self.suspects.extend(relays),
            _ => {}
        }
        true
    }

    /// The number of a probe that goes by this way.
    pub(super) fn ask(&mut self, path: &[ServerId]) -> u64 {
        if self.path != path {
            self.path = path.to_vec();
            self.unanswered = 0;
        }
        self.asked += 1;
        self.unanswered += 1;
        self.asked
    }
}
