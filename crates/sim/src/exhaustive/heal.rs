//! J3: the network is repaired, clients say what they think, everybody starts ballots; then all are on one head, it is final, and
//! the group goes on.

use super::commits::Kind;
use super::model::{GROUP, Model, State, head, is_certified};
use crate::world::{Step, Violation};

/// Ballots of each server until it must have come together.
const ROUNDS: usize = 8;

/// Frames under way are lost, rows of outboxes arrive.
pub fn heal(model: &Model, from: &State) -> Step {
    let mut state = from.clone();
    state.net.retain(|flying| flying.is_parcel());
    settle(model, &mut state)?;
    come_together(model, &mut state)?;
    // Who made a commit that is blocked may have to leave it to others.
    let mut able = (0..model.bounds.servers).filter(|server| model.works(&state, *server)).peekable();
    if able.peek().is_none() {
        return Ok(());
    }
    for server in able.collect::<Vec<_>>() {
        let before = head(&state, server);
        model.submit(&mut state, server, Kind::Keep)?;
        come_together(model, &mut state)?;
        if head(&state, server) != before {
            return Ok(());
        }
    }
    Err(Violation::CannotGoOn)
}

fn come_together(model: &Model, state: &mut State) -> Step {
    let all = (1 << model.bounds.servers) - 1;
    let mut last = Err(Violation::NotConverged);
    for _ in 0..ROUNDS {
        for server in 0..model.bounds.servers {
            let number = highest(state) + 1;
            model.start(state, server, all, number)?;
            settle(model, state)?;
        }
        last = is_together(model, state);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Everything arrives, and everybody says something of everything.
fn settle(model: &Model, state: &mut State) -> Step {
    while let Some(flying) = state.net.first().cloned() {
        model.deliver(state, &flying, false)?;
    }
    if model.bounds.has_witnesses {
        for commit in state.commits.clone() {
            for server in 0..model.bounds.servers {
                if is_certified(state, server, &commit) {
                    model.testify(state, server, &commit)?;
                }
            }
        }
    }
    Ok(())
}

fn highest(state: &State) -> u64 {
    let glimpses = state.machines.iter();
    let glimpses =
        glimpses.filter_map(|machine| dmls_delivery::testing::Glimpse::of(&machine.server, &GROUP));
    glimpses.map(|glimpse| glimpse.highest()).max().unwrap_or_default()
}

/// All servers of the last final epoch have it as their head.
fn is_together(model: &Model, state: &State) -> Step {
    let registry = model.registry.borrow();
    let finals = state.machines.iter().filter_map(|machine| machine.server.group(&GROUP));
    let last = finals.map(|status| status.finalized().clone()).max_by_key(|id| registry.path(id).len());
    let Some(last) = last else { return Ok(()) };
    for server in registry.servers(&last) {
        let Some(status) = state.machines[server.0 as usize].server.group(&GROUP) else { continue };
        if *status.finalized() != last {
            return Err(Violation::NotConverged);
        }
        if status.head() != last {
            return Err(Violation::NotFinal);
        }
    }
    Ok(())
}
