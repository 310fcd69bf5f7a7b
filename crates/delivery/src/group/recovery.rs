//! Coming back from a backup (federation.md s3, incarnations): ask all servers of the tree until all have answered.

use std::collections::BTreeSet;

use super::{Group, Turn};
use crate::ids::{Ballot, ServerId};
use crate::message::{Digest, Message};
use crate::mutant::Mutant;

impl Group {
    /// Begins to recover. Until it is over we neither vote nor lead, and take nothing from clients.
    pub(crate) fn restore(&mut self, turn: &mut Turn<'_>) {
        self.state.set_recovering(true, &mut turn.writer());
        self.go_on_recovering(turn);
    }

    /// Asks those who have not answered; over when there is none.
    pub(crate) fn go_on_recovering(&mut self, turn: &mut Turn<'_>) {
        if !self.state.recovering {
            return;
        }
        let silent: BTreeSet<_> =
            self.to_ask(turn).into_iter().filter(|server| !self.answered.contains(server)).collect();
        if silent.is_empty() {
            self.state.set_recovering(false, &mut turn.writer());
            self.answered.clear();
        }
        silent.into_iter().for_each(|server| turn.send(server, Message::Recover));
    }

    /// All servers of what we have learnt so far.
    fn to_ask(&self, turn: &Turn<'_>) -> BTreeSet<ServerId> {
        let mut servers = match self.mutant {
            Some(Mutant::RecoveryDoesNotLearnOn) if !self.answered.is_empty() => self.answered.clone(),
            Some(Mutant::RecoveryDoesNotLearnOn) => self.servers(&self.walk(turn.epochs).head).clone(),
            _ => self.live(),
        };
        servers.remove(&self.state.me);
        &servers - &self.retired
    }

    pub(super) fn on_recover(&mut self, from: ServerId, turn: &mut Turn<'_>) {
        if self.state.recovering && self.mutant == Some(Mutant::RecoveryIsMute) {
            return;
        }
        if self.mutant != Some(Mutant::RecoveryKeepsBallots) {
            self.give_up_with(from);
        }
        let number = self.highest.max(self.state.promised.number);
        self.on_ask_flush(from, turn);
        turn.send(from, Message::Recovered { number, digest: self.digest() });
    }

    pub(super) fn on_recovered(&mut self, from: ServerId, number: u64, digest: &Digest, turn: &mut Turn<'_>) {
        if !self.state.recovering {
            return;
        }
        if self.mutant != Some(Mutant::RecoveryForgetsBallots) {
            // Above every ballot of that number, whoever led it.
            let floor = Ballot { number, leader: ServerId(u32::MAX) };
            self.highest = self.highest.max(number);
            if floor > self.state.promised {
                self.state.promise(floor, &mut turn.writer());
            }
        }
        self.learn(digest, turn);
        self.answered.insert(from);
        self.go_on_recovering(turn);
    }
}
