//! Taking in what others know.

use std::collections::BTreeSet;

use dmls::CommitId;

use super::{Group, Turn};
use crate::commit::{Body, Commit};
use crate::epochs::Invalid;
use crate::ids::ServerId;
use crate::message::{Candidate, Digest, Item, Message, Testimony};

impl Group {
    /// What we know that is not final.
    pub(super) fn digest(&self) -> Digest {
        let mut certified: Vec<_> = self.certified().filter(|id| self.is_open(id)).cloned().collect();
        certified.sort_by_key(|id| self.below(&self.state.finalized, id).len());
        let candidates = self.state.candidates().filter(|(id, _)| self.is_open(id));
        let candidates: Vec<_> = candidates
            .map(|(commit, ballot)| Candidate { commit: commit.clone(), ballot: *ballot })
            .collect();
        // Of candidates too: after a restore a commit may be one again of which members have spoken.
        let spoken_of = certified.iter().chain(candidates.iter().map(|candidate| &candidate.commit));
        let testimonies = spoken_of.flat_map(|commit| {
            self.state.verdicts(commit).map(|(device, verdict)| Testimony {
                commit: commit.clone(),
                device: *device,
                verdict,
            })
        });
        let testimonies = testimonies.collect();
        Digest { finalized: self.state.finalized.clone(), certified, candidates, testimonies }
    }

    /// All bodies are here.
    pub(super) fn learn(&mut self, digest: &Digest, turn: &mut Turn<'_>) {
        digest.certified.iter().for_each(|id| self.certify(id, false, turn));
        for Candidate { commit, ballot } in &digest.candidates {
            self.state.accept(commit, *ballot, &mut turn.writer());
        }
        for Testimony { commit, device, verdict } in &digest.testimonies {
            if self.has_body(commit) {
                self.state.testify(commit, *device, *verdict, &mut turn.writer());
            }
        }
        self.set_final(&digest.finalized, true, turn);
    }

    /// Certified, and so is what it stands on. What is new goes to the devices that are members before or after it.
    pub(super) fn certify(&mut self, id: &CommitId, led: bool, turn: &mut Turn<'_>) {
        let mut path = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at.filter(|id| !self.state.is_certified(id)) {
            path.push(id.clone());
            at = self.state.parent(id);
        }
        for commit in path.into_iter().rev() {
            let is_led = led && commit == *id;
            self.state.certify(&commit, is_led, &mut turn.writer());
            self.arrived.insert(commit.clone(), turn.now);
            self.fan_out(&commit, turn);
        }
    }

    pub(super) fn fan_out(&self, commit: &CommitId, turn: &mut Turn<'_>) {
        let mut devices: BTreeSet<_> = turn.epochs.devices(commit, self.state.me).into_iter().collect();
        if let Some(parent) = self.state.parent(commit) {
            devices.extend(turn.epochs.devices(parent, self.state.me));
        }
        turn.queue
            .extend(devices.into_iter().map(|device| (device, Item::Commit { commit: commit.clone() })));
    }

    pub(super) fn on_fetch(
        &self,
        from: ServerId,
        commits: &[CommitId],
        above: &CommitId,
        turn: &mut Turn<'_>,
    ) {
        let mut bodies = Vec::new();
        let mut sent = BTreeSet::from([above.clone(), self.state.genesis.clone()]);
        for id in commits.iter().filter(|id| self.has_body(id)) {
            let mut path = Vec::new();
            let mut at = Some(id);
            while let Some(id) = at.filter(|id| !sent.contains(id)) {
                path.push(id.clone());
                at = self.state.parent(id);
            }
            bodies.extend(path.iter().rev().filter_map(|id| self.state.nodes[id].body.clone()));
            sent.extend(path);
        }
        turn.send(from, Message::Bodies { bodies });
    }

    /// Valid bodies are kept; then what waited for them is taken. What is invalid is passed over: who sent it may lie.
    pub(super) fn on_bodies(&mut self, from: ServerId, bodies: Vec<Body>, turn: &mut Turn<'_>) {
        for body in bodies {
            if self.has_body(&body.parent) {
                // A commit that is invalid makes no epoch for anybody (J6).
                let _ = self.stage(body, turn);
            }
        }
        let Some(parked) = self.parked.remove(&from) else { return };
        if parked.commits().into_iter().all(|id| self.has_body(id)) {
            self.handle(from, parked, turn);
        }
    }

    pub(super) fn stage(&mut self, body: Body, turn: &mut Turn<'_>) -> Result<CommitId, Invalid> {
        let commit = turn.epochs.stage(&body)?;
        Ok(self.keep(commit, body, turn))
    }

    /// A valid commit; it may be here already.
    pub(super) fn keep(&mut self, commit: Commit, body: Body, turn: &mut Turn<'_>) -> CommitId {
        let id = commit.id.clone();
        if !self.has_body(&id) {
            self.state.add(commit, body, &mut turn.writer());
        }
        id
    }
}
