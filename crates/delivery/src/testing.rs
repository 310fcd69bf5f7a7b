//! For simulators only (feature `testing`): servers with one rule broken.

use std::hash::Hasher;

use dmls::CommitId;

use crate::commit::{Commit, Epochs};
use crate::group::{Damaged, Group};
use crate::ids::{Ballot, GroupName, ServerId};
pub use crate::mutant::Mutant;
use crate::records::Kept;
use crate::server::Server;

/// [`Server::load`], with a rule broken.
pub fn load(
    me: ServerId,
    kept: &Kept,
    groups: Vec<(GroupName, Commit, Box<dyn Epochs>)>,
    mutant: Option<Mutant>,
) -> Result<Server, Damaged> {
    Server::with_mutant(me, kept, groups, mutant)
}

/// The same server once more, for a search that goes on from one state in several ways.
pub fn copy(server: &Server, epochs: impl Fn(&GroupName) -> Box<dyn Epochs>) -> Server {
    server.copy(epochs)
}

/// How a group stands at a server, for a search over all states.
pub struct Glimpse<'a>(&'a Group);

impl<'a> Glimpse<'a> {
    /// Of a group that is there.
    pub fn of(server: &'a Server, group: &GroupName) -> Option<Self> {
        server.agreement(group).map(Self)
    }

    /// Equal for two states that a restart can't tell from each other.
    pub fn hash_kept(&self, out: &mut impl Hasher) {
        self.0.hash_kept(out);
    }

    /// Equal for two states with the same ballots under way.
    pub fn hash_volatile(&self, out: &mut impl Hasher) {
        self.0.hash_volatile(out);
    }

    /// The ballot that was promised last.
    pub fn promised(&self) -> Ballot {
        self.0.promised()
    }

    /// The highest number of a ballot that was seen.
    pub fn highest(&self) -> u64 {
        self.0.highest()
    }

    /// The ballot that it leads, while that asks for something, and whether it still waits for promises.
    pub fn leads(&self) -> Option<(Ballot, bool)> {
        self.0.leads()
    }

    /// What is known to be voted for, and in which ballot.
    pub fn candidates(&self) -> impl Iterator<Item = (&CommitId, &Ballot)> {
        self.0.candidates()
    }

    /// Commits that wait to be proposed.
    pub fn waiting(&self) -> impl Iterator<Item = &CommitId> {
        self.0.waiting()
    }
}
