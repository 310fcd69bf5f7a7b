//! What must hold in each state (federation.md s4.1), by the same functions as in worlds from seeds where there are such.

use std::collections::BTreeSet;

use dmls::CommitId;
use dmls_delivery::testing::Glimpse;

use super::model::{GROUP, Model, State};
use crate::checks::{is_chain, is_highest};
use crate::registry::Registry;
use crate::world::{Step, Violation};

/// All of them.
pub fn all(model: &Model, state: &State) -> Step {
    let registry = model.registry.borrow();
    let statuses = || state.machines.iter().filter_map(|machine| machine.server.group(&GROUP));
    // What was certified or final at a server is so for ever: the states before this one need not be asked.
    let finals: BTreeSet<_> = statuses().map(|status| status.finalized().clone()).collect();
    let certified: BTreeSet<_> =
        statuses().flat_map(|status| status.certified().cloned().collect::<Vec<_>>()).collect();
    if !is_chain(&registry, &finals) {
        return Err(Violation::FinalFork);
    }
    heads_descend_from_finals(&registry, state)?;
    nobody_adds_a_ghost(&registry, state, &certified)?;
    finals_can_be_processed(&registry, &finals)?;
    if model.bounds.liar.is_none() {
        finals_are_highest(&registry, &finals, &certified)?;
    }
    Ok(())
}

/// J2: who lies about ballots can break it (s4.2), and a commit that nobody can process does not count.
fn finals_are_highest(
    registry: &Registry,
    finals: &BTreeSet<CommitId>,
    certified: &BTreeSet<CommitId>,
) -> Step {
    let sound = |id: &&CommitId| registry.path(id).iter().all(|id| registry.get(id).broken_for.is_empty());
    let certified = certified.iter().filter(sound).cloned().collect();
    let is_good = finals.iter().all(|last| is_highest(registry, last, &certified));
    if is_good { Ok(()) } else { Err(Violation::FinalIsNotHighest) }
}

/// Rule 9: a final commit can be processed by one of those who could say so and are still members.
fn finals_can_be_processed(registry: &Registry, finals: &BTreeSet<CommitId>) -> Step {
    for last in finals {
        let members = &registry.get(last).members;
        for id in registry.path(last) {
            let witnesses = registry.witnesses(&id);
            let mut here = witnesses.intersection(members).peekable();
            if here.peek().is_some() && here.all(|person| registry.get(&id).broken_for.contains(person)) {
                return Err(Violation::Bricked);
            }
        }
    }
    Ok(())
}

/// Final beats tag.
fn heads_descend_from_finals(registry: &Registry, state: &State) -> Step {
    let mut statuses = state.machines.iter().filter_map(|machine| machine.server.group(&GROUP));
    let is_good = statuses.all(|status| registry.is_ancestor(status.finalized(), &status.head()));
    if is_good { Ok(()) } else { Err(Violation::HeadLeavesFinal) }
}

/// s2: a commit that brings in a server takes part in a ballot with that server.
fn nobody_adds_a_ghost(registry: &Registry, state: &State, certified: &BTreeSet<CommitId>) -> Step {
    for id in certified {
        let Some(parent) = &registry.get(id).parent else { continue };
        let before = registry.servers(parent);
        for server in registry.servers(id).difference(&before) {
            let machine = &state.machines[server.0 as usize].server;
            let promised = Glimpse::of(machine, &GROUP).map(|glimpse| glimpse.promised().number);
            if promised == Some(0) {
                return Err(Violation::GhostServer);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dmls_delivery::testing::Mutant;

    use super::*;
    use crate::exhaustive::actions::Action;
    use crate::exhaustive::bounds;
    use crate::exhaustive::commits::Kind;

    /// No search ends with it: of two finals that are siblings one has not the highest tag, which shows before.
    #[test]
    fn two_sides_that_finalize_alone_are_noticed() {
        let model = Model::new(bounds("two-kick").expect("its name"), Some(Mutant::NaiveFinality));
        let mut state = model.init().expect("empty servers");
        for (server, number) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
            let view = 1 << server;
            let kind = if number == 1 { Kind::Only(view) } else { Kind::Keep };
            assert_ne!(all(&model, &state), Err(Violation::FinalFork));
            let action = Action::Start { server, view, number, submit: Some(kind) };
            state = model.apply(&state, action).expect("no alarm").expect("it can happen");
        }
        assert_eq!(all(&model, &state), Err(Violation::FinalFork));
    }
}
