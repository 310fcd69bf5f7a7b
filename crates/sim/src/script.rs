//! A history that is told instead of thrown: for what chance does not find.

use std::collections::BTreeSet;

use dmls::CommitId;
use dmls_delivery::testing::Mutant;
use dmls_delivery::{Input, ServerId, Verdict};

use crate::checks;
use crate::config;
use crate::registry::{Made, Person, device};
use crate::run;
use crate::world::{GROUP, Step, Violation, World};

/// A world that does what it is told. What must never happen is asked all the time; the first that did ends the history.
pub struct Script {
    world: World,
    wrong: Option<Violation>,
    /// From whom to whom nothing arrives by itself.
    held: BTreeSet<(usize, usize)>,
}

impl Script {
    /// People by the numbers of their homes, and who of them begins the group.
    pub fn new(homes: &[u32], members: &[Person], mutant: Option<Mutant>) -> Self {
        Self::with_evil(homes, members, &[], mutant)
    }

    /// Some of them lie: they say OK to what only their like can process.
    pub fn with_evil(homes: &[u32], members: &[Person], evil: &[Person], mutant: Option<Mutant>) -> Self {
        let config = config::config("collude").expect("there is such a kind of worlds");
        let set = |people: &[Person]| people.iter().copied().collect();
        let world = World::with(config, mutant, homes.to_vec(), set(members), &set(evil));
        Self { world, wrong: None, held: BTreeSet::new() }
    }

    /// Keeps what happens, for [`Script::log`].
    pub fn with_log(mut self) -> Self {
        self.world.log = Some(Vec::new());
        self
    }

    /// What happened.
    pub fn log(&self) -> &[String] {
        self.world.log.as_deref().unwrap_or_default()
    }

    fn then(&mut self, step: impl FnOnce(&mut World) -> Step) {
        if self.wrong.is_none() {
            self.wrong = step(&mut self.world).err();
        }
    }

    /// The first commit.
    pub fn genesis(&self) -> CommitId {
        self.world.genesis.clone()
    }

    /// Somebody submits a commit that everybody can process but some.
    pub fn commit(
        &mut self,
        committer: Person,
        parent: &CommitId,
        tag: u32,
        members: &[Person],
        broken_for: &[Person],
    ) -> CommitId {
        self.submit(Made {
            parent: Some(parent.clone()),
            tag,
            members: members.iter().copied().collect(),
            committer,
            broken_for: broken_for.iter().copied().collect(),
            is_external: false,
        })
    }

    /// Somebody comes back by an external commit.
    pub fn external(&mut self, committer: Person, parent: &CommitId, tag: u32) -> CommitId {
        let members = self.world.registry.borrow().get(parent).members.clone();
        let (parent, broken_for) = (Some(parent.clone()), BTreeSet::new());
        self.submit(Made { parent, tag, members, committer, broken_for, is_external: true })
    }

    fn submit(&mut self, made: Made) -> CommitId {
        let mut id = self.genesis();
        let committer = made.committer;
        self.then(|world| {
            id = world.submit(committer, made)?;
            Ok(())
        });
        id
    }

    /// A server begins a ballot with whom it can reach, itself included.
    pub fn start(&mut self, server: usize, view: &[u32]) {
        let view = view.iter().map(|server| ServerId(*server)).collect();
        self.then(|world| world.start_with(server, view));
    }

    /// So many frames of one server for another arrive.
    pub fn pass(&mut self, from: usize, to: usize, count: usize) {
        self.then(|world| {
            for _ in 0..count {
                let is_it =
                    |(at, frame): &(usize, dmls_delivery::Frame)| *at == to && frame.from.0 as usize == from;
                let Some(place) = world.net.iter().position(is_it) else { break };
                world.deliver(place)?;
            }
            Ok(())
        });
    }

    /// The newest frame of one server for another overtakes the others.
    pub fn overtake(&mut self, from: usize, to: usize) {
        self.then(|world| {
            let is_it =
                |(at, frame): &(usize, dmls_delivery::Frame)| *at == to && frame.from.0 as usize == from;
            world.net.iter().rposition(is_it).map_or(Ok(()), |place| world.deliver(place))
        });
    }

    /// All frames between these servers arrive, until none is left.
    pub fn talk(&mut self, servers: &[usize]) {
        let held = self.held.clone();
        self.then(|world| {
            for _ in 0..1_000 {
                let is_between = |(at, frame): &(usize, dmls_delivery::Frame)| {
                    let from = frame.from.0 as usize;
                    servers.contains(at) && servers.contains(&from) && !held.contains(&(from, *at))
                };
                let Some(place) = world.net.iter().position(is_between) else { break };
                world.deliver(place)?;
            }
            Ok(())
        });
    }

    /// What one server sends to another waits until [`Script::pass`].
    pub fn hold(&mut self, from: usize, to: usize) {
        self.held.insert((from, to));
    }

