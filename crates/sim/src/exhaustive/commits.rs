//! Commits whose names say what they are, so that they are the same in whatever order they are made.

use std::collections::BTreeSet;

use dmls::CommitId;
use dmls_delivery::{Body, Commit, Device, Epochs, Invalid, ServerId};

use crate::registry::{Made, Person, Registry, Seen};

/// What a commit does. Each server has one client, of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Keep,
    /// Removes all but these, as bits.
    Only(u8),
    /// Brings in a client.
    Add(u8),
    /// Who was removed comes back by an external commit.
    Return,
    /// Nothing, and nobody else can process it.
    Broken,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Keep => 0,
            Self::Only(members) => 0x10 | members,
            Self::Add(person) => 0x20 | person,
            Self::Return => 0x30,
            Self::Broken => 0x40,
        }
    }
}

/// The first commit of a group.
pub fn genesis(members: BTreeSet<Person>) -> Made {
    Made { parent: None, tag: 0, members, committer: 0, broken_for: BTreeSet::new(), is_external: false }
}

/// A commit on another. Among siblings the tag is that of the higher (or lower, if they fall) committer.
pub fn make(
    registry: &mut Registry,
    parent: &CommitId,
    who: Person,
    kind: Kind,
    is_falling: bool,
) -> CommitId {
    let id = CommitId::from([parent.as_bytes(), &[who as u8, kind.byte()]].concat());
    let before = registry.get(parent).members.clone();
    let mut members = before.clone();
    match kind {
        Kind::Keep | Kind::Broken => {}
        Kind::Only(those) => members.retain(|person| those >> person & 1 == 1),
        Kind::Add(person) => drop(members.insert(usize::from(person))),
        Kind::Return => drop(members.insert(who)),
    }
    let rank = if is_falling { 9 - who } else { who };
    let mut broken_for = BTreeSet::new();
    if kind == Kind::Broken {
        broken_for.extend(before.into_iter().filter(|person| *person != who));
    }
    let made = Made {
        parent: Some(parent.clone()),
        tag: (rank as u32) << 8 | u32::from(kind.byte()),
        members,
        committer: who,
        broken_for,
        is_external: kind == Kind::Return,
    };
    registry.insert(id.clone(), made);
    id
}

/// A commit as histories name it: who made it and what it does, from the first on.
pub fn name(id: &CommitId) -> String {
    let steps = id.as_bytes()[1..].chunks(2).map(|step| match step {
        [who, 0] => format!("{who}"),
        [who, 0x30] => format!("{who}:returns"),
        [who, 0x40] => format!("{who}:broken"),
        [who, kind] if kind & 0xf0 == 0x20 => format!("{who}:adds{}", kind & 0xf),
        [who, kind] => format!("{who}:only{:03b}", kind & 0xf),
        _ => String::new(),
    });
    std::iter::once("g".to_owned()).chain(steps).collect::<Vec<_>>().join("/")
}

/// What a server sees of them. No device is connected, so none is waited for.
pub struct Sight {
    /// The commits.
    pub seen: Seen,
    /// Whether members say what they can process. Without it no OK is needed.
    pub has_witnesses: bool,
}

impl Epochs for Sight {
    fn stage(&mut self, body: &Body) -> Result<Commit, Invalid> {
        self.seen.stage(body)
    }

    fn is_member(&self, epoch: &CommitId, device: &Device) -> bool {
        self.seen.is_member(epoch, device)
    }

    fn devices(&self, epoch: &CommitId, home: ServerId) -> Vec<Device> {
        self.seen.devices(epoch, home)
    }

    fn is_witness(&self, commit: &CommitId, device: &Device) -> bool {
        self.has_witnesses && self.seen.is_witness(commit, device)
    }

    fn has_witness(&self, commit: &CommitId, epoch: &CommitId) -> bool {
        self.has_witnesses && self.seen.has_witness(commit, epoch)
    }
}
