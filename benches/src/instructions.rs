//! Instructions per operation, counted by callgrind: the same from run to run, unlike time.
//!
//! A loop runs twice under valgrind with different numbers of operations; the difference divided by the
//! difference of the numbers is one operation, the few instructions of the loop itself included.
//! Start-up, warm-up and exit cancel out. What an allocator does only now and then (a longer list, a new
//! page) is in the mean.

use crate::cli::RunArgs;
use crate::patience::Patience;
use crate::run::{command_line, progress};
use crate::session::{self, Column, Row, Sample, Session};
use crate::{execute, in_process, machine, preload, report};
use pymalloc_bench::catalogue::{COUNTED, Counted};
use pymalloc_bench::outcome::Outcome;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The key of the group.
const KEY: &str = "instructions";
/// Operations of the two runs: multiples of every loop's batch.
const OPERATIONS: [u64; 2] = [16_000, 48_000];

/// What is counted of the C functions.
const COUNTED_C: &[Counted] = &[
    Counted::quick("insn-c-pair-16", "pair"),
    Counted::full("insn-c-pair-64", "pair"),
    Counted::quick("insn-c-pair-512", "pair"),
    Counted::full("insn-c-pair-4096", "pair"),
    Counted::quick("insn-c-batch", "pair"),
    Counted::full("insn-c-zeroed", "pair"),
    Counted::quick("insn-c-realloc", "call"),
];

/// A column: what is executed and what is preloaded.
struct Contestant {
    column: Column,
    executable: PathBuf,
    library: Option<PathBuf>,
}

/// Names and groups of all rows.
pub fn rows() -> Vec<(String, &'static str)> {
    let all = COUNTED.iter().chain(COUNTED_C);
    all.map(|c| (c.name.to_owned(), KEY)).collect()
}

/// Counts, saves, reports: the crates first, then the preload libraries.
pub fn run(args: &RunArgs) -> Result<(), String> {
    let common = &args.common;
    let is_wanted = |c: &Counted| common.wants(c.name, KEY) && (c.quick || !common.saves_time());
    let wanted = |all: &[Counted]| all.iter().copied().filter(is_wanted).collect::<Vec<_>>();
    let (rust, c) = (wanted(COUNTED), wanted(COUNTED_C));
    if rust.is_empty() && c.is_empty() {
        return Ok(());
    }
    if Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        let hint = "instructions are counted by valgrind (Debian: apt install valgrind)";
        if args.part.is_empty() {
            eprintln!("left out: {hint}");
            return Ok(());
        }
        return Err(hint.into());
    }
    if !rust.is_empty() {
        let (contestants, left_out) = in_process::contestants(args)?;
        let columns = contestants.into_iter().map(|c| Contestant {
            column: c.column,
            executable: c.worker,
            library: None,
        });
        let title = "Instructions per operation, in process";
        count_all("instructions", title, &rust, columns.collect(), left_out)?;
    }
    if !c.is_empty() {
        let inputs = session::inputs()?;
        let mut left_out = Vec::new();
        let executable = preload::micro::compile("counted", &inputs)?;
        let libraries = preload::library::find(args, &inputs, &mut left_out)?;
        let libraries = args.common.peers(libraries, |l| &l.name);
        let columns = libraries.iter().map(|l| Contestant {
            column: preload::column(l),
            executable: executable.clone(),
            library: l.path.clone(),
        });
        let title = "Instructions per operation, preloaded";
        count_all("cinstructions", title, &c, columns.collect(), left_out)?;
    }
    Ok(())
}

fn count_all(
    kind: &str,
    title: &str,
    rows: &[Counted],
    columns: Vec<Contestant>,
    left_out: Vec<String>,
) -> Result<(), String> {
    let row = |counted: &Counted| Row {
        name: counted.name.into(),
        group: title.into(),
        unit: counted.unit.into(),
    };
    let mut session = Session {
        kind: kind.into(),
        command: command_line(),
        machine: machine::line(),
        started: machine::stamp(),
        columns: columns.iter().map(|c| c.column.clone()).collect(),
        left_out,
        notes: Vec::new(),
        rows: rows.iter().map(row).collect(),
        samples: Vec::new(),
    };
    let path = session.new_path()?;
    let mut patience = Patience::of_run(true, 120);
    let started = Instant::now();
    for (i, Counted { name, .. }) in rows.iter().enumerate() {
        progress(started, 0, 1, i, rows.len(), name);
        for contestant in &columns {
            let first: Vec<OsString> = match contestant.library {
                None if kind == "instructions" => vec!["count".into(), (*name).into()],
                _ => vec![(*name).into()],
            };
            let allocator = &contestant.column.name;
            let result = patience.run(name, allocator, |limit| {
                per_operation(contestant, &first, limit)
            });
            session.samples.extend(result.map(|result| Sample {
                row: (*name).into(),
                column: allocator.clone(),
                round: 0,
                result,
            }));
        }
        session.save(&path)?;
    }
    eprintln!("\rcounted for {} s{:40}", started.elapsed().as_secs(), "");
    report::print(&session, &path)
}

/// Instructions of one operation: the slope between two runs.
fn per_operation(
    contestant: &Contestant,
    first: &[OsString],
    limit: Duration,
) -> Result<Outcome, String> {
    let [few, many] = OPERATIONS;
    let at = |n: u64| {
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&contestant.executable)
            .args(first)
            .arg(n.to_string());
        execute::without_tuning(&mut command);
        if let Some(library) = &contestant.library {
            command.env("LD_PRELOAD", library);
        }
        collected(&mut command, &contestant.executable, limit)
    };
    let instructions = (at(many)? - at(few)?) as f64 / (many - few) as f64;
    Ok(Outcome {
        ops: many,
        instructions: Some(instructions),
        ..Outcome::default()
    })
}

/// Runs a command under callgrind and reads how many instructions it counted.
fn collected(command: &mut Command, executable: &Path, limit: Duration) -> Result<i64, String> {
    let output = execute::output(command, limit)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!(
            "{} under valgrind: {}: {}",
            executable.display(),
            output.status,
            own_words(&said)
        ));
    }
    count_in(&said).ok_or_else(|| "callgrind printed no count".into())
}

/// The first line that the program, not valgrind, has said.
fn own_words(said: &str) -> &str {
    let own = |line: &&str| !line.is_empty() && !line.starts_with("==");
    said.lines().find(own).unwrap_or("no message")
}

/// The number on callgrind's line `==PID== Collected : N`.
fn count_in(said: &str) -> Option<i64> {
    let (_, rest) = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_callgrinds_last_words() {
        let said = "==1== Events    : Ir\n==1== Collected : 123456\n==1== \n";
        assert_eq!(count_in(said), Some(123_456));
        assert_eq!(count_in("==1== Command: x\n"), None);
        assert_eq!(own_words("==1== a\n\nno memory\n==1== b\n"), "no memory");
    }

    #[test]
    fn operations_fill_whole_batches() {
        for n in OPERATIONS {
            assert!(n % 64 == 0 && n % 200 == 0 && n % 4 == 0, "{n}");
        }
    }
}
