//! Whole servers that are fed time and bytes, and nothing else: they find each other, agree, wait, fall back and heal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use dmls::crypto::SignatureKeyPair;
use dmls::{CipherSuite, CommitId, Provider, Suite};
use dmls_delivery::{
    Alarm, BadRecord, Ballot, Body, Change, Commit, Content, Device, Effects, Epochs, Frame, GroupName,
    Incarnation, Input, Invalid, Item, Kept, LinkEvent, LinkFrame, Message, Millis, Operator, Ranking,
    Record, Refused, Roster, Server, ServerId, Verdict, replay_into,
};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

const GROUP: GroupName = GroupName([1; 32]);

/// A bundle is the name of the commit: its first byte is the tag, its second the committer's home. One device a server.
struct Plain(u32);

impl Epochs for Plain {
    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid> {
        Ok(commit(&body.bundle, self.0))
    }

    fn is_member(&self, _: &CommitId, _: &Device) -> bool {
        true
    }

    fn devices(&self, _: &CommitId, home: ServerId) -> Vec<Device> {
        vec![device(home.0)]
    }

    fn is_witness(&self, commit: &CommitId, device: &Device) -> bool {
        device.0[0] != commit.as_bytes()[1]
    }

    fn has_witness(&self, _: &CommitId, _: &CommitId) -> bool {
        true
    }
}

fn device(home: u32) -> Device {
    Device([home as u8; 32])
}

fn commit(name: &[u8], servers: u32) -> Commit {
    Commit {
        id: name.into(),
        tag: name.into(),
        committer: device(u32::from(name[1])),
        is_external: false,
        servers: (0..servers).map(ServerId).collect(),
        ranking: Ranking::default(),
    }
}

fn suite() -> Suite {
    Provider::all()[0].suite(CipherSuite::X25519_AES128).unwrap()
}

fn key(number: u32, is_recovery: bool) -> SignatureKeyPair {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(number) * 2 + u64::from(is_recovery));
    SignatureKeyPair::generate(&suite(), &mut rng).unwrap()
}

fn operator(number: u32) -> Operator {
    let public = |is_recovery| key(number, is_recovery).public().clone();
    Operator { id: ServerId(number), address: Vec::new(), key: public(false), recovery: public(true) }
}

fn roster(count: u32) -> Roster {
    Roster::found(suite(), (0..count).map(operator).collect()).unwrap()
}

struct Federation {
    count: u32,
    now: Millis,
    servers: BTreeMap<u32, Server>,
    disks: BTreeMap<u32, Kept>,
    /// Each with its time of arrival: to whom, from whom, what.
    links: BTreeSet<(u32, u32)>,
    wire: Vec<(u32, u32, Sent)>,
    ballots: usize,
    alarms: Vec<(u32, Alarm)>,
}

enum Sent {
    Hop(LinkFrame),
    Frame(Frame),
}

impl Federation {
    fn new(count: u32) -> Self {
        let mut all = Self {
            count,
            now: Millis(1_000),
            servers: BTreeMap::new(),
            disks: BTreeMap::new(),
            links: BTreeSet::new(),
            wire: Vec::new(),
            ballots: 0,
            alarms: Vec::new(),
        };
        for me in 0..count {
            let mut server = Server::load(ServerId(me), &Kept::new(), Vec::new()).unwrap();
            let genesis = commit(&[0, 255], count);
            let effects = server.create(GROUP, genesis, Box::new(Plain(count)), all.now);
            all.disks.insert(me, Kept::new());
            all.settle(me, effects);
            all.connect(me, server);
        }
        all
    }

    fn connect(&mut self, me: u32, mut server: Server) {
        let effects = server.connect(roster(self.count), self.now).unwrap();
        self.servers.insert(me, server);
        self.settle(me, effects);
    }

    fn link_all(&mut self) {
        for one in 0..self.count {
            for other in one + 1..self.count {
                self.link(one, other, true);
            }
        }
    }

    fn link(&mut self, one: u32, other: u32, is_up: bool) {
        for (me, to) in [(one, other), (other, one)] {
            let event = if is_up { LinkEvent::Up(ServerId(to)) } else { LinkEvent::Down(ServerId(to)) };
            if is_up {
                self.links.insert((me, to))
            } else {
                self.links.remove(&(me, to))
            };
            self.input(me, Input::Link(event));
        }
    }

