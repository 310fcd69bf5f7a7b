//! The graph against one that is searched from the top each time.

use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;

use super::*;

/// What happens to the graph. Vertices are named by their places in the list of all; dead ends by places after it.
#[derive(Clone, Copy, Debug)]
enum Event {
    Insert(usize),
    DeadEnd(usize),
    Finalize(usize),
    Block(usize),
    Unblock(usize),
    Forget(usize),
    BeginAt(usize),
}

/// An epoch, or a commit that leads out, as a case describes it: all there can be are known before anything happens.
#[derive(Clone, Debug)]
struct Plan {
    parent: Option<usize>,
    number: u64,
    edge: Edge,
    choice: ForkChoice,
}

const VERTICES: usize = 9;
const ALL: usize = VERTICES + 3;

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let one = (any::<u16>(), any::<u8>(), any::<bool>(), prop::option::of(0..4_u32), 0..4_u32, any::<bool>());
    prop::collection::vec(one, ALL).prop_map(|all| {
        let mut plans: Vec<Plan> = Vec::new();
        for (place, (parent, tag, first, committer, removed, removes)) in all.into_iter().enumerate() {
            // Half of them in one fork, near the end of what there is.
            let parent =
                place.min(VERTICES).checked_sub(1).map(|last| last - usize::from(parent) % (last + 1).min(3));
            let edge = Edge {
                commit: vec![place as u8; 4].into(),
                tag: vec![tag; 4].into(),
                committer: committer.map(LeafIndex),
                removes: if removes { vec![LeafIndex(removed)] } else { Vec::new() },
            };
            let choice = if first { ForkChoice::RemovalsFirst } else { ForkChoice::HighestConfirmationTag };
            let number = parent.map_or(0, |parent: usize| plans[parent].number + 1);
            plans.push(Plan { parent, number, edge, choice });
        }
        plans
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop::strategy::Union::new_weighted(vec![
        (10, (0..VERTICES).prop_map(Event::Insert).boxed()),
        (2, (VERTICES..ALL).prop_map(Event::DeadEnd).boxed()),
        (1, (0..ALL).prop_map(Event::Finalize).boxed()),
        (2, (0..ALL).prop_map(Event::Block).boxed()),
        (1, (0..ALL).prop_map(Event::Unblock).boxed()),
        (3, (0..VERTICES).prop_map(Event::Forget).boxed()),
        (1, (0..VERTICES).prop_map(Event::BeginAt).boxed()),
    ]);
    prop::collection::vec(event, 1..40)
}

/// What the graph must show, searched from the top each time.
struct Naive<'a> {
    plans: &'a [Plan],
    here: BTreeSet<usize>,
    dead_ends: BTreeSet<usize>,
    finals: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    anchor: usize,
}

impl Naive<'_> {
    fn edges(&self, at: usize) -> Vec<usize> {
        let edges = self.here.iter().chain(&self.dead_ends).copied();
        edges.filter(|edge| self.plans[*edge].parent == Some(at)).collect()
    }

    fn is_final(&self, edge: usize) -> bool {
        self.finals.contains(&edge)
            || (edge < VERTICES && self.edges(edge).into_iter().any(|edge| self.is_final(edge)))
    }

    fn choose(&self, at: usize) -> Option<usize> {
        let all = self.edges(at);
        let finals: Vec<_> = all.iter().copied().filter(|edge| self.is_final(*edge)).collect();
        let candidates: Vec<_> = match finals.is_empty() {
            true => all.into_iter().filter(|edge| !self.blocked.contains(edge)).collect(),
            false => finals,
        };
        let compared: Vec<_> = candidates.iter().map(|edge| self.plans[*edge].edge.candidate()).collect();
        self.plans[at].choice.choose(&compared).map(|place| candidates[place])
    }

    fn start(&self) -> usize {
        let mut at = self.anchor;
        while let Some(parent) = self.plans[at].parent.filter(|parent| self.here.contains(parent)) {
            at = parent;
        }
        at
    }

    fn way(&self) -> (Vec<usize>, Option<usize>) {
        let mut way = vec![self.start()];
        loop {
            match self.choose(way[way.len() - 1]) {
                Some(next) if next < VERTICES => way.push(next),
                dead_end => return (way, dead_end),
            }
        }
    }
}

