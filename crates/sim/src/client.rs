//! A stub of a client: which keys it holds, what it can process, what it says. It follows what federation.md s5-s6 ask of one.

use std::collections::BTreeSet;

use dmls::CommitId;
use dmls_delivery::{Incarnation, Item, MessageName, Verdict};

use crate::registry::{Person, Registry};

/// What must never happen to an honest client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Two finals, of which neither descends from the other.
    FinalFork,
    /// A tree key was deleted and is needed.
    TreeKeyNeeded,
    /// A message key was deleted and is needed.
    MessageKeyNeeded,
    /// A commit is final that was never delivered.
    FinalBeforeItsCommit,
}

/// Who it is, for the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    /// Makes commits that not everybody can process.
    pub is_evil: bool,
    /// Says OK to what only its like can process.
    pub colludes: bool,
    /// Says Failed to everything.
    pub says_failed: bool,
}

/// One client. Its state survives everything but [`Client::lose`].
#[derive(Clone, Debug)]
pub struct Client {
    /// Its number.
    pub me: Person,
    /// What it is.
    pub nature: Nature,
    /// Epochs whose tree keys it holds: it can process commits there.
    pub tree: BTreeSet<CommitId>,
    /// Epochs whose message keys it holds.
    pub messages: BTreeSet<CommitId>,
    /// Epochs that it ever was in.
    pub had: BTreeSet<CommitId>,
    /// The last final commit that it knows.
    pub finalized: CommitId,
    /// Commits that it can't process.
    pub failed: BTreeSet<CommitId>,
    /// Commits of whose parents it deleted the keys.
    pub needs: BTreeSet<CommitId>,
    /// What it has read.
    pub read: BTreeSet<MessageName>,
    /// Messages of epochs that are to come.
    early: Vec<(MessageName, CommitId)>,
    /// Commits of epochs that are to come.
    early_commits: Vec<CommitId>,
    /// What it has to say.
    pub verdicts: Vec<(Verdict, CommitId)>,
    /// All that it said.
    pub said: BTreeSet<(CommitId, bool)>,
    /// It can't follow the final chain: it must come back by an external commit.
    pub is_stranded: bool,
    /// It lost its state.
    pub is_lost: bool,
    /// It was added, and the branch of that is not final yet.
    pub is_provisional: bool,
    joined_by: BTreeSet<CommitId>,
    /// The incarnation of its server that it spoke with last.
    pub incarnation: Incarnation,
    /// Up to where it has read its queue.
    pub cursor: u64,
    pub is_online: bool,
    genesis: CommitId,
}

impl Client {
    /// A client before anything has happened.
    pub fn new(me: Person, nature: Nature, genesis: &CommitId, is_member: bool) -> Self {
        let epochs: BTreeSet<_> = is_member.then(|| genesis.clone()).into_iter().collect();
        Self {
            me,
            nature,
            tree: epochs.clone(),
            messages: epochs.clone(),
            had: epochs,
            finalized: genesis.clone(),
            failed: BTreeSet::new(),
            needs: BTreeSet::new(),
            read: BTreeSet::new(),
            early: Vec::new(),
            early_commits: Vec::new(),
            verdicts: Vec::new(),
            said: BTreeSet::new(),
            is_stranded: false,
            is_lost: false,
            is_provisional: !is_member,
            joined_by: BTreeSet::new(),
            incarnation: Incarnation(0),
            cursor: 0,
            is_online: true,
            genesis: genesis.clone(),
        }
    }

    /// Whether it does what it should, and can.
    pub fn is_sound(&self) -> bool {
        !self.nature.is_evil && !self.is_lost && !self.is_stranded
    }

    /// Its disk is gone.
    pub fn lose(&mut self) {
        self.is_lost = true;
        self.finalized = self.genesis.clone();
        self.tree.clear();
        self.messages.clear();
        self.had.clear();
        self.joined_by.clear();
    }

    fn say(&mut self, verdict: Verdict, commit: &CommitId) {
        self.said.insert((commit.clone(), verdict == Verdict::Ok));
        self.verdicts.push((verdict, commit.clone()));
    }

    fn enter(&mut self, commit: &CommitId) {
        self.tree.insert(commit.clone());
        self.messages.insert(commit.clone());
        self.had.insert(commit.clone());
    }

    /// Takes one item of its queue.
    pub fn take(
        &mut self,
        item: &Item,
        registry: &Registry,
        is_final: impl Fn(&CommitId) -> bool,
    ) -> Result<(), Harm> {
        match item {
            Item::Commit { commit } => {
                self.early_commits.push(commit.clone());
                while let Some(place) = (0..self.early_commits.len())
                    .find(|place| self.process(&self.early_commits[*place].clone(), registry))
                {
                    self.early_commits.remove(place);
                }
                for (name, epoch) in std::mem::take(&mut self.early) {
                    self.open(name, &epoch, &is_final)?;
                }
                Ok(())
            }
            Item::Final { commit } => self.on_final(commit, registry),
            Item::Flushed { commit } => {
                if self.had.contains(commit) || self.is_stranded {
                    self.messages.retain(|epoch| registry.is_ancestor(commit, epoch));
                }
                Ok(())
            }
            Item::Message { message, epoch, .. } => self.open(*message, epoch, &is_final),
            Item::Conflict { .. } | Item::ServerAway { .. } => Ok(()),
        }
    }

