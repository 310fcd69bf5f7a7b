//! `dmls folder`: the directory that is shared.

use clap::Subcommand;
use serde_json::json;

use super::Options;
use super::session::{Session, now};
use crate::Failure;

/// Look after the shared folder.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Delete files that every member of their group has taken in
    Prune,
}

/// Runs one.
pub fn run(command: &Command, options: &Options) -> Result<(), Failure> {
    let mut session = Session::open(options)?;
    session.begin()?;
    match command {
        Command::Prune => {
            let pruned = session.client.prune(now(), &mut rand::rng())?;
            session.end()?;
            session.sweep()?;
            session.tell_events();
            session.say(
                &format!("{pruned} files were taken in by all, and deleted."),
                || json!({ "deleted": pruned }),
            )
        }
    }
}
