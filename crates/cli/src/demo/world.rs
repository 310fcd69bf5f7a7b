//! The members and what passes between them. No member sees another's memory: all goes through the network as bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use dmls::codec::{Decode, Encode};
use dmls::framing::MlsMessage;
use dmls::{
    Config, Credential, DmlsMessage, EpochId, EpochRef, ExternalJoinOptions, Group, Identity, KeyPackage,
    KnownCommit, LeafIndex, Level, Lifetime, NewEpoch, NewGroupOptions, Outcome, OwnKeyPackage, Suite, Time,
};
use rand_chacha::ChaCha20Rng;

use super::chance::stream;
use super::network::{Network, Packet};
use crate::Failure;

/// When the demonstration takes place.
const START: u64 = 1_800_000_000;

/// A person with a device.
pub struct Person {
    pub name: String,
    identity: Identity,
    own_key_package: Option<OwnKeyPackage>,
    pub group: Option<Group>,
    /// Why it is in no group any more.
    pub out: Option<String>,
    /// What came before the Welcome.
    early: Vec<Rc<[u8]>>,
    /// What others sent that is not for the group.
    key_packages: BTreeMap<usize, KeyPackage>,
    group_infos: VecDeque<(usize, Vec<u8>)>,
    /// The most epochs held at one time.
    pub most_epochs: usize,
    pub sent: usize,
    pub read: usize,
}

/// A message that people say to each other.
pub struct Chat {
    pub from: usize,
    pub text: String,
    pub to: BTreeSet<usize>,
    pub read_by: BTreeSet<usize>,
    pub epoch: EpochId,
}

/// An epoch, as its committer knew it when it began.
#[derive(Clone)]
pub struct Recorded {
    pub id: EpochId,
    pub parent: Option<EpochId>,
    pub number: u64,
    pub tag: Vec<u8>,
    /// What its commit did; of the first epoch there is none.
    pub commit: Option<KnownCommit>,
    pub by: usize,
}

impl Recorded {
    pub fn new(epoch: EpochRef<'_>, by: usize) -> Self {
        Self {
            id: epoch.id().clone(),
            parent: epoch.parent().cloned(),
            number: epoch.number(),
            tag: epoch.confirmation_tag().as_bytes().to_vec(),
            commit: epoch.commit().cloned(),
            by,
        }
    }
}

/// What a commit shall do.
#[derive(Clone, Debug)]
pub enum Change {
    /// Fresh keys for the committer's path, and the stored proposals.
    Update,
    /// Adds people by the key packages that they sent.
    Add(Vec<usize>),
    /// Removes the member at a leaf.
    Remove(LeafIndex),
}

/// What deliveries led to, each with the person that it happened to.
#[derive(Default)]
pub struct Happened {
    pub commits: Vec<(usize, NewEpoch)>,
    pub removed: Vec<(usize, dmls::Removed)>,
    pub joined: Vec<usize>,
    pub errors: Vec<String>,
    /// Messages that came before their epoch, and waited.
    pub held: usize,
    /// Messages that came again.
    pub duplicates: usize,
    /// Messages that had to make room for others while they waited.
    pub evicted: usize,
    /// Messages whose epoch was gone.
    pub too_late: usize,
}

/// All of it.
pub struct World {
    pub config: Config,
    pub suite: Suite,
    pub people: Vec<Person>,
    pub network: Network,
    pub chats: Vec<Chat>,
    pub history: Vec<Recorded>,
    /// What the delivery services say of the network.
    reach: dmls::Network,
    rng: ChaCha20Rng,
    /// Which epoch has been followed already, on which side: the delivery service of a side accepts one commit for each.
    followed: BTreeSet<(u8, EpochId)>,
    /// Called with what was delivered and what is on its way.
    pub progress: Box<dyn FnMut(u64, usize)>,
    pub totals: Totals,
}

/// Counts of the whole run.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub held: usize,
    pub duplicates: usize,
    pub evicted: usize,
    pub too_late: usize,
    pub refused: usize,
    pub errors: usize,
}

impl World {
    pub fn new(suite: Suite, config: Config, seed: u64) -> Self {
        Self {
            config,
            suite,
            people: Vec::new(),
            network: Network::new(stream(seed, 2)),
            chats: Vec::new(),
            history: Vec::new(),
            reach: dmls::Network::Whole,
            rng: stream(seed, 1),
            followed: BTreeSet::new(),
            progress: Box::new(|_, _| {}),
            totals: Totals::default(),
        }
    }

    pub fn now(&self) -> Time {
        Time(START + self.network.clock() / 1000)
    }

    /// The delivery services tell everybody whether the network is whole.
    pub fn tell_network(&mut self, reach: dmls::Network) {
        self.reach = reach;
        for group in self.people.iter_mut().filter_map(|person| person.group.as_mut()) {
            group.set_network(reach).apply_unsaved();
        }
    }

