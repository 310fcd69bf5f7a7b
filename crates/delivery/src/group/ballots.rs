//! Leading a ballot (federation.md s4, rules 2-7).

use std::collections::BTreeSet;

use dmls::CommitId;

use super::{Group, Turn};
use crate::ids::{Ballot, ServerId};
use crate::message::{Digest, Item, Message, Parcel};
use crate::mutant::Mutant;

/// A ballot that we lead. It ends with the process.
#[derive(Clone, Debug, Hash)]
pub(super) struct Running {
    ballot: Ballot,
    /// M: all of whom promise.
    electorate: BTreeSet<ServerId>,
    /// Who could be reached when it began.
    view: BTreeSet<ServerId>,
    phase: Phase,
}

#[derive(Clone, Debug, Hash)]
enum Phase {
    /// Waits for the promises.
    Preparing { promised: BTreeSet<ServerId> },
    /// Asks votes for a commit.
    Accepting {
        commit: CommitId,
        votes: BTreeSet<ServerId>,
        /// Whether all that a final commit needs was said before the votes were asked for.
        may_be_final: bool,
    },
    /// Asks votes that a commit is final.
    Finalizing { commit: CommitId, votes: BTreeSet<ServerId> },
    /// Has nothing to ask.
    Over,
}

impl Running {
    pub(super) fn is(&self, ballot: Ballot) -> bool {
        self.ballot == ballot
    }

    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Over)
    }

    #[cfg(feature = "testing")]
    pub(super) fn ballot(&self) -> Ballot {
        self.ballot
    }

    #[cfg(feature = "testing")]
    pub(super) fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Preparing { .. })
    }
}

/// What a leader finds to do after all promises.
enum Task {
    /// A new ballot, with these too.
    Widen(BTreeSet<ServerId>),
    Accept(CommitId),
    Finalize(CommitId),
    Nothing,
}

impl Group {
    /// Begins a ballot with all that may matter and can be reached.
    pub(crate) fn start(&mut self, turn: &mut Turn<'_>) {
        if self.state.recovering {
            return;
        }
        self.ask_for_flushes(turn);
        let all = match self.mutant {
            Some(Mutant::ElectorateFromOwnHead) => self.servers(&self.walk(turn.epochs).head).clone(),
            _ => self.live(),
        };
        let electorate: BTreeSet<_> = all.intersection(turn.view).copied().collect();
        if electorate.contains(&self.state.me) {
            self.prepare(electorate, turn.view.clone(), turn);
        }
    }

    fn prepare(&mut self, electorate: BTreeSet<ServerId>, view: BTreeSet<ServerId>, turn: &mut Turn<'_>) {
        self.highest = self.highest.max(self.state.promised.number).saturating_add(1);
        let ballot = Ballot { number: self.highest, leader: self.state.me };
        let message = Message::Prepare { ballot, view: view.iter().copied().collect() };
        electorate.iter().for_each(|server| turn.send(*server, message.clone()));
        let phase = Phase::Preparing { promised: BTreeSet::new() };
        self.running = Some(Running { ballot, electorate, view, phase });
    }

    /// A higher ballot ends ours (rule 3).
    pub(super) fn give_up_below(&mut self, ballot: Ballot) {
        if self.mutant != Some(Mutant::NoDropOfOwnBallot) {
            self.running.take_if(|running| running.ballot < ballot);
        }
    }

    /// A server that came back from a backup may have forgotten that it voted.
    pub(super) fn give_up_with(&mut self, server: ServerId) {
        self.running.take_if(|running| running.electorate.contains(&server));
    }

    pub(super) fn on_outbid(&mut self, ballot: Ballot, promised: Ballot) {
        self.highest = self.highest.max(promised.number);
        self.running.take_if(|running| running.ballot == ballot);
    }

    pub(super) fn on_promise(
        &mut self,
        from: ServerId,
        ballot: Ballot,
        digest: &Digest,
        turn: &mut Turn<'_>,
    ) {
        self.learn(digest, turn);
        let Some(running) = self.running.as_mut().filter(|running| running.ballot == ballot) else { return };
        let Phase::Preparing { promised } = &mut running.phase else { return };
        promised.insert(from);
        if promised.is_superset(&running.electorate) {
            let running = running.clone();
            self.propose(running, turn);
        }
    }

