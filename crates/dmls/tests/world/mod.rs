//! Members who send, commit, invite and come back by chance, and a log of everything that they sent.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use dmls::message::{Psk, ResumptionPskUsage};
use dmls::{
    Config, EpochId, Error, Held, Identity, Level, Limit, Network, Outcome, OwnKeyPackage, Rule, SentCommit,
    Usage, WaitsFor,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

use crate::common::{self, Client, NOW, PSK, Records, SPLIT, WHOLE, identity, key_package};

/// Members that a history has in the end, and commits.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub members: usize,
    pub commits: usize,
}

const LEAVES: usize = 4;

/// What happened, how often.
pub type Seen = BTreeMap<&'static str, u32>;

pub struct Actor {
    pub client: Client,
    /// Messages that did not arrive yet, by their place in the log.
    pub waiting: Vec<usize>,
    /// Commits of ours that nobody confirmed yet.
    pub staged: Vec<SentCommit>,
}

pub struct World<'r> {
    pub rng: &'r mut ChaCha20Rng,
    pub config: Config,
    pub actors: Vec<Actor>,
    /// Everything that was ever sent.
    pub log: Vec<Vec<u8>>,
    pub invited: Vec<(Identity, OwnKeyPackage)>,
    pub names: usize,
    /// A member who is there from the first epoch and only listens, as it was then.
    pub listener: Records,
    pub most_members: usize,
    pub commits: usize,
    pub most_commits: usize,
    pub seen: Seen,
    pub chaos: bool,
}