    fn input(&mut self, me: u32, input: Input) {
        let now = self.now;
        let Some(server) = self.servers.get_mut(&me) else { return };
        server.set_online([device(me)].into());
        if let Ok(effects) = server.handle(input, now) {
            self.settle(me, effects);
        }
    }

    fn settle(&mut self, me: u32, effects: Effects) {
        let disk = self.disks.get_mut(&me).unwrap();
        let sendable = effects
            .persist(|writes| {
                replay_into(disk, writes);
                Ok::<_, ()>(())
            })
            .unwrap();
        self.alarms.extend(sendable.alarms.into_iter().map(|alarm| (me, alarm)));
        self.wire.extend(sendable.hops.into_iter().map(|(to, frame)| (me, to.0, Sent::Hop(frame))));
        for (to, frame) in sendable.frames {
            let is_ballot =
                matches!(&frame.content, Content::Message { message: Message::Prepare { .. }, .. });
            self.ballots += usize::from(is_ballot);
            self.wire.push((me, to.0, Sent::Frame(frame)));
        }
    }

    /// Each server is woken when it asked to be, and not before; what is on the wire takes 20 ms.
    fn run(&mut self, milliseconds: u64) {
        let end = self.now.after(milliseconds);
        while self.now < end {
            self.now = self.now.after(20);
            for (from, to, sent) in std::mem::take(&mut self.wire) {
                match sent {
                    Sent::Hop(frame) if self.links.contains(&(from, to)) => {
                        self.input(to, Input::Link(LinkEvent::Received(ServerId(from), frame)));
                    }
                    Sent::Frame(frame) if self.passes(from, to) => self.input(to, Input::Frame(frame)),
                    _ => {}
                }
            }
            for me in 0..self.count {
                let is_due = |server: &Server| server.next_wake().is_some_and(|at| at <= self.now);
                if self.servers.get(&me).is_some_and(is_due) {
                    self.input(me, Input::Tick);
                }
                self.listen(me);
            }
        }
    }

    fn passes(&self, from: u32, to: u32) -> bool {
        // The session with a neighbour carries answers to whoever does not belong, too.
        if self.links.contains(&(from, to)) {
            return true;
        }
        let path = self.servers.get(&from).and_then(|server| server.route(ServerId(to), self.now));
        path.is_some_and(|path| path.windows(2).all(|pair| self.links.contains(&(pair[0].0, pair[1].0))))
    }

    /// The device of a server reads its queue, and can process all commits.
    fn listen(&mut self, me: u32) {
        let Some(server) = self.servers.get(&me) else { return };
        let items: Vec<_> = server.queue(&device(me)).map(|(number, item)| (number, item.clone())).collect();
        for (number, item) in items {
            self.input(me, Input::Acknowledge { device: device(me), up_to: number });
            if let Item::Commit { commit } = item {
                let verdict = Verdict::Ok;
                self.input(me, Input::Testify { group: GROUP, device: device(me), commit, verdict });
            }
        }
    }

    fn submit(&mut self, me: u32, tag: u8) {
        let parent = self.servers[&me].group(&GROUP).unwrap().head();
        let body = Body { parent, bundle: vec![tag, me as u8] };
        self.input(me, Input::Submit { group: GROUP, device: device(me), body });
    }

    fn head(&self, me: u32) -> CommitId {
        self.servers[&me].group(&GROUP).unwrap().head()
    }

    fn finalized(&self, me: u32) -> CommitId {
        self.servers[&me].group(&GROUP).unwrap().finalized().clone()
    }

    /// The operators' signatures on what comes next at a server.
    fn sign(&self, at: u32, change: Change, by: &[u32]) -> Record {
        let mut record = self.servers[&at].roster().unwrap().propose(change);
        for number in by {
            record.approve(&suite(), ServerId(*number), key(*number, false).private(), false).unwrap();
        }
        record
    }

    fn adopt(&mut self, at: u32, record: &Record) -> Result<(), BadRecord> {
        let effects = self.servers.get_mut(&at).unwrap().adopt(record, self.now)?;
        self.settle(at, effects);
        Ok(())
    }

    fn ids(&self, at: u32) -> Vec<u32> {
        self.servers[&at].roster().unwrap().members().map(|operator| operator.id.0).collect()
    }

