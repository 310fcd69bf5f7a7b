//! What may happen in a state, and what follows.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use dmls::CommitId;
use dmls_delivery::testing::{self, Glimpse, Mutant};
use dmls_delivery::{
    Alarm, Ballot, Content, Effects, Frame, GroupName, Incarnation, Input, Kept, Message, Millis, Server,
    ServerId, Verdict,
};

use super::bounds::{Bounds, Offer};
use super::commits::{self, Kind, Sight};
use super::fingerprint::Fingerprint;
use super::network::Flying;
use crate::registry::{Registry, Seen, Shared, device};
use crate::world::Violation;

/// The group.
pub const GROUP: GroupName = GroupName([7; 32]);
/// The records of groups; queues and outboxes are left out.
const RECORDS_OF_GROUPS: u8 = b'g';
const NOW: Millis = Millis(1);

/// A server and its disk.
pub struct Machine {
    /// The server.
    pub server: Server,
    kept: Kept,
    head: Option<CommitId>,
    fingerprint: u128,
}

/// What a server becomes by something, and what it sends.
#[derive(Clone)]
struct Taken {
    machine: Rc<Machine>,
    sent: Vec<Flying>,
    /// Whether a row is acknowledged.
    is_received: bool,
}

/// One state.
#[derive(Clone)]
pub struct State {
    /// The servers.
    pub machines: Vec<Rc<Machine>>,
    /// Frames under way.
    pub net: BTreeSet<Flying>,
    /// The view of each server that waits for promises, as bits; otherwise 0.
    views: Vec<u8>,
    /// Commits that were submitted.
    pub commits: BTreeSet<CommitId>,
    ballots: u8,
    restarts: u8,
    copies: u8,
}

impl State {
    /// Equal for states from which the same may follow.
    pub fn fingerprint(&self) -> u128 {
        let mut out = Fingerprint::new();
        self.machines.iter().for_each(|machine| machine.fingerprint.hash(&mut out));
        self.net.iter().for_each(|flying| (flying.to(), flying.bytes()).hash(&mut out));
        (&self.views, &self.commits, self.ballots, self.restarts, self.copies).hash(&mut out);
        out.value()
    }

    /// Equal for states that look the same when frames are lost and rows are not.
    pub fn fingerprint_without_frames(&self) -> u128 {
        let mut out = Fingerprint::new();
        self.machines.iter().for_each(|machine| machine.fingerprint.hash(&mut out));
        let rows = self.net.iter().filter(|flying| flying.is_parcel());
        rows.for_each(|flying| (flying.to(), flying.bytes()).hash(&mut out));
        self.commits.hash(&mut out);
        out.value()
    }
}

/// Something that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A ballot begins; just before, a client of the server may submit a commit.
    Start { server: u8, view: u8, number: u8, submit: Option<Kind> },
    /// A client submits a commit while its server waits for promises.
    Submit { server: u8, kind: Kind },
    /// A frame arrives, by its place among those under way.
    Deliver { place: u16, stays: bool },
    /// A server stops and starts again.
    Restart { server: u8 },
    /// The client of a server says whether it can process a commit, by its place among all.
    Testify { server: u8, commit: u8 },
}

/// Servers, bounds, and what is broken.
pub struct Model {
    /// How far the search goes.
    pub bounds: Bounds,
    mutant: Option<Mutant>,
    /// All commits that were ever made.
    pub registry: Shared,
    genesis: CommitId,
    /// What servers did before: there are many more states of all than of one.
    done: RefCell<HashMap<u128, Taken>>,
    /// Rows that have arrived; it makes their numbers rise.
    rows: Cell<u64>,
}

fn id(server: usize) -> ServerId {
    ServerId(server as u32)
}

impl Model {
    /// Nothing has happened yet.
    pub fn new(bounds: Bounds, mutant: Option<Mutant>) -> Self {
        let genesis = CommitId::from(vec![0]);
        let homes = (0..bounds.servers as u32).collect();
        let mut registry = Registry::with_homes(homes);
        registry.insert(genesis.clone(), commits::genesis(bounds.members.iter().copied().collect()));
        let registry = Rc::new(RefCell::new(registry));
        Self { bounds, mutant, registry, genesis, done: RefCell::default(), rows: Cell::new(0) }
    }

