//! `dmls-sim`: worlds by the thousand, and the mutants that they must catch.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use dmls_sim::{CONFIGS, Config, Mutant, config, events, run, shrink};
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
    let mut found = BTreeMap::<String, (u64, u64)>::new();
    let mut rare = BTreeMap::<&str, u64>::new();
    let mut run_worlds = 0;
    for seed in options.seed..options.seed.saturating_add(options.worlds) {
        let config = only.unwrap_or_else(|| kind_of(seed));
        let outcome = run(seed, config, mutant, &events(seed, options.steps), false);
        run_worlds += 1;
        outcome.rare.into_iter().for_each(|(what, count)| *rare.entry(what).or_default() += count);
        bar.inc(1);
        if let Some(violation) = outcome.violation {
            let entry = found.entry(violation.to_string()).or_insert((0, seed));
            entry.0 += 1;
            bar.set_message(format!("{found:?}"));
            if options.trace {
                bar.finish_and_clear();
                let (events, outcome) = shrink(seed, config, mutant, options.steps);
                outcome.log.iter().for_each(|line| println!("  {line}"));
                println!("seed {seed} ({}): {violation}, {events} events", config.name);
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    bar.finish_and_clear();
    let violations: u64 = found.values().map(|(count, _)| count).sum();
    let first = found.values().map(|(_, seed)| *seed).min();
    if options.json {
        let report = serde_json::json!({
            "worlds": run_worlds,
            "violations": violations,
            "first_seed": first,
            "kinds": found.iter().map(|(kind, (count, _))| (kind.clone(), *count)).collect::<BTreeMap<_, _>>(),
            "rare": rare,
        });
        println!("{report}");
    } else {
        println!("{run_worlds} worlds, {violations} violations");
        found.iter().for_each(|(kind, (count, seed))| {
            println!("  {kind}: {count}, first seed {seed} ({})", kind_of(*seed).name)
        });
        rare.iter().for_each(|(what, count)| println!("  {what}: {count} times"));
    }
    Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn kind_of(seed: u64) -> Config {
    let count = CONFIGS.len() as u64;
    CONFIGS[usize::try_from(seed % count).unwrap_or_default()]
}

fn by_name(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name);
    found.ok_or_else(|| format!("no such mutant: {name}; --list-mutants prints them"))
}