    fn crash(&mut self, me: u32) {
        self.servers.remove(&me);
        (0..self.count).filter(|other| *other != me).for_each(|other| self.link(me, other, false));
    }

    fn boot(&mut self, me: u32) {
        let groups: Vec<(_, _, Box<dyn Epochs>)> =
            vec![(GROUP, commit(&[0, 255], self.count), Box::new(Plain(self.count)))];
        let server = Server::load(ServerId(me), &self.disks[&me], groups).unwrap();
        self.connect(me, server);
        (0..self.count).filter(|other| *other != me).for_each(|other| self.link(me, other, true));
    }
}

#[test]
fn time_and_bytes_are_enough() {
    let mut all = Federation::new(3);
    all.link_all();
    all.run(2_000);
    for round in 1..6 {
        all.submit(u32::from(round) % 3, round);
        all.run(8_000);
        let id = CommitId::from(vec![round, round % 3]);
        (0..3).for_each(|me| assert_eq!((all.head(me), all.finalized(me)), (id.clone(), id.clone())));
    }
    // All is final and flushed: no ballot is run, and no outbox is full.
    let ballots = all.ballots;
    all.run(60_000);
    assert_eq!(all.ballots, ballots);
    assert!(all.servers.values().all(|server| server.outbox_len() == 0));
    assert!(all.servers.values().all(|server| server.group(&GROUP).unwrap().flushed() == &all.finalized(0)));
}

#[test]
fn while_nothing_new_comes_few_ballots_are_run() {
    let mut all = Federation::new(3);
    all.link_all();
    all.run(2_000);
    all.crash(2);
    all.run(8_000);
    all.submit(0, 9);
    all.run(60_000);
    assert_eq!(all.head(1), CommitId::from(vec![9, 0]));
    assert_ne!(all.finalized(1), all.head(1));
    let ballots = all.ballots;
    all.run(600_000);
    // Two servers, two frames a ballot, at most one a minute each.
    assert!(all.ballots - ballots <= 44, "{} frames", all.ballots - ballots);
    all.boot(2);
    all.run(90_000);
    (0..3).for_each(|me| assert_eq!(all.finalized(me), CommitId::from(vec![9, 0])));
}

#[test]
fn a_group_waits_for_who_is_unknown_or_freshly_lost() {
    let mut all = Federation::new(3);
    all.link(0, 1, true);
    all.run(2_000);
    all.submit(0, 3);
    all.run(2_000);
    assert_eq!(all.head(0), CommitId::from(vec![0, 255]), "2 is unknown");
    all.run(6_000);
    assert_eq!(all.head(0), CommitId::from(vec![3, 0]), "most are in view: 5 s were enough");
    // The other side is few: it waits for 30 s.
    all.submit(2, 7);
    all.run(16_000);
    assert_eq!(all.head(2), CommitId::from(vec![0, 255]));
    all.run(12_000);
    assert_eq!(all.head(2), CommitId::from(vec![7, 2]));
    // When it heals the higher tag wins, everywhere.
    all.link(1, 2, true);
    all.run(90_000);
    (0..3).for_each(|me| assert_eq!(all.finalized(me), CommitId::from(vec![7, 2]), "server {me}"));
}

#[test]
fn restarts_do_not_fork() {
    let mut all = Federation::new(3);
    all.link_all();
    all.run(2_000);
    for round in 1..8_u8 {
        let me = u32::from(round) % 3;
        all.submit(me, round);
        all.run(u64::from(round) * 40);
        all.crash(me);
        // At the same time somebody else would go on if it did not wait.
        all.submit((me + 1) % 3, 100 + round);
        all.run(1_000);
        all.boot(me);
        all.submit(me, 200 + round);
        all.run(40_000);
        let certified: BTreeSet<_> = (0..3)
            .flat_map(|me| all.servers[&me].group(&GROUP).unwrap().certified().cloned().collect::<Vec<_>>())
            .collect();
        (0..3).for_each(|me| assert_eq!(all.head(me), all.finalized(me)));
        // Every certified commit is on the one way: all of them were final at some time, or lie between those.
        let way = certified.len();
        let status = all.servers[&0].group(&GROUP).unwrap();
        assert_eq!(status.certified().count(), way, "round {round}: {certified:?}");
    }
}

