//! `pymalloc-bench gc`: collectors side by side, interleaved, a process for each sample.
//!
//! ```text
//! for each round: for each workload: for each contender (another one first each round):
//!     worker-gc CONTENDER WORKLOAD      or      python3 benches/gc/cpython.py WORKLOAD
//! ```
//!
//! The contenders run on the system's allocator, as their users run them; ours on its own arenas. CPython does
//! the same work in its own language: in its rows a and b the interpreter is part of the price.

use crate::machine;
use crate::session::{folder, workspace};
use crate::stats;
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
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
    /// Seconds a sample may take; what takes longer counts as not done
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,
}

/// Samples by workload and contender; figures beside the first by name.
#[derive(Default)]
struct Samples {
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    more: BTreeMap<(&'static str, &'static str), Vec<(String, f64)>>,
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

/// One sample; `None` when the contender cannot do the work, dies of it, or takes too long.
fn measure(worker: &PathBuf, contender: &str, workload: &str, limit: u64) -> Option<Value> {
    let mut command = Command::new("timeout");
    command.arg(limit.to_string());
    if contender == "cpython" {
        command
            .arg("python3")
            .arg(workspace().join("benches/gc/cpython.py"));
    } else {
        command.arg(worker).arg(contender);
    }
    let output = command.arg(workload).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().next()?).ok()
}

fn sample(args: &GcArgs, worker: &PathBuf) -> Samples {
    let mut samples = Samples::default();
    let wanted = |names: &[String], name: &str| {
        names.is_empty() || names.iter().any(|filter| name.contains(filter.as_str()))
    };
    for round in 0..args.rounds as usize {
        for (workload, _) in WORKLOADS.iter().filter(|row| wanted(&args.only, row.0)) {
            for at in 0..CONTENDERS.len() {
                let contender = CONTENDERS[(at + round) % CONTENDERS.len()];
                let chosen =
                    args.peers.is_empty() || args.peers.iter().any(|peer| peer == contender);
                let known = round == 0 || samples.values.contains_key(&(*workload, contender));
                if !chosen || !known {
                    continue;
                }
                let Some(found) = measure(worker, contender, workload, args.limit) else {
                    continue;
                };
                let key = (*workload, contender);
                samples
                    .values
                    .entry(key)
                    .or_default()
                    .extend(found["value"].as_f64());
                if let Ok(more) = serde_json::from_value(found["more"].clone()) {
                    samples.more.insert(key, more);
                }
            }
            eprint!(".");
        }
    }
    eprintln!();
    samples
}

/// The table, and for pauses the distribution.
fn print(args: &GcArgs, samples: &Samples) {
    println!("# Collectors\n");
    println!("{}\n", machine::line());
    println!(
        "Nanoseconds of CPU per object (bytes for memory), median of {} interleaved samples; in brackets: times ours.\n",
        args.rounds
    );
    let present: Vec<_> = CONTENDERS
        .iter()
        .filter(|contender| samples.values.keys().any(|key| key.1 == **contender))
        .collect();
    let names: Vec<_> = present.iter().map(|name| **name).collect();
    println!("| work | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for (workload, question) in WORKLOADS {
        let of = |contender: &'static str| {
            let values = samples.values.get(&(workload, contender))?;
            Some(stats::Summary::of(values)?.median)
        };
        if !samples.values.keys().any(|key| key.0 == workload) {
            continue;
        }
        let ours = of("pymalloc");
        let cells: Vec<_> = names
            .iter()
            .map(|name| match (of(name), ours) {
                (None, _) => "–".to_owned(),
                (Some(value), Some(ours)) if *name != "pymalloc" && ours > 0.0 => {
                    format!("{} ({:.1})", short(value), value / ours)
                }
                (Some(value), _) => short(value),
            })
            .collect();
        println!("| {workload}: {question} | {} |", cells.join(" | "));
    }
    for ((workload, _), more) in &samples.more {
        if !more.is_empty() {
            println!("\n## {workload}\n");
            more.iter()
                .for_each(|(name, value)| println!("* {name}: {}", short(*value)));
        }
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// Runs the comparison and prints it.
///
/// # Errors
/// When the worker cannot be built or a name is unknown.
pub fn run(args: &GcArgs) -> Result<(), String> {
    for peer in &args.peers {
        if !CONTENDERS.contains(&peer.as_str()) {
            return Err(format!(
                "--peers {peer}: there are {}",
                CONTENDERS.join(", ")
            ));
        }
    }
    let worker = if args.no_build { worker()? } else { build()? };
    let samples = sample(args, &worker);
    print(args, &samples);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            (short(1234.5), short(12.34), short(0.1234)),
            ("1234".into(), "12.3".into(), "0.123".into())
        );
    }
}
