//! The shortest history that still goes wrong.

use dmls_delivery::testing::Mutant;

use crate::config::Config;
use crate::run::{Outcome, events, run};

/// Leaves out events as long as the same goes wrong; then runs what is left with its log.
pub fn shrink(seed: u64, config: Config, mutant: Option<Mutant>, steps: usize) -> (usize, Outcome) {
    let mut left = events(seed, steps);
    let wrong = run(seed, config, mutant, &left, false).violation;
    let mut chunk = left.len() / 2;
    while wrong.is_some() && chunk > 0 {
        let mut start = 0;
        let mut is_shorter = false;
        while start < left.len() {
            let mut fewer = left.clone();
            fewer.drain(start..(start + chunk).min(left.len()));
            if run(seed, config, mutant, &fewer, false).violation == wrong {
                left = fewer;
                is_shorter = true;
            } else {
                start += chunk;
            }
        }
        if chunk > 1 || !is_shorter {
            chunk /= 2;
        }
    }
    let outcome = run(seed, config, mutant, &left, true);
    (left.len(), outcome)
}
