//! The commits of a world: abstract nodes with random tags. It knows what no server sees: who can process which.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use dmls::CommitId;
use dmls_delivery::{Body, Commit, Device, Epochs, Invalid, Ranking, ServerId};

/// A client of the world, by its number.
pub type Person = usize;

/// One commit.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it was made on.
    pub parent: Option<CommitId>,
    /// Its tag, the same for everybody.
    pub tag: u32,
    /// Who are members after it.
    pub members: BTreeSet<Person>,
    /// Who made it.
    pub committer: Person,
    /// Who can't process it.
    pub broken_for: BTreeSet<Person>,
    /// Whether somebody comes back by it.
    pub is_external: bool,
}

/// All commits.
#[derive(Debug)]
pub struct Registry {
    /// Of each person its server.
    pub homes: Vec<u32>,
    commits: BTreeMap<CommitId, Made>,
}

/// As all share it.
pub type Shared = Rc<RefCell<Registry>>;

/// The device of a person.
pub fn device(person: Person) -> Device {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(person as u64).to_be_bytes());
    Device(bytes)
}

/// The person of a device.
pub fn person(device: &Device) -> Person {
    device.0[..8].iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

impl Registry {
    /// No commit yet.
    pub fn with_homes(homes: Vec<u32>) -> Self {
        Self { homes, commits: BTreeMap::new() }
    }

    /// A group with its first members.
    pub fn new(homes: Vec<u32>, members: BTreeSet<Person>) -> (Self, CommitId) {
        let mut registry = Self::with_homes(homes);
        let committer = members.first().copied().unwrap_or_default();
        let genesis = registry.make(Made {
            parent: None,
            tag: 0,
            members,
            committer,
            broken_for: BTreeSet::new(),
            is_external: false,
        });
        (registry, genesis)
    }

    /// A new commit.
    pub fn make(&mut self, made: Made) -> CommitId {
        let id = CommitId::from((self.commits.len() as u32).to_be_bytes().to_vec());
        self.insert(id.clone(), made);
        id
    }

    /// A commit with a name of its own.
    pub fn insert(&mut self, id: CommitId, made: Made) {
        self.commits.insert(id, made);
    }

    /// One commit.
    pub fn get(&self, id: &CommitId) -> &Made {
        &self.commits[id]
    }

    /// The servers of an epoch.
    pub fn servers(&self, id: &CommitId) -> BTreeSet<ServerId> {
        self.get(id).members.iter().map(|person| ServerId(self.homes[*person])).collect()
    }

    /// Whether one is another or stands above it.
    pub fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> bool {
        let mut at = Some(of);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.get(id).parent.as_ref();
        }
        false
    }

    /// From the first commit to one, both included.
    pub fn path(&self, to: &CommitId) -> Vec<CommitId> {
        let mut path = Vec::new();
        let mut at = Some(to);
        while let Some(id) = at {
            path.push(id.clone());
            at = self.get(id).parent.as_ref();
        }
        path.reverse();
        path
    }

    /// What every holder of a commit sees.
    pub fn commit(&self, id: &CommitId) -> Commit {
        let made = self.get(id);
        Commit {
            id: id.clone(),
            tag: made.tag.to_be_bytes().to_vec().into(),
            committer: device(made.committer),
            is_external: made.is_external,
            servers: self.servers(id),
            ranking: Ranking::default(),
        }
    }

    /// How a commit travels: its bundle is its name.
    pub fn body(&self, id: &CommitId) -> Option<Body> {
        let parent = self.get(id).parent.clone()?;
        Some(Body { parent, bundle: id.as_bytes().to_vec() })
    }
}

/// What a server asks of them.
pub struct Seen(pub Shared);

impl Epochs for Seen {
    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid> {
        let registry = self.0.borrow();
        let id = CommitId::from(body.bundle.clone());
        match registry.commits.get(&id) {
            Some(made) if made.parent.as_ref() == Some(&body.parent) => Ok(registry.commit(&id)),
            _ => Err(Invalid::Other("nobody made it")),
        }
    }

    fn is_member(&self, epoch: &CommitId, device: &Device) -> bool {
        self.0.borrow().get(epoch).members.contains(&person(device))
    }

    fn devices(&self, epoch: &CommitId, home: ServerId) -> Vec<Device> {
        let registry = self.0.borrow();
        let members = registry.get(epoch).members.iter();
        members.filter(|person| registry.homes[**person] == home.0).map(|person| device(*person)).collect()
    }

    fn is_witness(&self, commit: &CommitId, device: &Device) -> bool {
        self.0.borrow().witnesses(commit).contains(&person(device))
    }

    fn has_witness(&self, commit: &CommitId, epoch: &CommitId) -> bool {
        let registry = self.0.borrow();
        let members = &registry.get(epoch).members;
        registry.witnesses(commit).iter().any(|person| members.contains(person))
    }
}

impl Registry {
    /// Members before and after, without the committer.
    pub fn witnesses(&self, commit: &CommitId) -> BTreeSet<Person> {
        let made = self.get(commit);
        let Some(parent) = &made.parent else { return BTreeSet::new() };
        let mut both: BTreeSet<_> = self.get(parent).members.intersection(&made.members).copied().collect();
        both.remove(&made.committer);
        both
    }
}
