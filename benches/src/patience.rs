//! How long a measured process may take: by what was needed for the same before, by any allocator, itself included. Who
//! takes longer is ended, and is not started for that workload again, so that one that hangs costs a run one wait.

use crate::execute;
use pymalloc_bench::outcome::Outcome;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// So many times what the slowest run so far needed.
const FACTOR: u32 = 20;

/// What is known of the workloads of a run.
pub struct Patience {
    /// The limit, however short the runs so far were.
    least: Duration,
    /// The limit where nobody has come to the end yet, and at any rate.
    most: Duration,
    /// By workload: the longest run that came to its end.
    slowest: HashMap<String, Duration>,
    /// Workload and allocator.
    given_up: HashSet<(String, String)>,
}

impl Patience {
    /// Limits between these two.
    pub fn new(least: Duration, most: Duration) -> Patience {
        Patience {
            least,
            most,
            slowest: HashMap::new(),
            given_up: HashSet::new(),
        }
    }

    /// Those of a run: ten seconds at least where it is to be quick, a minute where it is not.
    pub fn of_run(quick: bool, most_seconds: u64) -> Patience {
        let least = if quick { 10 } else { 60 };
        Patience::new(
            Duration::from_secs(least),
            Duration::from_secs(most_seconds),
        )
    }

    /// What a workload may take now.
    fn limit(&self, workload: &str) -> Duration {
        let of_slowest = self.slowest.get(workload).map(|slowest| *slowest * FACTOR);
        of_slowest.map_or(self.most, |limit| limit.max(self.least).min(self.most))
    }

    /// Runs `measure` with the limit of the moment, and learns from it. `None`, without a run, where that allocator
    /// was given up.
    pub fn run(
        &mut self,
        workload: &str,
        allocator: &str,
        measure: impl FnOnce(Duration) -> Result<Outcome, String>,
    ) -> Option<Result<Outcome, String>> {
        let pair = (workload.to_owned(), allocator.to_owned());
        if self.given_up.contains(&pair) {
            return None;
        }
        let started = Instant::now();
        let result = measure(self.limit(workload));
        let taken = started.elapsed();
        match &result {
            Ok(_) => {
                let slowest = self.slowest.entry(pair.0).or_default();
                *slowest = taken.max(*slowest);
            }
            Err(why) if execute::is_hang(why) => drop(self.given_up.insert(pair)),
            Err(_) => {}
        }
        if let Err(why) = &result {
            eprintln!("\r{workload} under {allocator}: {why}");
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_limit_is_that_of_the_slowest_times_twenty_between_its_bounds() {
        let mut patience = Patience::new(10 * SECOND, 120 * SECOND);
        assert_eq!(patience.limit("w"), 120 * SECOND);
        for (slowest, limit) in [(0, 10), (3, 60), (4, 80), (7, 120)] {
            patience.slowest.insert("w".into(), slowest * SECOND);
            assert_eq!(patience.limit("w"), limit * SECOND, "{slowest}");
        }
        assert_eq!(patience.limit("another"), 120 * SECOND);
    }

    #[test]
    fn who_hangs_is_not_run_again_and_others_are() {
        let mut patience = Patience::new(SECOND, SECOND);
        let hang = || Err(execute::hang(SECOND));
        let crash = || Err("exit status: 3".to_owned());
        let good = || Ok(Outcome::default());
        assert!(patience.run("w", "a", |_| hang()).unwrap().is_err());
        assert!(patience.run("w", "a", |_| good()).is_none());
        assert!(patience.run("v", "a", |_| good()).unwrap().is_ok());
        assert!(patience.run("w", "b", |_| crash()).unwrap().is_err());
        assert!(patience.run("w", "b", |_| good()).unwrap().is_ok());
    }
}
