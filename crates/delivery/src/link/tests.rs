//! Scripted histories for each sentence of federation.md s3 about links, and random networks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{Announcement, LinkEvent, LinkFrame, LinkOutput, Links, Reach};
use crate::ids::{Incarnation, Millis, ServerId};

const STEP: u64 = 50;

fn id(number: u32) -> ServerId {
    ServerId(number)
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<ServerId> {
    numbers.into_iter().map(ServerId).collect()
}

fn edge(one: u32, other: u32) -> (u32, u32) {
    (one.min(other), one.max(other))
}

/// Servers, and links between some of them. What goes end to end goes by the route of the sender.
struct Net {
    now: Millis,
    links: BTreeMap<u32, Links>,
    up: BTreeSet<(u32, u32)>,
    /// They announce, and don't pass on what is for others.
    swallow: BTreeSet<u32>,
    /// Who asked whom, and answered: on the way.
    frames: usize,
    views: BTreeMap<u32, Vec<BTreeSet<ServerId>>>,
}

impl Net {
    fn new(count: u32, edges: &[(u32, u32)]) -> Self {
        let now = Millis(1_000);
        let roster = ids(0..count);
        let links =
            (0..count).map(|me| (me, Links::new(id(me), Incarnation(0), &roster, None, now))).collect();
        let mut net = Self {
            now,
            links,
            up: BTreeSet::new(),
            swallow: BTreeSet::new(),
            frames: 0,
            views: BTreeMap::new(),
        };
        edges.iter().for_each(|(one, other)| net.set(*one, *other, true));
        net
    }

    fn set(&mut self, one: u32, other: u32, is_up: bool) {
        if is_up {
            self.up.insert(edge(one, other))
        } else {
            self.up.remove(&edge(one, other))
        };
        for (me, to) in [(one, other), (other, one)] {
            let event = if is_up { LinkEvent::Up(id(to)) } else { LinkEvent::Down(id(to)) };
            self.event(me, event);
        }
    }

    fn event(&mut self, me: u32, event: LinkEvent) {
        let now = self.now;
        let Some(links) = self.links.get_mut(&me) else { return };
        let out = links.on_event(event, now);
        self.carry(me, out);
    }

    fn carry(&mut self, me: u32, out: LinkOutput) {
        for (to, frame) in out.hops {
            self.frames += 1;
            if self.up.contains(&edge(me, to.0)) {
                self.event(to.0, LinkEvent::Received(id(me), frame));
            }
        }
        for (to, number) in out.probes {
            self.frames += 1;
            if self.passes(me, to.0) {
                let now = self.now;
                self.links.get_mut(&to.0).unwrap().on_heard(id(me), now);
                if self.passes(to.0, me) {
                    let asker = self.links.get_mut(&me).unwrap();
                    asker.on_heard(to, now);
                    asker.on_answer(to, number);
                }
            }
        }
    }

    /// Whether something gets from one end to the other on the way that the first chooses.
    fn passes(&self, from: u32, to: u32) -> bool {
        let Some(path) = self.links[&from].route(id(to), self.now) else { return false };
        let relays = &path[1..path.len() - 1];
        self.links.contains_key(&to)
            && relays.iter().all(|relay| !self.swallow.contains(&relay.0))
            && path.windows(2).all(|pair| self.up.contains(&edge(pair[0].0, pair[1].0)))
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.now.after(milliseconds);
        while self.now < end {
            self.now = self.now.after(STEP);
            let names: Vec<_> = self.links.keys().copied().collect();
            for me in names {
                let now = self.now;
                let out = self.links.get_mut(&me).unwrap().tick(now);
                self.carry(me, out);
                let (view, views) = (self.links[&me].view(), self.views.entry(me).or_default());
                if views.last() != Some(&view) {
                    views.push(view);
                }
            }
        }
    }

    fn view(&self, me: u32) -> BTreeSet<ServerId> {
        self.links[&me].view()
    }

    /// The process ends, its sessions with it; what was durable is handed back.
    fn kill(&mut self, me: u32) -> BTreeSet<ServerId> {
        let before = self.links.remove(&me).unwrap().live_before().clone();
        let edges: Vec<_> =
            self.up.iter().copied().filter(|(one, other)| *one == me || *other == me).collect();
        edges.into_iter().for_each(|(one, other)| self.set(one, other, false));
        before
    }

    fn start(&mut self, me: u32, roster: u32, live_before: Option<BTreeSet<ServerId>>, to: &[u32]) {
        let links = Links::new(id(me), Incarnation(0), &ids(0..roster), live_before, self.now);
        self.links.insert(me, links);
        to.iter().for_each(|other| self.set(me, *other, true));
    }
}

fn ring(count: u32) -> Vec<(u32, u32)> {
    (0..count).map(|one| (one, (one + 1) % count)).collect()
}

#[test]
fn at_boot_everybody_is_unknown_and_nobody_is_down() {
    let net = Net::new(3, &[]);
    assert_eq!(net.view(0), ids([0]));
    assert_eq!(net.links[&0].awaited(), ids([1, 2]));
    assert_eq!(net.links[&0].reach(id(1)), Some(Reach::Unknown));
}

#[test]
fn who_answers_is_live_also_by_way_of_others() {
    let mut net = Net::new(3, &[(0, 1), (1, 2)]);
    net.run(3_000);
    assert_eq!(net.view(0), ids(0..3));
    assert_eq!(net.links[&0].route(id(2), net.now).unwrap(), [id(0), id(1), id(2)]);
    assert!(net.links[&0].awaited().is_empty());
}

#[test]
fn an_edge_counts_only_if_both_ends_list_it() {
    let mut net = Net::new(4, &[(0, 1)]);
    net.run(1_000);
    let lie = Announcement { server: id(1), incarnation: Incarnation(0), counter: 9, up: vec![id(0), id(2)] };
    net.event(0, LinkEvent::Received(id(1), LinkFrame::Announce { announcement: lie }));
    assert_eq!(net.links[&0].route(id(2), net.now), None);
    let truth = Announcement { server: id(2), incarnation: Incarnation(0), counter: 1, up: vec![id(1)] };
    net.event(0, LinkEvent::Received(id(1), LinkFrame::Announce { announcement: truth }));
    assert_eq!(net.links[&0].route(id(2), net.now).unwrap(), [id(0), id(1), id(2)]);
}

#[test]
fn a_relay_that_swallows_is_left() {
    // 0-1-3 and 0-2-3: the lowest relay is taken first.
    let mut net = Net::new(4, &[(0, 1), (1, 3), (0, 2), (2, 3)]);
    net.run(2_000);
    assert_eq!(net.links[&0].route(id(3), net.now).unwrap()[1], id(1));
    net.swallow.insert(1);
    net.run(4_000);
    assert_eq!(net.links[&0].route(id(3), net.now).unwrap()[1], id(2));
    assert!(net.view(0).contains(&id(3)) && net.view(3).contains(&id(0)));
    // When the other one begins to swallow and the first stops, the first is tried again.
    net.swallow = [2].into();
    net.run(12_000);
    assert_eq!(net.links[&0].route(id(3), net.now).unwrap()[1], id(1));
    // And the other way round: no relay is left for ever.
    net.swallow = [1].into();
    net.run(12_000);
    assert_eq!(net.links[&0].route(id(3), net.now).unwrap()[1], id(2));
}

#[test]
fn silence_is_loss_and_any_byte_is_an_answer() {
    let mut net = Net::new(2, &[(0, 1)]);
    net.run(1_000);
    net.kill(1);
    net.run(1_000);
    assert!(net.view(0).contains(&id(1)), "too early");
    let now = net.now;
    net.links.get_mut(&0).unwrap().on_heard(id(1), now);
    net.run(1_500);
    assert!(net.view(0).contains(&id(1)), "a byte came");
    net.run(1_000);
    assert_eq!(net.links[&0].reach(id(1)), Some(Reach::Lost));
}

/// Who is in sight of server 0 (of 5, or 4), and after how many seconds it does not wait for the others any more.
#[test]
fn the_fallback_comes_after_5_seconds_for_most_and_after_30_for_few() {
    for (count, me, with, seconds) in [
        (5, 0, vec![0, 1, 2], 5),
        (5, 0, vec![0, 1], 30),
        (4, 0, vec![0, 1], 5),
        (4, 3, vec![2, 3], 30),
        (2, 0, vec![0], 5),
        (2, 1, vec![1], 30),
    ] {
        let all: Vec<_> =
            (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other))).collect();
        let mut net = Net::new(count, &all);
        net.run(3_000);
        for (one, other) in all {
            if with.contains(&one) != with.contains(&other) {
                net.set(one, other, false);
            }
        }
        // Silence is noticed after 2 s; what was on the way counts from there.
        net.run(seconds * 1_000 + 1_000);
        assert!(!net.links[&me].awaited().is_empty(), "{count} {me}: too early");
        net.run(3_000);
        assert!(net.links[&me].awaited().is_empty(), "{count} {me}: too late");
        assert_eq!(net.view(me), ids(with.iter().copied()));
        assert_eq!(*net.links[&me].live_before(), ids(with));
    }
}