fn vertex<N>(plan: &Plan, value: N) -> Vertex<usize, N> {
    Vertex::new(plan.parent, plan.number, plan.edge.clone(), plan.choice, value)
}

fn compare(forks: &Forks<usize, ()>, naive: &Naive<'_>) -> Result<(), TestCaseError> {
    let (way, dead_end) = naive.way();
    let marked: BTreeSet<_> = (0..VERTICES).filter(|key| forks.is_on_way(key)).collect();
    prop_assert_eq!(marked, way.iter().copied().collect::<BTreeSet<_>>());
    let dead_end = dead_end.map(|place| naive.plans[place].edge.commit.clone());
    prop_assert_eq!(forks.end(), &WayEnd { key: way[way.len() - 1], dead_end });
    prop_assert_eq!(*forks.start(), naive.start());
    for key in &naive.here {
        prop_assert_eq!(forks.is_final(key), naive.is_final(*key), "finality of {}", key);
    }
    Ok(())
}

fn follow(plans: &[Plan], first: usize, events: &[Event]) -> Result<(), TestCaseError> {
    let mut forks = Forks::new(first, vertex(&plans[first], ()));
    let mut naive = Naive {
        plans,
        here: [first].into(),
        dead_ends: BTreeSet::new(),
        finals: BTreeSet::new(),
        blocked: BTreeSet::new(),
        anchor: first,
    };
    for event in events {
        let predicted = match *event {
            Event::Insert(key) if !naive.here.contains(&key) => {
                let parent = plans[key].parent;
                let end = parent.map(|parent| forks.end_with_child(&parent, &key, vertex(&plans[key], ())));
                forks.insert(key, vertex(&plans[key], ()));
                naive.here.insert(key);
                end
            }
            Event::DeadEnd(place)
                if !naive.dead_ends.contains(&place)
                    && plans[place].parent.is_some_and(|parent| naive.here.contains(&parent)) =>
            {
                let (parent, edge) = (plans[place].parent.unwrap(), plans[place].edge.clone());
                let end = forks.end_after(|forks| forks.add_dead_end(&parent, edge.clone()));
                forks.add_dead_end(&parent, edge);
                naive.dead_ends.insert(place);
                Some(end)
            }
            Event::Finalize(place) => {
                let end = forks.end_after(|forks| forks.finalize(&plans[place].edge.commit));
                forks.finalize(&plans[place].edge.commit);
                naive.finals.insert(place);
                Some(end)
            }
            Event::Block(place) => {
                let end = forks.end_after(|forks| forks.block(&plans[place].edge.commit));
                forks.block(&plans[place].edge.commit);
                naive.blocked.insert(place);
                Some(end)
            }
            Event::Unblock(place) => {
                let end = forks.end_after(|forks| forks.unblock(&plans[place].edge.commit));
                forks.unblock(&plans[place].edge.commit);
                naive.blocked.remove(&place);
                Some(end)
            }
            // With `RemovalsFirst` a branch that lost can still decide between others.
            Event::Forget(key)
                if forks.is_forgettable(&key)
                    && (forks.is_on_way(&key)
                        || plans[key].parent.is_none_or(|parent| {
                            !naive.here.contains(&parent)
                                || plans[parent].choice == ForkChoice::HighestConfirmationTag
                        })) =>
            {
                let end = forks.end().clone();
                let start = naive.start();
                naive.anchor = if start == key { naive.choose(key).unwrap() } else { start };
                forks.forget(&key);
                naive.here.remove(&key);
                naive.dead_ends.retain(|place| plans[*place].parent != Some(key));
                naive.finals.remove(&key);
                Some(end)
            }
            Event::BeginAt(key) if naive.here.contains(&key) => {
                let end = forks.end_after(|forks| forks.begin_at(&key));
                forks.begin_at(&key);
                naive.anchor = key;
                Some(end)
            }
            _ => None,
        };
        compare(&forks, &naive)?;
        if let Some(end) = predicted {
            prop_assert_eq!(forks.end(), &end, "as predicted of {:?}", event);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_way_is_what_a_search_from_the_top_finds(
        plans in plans(), first in 0..VERTICES, events in events()
    ) {
        follow(&plans, first, &events)?;
    }
}
