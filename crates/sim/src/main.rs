//! `dmls-sim`: worlds by the thousand, and the mutants that they must catch.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use dmls_sim::{CONFIGS, Config, Mutant, Outcome, Violation, config, events, run, shrink};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs worlds of the delivery service from seeds and checks what must hold in each.
#[derive(Parser)]
#[command(version)]
struct Options {
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
    /// Breaks one rule: something must be noticed.
    #[arg(long)]
    mutant: Option<String>,
    /// Prints the names of the mutants, one a line.
    #[arg(long)]
    list_mutants: bool,
    /// Stops at the first violation and tells its story, as short as can be.
    #[arg(long)]
    trace: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list_mutants {
        Mutant::ALL.iter().for_each(|mutant| println!("{}", mutant.name()));
        return ExitCode::SUCCESS;
    }
    match simulate(&options) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn simulate(options: &Options) -> Result<ExitCode, String> {
    let mutant = options.mutant.as_deref().map(by_name).transpose()?;
    let only = options.config.as_deref().map(|name| {
        let names = || CONFIGS.map(|config| config.name).join(", ");
        config(name).ok_or_else(|| format!("no such kind of worlds: {name}; there are {}", names()))
    });
    let only = only.transpose()?;
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
        return Ok(ExitCode::FAILURE);
    }
    report(options, only, &found);
    Ok(if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn report(options: &Options, only: Option<Config>, found: &Found) {
    let (worlds, violations) = (found.worlds, found.violations.len());
    if options.json {
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

fn by_name(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name);
    found.ok_or_else(|| format!("no such mutant: {name}; --list-mutants prints them"))
}
