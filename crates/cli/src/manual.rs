//! `dmls completions` and `dmls man`: for those who package it.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Failure;
use crate::term::write;

/// Completions for your shell, to standard output
#[derive(clap::Args, Debug)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Manual pages, one for each command, into a directory
#[derive(clap::Args, Debug)]
pub struct ManArgs {
    /// Where to
    directory: PathBuf,
}

/// Prints completions.
pub fn completions<C: CommandFactory>(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "dmls", &mut script);
    write(&String::from_utf8_lossy(&script))
}

/// Writes manual pages.
pub fn man<C: CommandFactory>(args: &ManArgs) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::Failed(format!("can't write to {}: {e}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(C::command(), &args.directory).map_err(failed)
}
