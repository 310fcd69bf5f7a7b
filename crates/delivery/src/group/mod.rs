//! One group at one server: agreement, finality, flush, recovery (federation.md s3-s5).

mod ballots;
mod clients;
mod finality;
#[cfg(feature = "testing")]
mod glimpse;
mod learning;
mod left_out;
mod recovery;
mod state;
mod verdicts;
mod votes;
mod walk;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use dmls::CommitId;

use self::ballots::Running;
pub use self::clients::Refused;
pub use self::state::Damaged;
use self::state::State;
pub(crate) use self::state::is_news;
pub(crate) use self::state::kind::GENESIS;
pub(crate) use self::work::Work;
use crate::commit::{Body, Commit, Epochs};
use crate::ids::{Device, Millis, ServerId};
use crate::message::{Item, Message, Parcel};
use crate::mutant::Mutant;
use crate::records::{Kept, Writer, Writes};

/// What a group needs to answer once, and what it gives.
pub(crate) struct Turn<'a> {
    pub(crate) epochs: &'a mut dyn Epochs,
    pub(crate) now: Millis,
    /// The servers that can be reached, ourselves included.
    pub(crate) view: &'a BTreeSet<ServerId>,
    /// Other servers that we see live by our own probes. None where the view is given from outside.
    pub(crate) seen: &'a BTreeSet<ServerId>,
    /// The devices of ours that are connected.
    pub(crate) online: &'a BTreeSet<Device>,
    /// The prefix of the group's records.
    pub(crate) prefix: &'a [u8],
    pub(crate) writes: &'a mut Writes,
    pub(crate) sends: Vec<(ServerId, Message)>,
    pub(crate) outbox: Vec<(ServerId, Parcel)>,
    pub(crate) queue: Vec<(Device, Item)>,
    /// Two commits were final of which neither descends from the other: somebody lies, or we are wrong.
    pub(crate) forked: Option<CommitId>,
}

impl Turn<'_> {
    pub(crate) fn send(&mut self, to: ServerId, message: Message) {
        self.sends.push((to, message));
    }

    pub(crate) fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.prefix, self.writes)
    }
}

/// One group at one server. What must outlive a crash is in `state`.
#[cfg_attr(feature = "testing", derive(Clone))]
pub(crate) struct Group {
    state: State,
    mutant: Option<Mutant>,
    /// The ballot that we lead.
    running: Option<Running>,
    /// The highest number of a ballot that we saw.
    highest: u64,
    /// Of each server the last message for which bodies are missing.
    parked: BTreeMap<ServerId, Message>,
    /// When commits arrived here, since we were started.
    arrived: BTreeMap<CommitId, Millis>,
    /// Servers that are gone for good: nothing of them is required.
    retired: BTreeSet<ServerId>,
    /// Since when ballots leave out a server that we see live and that says nothing in this group.
    missed: BTreeMap<ServerId, Millis>,
    /// Who has told us what it knows, while we recover.
    answered: BTreeSet<ServerId>,
    /// Who had to vote for the last final commit (of use to a mutant only).
    required_last: BTreeSet<ServerId>,
}

impl Group {
    /// The group as it begins.
    pub(crate) fn create(me: ServerId, genesis: Commit, mutant: Option<Mutant>, turn: &mut Turn<'_>) -> Self {
        let state = State::create(me, genesis, &mut turn.writer());
        Self::with(state, mutant)
    }

    /// As it was kept.
    pub(crate) fn load(
        me: ServerId,
        genesis: Commit,
        mutant: Option<Mutant>,
        kept: &Kept,
        prefix: &[u8],
    ) -> Result<Self, Damaged> {
        let mut state = State::load(me, genesis, kept, prefix)?;
        if mutant == Some(Mutant::Amnesia) {
            state.forget_votes();
        }
        Ok(Self::with(state, mutant))
    }

    fn with(state: State, mutant: Option<Mutant>) -> Self {
        Self {
            highest: state.promised.number,
            state,
            mutant,
            running: None,
            parked: BTreeMap::new(),
            arrived: BTreeMap::new(),
            retired: BTreeSet::new(),
            missed: BTreeMap::new(),
            answered: BTreeSet::new(),
            required_last: BTreeSet::new(),
        }
    }

