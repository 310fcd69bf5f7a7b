//! The head is a function of the set of messages and of what the delivery service said: whatever the order, whatever comes
//! twice, whenever the client restarts, whichever limit is small. Whoever ends elsewhere was told before what it lost.
//!
//! `DMLS_HEADS_SEED` says with which history to begin, `DMLS_HEADS_CASES` how many there are (one, where the first is given).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;
mod world;

use std::collections::BTreeMap;

use common::{Client, NOW, config, public_config, setting};
use dmls::codec::{Decode, Encode};
use dmls::extension::ForkChoiceRule;
use dmls::{
    CommitId, Config, DmlsMessage, EpochId, Error, Group, Level, Limits, Outcome, Rule, Stranded, Turn, Why,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use sha2::{Digest, Sha256};
use world::{Bounds, World};

const BOUNDS: Bounds = Bounds { members: 5, commits: 25 };
const ORDERS: usize = 5;

/// Every limit that a receiver meets, small, and all of them at once.
fn small_limits() -> Vec<(&'static str, Limits)> {
    let usual = Limits::default;
    vec![
        ("proposals", Limits { proposals: 1, ..usual() }),
        ("proposals_per_sender", Limits { proposals_per_sender: 1, ..usual() }),
        ("proposal_size", Limits { proposal_size: 64, ..usual() }),
        ("forward_generations", Limits { forward_generations: 1, ..usual() }),
        ("kept_generations", Limits { kept_generations: 1, ..usual() }),
        ("children_per_committer", Limits { children_per_committer: 1, ..usual() }),
        ("epochs", Limits { epochs: 3, ..usual() }),
        ("known_epochs", Limits { epochs: 6, known_epochs: 2, ..usual() }),
        ("resumption_psks", Limits { resumption_psks: 1, ..usual() }),
        ("held_messages", Limits { held_messages: 4, ..usual() }),
        ("held_bytes", Limits { held_bytes: 4_000, ..usual() }),
        ("held_per_epoch", Limits { held_per_epoch: 1, ..usual() }),
        (
            "all",
            Limits {
                proposals: 2,
                proposals_per_sender: 1,
                forward_generations: 4,
                kept_generations: 4,
                children_per_committer: 1,
                epochs: 4,
                known_epochs: 4,
                resumption_psks: 2,
                held_messages: 6,
                held_per_epoch: 2,
                stranded_after: 4,
                ..usual()
            },
        ),
    ]
}

/// What reaches a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// By its place in the log.
    Message(usize),
    Final(usize),
    Block(usize),
    Unblock(usize),
}

/// How a run ended: the head, and everything lost that was told.
struct Run {
    head: EpochId,
    losses: Vec<String>,
}

/// How many runs there were, how many told a loss, and how many of these ended elsewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    runs: u32,
    told: u32,
    elsewhere: u32,
}

#[test]
fn one_head_whatever_the_order_and_whatever_the_limits() {
    let first = setting("DMLS_HEADS_SEED");
    let cases = setting("DMLS_HEADS_CASES").unwrap_or(if first.is_some() { 1 } else { 12 });
    let seeds = first.unwrap_or(0)..first.unwrap_or(0) + cases;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = Counts::new();
    std::thread::scope(|scope| {
        let shares = (0..threads).map(|thread| seeds.clone().skip(thread).step_by(threads));
        let shares: Vec<_> = shares.map(|seeds| scope.spawn(|| histories(seeds))).collect();
        for share in shares {
            add(&mut counts, share.join().unwrap());
        }
    });
    println!("{counts:#?}");
}

type Counts = BTreeMap<&'static str, Count>;

fn add(counts: &mut Counts, more: Counts) {
    for (name, count) in more {
        let all = counts.entry(name).or_default();
        all.runs += count.runs;
        all.told += count.told;
        all.elsewhere += count.elsewhere;
    }
}

