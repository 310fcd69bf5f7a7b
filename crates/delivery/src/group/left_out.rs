//! No promise to a ballot that leaves out a server which is there (federation.md s3, J4): one wrong detector must not fork a group, nor
//! stop it for ever.

use std::collections::BTreeSet;

use super::{Group, Turn};
use crate::ids::{Ballot, ServerId};

/// For so long we insist on a server that answers our probes and says nothing in the group. It is as long as a group waits for a server
/// at most, so whoever is wrong about one costs no more than that.
const PATIENCE: u64 = 30_000;

impl Group {
    /// The servers that the group needs, that are seen live here and out of the leader's view, and for which it is not too late. Servers
    /// that the leader does not know to be needed are none of these: it learns of them by our promise, and M grows.
    pub(super) fn left_out(&mut self, view: &[ServerId], turn: &Turn<'_>) -> Vec<ServerId> {
        let needed = self.live();
        self.missed.retain(|server, _| needed.contains(server) && turn.seen.contains(server));
        let in_view: BTreeSet<_> = view.iter().copied().collect();
        let there = needed.intersection(turn.seen).copied();
        let mut left_out: Vec<_> = there.filter(|server| !in_view.contains(server)).collect();
        left_out.retain(|server| {
            let since = *self.missed.entry(*server).or_insert(turn.now);
            turn.now < since.after(PATIENCE)
        });
        left_out
    }

    /// Who leads tries again later, when it may reach more.
    pub(super) fn on_left_out(&mut self, ballot: Ballot) {
        self.running.take_if(|running| running.is(ballot));
    }
}