#[test]
fn who_was_live_before_is_what_was_kept() {
    // Server 0 was in a part with 1 only, of a roster of five: when it is started again, two of two are most.
    for (before, seconds) in [(Some(ids([0, 1])), 5), (None, 30)] {
        let mut net = Net::new(2, &[]);
        net.kill(0);
        net.start(0, 5, before, &[1]);
        net.run(seconds * 1_000 - 500);
        assert_eq!(net.links[&0].awaited(), ids([2, 3, 4]));
        net.run(1_000);
        assert!(net.links[&0].awaited().is_empty());
    }
}

#[test]
fn a_restart_gives_nobody_up() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = 2 + (rng.next_u64() % 4) as u32;
        let mut net = Net::new(count, &ring(count));
        net.run(5_000);
        let me = (rng.next_u64() % u64::from(count)) as u32;
        let before = net.kill(me);
        // A restart that takes up to two seconds.
        net.run(rng.next_u64() % 2_000);
        net.start(me, count, Some(before), &[(me + 1) % count, (me + count - 1) % count]);
        for _ in 0..400 {
            net.run(STEP);
            for (server, links) in &net.links {
                let out_of_view = &ids(0..count) - &links.view();
                assert!(
                    out_of_view.is_subset(&links.awaited()),
                    "seed {seed}: {server} gave up {out_of_view:?}"
                );
            }
        }
        (0..count).for_each(|server| assert_eq!(net.view(server), ids(0..count), "seed {seed}"));
    }
}

