//! Allocators linked into Rust programs, interleaved.

use crate::cli::RunArgs;
use crate::run::{command_line, progress};
use crate::session::{self, Column, Row, Sample, Session};
use crate::{execute, machine, report, workers};
use pymalloc_bench::catalogue::{self, ALLOCATORS, Allocator, Group, OURS, OURS_AGAIN, Workload};
use pymalloc_bench::ops;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A column and the worker behind it.
pub struct Contestant {
    /// Its column.
    pub column: Column,
    /// The worker's binary.
    pub worker: PathBuf,
}

/// Largest calls say little one by one: a workload about them runs at least so often.
const LATENCY_RUNS: u32 = 20;

/// Names and groups of all rows.
pub fn rows() -> Vec<(String, &'static str)> {
    let row = |w: &Workload| (w.name.to_owned(), w.group.key());
    catalogue::WORKLOADS.iter().map(row).collect()
}

/// Names of all columns.
pub fn columns() -> Vec<&'static str> {
    let names = ALLOCATORS.iter().map(|a| a.name);
    names.chain([OURS_AGAIN]).collect()
}

/// Checks the names of `--peers` against these columns and others.
///
/// # Errors
/// When a name is unknown: it names what there is.
pub fn check_peers(args: &RunArgs, others: &[String]) -> Result<(), String> {
    let mut all: Vec<String> = columns().into_iter().map(str::to_owned).collect();
    for other in others {
        if !all.contains(other) {
            all.push(other.clone());
        }
    }
    args.common.check_peers(&all)
}

/// The worker without an allocator of its own, to be preloaded.
///
/// # Errors
/// When it cannot be built.
pub fn worker_of_the_system(args: &RunArgs) -> Result<PathBuf, String> {
    let system: Vec<&Allocator> = ALLOCATORS
        .iter()
        .filter(|a| a.crate_name.is_none())
        .collect();
    let mut built = if args.no_build {
        workers::built(&system)?
    } else {
        workers::build(&system)?
    };
    let worker = system.first().and_then(|a| built.remove(a.name));
    worker.ok_or_else(|| "no worker without an allocator".into())
}

/// Builds, measures, saves, reports.
pub fn run(args: &RunArgs) -> Result<(), String> {
    let workloads = select(args);
    if workloads.is_empty() {
        return Ok(());
    }
    let (contestants, left_out) = contestants(args)?;
    let inputs = session::inputs()?;
    convert_recordings(&workloads, &inputs)?;
    let mut session = Session {
        kind: "run".into(),
        command: command_line(),
        machine: machine::line(),
        started: machine::stamp(),
        columns: contestants.iter().map(|c| c.column.clone()).collect(),
        left_out,
        notes: Vec::new(),
        rows: workloads.iter().map(|w| row(w)).collect(),
        samples: Vec::new(),
    };
    let path = session.new_path()?;
    let started = Instant::now();
    let rounds = args.common.rounds();
    for round in 0..rounds {
        for (i, workload) in workloads.iter().enumerate() {
            if workload.heavy && round > 0 && args.common.saves_time() {
                continue;
            }
            progress(started, round, rounds, i, workloads.len(), workload.name);
            visit(
                args,
                workload,
                &contestants,
                round,
                &inputs,
                &mut session.samples,
            );
        }
        session.save(&path)?;
    }
    eprintln!("\rmeasured for {} s{:40}", started.elapsed().as_secs(), "");
    report::print(&session, &path)
}

/// One workload under every allocator, once or, where single calls are measured, several times.
fn visit(
    args: &RunArgs,
    workload: &Workload,
    contestants: &[Contestant],
    round: u32,
    inputs: &Path,
    samples: &mut Vec<Sample>,
) {
    let turns = match workload.group {
        Group::Latency => LATENCY_RUNS.div_ceil(args.common.rounds()),
        _ => 1,
    };
    let n_columns = if workload.alone { 1 } else { contestants.len() };
    for turn in 0..turns {
        let round = round * turns + turn;
        for i in 0..n_columns {
            // Each round begins with another allocator.
            let contestant = &contestants[(i + round as usize) % n_columns];
            let result = measure(args, workload, contestant, round, inputs);
            let (row, column) = (workload.name.into(), contestant.column.name.clone());
            samples.push(Sample {
                row,
                column,
                round,
                result,
            });
        }
    }
}

