//! What is final, and when nothing older is under way (federation.md s4, rules 7 and 8).

use std::collections::BTreeSet;

use dmls::CommitId;

use super::{Group, Turn};
use crate::ids::ServerId;
use crate::message::{Item, Message, Parcel};
use crate::mutant::Mutant;

impl Group {
    /// Final beats tag. Finals form one chain (J1): who tells us another is told of, not believed. `is_elsewhere`: somebody else knows.
    pub(super) fn set_final(&mut self, id: &CommitId, is_elsewhere: bool, turn: &mut Turn<'_>) {
        if !self.is_ancestor(id, &self.state.finalized) {
            if !self.is_ancestor(&self.state.finalized, id) {
                turn.forked = Some(id.clone());
                return;
            }
            self.enter_final(id, turn);
        }
        if *id == self.state.finalized {
            self.tell_final(is_elsewhere, turn);
        }
    }

    fn enter_final(&mut self, id: &CommitId, turn: &mut Turn<'_>) {
        self.certify(id, false, turn);
        if self.mutant == Some(Mutant::FlushOfReq) {
            self.required_last = self.required(id);
        }
        self.state.finalize(id, &mut turn.writer());
        self.state.note_flush(self.state.me, id, &mut turn.writer());
        let flush = |server| (server, Parcel::Flush { commit: id.clone() });
        turn.outbox.extend(self.peers().into_iter().map(flush));
    }

    /// All but us that have members in an epoch that is not flushed.
    fn peers(&self) -> BTreeSet<ServerId> {
        let mut peers: BTreeSet<_> =
            self.unflushed().iter().flat_map(|epoch| self.servers(epoch)).copied().collect();
        peers.remove(&self.state.me);
        peers
    }

    /// Clients are told of a final commit when another server has it, too, if there is one: a leader that came back from a backup
    /// would have told them what nobody knows any more.
    fn tell_final(&mut self, is_elsewhere: bool, turn: &mut Turn<'_>) {
        if self.is_told() {
            return;
        }
        let finalized = self.state.finalized.clone();
        let has_it = |server: &ServerId| {
            self.state.flush_of(*server).is_some_and(|flush| self.is_ancestor(&finalized, flush))
        };
        let peers = self.peers();
        let is_kept = is_elsewhere || peers.is_empty() || peers.iter().any(has_it);
        if !is_kept && self.mutant != Some(Mutant::ToldTooSoon) {
            return;
        }
        let mut epochs = self.below(&self.state.told, &finalized);
        epochs.push(self.state.told.clone());
        let devices: BTreeSet<_> =
            epochs.iter().flat_map(|epoch| turn.epochs.devices(epoch, self.state.me)).collect();
        self.state.tell(&finalized, &mut turn.writer());
        let item = Item::Final { commit: finalized };
        turn.queue.extend(devices.into_iter().map(|device| (device, item.clone())));
        self.raise_watermark(turn);
    }

    fn is_told(&self) -> bool {
        self.state.told == self.state.finalized
    }

    /// From the last flushed epoch to the last final one.
    fn unflushed(&self) -> Vec<CommitId> {
        let mut epochs = vec![self.state.flushed.clone()];
        epochs.extend(self.below(&self.state.flushed, &self.state.finalized));
        epochs
    }

    /// Who flushes a commit says that it is final, too: what told us so may be lost with the outbox of a server that came back from a
    /// backup.
    pub(super) fn on_flush(&mut self, from: ServerId, commit: &CommitId, turn: &mut Turn<'_>) {
        self.set_final(commit, true, turn);
        let is_later = self.state.flush_of(from).is_none_or(|last| self.is_ancestor(last, commit));
        if is_later {
            self.state.note_flush(from, commit, &mut turn.writer());
        }
        self.raise_watermark(turn);
    }

    /// Rule 8: the keys of an epoch are released when each of its servers has flushed a later final.
    pub(super) fn raise_watermark(&mut self, turn: &mut Turn<'_>) {
        if !self.is_told() {
            return;
        }
        let epochs = self.unflushed();
        let flushed = match self.mutant {
            Some(Mutant::NoFlush) => epochs.len() - 1,
            Some(Mutant::FlushOfReq) => {
                let has_said = |server: &ServerId| {
                    let flush = self.state.flush_of(*server);
                    flush.is_some_and(|flush| self.is_ancestor(&self.state.finalized, flush))
                };
                if self.required_last.iter().all(has_said) { epochs.len() - 1 } else { 0 }
            }
            _ => epochs
                .iter()
                .take_while(|epoch| *epoch != &self.state.finalized && self.is_flushed(epoch))
                .count(),
        };
        if flushed > 0 {
            let commit = epochs[flushed].clone();
            self.state.raise_flushed(&commit, &mut turn.writer());
            let devices = turn.epochs.devices(&commit, self.state.me);
            turn.queue
                .extend(devices.into_iter().map(|device| (device, Item::Flushed { commit: commit.clone() })));
        }
    }

    fn is_flushed(&self, epoch: &CommitId) -> bool {
        self.servers(epoch).difference(&self.retired).all(|server| self.has_flushed(*server, epoch))
    }

    /// Whether a server said that nothing of an epoch comes from it any more.
    fn has_flushed(&self, server: ServerId, epoch: &CommitId) -> bool {
        let flush = self.state.flush_of(server);
        flush.is_some_and(|flush| flush != epoch && self.is_ancestor(epoch, flush))
    }

    /// Whoever may have flushed without our hearing of it is asked again.
    pub(crate) fn ask_for_flushes(&self, turn: &mut Turn<'_>) {
        if self.state.flushed == self.state.finalized || self.mutant == Some(Mutant::FlushNotAskedFor) {
            return;
        }
        let mut silent = BTreeSet::new();
        for epoch in self.unflushed().iter().filter(|epoch| **epoch != self.state.finalized) {
            silent.extend(
                self.servers(epoch)
                    .difference(&self.retired)
                    .filter(|server| !self.has_flushed(**server, epoch)),
            );
        }
        silent.remove(&self.state.me);
        silent.into_iter().for_each(|server| turn.send(server, Message::AskFlush));
    }

    pub(super) fn on_ask_flush(&self, from: ServerId, turn: &mut Turn<'_>) {
        if self.state.finalized != self.state.genesis && from != self.state.me {
            turn.outbox.push((from, Parcel::Flush { commit: self.state.finalized.clone() }));
        }
    }
}
