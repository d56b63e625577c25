//! `run`: allocators linked into Rust programs, interleaved.

use crate::cli::RunArgs;
use crate::session::{self, Column, Row, Sample, Session};
use crate::{execute, machine, report, workers};
use pymalloc_bench::catalogue::{self, ALLOCATORS, Allocator, OURS, OURS_AGAIN, Workload};
use pymalloc_bench::ops;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A column and the worker behind it.
struct Contestant {
    column: Column,
    worker: PathBuf,
}

/// Builds, measures, saves, reports.
pub fn run(args: &RunArgs) -> Result<(), String> {
    let workloads = select(args)?;
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
        rows: workloads.iter().map(|w| row(w)).collect(),
        samples: Vec::new(),
    };
    let path = session.new_path()?;
    let started = Instant::now();
    for round in 0..args.common.rounds() {
        for (i, workload) in workloads.iter().enumerate() {
            if args.common.quick && workload.heavy && round > 0 {
                continue;
            }
            progress(
                started,
                round,
                args.common.rounds(),
                i,
                workloads.len(),
                workload.name,
            );
            for turn in 0..contestants.len() {
                // Each round begins with another allocator.
                let contestant = &contestants[(turn + round as usize) % contestants.len()];
                let result = measure(args, workload, contestant, round, &inputs);
                let (row, column) = (workload.name.into(), contestant.column.name.clone());
                session.samples.push(Sample {
                    row,
                    column,
                    round,
                    result,
                });
            }
        }
        session.save(&path)?;
    }
    eprintln!("\rmeasured for {} s{:40}", started.elapsed().as_secs(), "");
    report::print(&session, &path)
}

fn select(args: &RunArgs) -> Result<Vec<&'static Workload>, String> {
    let all = catalogue::WORKLOADS
        .iter()
        .filter(|w| !(args.common.quick && w.full_only))
        .collect();
    args.common.only(all, |w| (w.name, w.group.key()))
}

/// The chosen columns with their workers, and what had to be left out.
fn contestants(args: &RunArgs) -> Result<(Vec<Contestant>, Vec<String>), String> {
    let names: Vec<&str> = ALLOCATORS
        .iter()
        .map(|a| a.name)
        .chain([OURS_AGAIN])
        .collect();
    let names = args.common.peers(names, |name| name)?;
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
    let result = execute::outcome(execute::without_tuning(&mut command), limit);
    if let Err(message) = &result {
        eprintln!(
            "\r{} under {}: {message}",
            workload.name, contestant.column.name
        );
    }
    result
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
