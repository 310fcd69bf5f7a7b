//! `dmls inspect`
use crate::Failure;
/// Look into a message.
#[derive(clap::Args, Debug)]
pub struct Args {}
/// Runs it.
pub fn run(_: &Args) -> Result<(), Failure> {
    Ok(())
}