    fn propose(&mut self, mut running: Running, turn: &mut Turn<'_>) {
        let task = self.task(&running, turn);
        let digest = || self.digest();
        let ballot = running.ballot;
        let (phase, message) = match task {
            Task::Widen(electorate) => return self.prepare(electorate, running.view, turn),
            Task::Accept(commit) => {
                let may_be_final = self.is_open(&commit)
                    && self.may_be_final(turn.epochs, &commit)
                    && self.required(&commit).is_subset(&running.electorate);
                let message = Message::Accept { ballot, commit: commit.clone(), digest: digest() };
                (Phase::Accepting { commit, votes: BTreeSet::new(), may_be_final }, message)
            }
            Task::Finalize(commit) => {
                let message = Message::Finalize { ballot, commit: commit.clone(), digest: digest() };
                (Phase::Finalizing { commit, votes: BTreeSet::new() }, message)
            }
            Task::Nothing => (Phase::Over, Message::Learn { digest: digest() }),
        };
        running.electorate.iter().for_each(|server| turn.send(*server, message.clone()));
        running.phase = phase;
        self.running = Some(running);
    }

    /// Rule 4, with what the promises brought.
    fn task(&mut self, running: &Running, turn: &mut Turn<'_>) -> Task {
        let end = self.walk(turn.epochs);
        if self.mutant != Some(Mutant::ElectorateFromOwnHead) {
            let mut needed = self.live();
            needed.extend(end.candidate.iter().flat_map(|id| self.servers(id)));
            let reached: BTreeSet<_> = needed.intersection(&running.view).copied().collect();
            if !reached.is_subset(&running.electorate) {
                return Task::Widen(&running.electorate | &reached);
            }
        }
        let at_head = self.servers(&end.head);
        let in_view: BTreeSet<_> = at_head.intersection(&running.view).copied().collect();
        let may_lead = (at_head.contains(&self.state.me) || self.mutant == Some(Mutant::LeaderOutside))
            && in_view.is_subset(&running.electorate);
        if may_lead {
            if let Some(candidate) = end.candidate {
                return Task::Accept(candidate);
            }
            match self.next_submission(&end.head, running, turn) {
                Task::Nothing => {}
                task => return task,
            }
        }
        // The highest for which all may vote. We are one of those who must: no other commit can then become final without us, who know.
        let open = self.below(&self.state.finalized, &end.head).into_iter().rev();
        let mut ready = open.filter(|id| {
            let required = self.required(id);
            required.is_subset(&running.electorate)
                && (required.contains(&self.state.me) || self.mutant == Some(Mutant::LeaderOutside))
                && self.may_be_final(turn.epochs, id)
        });
        ready.next().map_or(Task::Nothing, Task::Finalize)
    }

    /// The first submission that can be made on the head. Those that can't be any more are told so.
    fn next_submission(&mut self, head: &CommitId, running: &Running, turn: &mut Turn<'_>) -> Task {
        let counts = |child: &&CommitId| {
            self.mutant == Some(Mutant::BlockedChildCounts) || !self.is_blocked(turn.epochs, child)
        };
        // Rule 11.
        let has_led =
            self.state.children(head).filter(|child| self.state.led(child)).any(|child| counts(&child));
        let submissions: Vec<_> =
            self.state.submissions().map(|(number, submission)| (number, submission.clone())).collect();
        for (number, submission) in submissions {
            let (commit, device) = (submission.commit, submission.device);
            if self.state.parent(&commit) != Some(head) {
                self.drop_overtaken(number, commit, device, head, turn);
            } else if self.state.is_certified(&commit) {
                self.state.drop_submission(number, &mut turn.writer());
            } else if has_led || self.is_banned(turn.epochs, &commit) {
                let conflict = Item::Conflict { commit, winner: head.clone() };
                turn.queue.push((device, conflict));
                self.state.drop_submission(number, &mut turn.writer());
            } else {
                let mut new = self.servers(&commit).difference(self.servers(head));
                let away = new.clone().find(|server| !running.view.contains(server)).copied();
                if self.mutant == Some(Mutant::AddedServerWithoutVote) {
                    return Task::Accept(commit);
                }
                if let Some(server) = away {
                    turn.queue.push((device, Item::ServerAway { commit, server }));
                    self.state.drop_submission(number, &mut turn.writer());
                    continue;
                }
                if new.any(|server| !running.electorate.contains(server)) {
                    let reached = self.servers(&commit) & &running.view;
                    return Task::Widen(&running.electorate | &reached);
                }
                return Task::Accept(commit);
            }
        }
        Task::Nothing
    }

