//! `dmls-sim`: worlds by the thousand, and the mutants that they must catch.

use std::process::ExitCode;

use clap::Parser;
use dmls_sim::{Mutant, Options, simulate};

/// Runs worlds of the delivery service from seeds and checks what must hold in each.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    options: Options,
    /// Breaks one rule: something must be noticed.
    #[arg(long)]
    mutant: Option<String>,
    /// Prints the names of the mutants, one a line.
    #[arg(long)]
    list_mutants: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = Command::parse();
    if command.list_mutants {
        Mutant::ALL.iter().for_each(|mutant| println!("{}", mutant.name()));
        return ExitCode::SUCCESS;
    }
    let mutant = command.mutant.as_deref().map(by_name).transpose();
    match mutant.and_then(|mutant| simulate(&command.options, mutant, command.json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn by_name(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name);
    found.ok_or_else(|| format!("no such mutant: {name}; --list-mutants prints them"))
}
