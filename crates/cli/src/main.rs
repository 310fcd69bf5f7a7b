//! The `dmls` command: a demonstration of Decentralized MLS, and tools to look into its messages.

#[allow(dead_code, reason = "the command that opens a profile and calls it is not there yet")]
mod chat;
mod demo;
#[allow(dead_code, unused_imports, reason = "the commands that draw groups come next")]
mod graph;
mod inspect;
mod term;
mod vectors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Decentralized MLS: groups that survive without an ordering server.
///
/// Exit codes: 0 done, 1 failed (the demo did not converge, the input is not a message), 2 wrong usage.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Inspect(inspect::Args),
    Vectors(vectors::Args),
}

/// Why the command did not do what it should.
#[derive(Debug)]
enum Failure {
    /// The caller asked for something that makes no sense: exit code 2.
    Usage(String),
    /// It was tried and failed: exit code 1.
    Failed(String),
    /// Everything was said: only the exit code is left.
    Told(u8),
}

impl From<dmls::Error> for Failure {
    fn from(e: dmls::Error) -> Self {
        Self::Failed(e.to_string())
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Vectors(args) => vectors::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told(code)) => ExitCode::from(code),
        Err(Failure::Failed(reason)) => {
            eprintln!("dmls: {reason}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(reason)) => {
            eprintln!("dmls: {reason}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
    }
}
