//! `dmls vectors`: judge this library by test vectors, and make vectors by which others can judge theirs.

use std::fs;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use dmls::vectors::{Summary, generate, run as run_directory};
use dmls::{CipherSuite, Provider};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Failure;

/// Verify test vectors, or generate transcripts of whole groups with forks.
#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify every vector below a directory.
    ///
    /// It may hold the folders `rfc9420` (the MLS working group's vectors) and `dmls` (vectors of the draft, with
    /// `dmls/transcripts`), or transcripts directly. Exit code 1 if anything differs.
    Verify {
        /// The directory.
        dir: PathBuf,
    },
    /// Generate transcripts of random groups: forks, adds, removes, updates, proposals by reference, pre-shared keys,
    /// external commits, application messages.
    ///
    /// Each holds the private keys of all members and the secrets of all epochs, so that any implementation can follow
    /// as any member. The same seed gives the same history; with suite 2 the signatures still differ.
    Generate {
        /// The seed of the first transcript.
        #[arg(long)]
        seed: u64,
        /// Where to write `seed_N_csM.json`; made if it is not there.
        #[arg(long)]
        out: PathBuf,
        /// How many, each with the next seed.
        #[arg(long, default_value_t = 1)]
        count: u64,
        /// The cipher suite: 1, 2 or 3. By turns, if none is given.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3))]
        suite: Option<u16>,
    },
}

pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Verify { dir } => verify(dir),
        Command::Generate { seed, out, count, suite } => {
            (*seed..seed.saturating_add(*count)).try_for_each(|seed| write(seed, *suite, out))
        }
    }
}

fn verify(dir: &std::path::Path) -> Result<(), Failure> {
    if !dir.is_dir() {
        return Err(Failure::Usage(format!("{} is not a directory", dir.display())));
    }
    // The seed only chooses in which order transcripts are delivered.
    let mut rng = ChaCha20Rng::seed_from_u64(0);
    let Summary { failures, .. } =
        run_directory(dir, &Provider::all(), &mut rng, &mut |line| println!("{line}"));
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!("{} failures\n{}", failures.len(), failures.join("\n"))))
}

fn write(seed: u64, suite: Option<u16>, out: &std::path::Path) -> Result<(), Failure> {
    let suite = suite.unwrap_or((seed % 3) as u16 + 1);
    let name = format!("seed_{seed}_cs{suite}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let transcript = generate(Provider::default(), CipherSuite(suite), &name, &mut rng)
        .map_err(|e| Failure::Failed(format!("seed {seed}: {e}")))?
        .ok_or_else(|| Failure::Usage(format!("this build has no cipher suite {suite}")))?;
    let path = out.join(format!("{name}.json"));
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("{}: {e}", path.display()));
    fs::create_dir_all(out).map_err(|e| failed(&e))?;
    let text = serde_json::to_string_pretty(&transcript).map_err(|e| failed(&e))?;
    fs::write(&path, text).map_err(|e| failed(&e))?;
    println!("{}", path.display());
    Ok(())
}
