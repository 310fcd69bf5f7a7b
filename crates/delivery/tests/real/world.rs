//! Servers with real groups on them, and members with the library's real client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use dmls::crypto::{Secret, SignatureKeyPair};
use dmls::extension::{DeliveryKind, Extensions, HomeAttestation, Ruleset};
use dmls::{
    AuthenticationService, Bundle, CipherSuite, CommitBuilder, CommitId, Config, Credential, Group, Identity,
    Lifetime, Network, NewGroupOptions, OwnKeyPackage, Presented, Provider, Retention, Suite, Time,
};
use dmls_delivery::{
    Body, Damaged, Device, Effects, Epochs, Frame, GroupEpochs, GroupName, Home, Input, Item, Kept,
    MessageName, Millis, RULES, Records, Refused, Server, ServerId, ServerKeys, Verdict, decode_bundle,
    encode_bundle, kept_groups, replay_into,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

pub const NOW: Time = Time(1_800_000_000);

/// The records of a server, as all see them.
#[derive(Clone, Default)]
pub struct Disk(pub Rc<RefCell<Kept>>);

impl Records for Disk {
    fn under(&self, prefix: &[u8]) -> Result<Kept, Damaged> {
        self.0.borrow().under(prefix)
    }
}

/// The roster: whom all servers know.
#[derive(Clone, Default)]
pub struct Known(pub Rc<RefCell<Vec<Home>>>);

impl ServerKeys for Known {
    fn had(&self, home: &Home) -> bool {
        self.0.borrow().contains(home)
    }
}

impl Disk {
    pub fn write(&self, effects: Effects) -> Vec<(ServerId, Frame)> {
        let mut kept = self.0.borrow_mut();
        let sendable = effects.persist(|writes| {
            replay_into(&mut kept, writes);
            Ok::<_, ()>(())
        });
        let sendable = sendable.unwrap();
        assert_eq!(sendable.alarms, []);
        sendable.frames
    }
}

pub fn suite() -> Suite {
    Provider::default().suite(CipherSuite::X25519_AES128).unwrap()
}

pub fn ruleset() -> Ruleset {
    Ruleset { delivery: DeliveryKind::SERVER, ruleset: RULES.to_vec(), ..Ruleset::default() }
}

pub fn config(ruleset: Ruleset) -> Config {
    Config {
        encrypt_handshake: false,
        ruleset: Some(ruleset),
        retention: Retention::while_told(),
        // Longer than the library would have it: what members take, servers take.
        max_lifetime: u64::MAX,
        ..Config::new(Anybody)
    }
}

/// Members may call themselves what they want, and change it.
struct Anybody;

impl AuthenticationService for Anybody {
    fn is_valid(&self, _: &Presented<'_>) -> bool {
        true
    }

    fn is_successor(&self, _: &Credential, _: &Presented<'_>) -> bool {
        true
    }
}

/// A server's key for attestations.
pub struct Signer {
    pub home: Home,
    pub keys: SignatureKeyPair,
}

impl Signer {
    pub fn new(number: u32, rng: &mut ChaCha20Rng) -> Self {
        let keys = SignatureKeyPair::generate(&suite(), rng).unwrap();
        Self { home: Home { server: ServerId(number), key: keys.public().clone() }, keys }
    }

    pub fn attest(&self, device: Device, identity: &Identity) -> HomeAttestation {
        let key = identity.signer().public();
        self.home.attest(&suite(), self.keys.private(), device, key).unwrap()
    }
}

pub struct Person {
    pub home: usize,
    pub device: Device,
    pub identity: Identity,
    pub group: Option<Group>,
    pub invited: Option<OwnKeyPackage>,
    read: u64,
    /// What lost, for now.
    pub conflicts: Vec<CommitId>,
    pub heard: Vec<Vec<u8>>,
    /// Says of every commit that it can't be processed.
    pub grumbles: bool,
}

impl Person {
    pub fn group(&mut self) -> &mut Group {
        self.group.as_mut().unwrap()
    }
}

pub struct World {
    pub rng: ChaCha20Rng,
    pub config: Config,
    pub signers: Vec<Signer>,
    pub known: Known,
    pub servers: Vec<Server>,
    pub disks: Vec<Disk>,
    pub people: Vec<Person>,
    pub name: GroupName,
    founding: (Vec<u8>, Vec<u8>),
    pub now: Millis,
    sides: Vec<u32>,
    wire: VecDeque<(ServerId, Frame)>,
}

impl World {
    /// The first of `homes` makes a group at its server, which all servers know; the others are not invited yet.
    pub fn new(servers: u32, homes: &[usize]) -> Self {
        Self::of(servers, homes, ruleset())
    }

    pub fn of(servers: u32, homes: &[usize], ruleset: Ruleset) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let config = config(ruleset);
        let signers: Vec<_> = (0..servers).map(|number| Signer::new(number, &mut rng)).collect();
        let known = Known::default();
        known.0.borrow_mut().extend(signers.iter().map(|signer| signer.home.clone()));
        let mut people: Vec<_> = (0..homes.len())
            .map(|number| person(&format!("person {number}"), number as u8 + 1, &signers, homes[number]))
            .collect();
        let founder = &mut people[0];
        let founding =
            Group::create(&founder.identity, NewGroupOptions::default(), config.clone(), NOW, &mut rng);
        let founding = founding.unwrap();
        let info = founding.group_info().unwrap().to_vec();
        let mut group = founding.apply_unsaved();
        group.set_network(Network::Split).apply_unsaved();
        let tree = group.head().ratchet_tree().unwrap();
        founder.group = Some(group);
        founder.invited = None;
        let (mut all, mut disks) = (Vec::new(), Vec::new());
        for number in 0..servers {
            let disk = Disk::default();
            let server = Server::load(ServerId(number), &Kept::new(), Vec::new()).unwrap();
            all.push(server);
            disks.push(disk);
        }
        let mut world = Self {
            rng,
            config,
            signers,
            known,
            servers: all,
            disks,
            people,
            name: GroupName([0; 32]),
            founding: (info, tree),
            now: Millis(0),
            sides: Vec::new(),
            wire: VecDeque::new(),
        };
        (0..servers as usize).for_each(|number| world.create(number));
        world.heal();
        world
    }

    /// A server begins to serve the group.
    pub fn create(&mut self, number: usize) {
        let (disk, known) = (self.disks[number].clone(), self.known.clone());
        let (info, tree) = &self.founding;
        let founded = GroupEpochs::found(info, Some(tree), Box::new(disk), Box::new(known));
        let (name, genesis, epochs) = founded.unwrap();
        let effects = self.servers[number].create(name, genesis, Box::new(epochs), self.now);
        self.name = name;
        self.wire.extend(self.disks[number].write(effects));
    }

    /// A server has nothing.
    pub fn forget(&mut self, number: usize) {
        *self.disks[number].0.borrow_mut() = Kept::new();
        self.restart(number);
    }

    pub fn heal(&mut self) {
        self.split(&vec![0; self.servers.len()]);
    }

    /// Servers with one number reach each other.
    pub fn split(&mut self, sides: &[u32]) {
        self.sides = sides.to_vec();
        for number in 0..self.servers.len() {
            self.set_view(number);
        }
    }

    fn set_view(&mut self, number: usize) {
        let sides = &self.sides;
        let seen = (0..sides.len()).filter(|other| sides[*other] == sides[number]);
        self.servers[number].set_view(seen.map(|other| ServerId(other as u32)).collect());
        let online = self.people.iter().filter(|person| person.home == number && person.group.is_some());
        self.servers[number].set_online(online.map(|person| person.device).collect());
    }

    /// The process ends; what is on disk is there.
    pub fn restart(&mut self, number: usize) {
        let kept = self.disks[number].0.borrow().clone();
        let epochs = |name: &GroupName| -> Box<dyn Epochs> {
            let (disk, known) = (self.disks[number].clone(), self.known.clone());
            Box::new(GroupEpochs::open(name, Box::new(disk), Box::new(known)))
        };
        let groups = kept_groups(&kept).unwrap();
        let groups = groups.into_iter().map(|(name, genesis)| (name, genesis, epochs(&name)));
        self.servers[number] = Server::load(ServerId(number as u32), &kept, groups.collect()).unwrap();
        self.set_view(number);
    }

    /// A server comes back from a backup. Its members read from the beginning of its new queue.
    pub fn restore(&mut self, number: usize, backup: Kept) {
        *self.disks[number].0.borrow_mut() = backup;
        self.restart(number);
        let effects = self.servers[number].restore(self.now);
        self.wire.extend(self.disks[number].write(effects));
        for person in self.people.iter_mut().filter(|person| person.home == number) {
            person.read = 0;
        }
    }

    pub fn handle(&mut self, number: usize, input: Input) -> Result<(), Refused> {
        let effects = self.servers[number].handle(input, self.now)?;
        self.wire.extend(self.disks[number].write(effects));
        Ok(())
    }

    /// Until nothing is under way.
    pub fn settle(&mut self) {
        loop {
            for number in 0..self.servers.len() {
                for peer in 0..self.servers.len() {
                    let (peer_id, is_near) = (ServerId(peer as u32), self.sides[peer] == self.sides[number]);
                    if is_near && self.servers[number].has_mail(peer_id) {
                        self.handle(number, Input::Ship(peer_id)).unwrap();
                    }
                }
            }
            while let Some((to, frame)) = self.wire.pop_front() {
                let (from, to) = (frame.from.0 as usize, to.0 as usize);
                if self.sides[from] == self.sides[to] {
                    self.handle(to, Input::Frame(frame)).unwrap();
                }
            }
            let has_read = (0..self.people.len()).filter(|who| self.read(*who)).count() > 0;
            if !has_read && self.wire.is_empty() {
                return;
            }
        }
    }

    /// Every server runs some ballots, each after the other.
    pub fn run(&mut self) {
        for _ in 0..3 {
            for number in 0..self.servers.len() {
                if self.servers[number].group(&self.name).is_some() {
                    self.handle(number, Input::Start(self.name)).unwrap();
                    self.settle();
                }
            }
            self.now = self.now.after(1_000);
        }
    }

    fn read(&mut self, who: usize) -> bool {
        let person = &mut self.people[who];
        let server = &self.servers[person.home];
        let items = server.queue(&person.device).filter(|(number, _)| *number > person.read);
        let items: Vec<_> = items.map(|(number, item)| (number, item.clone())).collect();
        for (number, item) in &items {
            self.people[who].read = *number;
            self.take(who, item.clone());
        }
        !items.is_empty()
    }

    fn take(&mut self, who: usize, item: Item) {
        let person = &mut self.people[who];
        match item {
            Item::Commit { commit } => self.process(who, &commit),
            Item::Final { commit } => {
                if let Some(group) = &mut person.group {
                    group.finalize(&commit).unwrap().apply_unsaved();
                }
            }
            Item::Flushed { commit } => {
                if let Some(group) = &mut person.group {
                    group.flushed(&commit).unwrap().apply_unsaved();
                }
            }
            Item::Message { bytes, .. } => {
                let outcome = person.group().receive(&bytes, NOW).unwrap().apply_unsaved();
                let dmls::Outcome::Application(message) = outcome else { panic!("{outcome:?}") };
                person.heard.push(message.data);
            }
            Item::Conflict { commit, .. } => person.conflicts.push(commit),
            Item::ServerAway { .. } => panic!("all servers are near their members"),
        }
    }

    fn process(&mut self, who: usize, commit: &CommitId) {
        let bundle = self.bundle(self.people[who].home, commit);
        let person = &mut self.people[who];
        match &mut person.group {
            Some(group) if group.pending().any(|(id, _)| id == commit) => {
                group.confirm(commit).unwrap().apply_unsaved();
            }
            Some(group) => {
                group.receive(&bundle.commit, NOW).unwrap().apply_unsaved();
            }
            None => {
                // Who was removed finds no invitation in what follows.
                let Some(own) = person.invited.take() else { return };
                let welcome = bundle.welcome.unwrap();
                let joined = Group::join(&own, &welcome, None, self.config.clone(), NOW);
                let mut group = joined.unwrap().apply_unsaved();
                group.set_network(Network::Split).apply_unsaved();
                person.group = Some(group);
            }
        }
        let verdict = if person.grumbles { Verdict::Failed } else { Verdict::Ok };
        let (home, device) = (person.home, person.device);
        let said = Input::Testify { group: self.name, device, commit: commit.clone(), verdict };
        match self.handle(home, said) {
            // Whom the commit removes has nothing to say.
            Ok(()) | Err(Refused::NotMember) => {}
            Err(refused) => panic!("{refused}"),
        }
        self.set_view(home);
    }

    pub fn bundle(&self, server: usize, commit: &CommitId) -> Bundle {
        let status = self.servers[server].group(&self.name).unwrap();
        decode_bundle(&status.body(commit).unwrap().bundle).unwrap()
    }

    /// Somebody makes a commit, and has it as a bundle.
    pub fn make(
        &mut self,
        who: usize,
        with: impl for<'g> FnOnce(CommitBuilder<'g>) -> CommitBuilder<'g>,
    ) -> (CommitId, Bundle) {
        let group = self.people[who].group.as_mut().unwrap();
        let sent = with(group.commit()).stage(NOW, &mut self.rng).unwrap().apply_unsaved();
        (sent.id.clone(), group.bundle(&sent.id, NOW).unwrap())
    }

    /// As a device submits it.
    pub fn submit_at(&mut self, who: usize, parent: &CommitId, bundle: Vec<u8>) -> Result<(), Refused> {
        let (device, home) = (self.people[who].device, self.people[who].home);
        let body = Body { parent: parent.clone(), bundle };
        self.handle(home, Input::Submit { group: self.name, device, body })
    }

    pub fn head_of(&self, who: usize) -> CommitId {
        self.people[who].group.as_ref().unwrap().head().commit_id().clone()
    }

    pub fn commits(
        &mut self,
        who: usize,
        with: impl for<'g> FnOnce(CommitBuilder<'g>) -> CommitBuilder<'g>,
    ) -> CommitId {
        let parent = self.head_of(who);
        let (id, bundle) = self.make(who, with);
        self.submit_at(who, &parent, encode_bundle(&bundle).unwrap()).unwrap();
        id
    }

    /// Somebody invites others.
    pub fn invites(&mut self, who: usize, others: &[usize]) -> CommitId {
        let packages: Vec<_> = others.iter().map(|other| self.key_package(*other)).collect();
        self.commits(who, |commit| packages.into_iter().fold(commit, CommitBuilder::add))
    }

    pub fn key_package(&mut self, who: usize) -> dmls::KeyPackage {
        let own = self.people[who].identity.key_package(Lifetime::starting(NOW, 1 << 32), &mut self.rng);
        let own = own.unwrap();
        let package = own.key_package().clone();
        self.people[who].invited = Some(own);
        package
    }

    pub fn says(&mut self, who: usize, text: &[u8]) -> Result<(), Refused> {
        let epoch = self.head_of(who);
        let person = &mut self.people[who];
        let bytes = person.group.as_mut().unwrap().send(text).seal(&mut self.rng).unwrap().apply_unsaved();
        let (device, home, message) = (person.device, person.home, MessageName([text[0]; 32]));
        self.handle(home, Input::Post { group: self.name, device, message, epoch, bytes })
    }

    /// Everybody is where everybody is, and nothing is open.
    pub fn assert_one(&self, head: &CommitId) {
        for server in &self.servers {
            let status = server.group(&self.name).unwrap();
            assert_eq!((&status.head(), status.finalized()), (head, head), "{server:?}");
        }
        for who in 0..self.people.len() {
            if self.people[who].group.is_some() {
                assert_eq!(self.head_of(who), *head, "person {who}");
            }
        }
    }

    /// A server's epochs as they are on its disk, awake.
    pub fn epochs(&self, server: usize) -> GroupEpochs {
        let (disk, known) = (self.disks[server].clone(), self.known.clone());
        let mut epochs = GroupEpochs::open(&self.name, Box::new(disk), Box::new(known));
        epochs.wake().unwrap();
        epochs
    }

    /// A server's disk, to see that nothing changed.
    pub fn kept(&self, number: usize) -> Kept {
        self.disks[number].0.borrow().clone()
    }
}

/// Whose keys and device are as its number says.
pub fn person(name: &str, number: u8, signers: &[Signer], home: usize) -> Person {
    let signer = SignatureKeyPair::from_private(&suite(), Secret::new(vec![number; 32])).unwrap();
    let identity = Identity::new(suite(), Credential::basic(name), signer);
    let device = Device([number; 32]);
    let identity = with_home(&identity, &signers[home].attest(device, &identity));
    Person {
        home,
        device,
        identity,
        group: None,
        invited: None,
        read: 0,
        conflicts: Vec::new(),
        heard: Vec::new(),
        grumbles: false,
    }
}

pub fn with_home(identity: &Identity, home: &HomeAttestation) -> Identity {
    let mut extensions = Extensions::new();
    extensions.set_content(home);
    identity.clone().with_extensions(extensions)
}
