//! The allocators and workloads by name: one table each, used by the command line, the runner, the
//! workers and the report. A unit test of `workload` checks that every name here has its function.

use serde::{Deserialize, Serialize};

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
    /// The same with threads.
    Threads,
    /// Recorded CPython programs, replayed.
    Traces,
    /// Crates people use.
    Crates,
    /// Cost by size; no mean, but plots.
    Sweep,
}

impl Group {
    /// In the order of the report.
    pub const ALL: [Group; 5] = [
        Group::Micro,
        Group::Threads,
        Group::Traces,
        Group::Crates,
        Group::Sweep,
    ];

    /// The name on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Group::Micro => "micro",
            Group::Threads => "threads",
            Group::Traces => "traces",
            Group::Crates => "crates",
            Group::Sweep => "sweep",
        }
    }

    /// The heading in the report.
    pub fn title(self) -> &'static str {
        match self {
            Group::Micro => "Micro-benchmarks",
            Group::Threads => "Threads",
            Group::Traces => "Recorded CPython programs",
            Group::Crates => "Real crates",
            Group::Sweep => "Cost by size",
        }
    }
}

/// A workload: what it is called, where it is reported, what one operation is, what it asks.
pub struct Workload {
    /// On the command line and in the tables.
    pub name: &'static str,
    /// The table it stands in.
    pub group: Group,
    /// What one operation is.
    pub unit: &'static str,
    /// The question it answers.
    pub question: &'static str,
    /// A large live set: a quick run visits it once, not in every round.
    pub heavy: bool,
    /// Not in a quick run at all.
    pub full_only: bool,
    /// A quick run, too, waits an idle second once and reads the resident set again.
    pub settle: bool,
}

const fn w(
    group: Group,
    name: &'static str,
    unit: &'static str,
    question: &'static str,
) -> Workload {
    Workload {
        name,
        group,
        unit,
        question,
        heavy: false,
        full_only: false,
        settle: false,
    }
}

/// A workload whose memory is as interesting as its time.
const fn memory(workload: Workload) -> Workload {
    Workload {
        settle: true,
        ..workload
    }
}

/// A workload with a live set of a gibibyte.
const fn heavy(workload: Workload) -> Workload {
    Workload {
        heavy: true,
        settle: true,
        ..workload
    }
}

/// A workload that only a full run can afford.
const fn full_only(workload: Workload) -> Workload {
    Workload {
        full_only: true,
        ..heavy(workload)
    }
}

use Group::{Crates, Micro, Sweep, Threads, Traces};