    /// What was made on an epoch that is not the head any more.
    fn drop_overtaken(
        &mut self,
        number: u64,
        commit: CommitId,
        device: crate::ids::Device,
        head: &CommitId,
        turn: &mut Turn<'_>,
    ) {
        let parent = self.state.parent(&commit).expect("a submission has a parent").clone();
        let winner = self.below(&parent, head).into_iter().next();
        if self.state.is_certified(&commit) {
            self.state.drop_submission(number, &mut turn.writer());
        } else if let Some(winner) = winner {
            turn.queue.push((device, Item::Conflict { commit, winner }));
            self.state.drop_submission(number, &mut turn.writer());
        }
    }

    pub(super) fn on_vote(&mut self, from: ServerId, ballot: Ballot, commit: &CommitId, turn: &mut Turn<'_>) {
        let Some(running) = self.running.as_mut().filter(|running| running.ballot == ballot) else { return };
        if !running.electorate.contains(&from) {
            return;
        }
        match &mut running.phase {
            Phase::Accepting { commit: asked, votes, .. } | Phase::Finalizing { commit: asked, votes }
                if asked == commit =>
            {
                votes.insert(from);
            }
            _ => return,
        }
        let running = running.clone();
        match &running.phase {
            Phase::Accepting { votes, may_be_final, .. } => {
                self.count_accepted(&running, commit, votes, *may_be_final, turn);
            }
            Phase::Finalizing { votes, .. } if self.is_complete(&running, votes) => {
                self.set_phase_over();
                self.finalize(&running, commit, turn);
            }
            _ => {}
        }
    }

    fn is_complete(&self, running: &Running, votes: &BTreeSet<ServerId>) -> bool {
        match self.mutant {
            Some(Mutant::MajorityFinality) => is_majority(votes, running, self.state.me),
            _ => votes.is_superset(&running.electorate),
        }
    }

    /// Rule 6, and rule 7 where all was said before.
    fn count_accepted(
        &mut self,
        running: &Running,
        commit: &CommitId,
        votes: &BTreeSet<ServerId>,
        may_be_final: bool,
        turn: &mut Turn<'_>,
    ) {
        if !is_majority(votes, running, self.state.me) {
            return;
        }
        if !self.state.is_certified(commit) {
            self.certify(commit, true, turn);
            for server in running.electorate.union(&self.servers(commit).clone()) {
                if *server != self.state.me {
                    turn.outbox.push((*server, Parcel::Certified { commit: commit.clone() }));
                }
            }
        }
        if self.is_complete(running, votes) {
            self.set_phase_over();
            if may_be_final && self.is_open(commit) {
                self.finalize(running, commit, turn);
            }
        }
    }

    fn set_phase_over(&mut self) {
        if let Some(running) = &mut self.running {
            running.phase = Phase::Over;
        }
    }

    fn finalize(&mut self, running: &Running, commit: &CommitId, turn: &mut Turn<'_>) {
        let mut told = &running.electorate | &self.live();
        self.set_final(commit, false, turn);
        told.remove(&self.state.me);
        turn.outbox.extend(told.into_iter().map(|server| (server, Parcel::Final { commit: commit.clone() })));
    }
}

/// More than half of the electorate, the leader among them.
fn is_majority(votes: &BTreeSet<ServerId>, running: &Running, leader: ServerId) -> bool {
    votes.len() * 2 > running.electorate.len() && votes.contains(&leader)
}