    fn sight(&self) -> Box<Sight> {
        Box::new(Sight { seen: Seen(self.registry.clone()), has_witnesses: self.bounds.has_witnesses })
    }

    /// A liar leads on in ballots that it should have given up.
    fn mutant(&self, server: usize) -> Option<Mutant> {
        if self.bounds.liar == Some(server) { Some(Mutant::NoDropOfOwnBallot) } else { self.mutant }
    }

    fn machine(&self, server: Server, kept: Kept) -> Rc<Machine> {
        let mut out = Fingerprint::new();
        if let Some(glimpse) = Glimpse::of(&server, &GROUP) {
            glimpse.hash_kept(&mut out);
            glimpse.hash_volatile(&mut out);
        }
        let head = server.group(&GROUP).map(|status| status.head());
        Rc::new(Machine { server, kept, head, fingerprint: out.value() })
    }

    /// All servers have the group, and nothing else.
    pub fn init(&self) -> Result<State, Violation> {
        let mut state = State {
            machines: Vec::new(),
            net: BTreeSet::new(),
            views: vec![0; self.bounds.servers],
            commits: BTreeSet::new(),
            ballots: 0,
            restarts: 0,
            copies: 0,
        };
        for server in 0..self.bounds.servers {
            let mut kept = Kept::new();
            let mut machine = testing::load(id(server), &kept, Vec::new(), self.mutant(server))
                .map_err(|_| Violation::Damaged)?;
            let genesis = self.registry.borrow().commit(&self.genesis);
            let effects = machine.create(GROUP, genesis, self.sight(), NOW);
            write(&mut kept, effects)?;
            state.machines.push(self.machine(machine, kept));
        }
        Ok(state)
    }

    /// One server takes inputs, of which there are no others with the same key; what it sends is under way then. `true` if it
    /// acknowledges a row.
    fn take(
        &self,
        state: &mut State,
        at: usize,
        key: impl Hash,
        view: Option<u8>,
        inputs: impl FnOnce() -> Vec<Input>,
    ) -> Result<bool, Violation> {
        let mut out = Fingerprint::new();
        (state.machines[at].fingerprint, at, view, key).hash(&mut out);
        let known = self.done.borrow().get(&out.value()).cloned();
        let taken = match known {
            Some(taken) => taken,
            None => {
                let taken = self.work(&state.machines[at], view, inputs())?;
                self.done.borrow_mut().insert(out.value(), taken.clone());
                taken
            }
        };
        let Taken { machine, sent, is_received } = taken;
        let leads = Glimpse::of(&machine.server, &GROUP).and_then(|glimpse| glimpse.leads());
        if !leads.is_some_and(|(_, is_preparing)| is_preparing) {
            state.views[at] = 0;
        }
        state.machines[at] = machine;
        self.forget_dead(state, at);
        let live = sent.into_iter().filter(|flying| !self.is_dead(state, flying));
        let live: Vec<_> = live.collect();
        state.net.extend(live);
        Ok(is_received)
    }

    fn work(&self, old: &Machine, view: Option<u8>, inputs: Vec<Input>) -> Result<Taken, Violation> {
        let mut server = testing::copy(&old.server, |_| self.sight());
        let mut kept = old.kept.clone();
        if let Some(view) = view {
            server.set_view((0..self.bounds.servers).filter(|peer| view >> peer & 1 == 1).map(id).collect());
        }
        let mut new = Vec::new();
        for input in inputs {
            // What a server refuses has changed nothing.
            let Ok(effects) = server.handle(input, NOW) else { continue };
            new.extend(write(&mut kept, effects)?);
        }
        for peer in 0..self.bounds.servers {
            while server.has_mail(id(peer)) {
                let Ok(effects) = server.handle(Input::Ship(id(peer)), NOW) else { break };
                for (to, frame) in write(&mut kept, effects)? {
                    let Content::Parcel { number, .. } = frame.content else { continue };
                    let received = frame_of(peer, Content::Received { number });
                    let _ = server.handle(Input::Frame(received), NOW);
                    new.push((to, frame));
                }
            }
            let _ = server.handle(Input::Acknowledge { device: device(peer), up_to: u64::MAX }, NOW);
        }
        let is_received = new.iter().any(|(_, frame)| matches!(frame.content, Content::Received { .. }));
        let fly = |(to, frame): (ServerId, Frame)| Flying::new(to.0 as usize, frame, self.bounds.is_reduced);
        let sent = new.into_iter().filter_map(fly).collect();
        Ok(Taken { machine: self.machine(server, kept), sent, is_received })
    }