fn histories(seeds: impl Iterator<Item = u64>) -> Counts {
    let mut counts = Counts::new();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut counts = Counts::new();
            history(seed, &mut counts);
            counts
        });
        match result {
            Ok(more) => add(&mut counts, more),
            Err(panic) => {
                println!("this was DMLS_HEADS_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    counts
}

fn history(seed: u64, counts: &mut Counts) {
    let mut rng = common::rng(3 << 32 | seed);
    let config = if seed.is_multiple_of(2) { config() } else { public_config() };
    // A ruleset gives all members the same quotas; without one, each has its own limits.
    let without = Config { ruleset: None, offer_external_joins: true, ..config.clone() };
    let config = if seed % 4 < 2 { config } else { without };
    let mut config = config;
    if let Some(ruleset) = config.ruleset.as_mut().filter(|_| seed % 8 < 4) {
        ruleset.fork_choice = ForkChoiceRule::REMOVALS_FIRST;
    }
    let mut world = World::new(config, BOUNDS, &mut rng);
    let steps = 30 + world.below(80);
    for _ in 0..steps {
        world.act();
    }
    world.flush();
    let events = events(&mut world);
    let commits: Vec<_> = world.log.iter().map(|message| commit_id(message)).collect();

    let mut head = None;
    for _ in 0..ORDERS {
        let order = shuffled(&events, world.rng);
        let run = run(&world.listener, &world, &commits, &order, Limits::default());
        let expected = &head.get_or_insert_with(|| run.head.clone()).clone();
        assert_eq!((&run.head, &run.losses), (expected, &Vec::new()), "default limits");
    }
    let head = head.unwrap();
    for (name, limits) in small_limits() {
        let count = counts.entry(name).or_default();
        for _ in 0..ORDERS {
            let order = shuffled(&events, world.rng);
            let run = run(&world.listener, &world, &commits, &order, limits.clone());
            count.runs += 1;
            count.told += u32::from(!run.losses.is_empty());
            count.elsewhere += u32::from(run.head != head);
            assert!(run.head == head || !run.losses.is_empty(), "{name}: another head, and nothing was told");
        }
    }
}

/// The log, each message at least once, and in some histories what the delivery service says.
fn events(world: &mut World<'_>) -> Vec<Event> {
    let mut events: Vec<_> = (0..world.log.len()).map(Event::Message).collect();
    for place in 0..world.log.len() {
        if world.chance(4) {
            events.push(Event::Message(place));
        }
    }
    if world.chance(2) {
        return events;
    }
    // What is final is on one way; what is blocked is beside it.
    let listener = world.actors[1].client.copy();
    let places: BTreeMap<CommitId, usize> =
        world.log.iter().enumerate().map(|(place, message)| (commit_id(message), place)).collect();
    let epochs: Vec<_> = listener.group.epochs().collect();
    let chosen = world.below(epochs.len());
    let mut way = Vec::new();
    let mut at = Some(epochs[chosen].id());
    while let Some(epoch) = at.and_then(|id| listener.group.epoch(id)) {
        way.extend(places.get(epoch.commit_id()).copied());
        at = epoch.parent();
    }
    if world.chance(2) && !way.is_empty() {
        let finals = 1 + world.below(2);
        for _ in 0..finals {
            events.push(Event::Final(way[world.below(way.len())]));
        }
    }
    let beside: Vec<_> = epochs
        .iter()
        .filter_map(|epoch| places.get(epoch.commit_id()))
        .filter(|place| !way.contains(place))
        .collect();
    if !beside.is_empty() {
        for _ in 0..world.below(3) {
            let place = *beside[world.below(beside.len())];
            if !events.contains(&Event::Block(place)) {
                events.push(Event::Block(place));
                if world.chance(3) {
                    events.push(Event::Unblock(place));
                }
            }
        }
    }
    events
}

fn commit_id(message: &[u8]) -> CommitId {
    Sha256::digest(DmlsMessage::from_bytes(message).unwrap().message.to_bytes()).to_vec().into()
}

/// Any order, but what is taken back comes after what it takes back.
fn shuffled(events: &[Event], rng: &mut ChaCha20Rng) -> Vec<Event> {
    let mut order = events.to_vec();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.next_u32() as usize % (i + 1));
    }
    for event in events {
        if let Event::Unblock(place) = event {
            let at = |order: &[Event], event| order.iter().position(|other| *other == event).unwrap();
            let (block, unblock) = (at(&order, Event::Block(*place)), at(&order, *event));
            if unblock < block {
                order.swap(block, unblock);
            }
        }
    }
    order
}

