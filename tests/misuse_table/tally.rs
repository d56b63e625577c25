//! How much misuse an allocator catches: the programs of `tests/c/misuse_table.*`, run and counted.

use crate::harness::{LIMIT, build, library, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sizes of the C kinds, and the one of the C++ kinds.
const SIZES: [usize; 3] = [8, 4096, 256 * 1024];
const CXX_SIZES: [usize; 1] = [4096];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Caught,
    Late,
    Unharmed,
    Damage,
}

/// An allocator under test: its name, what to preload, and its options.
pub struct Arm {
    pub name: &'static str,
    pub library: Option<PathBuf>,
    pub options: &'static [(&'static str, &'static str)],
}

impl Arm {
    pub fn ours(name: &'static str, options: &'static [(&'static str, &'static str)]) -> Self {
        let library = Some(library());
        Self {
            name,
            library,
            options,
        }
    }

    pub fn peer(name: &'static str, file: &str) -> Self {
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

pub struct Tally {
    pub rows: Vec<(String, Vec<Outcome>)>,
}

impl Tally {
    pub fn of(arm: &Arm) -> Self {
        let mut rows = Vec::new();
        for (source, sizes) in [
            ("misuse_table.c", &SIZES[..]),
            ("misuse_table.cpp", &CXX_SIZES),
        ] {
            let program = program(source);
            let mut command = Command::new(&program);
            command.arg("--list");
            for kind in run(command, LIMIT).succeeded("--list").stdout.lines() {
                let outcomes = sizes.iter().map(|size| arm.outcome(&program, kind, *size));
                rows.push((kind.to_owned(), outcomes.collect()));
            }
        }
        Self { rows }
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        let all = self.rows.iter().flat_map(|(_, outcomes)| outcomes);
        all.filter(|one| **one == outcome).count()
    }

    /// `caught late unharmed damage`, by letters per row.
    pub fn text(&self) -> String {
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

fn program(source: &str) -> PathBuf {
    let flags = ["-fsized-deallocation", "-w"];
    let flags = if source.ends_with(".cpp") {
        &flags[..]
    } else {
        &flags[1..]
    };
    build(&source.replace('.', "_"), &[source], flags)
}

/// All allocators compared, ours first.
pub fn all() -> Vec<Arm> {
    vec![
        Arm::ours("pymalloc", &[]),
        Arm::ours("pymalloc, `checks:on`", &[("PYMALLOC_CONF", "checks:on")]),
        Arm::ours("pymalloc, `PYMALLOC=debug`", &[("PYMALLOC", "debug")]),
        Arm {
            name: "glibc",
            library: None,
            options: &[],
        },
        Arm::peer("jemalloc", "libjemalloc.so.2"),
        Arm::peer("mimalloc", "libmimalloc.so.2.0"),
        Arm::peer("tcmalloc", "libtcmalloc_minimal.so.4"),
    ]
}