    /// Someone is in a group now, and hears what the delivery service says of the network.
    fn enter(&mut self, who: usize, mut group: Group) {
        group.set_network(self.reach).apply_unsaved();
        self.people[who].group = Some(group);
        self.count_epochs(who);
    }

    /// A new person, on a side of the network.
    pub fn person(&mut self, name: String, side: u8) -> Result<usize, Failure> {
        let identity = Identity::generate(self.suite, Credential::basic(name.as_bytes()), &mut self.rng)?;
        self.people.push(Person {
            name,
            identity,
            own_key_package: None,
            group: None,
            out: None,
            early: Vec::new(),
            key_packages: BTreeMap::new(),
            group_infos: VecDeque::new(),
            most_epochs: 0,
            sent: 0,
            read: 0,
        });
        self.network.join(side);
        Ok(self.people.len() - 1)
    }

    pub fn name(&self, who: usize) -> &str {
        &self.people[who].name
    }

    /// Whose credential it is.
    pub fn by_credential(&self, credential: &Credential) -> Option<usize> {
        let identity = credential.identity()?;
        self.people.iter().position(|person| person.name.as_bytes() == identity)
    }

    pub fn group(&self, who: usize) -> Result<&Group, Failure> {
        let person = &self.people[who];
        person.group.as_ref().ok_or_else(|| Failure::Failed(format!("{} is in no group", person.name)))
    }

    /// Someone's group, to change it, and the generator that this may need.
    fn group_mut(&mut self, who: usize) -> Result<(&mut Group, &mut ChaCha20Rng), Failure> {
        let person = &mut self.people[who];
        let missing = || Failure::Failed(format!("{} is in no group", person.name));
        Ok((person.group.as_mut().ok_or_else(missing)?, &mut self.rng))
    }

    /// Sends a message of the group to all who were in it, but to the sender.
    fn broadcast(&mut self, from: usize, to: &[usize], message: Vec<u8>) {
        let message: Rc<[u8]> = message.into();
        for to in to.iter().filter(|to| **to != from) {
            self.network.send(from, *to, Rc::clone(&message));
        }
    }

    /// The members of the head of someone's group.
    pub fn members(&self, who: usize) -> Result<Vec<usize>, Failure> {
        let members = self.group(who)?.head().members().unwrap_or_default();
        Ok(members.iter().filter_map(|member| self.by_credential(&member.credential)).collect())
    }

    /// Those who are in the group as far as they know themselves.
    pub fn present(&self) -> Vec<usize> {
        let is_in = |who: &usize| self.people[*who].group.as_ref().is_some_and(|group| !group.is_removed());
        (0..self.people.len()).filter(is_in).collect()
    }

    /// Those who learned that they are out forget the group with all its keys.
    pub fn close_removed(&mut self) {
        for person in &mut self.people {
            if person.group.as_ref().is_some_and(Group::is_removed) {
                person.group = None;
            }
        }
    }

    pub fn create(&mut self, who: usize) -> Result<(), Failure> {
        let now = self.now();
        let options = NewGroupOptions { group_id: Some(b"dmls demo".to_vec()), ..Default::default() };
        let identity = self.people[who].identity.clone();
        let group =
            Group::create(&identity, options, self.config.clone(), now, &mut self.rng)?.apply_unsaved();
        self.record(group.head(), who);
        self.enter(who, group);
        Ok(())
    }

    fn record(&mut self, epoch: EpochRef<'_>, by: usize) {
        self.history.push(Recorded::new(epoch, by));
    }

    /// Makes a key package and sends it to whoever shall add this person, who forgets any group it was in.
    pub fn offer_key_package(&mut self, who: usize, to: usize) -> Result<(), Failure> {
        let lifetime = Lifetime::starting(self.now(), 86_400);
        let own = self.people[who].identity.key_package(lifetime, &mut self.rng)?;
        let message = own.message();
        let person = &mut self.people[who];
        person.own_key_package = Some(own);
        person.group = None;
        self.network.send(who, to, message.into());
        Ok(())
    }

    /// Sends a GroupInfo of the own head.
    pub fn send_group_info(&mut self, who: usize, to: usize) -> Result<(), Failure> {
        let message = self.group(who)?.head().group_info(self.now())?;
        self.network.send(who, to, message.into());
        Ok(())
    }

    /// Whether a GroupInfo arrived of an epoch that this person's group does not know: then it is on a lost branch.
    pub fn is_left_behind(&self, who: usize) -> bool {
        let person = &self.people[who];
        let Some((_, info)) = person.group_infos.back() else { return false };
        let Ok(MlsMessage::GroupInfo(info)) = MlsMessage::from_bytes(info) else { return false };
        let epoch = info.extensions.data(dmls::registry::ExtensionType::DMLS_EPOCH);
        epoch.is_some_and(|id| person.group.as_ref().is_none_or(|group| group.epoch(&id.into()).is_none()))
    }

