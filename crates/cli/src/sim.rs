//! `dmls sim`: worlds of the delivery service from seeds.

use crate::Failure;

/// Try the delivery service in simulated worlds: splits, crashes, backups, members that lie.
///
/// Each seed is a world with a few servers and members, in which things go wrong for a while; then all is mended, and what must hold is checked.
/// A world that goes wrong is told by its seed: `--seed N --worlds 1 --trace` tells its story, `--svg FILE` draws it. Exit code 1 if there is one.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    options: dmls_sim::Options,
}

/// Runs them.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    match dmls_sim::simulate(&args.options, None, json) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Told(1)),
        Err(reason) => Err(Failure::Usage(reason)),
    }
}