    /// The head, as clients are told.
    pub(crate) fn head(&self, epochs: &dyn Epochs) -> CommitId {
        self.walk(epochs).head
    }

    /// The last final commit.
    pub(crate) fn finalized(&self) -> &CommitId {
        &self.state.finalized
    }

    /// No message of an older epoch is under way.
    pub(crate) fn flushed(&self) -> &CommitId {
        &self.state.flushed
    }

    /// Whether the group waits for others after a restore.
    pub(crate) fn is_recovering(&self) -> bool {
        self.state.recovering
    }

    /// Whether a ballot of ours is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_busy)
    }

    /// Certified commits, in no order.
    pub(crate) fn certified(&self) -> impl Iterator<Item = &CommitId> {
        self.state.nodes.keys().filter(|id| self.state.is_certified(id))
    }

    /// What was submitted as a commit. Of the first there is none.
    pub(crate) fn body(&self, id: &CommitId) -> Option<&Body> {
        self.state.nodes.get(id)?.body.as_ref()
    }

    /// Takes a message of another server, or of our own.
    pub(crate) fn handle(&mut self, from: ServerId, message: Message, turn: &mut Turn<'_>) {
        self.missed.remove(&from);
        let missing: Vec<_> =
            message.commits().into_iter().filter(|id| !self.has_body(id)).cloned().collect();
        if !missing.is_empty() {
            let above = self.state.finalized.clone();
            self.parked.insert(from, message);
            return turn.send(from, Message::Fetch { commits: missing, above });
        }
        match message {
            Message::Prepare { ballot, view } => self.on_prepare(from, ballot, &view, turn),
            Message::LeftOut { ballot, .. } => self.on_left_out(ballot),
            Message::Promise { ballot, digest } => self.on_promise(from, ballot, &digest, turn),
            Message::Outbid { ballot, promised } => self.on_outbid(ballot, promised),
            Message::Accept { ballot, commit, digest } => {
                self.on_accept(from, ballot, &commit, &digest, turn)
            }
            Message::Finalize { ballot, commit, digest } => {
                self.on_finalize(from, ballot, &commit, &digest, turn);
            }
            Message::Vote { ballot, commit } => self.on_vote(from, ballot, &commit, turn),
            Message::Learn { digest } => self.learn(&digest, turn),
            Message::Fetch { commits, above } => self.on_fetch(from, &commits, &above, turn),
            Message::Bodies { bodies } => self.on_bodies(from, bodies, turn),
            Message::Recover => self.on_recover(from, turn),
            Message::Recovered { number, digest } => self.on_recovered(from, number, &digest, turn),
            Message::AskFlush => self.on_ask_flush(from, turn),
        }
    }

    /// Takes a parcel of another server's outbox. `false`: a body is missing, it must come again.
    pub(crate) fn receive(&mut self, from: ServerId, parcel: &Parcel, turn: &mut Turn<'_>) -> bool {
        if !self.has_body(parcel.commit()) {
            let (commits, above) = (vec![parcel.commit().clone()], self.state.finalized.clone());
            turn.send(from, Message::Fetch { commits, above });
            return false;
        }
        match parcel {
            Parcel::Certified { commit } => self.certify(commit, false, turn),
            Parcel::Final { commit } => self.set_final(commit, true, turn),
            Parcel::Flush { commit } => self.on_flush(from, commit, turn),
            Parcel::Post { message, epoch, bytes } => {
                for device in turn.epochs.devices(epoch, self.state.me) {
                    let item =
                        Item::Message { message: *message, epoch: epoch.clone(), bytes: bytes.clone() };
                    turn.queue.push((device, item));
                }
            }
        }
        true
    }

    /// Who is gone for good now. What waited for it only goes on.
    pub(crate) fn set_retired(&mut self, retired: BTreeSet<ServerId>, turn: &mut Turn<'_>) {
        self.retired = retired;
        self.raise_watermark(turn);
        self.go_on_recovering(turn);
    }

    fn has_body(&self, id: &CommitId) -> bool {
        self.state.nodes.contains_key(id)
    }
}
