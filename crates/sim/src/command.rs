//! Worlds by the thousand, as a command: `dmls-sim`, and `dmls sim`.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use dmls_delivery::testing::Mutant;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{CONFIGS, Config, config};
use crate::run::{Outcome, events, run};
use crate::shrink::shrink;
use crate::world::Violation;

/// Which worlds, and what to print of them.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How many worlds.
    #[arg(long, default_value_t = 1_000)]
    worlds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One kind of worlds only; without it each seed takes the next kind.
    #[arg(long)]
    config: Option<String>,
    /// How many events before the repair.
    #[arg(long, default_value_t = 250)]
    steps: usize,
    /// How many at once; as many as there are processors, if it is not said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stops at the first violation and tells its story, as short as can be.
    #[arg(long)]
    trace: bool,
    /// Draws the world of the first seed into this file: servers as lanes, splits as bands, ballots, certificates, finality, rollbacks.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs them, with a rule broken or not, and prints what came of it; `json`: as one object. Whether nothing was wrong.
pub fn simulate(options: &Options, mutant: Option<Mutant>, json: bool) -> Result<bool, String> {
    let only = options.config.as_deref().map(|name| {
        let names = || CONFIGS.map(|config| config.name).join(", ");
        config(name).ok_or_else(|| format!("no such kind of worlds: {name}; there are {}", names()))
    });
    let only = only.transpose()?;
    if let Some(path) = &options.svg {
        return draw(options, only.unwrap_or_else(|| kind_of(options.seed)), mutant, path);
    }
    let bar = ProgressBar::new(options.worlds);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} worlds, {per_sec}, {eta} left  {msg}")
    {
        bar.set_style(style);
    }
    let found = run_all(options, only, mutant, &bar);
    bar.finish_and_clear();
    if let (true, Some((seed, violation))) = (options.trace, found.first()) {
        let config = only.unwrap_or_else(|| kind_of(*seed));
        let (events, outcome) = shrink(*seed, config, mutant, options.steps);
        outcome.log.iter().for_each(|line| println!("  {line}"));
        println!("seed {seed} ({}): {violation}, {events} events", config.name);
        return Ok(false);
    }
    report(json, only, &found);
    Ok(found.violations.is_empty())
}

/// What came of all worlds.
#[derive(Default)]
struct Found {
    worlds: u64,
    /// Seeds, in order, and what went wrong there.
    violations: BTreeMap<u64, Violation>,
    /// How often each rare thing happened, and in how many worlds.
    rare: BTreeMap<&'static str, (u64, u64)>,
}

impl Found {
    fn first(&self) -> Option<(&u64, &Violation)> {
        self.violations.first_key_value()
    }

    fn take(&mut self, seed: u64, outcome: Outcome) {
        self.worlds += 1;
        for (what, count) in outcome.rare {
            let (times, worlds) = self.rare.entry(what).or_default();
            (*times, *worlds) = (*times + count, *worlds + 1);
        }
        self.violations.extend(outcome.violation.map(|violation| (seed, violation)));
    }

    fn join(&mut self, other: Self) {
        self.worlds += other.worlds;
        for (what, (times, worlds)) in other.rare {
            let entry = self.rare.entry(what).or_default();
            *entry = (entry.0 + times, entry.1 + worlds);
        }
        self.violations.extend(other.violations);
    }

    /// Of each kind of violation how many, and the first seed.
    fn kinds(&self) -> BTreeMap<String, (u64, u64)> {
        let mut kinds = BTreeMap::new();
        for (seed, violation) in &self.violations {
            kinds.entry(violation.to_string()).or_insert((0, *seed)).0 += 1;
        }
        kinds
    }
}

/// Each thread takes the next seed; with `--trace` all stop after the first violation.
fn run_all(options: &Options, only: Option<Config>, mutant: Option<Mutant>, bar: &ProgressBar) -> Found {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut found = Found::default();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= options.worlds {
                break;
            }
            let seed = options.seed.saturating_add(number);
            let config = only.unwrap_or_else(|| kind_of(seed));
            let outcome = run(seed, config, mutant, &events(seed, options.steps), false);
            if let Some(violation) = &outcome.violation {
                bar.suspend(|| eprintln!("seed {seed} ({}): {violation}", config.name));
                stop.fetch_or(options.trace, Ordering::Relaxed);
            }
            found.take(seed, outcome);
            bar.inc(1);
        }
        found
    };
    let jobs = options.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let mut all = Found::default();
        for thread in threads {
            all.join(thread.join().expect("a world that panics has shown a bug"));
        }
        all
    })
}

fn report(json: bool, only: Option<Config>, found: &Found) {
    let (worlds, violations) = (found.worlds, found.violations.len());
    if json {
        let kinds: BTreeMap<_, _> =
            found.kinds().into_iter().map(|(kind, (count, _))| (kind, count)).collect();
        let rare: BTreeMap<_, _> = found.rare.iter().map(|(what, (times, _))| (what, times)).collect();
        let report = serde_json::json!({
            "worlds": worlds,
            "violations": violations,
            "first_seed": found.first().map(|(seed, _)| seed),
            "kinds": kinds,
            "rare": rare,
        });
        println!("{report}");
        return;
    }
    println!("{worlds} worlds, {violations} violations");
    for (kind, (count, seed)) in found.kinds() {
        println!("  {kind}: {count}, first seed {seed} ({})", only.unwrap_or_else(|| kind_of(seed)).name);
    }
    for (what, (times, worlds)) in &found.rare {
        println!("  {what}: {times} times, in {worlds} worlds");
    }
}

fn kind_of(seed: u64) -> Config {
    let count = CONFIGS.len() as u64;
    CONFIGS[usize::try_from(seed % count).unwrap_or_default()]
}

/// One world, as short as it can be if something goes wrong in it and `--trace` was given.
fn draw(options: &Options, config: Config, mutant: Option<Mutant>, path: &PathBuf) -> Result<bool, String> {
    let outcome = match options.trace {
        true => shrink(options.seed, config, mutant, options.steps).1,
        false => run(options.seed, config, mutant, &events(options.seed, options.steps), true),
    };
    let picture = outcome.picture.ok_or("nothing was drawn")?;
    fs::write(path, picture).map_err(|e| format!("can't write {}: {e}", path.display()))?;
    Ok(outcome.violation.is_none())
}