#[test]
fn a_link_that_flaps_changes_views_a_bounded_number_of_times() {
    let mut net = Net::new(2, &[(0, 1)]);
    for _ in 0..300 {
        net.run(3_000);
        net.set(0, 1, false);
        net.run(3_000);
        net.set(0, 1, true);
    }
    let changes = net.views[&0].len();
    assert!((3..12).contains(&changes), "{changes} views in half an hour");
    // Whatever stays up counts in the end.
    net.run(700_000);
    assert_eq!(net.view(0), ids([0, 1]));
}

#[test]
fn every_part_agrees_on_its_view_and_ways_have_no_loops() {
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = 2 + (rng.next_u64() % 6) as u32;
        let mut net = Net::new(count, &[]);
        for round in 0..3 {
            for one in 0..count {
                for other in one + 1..count {
                    let is_up = rng.next_u64() % 100 < 40;
                    if is_up != net.up.contains(&(one, other)) {
                        net.set(one, other, is_up);
                    }
                }
            }
            net.run(40_000);
            for me in 0..count {
                let part = part(&net, me);
                assert_eq!(net.view(me), part, "seed {seed}, round {round}, server {me}");
                assert!(net.links[&me].awaited().is_empty());
                for to in part.iter().filter(|to| to.0 != me) {
                    let path = net.links[&me].route(*to, net.now).unwrap();
                    assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len());
                    assert!(path.windows(2).all(|pair| net.up.contains(&edge(pair[0].0, pair[1].0))));
                }
            }
        }
    }
}

fn part(net: &Net, me: u32) -> BTreeSet<ServerId> {
    let mut part = BTreeSet::from([me]);
    loop {
        let next = net.up.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
        let next: BTreeSet<_> =
            next.filter(|(from, _)| part.contains(from)).map(|(_, to)| to).chain(part.clone()).collect();
        if next == part {
            return ids(part);
        }
        part = next;
    }
}

#[test]
fn who_is_restarted_is_heard_though_it_counts_from_the_start() {
    let mut net = Net::new(3, &[(0, 1), (1, 2)]);
    net.run(30_000);
    let before = net.kill(0);
    net.run(100);
    net.start(0, 3, Some(before), &[1, 2]);
    net.run(4_000);
    let seen = net.links[&1].known[&id(0)].announcement.as_ref().unwrap();
    assert_eq!(seen.up, [id(1), id(2)]);
}

#[test]
fn an_old_announcement_changes_nothing() {
    let mut net = Net::new(3, &[(0, 1)]);
    let say = |counter, up| {
        let announcement = Announcement { server: id(2), incarnation: Incarnation(0), counter, up };
        LinkEvent::Received(id(1), LinkFrame::Announce { announcement })
    };
    net.event(0, say(5, vec![id(1)]));
    let now = net.now;
    let out = net.links.get_mut(&0).unwrap().on_event(say(4, vec![]), now);
    assert_eq!(net.links[&0].known[&id(2)].announcement.as_ref().unwrap().counter, 5);
    assert!(
        matches!(&out.hops[..], [(to, LinkFrame::Announce { announcement })] if *to == id(1) && announcement.counter == 5)
    );
}

