//! `preload`: real programs and C micro-benchmarks, each with the allocator preloaded.

pub mod library;
pub mod measure;
mod micro;
mod programs;

use crate::cli::PreloadArgs;
use crate::run::{command_line, progress};
use crate::session::{self, Column, Row, Sample, Session};
use crate::{execute, machine, report};
use library::Library;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Rows that share a table and a mean.
#[derive(Clone, Copy)]
struct Kind {
    /// The name on the command line.
    key: &'static str,
    /// The heading in the report.
    title: &'static str,
}

/// Programs that start, work and end on their own.
const PROGRAMS: Kind = Kind {
    key: "programs",
    title: "Real programs",
};
/// Scripts under CPython, twice each.
const CPYTHON: Kind = Kind {
    key: "cpython",
    title: "CPython",
};
/// Threads and blocks, from `benches/c`.
const MICRO: Kind = Kind {
    key: "c-micro",
    title: "C micro-benchmarks",
};

/// Something to run under every library.
struct Program {
    name: String,
    kind: Kind,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
    folder: PathBuf,
}

/// Names of all rows and what they are, for `list`.
pub fn rows() -> Vec<(String, &'static str)> {
    programs::CATALOGUE
        .iter()
        .chain(micro::CATALOGUE)
        .map(|&(name, what)| (name.to_owned(), what))
        .collect()
}

/// Finds libraries and programs, measures, saves, reports.
pub fn run(args: &PreloadArgs) -> Result<(), String> {
    let inputs = session::inputs()?;
    let mut left_out = Vec::new();
    let libraries = library::find(args, &inputs, &mut left_out)?;
    let libraries = args.common.peers(libraries, |l| &l.name)?;
    let mut programs = programs::prepare(&args.common, &inputs, &mut left_out)?;
    programs.extend(micro::prepare(&args.common, &inputs)?);
    let programs = args.common.only(programs, |p| (&p.name, p.kind.key))?;
    for what in &left_out {
        eprintln!("left out: {what}");
    }
    let mut session = Session {
        kind: "preload".into(),
        command: command_line(),
        machine: machine::line(),
        started: machine::stamp(),
        columns: libraries.iter().map(column).collect(),
        left_out,
        rows: programs.iter().map(row).collect(),
        samples: Vec::new(),
    };
    let path = session.new_path()?;
    let started = Instant::now();
    for round in 0..args.common.rounds() {
        for (i, program) in programs.iter().enumerate() {
            progress(
                started,
                round,
                args.common.rounds(),
                i,
                programs.len(),
                &program.name,
            );
            for turn in 0..libraries.len() {
                let library = &libraries[(turn + round as usize) % libraries.len()];
                let result = measure_one(program, library);
                if let Err(message) = &result {
                    eprintln!("\r{} under {}: {message}", program.name, library.name);
                }
                let (row, column) = (program.name.clone(), library.name.clone());
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

fn column(library: &Library) -> Column {
    let version = library
        .path
        .as_ref()
        .map_or("no library".into(), |p| p.display().to_string());
    Column {
        name: library.name.clone(),
        version,
    }
}

fn row(program: &Program) -> Row {
    Row {
        name: program.name.clone(),
        group: program.kind.title.into(),
        unit: "run".into(),
    }
}

fn measure_one(
    program: &Program,
    library: &Library,
) -> Result<pymalloc_bench::outcome::Outcome, String> {
    let this = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let mut command = Command::new(this);
    command
        .arg(measure::COMMAND)
        .arg(library.path.as_deref().unwrap_or("".as_ref()))
        .args(&program.arguments);
    execute::without_tuning(&mut command);
    command
        .current_dir(&program.folder)
        .envs(program.environment.iter().copied());
    execute::outcome(&mut command, Duration::from_secs(600))
}