/// Server 1, which sees 0 and 2 live, and what it answers to a Prepare of 0 that leaves out 2.
#[test]
fn a_ballot_that_leaves_out_who_is_there_gets_no_promise_but_not_for_ever() {
    let ask = |server: &mut Server, now: u64, from: u32, content: Content| {
        let (incarnation, to) = (Incarnation(0), Incarnation(0));
        let frame = Frame { from: ServerId(from), incarnation, to, content };
        let effects = server.handle(Input::Frame(frame), Millis(now)).unwrap();
        effects.persist(|_| Ok::<_, ()>(())).unwrap().frames
    };
    let prepare = |number: u64, view: &[u32]| {
        let ballot = Ballot { number, leader: ServerId(0) };
        let view = view.iter().copied().map(ServerId).collect();
        Content::Message { group: GROUP, message: Message::Prepare { ballot, view } }
    };
    let is_left_out = |frames: &[(ServerId, Frame)]| {
        frames.iter().any(|(_, frame)| {
            let left_out = vec![ServerId(2)];
            matches!(&frame.content, Content::Message { message: Message::LeftOut { servers, .. }, .. } if *servers == left_out)
        })
    };
    let is_promise = |frames: &[(ServerId, Frame)]| {
        frames.iter().any(|(_, frame)| {
            matches!(&frame.content, Content::Message { message: Message::Promise { .. }, .. })
        })
    };
    for speaks in [false, true] {
        let mut server = Server::load(ServerId(1), &Kept::new(), Vec::new()).unwrap();
        let _ = server.create(GROUP, commit(&[0, 255], 3), Box::new(Plain(3)), Millis(0));
        let _ = server.connect(roster(3), Millis(0)).unwrap();
        // Nobody is seen: there is nothing to insist on.
        assert!(is_promise(&ask(&mut server, 0, 0, prepare(1, &[0, 1]))));
        let mut number = 1;
        for now in (0..60).map(|second| second * 1_000) {
            // 2 answers probes all the time; whether it says something in the group makes the difference.
            ask(&mut server, now, 2, Content::Hello);
            if speaks && now % 10_000 == 0 {
                ask(&mut server, now, 2, Content::Message { group: GROUP, message: Message::AskFlush });
            }
            number += 1;
            let frames = ask(&mut server, now, 0, prepare(number, &[0, 1]));
            let is_late = now >= 30_000 && !speaks;
            assert_eq!((is_left_out(&frames), is_promise(&frames)), (!is_late, is_late), "at {now}");
        }
        assert!(is_promise(&ask(&mut server, 60_000, 0, prepare(number + 1, &[0, 1, 2]))));
    }
}

fn retire(number: u32) -> Change {
    Change::Retire { server: ServerId(number) }
}

#[test]
fn a_retired_server_is_not_needed_and_not_heard_and_may_come_back() {
    let mut all = Federation::new(3);
    all.link_all();
    all.run(2_000);
    all.submit(0, 1);
    all.run(8_000);
    all.crash(2);
    all.run(8_000);
    all.submit(0, 5);
    all.run(60_000);
    let id = CommitId::from(vec![5, 0]);
    assert_eq!((all.head(1), all.finalized(1) == id), (id.clone(), false), "2 must vote");
    assert!(all.servers[&0].has_mail(ServerId(2)));
    let record = all.sign(0, retire(2), &[0, 1]);
    all.adopt(0, &record).unwrap();
    assert!(!all.servers[&0].has_mail(ServerId(2)), "its outbox is refused");
    all.run(70_000);
    for me in [0, 1] {
        // The other one heard of it by itself; finality and flush go on.
        assert_eq!(all.ids(me), [0, 1]);
        let status = all.servers[&me].group(&GROUP).unwrap();
        assert_eq!((status.finalized(), status.flushed()), (&id, &id));
        assert!(!all.servers[&me].has_mail(ServerId(2)));
    }
    // It comes back from its sleep, with its old disk, and is told.
    all.boot(2);
    all.run(20_000);
    assert_eq!(all.alarms, [(2, Alarm::Retired)]);
    assert_ne!(all.finalized(2), id);
    let parent = all.head(2);
    let body = Body { parent, bundle: vec![9, 2] };
    let submit = Input::Submit { group: GROUP, device: device(2), body };
    let now = all.now;
    assert_eq!(all.servers.get_mut(&2).unwrap().handle(submit, now).err(), Some(Refused::Retired));
    // A restart remembers who belongs.
    all.crash(1);
    all.boot(1);
    assert_eq!(all.ids(1), [0, 1]);
    // It joins again: what its old incarnation says does not count, as a new one it learns all.
    let record = all.sign(0, Change::Join { operator: operator(2) }, &[0, 1]);
    all.adopt(0, &record).unwrap();
    all.run(5_000);
    all.link_all();
    all.run(20_000);
    assert_eq!((all.ids(1), all.ids(2)), (vec![0, 1, 2], vec![0, 1, 2]));
    assert_ne!(all.finalized(2), id);
    assert!(!all.servers[&0].view().contains(&ServerId(2)), "old incarnations are not counted on");
    let now = all.now;
    let effects = all.servers.get_mut(&2).unwrap().restore(now);
    all.settle(2, effects);
    all.run(60_000);
    assert_eq!(all.finalized(2), id);
    all.submit(2, 8);
    all.run(30_000);
    (0..3).for_each(|me| assert_eq!(all.finalized(me), CommitId::from(vec![8, 2]), "server {me}"));
}

