//! The command line.

use crate::{gc_report, preload, replay, report, run, session};
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
    /// Everything, or the parts and workloads chosen
    Run(RunArgs),
    /// Short for `run --part preload`
    Preload(RunArgs),
    /// Short for `run --part instructions`
    Instructions(RunArgs),
    /// A recording made by `pymalloc record`, under every allocator
    Replay(ReplayArgs),
    /// Render saved samples again
    Report {
        /// Files written by `run`, `preload` or `gc`; those of `gc` are one run in parts [default: the newest of
        /// each kind in target/bench]
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

    /// Whether a quick run leaves out what takes long. `--only` says what it wants, and gets it.
    pub fn saves_time(&self) -> bool {
        self.quick && self.only.is_empty()
    }

    /// Whether `--only` names a workload of a group, or nothing at all.
    pub fn wants(&self, name: &str, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|filter| matches(filter, name, group))
    }

    /// Checks the filters of `--only` against the rows there are, given with their groups.
    ///
    /// # Errors
    /// When a filter matches nothing: it names what there is.
    pub fn check_only(&self, rows: &[(String, &str)]) -> Result<(), String> {
        let matched = |filter: &&String| rows.iter().any(|row| matches(filter, &row.0, row.1));
        match self.only.iter().find(|filter| !matched(filter)) {
            None => Ok(()),
            Some(filter) => {
                let names: Vec<_> = rows.iter().map(|row| row.0.as_str()).collect();
                Err(format!(
                    "--only {filter}: no such workload; there are {}",
                    names.join(", ")
                ))
            }
        }
    }

    /// Checks the names of `--peers` against the columns there are.
    ///
    /// # Errors
    /// When a name is unknown: it names what there is.
    pub fn check_peers(&self, columns: &[String]) -> Result<(), String> {
        match self.peers.iter().find(|wanted| !columns.contains(wanted)) {
            None => Ok(()),
            Some(wanted) => Err(format!(
                "--peers {wanted}: no such allocator; there are {}",
                columns.join(", ")
            )),
        }
    }

    /// Whether `--peers` leaves a column in.
    pub fn is_chosen(&self, column: &str) -> bool {
        self.peers.is_empty() || is_ours(column) || self.peers.iter().any(|peer| peer == column)
    }

    /// Keeps the columns `--peers` names, and our own.
    pub fn peers<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        all.into_iter()
            .filter(|column| self.is_chosen(name(column)))
            .collect()
    }
}

/// Groups beside those of the workloads in process.
const OTHER_GROUPS: [&str; 4] = ["programs", "cpython", "c-micro", "instructions"];

/// Whether a filter of `--only` means this workload. The name of a group means that group only.
fn matches(filter: &str, name: &str, group: &str) -> bool {
    let is_group = Group::ALL.iter().any(|g| g.key() == filter) || OTHER_GROUPS.contains(&filter);
    match glob::Pattern::new(filter) {
        _ if is_group => filter == group,
        Ok(pattern) if filter.contains(['*', '?', '[']) => pattern.matches(name),
        _ => name.contains(filter),
    }
}

/// The parts of a run, each with its own samples and report.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Allocators linked into a Rust program, each in a binary of its own
    InProcess,
    /// Real programs and C micro-benchmarks with the allocator preloaded
    Preload,
    /// Instructions per operation, counted by callgrind
    Instructions,
}

impl Part {
    /// In the order of the report.
    pub const ALL: [Part; 3] = [Part::InProcess, Part::Preload, Part::Instructions];
}

/// What to measure, and how.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub common: Common,
    /// Only these parts [default: all]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub part: Vec<Part>,
    /// Threads of workloads with threads [default: as many as there are CPUs, at least 2, at most 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub threads: Option<u32>,
    /// One more library to preload; NAME `pymalloc` replaces the one built here
    #[arg(long, value_name = "NAME=PATH")]
    pub so: Vec<String>,
    /// Use what was built before, without asking cargo
    #[arg(long)]
    pub no_build: bool,
}

