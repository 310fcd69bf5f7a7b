//! `dmls demo`: members in one process, a bad network between them, forks and how they end.

mod chance;
pub mod graph;
mod network;
mod report;
mod story;
pub mod tell;
pub mod world;

use std::hash::{BuildHasher, Hasher};
use std::io::IsTerminal;
use std::time::Duration;

use dmls::danger::AcceptAnyCredential;
use dmls::extension::{ExternalJoins, Ruleset};
use dmls::{CipherSuite, Config};

use crate::Failure;
use crate::term::{Look, write};
use story::Story;
use tell::Teller;
use world::World;

/// Watch a group fork and come together again.
///
/// Members live in one process, but all that passes between them crosses a simulated network as bytes: packets are
/// dropped, repeated and reordered, and the network splits in two. Both sides go on: they commit, add, remove and chat.
/// When the network heals, every member finds the fork and arrives, by the confirmation tags alone, at the same epoch.
///
/// Whether they really did is checked at the end: heads, epoch authenticators and exported secrets are compared.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Makes the same run again; random if absent
    #[arg(long)]
    seed: Option<u64>,
    /// Members at the beginning
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000))]
    members: u32,
    /// Commits on each side of a split
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=40))]
    epochs: u32,
    /// How often the network splits
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    splits: u32,
    /// The cipher suite, by its number (RFC 9420 s17.1). ECDSA signatures (2, 5, 7) are not seeded: epochs will differ
    #[arg(long, default_value_t = 1)]
    suite: u16,
    /// No colours, and ASCII only
    #[arg(long)]
    plain: bool,
    /// One JSON object instead of the story
    #[arg(long)]
    json: bool,
    /// Milliseconds between lines [default: 40 on a terminal, otherwise 0]
    #[arg(long, value_name = "MS")]
    pace: Option<u64>,
}

/// Runs the demonstration. It fails if the members did not converge.
pub fn run(args: &Args) -> Result<(), Failure> {
    // Who was added on a losing branch may come back by an external commit.
    let ruleset = Ruleset { external_joins: ExternalJoins::ANYONE, ..Ruleset::default() };
    let config = Config { ruleset: Some(ruleset), ..Config::new(AcceptAnyCredential) };
    let code = CipherSuite(args.suite);
    let Some(suite) = config.provider.suite(code) else {
        return Err(Failure::Usage(format!("cipher suite {code} is not supported: take 1, 2, 3, 5 or 7")));
    };
    // A hasher of the standard library is seeded by the system: a small number is easy to type again.
    let random = || std::hash::RandomState::new().build_hasher().finish() % 100_000;
    let seed = args.seed.unwrap_or_else(random);
    let on_terminal = std::io::stdout().is_terminal() && !args.json;
    let pace = args.pace.unwrap_or(if on_terminal { 40 } else { 0 });
    let look = Look::of_stdout(args.plain);
    let tell = Teller { look, silent: args.json, pace: Duration::from_millis(pace) };
    tell.line(&format!("dmls demo: {} members, seed {seed}, {}", args.members, suite.code()))?;

    let mut world = World::new(suite, config, seed);
    world.progress = tell::progress();
    let mut story = Story::new(world, tell, args, seed);
    story.run()?;
    let verdict = report::Verdict::of(&story)?;
    if args.json {
        let report = report::json(&story, &verdict, seed)?;
        write(&format!("{report:#}\n"))?;
    } else {
        report::tell(&story, &verdict)?;
    }
    match verdict.problems.len() {
        0 => Ok(()),
        _ => Err(Failure::Failed(format!("the members did not converge; seed {seed}"))),
    }
}
