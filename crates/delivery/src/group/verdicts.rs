//! A commit must be processable (federation.md s4, rule 9).

use std::collections::BTreeSet;

use dmls::CommitId;

use super::{Group, Turn};
use crate::commit::Epochs;
use crate::ids::{Device, Millis};
use crate::message::Verdict;
use crate::mutant::Mutant;

/// How long a server waits for what its members say of a commit before it votes that the commit is final.
const PATIENCE: u64 = 3_000;

/// How many members could process a commit, and how many could not.
#[derive(Clone, Copy)]
struct Count {
    ok: usize,
    failed: usize,
}

impl Group {
    fn is_witness(&self, epochs: &dyn Epochs, id: &CommitId, device: &Device) -> bool {
        let own = self.mutant == Some(Mutant::OwnOkCounts) && *device == self.state.commit(id).committer;
        own || epochs.is_witness(id, device)
    }

    /// Who says OK to a commit on top of it, or makes one, says OK to it.
    fn count(&self, epochs: &dyn Epochs, id: &CommitId) -> Count {
        let mut ok = BTreeSet::new();
        let mut below = vec![id];
        while let Some(at) = below.pop() {
            let said = self.state.verdicts(at).filter(|(_, verdict)| *verdict == Verdict::Ok);
            ok.extend(said.map(|(device, _)| *device));
            if at == id && self.mutant == Some(Mutant::OwnOkCounts) {
                ok.insert(self.state.commit(at).committer);
            }
            if at != id && self.mutant != Some(Mutant::ChildIsNoOk) {
                ok.insert(self.state.commit(at).committer);
            }
            below.extend(self.state.children(at).filter(|child| self.state.is_certified(child)));
        }
        ok.retain(|device| self.is_witness(epochs, id, device));
        let failed = self.failed(epochs, id).filter(|device| !ok.contains(device)).count();
        Count { ok: ok.len(), failed }
    }

    /// The witnesses who said Failed, also those who said OK to something on top of it later.
    pub(super) fn failed<'a>(
        &'a self,
        epochs: &'a dyn Epochs,
        id: &'a CommitId,
    ) -> impl Iterator<Item = &'a Device> {
        let failed = self.state.verdicts(id).filter(|(_, verdict)| *verdict == Verdict::Failed);
        failed.map(|(device, _)| device).filter(move |device| self.is_witness(epochs, id, device))
    }

    /// While more members say Failed than OK the walk skips the commit.
    pub(super) fn is_blocked(&self, epochs: &dyn Epochs, id: &CommitId) -> bool {
        if *id == self.state.genesis {
            return false;
        }
        let Count { ok, failed } = self.count(epochs, id);
        if self.mutant == Some(Mutant::OneOkSuffices) { failed > 0 && ok == 0 } else { failed > ok }
    }

    /// Whether enough is said of a commit, and of all between it and the last final one. Where nobody who could say something is a
    /// member any more, nothing is needed.
    pub(super) fn may_be_final(&self, epochs: &dyn Epochs, id: &CommitId) -> bool {
        self.mutant == Some(Mutant::NoOkNeeded)
            || self.below(&self.state.finalized, id).iter().all(|epoch| {
                let Count { ok, failed } = self.count(epochs, epoch);
                let failed = if self.mutant == Some(Mutant::OneOkSuffices) { 1 } else { failed.max(1) };
                ok >= failed || !epochs.has_witness(epoch, id)
            })
    }

    /// Whether our members have said what they think of a commit and of all before it, or had the time to.
    pub(super) fn is_settled(&self, turn: &Turn<'_>, id: &CommitId) -> bool {
        self.mutant == Some(Mutant::NoWaitForMembers)
            || self.below(&self.state.finalized, id).iter().all(|epoch| {
                let arrived = self.arrived.get(epoch).copied().unwrap_or(Millis(0));
                turn.now >= arrived.after(PATIENCE) || self.all_have_said(turn, epoch)
            })
    }

    fn all_have_said(&self, turn: &Turn<'_>, id: &CommitId) -> bool {
        let said: BTreeSet<_> = self.state.verdicts(id).map(|(device, _)| *device).collect();
        let mut ours = turn.epochs.devices(id, self.state.me).into_iter();
        ours.all(|device| {
            said.contains(&device) || !turn.online.contains(&device) || !turn.epochs.is_witness(id, &device)
        })
    }

    /// Rule 9: whoever made a blocked commit makes no other on its parent, except one that removes somebody who said Failed, or
    /// by which somebody comes back.
    pub(super) fn is_banned(&self, epochs: &dyn Epochs, id: &CommitId) -> bool {
        let commit = self.state.commit(id);
        let Some(parent) = self.state.parent(id) else { return false };
        if self.mutant == Some(Mutant::NoBan) || commit.is_external {
            return false;
        }
        let mut siblings = self.state.children(parent).filter(|sibling| self.state.is_certified(sibling));
        siblings.any(|sibling| {
            self.state.commit(sibling).committer == commit.committer
                && self.is_blocked(epochs, sibling)
                && self.failed(epochs, sibling).all(|device| epochs.is_member(id, device))
        })
    }
}