impl<'r> World<'r> {
    pub fn new(config: Config, bounds: Bounds, rng: &'r mut ChaCha20Rng) -> Self {
        let names = ["a0", "a1", "a2", "a3", "a4"];
        let first = 2 + rng.next_u32() as usize % (bounds.members - 1).min(4);
        let clients = common::group(&names[..first], &config, rng);
        let listener = clients[1].records.clone();
        let most_commits = 3 + rng.next_u32() as usize % (bounds.commits - 2);
        let actors =
            clients.into_iter().map(|client| Actor { client, waiting: Vec::new(), staged: Vec::new() });
        let actors = actors.collect();
        Self {
            rng,
            config,
            actors,
            log: Vec::new(),
            invited: Vec::new(),
            names: first,
            listener,
            most_members: bounds.members,
            commits: 0,
            most_commits,
            seen: Seen::new(),
            chaos: false,
        }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn network(&mut self) -> Network {
        if self.chaos && self.chance(3) { WHOLE } else { SPLIT }
    }

    pub fn broadcast(&mut self, message: Vec<u8>) {
        let place = self.log.len();
        self.log.push(message);
        for actor in &mut self.actors {
            actor.waiting.push(place);
        }
    }

    /// Someone other than the listener.
    pub fn speaker(&mut self) -> usize {
        match self.below(self.actors.len() - 1) {
            0 => 0,
            other => other + 1,
        }
    }

    pub fn act(&mut self) {
        match self.below(20) {
            0..=7 => self.deliver_one(),
            8..=9 => self.send(),
            10..=12 => self.propose(),
            13..=16 => self.commit(),
            17 => self.confirm(),
            18 => self.join_external(),
            _ => {
                let who = self.below(self.actors.len());
                self.actors[who].client.restart();
            }
        }
    }

    pub fn deliver_one(&mut self) {
        let who = self.below(self.actors.len());
        let waiting = self.actors[who].waiting.len();
        if waiting == 0 {
            return;
        }
        let nth = self.below(waiting);
        let place = self.actors[who].waiting.swap_remove(nth);
        self.deliver(who, place);
        // Sometimes it is delivered twice, sometimes an older one again.
        if self.chance(4) {
            self.deliver(who, place);
        }
        if self.chance(8) {
            let old = self.below(self.log.len());
            if !self.actors[who].waiting.contains(&old) {
                self.deliver(who, old);
            }
        }
    }

    pub fn deliver(&mut self, who: usize, place: usize) {
        let network = self.network();
        let outcomes = self.actors[who].client.deliver(&self.log[place], network);
        let outcomes = if self.chaos { outcomes.unwrap_or_default() } else { outcomes.unwrap() };
        for outcome in outcomes {
            self.note(who, &outcome);
            if let Outcome::Commit(new) = outcome {
                assert!(new.lost.is_empty() || new.head_moved);
                if let Some(welcome) = new.welcome {
                    assert!(new.own);
                    self.welcome(&welcome);
                }
            }
        }
        let actor = &mut self.actors[who];
        let pending: BTreeSet<_> = actor.client.group.pending().map(|(id, _)| id.clone()).collect();
        actor.staged.retain(|sent| pending.contains(&sent.id));
    }

    pub fn note(&mut self, who: usize, outcome: &Outcome) {
        let mut note = |what| *self.seen.entry(what).or_insert(0) += 1;
        match outcome {
            Outcome::Application(_) => note("application"),
            Outcome::Duplicate => note("duplicate"),
            Outcome::Held(Held { waits_for: WaitsFor::Epoch(_), .. }) => note("held for its epoch"),
            Outcome::Held(_) => note("held for a proposal"),
            Outcome::Removed(_) => note("removed"),
            Outcome::Commit(new) => {
                note("commit");
                let group = &self.actors[who].client.group;
                let forks =
                    |id: &EpochId| group.epochs().filter(|epoch| epoch.parent() == Some(id)).count() > 1;
                let above = |id: &EpochId| group.epoch(id).and_then(|epoch| epoch.parent().cloned());
                let mut parent = new.parent.as_ref().and_then(above);
                while let Some(id) = parent {
                    if new.fork && forks(&id) {
                        note("fork in a fork");
                    }
                    parent = above(&id);
                }
                for (what, seen) in [
                    ("commit of external joiner", new.commit.external),
                    ("commit with psk", new.commit.psks > 0),
                    ("commit with update", !new.commit.updated.is_empty()),
                    ("confirmed by return", new.own),
                    ("fork", new.fork),
                    ("head moved to another branch", !new.lost.is_empty()),
                    ("own commit on a branch that lost", new.own && !new.head_moved),
                ] {
                    if seen {
                        note(what);
                    }
                }
            }
            _ => {}
        }
    }

    pub fn send(&mut self) {
        let who = self.speaker();
        let epoch = self.some_epoch(who, 3);
        let rng = &mut *self.rng;
        let sent = self.actors[who].client.run(|group| group.send(b"hello").at(&epoch).seal(rng));
        match sent {
            Ok(message) => self.broadcast(message),
            Err(Error::Usage(Usage::ProposalsPending)) => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// The head, or once in a while another epoch.
    pub fn some_epoch(&mut self, who: usize, one_in: usize) -> EpochId {
        let other = self.chance(one_in);
        let client = &self.actors[who].client;
        let full: Vec<_> = client.epochs().into_iter().filter(|info| info.level == Level::Full).collect();
        let head = client.head();
        if other { full[self.below(full.len())].id.clone() } else { head }
    }

    pub fn invite(&mut self) -> dmls::KeyPackage {
        let identity = identity(&format!("a{}", self.names), self.rng);
        self.names += 1;
        let own = key_package(&identity, self.rng);
        let key_package = own.key_package().clone();
        self.invited.push((identity, own));
        key_package
    }

    pub fn is_full(&self) -> bool {
        self.actors.len() + self.invited.len() >= self.most_members
    }

    pub fn propose(&mut self) {
        let who = self.speaker();
        let what = self.below(5);
        let invited = (what == 0 && !self.is_full()).then(|| self.invite());
        let target = self.some_member(who);
        let rng = &mut *self.rng;
        let client = &mut self.actors[who].client;
        let number = client.group.head().number();
        let id = client.group.id().to_vec();
        let sent = client.run(|group| match (what, invited, target) {
            (_, Some(key_package), _) => group.propose_add(key_package, NOW, rng),
            (1, _, Some(leaf)) => group.propose_remove(leaf, NOW, rng),
            (2, ..) => group.propose_psk(Psk::External(PSK.to_vec()), NOW, rng),
            (3, ..) => group.propose_psk(resumption(id, number), NOW, rng),
            _ => group.propose_update(NOW, rng),
        });
        match sent {
            Ok(sent) => self.broadcast(sent.message),
            Err(_) if self.chaos => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// Someone in the head who can be removed: not we, not the listener, and only where others remain.
    pub fn some_member(&mut self, who: usize) -> Option<dmls::LeafIndex> {
        let group = &self.actors[who].client.group;
        let own = group.head().own_leaf().unwrap();
        let listener = dmls::Credential::basic("a1");
        let members = group.head().members().unwrap();
        let others: Vec<_> = members.iter().filter(|m| m.leaf != own && m.credential != listener).collect();
        if members.len() < 4 || others.is_empty() {
            return None;
        }
        let nth = self.rng.next_u32() as usize % others.len();
        Some(others[nth].leaf)
    }

    pub fn commit(&mut self) {
        if self.commits >= self.most_commits {
            return;
        }
        let who = self.speaker();
        let epochs = self.actors[who].client.epochs();
        let parents: BTreeSet<_> = epochs.iter().filter_map(|info| info.parent.as_ref()).collect();
        let leaves = epochs.iter().filter(|info| !parents.contains(&info.id)).count();
        let epoch = self.some_epoch(who, if leaves < LEAVES { 3 } else { 1_000_000 });
        let in_head = epoch == self.actors[who].client.head();
        let number = self.actors[who].client.group.epoch(&epoch).unwrap().number();
        let id = self.actors[who].client.group.id().to_vec();
        let what = self.below(6);
        let invited = (what <= 1 && !self.is_full()).then(|| self.invite());
        let target = if in_head { self.some_member(who) } else { None };
        let rng = &mut *self.rng;
        let sent = self.actors[who].client.run(|group| {
            let mut commit = group.commit().at(&epoch);
            match (what, invited, target) {
                (_, Some(key_package), _) => commit = commit.add(key_package),
                (2, _, Some(leaf)) => commit = commit.remove(leaf),
                (3, ..) => commit = commit.psk(Psk::External(PSK.to_vec())),
                (4, ..) => commit = commit.psk(resumption(id, number)),
                _ => {}
            }
            commit.stage(NOW, rng)
        });
        let sent = match sent {
            Ok(sent) => sent,
            Err(Error::Limit(Limit::Pending)) => return,
            Err(_) if self.chaos => return,
            Err(e) => panic!("{e}"),
        };
        self.commits += 1;
        if self.chance(10) {
            // It never reaches anybody.
            self.actors[who].client.run(|group| group.abandon(&sent.id)).unwrap();
            *self.seen.entry("abandoned").or_insert(0) += 1;
            return;
        }
        self.broadcast(sent.message.clone());
        self.actors[who].staged.push(sent);
        if self.chance(2) {
            self.confirm_of(who);
        }
    }

    pub fn confirm(&mut self) {
        let who = self.speaker();
        self.confirm_of(who);
    }

    pub fn confirm_of(&mut self, who: usize) {
        if let Some(sent) = self.actors[who].staged.pop() {
            let network = self.network();
            self.actors[who].client.set(network);
            let new = match self.actors[who].client.run(|group| group.confirm(&sent.id)) {
                Ok(new) => new,
                Err(_) if self.chaos => return,
                Err(e) => panic!("{e}"),
            };
            assert_eq!(new.id, sent.epoch);
            if let Some(welcome) = new.welcome {
                self.welcome(&welcome);
            }
        }
    }

    /// Whoever was invited by this Welcome joins, and gets all that was ever sent.
    pub fn welcome(&mut self, welcome: &[u8]) {
        let mut invited = std::mem::take(&mut self.invited);
        invited.retain(|(identity, own)| match Client::join(identity, own, welcome, &self.config) {
            Ok(client) => {
                let waiting = (0..self.log.len()).collect();
                self.actors.push(Actor { client, waiting, staged: Vec::new() });
                false
            }
            Err(Error::Invalid(Rule::WelcomeRecipient)) => true,
            // Of an epoch before its time: it stays a member who never comes.
            Err(Error::Invalid(Rule::PskUnknown)) => false,
            Err(_) if self.chaos => false,
            Err(e) => panic!("{e}"),
        });
        self.invited = invited;
    }

    /// Someone new comes in by itself, or someone who lost everything comes back.
    pub fn join_external(&mut self) {
        if self.commits >= self.most_commits {
            return;
        }
        let helper = self.below(self.actors.len());
        let epoch = self.some_epoch(helper, 3);
        let info = self.actors[helper].client.group.epoch(&epoch).unwrap().group_info(NOW).unwrap();
        let again = if self.chance(2) { Some(self.speaker()) } else { None };
        if again.is_none() && self.is_full() {
            return;
        }
        let name = format!("a{}", self.names);
        let identity = match again {
            Some(who) => self.actors[who].client.identity.clone(),
            None => identity(&name, self.rng),
        };
        self.names += 1;
        let (client, commit) = Client::join_external(&identity, &info, &self.config, self.rng).unwrap();
        self.commits += 1;
        let waiting = (0..self.log.len()).collect();
        let actor = Actor { client, waiting, staged: Vec::new() };
        match again {
            Some(who) => self.actors[who] = actor,
            None => self.actors.push(actor),
        }
        self.broadcast(commit);
    }

    /// Everything arrives, commits that were sent are confirmed by their return.
    pub fn flush(&mut self) {
        while let Some(who) = self.actors.iter().position(|actor| !actor.waiting.is_empty()) {
            let waiting = self.actors[who].waiting.len();
            let nth = self.below(waiting);
            let place = self.actors[who].waiting.swap_remove(nth);
            self.deliver(who, place);
        }
        for actor in &mut self.actors {
            assert_eq!(actor.client.group.pending().count(), 0);
            actor.client.restart();
        }
    }
}

fn resumption(group_id: Vec<u8>, epoch: u64) -> Psk {
    Psk::Resumption { usage: ResumptionPskUsage::Application, group_id, epoch }
}
