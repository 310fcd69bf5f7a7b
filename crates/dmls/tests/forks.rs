//! Whole histories by chance: branches, nested branches, late and repeated delivery, restarts. Whoever has seen the same
//! commits must have the same head, whatever the order.
//!
//! `DMLS_FORKS_CASES` sets how many histories, `DMLS_FORKS_SEED` runs one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod common;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use common::{Client, NOW, SPLIT, WHOLE, config, public_config, setting};
use dmls::{
    Config, Consolidation, EpochId, EpochRef, KeySchedule, Level, Limits, Outcome, Retention, RetentionRule,
};
use rand_chacha::rand_core::Rng;
use world::{Bounds, Seen, World};

const BOUNDS: Bounds = Bounds { members: 8, commits: 12 };

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

/// Each rule, with late messages and without.
fn retention(seed: u64) -> Retention {
    let rules = [RetentionRule::WhileTold, RetentionRule::AllCommitted, RetentionRule::AllMoved];
    let late_epochs = [0, 1, 2][seed as usize / 3 % 3];
    Retention { rule: rules[seed as usize % 3], late_epochs, ..Retention::default() }
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
            let mut world = World::new(Config { schedule, ..config }, BOUNDS, &mut rng);
            world.chaos = true;
            let retention = retention(seed);
            let config = Config { limits: small_limits(), retention, ..world.config.clone() };
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
                    assert_eq!(client.count(b'e'), client.full_epochs() + client.at_level(Level::Readable));
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
const SEEN: [&str; 18] = [
    "abandoned",
    "added again",
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
    "removed again",
    "removed again though active",
];

fn history(seed: u64) -> Seen {
    let mut rng = common::rng(seed);
    let config = if rng.next_u32().is_multiple_of(2) { config() } else { public_config() };
    let mut world = World::new(config, BOUNDS, &mut rng);
    let steps = 20 + world.below(60);
    for _ in 0..steps {
        world.act();
    }
    world.flush();
    check_heads(&world);
    check_orders(&mut world);
    check_consolidation(&mut world);
    heal(&mut world);
    world.seen
}

fn check_heads(world: &World<'_>) {
    let mut secrets: BTreeMap<EpochId, Vec<u8>> = BTreeMap::new();
    let mut heads: BTreeMap<Vec<EpochId>, (EpochId, Vec<u8>)> = BTreeMap::new();
    for actor in &world.actors {
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
fn check_orders(world: &mut World<'_>) {
    let listener = &world.actors[1].client;
    let held = listener.group.held();
    assert_eq!(held, 0, "nobody removes the listener, so it sees everything");
    let epochs = listener.epochs();
    let head = listener.group.head().id().clone();
    let identity = listener.identity.clone();
    for _ in 0..3 {
        let group = dmls::Group::load(&world.listener, world.config.clone()).unwrap();
        let records = world.listener.clone();
        let (identity, config) = (identity.clone(), world.config.clone());
        let mut copy = Client { identity, config, group, records, strict: true };
        let mut order: Vec<usize> = (0..world.log.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, world.below(i + 1));
        }
        for place in order {
            deliver(&mut copy, &world.log[place]);
            if world.chance(8) {
                copy.restart();
            }
        }
        copy.restart();
        assert_eq!(copy.head(), head);
        assert_eq!(copy.epochs(), epochs);
        assert_eq!(copy.group.held(), 0);
        for info in &epochs {
            assert_eq!(copy.secret(&info.id), world.actors[1].client.secret(&info.id));
        }
    }
}

/// What is to be done again is what members of both branches would say who compare the lists of members of all epochs; who has
/// seen the same says the same, and one commit does it.
fn check_consolidation(world: &mut World<'_>) {
    let found = consolidation(&world.actors[1].client);
    let leaf = world.actors[1].client.leaf();
    let mut seen = |what, count: usize| *world.seen.entry(what).or_insert(0) += count as u32;
    seen("added again", found.adds.len());
    seen("removed again", found.removes.iter().filter(|gone| !gone.active).count());
    seen("removed again though active", found.removes.iter().filter(|gone| gone.active).count());
    let rng = &mut *world.rng;
    let mut clients: Vec<&mut Client> = world.actors.iter_mut().map(|actor| &mut actor.client).collect();
    clients.retain(|client| client.head() == found.head);
    let ids = |client: &Client| client.epochs().into_iter().map(|info| info.id).collect::<Vec<_>>();
    for client in &clients {
        let other = consolidation(client);
        if ids(client) == ids(clients[0]) {
            assert_eq!(other.turns, consolidation(clients[0]).turns);
        }
    }
    let is_listener = |client: &&mut Client| client.leaf() == leaf;
    let (mut listeners, mut others): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_listener);
    let listener = &mut listeners[0];
    let sent = listener.run(|group| group.commit().consolidate(&found, [])?.stage(NOW, rng)).unwrap();
    listener.confirm(&sent, SPLIT);
    others.iter_mut().for_each(|client| drop(client.receive(&sent.message, SPLIT).unwrap()));
    let left = consolidation(listener);
    assert_eq!((left.removes, left.adds), (vec![], found.adds));
}

/// Of all that a client knows, compared with what the lists of members say.
fn consolidation(client: &Client) -> Consolidation {
    let group = &client.group;
    let beside: Vec<_> = group.epochs().filter(|epoch| !epoch.is_on_way()).collect();
    let found = group.consolidate(beside.iter().map(|epoch| epoch.id()));
    let keys = |epoch: EpochRef<'_>| -> Keys {
        epoch.members().unwrap().into_iter().map(|member| member.signature_key.as_bytes().to_vec()).collect()
    };
    let path = |end: EpochRef<'_>, fork: &EpochId| -> Vec<EpochId> {
        let above = |id: &EpochId| group.epoch(id)?.parent().cloned();
        let up = std::iter::successors(Some(end.id().clone()), above);
        up.take_while(|id| id != fork).collect()
    };
    let (mut adds, mut removes) = (Keys::new(), BTreeMap::new());
    let head = keys(group.head());
    let is_end = |end: &&EpochRef<'_>| !beside.iter().any(|epoch| epoch.parent() == Some(end.id()));
    for end in beside.iter().filter(is_end) {
        let mut fork = *end;
        while !fork.is_on_way() {
            fork = group.epoch(fork.parent().unwrap()).unwrap();
        }
        let lost = path(*end, fork.id());
        let won = path(group.head(), fork.id());
        // Whom the lost branch removed, or added, last; who came by itself was not added.
        let (mut before, mut gone, mut came) = (keys(fork), Keys::new(), Keys::new());
        for id in lost.iter().rev() {
            let epoch = group.epoch(id).unwrap();
            let now = keys(epoch);
            for key in before.difference(&now) {
                came.remove(key);
                gone.insert(key.clone());
            }
            for added in &epoch.commit().unwrap().added {
                let key = added.member.signature_key.as_bytes().to_vec();
                gone.remove(&key);
                came.insert(key);
            }
            before = now;
        }
        // Whom the winner removed at any time; and who committed there.
        let (mut before, mut decided, mut active) = (keys(fork), Keys::new(), Keys::new());
        for id in won.iter().rev() {
            let epoch = group.epoch(id).unwrap();
            let now = keys(epoch);
            decided.extend(before.difference(&now).cloned());
            let committer = epoch.commit().unwrap().committer;
            let committer = epoch.members().unwrap().into_iter().find(|member| member.leaf == committer);
            active.insert(committer.unwrap().signature_key.as_bytes().to_vec());
            before = now;
        }
        for key in gone.into_iter().filter(|key| head.contains(key) && !decided.contains(key)) {
            let is_active = active.contains(&key);
            removes.insert(key, is_active);
        }
        let new = came.difference(&keys(fork)).cloned().collect::<Keys>();
        adds.extend(new.into_iter().filter(|key| !head.contains(key) && !decided.contains(key)));
    }
    let found_adds = found.adds.iter().map(|added| added.member.signature_key.as_bytes().to_vec());
    assert_eq!(found_adds.collect::<Keys>(), adds);
    let found_removes = found.removes.iter();
    let found_removes =
        found_removes.map(|gone| (gone.member.signature_key.as_bytes().to_vec(), gone.active));
    assert_eq!(found_removes.collect::<BTreeMap<_, _>>(), removes);
    found
}

type Keys = BTreeSet<Vec<u8>>;

/// The network is whole again: one commit, and one epoch is left.
fn heal(world: &mut World<'_>) {
    let head = world.actors[1].client.group.head().id().clone();
    let rng = &mut *world.rng;
    let mut clients: Vec<&mut Client> = world.actors.iter_mut().map(|actor| &mut actor.client).collect();
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
