//! One world from its seed: something happens, a while; then all is mended, and it must come together.

use std::collections::{BTreeMap, BTreeSet};

use dmls_delivery::testing::Mutant;

use crate::checks;
use crate::config::Config;
use crate::dice::Dice;
use crate::picture;
use crate::world::{Step, Violation, World};

/// How a world ended.
pub struct Outcome {
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
    /// How often each rare thing happened.
    pub rare: BTreeMap<&'static str, u64>,
    /// What happened, if that was asked for.
    pub log: Vec<String>,
    /// The same, drawn: an SVG file.
    pub picture: Option<String>,
}

/// The events of a seed.
pub fn events(seed: u64, steps: usize) -> Vec<u64> {
    let mut dice = Dice::new(seed ^ 0x5eed);
    (0..steps).map(|_| dice.number()).collect()
}

/// Runs a world.
pub fn run(seed: u64, config: Config, mutant: Option<Mutant>, events: &[u64], logs: bool) -> Outcome {
    let mut world = World::new(seed, config, mutant);
    world.log = logs.then(Vec::new);
    world.moments = logs.then(Vec::new);
    let violation = live(&mut world, seed, events).err();
    let picture = world.moments.map(|moments| {
        let end = violation.as_ref().map_or_else(|| "no violation".to_owned(), ToString::to_string);
        let title = format!("Seed {seed} ({}), {} events: {end}", config.name, events.len());
        picture::svg(&title, world.machines.len(), &moments)
    });
    Outcome { violation, rare: world.rare, log: world.log.unwrap_or_default(), picture }
}

fn live(world: &mut World, seed: u64, events: &[u64]) -> Step {
    events.iter().try_for_each(|event| world.happen(*event))?;
    world.dice = Dice::new(seed);
    go_on_in_a_split(world)?;
    repair(world)?;
    checks::all(world)
}

/// While a split lasts, a side whose members are all there must be able to commit.
fn go_on_in_a_split(world: &mut World) -> Step {
    let has_trouble = world.clients.iter().any(|client| client.nature.is_evil || client.is_lost);
    if has_trouble || world.has_wrong_views {
        return Ok(());
    }
    (0..world.machines.len()).try_for_each(|server| world.boot(server))?;
    world.clients.iter_mut().for_each(|client| client.is_online = true);
    let side: Vec<_> = (0..world.machines.len())
        .filter(|server| world.parts[*server] == world.parts[0] && !world.is_recovering(*server))
        .collect();
    if side.is_empty() || side.len() == world.machines.len() {
        return Ok(());
    }
    world.drop_stuck();
    for _ in 0..4 {
        turn(world, &side)?;
    }
    let certified = |world: &World| -> usize {
        side.iter().filter_map(|server| world.status(*server)).map(|status| status.certified().count()).sum()
    };
    let before = certified(world);
    let able: Vec<_> = (0..world.clients.len())
        .filter(|person| {
            let home = world.home(*person);
            let Some(head) =
                side.contains(&home).then(|| world.status(home)).flatten().map(|status| status.head())
            else {
                return false;
            };
            let is_member = world.registry.borrow().get(&head).members.contains(person);
            is_member && world.works_at(*person) == Some(head) && world.clients[*person].is_sound()
        })
        .collect();
    for person in &able {
        for _ in 0..3 {
            world.commit(*person, true, &BTreeSet::new())?;
            turn(world, &side)?;
        }
    }
    if !able.is_empty() && certified(world) == before { Err(Violation::SideCannotGoOn) } else { Ok(()) }
}

/// Each of some servers leads once, and their clients read and answer.
fn turn(world: &mut World, side: &[usize]) -> Step {
    for server in side {
        world.pass(4_000);
        for recovering in 0..world.machines.len() {
            if world.is_recovering(recovering) {
                world.input(recovering, dmls_delivery::Input::GoOnRecovering(crate::world::GROUP))?;
            }
        }
        world.start(*server)?;
        world.drain(3_000)?;
        world.pump()?;
        world.drain(3_000)?;
    }
    Ok(())
}

/// All is mended; who lost the way comes back; somebody honest commits.
pub(crate) fn repair(world: &mut World) -> Step {
    world.mend()?;
    let all: Vec<_> = (0..world.machines.len()).collect();
    for _ in 0..9 {
        turn(world, &all)?;
        turn(world, &all)?;
    }
    if all.iter().any(|server| world.is_recovering(*server)) {
        return Err(Violation::StillRecovering);
    }
    world.sound_before = (0..world.clients.len())
        .filter(|person| world.clients[*person].is_sound() && world.works_at_head(*person))
        .collect();
    for _ in 0..3 {
        for person in 0..world.clients.len() {
            if checks::has_lost_the_way(world, person) {
                world.resync(person)?;
                turn(world, &all)?;
            }
        }
    }
    let before = world.finals.len();
    let evil: BTreeSet<_> =
        world.clients.iter().filter(|client| client.nature.is_evil).map(|client| client.me).collect();
    for attempt in 0..4 {
        let Some(person) = checks::who_can_commit(world) else { break };
        if world.finals.len() > before {
            break;
        }
        let removes = if attempt > 1 { evil.clone() } else { BTreeSet::new() };
        world.commit(person, true, &removes)?;
        turn(world, &all)?;
        turn(world, &all)?;
    }
    // What became final in the last turn is flushed in one more.
    turn(world, &all)?;
    world.went_on = world.finals.len() > before;
    Ok(())
}
