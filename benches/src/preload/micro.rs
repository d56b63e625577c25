//! The C micro-benchmarks: compiled by gcc at -O2, run with the library preloaded.

use super::{MICRO, Program};
use crate::cli::Common;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names and questions.
pub const CATALOGUE: &[(&str, &str)] = &[
    (
        "c-pairs",
        "malloc and free pairs of mixed sizes in two threads.",
    ),
    (
        "c-larson",
        "Random replacement; live sets change hands between threads.",
    ),
    ("c-prodcons", "Two threads allocate, two others free."),
    (
        "c-exchange",
        "Two threads leave parcels of blocks in shared boxes, and free what they find there.",
    ),
    (
        "c-groups",
        "Groups of blocks freed together: oldest first, newest first, every second.",
    ),
    (
        "c-buffers",
        "Blocks of 4 KiB to 1 MiB of every length, written to; the oldest goes.",
    ),
    (
        "c-threads",
        "2,000 threads live at once with eight small blocks each: see the peak resident set.",
    ),
];

/// Compiles the wanted ones. Each takes its number of threads and of operations per thread.
pub(super) fn prepare(common: &Common, inputs: &Path) -> Result<Vec<Program>, String> {
    let program = |name: &str, operations: u64| -> Result<Program, String> {
        let executable = compile(name, inputs)?;
        let threads = if name == "threads" { "2000" } else { "2" };
        let operations = if common.quick || name == "threads" {
            operations
        } else {
            4 * operations
        };
        Ok(Program {
            name: format!("c-{name}"),
            kind: MICRO,
            arguments: vec![
                executable.into(),
                threads.into(),
                operations.to_string().into(),
            ],
            environment: Vec::new(),
            folder: inputs.to_owned(),
            companion: String::new(),
            once: name == "threads",
            brings_allocator: false,
        })
    };
    let operations = [
        ("pairs", 15_000_000),
        ("larson", 4_000_000),
        ("prodcons", 4_000_000),
        ("exchange", 6_000_000),
        ("groups", 8_000_000),
        ("buffers", 60_000),
        ("threads", 8),
    ];
    operations
        .into_iter()
        .filter(|(name, _)| common.wants(&format!("c-{name}"), MICRO.key))
        .map(|(name, n)| program(name, n))
        .collect()
}

/// Compiles `benches/c/NAME.c`.
pub fn compile(name: &str, inputs: &Path) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("c/{name}.c"));
    let executable = inputs.join(name);
    let output = Command::new("gcc")
        .args(["-O2", "-fno-builtin-malloc", "-Wall", "-pthread", "-o"])
        .args([&executable, &source])
        .args(["-ldl"])
        .output()
        .map_err(|e| format!("gcc: {e} (Debian: apt install gcc libc6-dev)"))?;
    if output.status.success() {
        return Ok(executable);
    }
    Err(format!(
        "{} does not compile:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    ))
}
