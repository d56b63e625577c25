//! `pymalloc-bench gc`: collectors side by side, interleaved, a process for each sample.
//!
//! ```text
//! for each round: for each workload: for each contender (in the order of [`order`]):
//!     worker-gc CONTENDER WORKLOAD      or      python3 benches/gc/cpython.py WORKLOAD
//! samples   saved after each workload to target/bench/gc-*.json; several files are one run in parts
//! table     a row per workload, a column per contender; pauses
//! targets   what is aimed at, and whether these samples meet it
//! ```
//!
//! The contenders run on the system's allocator, as their users run them; ours on its own arenas. CPython does
//! the same work in its own language: in its rows a and b the interpreter is part of the price.
//!
//! `gc --only a-,b-,c-` and later `gc --only f-` leave two files, and `report gc-1.json gc-2.json` prints them as
//! one run.

mod samples;
mod table;
mod targets;

use crate::order::{self, Place};
use crate::session::{folder, workspace};
use crate::{free_memory, machine};
use clap::Args;
use samples::{Sample, Samples};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Contenders, first ours; all but CPython run in the worker.
const CONTENDERS: [&str; 10] = [
    "pymalloc",
    "rc",
    "dumpster",
    "bacon_rajan_cc",
    "gcmodule",
    "jrsonnet-gcmodule",
    "rust-cc",
    "gc-arena",
    "boa_gc",
    "cpython",
];

/// Rows: name, question.
const WORKLOADS: [(&str, &str); 16] = [
    ("a-clone", "clone and drop a handle"),
    ("b-alloc", "allocate and drop a node"),
    ("c-self", "collect 1 M garbage self-cycles"),
    ("d-pairs", "collect 1 M garbage 2-cycles"),
    ("e-tree", "collect a garbage tree of depth 20 with parents"),
    ("f-tree-1m", "full collection, 1 M live nodes, tree"),
    ("f-tree-4m", "the same, 4 M"),
    (
        "f-random-1m",
        "full collection, 1 M live nodes, random graph",
    ),
    ("f-random-4m", "the same, 4 M"),
    (
        "f-untouched",
        "full collection, 1 M old nodes untouched since the last one",
    ),
    (
        "g-young",
        "make and free young 2-cycles beside 1 M old nodes",
    ),
    (
        "h-random",
        "collect 1 M garbage nodes with 3 M random references",
    ),
    ("memory", "bytes per live node over its 40"),
    ("memory-collected", "the same after a collection"),
    (
        "pauses-1m",
        "longest pause of an automatic collection, 1 M live nodes (µs)",
    ),
    ("pauses-4m", "the same, 4 M (µs)"),
];

/// What `gc` takes.
#[derive(Args)]
pub struct GcArgs {
    /// Samples per workload and contender
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only workloads whose name contains one of these
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these contenders
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    peers: Vec<String>,
    /// Use the worker as it is, without asking cargo
    #[arg(long)]
    no_build: bool,
    /// Seconds a sample may take; what takes longer counts as not done, and is not tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,
}

impl GcArgs {
    fn wants(&self, workload: &str) -> bool {
        let contains = |part: &String| workload.contains(part.as_str());
        self.only.is_empty() || self.only.iter().any(contains)
    }

    fn has(&self, contender: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == contender)
    }

    fn check(&self) -> Result<(), String> {
        let unknown = |peer: &&String| !CONTENDERS.contains(&peer.as_str());
        if let Some(peer) = self.peers.iter().find(unknown) {
            let all = CONTENDERS.join(", ");
            return Err(format!("--peers {peer}: there are {all}"));
        }
        let matches_none =
            |part: &&String| !WORKLOADS.iter().any(|row| row.0.contains(part.as_str()));
        match self.only.iter().find(matches_none) {
            None => Ok(()),
            Some(part) => {
                let all = WORKLOADS.map(|row| row.0).join(", ");
                Err(format!("--only {part}: there are {all}"))
            }
        }
    }
}

fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--profile", "fat", "-p", "pymalloc-bench"])
        .args(["--features", "gc", "--bin", "worker-gc"])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("worker-gc does not build".into());
    }
    worker()
}

fn worker() -> Result<PathBuf, String> {
    let path = folder()?.join("../fat/worker-gc");
    if path.exists() {
        Ok(path)
    } else {
        Err(format!(
            "{} is not built; leave out --no-build",
            path.display()
        ))
    }
}

