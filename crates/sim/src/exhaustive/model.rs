//! Servers and the network between them, and what one server does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use dmls::CommitId;
use dmls_delivery::testing::{self, Glimpse, Mutant};
use dmls_delivery::{
    Alarm, Ballot, Content, Effects, Frame, GroupName, Incarnation, Input, Kept, Message, Millis, Server,
    ServerId, Verdict, replay_into,
};

use super::bounds::Bounds;
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
    pub(super) fingerprint: u128,
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
    pub(super) views: Vec<u8>,
    /// Commits that were submitted.
    pub commits: BTreeSet<CommitId>,
    pub(super) ballots: u8,
    pub(super) restarts: u8,
    pub(super) copies: u8,
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

/// Servers, bounds, and what is broken.
pub struct Model {
    /// How far the search goes.
    pub bounds: Bounds,
    mutant: Option<Mutant>,
    /// All commits that were ever made.
    pub registry: Shared,
    pub(super) genesis: CommitId,
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

    pub(super) fn restart(&self, state: &mut State, at: usize) -> Result<(), Violation> {
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

    pub(super) fn can_process(&self, person: usize, commit: &CommitId) -> bool {
        let registry = self.registry.borrow();
        registry.path(commit).iter().all(|id| !registry.get(id).broken_for.contains(&person))
    }

    /// Whether the client of a server is a member at its head and can say something of it.
    pub fn works(&self, state: &State, at: usize) -> bool {
        let Some(head) = head(state, at) else { return false };
        self.registry.borrow().get(&head).members.contains(&at) && self.can_process(at, &head)
    }
}

fn frame_of(from: usize, content: Content) -> Frame {
    Frame { from: id(from), incarnation: Incarnation(0), to: Incarnation(0), content }
}

/// Writes what belongs to groups, and gives what may be sent then.
fn write(kept: &mut Kept, effects: Effects) -> Result<Vec<(ServerId, Frame)>, Violation> {
    let sendable = effects.persist(|writes| {
        let of_groups = writes.iter().filter(|(key, _)| key.first() == Some(&RECORDS_OF_GROUPS));
        replay_into(kept, of_groups);
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
