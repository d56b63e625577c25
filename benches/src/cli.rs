//! The command line.

use crate::{preload, report, run, session};
use clap::{Args, Parser, Subcommand};
use pymalloc_bench::catalogue::{self, Group, OURS_AGAIN, is_ours};
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
    /// Only these workloads: a name or part of it, a pattern (`pair-*`), or a group (`micro`)
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these allocators beside pymalloc, which is always measured, and twice
    #[arg(
        long,
        visible_alias = "alloc",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub peers: Vec<String>,
}

impl Common {
    /// Samples per workload and allocator.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 11 })
    }

    /// Whether `--only` names a workload of a group, or nothing at all.
    pub fn wants(&self, name: &str, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|filter| matches(filter, name, group))
    }

    /// Keeps the rows `--only` names; `label` gives a row's name and the key of its group.
    ///
    /// # Errors
    /// When a filter matches nothing: it names what there is.
    pub fn only<T>(
        &self,
        all: Vec<T>,
        label: impl Fn(&T) -> (&str, &str),
    ) -> Result<Vec<T>, String> {
        for filter in &self.only {
            let named = |row: &T| matches(filter, label(row).0, label(row).1);
            if !all.iter().any(named) {
                let names: Vec<_> = all.iter().map(|row| label(row).0).collect();
                return Err(format!(
                    "--only {filter}: no such workload; there are {}",
                    names.join(", ")
                ));
            }
        }
        Ok(all
            .into_iter()
            .filter(|row| self.wants(label(row).0, label(row).1))
            .collect())
    }

    /// Keeps the columns `--peers` names, and our own.
    ///
    /// # Errors
    /// When a name is unknown: it names what there is.
    pub fn peers<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Vec<T>, String> {
        for wanted in &self.peers {
            if !all.iter().any(|column| name(column) == wanted) {
                let names: Vec<_> = all.iter().map(name).collect();
                return Err(format!(
                    "--peers {wanted}: no such allocator; there are {}",
                    names.join(", ")
                ));
            }
        }
        let wanted = |column: &T| {
            let name = name(column);
            self.peers.is_empty() || is_ours(name) || self.peers.iter().any(|a| a == name)
        };
        Ok(all.into_iter().filter(wanted).collect())
    }
}

/// Whether a filter of `--only` means this workload.
fn matches(filter: &str, name: &str, group: &str) -> bool {
    match glob::Pattern::new(filter) {
        Ok(pattern) if filter.contains(['*', '?', '[']) => pattern.matches(name),
        _ => filter == group || name.contains(filter),
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
        println!("{} (--only {})", group.title(), group.key());
        for w in catalogue::WORKLOADS.iter().filter(|w| w.group == group) {
            println!("  {:22} {}", w.name, w.question);
        }
    }
    let names: Vec<_> = catalogue::ALLOCATORS.iter().map(|a| a.name).collect();
    println!(
        "Allocators in process\n  {} {}",
        names.join(" "),
        OURS_AGAIN
    );
    println!("Programs under `preload`");
    for (name, question) in preload::rows() {
        println!("  {name:22} {question}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pymalloc_bench::catalogue::OURS;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    fn common(only: &[&str], peers: &[&str]) -> Common {
        let owned = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        Common {
            quick: true,
            rounds: None,
            only: owned(only),
            peers: owned(peers),
        }
    }

    #[test]
    fn a_filter_that_matches_nothing_names_what_there_is() {
        let common = common(&["x"], &["y"]);
        let error = common
            .only(vec!["a", "b"], |row| (*row, "micro"))
            .unwrap_err();
        assert_eq!(error, "--only x: no such workload; there are a, b");
        let error = common.peers(vec!["a", "b"], |row| row).unwrap_err();
        assert_eq!(error, "--peers y: no such allocator; there are a, b");
    }

    #[test]
    fn a_filter_is_a_part_a_pattern_or_a_group() {
        type Row = (&'static str, &'static str);
        let rows: [Row; 3] = [
            ("pair-8", "micro"),
            ("pair-full", "micro"),
            ("json", "crates"),
        ];
        let filtered = |only: &[&str]| {
            let kept = common(only, &[]).only(rows.to_vec(), |row: &Row| *row);
            kept.unwrap().iter().map(|row| row.0).collect::<Vec<_>>()
        };
        let kept = |filter: &str| filtered(&[filter]);
        assert_eq!(kept("pair"), ["pair-8", "pair-full"]);
        assert_eq!(kept("*-8"), ["pair-8"]);
        assert_eq!(kept("crates"), ["json"]);
        assert_eq!(filtered(&[]).len(), rows.len());
    }

    #[test]
    fn our_own_columns_are_always_there() {
        let kept = common(&[], &["b"]).peers(vec!["a", "b", OURS, OURS_AGAIN], |row| row);
        assert_eq!(kept.unwrap(), ["b", OURS, OURS_AGAIN]);
    }
}
