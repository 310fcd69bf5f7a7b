//! What must hold when a world has been mended (federation.md s4.1).

use std::collections::{BTreeMap, BTreeSet};

use dmls::CommitId;

use crate::registry::{Person, Registry};
use crate::world::{Step, Violation, World};

/// The last final commit of the world.
fn last_final(world: &World) -> CommitId {
    let registry = world.registry.borrow();
    let last = world.finals.iter().max_by_key(|id| registry.path(id).len());
    last.cloned().unwrap_or_else(|| world.genesis.clone())
}

/// Whether a client must come back by an external commit.
pub fn has_lost_the_way(world: &World, person: Person) -> bool {
    let client = &world.clients[person];
    if client.nature.is_evil {
        return false;
    }
    let is_off = world.status(world.home(person)).is_some_and(|status| !client.tree.contains(&status.head()));
    client.is_stranded || client.is_lost || client.is_provisional && !client.had.is_empty() && is_off
}

/// An honest member that is on the head of servers which have members there.
pub fn who_can_commit(world: &World) -> Option<Person> {
    let registry = world.registry.borrow();
    (0..world.clients.len()).find(|person| {
        let home = world.home(*person);
        let Some(head) = world.status(home).map(|status| status.head()) else { return false };
        world.clients[*person].is_sound()
            && registry.get(&head).members.contains(person)
            && world.works_at(*person).is_some_and(|epoch| registry.get(&epoch).members.contains(person))
    })
}

/// All of them.
pub fn all(world: &mut World) -> Step {
    let (finals, commits) = (world.finals.len() as u64, certified(world).len() as u64);
    *world.rare.entry("final").or_default() += finals - 1;
    *world.rare.entry("certified").or_default() += commits - 1;
    count_rare(world);
    one_chain(world)?;
    highest_tags(world)?;
    no_fork_without_split(world)?;
    few_children(world)?;
    if !is_outvoted(world) {
        members(world)?;
        servers(world)?;
    }
    messages(world)
}

/// What can be counted when all is over.
fn count_rare(world: &mut World) {
    let certified = certified(world);
    let registry = world.registry.borrow();
    let mut rare = Vec::new();
    let failed: BTreeSet<_> = world
        .clients
        .iter()
        .flat_map(|client| &client.said)
        .filter(|(_, is_ok)| !is_ok)
        .map(|(id, _)| id.clone())
        .collect();
    for id in &failed {
        let is_final = world.finals.iter().any(|last| registry.is_ancestor(id, last));
        rare.push(if is_final { "final in spite of a Failed" } else { "left behind for a Failed" });
    }
    for id in &certified {
        let Some(parent) = &registry.get(id).parent else { continue };
        let (before, after) = (registry.servers(parent), registry.servers(id));
        if !after.is_subset(&before) {
            rare.push("server came");
        }
        if !before.is_subset(&after) {
            rare.push("server went");
            let siblings =
                certified.iter().filter(|other| registry.get(other).parent.as_ref() == Some(parent));
            let gone = &before - &after;
            let gone_there = |other| &before - &registry.servers(other);
            if siblings.map(gone_there).any(|other| !other.is_empty() && other.is_disjoint(&gone)) {
                rare.push("each side removed servers of the other");
            }
        }
    }
    drop(registry);
    rare.into_iter().for_each(|what| world.count(what));
}

/// J1, once more over everything.
fn one_chain(world: &World) -> Step {
    let registry = world.registry.borrow();
    if is_chain(&registry, &world.finals) { Ok(()) } else { Err(Violation::FinalFork) }
}

/// J1 of commits: of any two one is the other or descends from it.
pub fn is_chain(registry: &Registry, finals: &BTreeSet<CommitId>) -> bool {
    let last = finals.iter().max_by_key(|id| registry.path(id).len());
    last.is_none_or(|last| finals.iter().all(|id| registry.is_ancestor(id, last)))
}

/// What some server has certified.
fn certified(world: &World) -> BTreeSet<CommitId> {
    let all = (0..world.machines.len()).filter_map(|server| world.status(server));
    all.flat_map(|status| status.certified().cloned().collect::<Vec<_>>()).collect()
}

/// J2, where nothing was blocked and no server forgot anything.
fn highest_tags(world: &World) -> Step {
    let registry = world.registry.borrow();
    let is_plain = world.clients.iter().all(|client| client.said.iter().all(|(_, is_ok)| *is_ok));
    if !is_plain || world.rare.contains_key("backup restored") {
        return Ok(());
    }
    let is_highest = is_highest(&registry, &last_final(world), &certified(world));
    if is_highest { Ok(()) } else { Err(Violation::FinalIsNotHighest) }
}

/// J2 of commits: on the way to a final one each has the highest tag of its certified siblings.
pub fn is_highest(registry: &Registry, last: &CommitId, certified: &BTreeSet<CommitId>) -> bool {
    registry.path(last).iter().all(|id| {
        let made = registry.get(id);
        let siblings = certified.iter().map(|other| (other, registry.get(other)));
        let mut siblings =
            siblings.filter(|(_, other)| other.parent.is_some() && other.parent == made.parent);
        !siblings.any(|(other, sibling)| (sibling.tag, other) > (made.tag, id))
    })
}

