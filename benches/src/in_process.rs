//! Allocators linked into Rust programs, interleaved.

use crate::cli::RunArgs;
use crate::order::{self, Place};
use crate::patience::Patience;
use crate::run::{command_line, progress};
use crate::session::{self, Column, Row, Sample, Session};
use crate::{execute, machine, report, workers};
use pymalloc_bench::catalogue::{self, ALLOCATORS, Allocator, Group, OURS, OURS_AGAIN, Workload};
use pymalloc_bench::ops;
use pymalloc_bench::outcome::Outcome;
use std::fs::File;
use std::io;
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
    let mut patience =
        Patience::of_run(args.common.quick, if args.common.quick { 120 } else { 900 });
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
                Place { row: i, round },
                &inputs,
                &mut patience,
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
    place: Place,
    inputs: &Path,
    patience: &mut Patience,
    samples: &mut Vec<Sample>,
) {
    let turns = match workload.group {
        Group::Latency => LATENCY_RUNS.div_ceil(args.common.rounds()),
        _ => 1,
    };
    let n_columns = if workload.alone { 1 } else { contestants.len() };
    // Ours first, so that there is something to judge the others' time by.
    let ours = contestants[..n_columns]
        .iter()
        .position(|c| c.column.name == OURS);
    for turn in 0..turns {
        let round = place.round * turns + turn;
        let place = Place { round, ..place };
        for i in order::columns(n_columns, ours.unwrap_or(0), place) {
            let contestant = &contestants[i];
            let column = &contestant.column.name;
            let result = patience.run(workload.name, column, |limit| {
                measure(args, workload, contestant, round, inputs, limit)
            });
            samples.extend(result.map(|result| Sample {
                row: workload.name.into(),
                column: column.clone(),
                round,
                result,
            }));
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
    built.values().try_for_each(|worker| warm_up(worker))?;
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

/// Reads a worker once, so that its first run does not read it from the disk.
fn warm_up(worker: &Path) -> Result<(), String> {
    File::open(worker)
        .and_then(|mut file| io::copy(&mut file, &mut io::sink()))
        .map(drop)
        .map_err(|e| format!("{}: {e}", worker.display()))
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
    limit: Duration,
) -> Result<Outcome, String> {
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
    let watched = settle && round == 0;
    execute::outcome(execute::without_tuning(&mut command), limit, watched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Common;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A worker that notes its start in a file and then does as `script` says.
    fn fake(folder: &Path, name: &str, script: &str) -> Contestant {
        let worker = folder.join(name);
        let starts = folder.join(format!("{name}.starts"));
        let text = format!("#!/bin/sh\necho start >> {}\n{script}\n", starts.display());
        fs::write(&worker, text).unwrap();
        fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
        Contestant {
            column: Column {
                name: name.into(),
                version: "1".into(),
            },
            worker,
        }
    }

    /// One that comes to its end at once, and prints an outcome.
    fn good() -> String {
        let line = serde_json::to_string(&Outcome {
            ops: 1,
            cpu_ns: 1000,
            wall_ns: 1000,
            ..Outcome::default()
        });
        format!("echo '{}'", line.unwrap())
    }

    fn quick_args() -> RunArgs {
        RunArgs {
            common: Common {
                quick: true,
                rounds: Some(3),
                only: Vec::new(),
                peers: Vec::new(),
            },
            part: Vec::new(),
            threads: None,
            so: Vec::new(),
            no_build: true,
        }
    }

    /// Three rounds: the first one hangs, the second one does so from the second round on, the others come to an end,
    /// for which they have the time that a busy machine may need.
    fn three_rounds(contestants: &[Contestant], folder: &Path) -> Session {
        let (args, workload) = (quick_args(), &catalogue::WORKLOADS[0]);
        let mut session = Session {
            columns: contestants.iter().map(|c| c.column.clone()).collect(),
            rows: vec![row(workload)],
            ..Session::default()
        };
        let always = |limit| Patience::new(limit, limit);
        let mut short = always(Duration::from_secs(2));
        let mut long = always(Duration::from_secs(60));
        for round in 0..3 {
            let place = Place { row: 0, round };
            let mut visit = |some: &[Contestant], patience: &mut Patience| {
                let samples = &mut session.samples;
                visit(&args, workload, some, place, folder, patience, samples);
            };
            visit(&contestants[2..], &mut long);
            visit(&contestants[..1], &mut short);
            let second = if round == 0 { &mut long } else { &mut short };
            visit(&contestants[1..2], second);
        }
        session
    }

    #[test]
    fn workers_that_hang_crash_or_print_rubbish_do_not_keep_the_report_back() {
        let folder = std::env::temp_dir().join(format!("pymalloc-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let good = good();
        let late = format!("[ -e $0.once ] && sleep 600\ntouch $0.once\n{good}");
        let contestants = [
            ("hangs", "sleep 600 | sleep 600"),
            ("late", &late),
            ("crashes", "echo oh >&2; kill -SEGV $$"),
            ("rubbish", "echo hello"),
            (OURS, &good),
        ]
        .map(|(name, script)| fake(&folder, name, script));
        let session = three_rounds(&contestants, &folder);
        let starts = contestants.each_ref().map(|c| {
            let starts = fs::read_to_string(c.worker.with_extension("starts"));
            // One that hangs may be ended before it has noted its start.
            starts.unwrap_or_default().lines().count()
        });
        fs::remove_dir_all(&folder).unwrap();
        assert!(starts[0] <= 1 && (1..=2).contains(&starts[1]), "{starts:?}");
        assert_eq!(starts[2..], [3, 3, 3]);
        assert_eq!(session.samples[0].column, OURS);
        let report = report::render(&session);
        let named = format!("| {} (per", catalogue::WORKLOADS[0].name);
        let table = report.lines().find(|line| line.starts_with(&named));
        let table = table.unwrap();
        let cells: Vec<&str> = table.split('|').map(str::trim).collect();
        assert_eq!(cells[2], "hangs", "{report}");
        assert!(
            cells[3].ends_with(", hangs") && cells[3].len() > 7,
            "{table}"
        );
        assert_eq!(&cells[4..6], ["failed", "failed"], "{table}");
        assert!(!["", "failed", "hangs"].contains(&cells[6]), "{table}");
        for what in [
            "under hangs, round 1: still running after 2 s; not run again",
            "under late, round 2: still running after 2 s; not run again",
            "under crashes, round 3: signal: 11",
            "under rubbish, round 3: printed no outcome",
        ] {
            assert!(report.contains(what), "{what}: {report}");
        }
    }
}
