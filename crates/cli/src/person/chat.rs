//! `dmls chat`.

use super::Options;
use super::session::{Session, now};
use crate::{Failure, chat};

/// Chat: your groups, what is said, and what happened, in the terminal.
///
/// F1 shows the keys, F2 the epochs of the group; commands begin with /: /help lists them.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The group to begin with
    group: Option<String>,
}

/// Chats until the person ends it.
pub fn run(args: &Args, options: &Options) -> Result<(), Failure> {
    let (client, mut folder) = Session::open(options)?.parts()?;
    let mut watch = folder.watch();
    chat::run(client, &mut folder, |time| watch.wait(time), args.group.as_deref(), now, &mut rand::rng())
}
