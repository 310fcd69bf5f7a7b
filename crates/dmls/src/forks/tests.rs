//! The graph against one that is searched from the top each time.

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert_eq, proptest};
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
            let choice = match first {
                true => ForkChoice::RemovalsFirst { of_each: 1 + u16::from(tag % 3) },
                false => ForkChoice::HighestConfirmationTag,
            };
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

/// Some epochs are names only; the others are never forgotten.
fn is_name(key: usize) -> bool {
    key % 4 != 3
}

/// What the graph must show, searched from the top each time.
#[derive(Clone)]
struct Naive<'a> {
    plans: &'a [Plan],
    here: BTreeSet<usize>,
    dead_ends: BTreeSet<usize>,
    finals: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    anchor: usize,
}

impl Naive<'_> {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Insert(key) => drop(self.here.insert(key)),
            Event::DeadEnd(place) => drop(self.dead_ends.insert(place)),
            Event::Finalize(place) => drop(self.finals.insert(place)),
            Event::Block(place) => drop(self.blocked.insert(place)),
            Event::Unblock(place) => drop(self.blocked.remove(&place)),
            Event::BeginAt(key) => self.anchor = key,
            Event::Forget(_) => {}
        }
    }

    fn forget(&mut self, gone: &[usize]) {
        let start = self.start();
        self.anchor = if gone.contains(&start) { self.choose(start).unwrap() } else { start };
        for key in gone {
            self.here.remove(key);
            self.dead_ends.retain(|place| self.plans[*place].parent != Some(*key));
            self.finals.remove(key);
        }
    }

    /// Whether something happens to what was forgotten, or right beside it, or the way begins elsewhere.
    fn touches(&self, event: Event, forgotten: &BTreeSet<usize>) -> bool {
        let above = |place: usize| std::iter::successors(Some(place), |place| self.plans[*place].parent);
        match event {
            Event::Insert(place) if forgotten.iter().any(|gone| above(*gone).any(|at| at == place)) => true,
            Event::Insert(place)
            | Event::DeadEnd(place)
            | Event::Finalize(place)
            | Event::Block(place)
            | Event::Unblock(place) => above(place).take(2).any(|at| forgotten.contains(&at)),
            Event::BeginAt(_) => true,
            Event::Forget(_) => false,
        }
    }

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
        let plan = |edge: &usize| &self.plans[*edge].edge;
        let is_counted = |edge: &usize| match self.plans[at].choice {
            ForkChoice::RemovalsFirst { of_each } => {
                let order = |edge: &usize| (plan(edge).tag.clone(), plan(edge).commit.clone());
                let is_above = |other: &&usize| {
                    plan(other).committer == plan(edge).committer && order(other) > order(edge)
                };
                all.iter().filter(is_above).count() < usize::from(of_each)
            }
            _ => true,
        };
        let open = all.iter().copied().filter(is_counted).filter(|edge| !self.blocked.contains(edge));
        let candidates: Vec<_> = if finals.is_empty() { open.collect() } else { finals };
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

