//! `cargo run --release -p dmls-sim --example exhaustive`: every history of a small world.

use std::process::ExitCode;

use clap::Parser;
use dmls_sim::Mutant;
use dmls_sim::exhaustive::{Bounds, LARGE, QUICK, bounds, search};

/// Searches all states of a small world of the delivery service.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Which world; without it their names are printed.
    world: Option<String>,
    /// Breaks one rule: something must be found.
    #[arg(long)]
    mutant: Option<String>,
    /// How many ballots start, if not as many as the world says.
    #[arg(long)]
    ballots: Option<u8>,
    /// How many commits are submitted.
    #[arg(long)]
    commits: Option<usize>,
    /// How often servers stop and start again.
    #[arg(long)]
    restarts: Option<u8>,
    /// How often a frame arrives and arrives again.
    #[arg(long)]
    copies: Option<u8>,
    /// The lower server has the higher tag.
    #[arg(long)]
    falling: bool,
    /// Tries in each state if all comes together after a repair.
    #[arg(long)]
    heals: bool,
    /// Gives up at so many states.
    #[arg(long, default_value_t = 20_000_000)]
    at_most: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(world) = &options.world else {
        QUICK.iter().chain(&LARGE).for_each(|bounds| println!("{}", bounds.name));
        return ExitCode::SUCCESS;
    };
    let Some(found) = bounds(world) else {
        eprintln!("error: no such world: {world}");
        return ExitCode::from(2);
    };
    let mutant = match &options.mutant {
        None => None,
        Some(name) => match Mutant::ALL.into_iter().find(|mutant| mutant.name() == *name) {
            Some(mutant) => Some(mutant),
            None => {
                eprintln!("error: no such mutant: {name}; dmls-sim --list-mutants prints them");
                return ExitCode::from(2);
            }
        },
    };
    let bounds = Bounds {
        ballots: options.ballots.unwrap_or(found.ballots),
        commits: options.commits.unwrap_or(found.commits),
        restarts: options.restarts.unwrap_or(found.restarts),
        copies: options.copies.unwrap_or(found.copies),
        falling: options.falling || found.falling,
        heals: options.heals || found.heals,
        ..found
    };
    let report = search(bounds, mutant, options.at_most);
    let complete = if report.is_complete { "" } else { ", not all" };
    println!("{} states{complete}, {} events deep", report.states, report.depth);
    match report.found {
        None => ExitCode::SUCCESS,
        Some(found) => {
            found.history.iter().enumerate().for_each(|(number, line)| println!("  {:2} {line}", number + 1));
            println!("{}", found.violation);
            ExitCode::FAILURE
        }
    }
}
