//! What devices at home here bring (federation.md s4 rules 1, 8 and 9, s6).

use std::fmt;

use dmls::CommitId;

use super::state::{Damaged, Submission};
use super::{Group, Turn};
use crate::commit::Body;
use crate::epochs::Invalid;
use crate::ids::{Device, MessageName, ServerId};
use crate::message::{Item, Message, Parcel, Verdict};
use crate::mutant::Mutant;

/// Why a server does not take what a device brings. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The server has come back from a backup and asks the others first: try again later.
    Recovering,
    /// The server was retired: its devices need another home.
    Retired,
    /// The parent of the commit, or the epoch, is not known here: read the queue first.
    UnknownEpoch,
    /// The epoch is over: encrypt on the head, with the same name. Of a commit: see in the queue what became of it, or make another on
    /// the head.
    EpochOver,
    /// The device is no member there, or not at home here, or the commit is of another.
    NotMember,
    /// The commit is invalid.
    Invalid(Invalid),
    /// The commit brings in a server which the roster does not have, or not under the key that its leaves name.
    UnknownServer(ServerId),
    /// What is kept of the group can't be read.
    Damaged(Damaged),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovering => f.write_str("the server comes back from a backup: try again later"),
            Self::Retired => f.write_str("the server was retired: move to another one"),
            Self::UnknownEpoch => f.write_str("the server does not know the epoch: read the queue first"),
            Self::EpochOver => f.write_str("the epoch is over: make it again in the newest one"),
            Self::NotMember => f.write_str("the device is not a member there"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::UnknownServer(server) => {
                write!(f, "the roster does not have server {} with the key that the commit names", server.0)
            }
            Self::Damaged(damaged) => damaged.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl Group {
    fn check_device(&self, epoch: &CommitId, device: &Device, turn: &Turn<'_>) -> Result<(), Refused> {
        if !self.has_body(epoch) {
            return Err(Refused::UnknownEpoch);
        }
        if !turn.epochs.is_member(epoch, device) {
            return Err(Refused::NotMember);
        }
        Ok(())
    }

    /// Rule 1: stored, and so accepted. What was submitted before is accepted again.
    pub(crate) fn submit(
        &mut self,
        device: Device,
        body: Body,
        turn: &mut Turn<'_>,
    ) -> Result<CommitId, Refused> {
        if self.state.recovering {
            return Err(Refused::Recovering);
        }
        if !self.has_body(&body.parent) {
            return Err(Refused::UnknownEpoch);
        }
        let staged = turn.epochs.stage(&body).map_err(|invalid| match invalid {
            Invalid::Over => Refused::EpochOver,
            invalid => Refused::Invalid(invalid),
        })?;
        // At its home: who brings it to two servers could bring it with two GroupInfos.
        let epoch = if staged.is_external { &staged.id } else { &body.parent };
        let is_ours = turn.epochs.devices(epoch, self.state.me).contains(&device);
        if staged.committer != device || !is_ours {
            return Err(Refused::NotMember);
        }
        if let Some(server) = turn.epochs.stranger(&staged.id) {
            return Err(Refused::UnknownServer(server));
        }
        let commit = self.keep(staged, body, turn);
        let is_known = self.state.is_certified(&commit)
            || self.state.submissions().any(|(_, submission)| submission.commit == commit);
        if !is_known {
            self.state.submit(Submission { commit: commit.clone(), device }, &mut turn.writer());
        }
        Ok(commit)
    }

    /// What a device says of a commit. `true` if that is new.
    pub(crate) fn testify(
        &mut self,
        device: Device,
        commit: &CommitId,
        verdict: Verdict,
        turn: &mut Turn<'_>,
    ) -> Result<bool, Refused> {
        self.check_device(commit, &device, turn)?;
        Ok(self.state.testify(commit, device, verdict, &mut turn.writer()))
    }

    /// A message for all members of an epoch.
    pub(crate) fn post(
        &mut self,
        device: Device,
        message: MessageName,
        epoch: &CommitId,
        bytes: &[u8],
        turn: &mut Turn<'_>,
    ) -> Result<(), Refused> {
        if self.state.recovering && self.mutant != Some(Mutant::RecoveryTakesMessages) {
            return Err(Refused::Recovering);
        }
        self.check_device(epoch, &device, turn)?;
        if !self.state.is_certified(epoch) {
            return Err(Refused::UnknownEpoch);
        }
        let is_open = *epoch == self.state.finalized || self.is_open(epoch);
        if !is_open && self.mutant != Some(Mutant::OldEpochsStayOpen) {
            return Err(Refused::EpochOver);
        }
        let ours = turn.epochs.devices(epoch, self.state.me);
        let item = Item::Message { message, epoch: epoch.clone(), bytes: bytes.to_vec() };
        turn.queue.extend(ours.into_iter().filter(|to| *to != device).map(|to| (to, item.clone())));
        let parcel = Parcel::Post { message, epoch: epoch.clone(), bytes: bytes.to_vec() };
        let peers = self.servers(epoch).iter().filter(|server| **server != self.state.me);
        turn.outbox.extend(peers.map(|server| (*server, parcel.clone())));
        Ok(())
    }

    /// A device that has seen more than we have, after we came back from a backup: commits that it holds, parents first, and
    /// the last that it knows to be final.
    pub(crate) fn teach(&mut self, bodies: Vec<Body>, finalized: Option<&CommitId>, turn: &mut Turn<'_>) {
        for body in bodies.into_iter() {
            if !self.has_body(&body.parent) {
                continue;
            }
            if let Ok(commit) = self.stage(body, turn) {
                self.certify(&commit, false, turn);
            }
        }
        if let Some(finalized) = finalized.filter(|id| self.has_body(id)) {
            self.set_final(finalized, true, turn);
        }
    }

    /// All that a new queue must begin with: what is known here, from the start.
    pub(crate) fn refill(&self, turn: &mut Turn<'_>) {
        let mut certified: Vec<_> = self.certified().filter(|id| **id != self.state.genesis).collect();
        certified.sort_by_key(|id| self.below(&self.state.genesis, id).len());
        certified.into_iter().for_each(|commit| self.fan_out(commit, turn));
        if self.state.told != self.state.genesis {
            let commit = &self.state.told;
            let devices = turn.epochs.devices(commit, self.state.me);
            let item = Item::Final { commit: commit.clone() };
            turn.queue.extend(devices.into_iter().map(|device| (device, item.clone())));
        }
    }

    /// Sends to ourselves are answered at once.
    pub(crate) fn take_own(&mut self, turn: &mut Turn<'_>) {
        while let Some(place) = turn.sends.iter().position(|(to, _)| *to == self.state.me) {
            let (me, message): (_, Message) = turn.sends.remove(place);
            self.handle(me, message, turn);
        }
    }
}
