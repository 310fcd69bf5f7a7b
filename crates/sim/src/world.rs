//! A light world: real servers, abstract commits, stubs of clients, a network that does what it likes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use dmls::CommitId;
use dmls_delivery::testing::{self, Mutant};
use dmls_delivery::{
    Alarm, Content, Effects, Frame, GroupName, Input, Item, Kept, Message, MessageName, Millis, Parcel,
    Server, ServerId, Status, replay_into,
};

use crate::client::{Client, Harm, Nature};
use crate::config::Config;
use crate::dice::Dice;
use crate::picture::{Moment, What};
use crate::registry::{Made, Person, Registry, Seen, Shared, device};

/// The group of a light world.
pub const GROUP: GroupName = GroupName([7; 32]);

/// What must never happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// J1: finals form one chain.
    FinalFork,
    /// J2: a final has the highest tag of its certified siblings.
    FinalIsNotHighest,
    /// J3: after the repair a server with members at the head is not on it.
    NotConverged,
    /// J3: after the repair the head is not final.
    NotFinal,
    /// J4: the view never changed, and there was a fork.
    ForkWithoutSplit,
    /// J8: an epoch has more children than servers and banned committers.
    TooManyChildren,
    /// Rule 2: a commit brings in a server that nobody had asked.
    GhostServer,
    /// J5: what a client suffered.
    Client(Harm),
    /// J7: a message that was accepted is lost.
    MessageLost,
    /// An honest member is not on the final chain after the repair.
    MemberLeftBehind,
    /// A final commit that no honest member can process.
    Bricked,
    /// After the repair the group can't go on.
    CannotGoOn,
    /// While a split lasts a side of it can't go on.
    SideCannotGoOn,
    /// After the repair message keys are still kept.
    FlushDoesNotComplete,
    /// After the repair a server still recovers.
    StillRecovering,
    /// What was kept is not what the server was.
    Damaged,
    /// What a server keeps of its outboxes does not empty.
    OutboxStuck,
    /// The head of a server does not descend from its last final commit.
    HeadLeavesFinal,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A server and its disk.
pub struct Machine {
    /// Not while it is down.
    pub server: Option<Server>,
    pub(crate) disk: Kept,
    pub(crate) backup: Option<Kept>,
}

/// A message of an application.
pub struct Post {
    /// In which epoch.
    pub epoch: CommitId,
    /// For whom.
    pub to: BTreeSet<Person>,
    /// From which server.
    pub home: usize,
    /// How many were sent before it.
    pub number: usize,
}

/// One world.
pub struct World {
    pub(crate) config: Config,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) dice: Dice,
    pub(crate) registry: Shared,
    pub(crate) genesis: CommitId,
    pub(crate) machines: Vec<Machine>,
    pub(crate) clients: Vec<Client>,
    pub(crate) net: Vec<(usize, Frame)>,
    /// Which part of the network each server is in.
    pub(crate) parts: Vec<usize>,
    /// Whom each server saw when it began its last ballot.
    views: BTreeMap<usize, BTreeSet<ServerId>>,
    /// Of each commit that was proposed whom its leaders saw.
    asked: BTreeMap<CommitId, BTreeSet<ServerId>>,
    /// Every commit that some server certified.
    certified: BTreeSet<CommitId>,
    now: Millis,
    /// Every commit that some server took for final.
    pub(crate) finals: BTreeSet<CommitId>,
    pub(crate) posts: BTreeMap<MessageName, Post>,
    pub(crate) has_wrong_views: bool,
    has_losses: bool,
    has_restores: bool,
    restored: usize,
    /// Of servers that came back from a backup, how many messages had been sent until then.
    pub(crate) gaps: BTreeMap<usize, usize>,
    lost: usize,
    pub(crate) split_ever: bool,
    /// Who could follow before those who could not came back.
    pub(crate) sound_before: BTreeSet<Person>,
    /// Whether something became final after the repair.
    pub(crate) went_on: bool,
    /// How often each rare thing happened.
    pub rare: BTreeMap<&'static str, u64>,
    /// What happened, if somebody wants to read it,
    pub log: Option<Vec<String>>,
    /// or to see it.
    pub(crate) moments: Option<Vec<Moment>>,
}

/// How a step ended.
pub type Step = Result<(), Violation>;

