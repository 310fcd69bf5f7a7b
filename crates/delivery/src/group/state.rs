//! What a server knows of a group and must not forget. Each change of it is written where it is made.

use std::collections::{BTreeMap, BTreeSet};

use dmls::CommitId;
use dmls::codec::DecodeError;

use crate::commit::{Body, Commit};
use crate::ids::{Ballot, Device, ServerId};
use crate::message::Verdict;
use crate::records::{Kept, Only, Writer, read};

/// Kinds of records.
pub(crate) mod kind {
    pub(crate) const GENESIS: u8 = b'g';
    pub(super) const BODY: u8 = b'b';
    pub(super) const CERTIFIED: u8 = b'c';
    pub(super) const CANDIDATE: u8 = b'a';
    pub(super) const PROMISED: u8 = b'p';
    pub(super) const FINAL: u8 = b'f';
    pub(super) const TOLD: u8 = b't';
    pub(super) const VERDICT: u8 = b'v';
    pub(super) const FLUSH: u8 = b'l';
    pub(super) const FLUSHED: u8 = b'w';
    pub(super) const SUBMITTED: u8 = b's';
    pub(super) const RECOVERING: u8 = b'r';
}

/// Whether a record of a kind says something new of the group: promises and votes come with every ballot.
pub(crate) fn is_news(kind: u8) -> bool {
    kind != kind::PROMISED && kind != kind::CANDIDATE
}

/// A commit whose body is here and valid.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) commit: Commit,
    /// Of the genesis there is none.
    pub(super) body: Option<Body>,
}

impl Node {
    pub(super) fn parent(&self) -> Option<&CommitId> {
        self.body.as_ref().map(|body| &body.parent)
    }
}

/// A commit of one of our devices, in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) commit: CommitId,
    pub(super) device: Device,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) me: ServerId,
    pub(super) genesis: CommitId,
    pub(super) nodes: BTreeMap<CommitId, Node>,
    children: BTreeMap<CommitId, BTreeSet<CommitId>>,
    /// Certified commits, and which of them we led.
    certified: BTreeMap<CommitId, bool>,
    /// What we voted for or heard that others did.
    candidates: BTreeMap<CommitId, Ballot>,
    pub(super) promised: Ballot,
    pub(super) finalized: CommitId,
    /// The last final commit of which our devices were told.
    pub(super) told: CommitId,
    verdicts: BTreeMap<CommitId, BTreeMap<Device, Verdict>>,
    /// What each server flushed last, ourselves included.
    flushes: BTreeMap<ServerId, CommitId>,
    pub(super) flushed: CommitId,
    submitted: BTreeMap<u64, Submission>,
    pub(super) recovering: bool,
}

impl State {
    /// The group as it begins.
    pub(super) fn create(me: ServerId, genesis: Commit, out: &mut Writer<'_>) -> Self {
        out.put(kind::GENESIS, &Only, &genesis);
        Self::new(me, genesis)
    }

    fn new(me: ServerId, genesis: Commit) -> Self {
        let id = genesis.id.clone();
        Self {
            me,
            genesis: id.clone(),
            nodes: BTreeMap::from([(id.clone(), Node { commit: genesis, body: None })]),
            children: BTreeMap::new(),
            certified: BTreeMap::from([(id.clone(), false)]),
            candidates: BTreeMap::new(),
            promised: Ballot::NONE,
            finalized: id.clone(),
            told: id.clone(),
            verdicts: BTreeMap::new(),
            flushes: BTreeMap::new(),
            flushed: id,
            submitted: BTreeMap::new(),
            recovering: false,
        }
    }

    /// As it was kept.
    pub(super) fn load(me: ServerId, genesis: Commit, kept: &Kept, prefix: &[u8]) -> Result<Self, Damaged> {
        let mut state = Self::new(me, genesis);
        // What a commit is was found out when it came: loading takes no tree.
        for (_, Stored { commit, body }) in read::<CommitId, Stored>(kept, prefix, kind::BODY)? {
            state.link(commit, body);
        }
        if !state.is_one_tree() {
            return Err(Damaged);
        }
        state.certified.extend(read(kept, prefix, kind::CERTIFIED)?);
        state.candidates.extend(read(kept, prefix, kind::CANDIDATE)?);
        let one = |kind| read::<Only, CommitId>(kept, prefix, kind).map(|mut all| all.pop());
        state.finalized = one(kind::FINAL)?.map_or(state.finalized, |(_, id)| id);
        state.told = one(kind::TOLD)?.map_or(state.told, |(_, id)| id);
        state.flushed = one(kind::FLUSHED)?.map_or(state.flushed, |(_, id)| id);
        let promised = read::<Only, Ballot>(kept, prefix, kind::PROMISED)?;
        state.promised = promised.first().map_or(state.promised, |(_, ballot)| *ballot);
        for (Said { commit, device }, verdict) in read(kept, prefix, kind::VERDICT)? {
            state.verdicts.entry(commit).or_default().insert(device, verdict);
        }
        state.flushes.extend(read(kept, prefix, kind::FLUSH)?);
        state.submitted.extend(read(kept, prefix, kind::SUBMITTED)?);
        state.recovering = !read::<Only, bool>(kept, prefix, kind::RECOVERING)?.is_empty();
        Ok(state)
    }

    /// Whether every commit descends from the first.
    fn is_one_tree(&self) -> bool {
        let mut reached = vec![&self.genesis];
        let mut next = 0;
        while let Some(id) = reached.get(next) {
            reached.extend(self.children(id));
            next += 1;
        }
        reached.len() == self.nodes.len()
    }