    /// Joins by an external commit with the GroupInfo that came last.
    pub fn join_external(&mut self, who: usize) -> Result<EpochId, Failure> {
        let missing = || Failure::Failed("no GroupInfo arrived".into());
        let (_, info) = self.people[who].group_infos.pop_back().ok_or_else(missing)?;
        let identity = self.people[who].identity.clone();
        let (config, now) = (self.config.clone(), self.now());
        let options = ExternalJoinOptions::default();
        let founding = Group::join_external(&identity, &info, options, config, now, &mut self.rng)?;
        let commit = founding.commit().unwrap_or_default().to_vec();
        if !self.accept(who, &commit)? {
            return Err(Failure::Failed("the delivery service refused an external commit".into()));
        }
        let mut group = founding.apply_unsaved();
        let joining = group.pending().next().map(|(id, _)| id.clone());
        if let Some(joining) = joining {
            group.confirm(&joining)?.apply_unsaved();
        }
        let id = group.head().id().clone();
        self.record(group.head(), who);
        self.enter(who, group);
        let recipients = self.members(who)?;
        self.broadcast(who, &recipients, commit);
        Ok(id)
    }

    /// The delivery service of the committer's side: the first commit in an epoch is accepted.
    fn accept(&mut self, who: usize, message: &[u8]) -> Result<bool, Failure> {
        let parent = DmlsMessage::from_bytes(message).map_err(dmls::Error::from)?.dmls_epoch;
        Ok(self.followed.insert((self.network.side(who), parent)))
    }

    /// Proposes fresh keys for the own leaf.
    pub fn propose_update(&mut self, who: usize) -> Result<(), Failure> {
        let now = self.now();
        let (group, rng) = self.group_mut(who)?;
        let proposal = group.propose_update(now, rng)?.apply_unsaved();
        let recipients = self.members(who)?;
        self.broadcast(who, &recipients, proposal.message);
        Ok(())
    }

    /// Commits. Accepted by the delivery service, the epoch begins at once, and only now a Welcome is sent. Nothing if
    /// somebody else was first.
    pub fn commit(&mut self, who: usize, change: &Change) -> Result<Option<NewEpoch>, Failure> {
        let now = self.now();
        let recipients = self.members(who)?;
        let packages: Vec<KeyPackage> = match change {
            Change::Add(added) => {
                added.iter().filter_map(|from| self.people[who].key_packages.remove(from)).collect()
            }
            _ => Vec::new(),
        };
        let (group, rng) = self.group_mut(who)?;
        let mut builder = group.commit();
        builder = packages.into_iter().fold(builder, |builder, package| builder.add(package));
        if let Change::Remove(leaf) = change {
            builder = builder.remove(*leaf);
        }
        let sent = builder.stage(now, rng)?.apply_unsaved();
        if !self.accept(who, &sent.message)? {
            self.totals.refused += 1;
            self.group_mut(who)?.0.abandon(&sent.id)?.apply_unsaved();
            return Ok(None);
        }
        let mut outcome = self.group_mut(who)?.0.confirm(&sent.id)?.apply_unsaved();
        self.count_epochs(who);
        if let Some(group) = self.people[who].group.take() {
            if let Some(epoch) = group.epoch(&outcome.id) {
                self.record(epoch, who);
            }
            self.people[who].group = Some(group);
        }
        self.broadcast(who, &recipients, sent.message);
        if let Some(welcome) = outcome.welcome.take() {
            let welcome: Rc<[u8]> = welcome.into();
            for added in &outcome.commit.added {
                if let Some(to) = self.by_credential(&added.member.credential) {
                    self.network.send(who, to, Rc::clone(&welcome));
                }
            }
        }
        Ok(Some(outcome))
    }

    /// Says something to all members of the own head.
    pub fn say(&mut self, who: usize, text: &str) -> Result<usize, Failure> {
        let number = self.chats.len();
        let (group, rng) = self.group_mut(who)?;
        let epoch = group.head().id().clone();
        let label = (number as u32).to_bytes();
        let message = group.send(text.as_bytes()).authenticated_data(label).seal(rng)?.apply_unsaved();
        let recipients = self.members(who)?;
        self.broadcast(who, &recipients, message);
        let to = recipients.into_iter().filter(|to| *to != who).collect();
        self.people[who].sent += 1;
        self.chats.push(Chat { from: who, text: text.to_owned(), to, read_by: BTreeSet::new(), epoch });
        Ok(number)
    }