impl World {
    /// The world of a seed, before anything happens.
    pub fn new(seed: u64, config: Config, mutant: Option<Mutant>) -> Self {
        let mut dice = Dice::new(seed);
        let count = dice.between(2, config.servers.max(2));
        let mut homes = Vec::new();
        for server in 0..count {
            homes.extend(std::iter::repeat_n(server as u32, dice.between(2, 3)));
        }
        let people = homes.len();
        let mut evil = BTreeSet::new();
        if dice.chance(config.evil) {
            evil.insert(dice.below(people));
            if config.colludes {
                evil.insert(dice.below(people));
            }
        }
        let (has_losses, has_restores) = (dice.chance(config.loses), dice.chance(config.restores));
        let mut members: BTreeSet<_> =
            (0..people).filter(|person| evil.contains(person) || dice.chance(800)).collect();
        if dice.chance(config.narrow) {
            let first = |server| homes.iter().position(|home| *home == server as u32);
            members = (0..count).filter_map(first).chain(evil.iter().copied()).collect();
        }
        if members.is_empty() {
            members.insert(0);
        }
        let has_wrong_views = dice.chance(config.wrong_views);
        let mut world = Self::with(config, mutant, homes, members, &evil);
        world.has_wrong_views = has_wrong_views;
        (world.has_losses, world.has_restores) = (has_losses, has_restores);
        world.dice = dice;
        world
    }

    /// A world of which nothing is left to chance yet.
    pub(crate) fn with(
        config: Config,
        mutant: Option<Mutant>,
        homes: Vec<u32>,
        members: BTreeSet<Person>,
        evil: &BTreeSet<Person>,
    ) -> Self {
        let people = homes.len();
        let count = homes.iter().max().map_or(0, |last| *last as usize + 1);
        let (registry, genesis) = Registry::new(homes, members.clone());
        let registry = Rc::new(RefCell::new(registry));
        let nature = |person| Nature {
            is_evil: evil.contains(&person),
            colludes: evil.contains(&person) && config.colludes,
            says_failed: evil.contains(&person) && config.says_failed,
        };
        let client = |person| Client::new(person, nature(person), &genesis, members.contains(&person));
        let clients = (0..people).map(client).collect();
        let mut world = Self {
            config,
            mutant,
            dice: Dice::new(0),
            registry,
            genesis: genesis.clone(),
            machines: Vec::new(),
            clients,
            net: Vec::new(),
            parts: vec![0; count],
            views: BTreeMap::new(),
            asked: BTreeMap::new(),
            certified: BTreeSet::from([genesis.clone()]),
            now: Millis(1_000_000),
            finals: BTreeSet::from([genesis.clone()]),
            posts: BTreeMap::new(),
            has_wrong_views: false,
            has_losses: false,
            has_restores: false,
            restored: 0,
            gaps: BTreeMap::new(),
            lost: 0,
            split_ever: false,
            sound_before: BTreeSet::new(),
            went_on: false,
            rare: BTreeMap::new(),
            log: None,
            moments: None,
        };
        for server in 0..count {
            let me = ServerId(server as u32);
            let empty = Kept::new();
            let mut machine = Machine {
                server: testing::load(me, &empty, Vec::new(), mutant).ok(),
                disk: empty,
                backup: None,
            };
            let commit = world.registry.borrow().commit(&genesis);
            let epochs = Box::new(Seen(world.registry.clone()));
            if let Some(server) = &mut machine.server {
                let effects = server.create(GROUP, commit, epochs, world.now);
                write(&mut machine.disk, effects);
            }
            world.machines.push(machine);
        }
        world
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(text());
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.rare.entry(what).or_default() += 1;
    }