/// The last epoch on the way that is more than a name.
fn last_kept(way: &[usize]) -> Option<usize> {
    way.iter().copied().rfind(|key| !is_name(*key))
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
    // One who never forgets, as long as nothing happens to what the other forgot.
    let mut remembering = Some(naive.clone());
    let mut forgotten = BTreeSet::new();
    for event in events {
        let end = forks.end().clone();
        let predicted = match *event {
            Event::Insert(key) if naive.here.contains(&key) => continue,
            Event::Insert(key) => {
                let parent = plans[key].parent;
                let end = parent.map(|parent| forks.end_with_child(&parent, &key, vertex(&plans[key], ())));
                forks.insert(key, vertex(&plans[key], ()));
                end.unwrap_or_else(|| forks.end().clone())
            }
            Event::DeadEnd(place) => {
                let (parent, edge) = (plans[place].parent.unwrap(), plans[place].edge.clone());
                if naive.dead_ends.contains(&place) || !naive.here.contains(&parent) {
                    continue;
                }
                let end = forks.end_after(|forks| forks.add_dead_end(&parent, edge.clone()));
                forks.add_dead_end(&parent, edge);
                end
            }
            Event::Finalize(place) => {
                let end = forks.end_after(|forks| forks.finalize(&plans[place].edge.commit));
                forks.finalize(&plans[place].edge.commit);
                end
            }
            Event::Block(place) => {
                let end = forks.end_after(|forks| forks.block(&plans[place].edge.commit));
                forks.block(&plans[place].edge.commit);
                end
            }
            Event::Unblock(place) => {
                let end = forks.end_after(|forks| forks.unblock(&plans[place].edge.commit));
                forks.unblock(&plans[place].edge.commit);
                end
            }
            Event::BeginAt(key) if naive.here.contains(&key) => {
                let end = forks.end_after(|forks| forks.begin_at(&key));
                forks.begin_at(&key);
                end
            }
            Event::BeginAt(_) => continue,
            Event::Forget(key) => {
                let gone = forgettable(&forks, key);
                // Both of two branches that exclude each other were final, or it is not connected with where we are.
                let is_loser_final = |key: &usize| forks.is_final(key) && !forks.is_on_way(key);
                if gone.iter().any(|key| is_loser_final(key) || !forks.is_above(forks.start(), key)) {
                    remembering = None;
                }
                naive.forget(&gone);
                for key in &gone {
                    forks.forget(key);
                }
                forgotten.extend(gone);
                end
            }
        };
        naive.happens(*event);
        compare(&forks, &naive)?;
        prop_assert_eq!(forks.end(), &predicted, "as predicted of {:?}", event);
        if naive.touches(*event, &forgotten) {
            remembering = None;
        }
        if let Some(remembering) = &mut remembering {
            remembering.happens(*event);
            let (kept, all) = (last_kept(&naive.way().0), last_kept(&remembering.way().0));
            prop_assert_eq!(kept, all, "what was forgotten decides no more");
        }
    }
    Ok(())
}

/// What would go with an epoch, and it; nothing if it can't go.
fn forgettable(forks: &Forks<usize, ()>, key: usize) -> Vec<usize> {
    let is_name = |key: &usize, (): &()| is_name(*key);
    let oldest = forks.forgettable_chain(is_name).next().filter(|(oldest, _)| **oldest == key);
    if let Some((_, losers)) = oldest {
        return losers.into_iter().copied().chain([key]).collect();
    }
    if is_name(&key, &()) && forks.is_forgettable(&key, is_name) { vec![key] } else { Vec::new() }
}

#[test]
fn what_is_blocked_takes_its_part_of_what_counts_of_its_committer() {
    let choice = ForkChoice::RemovalsFirst { of_each: 1 };
    let plan = |place: u8, committer: u32, removes: &[u32]| {
        let edge = Edge {
            commit: vec![place; 4].into(),
            tag: vec![place; 4].into(),
            committer: Some(LeafIndex(committer)),
            removes: removes.iter().copied().map(LeafIndex).collect(),
        };
        Vertex::new(Some(0), 1, edge, choice, ())
    };
    let root = Vertex::new(None, 0, plan(0, 0, &[]).edge, choice, ());
    let mut forks = Forks::new(0, root);
    // Had the lower one come last, it would not have been processed: so it must not count if it came first.
    for (key, vertex) in [(1, plan(1, 0, &[1])), (2, plan(2, 1, &[])), (3, plan(3, 0, &[]))] {
        forks.insert(key, vertex);
    }
    assert_eq!(forks.end().key, 3);
    forks.block(&vec![3; 4].into());
    assert_eq!(forks.end().key, 2);
}

#[test]
fn a_loser_stays_as_long_as_the_way_may_come_to_one_that_it_beats() {
    let vertex = |parent: Option<usize>, place: usize| {
        let edge = Edge {
            commit: vec![place as u8; 4].into(),
            tag: vec![place as u8; 4].into(),
            committer: None,
            removes: Vec::new(),
        };
        let number = if parent.is_some() { 1 } else { 0 };
        Vertex::new(parent, number, edge, ForkChoice::HighestConfirmationTag, ())
    };
    let mut forks = Forks::new(0, vertex(None, 0));
    [1, 2, 4].into_iter().for_each(|key| forks.insert(key, vertex(Some(0), key)));
    let is_name = |key: &usize, (): &()| *key != 1;
    // Were the winner blocked, the way would end at a name, and not at the one that can still be followed.
    assert!(!forks.is_forgettable(&2, is_name));
    assert!(forks.is_forgettable(&2, |_, ()| true));
    assert!(!forks.is_forgettable(&4, |_, ()| true), "it is on the way");
}

proptest! {
    // Some of what can go wrong is rare.
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_way_is_what_a_search_from_the_top_finds(
        plans in plans(), first in 0..VERTICES, events in events()
    ) {
        follow(&plans, first, &events)?;
    }
}
