//! Promising and voting (federation.md s4, rules 3, 5 and 7). What was promised and voted is kept before it is sent.

use dmls::CommitId;

use super::{Group, Turn};
use crate::ids::{Ballot, ServerId};
use crate::message::{Digest, Message};
use crate::mutant::Mutant;

impl Group {
    pub(super) fn on_prepare(
        &mut self,
        from: ServerId,
        ballot: Ballot,
        view: &[ServerId],
        turn: &mut Turn<'_>,
    ) {
        if self.state.recovering || ballot.leader != from {
            return;
        }
        let promised = self.state.promised;
        if ballot <= promised {
            return turn.send(from, Message::Outbid { ballot, promised });
        }
        let servers = self.left_out(view, turn);
        if !servers.is_empty() {
            return turn.send(from, Message::LeftOut { ballot, servers });
        }
        self.highest = self.highest.max(ballot.number);
        self.give_up_below(ballot);
        self.state.promise(ballot, &mut turn.writer());
        turn.send(from, Message::Promise { ballot, digest: self.digest() });
    }

    fn is_promised(&self, ballot: Ballot) -> bool {
        !self.state.recovering
            && (ballot == self.state.promised || self.mutant == Some(Mutant::IgnoredPromise))
    }

    pub(super) fn on_accept(
        &mut self,
        from: ServerId,
        ballot: Ballot,
        commit: &CommitId,
        digest: &Digest,
        turn: &mut Turn<'_>,
    ) {
        if !self.is_promised(ballot) || ballot.leader != from {
            return;
        }
        self.learn(digest, turn);
        let end = self.walk(turn.epochs);
        let is_good = match self.mutant {
            Some(Mutant::AcceptByParent) => {
                let parent = self.state.parent(commit);
                parent
                    .is_some_and(|parent| !self.state.children(parent).any(|id| self.state.is_certified(id)))
            }
            _ => {
                self.state.parent(commit) == Some(&end.head)
                    && end.candidate.is_none_or(|other| other == *commit || self.is_chosen(commit, &other))
                    && !self.is_blocked(turn.epochs, commit)
            }
        };
        if is_good {
            self.state.accept(commit, ballot, &mut turn.writer());
            turn.send(from, Message::Vote { ballot, commit: commit.clone() });
        }
    }

    pub(super) fn on_finalize(
        &mut self,
        from: ServerId,
        ballot: Ballot,
        commit: &CommitId,
        digest: &Digest,
        turn: &mut Turn<'_>,
    ) {
        if !self.is_promised(ballot) || ballot.leader != from {
            return;
        }
        self.learn(digest, turn);
        let end = self.walk(turn.epochs);
        let is_on_way =
            self.is_ancestor(commit, &end.head) && (*commit != end.head || end.candidate.is_none());
        let is_ready = self.may_be_final(turn.epochs, commit) && self.is_settled(turn, commit);
        if is_on_way && (is_ready || self.is_ancestor(commit, &self.state.finalized)) {
            turn.send(from, Message::Vote { ballot, commit: commit.clone() });
        }
    }
}