#[test]
fn of_two_one_is_retired_after_30_days_of_silence_and_both_is_a_split() {
    let mut all = Federation::new(2);
    all.link_all();
    all.run(3_000);
    all.link(0, 1, false);
    const DAYS_29: u64 = 29 * 24 * 3_600_000;
    let (zero, one) = (all.sign(0, retire(0), &[1]), all.sign(0, retire(1), &[0]));
    all.now = all.now.after(DAYS_29);
    // Time goes on over a restart.
    all.crash(0);
    all.boot(0);
    all.link(0, 1, false);
    assert_eq!(all.adopt(0, &one), Err(BadRecord::NotSilent));
    all.now = all.now.after(2 * 24 * 3_600_000);
    all.adopt(0, &one).unwrap();
    all.adopt(1, &zero).unwrap();
    assert_eq!((all.ids(0), all.ids(1)), (vec![0], vec![1]));
    assert!(all.alarms.is_empty());
    all.link(0, 1, true);
    all.run(10_000);
    // Nobody knows of the other any more: the operators bring the records together.
    for (at, record) in [(0, &zero), (1, &one)] {
        let frame = Frame {
            from: ServerId(1 - at),
            incarnation: Incarnation(0),
            to: Incarnation(0),
            content: Content::Records { records: vec![record.clone()] },
        };
        all.input(at, Input::Frame(frame.clone()));
        all.input(at, Input::Frame(frame));
    }
    assert_eq!(all.alarms, [(0, Alarm::RosterSplit), (1, Alarm::RosterSplit)]);
    assert_eq!((all.ids(0), all.ids(1)), (vec![0], vec![1]));
}

#[test]
fn two_chains_are_an_alarm_by_themselves() {
    let mut all = Federation::new(4);
    all.link_all();
    all.run(2_000);
    let join = |number| Change::Join { operator: operator(number) };
    let (one, other) = (all.sign(0, join(7), &[0, 1, 2]), all.sign(0, join(8), &[1, 2, 3]));
    (0..4).for_each(|me| (0..me).for_each(|other| all.link(me, other, false)));
    all.adopt(0, &one).unwrap();
    all.adopt(1, &other).unwrap();
    all.link(0, 1, true);
    all.run(5_000);
    let mut alarms = all.alarms.clone();
    alarms.sort_by_key(|(me, _)| *me);
    assert_eq!(alarms, [(0, Alarm::RosterFork(1)), (1, Alarm::RosterFork(1))]);
    assert_eq!((all.ids(0), all.ids(1)), (vec![0, 1, 2, 3, 7], vec![0, 1, 2, 3, 8]));
}

#[test]
fn who_comes_back_does_not_wait_for_who_is_retired() {
    let mut all = Federation::new(3);
    all.link_all();
    all.run(2_000);
    all.crash(2);
    let record = all.sign(0, retire(2), &[0, 1]);
    all.adopt(0, &record).unwrap();
    all.run(5_000);
    let now = all.now;
    let effects = all.servers.get_mut(&1).unwrap().restore(now);
    all.settle(1, effects);
    assert!(all.servers[&1].group(&GROUP).unwrap().is_recovering());
    all.run(20_000);
    assert!(!all.servers[&1].group(&GROUP).unwrap().is_recovering());
}
