//! What an exhaustive search asks of a group (feature `testing`).

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use dmls::CommitId;
use dmls::codec::Encode;

use super::Group;
use crate::ids::Ballot;

impl Group {
    /// What must outlive a crash.
    pub(crate) fn hash_kept(&self, out: &mut impl Hasher) {
        let state = &self.state;
        for id in state.nodes.keys() {
            ('n', id, state.is_certified(id), state.led(id)).hash(out);
            state.verdicts(id).for_each(|(device, verdict)| ('v', device, verdict.to_bytes()).hash(out));
        }
        state.candidates().for_each(|candidate| ('c', candidate).hash(out));
        (state.promised, &state.finalized, state.recovering, &state.flushed).hash(out);
        let servers: BTreeSet<_> = state.nodes.keys().flat_map(|id| self.servers(id)).collect();
        servers.into_iter().for_each(|server| (server, state.flush_of(*server)).hash(out));
        // Numbers of submissions only say which came first.
        state.submissions().for_each(|(_, submission)| ('s', &submission.commit).hash(out));
    }

    /// What a crash takes away. Left out is when commits arrived, for which a group waits only if devices are connected.
    pub(crate) fn hash_volatile(&self, out: &mut impl Hasher) {
        (&self.running, self.highest, &self.answered, &self.required_last).hash(out);
        self.parked.iter().for_each(|(from, message)| (from, message.to_bytes()).hash(out));
    }

    pub(crate) fn promised(&self) -> Ballot {
        self.state.promised
    }

    /// The highest number of a ballot that was seen.
    pub(crate) fn highest(&self) -> u64 {
        self.highest.max(self.state.promised.number)
    }

    /// The ballot that it leads, while that asks for something, and whether it still waits for promises.
    pub(crate) fn leads(&self) -> Option<(Ballot, bool)> {
        let running = self.running.as_ref().filter(|running| running.is_busy())?;
        Some((running.ballot(), running.is_preparing()))
    }

    pub(crate) fn candidates(&self) -> impl Iterator<Item = (&CommitId, &Ballot)> {
        self.state.candidates()
    }

    /// What waits to be proposed.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &CommitId> {
        self.state.submissions().map(|(_, submission)| &submission.commit)
    }
}