/// The chosen workloads.
fn select(args: &RunArgs) -> Vec<&'static Workload> {
    let common = &args.common;
    let too_large = |w: &Workload| w.full_only && common.saves_time();
    catalogue::WORKLOADS
        .iter()
        .filter(|w| !too_large(w) && common.wants(w.name, w.group.key()))
        .collect()
}

/// The chosen columns with their workers, and what had to be left out.
pub fn contestants(args: &RunArgs) -> Result<(Vec<Contestant>, Vec<String>), String> {
    let names = args.common.peers(columns(), |name| name);
    let behind = |name: &str| {
        let name = if name == OURS_AGAIN { OURS } else { name };
        ALLOCATORS
            .iter()
            .find(|a| a.name == name)
            .expect("names come from the catalogue")
    };
    let mut needed: Vec<&Allocator> = Vec::new();
    let mut left_out = Vec::new();
    for allocator in names.iter().map(|name| behind(name)) {
        if needed.iter().any(|a| a.name == allocator.name) {
            continue;
        }
        match workers::obstacle(allocator).filter(|_| !args.no_build) {
            Some(obstacle) if args.common.peers.is_empty() => {
                eprintln!("left out: {obstacle}");
                left_out.push(obstacle);
            }
            Some(obstacle) => return Err(obstacle),
            None => needed.push(allocator),
        }
    }
    let built = if args.no_build {
        workers::built(&needed)?
    } else {
        workers::build(&needed)?
    };
    let contestant = |name: &&str| {
        let allocator = behind(name);
        let worker = built.get(allocator.name)?.clone();
        Some(Contestant {
            column: Column {
                name: (*name).into(),
                version: workers::version(allocator),
            },
            worker,
        })
    };
    Ok((names.iter().filter_map(contestant).collect(), left_out))
}

fn row(workload: &Workload) -> Row {
    Row {
        name: workload.name.into(),
        group: workload.group.title().into(),
        unit: workload.unit.into(),
    }
}

/// Makes the files of calls the chosen workloads replay, where they are missing.
fn convert_recordings(workloads: &[&Workload], inputs: &Path) -> Result<(), String> {
    for name in workloads
        .iter()
        .filter_map(|w| w.name.strip_prefix("trace-"))
    {
        let to = inputs.join(format!("{name}.ops"));
        if !to.exists() {
            let recording = session::workspace().join(format!("tests/data/{name}.pymt.gz"));
            ops::convert(&recording, &to)?;
        }
    }
    Ok(())
}

fn measure(
    args: &RunArgs,
    workload: &Workload,
    contestant: &Contestant,
    round: u32,
    inputs: &Path,
) -> Result<pymalloc_bench::outcome::Outcome, String> {
    let quick = args.common.quick;
    let cpus = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 16));
    let threads = args.threads.map_or(cpus, |n| n as usize);
    let mut command = Command::new(&contestant.worker);
    command
        .arg(workload.name)
        .arg("--threads")
        .arg(threads.to_string())
        .arg("--inputs")
        .arg(inputs);
    if !quick {
        command.arg("--full");
    }
    // An idle second each: a quick run affords it once, and only where memory is the point.
    let settle = match (quick, round) {
        (true, 0) => workload.settle,
        (true, _) => false,
        (false, 0) => true,
        (false, _) => workload.settle,
    };
    if settle {
        command.arg("--settle");
    }
    let limit = Duration::from_secs(if quick { 120 } else { 900 });
    let watched = settle && round == 0;
    let result = execute::outcome(execute::without_tuning(&mut command), limit, watched);
    if let Err(message) = &result {
        eprintln!(
            "\r{} under {}: {message}",
            workload.name, contestant.column.name
        );
    }
    result
}
