//! Ways through the network: an edge counts only if both ends list it, and the shortest way is taken (federation.md s3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::ServerId;

/// Whom each server lists as its neighbours.
pub(super) type Listed = BTreeMap<ServerId, BTreeSet<ServerId>>;

/// The shortest way, both ends included; of equal ones that of the lowest relays. It has no server twice. What is to be avoided does not
/// relay; if it is the end itself, the direct link is not taken.
pub(super) fn shortest(
    listed: &Listed,
    from: ServerId,
    to: ServerId,
    avoid: &BTreeSet<ServerId>,
) -> Option<Vec<ServerId>> {
    let lists = |one: ServerId, other: ServerId| listed.get(&one).is_some_and(|all| all.contains(&other));
    let mut came_from = BTreeMap::from([(from, from)]);
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for step in listed.get(&at).into_iter().flatten().copied().filter(|step| lists(*step, at)) {
            let is_avoided = avoid.contains(&step) && (step != to || at == from);
            if is_avoided || came_from.contains_key(&step) {
                continue;
            }
            came_from.insert(step, at);
            if step == to {
                return Some(walk_back(&came_from, from, to));
            }
            next.push_back(step);
        }
    }
    None
}

fn walk_back(came_from: &BTreeMap<ServerId, ServerId>, from: ServerId, to: ServerId) -> Vec<ServerId> {
    let mut path = vec![to];
    let mut at = to;
    while at != from {
        at = came_from[&at];
        path.push(at);
    }
    path.reverse();
    path
}
