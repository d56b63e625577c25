//! The allocators and workloads by name: one table each, used by the command line, the runner, the
//! workers and the report. A unit test of `workload` checks that every name here has its function.

mod workloads;

use serde::{Deserialize, Serialize};
pub use workloads::{COUNTED, Counted, WORKLOADS, Workload, workload};

/// An allocator measured in process: one worker binary.
pub struct Allocator {
    /// Column name, cargo feature, and `worker-NAME`.
    pub name: &'static str,
    /// The crate whose version the report states; `None` for the system's.
    pub crate_name: Option<&'static str>,
}

/// In the order of the report's columns. The A/A column `pymalloc#2` is added by the runner.
pub const ALLOCATORS: &[Allocator] = &[
    Allocator {
        name: "system",
        crate_name: None,
    },
    Allocator {
        name: "mimalloc",
        crate_name: Some("libmimalloc-sys"),
    },
    Allocator {
        name: "snmalloc",
        crate_name: Some("snmalloc-sys"),
    },
    Allocator {
        name: "jemalloc",
        crate_name: Some("tikv-jemalloc-sys"),
    },
    Allocator {
        name: "rusty_alloc",
        crate_name: Some("rusty_alloc-api"),
    },
    Allocator {
        name: "stoolap",
        crate_name: Some("stoolap-jemalloc"),
    },
    Allocator {
        name: "pymalloc",
        crate_name: Some("pymalloc"),
    },
];

/// The allocator the suite is about; every other column is a peer.
pub const OURS: &str = "pymalloc";
/// The same binary under a second name: what differs between the two columns is noise.
pub const OURS_AGAIN: &str = "pymalloc#2";
/// The peer that has a ratio column of its own.
pub const REFERENCE: &str = "mimalloc";

/// Whether a column is one of ours; all others are peers.
pub fn is_ours(column: &str) -> bool {
    column == OURS || column == OURS_AGAIN
}

/// How much work one run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Sized so that the whole suite takes less than ten minutes on two cores.
    Quick,
    /// Larger live sets, longer loops.
    Full,
}

/// Workloads that are summed up by one geometric mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Single-threaded loops around the allocator.
    Micro,
    /// What no allocator can take away from some of those loops; one column only.
    Control,
    /// The same with threads.
    Threads,
    /// Recorded CPython programs, replayed.
    Traces,
    /// Crates people use.
    Crates,
    /// Programs that hardly allocate: what an allocator costs by being there.
    Sparse,
    /// How long a single call takes; no mean, but percentiles.
    Latency,
    /// Cost by size; no mean, but plots.
    Sweep,
}

impl Group {
    /// In the order of the report.
    pub const ALL: [Group; 8] = [
        Group::Micro,
        Group::Control,
        Group::Threads,
        Group::Traces,
        Group::Crates,
        Group::Sparse,
        Group::Latency,
        Group::Sweep,
    ];

    /// The name on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Group::Micro => "micro",
            Group::Control => "control",
            Group::Threads => "threads",
            Group::Traces => "traces",
            Group::Crates => "crates",
            Group::Sparse => "sparse",
            Group::Latency => "latency",
            Group::Sweep => "sweep",
        }
    }

    /// The heading in the report.
    pub fn title(self) -> &'static str {
        match self {
            Group::Micro => "Micro-benchmarks",
            Group::Control => "Bump-allocator control",
            Group::Threads => "Threads",
            Group::Traces => "Recorded CPython programs",
            Group::Crates => "Real crates",
            Group::Sparse => "Programs that hardly allocate",
            Group::Latency => "Single operations",
            Group::Sweep => "Cost by size",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = WORKLOADS.iter().map(|w| w.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WORKLOADS.len());
    }

    #[test]
    fn every_question_is_a_sentence() {
        for w in WORKLOADS {
            assert!(w.question.ends_with(['?', '.']), "{}", w.name);
        }
    }
}
