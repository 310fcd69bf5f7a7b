//! Breadth first, so that a history which goes wrong is as short as can be.

use std::collections::{HashSet, VecDeque};

use dmls_delivery::testing::Mutant;

use super::actions::Action;
use super::bounds::Bounds;
use super::heal::heal;
use super::invariants;
use super::model::{Model, State};
use crate::world::Violation;

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// States that differ.
    pub states: usize,
    /// How many events the longest history has.
    pub depth: usize,
    /// Whether all states were seen.
    pub is_complete: bool,
    /// The first thing that went wrong.
    pub found: Option<Found>,
}

/// What went wrong, and the shortest way there.
#[derive(Clone, Debug)]
pub struct Found {
    /// What.
    pub violation: Violation,
    /// The events, in order.
    pub history: Vec<String>,
}

/// How a state was reached.
struct Reached {
    from: u32,
    action: Option<Action>,
}

/// All states within bounds, or until something goes wrong, or until there are `at_most`.
pub fn search(bounds: Bounds, mutant: Option<Mutant>, at_most: usize) -> Report {
    search_with(bounds, mutant, at_most, &mut |_| {})
}

fn search_with(
    bounds: Bounds,
    mutant: Option<Mutant>,
    at_most: usize,
    visit: &mut dyn FnMut(&State),
) -> Report {
    let model = Model::new(bounds, mutant);
    let mut report = Report { states: 1, depth: 0, is_complete: true, found: None };
    let mut reached = vec![Reached { from: 0, action: None }];
    let Ok(init) = model.init() else { return report };
    let mut seen = HashSet::from([init.fingerprint()]);
    let mut healed = HashSet::new();
    let mut queue = VecDeque::from([(0, 0, init)]);
    while let Some((place, depth, state)) = queue.pop_front() {
        report.depth = depth;
        for action in model.actions(&state) {
            let next = match model.apply(&state, action) {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(violation) => {
                    reached.push(Reached { from: place, action: Some(action) });
                    report.found = Some(Found { violation, history: history(&model, &reached) });
                    report.states = seen.len();
                    return report;
                }
            };
            if !seen.insert(next.fingerprint()) {
                continue;
            }
            visit(&next);
            let number = reached.len() as u32;
            reached.push(Reached { from: place, action: Some(action) });
            let mut step = invariants::all(&model, &next);
            if step.is_ok() && bounds.heals && healed.insert(next.fingerprint_without_frames()) {
                step = heal(&model, &next);
            }
            if let Err(violation) = step {
                report.found = Some(Found { violation, history: history(&model, &reached) });
                report.states = seen.len();
                return report;
            }
            if seen.len() >= at_most {
                report.is_complete = false;
                report.states = seen.len();
                return report;
            }
            queue.push_back((number, depth + 1, next));
        }
    }
    report.states = seen.len();
    report
}

/// The way to the state that was reached last, played once more.
fn history(model: &Model, reached: &[Reached]) -> Vec<String> {
    let mut actions = Vec::new();
    let mut at = reached.len() - 1;
    while let Some(action) = reached[at].action {
        actions.push(action);
        at = reached[at].from as usize;
    }
    let mut texts = Vec::new();
    let mut state: Option<State> = model.init().ok();
    for action in actions.into_iter().rev() {
        let Some(before) = state.take() else { break };
        texts.push(model.text(&before, action));
        state = model.apply(&before, action).ok().flatten();
    }
    texts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dmls::CommitId;
    use dmls_delivery::testing::Glimpse;

    use super::*;
    use crate::exhaustive::bounds;
    use crate::exhaustive::model::GROUP;

    type Known = Vec<(BTreeSet<CommitId>, BTreeSet<CommitId>, CommitId)>;

    /// Of each server what is certified, voted for, and final.
    fn known(state: &State) -> Known {
        let servers = state.machines.iter().map(|machine| &machine.server);
        servers
            .filter_map(|server| {
                let (status, glimpse) = (server.group(&GROUP)?, Glimpse::of(server, &GROUP)?);
                let candidates = glimpse.candidates().map(|(commit, _)| commit.clone()).collect();
                Some((status.certified().cloned().collect(), candidates, status.finalized().clone()))
            })
            .collect()
    }

    fn all_known(bounds: Bounds) -> (BTreeSet<Known>, usize) {
        let mut all = BTreeSet::new();
        let report = search_with(bounds, None, 2_000_000, &mut |state| {
            all.insert(known(state));
        });
        assert!(report.found.is_none() && report.is_complete, "{:?}", report.found);
        (all, report.states)
    }

    fn show<'a>(known: impl Iterator<Item = &'a Known>) -> Vec<String> {
        known.take(3).map(|known| format!("{known:?}")).collect()
    }

    /// Everything that servers can come to know they come to know with the reductions, too.
    #[test]
    fn reductions_lose_nothing() {
        for (name, ballots, commits) in [("two-kick", 2, 2), ("two-restart", 2, 1), ("three", 1, 2)] {
            let bounds = Bounds { ballots, commits, ..bounds(name).expect("its name") };
            let (reduced, states) = all_known(bounds);
            let (full, of) = all_known(Bounds { is_reduced: false, ..bounds });
            println!(
                "{name}: {states} of {of} states, {} and {} of what servers know",
                reduced.len(),
                full.len()
            );
            assert!(
                reduced == full,
                "{name}: {:#?} only with, {:#?} only without",
                show(reduced.difference(&full)),
                show(full.difference(&reduced))
            );
        }
    }
}