#[test]
fn a_server_that_is_not_in_the_roster_is_not_heard() {
    let mut net = Net::new(3, &[(0, 1)]);
    net.run(1_000);
    let before = format!("{:?}", net.links[&0].known.keys().collect::<Vec<_>>());
    let announcement =
        Announcement { server: id(9), incarnation: Incarnation(0), counter: 1, up: vec![id(0), id(1)] };
    net.event(0, LinkEvent::Received(id(1), LinkFrame::Announce { announcement }));
    net.event(0, LinkEvent::Up(id(9)));
    let now = net.now;
    net.links.get_mut(&0).unwrap().on_heard(id(9), now);
    let announcement = Announcement {
        server: id(2),
        incarnation: Incarnation(0),
        counter: 1,
        up: vec![id(7), id(1), id(1)],
    };
    net.event(0, LinkEvent::Received(id(1), LinkFrame::Announce { announcement }));
    assert_eq!(format!("{:?}", net.links[&0].known.keys().collect::<Vec<_>>()), before);
    assert!(!net.view(0).contains(&id(9)));
    assert_eq!(net.links[&0].known[&id(2)].announcement.as_ref().unwrap().up, [id(1)]);
    // Nor one to which there is no link.
    let announcement = Announcement { server: id(2), incarnation: Incarnation(0), counter: 7, up: vec![] };
    net.event(0, LinkEvent::Received(id(2), LinkFrame::Announce { announcement }));
    assert_eq!(net.links[&0].known[&id(2)].announcement.as_ref().unwrap().counter, 1);
}

#[test]
fn a_flood_of_announcements_is_passed_on_slowly() {
    let mut net = Net::new(3, &[(0, 1), (0, 2)]);
    net.run(2_000);
    net.frames = 0;
    for counter in 100..10_100 {
        let announcement = Announcement { server: id(1), incarnation: Incarnation(0), counter, up: vec![] };
        net.event(0, LinkEvent::Received(id(1), LinkFrame::Announce { announcement }));
        let own = Announcement { server: id(0), incarnation: Incarnation(0), counter, up: vec![] };
        net.event(0, LinkEvent::Received(id(1), LinkFrame::Announce { announcement: own }));
        if counter % 100 == 0 {
            net.run(STEP);
        }
    }
    // Five seconds: 25 times each of two announcements to both, their echoes, and probes.
    assert!(net.frames < 400, "{} frames", net.frames);
}

#[test]
fn what_is_relayed_goes_one_step_further_or_nowhere() {
    let mut net = Net::new(5, &[(0, 1), (1, 2)]);
    net.run(1_000);
    let now = net.now;
    for (via, path, goes) in [
        (0, vec![0, 1, 2], true),
        (0, vec![2, 1, 0], false),
        (2, vec![0, 1, 2], false),
        (0, vec![0, 1, 0], false),
        (0, vec![0, 1, 3], false),
        (0, vec![0, 1, 9, 2], false),
        (0, vec![1, 2], false),
        (0, vec![0, 2], false),
        (0, vec![], false),
    ] {
        let frame = LinkFrame::Relayed { path: path.iter().copied().map(id).collect(), sealed: vec![1] };
        let out = net.links.get_mut(&1).unwrap().on_event(LinkEvent::Received(id(via), frame), now);
        assert_eq!(!out.hops.is_empty(), goes, "{path:?} from {via}");
        assert!(out.arrived.is_empty());
    }
    let frame = LinkFrame::Relayed { path: vec![id(0), id(1)], sealed: vec![1] };
    let out = net.links.get_mut(&1).unwrap().on_event(LinkEvent::Received(id(0), frame), now);
    assert_eq!(out.arrived, [(id(0), vec![1])]);
}

#[test]
fn who_recovers_is_in_nobodys_view_and_not_waited_for() {
    let mut net = Net::new(2, &[(0, 1)]);
    net.run(1_000);
    let links = net.links.get_mut(&0).unwrap();
    links.set_recovering(id(1), true);
    assert_eq!((links.view(), links.awaited()), (ids([0]), ids([])));
    links.set_recovering(id(1), false);
    assert_eq!(links.view(), ids([0, 1]));
}