    /// `false`: its parent is not here yet.
    fn process(&mut self, commit: &CommitId, registry: &Registry) -> bool {
        let made = registry.get(commit);
        if self.had.contains(commit) || self.failed.contains(commit) || !made.members.contains(&self.me) {
            return true;
        }
        if made.is_external && made.committer == self.me {
            (self.is_stranded, self.is_lost, self.is_provisional) = (false, false, true);
            self.enter(commit);
            self.joined_by.insert(commit.clone());
            return true;
        }
        if self.is_lost {
            self.failed.insert(commit.clone());
            self.say(Verdict::Failed, commit);
            return true;
        }
        let Some(parent) = &made.parent else { return true };
        if !registry.get(parent).members.contains(&self.me) {
            self.enter(commit);
            self.joined_by.insert(commit.clone());
            return true;
        }
        if !self.tree.contains(parent) {
            let is_deleted = self.had.contains(parent);
            if is_deleted {
                self.needs.insert(commit.clone());
            }
            return is_deleted;
        }
        let can = !made.broken_for.contains(&self.me) || made.committer == self.me;
        if self.nature.says_failed && made.committer != self.me {
            self.say(Verdict::Failed, commit);
            self.enter(commit);
        } else if can {
            self.enter(commit);
            self.say(Verdict::Ok, commit);
        } else if self.nature.is_evil {
            if self.nature.colludes {
                self.say(Verdict::Ok, commit);
            }
        } else {
            self.failed.insert(commit.clone());
            self.say(Verdict::Failed, commit);
        }
        true
    }

    fn on_final(&mut self, commit: &CommitId, registry: &Registry) -> Result<(), Harm> {
        let is_member = registry.get(commit).members.contains(&self.me);
        if !is_member {
            // Removed for good (s6), unless it was taken in again below, or its invitation is yet to come. Old messages may still come.
            let is_below = |by: &CommitId| registry.is_ancestor(commit, by);
            if !self.had.is_empty() && !self.joined_by.iter().any(is_below) {
                self.tree.clear();
            }
            return Ok(());
        }
        // Whoever came back below it has no need of it, and is provisional until that is final.
        let is_behind = !self.had.contains(commit);
        if is_behind && self.joined_by.iter().any(|by| registry.is_ancestor(commit, by)) {
            return Ok(());
        }
        // Whoever was added is provisional until its branch is final.
        if self.is_provisional && !self.joined_by.is_empty() {
            let joined = self.joined_by.iter().find(|by| registry.is_ancestor(by, commit)).cloned();
            let Some(joined) = joined else {
                self.is_stranded = true;
                self.tree.clear();
                return Ok(());
            };
            if !registry.is_ancestor(&joined, &self.finalized) {
                self.finalized = joined;
            }
            self.is_provisional = false;
        }
        if registry.is_ancestor(commit, &self.finalized) && *commit != self.finalized {
            return Ok(());
        }
        let was_in = self.had.contains(&self.finalized)
            && registry.get(&self.finalized).members.contains(&self.me)
            && self.finalized != self.genesis;
        if was_in && !registry.is_ancestor(&self.finalized, commit) {
            return Err(Harm::FinalFork);
        }
        // What it could not process before it came back counts no more, unless that was in vain.
        let path = registry.path(commit);
        let mut missing = path.iter().rev().take_while(|epoch| !self.had.contains(*epoch));
        if self.had.contains(commit) {
            self.finalized = commit.clone();
            self.tree.retain(|epoch| registry.is_ancestor(commit, epoch));
        } else if self.is_lost
            || self.nature.is_evil
            || missing.clone().any(|epoch| self.failed.contains(epoch))
        {
            self.is_stranded = true;
        } else if missing.any(|epoch| self.needs.contains(epoch)) {
            return Err(Harm::TreeKeyNeeded);
        } else if !self.had.is_empty() {
            return Err(Harm::FinalBeforeItsCommit);
        }
        Ok(())
    }

    fn open(
        &mut self,
        name: MessageName,
        epoch: &CommitId,
        is_final: &impl Fn(&CommitId) -> bool,
    ) -> Result<(), Harm> {
        if self.read.contains(&name) {
            return Ok(());
        }
        if self.messages.contains(epoch) {
            self.read.insert(name);
        } else if !self.had.contains(epoch) {
            self.early.push((name, epoch.clone()));
        } else if is_final(epoch) && !self.is_stranded {
            return Err(Harm::MessageKeyNeeded);
        }
        Ok(())
    }

    /// A new incarnation of its server: everything that it said again.
    pub fn say_again(&mut self) {
        let said = self
            .said
            .iter()
            .map(|(commit, is_ok)| (if *is_ok { Verdict::Ok } else { Verdict::Failed }, commit.clone()));
        self.verdicts = said.collect();
    }
}
