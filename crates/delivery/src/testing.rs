//! For simulators only (feature `testing`): servers with one rule broken.

use crate::commit::{Commit, Epochs};
use crate::group::Damaged;
use crate::ids::{GroupName, ServerId};
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