/// What to replay, and how.
#[derive(Args)]
pub struct ReplayArgs {
    /// The recording
    pub file: PathBuf,
    /// Samples per allocator
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Only these allocators beside pymalloc, which is always measured, and twice
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Only with the allocators linked in, or only with those preloaded [default: both]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub part: Vec<Part>,
    /// One more library to preload
    #[arg(long, value_name = "NAME=PATH")]
    pub so: Vec<String>,
    /// Use what was built before, without asking cargo
    #[arg(long)]
    pub no_build: bool,
}

impl ReplayArgs {
    /// The same for what is shared with `run`.
    pub fn run_args(&self) -> RunArgs {
        RunArgs {
            common: Common {
                quick: false,
                rounds: Some(self.rounds),
                only: Vec::new(),
                peers: self.peers.clone(),
            },
            part: self.part.clone(),
            threads: None,
            so: self.so.clone(),
            no_build: self.no_build,
        }
    }
}

impl RunArgs {
    /// Whether a part is chosen.
    pub fn has(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    fn only_part(self, part: Part) -> RunArgs {
        RunArgs {
            part: vec![part],
            ..self
        }
    }
}

/// Parses the command line and does what it says.
pub fn dispatch() -> Result<(), String> {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Preload(args) => run::run(&args.only_part(Part::Preload)),
        Command::Instructions(args) => run::run(&args.only_part(Part::Instructions)),
        Command::Replay(args) => replay::run(&args),
        Command::Gc(args) => gc_report::run(&args),
        Command::Report { files } => {
            let files = if files.is_empty() {
                session::newest()?
            } else {
                files
            };
            let (collectors, allocators): (Vec<_>, Vec<_>) =
                files.into_iter().partition(|file| gc_report::is_ours(file));
            gc_report::print_saved(&collectors)?;
            allocators
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
    println!("Programs under `preload` (--only programs, cpython, c-micro)");
    for row in preload::rows() {
        println!("  {:22} {}", row.name, row.question);
    }
    println!("Counted by `instructions` (--only instructions)");
    for (name, _) in run::rows(Part::Instructions) {
        println!("  {name}");
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

    fn rows() -> Vec<(String, &'static str)> {
        [
            ("pair-8", "micro"),
            ("pair-full", "micro"),
            ("json", "crates"),
        ]
        .map(|(name, group)| (name.to_owned(), group))
        .into()
    }

    #[test]
    fn a_filter_that_matches_nothing_names_what_there_is() {
        let error = common(&["x"], &[]).check_only(&rows()).unwrap_err();
        assert_eq!(
            error,
            "--only x: no such workload; there are pair-8, pair-full, json"
        );
        let columns = ["a".to_owned(), "b".to_owned()];
        let error = common(&[], &["y"]).check_peers(&columns).unwrap_err();
        assert_eq!(error, "--peers y: no such allocator; there are a, b");
        assert_eq!(common(&["json"], &["b"]).check_only(&rows()), Ok(()));
        assert_eq!(common(&["json"], &["b"]).check_peers(&columns), Ok(()));
    }

    #[test]
    fn a_filter_is_a_part_a_pattern_or_a_group() {
        let kept = |filters: &[&str]| {
            let common = common(filters, &[]);
            let kept = rows().into_iter().filter(|row| common.wants(&row.0, row.1));
            kept.map(|row| row.0).collect::<Vec<_>>()
        };
        assert_eq!(kept(&["pair"]), ["pair-8", "pair-full"]);
        assert_eq!(kept(&["*-8"]), ["pair-8"]);
        assert_eq!(kept(&["crates"]), ["json"]);
        assert_eq!(kept(&["*-8", "json"]), ["pair-8", "json"]);
        assert_eq!(kept(&[]).len(), rows().len());
        assert!(!matches("threads", "json-threads", "crates"));
        assert!(matches("threads", "larson", "threads"));
    }

    #[test]
    fn what_is_asked_for_by_name_is_not_left_out() {
        assert!(common(&[], &[]).saves_time());
        assert!(!common(&["replace-4g"], &[]).saves_time());
    }

    #[test]
    fn our_own_columns_are_always_there() {
        let kept = common(&[], &["b"]).peers(vec!["a", "b", OURS, OURS_AGAIN], |row| row);
        assert_eq!(kept, ["b", OURS, OURS_AGAIN]);
    }
}
