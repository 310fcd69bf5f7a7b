//! Members of a real group, each with its own view, and epochs that were never in one.

use dmls::danger::AcceptAnyCredential;
use dmls::{
    Config, Credential, EpochId, Group, Identity, Level, Lifetime, Network, NewGroupOptions, Outcome,
    Provider, Retention, Time,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::graph::{EpochView, GraphView, Side};

/// When all tests begin.
pub const START: u64 = 1_800_000_000;

/// Members of a group, all in one epoch, and the network is split.
pub struct People {
    pub groups: Vec<Group>,
    pub now: Time,
    rng: ChaCha20Rng,
}

/// What a commit shall do.
pub enum Do {
    Renew,
    /// Adds somebody who never comes.
    Add(&'static str),
    Remove(usize),
}

impl People {
    pub fn new(names: &[&str], seed: u64) -> Self {
        let (mut rng, now) = (ChaCha20Rng::seed_from_u64(seed), Time(START));
        let config = Config { retention: Retention::while_told(), ..Config::new(AcceptAnyCredential) };
        let mut identity = |name: &str| identity(name, &mut rng);
        let identities: Vec<Identity> = names.iter().map(|name| identity(name)).collect();
        let founding =
            Group::create(&identities[0], NewGroupOptions::default(), config.clone(), now, &mut rng);
        let mut first = founding.unwrap().apply_unsaved();
        let own: Vec<_> = identities[1..]
            .iter()
            .map(|identity| identity.key_package(Lifetime::starting(now, 86_400), &mut rng).unwrap())
            .collect();
        let mut groups = Vec::new();
        if !own.is_empty() {
            let commit = own.iter().fold(first.commit(), |commit, own| commit.add(own.key_package().clone()));
            let added = commit.stage_confirmed(now, &mut rng).unwrap().apply_unsaved();
            let welcome = added.epoch.welcome.unwrap();
            let join = |own| Group::join(own, &welcome, None, config.clone(), now).unwrap().apply_unsaved();
            groups.extend(own.iter().map(join));
        }
        groups.insert(0, first);
        let mut people = Self { groups, now, rng };
        people.network(Network::Split);
        people
    }

    /// What the delivery service says to all.
    pub fn network(&mut self, network: Network) {
        for group in &mut self.groups {
            group.set_network(network).apply_unsaved();
        }
    }

    /// Somebody commits where it is: the epoch, and the message that leads others there.
    pub fn commit(&mut self, who: usize, what: &Do) -> (EpochId, Vec<u8>) {
        let key_package = |name: &str, rng: &mut ChaCha20Rng| {
            let own = identity(name, rng).key_package(Lifetime::starting(self.now, 86_400), rng).unwrap();
            own.key_package().clone()
        };
        let added = match what {
            Do::Add(name) => Some(key_package(name, &mut self.rng)),
            _ => None,
        };
        let removed = match what {
            Do::Remove(whom) => self.groups[*whom].head().own_leaf(),
            _ => None,
        };
        let mut commit = self.groups[who].commit();
        if let Some(added) = added {
            commit = commit.add(added);
        }
        if let Some(removed) = removed {
            commit = commit.remove(removed);
        }
        let sent = commit.stage_confirmed(self.now, &mut self.rng).unwrap().apply_unsaved().sent;
        (sent.epoch, sent.message)
    }

    /// Somebody commits in an epoch of long ago, as if it were there.
    pub fn commit_at(&mut self, who: usize, epoch: &EpochId) -> EpochId {
        let commit = self.groups[who].commit().at(epoch);
        commit.stage_confirmed(self.now, &mut self.rng).unwrap().apply_unsaved().sent.epoch
    }

    pub fn receive(&mut self, who: usize, message: &[u8]) -> Outcome {
        self.groups[who].receive(message, self.now).unwrap().apply_unsaved()
    }

    pub fn later(&mut self, seconds: u64) {
        self.now.0 += seconds;
    }

    pub fn view(&self, who: usize) -> GraphView {
        GraphView::of(&self.groups[who], self.now, &name)
    }
}

fn identity(name: &str, rng: &mut ChaCha20Rng) -> Identity {
    let suite = Provider::default().suite(dmls::CipherSuite::X25519_AES128).unwrap();
    Identity::generate(suite, Credential::basic(name), rng).unwrap()
}

/// As it is in the credential: what is dangerous in it is the drawing's affair.
fn name(credential: &Credential) -> String {
    String::from_utf8_lossy(credential.identity().unwrap()).into_owned()
}

/// The world in which the commit of the first member wins over that of the second: tags are as chance has it.
pub fn won_by(winner: usize, make: impl Fn(u64) -> (People, EpochId, EpochId)) -> People {
    let found = (0..64).find_map(|seed| {
        let (people, first, second) = make(seed);
        let wins = |id: &EpochId| people.groups[0].epoch(id).unwrap().is_on_way();
        (wins([&first, &second][winner]) && !wins([&second, &first][winner])).then_some(people)
    });
    found.expect("one of 64 seeds")
}

/// An epoch by small numbers: its name, the name of the one before it.
pub fn epoch(name: u32, parent: Option<u32>, number: u64, side: Side) -> EpochView {
    EpochView {
        id: id(name),
        parent: parent.map(id),
        number,
        tag: format!("{name:08x}"),
        side,
        is_head: false,
        is_final: false,
        level: Some(Level::Known),
        kept: None,
        made: None,
        by: Some("Ann".into()),
        what: "renewed keys".into(),
        moves_members: false,
        messages: None,
        note: String::new(),
    }
}

fn id(name: u32) -> EpochId {
    name.to_be_bytes().repeat(8).into()
}
