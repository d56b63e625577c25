//! How much misuse of C and C++ is caught: 37 kinds over three sizes and five of C++, 116 in all, the kinds
//! that public collections try allocators on. `cargo test --test misuse_table -- --nocapture --include-ignored`
//! prints the table of the README, other allocators included.
//!
//! | outcome | meaning |
//! |---|---|
//! | caught | the program ended, or the property held, before it went on |
//! | late | it went on, and ended by a signal later |
//! | unharmed | it went on, and the heap works: blocks are apart and keep their contents |
//! | damage | it went on, and the heap hands out memory twice or changes it |

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{LIMIT, build, library, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sizes of the C kinds, and the one of the C++ kinds.
const SIZES: [usize; 3] = [8, 4096, 256 * 1024];
const CXX_SIZE: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Caught,
    Late,
    Unharmed,
    Damage,
}

/// An allocator under test: its name, what to preload, and its options.
struct Arm {
    name: &'static str,
    library: Option<PathBuf>,
    options: &'static [(&'static str, &'static str)],
}

impl Arm {
    fn ours(name: &'static str, options: &'static [(&'static str, &'static str)]) -> Self {
        let library = Some(library());
        Self {
            name,
            library,
            options,
        }
    }

    fn peer(name: &'static str, file: &str) -> Self {
        let path = Path::new("/usr/lib/x86_64-linux-gnu").join(file);
        let library = Some(path);
        Self {
            name,
            library,
            options: &[],
        }
    }

    fn outcome(&self, program: &Path, kind: &str, size: usize) -> Outcome {
        let mut command = Command::new(program);
        command.arg(kind).arg(size.to_string());
        for variable in ["LD_PRELOAD", "PYMALLOC", "PYMALLOC_CONF"] {
            command.env_remove(variable);
        }
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library);
        }
        command.envs(self.options.iter().copied());
        let run = run(command, LIMIT);
        assert!(
            !matches!(run.status.code(), Some(4 | 5)),
            "{}: {kind} is not run: {run:?}",
            self.name
        );
        match (run.stdout.contains("not caught"), run.status.code()) {
            (false, _) => Outcome::Caught,
            (true, Some(0)) => Outcome::Unharmed,
            (true, Some(_)) => Outcome::Damage,
            (true, None) => Outcome::Late,
        }
    }
}

struct Tally {
    rows: Vec<(String, Vec<Outcome>)>,
}

impl Tally {
    fn of(arm: &Arm) -> Self {
        let program = program();
        let mut command = Command::new(&program);
        command.arg("--list");
        let listed = run(command, LIMIT).succeeded("--list").stdout;
        let rows = listed.lines().map(|line| {
            let (kind, is_cxx) = line.split_once('\t').expect("name, tab, 0 or 1");
            let sizes: &[usize] = if is_cxx == "1" { &[CXX_SIZE] } else { &SIZES };
            let outcomes = sizes.iter().map(|size| arm.outcome(&program, kind, *size));
            (kind.to_owned(), outcomes.collect())
        });
        Self {
            rows: rows.collect(),
        }
    }

    fn count(&self, outcome: Outcome) -> usize {
        let all = self.rows.iter().flat_map(|(_, outcomes)| outcomes);
        all.filter(|one| **one == outcome).count()
    }

    /// `caught late unharmed damage`, by letters per row.
    fn text(&self) -> String {
        let letter = |outcome: &Outcome| match outcome {
            Outcome::Caught => 'C',
            Outcome::Late => 'l',
            Outcome::Unharmed => '.',
            Outcome::Damage => 'D',
        };
        let line = |(kind, outcomes): &(String, Vec<Outcome>)| {
            format!(
                "{kind:32}{}\n",
                outcomes.iter().map(letter).collect::<String>()
            )
        };
        self.rows.iter().map(line).collect()
    }
}

fn program() -> PathBuf {
    let flags = ["-fsized-deallocation", "-Wno-free-nonheap-object", "-w"];
    build("misuse_table", &["misuse_table.cpp"], &flags)
}

/// Prints the tally and holds it to what the README says.
fn catches_at_least(arm: &Arm, least: usize, most_damage: usize) {
    let tally = Tally::of(arm);
    let caught = tally.count(Outcome::Caught);
    let damage = tally.count(Outcome::Damage);
    println!(
        "{}: {caught} caught, {damage} damage\n{}",
        arm.name,
        tally.text()
    );
    let all: usize = tally.rows.iter().map(|(_, outcomes)| outcomes.len()).sum();
    assert_eq!(all, 116);
    assert!(
        caught >= least,
        "{}: {caught} caught\n{}",
        arm.name,
        tally.text()
    );
    assert!(
        damage <= most_damage,
        "{}: {damage} damage\n{}",
        arm.name,
        tally.text()
    );
}

#[test]
fn production_catches_seventy() {
    // Not noticed before it is handed out again: an aligned pointer into a block above 512 bytes, or to a block
    // that was never handed out, which a free puts into the list unseen.
    catches_at_least(&Arm::ours("production", &[]), 70, 2);
}

#[test]
fn checks_catch_a_hundred() {
    let arm = Arm::ours("checks:on", &[("PYMALLOC_CONF", "checks:on")]);
    catches_at_least(&arm, 100, 0);
}

#[test]
fn debug_catches_what_can_be_noticed() {
    catches_at_least(&Arm::ours("debug", &[("PYMALLOC", "debug")]), 80, 0);
}

#[test]
#[ignore = "prints the README's table of other allocators, which need not be installed"]
fn table_of_all_allocators() {
    let arms = [
        Arm::ours("pymalloc", &[]),
        Arm::ours("pymalloc, checks:on", &[("PYMALLOC_CONF", "checks:on")]),
        Arm::ours("pymalloc, debug", &[("PYMALLOC", "debug")]),
        Arm {
            name: "glibc",
            library: None,
            options: &[],
        },
        Arm::peer("jemalloc", "libjemalloc.so.2"),
        Arm::peer("mimalloc", "libmimalloc.so.2.0"),
        Arm::peer("tcmalloc", "libtcmalloc_minimal.so.4"),
    ];
    println!("| allocator | caught | late | unharmed | damage |\n|---|---|---|---|---|");
    for arm in arms {
        if arm.library.as_ref().is_some_and(|path| !path.exists()) {
            println!("| {} | not installed |", arm.name);
            continue;
        }
        let tally = Tally::of(&arm);
        let counts = [
            Outcome::Caught,
            Outcome::Late,
            Outcome::Unharmed,
            Outcome::Damage,
        ];
        let counts = counts.map(|outcome| tally.count(outcome).to_string());
        println!("| {} | {} |", arm.name, counts.join(" | "));
    }
}