fn run(
    listener: &common::Records,
    world: &World<'_>,
    commits: &[CommitId],
    order: &[Event],
    limits: Limits,
) -> Run {
    let config = Config { limits, ..world.config.clone() };
    let group = Group::load(listener, config.clone()).unwrap();
    let identity = world.actors[1].client.identity.clone();
    let mut client = Client { identity, config, group, records: listener.clone(), strict: false };
    let mut losses = Vec::new();
    for (n, event) in order.iter().enumerate() {
        match *event {
            Event::Message(place) => receive(&mut client, &world.log[place], &mut losses),
            Event::Final(place) => {
                let turn = client.run(|group| group.finalize(&commits[place]));
                note_turn(turn, &mut losses);
            }
            Event::Block(place) => {
                let turn = client.run(|group| group.block(&commits[place]));
                note_turn(turn, &mut losses);
            }
            Event::Unblock(place) => {
                note_turn(client.run(|group| Ok(group.unblock(&commits[place]))), &mut losses);
            }
        }
        resume(&mut client, &mut losses);
        if n % 7 == 3 {
            client.restart();
        }
    }
    let head = client.head();
    client.restart();
    assert_eq!(client.head(), head);
    Run { head, losses }
}

fn receive(client: &mut Client, message: &[u8], losses: &mut Vec<String>) {
    let outcome = client.run(|group| group.receive(message, NOW));
    note(&outcome, losses);
}

fn resume(client: &mut Client, losses: &mut Vec<String>) {
    while let Some(step) = client.group.resume(NOW) {
        step.changes().replay_into(&mut client.records);
        let resumed = step.apply_unsaved();
        note(&resumed.outcome, losses);
    }
}

fn note_turn(turn: Result<Turn, Error>, losses: &mut Vec<String>) {
    match turn {
        Ok(turn) => {
            note_stranded(&turn.stranded, losses);
            losses.extend(
                turn.deleted.iter().filter(|gone| gone.why != Why::Final).map(|gone| format!("{gone:?}")),
            );
        }
        Err(e) => losses.push(e.to_string()),
    }
}

fn note_stranded(stranded: &Option<Stranded>, losses: &mut Vec<String>) {
    // Messages that wait are no loss yet.
    if let Some(Stranded::HeadDeleted(id)) = stranded {
        losses.push(format!("stranded at {id:?}"));
    }
}

/// What is lost for good. What a final commit leaves to read only is not: nothing below it can win.
fn note(outcome: &Result<Outcome, Error>, losses: &mut Vec<String>) {
    match outcome {
        Ok(Outcome::Commit(new)) => {
            note_stranded(&new.stranded, losses);
            losses.extend(
                new.deleted.iter().filter(|gone| gone.why != Why::Final).map(|gone| format!("{gone:?}")),
            );
        }
        Ok(Outcome::Held(held)) => losses.extend((!held.evicted.is_empty()).then(|| "evicted".to_owned())),
        Ok(Outcome::EpochDeleted(told)) if told.level == Level::Known => losses.push(format!("{told:?}")),
        Ok(Outcome::Lost(_) | Outcome::TooOld { .. } | Outcome::RolledBack(_)) => {
            losses.push(format!("{outcome:?}"));
        }
        // A commit that was read, and whose epoch was forgotten, comes again.
        Ok(_) | Err(Error::Invalid(Rule::MessageKeyUsed | Rule::Punctured)) => {}
        Err(Error::Limit(_) | Error::Invalid(Rule::PskUnknown)) => losses.push(format!("{outcome:?}")),
        Err(e) => panic!("{e}"),
    }
}