    /// Lets the network deliver until nothing more can arrive.
    pub fn run(&mut self) -> Result<Happened, Failure> {
        let mut happened = Happened::default();
        while let Some(packet) = self.network.next() {
            self.receive(packet, &mut happened);
            (self.progress)(self.network.traffic().delivered, self.network.flying());
        }
        self.totals.held += happened.held;
        self.totals.duplicates += happened.duplicates;
        self.totals.evicted += happened.evicted;
        self.totals.too_late += happened.too_late;
        self.totals.errors += happened.errors.len();
        Ok(happened)
    }

    fn receive(&mut self, packet: Packet, happened: &mut Happened) {
        let Packet { from, to, bytes, .. } = packet;
        let person = &mut self.people[to];
        match MlsMessage::from_bytes(&bytes) {
            Ok(MlsMessage::KeyPackage(package)) => {
                person.key_packages.insert(from, *package);
            }
            Ok(MlsMessage::GroupInfo(_)) => person.group_infos.push_back((from, bytes.to_vec())),
            Ok(MlsMessage::Welcome(_)) => self.receive_welcome(to, &bytes, happened),
            // Anything else has the name of its epoch behind it, and is for the group.
            _ if person.group.is_some() => self.deliver(to, &bytes, happened),
            _ => person.early.push(bytes),
        }
    }

    fn receive_welcome(&mut self, who: usize, welcome: &[u8], happened: &mut Happened) {
        let now = self.now();
        // A key package is for one Welcome; without it, this is the same Welcome again.
        let Some(own) = self.people[who].own_key_package.take() else {
            happened.duplicates += 1;
            return;
        };
        match Group::join(&own, welcome, None, self.config.clone(), now) {
            Ok(founding) => self.enter(who, founding.apply_unsaved()),
            Err(e) => {
                happened.errors.push(format!("{} can't join: {e}", self.people[who].name));
                self.people[who].own_key_package = Some(own);
                return;
            }
        }
        happened.joined.push(who);
        for message in std::mem::take(&mut self.people[who].early) {
            self.deliver(who, &message, happened);
        }
    }

    fn deliver(&mut self, who: usize, message: &[u8], happened: &mut Happened) {
        let now = self.now();
        let person = &mut self.people[who];
        let Some(group) = &mut person.group else { return };
        let mut outcomes = Vec::new();
        let delivered = group.deliver(message, now, |_, resumed| {
            outcomes.push(resumed.outcome.clone());
            Ok::<_, dmls::Error>(())
        });
        outcomes.extend(delivered.err().map(Err));
        for outcome in outcomes {
            match outcome.and_then(|outcome| self.note(who, outcome, happened)) {
                Ok(()) => {}
                Err(e) => happened.errors.push(format!("{} refuses a message: {e}", self.people[who].name)),
            }
        }
        self.count_epochs(who);
    }

    fn note(&mut self, who: usize, outcome: Outcome, happened: &mut Happened) -> Result<(), dmls::Error> {
        match outcome {
            Outcome::Application(message) => {
                let number = u32::from_bytes(&message.authenticated_data).map_or(usize::MAX, |n| n as usize);
                let from = self.by_credential(&message.sender.credential);
                match self.chats.get_mut(number) {
                    Some(chat) if Some(chat.from) == from && chat.text.as_bytes() == message.data => {
                        chat.read_by.insert(who);
                        self.people[who].read += 1;
                    }
                    _ => happened.errors.push(format!("{} read what nobody said", self.people[who].name)),
                }
            }
            Outcome::Commit(epoch) => happened.commits.push((who, *epoch)),
            Outcome::Removed(removed) => {
                let by = self.by_credential(&removed.commit.committer.credential);
                let by = by.map_or("somebody", |by| self.name(by));
                self.people[who].out = Some(format!("removed by {by}"));
                // Nobody who is removed can verify it, but what travels here was accepted by a delivery service.
                if let Some(group) = &mut self.people[who].group {
                    group.confirm_removal(&removed.commit_id)?.apply_unsaved();
                }
                happened.removed.push((who, *removed));
            }
            Outcome::Held(held) => {
                happened.held += 1;
                happened.evicted += held.evicted.len();
            }
            Outcome::Duplicate => happened.duplicates += 1,
            Outcome::EpochDeleted(_) | Outcome::BeforeUs { .. } => happened.too_late += 1,
            Outcome::RolledBack(_) => {
                happened.errors.push(format!("{} was rolled back", self.people[who].name))
            }
            _ => {}
        }
        Ok(())
    }

    fn count_epochs(&mut self, who: usize) {
        let person = &mut self.people[who];
        let held = person.group.as_ref().map_or(0, epochs_held);
        person.most_epochs = person.most_epochs.max(held);
    }
}

/// How many epochs a group holds keys of.
pub fn epochs_held(group: &Group) -> usize {
    group.epochs().filter(|epoch| epoch.level() >= Level::Readable).count()
}