    /// It does not wait any more.
    pub fn release(&mut self, from: usize, to: usize) {
        self.held.remove(&(from, to));
    }

    /// Policy lets nobody come back by an external commit.
    pub fn close(&mut self) {
        self.world.config.returns = false;
    }

    /// A commit must be final at a server by now.
    pub fn must_be_final(&mut self, server: usize, commit: &CommitId) {
        let is_final = self.finalized(server).is_some_and(|last| {
            let registry = self.world.registry.borrow();
            registry.is_ancestor(commit, &last)
        });
        self.then(|_| if is_final { Ok(()) } else { Err(Violation::NotFinal) });
    }

    /// No message of an epoch before the last final one may be under way to a server.
    pub fn must_be_flushed(&mut self, server: usize) {
        let is_flushed =
            self.world.status(server).is_some_and(|status| status.flushed() == status.finalized());
        self.then(|_| if is_flushed { Ok(()) } else { Err(Violation::FlushDoesNotComplete) });
    }

    /// What is under way from one server to another is lost.
    pub fn lose(&mut self, from: usize, to: usize) {
        self.world.net.retain(|(at, frame)| *at != to || frame.from.0 as usize != from);
    }

    /// The outbox of one server for another goes on until it is empty.
    pub fn ship(&mut self, from: usize, to: usize) {
        for _ in 0..50 {
            if !self.world.has_mail(from, to) {
                break;
            }
            self.then(|world| world.ship(from, to));
            self.talk(&[from, to]);
        }
    }

    /// A ballot of one server with others, from its beginning to its end, the outboxes included.
    pub fn ballot(&mut self, server: usize, view: &[u32]) {
        let servers: Vec<_> = view.iter().map(|server| *server as usize).collect();
        self.start(server, view);
        self.talk(&servers);
        for from in &servers {
            servers.iter().filter(|to| *to != from).for_each(|to| self.ship(*from, *to));
        }
    }

    /// Somebody reads all and says all.
    pub fn listen(&mut self, people: &[Person]) {
        people.iter().for_each(|person| self.then(|world| world.listen(*person)));
    }

    /// Somebody reads all and says nothing yet.
    pub fn read(&mut self, person: Person) {
        self.then(|world| {
            while world.read(person)? {}
            Ok(())
        });
    }

    /// Somebody says something, true or not.
    pub fn say(&mut self, person: Person, verdict: Verdict, commit: &CommitId) {
        let commit = commit.clone();
        self.then(|world| {
            world.clients[person].said.insert((commit.clone(), verdict == Verdict::Ok));
            let home = world.home(person);
            world
                .input(home, Input::Testify { group: GROUP, device: device(person), commit, verdict })
                .map(|_| ())
        });
    }

    /// Somebody sends a message in the epoch in which it works.
    pub fn post(&mut self, person: Person) {
        self.then(|world| world.post(person));
    }

    /// Somebody connects or goes away.
    pub fn set_online(&mut self, person: Person, is_online: bool) {
        self.world.clients[person].is_online = is_online;
    }

    /// Nothing happens for so many milliseconds.
    pub fn wait(&mut self, milliseconds: u64) {
        self.world.pass(milliseconds);
    }

    /// A server ends without a warning and starts again from its records.
    pub fn restart(&mut self, server: usize) {
        self.world.crash(server);
        self.then(|world| world.boot(server));
    }

    /// Copies the records of a server.
    pub fn back_up(&mut self, server: usize) {
        self.world.machines[server].backup = Some(self.world.machines[server].disk.clone());
    }

    /// A server comes back from its backup.
    pub fn restore(&mut self, server: usize) {
        self.then(|world| world.restore(server));
    }

    /// The head, as a server has it.
    pub fn head(&self, server: usize) -> Option<CommitId> {
        self.world.status(server).map(|status| status.head())
    }

    /// What is final at a server.
    pub fn finalized(&self, server: usize) -> Option<CommitId> {
        self.world.status(server).map(|status| status.finalized().clone())
    }

    /// Whether a server has a commit for certified.
    pub fn has_certified(&self, server: usize, commit: &CommitId) -> bool {
        self.world.status(server).is_some_and(|status| status.certified().any(|id| id == commit))
    }

    /// Whether a server waits for others after a restore.
    pub fn is_recovering(&self, server: usize) -> bool {
        self.world.is_recovering(server)
    }

    /// How many messages for somebody were accepted and not read.
    pub fn unread(&self, person: Person) -> usize {
        let read = &self.world.clients[person].read;
        let sent = self.world.posts.iter().filter(|(_, post)| post.to.contains(&person));
        sent.filter(|(name, _)| !read.contains(*name)).count()
    }

    /// What went wrong up to here.
    pub fn wrong(&self) -> Option<&Violation> {
        self.wrong.as_ref()
    }

    /// All is mended and must come together. What went wrong, if anything.
    pub fn end(&mut self) -> Option<Violation> {
        self.then(run::repair);
        self.then(checks::all);
        self.wrong.clone()
    }
}
