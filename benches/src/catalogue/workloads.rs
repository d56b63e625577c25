//! The workloads by name, in the order of the report.

use super::Group;

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
    /// A quick run, too, waits an idle second once and reads the resident set again; while it runs
    /// the runner follows its resident set.
    pub settle: bool,
    /// Measured under the first column only: the allocator has no part in it.
    pub alone: bool,
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
        alone: false,
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
        ..workload
    }
}

/// What the same accesses cost without an allocator.
const fn control(name: &'static str, question: &'static str) -> Workload {
    Workload {
        alone: true,
        ..w(Control, name, "replacement", question)
    }
}

/// A workload that only a full run can afford.
const fn full_only(workload: Workload) -> Workload {
    Workload {
        full_only: true,
        ..heavy(workload)
    }
}

use Group::{Control, Crates, Latency, Micro, Sparse, Sweep, Threads, Traces};

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
        "pair-classes",
        "pair",
        "The same for each of the 32 small size classes in turn.",
    ),
    w(
        Micro,
        "pair-runtime",
        "pair",
        "The same for mixed sizes that are known only at run time.",
    ),
    w(
        Micro,
        "pair-full",
        "pair",
        "What does a pair cost at the worst live count near a million objects, when the class's other pools are full?",
    ),
    w(
        Micro,
        "trees",
        "node",
        "What do linked structures cost: binary trees up to depth 18, built, walked and dropped?",
    ),
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
    w(
        Micro,
        "batch-random",
        "block",
        "100,000 mixed blocks freed in random order?",
    ),
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
        "shift",
        "replacement",
        "A live set of 32 MiB whose sizes shift from phase to phase: what does old memory turn into?",
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
    control(
        "control-1m",
        "The accesses of replace-1m to blocks that stay where a bump allocator put them?",
    ),
    control("control-64m", "Those of replace-64m?"),
    Workload {
        heavy: true,
        ..control("control-1g", "Those of replace-1g?")
    },
    Workload {
        heavy: true,
        full_only: true,
        ..control("control-4g", "Those of replace-4g?")
    },
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
        Threads,
        "threads-2000",
        "thread",
        "What does each of 2,000 live threads with a few small blocks keep resident, beyond its stack?",
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
    w(
        Crates,
        "imbl",
        "update",
        "imbl: persistent maps with many live versions?",
    ),
    w(
        Crates,
        "btree",
        "operation",
        "BTreeMap<String, _>: insert, look up, remove?",
    ),
    w(
        Sparse,
        "scan",
        "row",
        "A table scan that clones one row in a thousand: does inlining the allocator slow the loop?",
    ),
    w(
        Sparse,
        "interpret",
        "instruction",
        "A bytecode loop that boxes a number once in 400 instructions?",
    ),
    w(
        Latency,
        "op-private",
        "call",
        "Two threads, random replacement in a live set of their own?",
    ),
    w(
        Latency,
        "op-remote",
        "call",
        "Two threads that free each other's blocks?",
    ),
    w(
        Latency,
        "op-waves",
        "call",
        "Two threads that fill and drain 16 MiB each, over and over?",
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

/// A loop whose instructions are counted.
#[derive(Clone, Copy)]
pub struct Counted {
    /// On the command line and in the tables.
    pub name: &'static str,
    /// What one operation is.
    pub unit: &'static str,
    /// Also in a quick run.
    pub quick: bool,
}

impl Counted {
    /// A loop of a quick run, too.
    pub const fn quick(name: &'static str, unit: &'static str) -> Counted {
        Counted {
            name,
            unit,
            quick: true,
        }
    }

    /// A loop of a full run.
    pub const fn full(name: &'static str, unit: &'static str) -> Counted {
        Counted {
            quick: false,
            ..Counted::quick(name, unit)
        }
    }
}

/// What instructions are counted for, in process.
pub const COUNTED: &[Counted] = &[
    Counted::quick("insn-box-16", "pair"),
    Counted::full("insn-box-64", "pair"),
    Counted::quick("insn-box-512", "pair"),
    Counted::full("insn-box-4k", "pair"),
    Counted::quick("insn-runtime", "pair"),
    Counted::quick("insn-batch", "pair"),
    Counted::full("insn-zeroed", "pair"),
    Counted::full("insn-grow", "push"),
];
