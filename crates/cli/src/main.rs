//! The `dmls` command: groups over a shared folder, a demonstration of Decentralized MLS, tools to look into its messages, and simulated
//! worlds of its delivery service.

mod chat;
mod demo;
mod graph;
mod inspect;
mod manual;
mod person;
mod sim;
mod term;
mod vectors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Decentralized MLS: groups that survive without an ordering server.
///
/// Exit codes: 0 done, 1 failed (the demo did not converge, the input is not a message), 2 wrong usage.
#[derive(Parser)]
#[command(name = "dmls", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: person::Options,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Person(person::Command),
    Demo(demo::Args),
    Inspect(inspect::Args),
    Vectors(vectors::Args),
    Sim(sim::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
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

impl From<dmls_client::Error> for Failure {
    fn from(e: dmls_client::Error) -> Self {
        Self::Failed(e.to_string())
    }
}

impl From<dmls_store::Error> for Failure {
    fn from(e: dmls_store::Error) -> Self {
        Self::Failed(person::explain(&e))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Person(command) => person::run(&command, &cli.options),
        Command::Demo(args) => demo::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Vectors(args) => vectors::run(&args),
        Command::Sim(args) => sim::run(&args, cli.options.json),
        Command::Completions(args) => manual::completions::<Cli>(&args),
        Command::Man(args) => manual::man::<Cli>(&args),
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