/// One sample; an error when the contender cannot do the work, dies of it, or takes too long.
fn measure(worker: &Path, contender: &str, workload: &str, limit: u64) -> Result<Value, String> {
    let mut command = Command::new("timeout");
    command.arg(limit.to_string());
    if contender == "cpython" {
        command
            .arg("python3")
            .arg(workspace().join("benches/gc/cpython.py"));
    } else {
        command.arg(worker).arg(contender);
    }
    free_memory::make_ready();
    let output = command.arg(workload).stderr(Stdio::null()).output();
    let output = output.map_err(|error| format!("timeout: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next().map(serde_json::from_str) {
        Some(Ok(found)) => Ok(found),
        _ => Err(match output.status.code() {
            Some(2) => "cannot".to_owned(),
            Some(124) => format!("takes more than {limit} s"),
            _ => format!("dies: {}", output.status),
        }),
    }
}

/// Takes the samples of one workload in one round. Who failed in an earlier round is not asked again.
fn round(args: &GcArgs, worker: &Path, place: Place, workload: &str, samples: &mut Samples) {
    let chosen: Vec<&str> = CONTENDERS.into_iter().filter(|c| args.has(c)).collect();
    for contender in order::columns(chosen.len(), 0, place).map(|i| chosen[i]) {
        if samples.failed(workload, contender) {
            continue;
        }
        let found = measure(worker, contender, workload, args.limit);
        samples.taken.push(match found {
            Ok(found) => Sample {
                workload: workload.into(),
                contender: contender.into(),
                value: found["value"].as_f64(),
                more: serde_json::from_value(found["more"].clone()).unwrap_or_default(),
                why: None,
            },
            Err(why) => Sample {
                workload: workload.into(),
                contender: contender.into(),
                why: Some(why),
                ..Sample::default()
            },
        });
    }
}

/// Runs the comparison, saves its samples and prints them.
///
/// # Errors
/// When the worker cannot be built, a name is unknown, or the samples cannot be saved.
pub fn run(args: &GcArgs) -> Result<(), String> {
    args.check()?;
    let worker = if args.no_build { worker()? } else { build()? };
    let started = machine::stamp();
    let path = folder()?.join(format!("gc-{started}.json"));
    let mut samples = Samples {
        kind: KIND.into(),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        machine: machine::line(),
        started,
        taken: Vec::new(),
    };
    for n in 0..args.rounds {
        let wanted = WORKLOADS.iter().filter(|row| args.wants(row.0));
        for (row, (workload, _)) in wanted.enumerate() {
            let place = Place { row, round: n };
            round(args, &worker, place, workload, &mut samples);
            samples.save(&path)?;
            eprint!(".");
        }
    }
    eprintln!();
    print!("{}", render(&[samples]));
    println!("Samples: {}", path.display());
    Ok(())
}

/// The kind of these samples, and the beginning of their files' names.
const KIND: &str = "gc";

/// Prints saved samples, those of several files as one run. Does nothing without files.
///
/// # Errors
/// When a file cannot be read.
pub fn print_saved(files: &[PathBuf]) -> Result<(), String> {
    let parts: Vec<_> = files
        .iter()
        .map(|file| Samples::load(file))
        .collect::<Result<_, _>>()?;
    if !parts.is_empty() {
        print!("{}", render(&parts));
    }
    Ok(())
}

/// Whether a file has samples of this kind.
pub fn is_ours(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("gc-"))
}

/// The report of one run, or of one in parts.
fn render(parts: &[Samples]) -> String {
    let mut out = String::from("# Collectors\n\n");
    for part in parts {
        out += &format!("`{}`, {}  \n", part.command, part.machine);
    }
    let all = Samples::merge(parts);
    out += &table::render(&all);
    out += &targets::render(&all);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(only: &[&str], peers: &[&str]) -> GcArgs {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        GcArgs {
            rounds: 1,
            only: owned(only),
            peers: owned(peers),
            no_build: true,
            limit: 1,
        }
    }

    #[test]
    fn unknown_names_are_refused_with_those_there_are() {
        assert!(args(&["f-", "memory"], &["rc"]).check().is_ok());
        let message = args(&["i-"], &[]).check().unwrap_err();
        assert!(message.contains("h-random"), "{message}");
        let message = args(&[], &["arc"]).check().unwrap_err();
        assert!(message.contains("dumpster"), "{message}");
    }
}
