//! Which groups have something to do, and when: at a pace, whatever their number (federation.md s4 rule 7).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupName, Millis, doubled};

/// So many groups are taken up together,
const BATCH: usize = 64;
/// and then nothing for so long.
const PAUSE: u64 = 100;
/// Who got nowhere tries again after this, then after twice that, and so on,
const FIRST: u64 = 1_000;
/// but not later than after this: others may have heard what we have not.
const LAST: u64 = 60_000;

#[derive(Clone, Copy, Debug)]
struct Place {
    at: Millis,
    tries: u32,
    tried: Option<Millis>,
}

/// Groups with work.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    places: BTreeMap<GroupName, Place>,
    order: BTreeSet<(Millis, GroupName)>,
    pause_until: Option<Millis>,
}

impl Agenda {
    /// Something is new: it is worth trying soon.
    pub(super) fn is_new(&mut self, group: GroupName, at: Millis) {
        let place = self.places.get(&group);
        let at = place.filter(|place| place.tries == 0).map_or(at, |place| place.at.min(at));
        let tried = place.and_then(|place| place.tried);
        self.put(group, Place { at, tries: 0, tried });
    }

    /// It was tried, and there still is something to do.
    pub(super) fn again(&mut self, group: GroupName, now: Millis, delay: u64) {
        let tries = self.places.get(&group).map_or(0, |place| place.tries);
        let at = now.after(doubled(FIRST, tries, LAST)).after(delay);
        self.put(group, Place { at, tries: tries.saturating_add(1), tried: Some(now) });
    }

    /// Not now.
    pub(super) fn put_off(&mut self, group: GroupName, at: Millis) {
        if let Some(place) = self.places.get(&group).copied() {
            self.put(group, Place { at, ..place });
        }
    }

    /// Until when a ballot that was begun has time to come to its end.
    pub(super) fn busy_until(&self, group: &GroupName) -> Option<Millis> {
        self.places.get(group)?.tried.map(|tried| tried.after(FIRST))
    }

    fn put(&mut self, group: GroupName, place: Place) {
        self.remove(&group);
        self.order.insert((place.at, group));
        self.places.insert(group, place);
    }

    /// There is nothing to do.
    pub(super) fn remove(&mut self, group: &GroupName) {
        if let Some(place) = self.places.remove(group) {
            self.order.remove(&(place.at, *group));
        }
    }

    /// The next groups whose time has come. They stay until they are put elsewhere.
    pub(super) fn due(&mut self, now: Millis) -> Vec<GroupName> {
        if self.pause_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let due: Vec<_> =
            self.order.iter().take_while(|(at, _)| *at <= now).take(BATCH).map(|(_, group)| *group).collect();
        self.pause_until = (due.len() == BATCH).then(|| now.after(PAUSE));
        due
    }

    /// The network is another: all that waits may be tried soon.
    pub(super) fn try_all(&mut self, at: Millis) {
        let groups: Vec<_> = self.places.keys().copied().collect();
        groups.into_iter().for_each(|group| self.is_new(group, at));
    }

    /// When something is due.
    pub(super) fn next_wake(&self) -> Option<Millis> {
        let (first, _) = self.order.first()?;
        Some(self.pause_until.map_or(*first, |until| until.max(*first)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Agenda, BATCH};
    use crate::ids::{GroupName, Millis};

    fn group(number: u32) -> GroupName {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&number.to_be_bytes());
        GroupName(name)
    }

    #[test]
    fn many_groups_are_taken_up_at_a_bounded_pace_and_all_in_the_end() {
        let mut agenda = Agenda::default();
        (0..10_000).for_each(|number| agenda.is_new(group(number), Millis(0)));
        let (mut now, mut taken) = (Millis(0), 0);
        while let Some(at) = agenda.next_wake() {
            now = now.max(at);
            let due = agenda.due(now);
            taken += due.len();
            assert!(taken as u64 <= (now.0 / 100 + 1) * BATCH as u64);
            due.iter().for_each(|group| agenda.remove(group));
        }
        assert_eq!(taken, 10_000);
    }

    #[test]
    fn what_gets_nowhere_is_tried_less_and_less_until_something_is_new() {
        let mut agenda = Agenda::default();
        agenda.is_new(group(1), Millis(0));
        let (mut now, mut tries) = (Millis(0), 0);
        while now.0 < 3_600_000 {
            now = agenda.next_wake().unwrap();
            for group in agenda.due(now) {
                tries += 1;
                agenda.again(group, now, 0);
            }
        }
        assert!((60..70).contains(&tries), "{tries} tries in an hour");
        agenda.is_new(group(1), now);
        assert_eq!(agenda.due(now), [group(1)]);
    }
}
