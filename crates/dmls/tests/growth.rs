//! What grows and must not: counted in allocations and bytes, not timed. After thousands of epochs a commit does the work
//! of the first; the eighth child of an epoch writes what the first did; who holds thousands of messages holds one more as
//! easily.
//!
//! `DMLS_GROWTH_EPOCHS` says how many epochs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;

use allocation_counter::measure;
use common::{NOW, SPLIT, WHOLE, group, public_config, rng};
use dmls::codec::{Decode, Encode};
use dmls::{Config, DmlsMessage, Group, Level, Limits, Network, Outcome, Retention, RetentionRule, Step};
use rand_chacha::ChaCha20Rng;

/// What one operation costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    allocations: u64,
    /// Taken from the heap in all.
    bytes: u64,
    /// Records written, and their bytes.
    records: usize,
    written: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.allocations += other.allocations;
        self.bytes += other.bytes;
        self.records += other.records;
        self.written += other.written;
    }

    /// Not more than so many percent of what it was.
    fn assert_within(self, percent: u64, before: Self, what: &str) {
        println!("{what}: before {before:?}, after {self:?}");
        for (name, after, before) in [
            ("allocations", self.allocations, before.allocations),
            ("bytes", self.bytes, before.bytes),
            ("records", self.records as u64, before.records as u64),
            ("bytes written", self.written as u64, before.written as u64),
        ] {
            assert!(after * 100 <= before * percent, "{what}, {name}: {before} before, {after} after");
        }
    }
}

/// The cost of a step, which is applied.
fn cost<T>(group: &mut Group, step: impl for<'g> FnOnce(&'g mut Group) -> Step<'g, T>) -> (T, Cost) {
    let mut done = None;
    let mut cost = Cost::default();
    let counted = measure(|| {
        let step = step(group);
        (cost.records, cost.written) = (step.changes().len(), step.changes().size());
        done = Some(step.apply_unsaved());
    });
    (cost.allocations, cost.bytes) = (counted.count_total, counted.bytes_total);
    (done.unwrap(), cost)
}

/// Two members; nothing of them compares records with memory.
fn pair(config: &Config, seed: u64) -> (Group, Group) {
    let clients = group(&["alice", "bob"], config, &mut rng(seed));
    let [a, b] = clients.try_into().ok().unwrap();
    (a.group, b.group)
}

/// A commit of `one` that `other` follows: staging with confirming, and processing.
fn commit(one: &mut Group, other: &mut Group, rng: &mut ChaCha20Rng) -> [Cost; 2] {
    let (committed, making) = cost(one, |group| group.commit().stage_confirmed(NOW, rng).unwrap());
    let message = committed.sent.message;
    let (outcome, following) = cost(other, |group| group.receive(&message, NOW).unwrap());
    assert!(matches!(outcome, Outcome::Commit(new) if new.is_head));
    [making, following]
}

/// Sixteen commits, by both in turn.
fn window(a: &mut Group, b: &mut Group, rng: &mut ChaCha20Rng) -> [Cost; 2] {
    let mut all = [Cost::default(); 2];
    for round in 0..16 {
        let costs = if round % 2 == 0 { commit(a, b, rng) } else { commit(b, a, rng) };
        all.iter_mut().zip(costs).for_each(|(all, cost)| all.add(cost));
    }
    all
}

/// At the end so many epochs are full, or so many at most with a rule of our own.
fn thousands_of_epochs(network: Network, retention: Retention, retained: usize) {
    #[allow(clippy::disallowed_methods, reason = "how long a test runs is decided outside")]
    let epochs = std::env::var("DMLS_GROWTH_EPOCHS").map_or(2_000, |number| number.parse().unwrap());
    let rng = &mut rng(1);
    let limits = Limits { known_epochs: 1_024, ..Limits::default() };
    let (mut a, mut b) = pair(&Config { limits, retention, ..public_config() }, 1);
    for group in [&mut a, &mut b] {
        group.set_network(network).apply_unsaved();
    }
    // The house is full once, and the ids that are remembered reach their number.
    let full = 1_300;
    let begin = window(&mut a, &mut b, rng);
    let mut early = [Cost::default(); 2];
    for n in (16..epochs).step_by(16) {
        let costs = window(&mut a, &mut b, rng);
        if (full..full + 16).contains(&n) {
            early = costs;
        }
    }
    let late = window(&mut a, &mut b, rng);
    for (n, what) in ["making", "following"].into_iter().enumerate() {
        let what = format!("{what} a commit, {network:?}, {:?}", retention.rule);
        late[n].assert_within(105, early[n], &what);
        // Against the very first ones: there nothing is deleted, and each deletion is a record.
        late[n].assert_within(200, begin[n], &what);
    }
    for group in [&a, &b] {
        let left = group.epochs().filter(|epoch| epoch.level() == Level::Full).count();
        match retention.rule {
            RetentionRule::WhileTold => assert_eq!(left, retained),
            _ => assert!(left <= retained, "{left} epochs"),
        }
        let late = retention.late_epochs;
        assert!(group.epochs().count() <= retained + late + 1_024 + 1, "{}", group.epochs().count());
    }
}