    fn is_dead(&self, state: &State, flying: &Flying) -> bool {
        // Who forgets its promises may give them once more.
        let may_forget = self.mutant == Some(Mutant::Amnesia) && state.restarts < self.bounds.restarts;
        let counts_old = self.mutant == Some(Mutant::IgnoredPromise);
        let receiver = &state.machines[flying.to()].server;
        self.bounds.is_reduced && !may_forget && flying.is_dead(receiver, counts_old)
    }

    /// Takes away what is dead since a server has changed.
    fn forget_dead(&self, state: &mut State, at: usize) {
        let to_it = state.net.iter().filter(|flying| flying.to() == at);
        let dead: Vec<_> = to_it.filter(|flying| self.is_dead(state, flying)).cloned().collect();
        dead.iter().for_each(|flying| drop(state.net.take(flying)));
    }

    /// A commit of the client of a server, on its head, with the body at all servers.
    pub fn submit(&self, state: &mut State, at: usize, kind: Kind) -> Result<(), Violation> {
        let Some(head) = head(state, at) else { return Ok(()) };
        let commit = commits::make(&mut self.registry.borrow_mut(), &head, at, kind, self.bounds.falling);
        let Some(body) = self.registry.borrow().body(&commit) else { return Ok(()) };
        state.commits.insert(commit.clone());
        for peer in (0..self.bounds.servers).filter(|peer| *peer != at && self.bounds.is_reduced) {
            self.take(state, peer, ("body", &commit), None, || {
                let message = Message::Bodies { bodies: vec![body.clone()] };
                vec![Input::Frame(frame_of(at, Content::Message { group: GROUP, message }))]
            })?;
        }
        let submit = || vec![Input::Submit { group: GROUP, device: device(at), body: body.clone() }];
        self.take(state, at, ("submit", &commit), None, submit).map(drop)
    }

    /// A ballot begins.
    pub fn start(&self, state: &mut State, at: usize, view: u8, number: u64) -> Result<(), Violation> {
        state.views[at] = view;
        self.take(state, at, ("start", number), Some(view), || {
            // Another ballot was refused because one of that number had been promised.
            let low = Ballot { number: 0, leader: id(at) };
            let promised = Ballot { number: number - 1, leader: id(at) };
            let message = Message::Outbid { ballot: low, promised };
            let frame = frame_of((at + 1) % self.bounds.servers, Content::Message { group: GROUP, message });
            vec![Input::Frame(frame), Input::Start(GROUP)]
        })
        .map(drop)
    }

    /// A frame arrives. A row for which a body is missing comes again.
    pub fn deliver(&self, state: &mut State, flying: &Flying, stays: bool) -> Result<(), Violation> {
        if !stays {
            state.net.remove(flying);
        }
        let is_received = self.take(state, flying.to(), ("frame", flying.bytes()), None, || {
            self.rows.set(self.rows.get() + 1);
            vec![Input::Frame(flying.frame(self.rows.get()))]
        })?;
        if flying.is_parcel() && !is_received {
            state.net.insert(flying.clone());
        }
        Ok(())
    }

    fn restart(&self, state: &mut State, at: usize) -> Result<(), Violation> {
        let kept = state.machines[at].kept.clone();
        let genesis = self.registry.borrow().commit(&self.genesis);
        let groups = vec![(GROUP, genesis, self.sight() as Box<dyn dmls_delivery::Epochs>)];
        let server = testing::load(id(at), &kept, groups, self.mutant(at)).map_err(|_| Violation::Damaged)?;
        if self.mutant != Some(Mutant::Amnesia) && kept_of(&server) != kept_of(&state.machines[at].server) {
            return Err(Violation::Damaged);
        }
        state.machines[at] = self.machine(server, kept);
        state.views[at] = 0;
        (0..self.bounds.servers).for_each(|server| self.forget_dead(state, server));
        Ok(())
    }

