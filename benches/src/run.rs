//! `run`: all parts of the report, one after the other.

use crate::cli::{Part, RunArgs};
use crate::{in_process, instructions, preload};
use std::io::IsTerminal;
use std::time::Instant;

/// Measures and reports every chosen part that has a chosen workload.
///
/// # Errors
/// When a filter matches nothing in any part, or a part fails.
pub fn run(args: &RunArgs) -> Result<(), String> {
    let parts: Vec<Part> = Part::ALL.into_iter().filter(|p| args.has(*p)).collect();
    let rows: Vec<_> = parts.iter().flat_map(|part| rows(*part)).collect();
    args.common.check_only(&rows)?;
    in_process::check_peers(args, &preload::library::names(&args.so))?;
    for part in parts {
        match part {
            Part::InProcess => in_process::run(args)?,
            Part::Preload => preload::run(args)?,
            Part::Instructions => instructions::run(args)?,
        }
    }
    Ok(())
}

/// Names of a part's rows, and the keys of their groups.
pub fn rows(part: Part) -> Vec<(String, &'static str)> {
    match part {
        Part::InProcess => in_process::rows(),
        Part::Preload => preload::rows()
            .into_iter()
            .map(|r| (r.name, r.key))
            .collect(),
        Part::Instructions => instructions::rows(),
    }
}

/// One line on stderr, rewritten; nothing when stderr is a file.
pub fn progress(started: Instant, round: u32, rounds: u32, i: usize, n: usize, name: &str) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    eprint!(
        "\r{:4} s  round {}/{rounds}  {:2}/{n} {name:24}",
        started.elapsed().as_secs(),
        round + 1,
        i + 1
    );
}

/// The command as a user would type it.
pub fn command_line() -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "cargo run --release -p pymalloc-bench -- {}",
        args.join(" ")
    )
}