/// J4.
fn no_fork_without_split(world: &mut World) -> Step {
    let certified = certified(world);
    let registry = world.registry.borrow();
    let parents: Vec<_> = certified.iter().filter_map(|id| registry.get(id).parent.clone()).collect();
    let forks = parents.len() - parents.iter().collect::<BTreeSet<_>>().len();
    drop(registry);
    if forks > 0 {
        world.count("fork");
    }
    let was_quiet = !world.split_ever && !world.config.splits && world.config.wrong_views == 0;
    if forks > 0 && was_quiet { Err(Violation::ForkWithoutSplit) } else { Ok(()) }
}

/// J8: a server leads one living child of an epoch, and one blocked one of each committer, except those that rule 9 lets a banned
/// committer make. Asked where no server has forgotten what it led.
fn few_children(world: &World) -> Step {
    if world.rare.contains_key("backup restored") {
        return Ok(());
    }
    let registry = world.registry.borrow();
    let failed = |commit: &CommitId| {
        let said = (commit.clone(), false);
        let clients = world.clients.iter().filter(move |client| client.said.contains(&said));
        clients.map(|client| client.me)
    };
    let mut children = BTreeMap::<CommitId, Vec<CommitId>>::new();
    for id in certified(world) {
        if let Some(parent) = &registry.get(&id).parent {
            children.entry(parent.clone()).or_default().push(id);
        }
    }
    for (parent, children) in children {
        let banned: BTreeSet<_> = children.iter().filter(|id| failed(id).next().is_some()).collect();
        let banned: BTreeSet<_> = banned.into_iter().map(|id| registry.get(id).committer).collect();
        let is_exempt = |id: &CommitId| {
            let made = registry.get(id);
            let removes = |other: &CommitId| failed(other).any(|person| !made.members.contains(&person));
            let own = |other: &&CommitId| registry.get(other).committer == made.committer && *other != id;
            made.is_external || children.iter().filter(own).any(removes)
        };
        let counted = children.iter().filter(|id| !is_exempt(id)).count();
        if counted > registry.servers(&parent).len() + banned.len() {
            return Err(Violation::TooManyChildren);
        }
    }
    Ok(())
}

fn honest_at(world: &World, epoch: &CommitId) -> Vec<Person> {
    let members = world.registry.borrow().get(epoch).members.clone();
    members
        .into_iter()
        .filter(|person| !world.clients[*person].nature.is_evil && !world.clients[*person].is_lost)
        .collect()
}

/// "If at least as many dishonest as honest members answer, they decide" (federation.md s4.2): then nothing can be promised. Who is not on
/// the head can't answer; that includes those whose own coming back was blocked by a liar.
fn is_outvoted(world: &World) -> bool {
    let last = last_final(world);
    let members = world.registry.borrow().get(&last).members.clone();
    let evil = members.iter().filter(|person| world.clients[**person].nature.is_evil).count();
    let sound = world.sound_before.intersection(&members).count();
    evil > 0
        && (world.config.says_failed && sound <= evil
            || world.config.colludes && honest_at(world, &last).len() <= evil)
}

/// Every honest member is on the final chain, and the group goes on.
fn members(world: &World) -> Step {
    let last = last_final(world);
    let honest = honest_at(world, &last);
    let is_in = |person: &Person| {
        let client = &world.clients[*person];
        client.finalized == last && client.tree.contains(&last)
    };
    if !honest.is_empty() && !honest.iter().any(is_in) {
        return Err(Violation::Bricked);
    }
    // Where policy lets nobody come back, who is stranded stays behind (federation.md s4.2).
    let is_stranded = |person: &Person| !world.config.returns && world.clients[*person].is_stranded;
    if !honest.iter().all(|person| is_in(person) || is_stranded(person)) {
        return Err(Violation::MemberLeftBehind);
    }
    if who_can_commit(world).is_some() && !world.went_on { Err(Violation::CannotGoOn) } else { Ok(()) }
}

/// J3: one head, and it is final; nothing is kept any more.
fn servers(world: &World) -> Step {
    let last = last_final(world);
    let servers = world.registry.borrow().servers(&last);
    for server in servers {
        let server = server.0 as usize;
        let Some(status) = world.status(server) else { continue };
        if *status.finalized() != last {
            return Err(Violation::NotConverged);
        }
        if status.head() != last && who_can_commit(world).is_some() {
            return Err(Violation::NotFinal);
        }
        if status.flushed() != status.finalized() {
            return Err(Violation::FlushDoesNotComplete);
        }
    }
    if world.outboxes_len() > 0 { Err(Violation::OutboxStuck) } else { Ok(()) }
}

/// J7: what was accepted and is on the final chain is read by all who are still there.
fn messages(world: &World) -> Step {
    let last = last_final(world);
    let registry = world.registry.borrow();
    let members = &registry.get(&last).members;
    for (name, post) in &world.posts {
        if !registry.is_ancestor(&post.epoch, &last) {
            continue;
        }
        // A home that came back from a backup may have lost what was sent before.
        let has_gap = |home: usize| world.gaps.get(&home).is_some_and(|until| post.number < *until);
        for person in post.to.intersection(members) {
            let client = &world.clients[*person];
            let is_excused = !client.is_sound() || has_gap(world.home(*person)) || has_gap(post.home);
            if !is_excused && client.had.contains(&post.epoch) && !client.read.contains(name) {
                return Err(Violation::MessageLost);
            }
        }
    }
    Ok(())
}