    /// What a client says of a commit that its server has certified: the truth.
    pub fn testify(&self, state: &mut State, at: usize, commit: &CommitId) -> Result<(), Violation> {
        self.take(state, at, ("testify", commit), None, || {
            let verdict = if self.can_process(at, commit) { Verdict::Ok } else { Verdict::Failed };
            vec![Input::Testify { group: GROUP, device: device(at), commit: commit.clone(), verdict }]
        })
        .map(drop)
    }

    fn can_process(&self, person: usize, commit: &CommitId) -> bool {
        let registry = self.registry.borrow();
        registry.path(commit).iter().all(|id| !registry.get(id).broken_for.contains(&person))
    }

    /// Whether the client of a server is a member at its head and can say something of it.
    pub fn works(&self, state: &State, at: usize) -> bool {
        let Some(head) = head(state, at) else { return false };
        self.registry.borrow().get(&head).members.contains(&at) && self.can_process(at, &head)
    }

    /// What the client of a server could submit.
    fn offers(&self, state: &State, at: usize, view: u8) -> Vec<Kind> {
        let machine = &state.machines[at].server;
        let (Some(head), Some(glimpse)) = (head(state, at), Glimpse::of(machine, &GROUP)) else {
            return Vec::new();
        };
        // One at a time.
        let waits = glimpse
            .waiting()
            .any(|commit| commit.as_bytes()[..commit.as_bytes().len() - 2] == *head.as_bytes());
        if state.commits.len() >= self.bounds.commits || waits {
            return Vec::new();
        }
        let registry = self.registry.borrow();
        let members = &registry.get(&head).members;
        let works = members.contains(&at) && self.can_process(at, &head);
        let outside = members.iter().any(|member| view >> member & 1 == 0);
        let kind = |offer: &Offer| match *offer {
            Offer::Keep => works.then_some(Kind::Keep),
            Offer::Kick => (works && outside).then_some(Kind::Only(view)),
            Offer::Alone => (works && members.len() > 1).then_some(Kind::Only(1 << at)),
            Offer::Add(person) => {
                (works && !members.contains(&usize::from(person))).then_some(Kind::Add(person))
            }
            Offer::Return => (!members.contains(&at)).then_some(Kind::Return),
            Offer::Broken(who) => (works && at == usize::from(who)).then_some(Kind::Broken),
        };
        self.bounds.kinds.iter().filter_map(kind).collect()
    }