    fn link(&mut self, commit: Commit, body: Body) {
        self.children.entry(body.parent.clone()).or_default().insert(commit.id.clone());
        self.nodes.insert(commit.id.clone(), Node { commit, body: Some(body) });
    }

    pub(super) fn add(&mut self, commit: Commit, body: Body, out: &mut Writer<'_>) {
        let stored = Stored { commit, body };
        out.put(kind::BODY, &stored.commit.id, &stored);
        self.link(stored.commit, stored.body);
    }

    /// The commit, whose body is here.
    pub(super) fn commit(&self, id: &CommitId) -> &Commit {
        &self.nodes[id].commit
    }

    pub(super) fn parent(&self, id: &CommitId) -> Option<&CommitId> {
        self.nodes[id].parent()
    }

    pub(super) fn children(&self, id: &CommitId) -> impl Iterator<Item = &CommitId> {
        self.children.get(id).into_iter().flatten()
    }

    pub(super) fn is_certified(&self, id: &CommitId) -> bool {
        self.certified.contains_key(id)
    }

    /// Whether we led the ballot in which it was certified.
    pub(super) fn led(&self, id: &CommitId) -> bool {
        self.certified.get(id).copied().unwrap_or_default()
    }

    pub(super) fn certify(&mut self, id: &CommitId, led: bool, out: &mut Writer<'_>) {
        out.put(kind::CERTIFIED, id, &led);
        self.certified.insert(id.clone(), led);
        if self.candidates.remove(id).is_some() {
            out.delete(kind::CANDIDATE, id);
        }
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = (&CommitId, &Ballot)> {
        self.candidates.iter()
    }

    pub(super) fn is_candidate(&self, id: &CommitId) -> bool {
        self.candidates.contains_key(id)
    }

    /// Of several ballots the highest is kept.
    pub(super) fn accept(&mut self, id: &CommitId, ballot: Ballot, out: &mut Writer<'_>) {
        if !self.is_certified(id) && self.candidates.get(id).is_none_or(|kept| *kept < ballot) {
            out.put(kind::CANDIDATE, id, &ballot);
            self.candidates.insert(id.clone(), ballot);
        }
    }

    pub(super) fn promise(&mut self, ballot: Ballot, out: &mut Writer<'_>) {
        out.put(kind::PROMISED, &Only, &ballot);
        self.promised = ballot;
    }

    pub(super) fn finalize(&mut self, id: &CommitId, out: &mut Writer<'_>) {
        out.put(kind::FINAL, &Only, id);
        self.finalized = id.clone();
    }

    pub(super) fn tell(&mut self, id: &CommitId, out: &mut Writer<'_>) {
        out.put(kind::TOLD, &Only, id);
        self.told = id.clone();
    }

    pub(super) fn verdicts(&self, id: &CommitId) -> impl Iterator<Item = (&Device, Verdict)> {
        self.verdicts.get(id).into_iter().flatten().map(|(device, verdict)| (device, *verdict))
    }

    /// An OK replaces a Failed, and stays. Whether anything is new.
    pub(super) fn testify(
        &mut self,
        id: &CommitId,
        device: Device,
        verdict: Verdict,
        out: &mut Writer<'_>,
    ) -> bool {
        let said = self.verdicts.entry(id.clone()).or_default();
        let is_new = match said.get(&device) {
            None => true,
            Some(Verdict::Failed) => verdict == Verdict::Ok,
            Some(Verdict::Ok) => false,
        };
        if is_new {
            said.insert(device, verdict);
            out.put(kind::VERDICT, &Said { commit: id.clone(), device }, &verdict);
        }
        is_new
    }

    pub(super) fn flush_of(&self, server: ServerId) -> Option<&CommitId> {
        self.flushes.get(&server)
    }

    pub(super) fn note_flush(&mut self, server: ServerId, id: &CommitId, out: &mut Writer<'_>) {
        out.put(kind::FLUSH, &server, id);
        self.flushes.insert(server, id.clone());
    }

    pub(super) fn raise_flushed(&mut self, id: &CommitId, out: &mut Writer<'_>) {
        out.put(kind::FLUSHED, &Only, id);
        self.flushed = id.clone();
    }

    pub(super) fn submissions(&self) -> impl Iterator<Item = (u64, &Submission)> {
        self.submitted.iter().map(|(number, submission)| (*number, submission))
    }

    pub(super) fn submit(&mut self, submission: Submission, out: &mut Writer<'_>) {
        let number = self.submitted.last_key_value().map_or(0, |(last, _)| last + 1);
        out.put(kind::SUBMITTED, &number, &submission);
        self.submitted.insert(number, submission);
    }

    pub(super) fn drop_submission(&mut self, number: u64, out: &mut Writer<'_>) {
        out.delete(kind::SUBMITTED, &number);
        self.submitted.remove(&number);
    }

    pub(super) fn set_recovering(&mut self, recovering: bool, out: &mut Writer<'_>) {
        match recovering {
            true => out.put(kind::RECOVERING, &Only, &true),
            false => out.delete(kind::RECOVERING, &Only),
        }
        self.recovering = recovering;
    }

    /// What a server that forgets its votes does (a mutant).
    pub(super) fn forget_votes(&mut self) {
        self.candidates.clear();
        self.promised = Ballot::NONE;
    }
}

/// The key of a verdict.
struct Said {
    commit: CommitId,
    device: Device,
}

/// A commit as it is kept.
struct Stored {
    commit: Commit,
    body: Body,
}

crate::codec::record!(Stored { commit, body });
crate::codec::record!(Said { commit, device });
crate::codec::record!(Submission { commit, device });

/// What was kept is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl From<DecodeError> for Damaged {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the records of a group are damaged: restore the server from a backup, it asks the others for the rest")
    }
}

impl std::error::Error for Damaged {}
