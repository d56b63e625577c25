//! `pymalloc run --stats` alone: one workload under the system's malloc and under ours.
//!
//! Runs alternate (A B A B A B), so that a machine that slows down slows both, and medians are shown with
//! the range they come from. Every run is a process of its own, the launcher started again: peaks start from
//! nothing, and the process under ours proves by its summary that ours was in charge.

use crate::child::{self, Outcome, WatchError};
use crate::failure::Failure;
use crate::report;
use crate::stats_file::{Absent, StatsFile};
use crate::summary::Summary;
use crate::system::{self, Ended, Mask};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs under each malloc. Odd, so that the median is one of them.
const RUNS: usize = 3;

/// The demonstration has no result.
#[derive(Debug)]
pub enum DemoError {
    /// The workload failed.
    Workload(i32),
    /// Two runs of a deterministic workload gave different checksums.
    Checksums(String, String),
    /// Our malloc was not in charge, or did not say so.
    NoSummary(Absent),
}

impl fmt::Display for DemoError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Workload(status) => {
                write!(out, "the demonstration ended with status {status}")
            }
            DemoError::Checksums(system, ours) => write!(
                out,
                "the demonstration's checksum is {system} under the system's malloc and {ours} under ours"
            ),
            DemoError::NoSummary(absent) => {
                write!(
                    out,
                    "the demonstration under our malloc left no summary: {absent}"
                )
            }
        }
    }
}

/// One run of the workload.
struct Sample {
    /// From start to end.
    wall: Duration,
    /// User and system together, of all threads.
    cpu: Duration,
    /// The most memory resident at once.
    max_resident_bytes: u64,
}

/// Runs the workload under both and prints both.
pub fn run(library: &Path) -> Result<i32, Failure> {
    let launcher = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let mask = system::block_signals();
    let stats = StatsFile::create()?;
    let (mut system, mut ours) = (Vec::new(), Vec::new());
    let mut checksum = None;
    let mut last = None;
    for _ in 0..RUNS {
        for library in [None, Some(library)] {
            let (outcome, printed) = run_once(&launcher, library, &stats, &mask)?;
            let first = checksum.get_or_insert_with(|| printed.clone());
            if *first != printed {
                return Err(DemoError::Checksums(first.clone(), printed).into());
            }
            if library.is_some() {
                last = Some(stats.read(outcome.pid).map_err(DemoError::NoSummary)?);
            }
            let samples = if library.is_some() {
                &mut ours
            } else {
                &mut system
            };
            samples.push(Sample {
                wall: outcome.wall,
                cpu: outcome.usage.user + outcome.usage.system,
                max_resident_bytes: outcome.usage.max_resident_bytes,
            });
        }
    }
    drop(stats);
    crate::print(&comparison(
        &system,
        &ours,
        &checksum.unwrap_or_default(),
        last.as_ref(),
    ))
}

/// Runs the workload once; its checksum as it printed it.
fn run_once(
    launcher: &Path,
    library: Option<&Path>,
    stats: &StatsFile,
    mask: &Mask,
) -> Result<(Outcome, String), Failure> {
    let mut command = Command::new(launcher);
    command.arg("demo-workload").stdout(Stdio::piped());
    match library {
        Some(library) => command
            .env("LD_PRELOAD", library)
            .env("PYMALLOC_STATS_FILE", stats.path()),
        None => command.env_remove("LD_PRELOAD"),
    };
    let mut outcome = child::watch(&mut command, mask).map_err(|error| match error {
        WatchError::Start(error) => Failure::Start(launcher.to_owned(), error),
        WatchError::Wait(error) => Failure::Wait(error),
    })?;
    match outcome.ended {
        Ended::Status(0) => {}
        Ended::Status(status) => return Err(DemoError::Workload(status).into()),
        Ended::Signal(signal) => {
            stats.remove();
            system::die_of(signal)
        }
    }
    let mut printed = String::new();
    if let Some(mut stdout) = outcome.stdout.take() {
        stdout.read_to_string(&mut printed).map_err(Failure::Wait)?;
    }
    Ok((outcome, printed.trim().to_owned()))
}

/// The table, and our summary of the last run.
fn comparison(
    system: &[Sample],
    ours: &[Sample],
    checksum: &str,
    last: Option<&Summary>,
) -> String {
    let mib = (1u64 << 20) as f64;
    let rows = [
        row("wall time, s", system, ours, |s| s.wall.as_secs_f64()),
        row("CPU time, s", system, ours, |s| s.cpu.as_secs_f64()),
        row("peak RSS, MiB", system, ours, |s| {
            s.max_resident_bytes as f64 / mib
        }),
    ];
    let head = format!(
        "demonstration: {}\n{RUNS} runs each, alternating; median (lowest to highest); checksum {checksum} in all\n\n  {:<13} {:>26} {:>26} {:>6}\n",
        crate::workload::DESCRIPTION,
        "",
        "system malloc",
        "pymalloc",
        "ratio"
    );
    let tables = last.map(report::tables).unwrap_or_default();
    format!(
        "{head}{}\npymalloc at the end of its last run:\n{tables}",
        rows.concat()
    )
}

/// One quantity under both.
fn row(name: &str, system: &[Sample], ours: &[Sample], of: impl Fn(&Sample) -> f64) -> String {
    let sorted = |samples: &[Sample]| {
        let mut values: Vec<f64> = samples.iter().map(&of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (system, ours) = (sorted(system), sorted(ours));
    let text = |v: &[f64]| format!("{:.2} ({:.2} to {:.2})", v[RUNS / 2], v[0], v[RUNS - 1]);
    let ratio = ours[RUNS / 2] / system[RUNS / 2];
    format!(
        "  {name:<13} {:>26} {:>26} {ratio:>6.2}\n",
        text(&system),
        text(&ours)
    )
}