    /// All that may happen.
    pub fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        let glimpses = state.machines.iter().map(|machine| Glimpse::of(&machine.server, &GROUP));
        let glimpses: Vec<_> = glimpses.flatten().collect();
        let highest = glimpses.iter().map(Glimpse::highest).max().unwrap_or_default();
        for (at, glimpse) in glimpses.iter().enumerate() {
            let server = at as u8;
            let starts = self.bounds.starts.iter().filter(|(leader, _)| *leader == at);
            for view in starts.map(|(_, view)| *view).filter(|_| state.ballots < self.bounds.ballots) {
                for number in BTreeSet::from([glimpse.highest() + 1, highest + 1]) {
                    let submits = self.offers(state, at, view).into_iter().map(Some).chain([None]);
                    let number = number as u8;
                    actions.extend(submits.map(|submit| Action::Start { server, view, number, submit }));
                }
            }
            if state.views[at] != 0 {
                let kinds = self.offers(state, at, state.views[at]).into_iter();
                actions.extend(kinds.map(|kind| Action::Submit { server, kind }));
            }
            if state.restarts < self.bounds.restarts {
                actions.push(Action::Restart { server });
            }
            if self.bounds.has_witnesses {
                let commits = 0..state.commits.len() as u8;
                actions.extend(commits.map(|commit| Action::Testify { server, commit }));
            }
        }
        for place in 0..state.net.len() as u16 {
            actions.push(Action::Deliver { place, stays: false });
            if state.copies < self.bounds.copies {
                actions.push(Action::Deliver { place, stays: true });
            }
        }
        actions
    }

    /// What follows, and what it is called. `None` if it can't happen, or nothing follows.
    pub fn apply(&self, from: &State, action: Action) -> Result<Option<State>, Violation> {
        let mut state = from.clone();
        match action {
            Action::Start { server, view, number, submit } => {
                let at = usize::from(server);
                if let Some(kind) = submit {
                    self.submit(&mut state, at, kind)?;
                }
                state.ballots += 1;
                let before = state.machines[at].fingerprint;
                self.start(&mut state, at, view, u64::from(number))?;
                if state.machines[at].fingerprint == before {
                    return Ok(None);
                }
            }
            Action::Submit { server, kind } => self.submit(&mut state, usize::from(server), kind)?,
            Action::Deliver { place, stays } => {
                state.copies += u8::from(stays);
                let Some(flying) = from.net.iter().nth(usize::from(place)) else { return Ok(None) };
                self.deliver(&mut state, flying, stays)?;
            }
            Action::Restart { server } => {
                state.restarts += 1;
                self.restart(&mut state, usize::from(server))?;
            }
            Action::Testify { server, commit } => {
                let at = usize::from(server);
                let Some(commit) = from.commits.iter().nth(usize::from(commit)).cloned() else {
                    return Ok(None);
                };
                if !is_certified(from, at, &commit) {
                    return Ok(None);
                }
                self.testify(&mut state, at, &commit)?;
            }
        }
        Ok(Some(state))
    }

    /// As histories tell it.
    pub fn text(&self, state: &State, action: Action) -> String {
        let commit = |server: u8, kind: &Kind| {
            let head = head(state, usize::from(server)).unwrap_or_else(|| self.genesis.clone());
            let mut registry = self.registry.borrow_mut();
            let made = commits::make(&mut registry, &head, usize::from(server), *kind, self.bounds.falling);
            commits::name(&made)
        };
        match action {
            Action::Start { server, view, number, submit } => {
                let submits = submit.map(|kind| format!(", its client submits {}", commit(server, &kind)));
                format!("{server} starts {number}.{server}, sees {view:03b}{}", submits.unwrap_or_default())
            }
            Action::Submit { server, kind } => {
                format!("the client of {server} submits {}", commit(server, &kind))
            }
            Action::Deliver { place, stays } => {
                let flying = state.net.iter().nth(usize::from(place));
                let text = flying.map(Flying::text).unwrap_or_default();
                format!("{text}{}", if stays { ", of which a copy is under way" } else { "" })
            }
            Action::Restart { server } => format!("{server} stops and starts again"),
            Action::Testify { server, commit } => {
                let commit = state.commits.iter().nth(usize::from(commit));
                format!(
                    "the client of {server} says what it thinks of {}",
                    commit.map(commits::name).unwrap_or_default()
                )
            }
        }
    }
}

fn frame_of(from: usize, content: Content) -> Frame {
    Frame { from: id(from), incarnation: Incarnation(0), to: Incarnation(0), content }
}

/// Writes what belongs to groups, and gives what may be sent then.
fn write(kept: &mut Kept, effects: Effects) -> Result<Vec<(ServerId, Frame)>, Violation> {
    let sendable = effects.persist(|writes| {
        for (key, value) in writes.iter().filter(|(key, _)| key.first() == Some(&RECORDS_OF_GROUPS)) {
            match value {
                Some(value) => kept.insert(key.clone(), value.clone()),
                None => kept.remove(key),
            };
        }
        Ok::<_, Violation>(())
    })?;
    let is_forked = sendable.alarms.iter().any(|alarm| matches!(alarm, Alarm::FinalFork(_)));
    if is_forked { Err(Violation::FinalFork) } else { Ok(sendable.frames) }
}

fn kept_of(server: &Server) -> u128 {
    let mut out = Fingerprint::new();
    if let Some(glimpse) = Glimpse::of(server, &GROUP) {
        glimpse.hash_kept(&mut out);
    }
    out.value()
}

/// The head of a server.
pub fn head(state: &State, at: usize) -> Option<CommitId> {
    state.machines[at].head.clone()
}

/// Whether a server has certified a commit.
pub fn is_certified(state: &State, at: usize, commit: &CommitId) -> bool {
    let status = state.machines[at].server.group(&GROUP);
    status.is_some_and(|status| status.certified().any(|known| known == commit))
}