#[test]
fn after_thousands_of_epochs_a_commit_does_the_work_of_the_first_in_a_whole_network() {
    thousands_of_epochs(WHOLE, Retention::while_told(), 1);
}

#[test]
fn after_thousands_of_epochs_a_commit_does_the_work_of_the_first_in_a_split_network() {
    thousands_of_epochs(SPLIT, Retention::while_told(), 128);
}

#[test]
fn after_thousands_of_epochs_a_commit_does_the_work_of_the_first_where_no_server_tells() {
    for rule in [RetentionRule::AllCommitted, RetentionRule::AllMoved] {
        // Each waits for the other's last commit.
        thousands_of_epochs(SPLIT, Retention { rule, ..Retention::default() }, 2);
    }
}

#[test]
fn the_last_child_of_an_epoch_writes_what_the_first_did() {
    let rng = &mut rng(2);
    let limits = Limits { children_per_committer: 64, pending: 64, ..Limits::default() };
    let (mut a, mut b) = pair(&Config { limits, ruleset: None, ..public_config() }, 2);
    let epoch = a.head().id().clone();
    let mut staged = Vec::new();
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..64 {
        let (sent, cost_of) = cost(&mut a, |group| group.commit().at(&epoch).stage(NOW, rng).unwrap());
        costs[0].push(cost_of);
        staged.push(sent);
    }
    for sent in &staged {
        costs[1].push(cost(&mut a, |group| group.confirm(&sent.id).unwrap()).1);
        let (outcome, cost_of) = cost(&mut b, |group| group.receive(&sent.message, NOW).unwrap());
        assert!(matches!(outcome, Outcome::Commit(_)));
        costs[2].push(cost_of);
    }
    for (costs, what) in costs.iter().zip(["staging", "confirming", "following"]) {
        let written: Vec<_> = costs.iter().map(|cost| cost.written).collect();
        println!("{what}: {written:?}");
        let most = costs[1..].iter().map(|cost| cost.written).max().unwrap();
        assert!(most <= costs[0].written + costs[0].written / 4, "{what}: {written:?}");
    }
}

/// The cost of holding and of resuming one message when so many others are held.
fn held(others: usize) -> [Cost; 2] {
    let rng = &mut rng(3);
    let limits = Limits { held_messages: 5_000, held_per_epoch: 5_000, ..Limits::default() };
    let (mut a, mut b) = pair(&Config { limits, ..public_config() }, 3);
    let committed = a.commit().stage_confirmed(NOW, rng).unwrap().apply_unsaved();
    let message = a.send(b"hello").seal(rng).unwrap().apply_unsaved();
    let mut other = DmlsMessage::from_bytes(&message).unwrap();
    for n in 0..others {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n as u64 / 4).to_be_bytes());
        id[8] = n as u8 % 4;
        other.dmls_epoch = id.to_vec().into();
        let held = b.receive(&other.to_bytes(), NOW).unwrap().apply_unsaved();
        assert!(matches!(held, Outcome::Held(held) if held.evicted.is_empty()));
    }
    let (outcome, holding) = cost(&mut b, |group| group.receive(&message, NOW).unwrap());
    assert!(matches!(outcome, Outcome::Held(_)));
    assert_eq!(b.held(), others + 1);
    b.receive(&committed.sent.message, NOW).unwrap().apply_unsaved();
    let (resumed, resuming) = cost(&mut b, |group| group.resume(NOW).unwrap());
    assert!(matches!(resumed.outcome, Ok(Outcome::Application(_))));
    [holding, resuming]
}

#[test]
fn who_holds_thousands_of_messages_holds_one_more_as_easily() {
    let [few, many] = [held(16), held(4_096)];
    for (n, what) in ["holding", "resuming"].into_iter().enumerate() {
        many[n].assert_within(110, few[n], what);
    }
}
