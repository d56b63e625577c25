//! The command line.

use crate::{gc_report, preload, report, run, session};
use clap::{Args, Parser, Subcommand};
use pymalloc_bench::catalogue::{self, Group};
use std::path::PathBuf;

/// Measures pymalloc beside other allocators, interleaved, and prints a report.
#[derive(Parser)]
#[command(name = "pymalloc-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Allocators linked into a Rust program, each in a binary of its own
    Run(RunArgs),
    /// Real programs and C micro-benchmarks with the allocator preloaded
    Preload(PreloadArgs),
    /// Render saved samples again
    Report {
        /// A file written by `run` or `preload` [default: the newest of each kind in target/bench]
        files: Vec<PathBuf>,
    },
    /// Collectors of cycles, beside Rc and CPython
    Gc(gc_report::GcArgs),
    /// What there is to measure
    List,
}

/// What `run` and `preload` have in common.
#[derive(Args, Clone)]
pub struct Common {
    /// Smaller inputs and few rounds
    #[arg(long)]
    pub quick: bool,
    /// Samples per workload and allocator [default: 11, quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Only workloads whose name contains one of these
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these allocators
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub alloc: Vec<String>,
}

impl Common {
    /// Samples per workload and allocator.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 11 })
    }

    /// Keeps the rows `--only` names.
    ///
    /// # Errors
    /// When a filter matches nothing: it names what there is.
    pub fn only<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Vec<T>, String> {
        for filter in &self.only {
            if !all.iter().any(|row| name(row).contains(filter.as_str())) {
                let names: Vec<_> = all.iter().map(name).collect();
                return Err(format!(
                    "--only {filter}: no such workload; there are {}",
                    names.join(", ")
                ));
            }
        }
        let wanted = |row: &T| {
            self.only.is_empty() || self.only.iter().any(|f| name(row).contains(f.as_str()))
        };
        Ok(all.into_iter().filter(wanted).collect())
    }

    /// Keeps the columns `--alloc` names.
    ///
    /// # Errors
    /// When a name is unknown: it names what there is.
    pub fn alloc<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Vec<T>, String> {
        for wanted in &self.alloc {
            if !all.iter().any(|column| name(column) == wanted) {
                let names: Vec<_> = all.iter().map(name).collect();
                return Err(format!(
                    "--alloc {wanted}: no such allocator; there are {}",
                    names.join(", ")
                ));
            }
        }
        let wanted =
            |column: &T| self.alloc.is_empty() || self.alloc.iter().any(|a| a == name(column));
        Ok(all.into_iter().filter(wanted).collect())
    }
}

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub common: Common,
    /// Threads of workloads with threads [default: as many as there are CPUs, at least 2, at most 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub threads: Option<u32>,
    /// Use the workers as they are, without asking cargo
    #[arg(long)]
    pub no_build: bool,
}

#[derive(Args)]
pub struct PreloadArgs {
    #[command(flatten)]
    pub common: Common,
    /// One more library; NAME `pymalloc` replaces the one built here
    #[arg(long, value_name = "NAME=PATH")]
    pub so: Vec<String>,
    /// Do not build libpymalloc.so
    #[arg(long)]
    pub no_build: bool,
}

/// Parses the command line and does what it says.
pub fn dispatch() -> Result<(), String> {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Preload(args) => preload::run(&args),
        Command::Gc(args) => gc_report::run(&args),
        Command::Report { files } => {
            let files = if files.is_empty() {
                session::newest()?
            } else {
                files
            };
            files
                .iter()
                .try_for_each(|file| report::print(&session::Session::load(file)?, file))
        }
        Command::List => {
            list();
            Ok(())
        }
    }
}

fn list() {
    for group in Group::ALL {
        println!("{}", group.title());
        for w in catalogue::WORKLOADS.iter().filter(|w| w.group == group) {
            println!("  {:22} {}", w.name, w.question);
        }
    }
    let names: Vec<_> = catalogue::ALLOCATORS.iter().map(|a| a.name).collect();
    println!(
        "Allocators in process\n  {} {}",
        names.join(" "),
        catalogue::OURS_AGAIN
    );
    println!("Programs under `preload`");
    for (name, question) in preload::rows() {
        println!("  {name:22} {question}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn filters_name_what_there_is() {
        let common = Common {
            quick: true,
            rounds: None,
            only: vec!["x".into()],
            alloc: vec!["b".into()],
        };
        let error = common.only(vec!["a", "b"], |row| row).unwrap_err();
        assert_eq!(error, "--only x: no such workload; there are a, b");
        assert_eq!(common.alloc(vec!["a", "b"], |row| row).unwrap(), ["b"]);
        assert_eq!(common.rounds(), 3);
    }
}