/// Every workload, in the order of the report.
pub const WORKLOADS: &[Workload] = &[
    w(
        Micro,
        "pair-8",
        "pair",
        "What does Box::new and drop of 8 bytes cost when nothing else is live?",
    ),
    w(Micro, "pair-64", "pair", "The same for 64 bytes."),
    w(
        Micro,
        "pair-512",
        "pair",
        "The same for 512 bytes, the last size CPython calls small.",
    ),
    w(Micro, "pair-4k", "pair", "The same for 4 KiB."),
    w(Micro, "pair-64k", "pair", "The same for 64 KiB."),
    w(Micro, "pair-1m", "pair", "The same for 1 MiB."),
    w(
        Micro,
        "pair-full",
        "pair",
        "What does a pair cost at the worst live count near a million objects, when the class's other pools are full?",
    ),
    memory(w(
        Micro,
        "trees",
        "node",
        "What do linked structures cost: binary trees up to depth 18, built, walked and dropped?",
    )),
    w(
        Micro,
        "batch-fifo",
        "block",
        "100,000 mixed blocks freed in the order they came?",
    ),
    w(
        Micro,
        "batch-lifo",
        "block",
        "100,000 mixed blocks freed last first?",
    ),
    memory(w(
        Micro,
        "batch-random",
        "block",
        "100,000 mixed blocks freed in random order?",
    )),
    w(
        Micro,
        "replace-1m",
        "replacement",
        "Random replacement in a live set of 1 MiB?",
    ),
    memory(w(
        Micro,
        "replace-64m",
        "replacement",
        "Random replacement in a live set of 64 MiB?",
    )),
    heavy(w(
        Micro,
        "replace-1g",
        "replacement",
        "Random replacement in a live set of 1 GiB?",
    )),
    full_only(w(
        Micro,
        "replace-4g",
        "replacement",
        "Random replacement in a live set of 4 GiB?",
    )),
    memory(w(
        Micro,
        "grow-large",
        "KiB",
        "A Vec<u8> appended to until it holds 1 GiB (quick: 256 MiB)?",
    )),
    w(
        Micro,
        "grow-small",
        "push",
        "Many short Vecs and Strings grown push by push?",
    ),
    w(
        Micro,
        "zeroed-small",
        "block",
        "alloc_zeroed of 16 to 4,096 bytes, over memory used before?",
    ),
    w(
        Micro,
        "zeroed-large",
        "block",
        "alloc_zeroed of 64 KiB to 16 MiB of which only a few pages are touched?",
    ),
    w(
        Micro,
        "aligned",
        "block",
        "Alignments of 32 to 8,192 bytes?",
    ),
    w(
        Threads,
        "larson",
        "replacement",
        "A server's pattern: random replacement, the live set handed to a new thread now and then?",
    ),
    w(
        Threads,
        "pairs-threads",
        "pair",
        "Do private pairs in all threads at once cost what they cost alone?",
    ),
    w(
        Threads,
        "prodcons-1-1",
        "block",
        "One thread allocates, another frees?",
    ),
    w(
        Threads,
        "prodcons-1-n",
        "block",
        "One thread allocates, several free?",
    ),
    memory(w(
        Threads,
        "prodcons-n-1",
        "block",
        "Several threads allocate, one frees?",
    )),
    w(
        Threads,
        "false-active",
        "write",
        "Do two threads' fresh blocks share a cache line (active false sharing)?",
    ),
    w(
        Threads,
        "false-passive",
        "write",
        "Does a thread get back a line it was handed by another (passive false sharing)?",
    ),
    w(
        Threads,
        "churn",
        "thread",
        "What does a short-lived thread with a few blocks cost?",
    ),
    w(
        Traces,
        "trace-startup_exit",
        "call",
        "CPython's start and shutdown?",
    ),
    w(
        Traces,
        "trace-regex_tokenize",
        "call",
        "A tokenizer: short-lived strings and tuples?",
    ),
    memory(w(
        Traces,
        "trace-frag_churn",
        "call",
        "Churn that fragments every arena?",
    )),
    w(
        Traces,
        "trace-waves",
        "call",
        "Arenas that fill and drain in waves?",
    ),
    memory(w(
        Crates,
        "json",
        "document",
        "serde_json: parse into a DOM, change it, print it, drop it?",
    )),
    w(
        Crates,
        "json-threads",
        "document",
        "The same in all threads at once?",
    ),
    w(
        Crates,
        "syn",
        "file",
        "syn: parse a Rust source file and drop the tree?",
    ),
    w(
        Crates,
        "regex",
        "pattern",
        "regex: compile patterns and search once with each?",
    ),
    w(
        Crates,
        "markdown",
        "document",
        "pulldown-cmark: Markdown to HTML?",
    ),
    w(
        Crates,
        "html",
        "document",
        "html5ever: parse HTML into a reference-counted tree?",
    ),
    w(
        Crates,
        "rhai",
        "script",
        "rhai: compile and run a script with maps, arrays and strings?",
    ),
    memory(w(
        Crates,
        "imbl",
        "update",
        "imbl: persistent maps with many live versions?",
    )),
    w(
        Crates,
        "btree",
        "operation",
        "BTreeMap<String, _>: insert, look up, remove?",
    ),
    w(
        Sweep,
        "sweep-pair",
        "pair",
        "Alloc, touch the first byte, free: how does cost grow from 1 byte to 64 MiB?",
    ),
    w(
        Sweep,
        "sweep-batch",
        "block",
        "The same with 64 blocks live at a time.",
    ),
];

/// The workload of that name.
pub fn workload(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|w| w.name == name)
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
