//! Whole histories by chance: branches, nested branches, late and repeated delivery, restarts. Whoever has seen the same
//! commits must have the same head, whatever the order.
//!
//! `DMLS_FORKS_CASES` sets how many histories, `DMLS_FORKS_SEED` runs one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Client, NOW, PSK, Records, SPLIT, WHOLE, config, identity, key_package, public_config};
use dmls::message::{Psk, ResumptionPskUsage};
use dmls::{
    Config, EpochId, Error, Held, Identity, KeySchedule, Level, Limit, Limits, Network, Outcome,
    OwnKeyPackage, Rule, SentCommit, Usage, WaitsFor,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

const MEMBERS: usize = 8;
const LEAVES: usize = 4;

#[allow(clippy::disallowed_methods, reason = "how long a test runs is decided outside")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_order_of_delivery_leads_to_one_head() {
    if let Some(seed) = setting("DMLS_FORKS_SEED") {
        history(seed);
        return;
    }
    let mut seen = BTreeMap::new();
    for seed in 0..setting("DMLS_FORKS_CASES").unwrap_or(100) {
        match std::panic::catch_unwind(|| history(seed)) {
            Ok(more) => more.into_iter().for_each(|(what, times)| *seen.entry(what).or_insert(0) += times),
            Err(panic) => {
                println!("this was DMLS_FORKS_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{seen:?}");
    for what in SEEN {
        assert!(seen.contains_key(what), "no history had {what}");
    }
}

/// Each delivery says by chance that the network is split or whole, and all limits are small: members lose each other, and
/// still nobody's records differ from its memory, nothing panics, and every step survives a restart.
#[test]
fn records_and_memory_agree_whatever_is_deleted() {
    let cases = setting("DMLS_FORKS_CASES").unwrap_or(100);
    let seeds = setting("DMLS_FORKS_SEED").map_or(0..cases, |seed| seed..seed + 1);
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut rng = common::rng(1 << 32 | seed);
            let schedule = if seed % 4 == 3 { KeySchedule::Rfc9420 } else { KeySchedule::Dmls };
            let config = if seed % 2 == 0 { config() } else { public_config() };
            let mut world = World::new(Config { schedule, ..config }, &mut rng);
            world.chaos = true;
            let config = Config { limits: small_limits(), ..world.config.clone() };
            for actor in &mut world.actors {
                actor.client.config = config.clone();
                actor.client.restart();
            }
            world.config = config;
            world.most_commits = 30;
            for _ in 0..150 {
                world.act();
            }
            for actor in &mut world.actors {
                actor.client.restart();
                let client = &actor.client;
                assert!(client.count(b'e') <= 3 + client.count(b'o'));
                if schedule == KeySchedule::Dmls {
                    assert_eq!(client.count(b'e'), client.full_epochs());
                }
                assert!(client.group.held() <= 6);
                // Two that were staged, and the external commit by which it joined.
                assert!(client.group.pending().count() <= 3);
            }
        });
        if let Err(panic) = result {
            println!("this was DMLS_FORKS_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn small_limits() -> Limits {
    Limits {
        proposals: 3,
        children_per_committer: 3,
        pending: 2,
        epochs: 3,
        known_epochs: 3,
        resumption_psks: 2,
        held_messages: 6,
        held_per_epoch: 3,
        ..Limits::default()
    }
}

/// What the histories must contain between them, or they prove less than they say.
const SEEN: [&str; 15] = [
    "abandoned",
    "application",
    "commit",
    "commit of external joiner",
    "commit with psk",
    "commit with update",
    "confirmed by return",
    "duplicate",
    "fork",
    "fork in a fork",
    "head moved to another branch",
    "held for its epoch",
    "held for a proposal",
    "own commit on a branch that lost",
    "removed",
];

type Seen = BTreeMap<&'static str, u32>;

fn history(seed: u64) -> Seen {
    let mut rng = common::rng(seed);
    let config = if rng.next_u32().is_multiple_of(2) { config() } else { public_config() };
    let mut world = World::new(config, &mut rng);
    let steps = 20 + world.below(60);
    for _ in 0..steps {
        world.act();
    }
    world.flush();
    world.check_heads();
    world.check_orders();
    world.heal();
    world.seen
}

struct Actor {
    client: Client,
    /// Messages that did not arrive yet, by their place in the log.
    waiting: Vec<usize>,
    /// Commits of ours that nobody confirmed yet.
    staged: Vec<SentCommit>,
}

struct World<'r> {
    rng: &'r mut ChaCha20Rng,
    config: Config,
    actors: Vec<Actor>,
    /// Everything that was ever sent.
    log: Vec<Vec<u8>>,
    invited: Vec<(Identity, OwnKeyPackage)>,
    names: usize,
    /// A member who is there from the first epoch and only listens, as it was then.
    listener: Records,
    commits: usize,
    most_commits: usize,
    seen: Seen,
    chaos: bool,
}

impl<'r> World<'r> {
    fn new(config: Config, rng: &'r mut ChaCha20Rng) -> Self {
        let names = ["a0", "a1", "a2", "a3", "a4"];
        let first = 2 + rng.next_u32() as usize % 4;
        let clients = common::group(&names[..first], &config, rng);
        let listener = clients[1].records.clone();
        let most_commits = 3 + rng.next_u32() as usize % 10;
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
            commits: 0,
            most_commits,
            seen: Seen::new(),
            chaos: false,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn network(&mut self) -> Network {
        if self.chaos && self.chance(3) { WHOLE } else { SPLIT }
    }

    fn broadcast(&mut self, message: Vec<u8>) {
        let place = self.log.len();
        self.log.push(message);
        for actor in &mut self.actors {
            actor.waiting.push(place);
        }
    }

    /// Someone other than the listener.
    fn speaker(&mut self) -> usize {
        match self.below(self.actors.len() - 1) {
            0 => 0,
            other => other + 1,
        }
    }

    fn act(&mut self) {
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

    fn deliver_one(&mut self) {
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

    fn deliver(&mut self, who: usize, place: usize) {
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

    fn note(&mut self, who: usize, outcome: &Outcome) {
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

    fn send(&mut self) {
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
    fn some_epoch(&mut self, who: usize, one_in: usize) -> EpochId {
        let other = self.chance(one_in);
        let client = &self.actors[who].client;
        let full: Vec<_> = client.epochs().into_iter().filter(|info| info.level == Level::Full).collect();
        let head = client.head();
        if other { full[self.below(full.len())].id.clone() } else { head }
    }

    fn invite(&mut self) -> dmls::KeyPackage {
        let identity = identity(&format!("a{}", self.names), self.rng);
        self.names += 1;
        let own = key_package(&identity, self.rng);
        let key_package = own.key_package().clone();
        self.invited.push((identity, own));
        key_package
    }

    fn is_full(&self) -> bool {
        self.actors.len() + self.invited.len() >= MEMBERS
    }

    fn propose(&mut self) {
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
    fn some_member(&mut self, who: usize) -> Option<dmls::LeafIndex> {
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

    fn commit(&mut self) {
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

    fn confirm(&mut self) {
        let who = self.speaker();
        self.confirm_of(who);
    }

    fn confirm_of(&mut self, who: usize) {
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
    fn welcome(&mut self, welcome: &[u8]) {
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
    fn join_external(&mut self) {
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
    fn flush(&mut self) {
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

    fn check_heads(&self) {
        let mut secrets: BTreeMap<EpochId, Vec<u8>> = BTreeMap::new();
        let mut heads: BTreeMap<Vec<EpochId>, (EpochId, Vec<u8>)> = BTreeMap::new();
        for actor in &self.actors {
            let group = &actor.client.group;
            // The founder's first epoch is gone since the others came.
            let mut epochs = actor.client.epochs();
            epochs.retain(|info| info.number > 0);
            for info in &epochs {
                assert_eq!(info.level, Level::Full);
                let secret = actor.client.secret(&info.id);
                assert_eq!(*secrets.entry(info.id.clone()).or_insert_with(|| secret.clone()), secret);
            }
            let head = (group.head().id().clone(), group.head().authenticator().unwrap().to_vec());
            assert_eq!(head.0, expected_head(&actor.client));
            let ids = epochs.into_iter().map(|info| info.id).collect();
            assert_eq!(*heads.entry(ids).or_insert_with(|| head.clone()), head);
        }
    }

    /// The listener again, from its first epoch, in other orders.
    fn check_orders(&mut self) {
        let listener = &self.actors[1].client;
        let held = listener.group.held();
        assert_eq!(held, 0, "nobody removes the listener, so it sees everything");
        let epochs = listener.epochs();
        let head = listener.group.head().id().clone();
        let identity = listener.identity.clone();
        for _ in 0..3 {
            let group = dmls::Group::load(&self.listener, self.config.clone()).unwrap();
            let records = self.listener.clone();
            let (identity, config) = (identity.clone(), self.config.clone());
            let mut copy = Client { identity, config, group, records, strict: true };
            let mut order: Vec<usize> = (0..self.log.len()).collect();
            for i in (1..order.len()).rev() {
                order.swap(i, self.below(i + 1));
            }
            for place in order {
                deliver(&mut copy, &self.log[place]);
                if self.chance(8) {
                    copy.restart();
                }
            }
            copy.restart();
            assert_eq!(copy.head(), head);
            assert_eq!(copy.epochs(), epochs);
            assert_eq!(copy.group.held(), 0);
            for info in &epochs {
                assert_eq!(copy.secret(&info.id), self.actors[1].client.secret(&info.id));
            }
        }
    }

    /// The network is whole again: one commit, and one epoch is left.
    fn heal(&mut self) {
        let head = self.actors[1].client.group.head().id().clone();
        let rng = &mut *self.rng;
        let mut clients: Vec<&mut Client> = self.actors.iter_mut().map(|actor| &mut actor.client).collect();
        clients.retain(|client| client.head() == head);
        let (listener, others) = clients.split_first_mut().unwrap();
        let sent = listener.stage(rng);
        let new = listener.confirm(&sent, WHOLE);
        let id = new.id;
        for client in others {
            match client.receive(&sent.message, WHOLE).unwrap() {
                Outcome::Commit(new) => assert_eq!(new.id, id),
                Outcome::Removed(removed) => {
                    assert!(removed.wins);
                    client.run(|group| group.confirm_removal(&removed.commit_id)).unwrap();
                    assert!(client.group.is_removed());
                    continue;
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(client.secret(&id), listener.secret(&id));
            one_epoch_left(client, &id);
        }
        one_epoch_left(listener, &id);
        listener.restart();
    }
}

fn one_epoch_left(client: &Client, id: &EpochId) {
    assert_eq!(client.head(), *id);
    let epochs = client.epochs();
    let readable: Vec<_> =
        epochs.iter().filter(|info| info.level > Level::Known).map(|info| &info.id).collect();
    assert_eq!(readable, [id]);
    for (kind, count) in
        [(b'g', 1), (b'n', epochs.len()), (b'e', 1), (b'i', 1), (b'r', 1), (b'p', 0), (b'o', 0)]
    {
        assert_eq!(client.count(kind), count, "records of kind {}", char::from(kind));
    }
}

fn resumption(group_id: Vec<u8>, epoch: u64) -> Psk {
    Psk::Resumption { usage: ResumptionPskUsage::Application, group_id, epoch }
}

fn deliver(client: &mut Client, message: &[u8]) -> Vec<Outcome> {
    client.deliver(message, SPLIT).unwrap()
}

/// The draft's rule, said once more: from the root on always the child with the higher tag.
fn expected_head(client: &Client) -> EpochId {
    let epochs = client.epochs();
    let known = |id: &EpochId| epochs.iter().any(|info| info.id == *id);
    let root = epochs.iter().find(|info| info.parent.as_ref().is_none_or(|parent| !known(parent))).unwrap();
    let mut head = root.id.clone();
    loop {
        let children = epochs.iter().filter(|info| info.parent.as_ref() == Some(&head));
        match children.max_by_key(|info| info.tag.as_bytes().to_vec()) {
            Some(child) => head = child.id.clone(),
            None => return head,
        }
    }
}
