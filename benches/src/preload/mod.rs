//! `preload`: real programs and C micro-benchmarks, each with the allocator preloaded.

pub mod library;
pub mod measure;
pub mod micro;
mod peers;
mod programs;
pub mod redis;

use crate::cli::RunArgs;
use crate::order::{self, Place};
use crate::patience::Patience;
use crate::run::{command_line, progress};
use crate::session::{self, Column, Row, Sample, Session};
use crate::{execute, machine, report};
use library::Library;
use pymalloc_bench::catalogue::OURS;
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
    /// What runs beside it, a command of this program; empty for nothing.
    companion: String,
    /// A quick run visits it once: its memory is the point.
    once: bool,
    /// Whether it is linked against an allocator of its own: the column without a library then preloads
    /// the C library.
    brings_allocator: bool,
}

/// A row of the catalogue.
pub struct Named {
    /// Its name.
    pub name: String,
    /// The key of its group.
    pub key: &'static str,
    /// What it does.
    pub question: &'static str,
}

/// Every row, whether its program is installed or not.
pub fn rows() -> Vec<Named> {
    let named = |name: String, kind: Kind, question| Named {
        name,
        key: kind.key,
        question,
    };
    let programs = programs::CATALOGUE.iter().flat_map(|&(name, question)| {
        let kind = programs::kind(name);
        let twice = (kind.key == CPYTHON.key).then(|| format!("{name}{}", report::SUFFIX));
        [Some(name.to_owned()), twice]
            .into_iter()
            .flatten()
            .map(move |name| named(name, kind, question))
    });
    let micro = micro::CATALOGUE
        .iter()
        .map(|&(name, question)| named(name.to_owned(), MICRO, question));
    programs.chain(micro).collect()
}

/// Finds libraries and programs, measures, saves, reports.
pub fn run(args: &RunArgs) -> Result<(), String> {
    if !rows()
        .iter()
        .any(|row| args.common.wants(&row.name, row.key))
    {
        return Ok(());
    }
    let inputs = session::inputs()?;
    let mut left_out = Vec::new();
    let libraries = library::find(args, &inputs, &mut left_out)?;
    let libraries = args.common.peers(libraries, |l| &l.name);
    let mut programs = programs::prepare(&args.common, &inputs, &mut left_out)?;
    programs.extend(micro::prepare(&args.common, &inputs)?);
    programs.retain(|p| args.common.wants(&p.name, p.kind.key));
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
        notes: Vec::new(),
        rows: programs.iter().map(row).collect(),
        samples: Vec::new(),
    };
    let path = session.new_path()?;
    let mut patience = Patience::of_run(args.common.quick, 600);
    let started = Instant::now();
    for round in 0..args.common.rounds() {
        for (i, program) in programs.iter().enumerate() {
            if program.once && round > 0 && args.common.saves_time() {
                continue;
            }
            progress(
                started,
                round,
                args.common.rounds(),
                i,
                programs.len(),
                &program.name,
            );
            if round == 0 {
                warm_up(program, &mut patience);
            }
            let place = Place { row: i, round };
            let samples = &mut session.samples;
            visit(program, &libraries, place, &mut patience, samples);
        }
        session.save(&path)?;
    }
    eprintln!("\rmeasured for {} s{:40}", started.elapsed().as_secs(), "");
    report::print(&session, &path)
}

/// Runs a program once for nothing, so that whoever comes first does not read its files from the disk.
fn warm_up(program: &Program, patience: &mut Patience) {
    let none = Library {
        name: "no library, to warm up".into(),
        path: None,
    };
    // What it takes is a first thing to judge the others' time by.
    patience.run(&program.name, &none.name, |limit| {
        measure_one(program, &none, limit)
    });
}

/// One program under every library.
fn visit(
    program: &Program,
    libraries: &[Library],
    place: Place,
    patience: &mut Patience,
    samples: &mut Vec<Sample>,
) {
    let ours = libraries.iter().position(|l| l.name == OURS);
    for i in order::columns(libraries.len(), ours.unwrap_or(0), place) {
        let library = &libraries[i];
        let result = patience.run(&program.name, &library.name, |limit| {
            measure_one(program, library, limit)
        });
        samples.extend(result.map(|result| Sample {
            row: program.name.clone(),
            column: library.name.clone(),
            round: place.round,
            result,
        }));
    }
}

/// How a library is named in a report.
pub fn column(library: &Library) -> Column {
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
    limit: Duration,
) -> Result<pymalloc_bench::outcome::Outcome, String> {
    let this = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let preloaded = match &library.path {
        Some(path) => path.clone(),
        None if program.brings_allocator => library::c_library()?,
        None => PathBuf::new(),
    };
    let mut command = Command::new(this);
    command
        .arg(measure::COMMAND)
        .arg(preloaded)
        .arg(&program.companion)
        .args(&program.arguments);
    execute::without_tuning(&mut command);
    command
        .current_dir(&program.folder)
        .envs(program.environment.iter().copied());
    execute::outcome(&mut command, limit, false)
}