    /// The server, while it is up.
    pub(crate) fn status(&self, server: usize) -> Option<Status<'_>> {
        self.machines[server].server.as_ref()?.group(&GROUP)
    }

    pub(crate) fn is_up(&self, server: usize) -> bool {
        self.machines[server].server.is_some()
    }

    pub(crate) fn is_recovering(&self, server: usize) -> bool {
        self.status(server).is_some_and(|status| status.is_recovering())
    }

    pub(crate) fn home(&self, person: Person) -> usize {
        self.registry.borrow().homes[person] as usize
    }

    /// Whom a server believes that it can reach.
    fn view(&mut self, server: usize) -> BTreeSet<ServerId> {
        let mut view = BTreeSet::new();
        for other in 0..self.machines.len() {
            let is_there = if self.has_wrong_views {
                self.dice.chance(700)
            } else {
                self.parts[other] == self.parts[server] && self.is_up(other)
            };
            let waits = self.is_recovering(other) && self.mutant != Some(Mutant::RecoveringInView);
            if other == server || is_there && !waits {
                view.insert(ServerId(other as u32));
            }
        }
        view
    }

    /// One input of one server; what it sends goes into the network.
    pub(crate) fn input(&mut self, server: usize, input: Input) -> Result<bool, Violation> {
        let online = (0..self.clients.len()).filter(|person| self.home(*person) == server);
        let online = online.filter(|person| self.clients[*person].is_online).map(device).collect();
        let (now, machine) = (self.now, &mut self.machines[server]);
        let Some(running) = &mut machine.server else { return Ok(false) };
        running.set_online(online);
        let before = self.moments.is_some().then(|| Sight::of(running)).flatten();
        let Ok(effects) = running.handle(input, now) else { return Ok(false) };
        let settled = self.settle(server, effects);
        self.show(server, before);
        settled.map(|()| true)
    }

    fn mark(&mut self, server: usize, what: What) {
        if let Some(moments) = &mut self.moments {
            moments.push(Moment { server, what });
        }
    }

    /// Marks what a server knows now and did not know before.
    fn show(&mut self, server: usize, before: Option<Sight>) {
        let after = self.machines[server].server.as_ref().and_then(Sight::of);
        let (Some(before), Some(after)) = (before, after) else { return };
        if before.recovers && !after.recovers {
            self.mark(server, What::Recovered);
        }
        for commit in after.certified.difference(&before.certified) {
            self.mark(server, What::Certified(commit.clone()));
        }
        let registry = self.registry.borrow();
        let stays: BTreeSet<_> = registry.path(&after.head).into_iter().collect();
        let left = registry.path(&before.head).into_iter().filter(|epoch| !stays.contains(epoch)).count();
        drop(registry);
        if left > 0 {
            self.mark(server, What::Rollback(left));
        }
        if before.finalized != after.finalized {
            self.mark(server, What::Final(after.finalized));
        }
    }

    fn settle(&mut self, server: usize, effects: Effects) -> Step {
        let (frames, alarms) = write(&mut self.machines[server].disk, effects);
        for (to, frame) in frames {
            if let Content::Message { message: Message::Accept { commit, .. }, .. } = &frame.content {
                let view = self.views.get(&server).cloned().unwrap_or_default();
                self.asked.entry(commit.clone()).or_default().extend(view);
            }
            self.net.push((to.0 as usize, frame));
        }
        if alarms.iter().any(|alarm| matches!(alarm, Alarm::FinalFork(_))) {
            return Err(Violation::FinalFork);
        }
        self.no_ghosts(server)?;
        let Some(finalized) = self.status(server).map(|status| status.finalized().clone()) else {
            return Ok(());
        };
        if self.finals.insert(finalized.clone()) {
            let registry = self.registry.borrow();
            let is_chain = self.finals.iter().all(|other| {
                registry.is_ancestor(other, &finalized) || registry.is_ancestor(&finalized, other)
            });
            drop(registry);
            self.note(|| format!("   S{server}: {finalized:?} is final"));
            if !is_chain {
                return Err(Violation::FinalFork);
            }
        }
        Ok(())
    }

    /// Rule 2: of what a server certifies first, a leader could reach the servers that are new.
    fn no_ghosts(&mut self, server: usize) -> Step {
        let Some(status) = self.status(server) else { return Ok(()) };
        let new: Vec<_> = status.certified().filter(|id| !self.certified.contains(*id)).cloned().collect();
        for id in new {
            let registry = self.registry.borrow();
            let mut added = registry.servers(&id);
            let parent = registry.get(&id).parent.as_ref().map(|parent| registry.servers(parent));
            added.retain(|server| !parent.iter().flatten().any(|old| old == server));
            let is_asked = |new: &ServerId| {
                let asked = self.asked.get(&id).into_iter().chain(self.views.get(&server));
                asked.flatten().any(|server| server == new)
            };
            if !added.iter().all(is_asked) {
                return Err(Violation::GhostServer);
            }
            drop(registry);
            self.certified.insert(id);
        }
        Ok(())
    }

    /// The frame at a place of the network arrives.
    pub(crate) fn deliver(&mut self, place: usize) -> Step {
        let (to, frame) = self.net.remove(place);
        self.note(|| format!("S{to} gets {} from S{}", brief(&frame.content), frame.from.0));
        self.input(to, Input::Frame(frame)).map(|_| ())
    }

    fn can_pass(&self, to: usize, frame: &Frame) -> bool {
        self.parts[to] == self.parts[frame.from.0 as usize]
    }

    /// Everything that can arrive does.
    pub(crate) fn drain(&mut self, at_most: usize) -> Step {
        for _ in 0..at_most {
            let Some(place) = self.net.iter().position(|(to, frame)| self.can_pass(*to, frame)) else {
                break;
            };
            self.deliver(place)?;
        }
        Ok(())
    }

    /// The outbox of one server for another goes on by one row, and its receipt comes back.
    pub(crate) fn ship(&mut self, from: usize, to: usize) -> Step {
        self.input(from, Input::Ship(ServerId(to as u32))).map(|_| ())
    }

    pub(crate) fn has_mail(&self, from: usize, to: usize) -> bool {
        let server = self.machines[from].server.as_ref();
        server.is_some_and(|server| server.has_mail(ServerId(to as u32)))
    }

    /// A server begins a ballot.
    pub(crate) fn start(&mut self, server: usize) -> Step {
        let view = self.view(server);
        self.start_with(server, view)
    }

    /// A server begins a ballot, and believes that it can reach these.
    pub(crate) fn start_with(&mut self, server: usize, view: BTreeSet<ServerId>) -> Step {
        self.note(|| format!("S{server} starts a ballot, sees {view:?}"));
        self.mark(server, What::Ballot);
        self.views.insert(server, view.clone());
        if let Some(running) = &mut self.machines[server].server {
            running.set_view(view);
        }
        self.input(server, Input::Start(GROUP)).map(|_| ())
    }

    pub(crate) fn crash(&mut self, server: usize) {
        if self.status(server).is_some_and(|status| status.is_busy()) {
            self.count("leader crashed in its ballot");
        }
        self.note(|| format!("S{server} crashes"));
        self.mark(server, What::Crash);
        self.machines[server].server = None;
    }

    pub(crate) fn boot(&mut self, server: usize) -> Step {
        if self.is_up(server) {
            return Ok(());
        }
        self.note(|| format!("S{server} starts"));
        self.mark(server, What::Boot);
        let kept = self.machines[server].disk.clone();
        self.load(server, &kept)
    }

    fn load(&mut self, server: usize, kept: &Kept) -> Step {
        let commit = self.registry.borrow().commit(&self.genesis);
        let groups = vec![(GROUP, commit, Box::new(Seen(self.registry.clone())) as Box<_>)];
        let loaded = testing::load(ServerId(server as u32), kept, groups, self.mutant);
        self.machines[server].server = Some(loaded.map_err(|_| Violation::Damaged)?);
        self.machines[server].disk.clone_from(kept);
        Ok(())
    }

    /// A server comes back from its backup.
    pub(crate) fn restore(&mut self, server: usize) -> Step {
        let Some(backup) = self.machines[server].backup.take() else { return Ok(()) };
        self.note(|| format!("S{server} comes back from its backup"));
        self.mark(server, What::Restore);
        self.restored += 1;
        self.gaps.insert(server, self.posts.len());
        self.count("backup restored");
        // The incarnation is durable by itself: it rises even where the backup does not know of the last one.
        self.load(server, &backup)?;
        self.forget_untold(server);
        let now = self.now;
        let Some(running) = &mut self.machines[server].server else { return Ok(()) };
        let effects = running.restore(now);
        for client in &mut self.clients {
            if self.registry.borrow().homes[client.me] as usize == server {
                client.cursor = 0;
                client.say_again();
            }
        }
        self.settle(server, effects)
    }

    /// What only the restored server knew to be final, and nobody was told, has not happened.
    fn forget_untold(&mut self, server: usize) {
        let registry = self.registry.borrow();
        let own = self.status(server).map(|status| status.finalized().clone());
        let known: Vec<_> = (0..self.machines.len())
            .filter_map(|other| self.machines[other].disk_final(other, self))
            .chain(own)
            .chain(self.clients.iter().map(|client| client.finalized.clone()))
            .collect();
        self.finals.retain(|id| known.iter().any(|finalized| registry.is_ancestor(id, finalized)));
    }

    /// A client that meets a new incarnation of its server gives it what it holds.
    fn teach(&mut self, person: Person) -> Step {
        let home = self.home(person);
        let Some(server) = &self.machines[home].server else { return Ok(()) };
        let incarnation = server.incarnation();
        let client = &self.clients[person];
        if client.incarnation == incarnation || self.is_recovering(home) {
            return Ok(());
        }
        let registry = self.registry.borrow();
        let held: BTreeSet<_> = client.tree.iter().flat_map(|epoch| registry.path(epoch)).collect();
        let mut held: Vec<_> = held.into_iter().collect();
        held.sort_by_key(|id| registry.path(id).len());
        let bodies = held.iter().filter_map(|id| registry.body(id)).collect();
        let knows = client.tree.contains(&client.finalized) && !client.is_provisional;
        let finalized = knows.then(|| client.finalized.clone());
        drop(registry);
        self.clients[person].incarnation = incarnation;
        self.input(home, Input::Teach { group: GROUP, bodies, finalized }).map(|_| ())
    }

    /// A client takes the next item of its queue.
    pub(crate) fn read(&mut self, person: Person) -> Result<bool, Violation> {
        self.teach(person)?;
        let home = self.home(person);
        let Some(server) = &self.machines[home].server else { return Ok(false) };
        let cursor = self.clients[person].cursor;
        let next = server.queue(&device(person)).find(|(number, _)| *number > cursor);
        let Some((number, item)) = next.map(|(number, item)| (number, item.clone())) else {
            return Ok(false);
        };
        self.note(|| format!("c{person} reads {}", brief_item(&item)));
        let registry = self.registry.clone();
        let finals = self.finals.clone();
        let is_final = |epoch: &CommitId| finals.iter().any(|id| registry.borrow().is_ancestor(epoch, id));
        let taken = self.clients[person].take(&item, &self.registry.borrow(), is_final);
        taken.map_err(Violation::Client)?;
        self.clients[person].cursor = number;
        self.input(home, Input::Acknowledge { device: device(person), up_to: number })?;
        Ok(true)
    }

    /// A client says the next thing that it has to say. What its server does not take, because it came back from a backup and does
    /// not know the commit yet, is said again later.
    pub(crate) fn tell(&mut self, person: Person) -> Result<bool, Violation> {
        self.teach(person)?;
        let home = self.home(person);
        for place in 0..self.clients[person].verdicts.len() {
            let (verdict, commit) = self.clients[person].verdicts[place].clone();
            let text = format!("c{person} says {verdict:?} to {commit:?}");
            let testimony = Input::Testify { group: GROUP, device: device(person), commit, verdict };
            if self.input(home, testimony)? {
                self.note(|| text);
                self.clients[person].verdicts.remove(place);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The epoch in which a client works: of the head that its server announces the deepest that it could process.
    pub(crate) fn works_at(&self, person: Person) -> Option<CommitId> {
        let status = self.status(self.home(person))?;
        let path = self.registry.borrow().path(&status.head());
        path.into_iter().rev().find(|epoch| self.clients[person].tree.contains(epoch))
    }

    /// Whether it can process a commit on the head that its server announces, and so say whether others can.
    pub(crate) fn works_at_head(&self, person: Person) -> bool {
        let head = self.status(self.home(person)).map(|status| status.head());
        head.is_some_and(|head| self.clients[person].tree.contains(&head))
    }

    pub(crate) fn post(&mut self, person: Person) -> Step {
        if self.clients[person].is_stranded {
            return Ok(());
        }
        self.teach(person)?;
        let Some(epoch) = self.works_at(person) else { return Ok(()) };
        let mut to = self.registry.borrow().get(&epoch).members.clone();
        if !to.remove(&person) {
            return Ok(());
        }
        let mut name = MessageName([0; 32]);
        name.0[..8].copy_from_slice(&(self.posts.len() as u64 + 1).to_be_bytes());
        let home = self.home(person);
        let (message, who) = (name, device(person));
        self.note(|| format!("c{person} posts in {epoch:?}"));
        let input =
            Input::Post { group: GROUP, device: who, message, epoch: epoch.clone(), bytes: Vec::new() };
        if self.input(home, input)? {
            let number = self.posts.len();
            self.posts.insert(name, Post { epoch, to, home, number });
        }
        Ok(())
    }

    pub(crate) fn submit(&mut self, person: Person, made: Made) -> Result<CommitId, Violation> {
        self.teach(person)?;
        let id = self.registry.borrow_mut().make(made);
        let home = self.home(person);
        let shared = self.registry.clone();
        self.note(|| {
            let registry = shared.borrow();
            let Made { parent, members, tag, .. } = registry.get(&id);
            format!("c{person} submits {id:?} on {parent:?} at S{home}, members {members:?}, tag {tag}")
        });
        let body = self.registry.borrow().body(&id);
        if let Some(body) = body {
            self.input(home, Input::Submit { group: GROUP, device: device(person), body })?;
        }
        Ok(id)
    }

    /// Whoever has lost the way comes back by an external commit on the head that its server announces.
    pub(crate) fn resync(&mut self, person: Person) -> Step {
        let home = self.home(person);
        if !self.config.returns {
            return Ok(());
        }
        let Some(head) =
            self.status(home).filter(|status| !status.is_recovering()).map(|status| status.head())
        else {
            return Ok(());
        };
        let members = self.registry.borrow().get(&head).members.clone();
        if !members.contains(&person) {
            return Ok(());
        }
        let tag = self.dice.below(1 << 20) as u32;
        let made = Made {
            parent: Some(head),
            tag,
            members,
            committer: person,
            broken_for: BTreeSet::new(),
            is_external: true,
        };
        self.count("resync");
        self.submit(person, made).map(|_| ())
    }

    /// A client commits: usually nothing in particular, sometimes it adds or removes somebody; a good one only refreshes, and
    /// removes whom it is told to.
    pub(crate) fn commit(
        &mut self,
        person: Person,
        is_good: bool,
        removes: &BTreeSet<Person>,
    ) -> Result<Option<CommitId>, Violation> {
        let client = &self.clients[person];
        if (client.is_stranded || client.is_lost) && !client.nature.is_evil {
            return self.resync(person).map(|()| None);
        }
        if client.is_lost || client.is_stranded {
            return Ok(None);
        }
        let Some(epoch) = self.works_at(person) else { return Ok(None) };
        let mut members = self.registry.borrow().get(&epoch).members.clone();
        if !members.contains(&person) {
            return Ok(None);
        }
        let people = self.clients.len();
        let turn = self.dice.below(1000);
        if is_good {
            members.retain(|member| *member == person || !removes.contains(member));
        } else if turn < 300 {
            let newcomers: Vec<_> = (0..people)
                .filter(|other| !members.contains(other) && self.clients[*other].had.is_empty())
                .collect();
            members.extend(self.dice.pick(&newcomers));
        } else if turn < 500 {
            let others: Vec<_> = members.iter().copied().filter(|other| *other != person).collect();
            if let Some(other) = self.dice.pick(&others) {
                members.remove(other);
            }
        }
        let mut broken_for = BTreeSet::new();
        let nature = self.clients[person].nature;
        if nature.is_evil && !is_good {
            match self.dice.below(10) {
                0..4 => broken_for.extend(0..people),
                4..8 => broken_for.extend((0..people).filter(|_| self.dice.chance(500))),
                _ => {}
            }
            broken_for.retain(|other| !(nature.colludes && self.clients[*other].nature.is_evil));
        }
        let tag = self.dice.below(1 << 20) as u32;
        let made =
            Made { parent: Some(epoch), tag, members, committer: person, broken_for, is_external: false };
        self.submit(person, made).map(Some)
    }

    /// All that waits in queues is read, and all that clients have to say is said.
    pub(crate) fn pump(&mut self) -> Step {
        for from in 0..self.machines.len() {
            for to in 0..self.machines.len() {
                for _ in 0..200 {
                    if from == to
                        || !self.is_up(to)
                        || !self.has_mail(from, to)
                        || self.parts[from] != self.parts[to]
                    {
                        break;
                    }
                    self.ship(from, to)?;
                    self.drain(400)?;
                }
            }
        }
        for person in 0..self.clients.len() {
            self.listen(person)?;
        }
        Ok(())
    }

    /// A client reads all and says all.
    pub(crate) fn listen(&mut self, person: Person) -> Step {
        while self.read(person)? {}
        while self.tell(person)? {}
        Ok(())
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.after(milliseconds);
    }

    /// Something happens: one event, of which the number says all.
    pub fn happen(&mut self, event: u64) -> Step {
        self.dice = Dice::new(event);
        let passed = self.dice.below(400) as u64;
        self.pass(passed);
        let servers = self.machines.len();
        match self.dice.below(1000) {
            0..420 => {
                let arrive = self.dice.between(1, self.config.deliveries);
                (0..arrive).try_for_each(|_| self.something_arrives())
            }
            420..440 => {
                if !self.net.is_empty() {
                    let place = self.dice.below(self.net.len());
                    let (_, frame) = self.net.swap_remove(place);
                    if matches!(frame.content, Content::Parcel { parcel: Parcel::Certified { .. }, .. }) {
                        self.count("certificate lost");
                    }
                }
                Ok(())
            }
            440..520 => {
                let (from, to) = (self.dice.below(servers), self.dice.below(servers));
                if from != to
                    && self.parts[from] == self.parts[to]
                    && self.has_mail(from, to)
                    && self.dice.chance(self.config.ship)
                {
                    self.ship(from, to)?;
                }
                Ok(())
            }
            520..700 => self.somebody_reads(),
            700..750 => {
                let person = self.dice.below(self.clients.len());
                self.commit(person, false, &BTreeSet::new()).map(|_| ())
            }
            750..790 => {
                let person = self.dice.below(self.clients.len());
                if self.clients[person].is_online { self.post(person) } else { Ok(()) }
            }
            790..810 => {
                let person = self.dice.below(self.clients.len());
                self.clients[person].is_online ^= true;
                Ok(())
            }
            810..830 if self.config.splits => {
                self.split();
                let parts = self.parts.clone();
                self.note(|| format!("split {parts:?}"));
                self.mark(0, What::Parts(parts));
                Ok(())
            }
            830..850 => {
                self.join_parts();
                Ok(())
            }
            850..865 if self.config.crashes => {
                let server = self.dice.below(servers);
                self.split_ever = true;
                if self.is_up(server) {
                    self.crash(server);
                    if self.dice.chance(500) { self.boot(server) } else { Ok(()) }
                } else {
                    self.boot(server)
                }
            }
            865..875 => (0..servers).try_for_each(|server| self.boot(server)),
            875..890 if self.has_restores && self.restored < self.config.restores_at_most => {
                self.back_up_or_restore()
            }
            890..892 if self.has_losses && self.lost == 0 => {
                let honest: Vec<_> =
                    (0..self.clients.len()).filter(|person| !self.clients[*person].nature.is_evil).collect();
                if let Some(person) = self.dice.pick(&honest).copied() {
                    self.note(|| format!("c{person} loses its state"));
                    self.lost += 1;
                    self.clients[person].lose();
                }
                Ok(())
            }
            _ => self.somebody_leads(),
        }
    }

    /// The network splits; half of the times where it is split already, what is left of it.
    fn split(&mut self) {
        let parts: Vec<_> = (0..self.machines.len()).map(|_| self.dice.below(2)).collect();
        let is_split = |parts: &[usize]| parts.iter().any(|part| *part != parts[0]);
        if is_split(&self.parts) && self.dice.chance(500) {
            let nested: Vec<_> = self.parts.iter().zip(&parts).map(|(old, new)| 2 * old + new).collect();
            if nested.iter().collect::<BTreeSet<_>>().len() > 2 {
                self.count("nested split");
            }
            self.parts = nested;
        } else {
            self.parts = parts;
        }
        self.split_ever = true;
        let asks = |frame: &Frame| {
            matches!(frame.content, Content::Message { message: Message::Finalize { .. }, .. })
        };
        if self.net.iter().any(|(to, frame)| asks(frame) && !self.can_pass(*to, frame)) {
            self.count("split while something became final");
        }
    }

    fn something_arrives(&mut self) -> Step {
        if self.net.is_empty() {
            return Ok(());
        }
        let place = if self.dice.chance(500) { self.dice.below(self.net.len()) } else { 0 };
        let (to, frame) = self.net[place].clone();
        if self.can_pass(to, &frame) {
            let again = self.dice.chance(40);
            self.deliver(place)?;
            if again {
                self.net.push((to, frame));
            }
        } else if self.dice.chance(300) {
            self.net.remove(place);
        }
        Ok(())
    }

    fn somebody_reads(&mut self) -> Step {
        let person = self.dice.below(self.clients.len());
        if self.clients[person].is_online && self.is_up(self.home(person)) {
            let reads_first = self.dice.chance(700);
            if !(reads_first && self.read(person)?) {
                self.tell(person)?;
            }
        }
        Ok(())
    }

    fn back_up_or_restore(&mut self) -> Step {
        match self.machines.iter().position(|machine| machine.backup.is_some()) {
            Some(server) if self.dice.chance(500) => self.restore(server),
            Some(_) => Ok(()),
            None => {
                let server = self.dice.below(self.machines.len());
                self.note(|| format!("backup of S{server}"));
                self.machines[server].backup = Some(self.machines[server].disk.clone());
                Ok(())
            }
        }
    }

    fn somebody_leads(&mut self) -> Step {
        let server = self.dice.below(self.machines.len());
        let is_busy = self.status(server).is_some_and(|status| status.is_busy());
        if self.is_up(server) && (!is_busy || self.dice.chance(100)) {
            self.start(server)?;
        }
        if self.dice.chance(self.config.bursts) {
            for _ in 0..2 {
                self.drain(400)?;
                for person in 0..self.clients.len() {
                    if self.clients[person].is_online && self.dice.chance(800) {
                        self.listen(person)?;
                    }
                }
                if self.is_up(server) {
                    self.start(server)?;
                }
            }
        }
        Ok(())
    }

    fn join_parts(&mut self) {
        self.parts = vec![0; self.machines.len()];
        self.mark(0, What::Parts(self.parts.clone()));
    }

    /// Nothing is broken any more.
    pub(crate) fn mend(&mut self) -> Step {
        self.note(|| "--- repair".into());
        self.mark(0, What::Repair);
        self.join_parts();
        self.has_wrong_views = false;
        (0..self.machines.len()).try_for_each(|server| self.boot(server))?;
        self.clients.iter_mut().for_each(|client| client.is_online = true);
        Ok(())
    }

    /// Drops what can't pass.
    pub(crate) fn drop_stuck(&mut self) {
        let parts = self.parts.clone();
        self.net.retain(|(to, frame)| parts[*to] == parts[frame.from.0 as usize]);
    }

    pub(crate) fn outboxes_len(&self) -> usize {
        let servers = self.machines.iter().filter_map(|machine| machine.server.as_ref());
        servers.map(Server::outbox_len).sum()
    }
}

/// What a server knows that shows in a picture.
struct Sight {
    head: CommitId,
    finalized: CommitId,
    certified: BTreeSet<CommitId>,
    recovers: bool,
}

impl Sight {
    fn of(server: &Server) -> Option<Self> {
        let status = server.group(&GROUP)?;
        Some(Self {
            head: status.head(),
            finalized: status.finalized().clone(),
            certified: status.certified().cloned().collect(),
            recovers: status.is_recovering(),
        })
    }
}

impl Machine {
    /// The last final commit that a machine knows, also while it is down.
    fn disk_final(&self, server: usize, world: &World) -> Option<CommitId> {
        if let Some(status) = world.status(server) {
            return Some(status.finalized().clone());
        }
        let commit = world.registry.borrow().commit(&world.genesis);
        let groups = vec![(GROUP, commit, Box::new(Seen(world.registry.clone())) as Box<_>)];
        let server = Server::load(ServerId(server as u32), &self.disk, groups).ok()?;
        server.group(&GROUP).map(|status| status.finalized().clone())
    }
}

fn write(disk: &mut Kept, effects: Effects) -> (Vec<(ServerId, Frame)>, Vec<Alarm>) {
    let written = effects.persist(|writes| {
        replay_into(disk, writes);
        Ok::<_, std::convert::Infallible>(())
    });
    match written {
        Ok(sendable) => (sendable.frames, sendable.alarms),
        Err(never) => match never {},
    }
}

fn brief(content: &Content) -> String {
    let text = match content {
        Content::Hello => "Hello".into(),
        Content::Probe { .. } | Content::Probed { .. } => "a probe".into(),
        Content::Records { .. } => "records".into(),
        Content::Message { message, .. } => format!("{message:?}"),
        Content::Parcel { parcel, .. } => format!("{parcel:?}"),
        Content::Received { number } => format!("Received {number}"),
    };
    text.chars().take(160).collect()
}

fn brief_item(item: &Item) -> String {
    format!("{item:?}").chars().take(80).collect()
}
