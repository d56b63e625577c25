//! `pymalloc-bench`: pymalloc beside the allocators people would otherwise use, in one interleaved run.
//!
//! ```text
//! cargo run --release -p pymalloc-bench -- run --quick     everything; under ten minutes on two cores
//! cargo run --release -p pymalloc-bench -- run             the same, larger and with more rounds
//! cargo run --release -p pymalloc-bench -- preload         only real programs under LD_PRELOAD
//! cargo run --release -p pymalloc-bench -- instructions    only instructions per operation
//! cargo run --release -p pymalloc-bench -- replay FILE     a recording of your program, under every allocator
//! cargo run --release -p pymalloc-bench -- gc              collectors of cycles
//! cargo run --release -p pymalloc-bench -- report          renders the newest saved samples again
//! cargo run --release -p pymalloc-bench -- list            workloads, the question each one asks, allocators
//! ```
//!
//! `run --only 'pair-*' --peers mimalloc,rusty_alloc --rounds 5` measures a few things quickly.
//!
//! # From a worker to a table
//!
//! ```text
//!  catalogue ── which workloads × which allocators
//!      │
//!  workers / preload::library ── build or find what is measured, check that it is what it says
//!      │
//!  in_process / preload ── for each round: for each workload: for each allocator: a process of its own
//!      │                 in process: worker-NAME WORKLOAD  → one line of JSON, an `Outcome`
//!      │                 preload:    measure LIBRARY PROGRAM → the same line, by wait4
//!  instructions ── valgrind worker-NAME or a C program, twice: the difference is the operations'
//!      │
//!  session ── every sample with its round, saved to target/bench/*.json after each round
//!      │
//!  stats ── median, spread, ratios, geometric mean
//!      │
//!  report ── Markdown on stdout, plots beside the samples
//! ```
//!
//! A process that takes twenty times as long as the slowest one before it with the same workload, whichever allocator
//! that had, is ended with all that it has started; its cell says `hangs`, and that allocator does not run that workload
//! again ([`patience`]). Nobody is ended before a minute, with `--quick` and for `instructions` ten seconds; and whatever
//! the others took, there is an end after 15 minutes of `run`, 10 of `preload`, an hour of `replay`, two minutes of
//! `run --quick` and `instructions`. Crashes and rubbish are listed under "Failures". Nothing of it keeps the report back.
//!
//! # Why the numbers can be trusted, and where not
//!
//! * **One binary per allocator**, all with fat LTO from the same source, so that inlining counts where
//!   it is real: a Rust allocator can be inlined, one behind a C interface cannot. Every peer is a release
//!   build with its crate's own defaults: no assertions, no hardening, no tuning by the environment.
//! * **Interleaved**: all allocators in each round, so that a machine that slows down slows all of them
//!   down, and in an order that is balanced ([`order`]): over as many rounds as there are allocators, each
//!   one comes after each other one equally often, and with few rounds the rows of a table differ.
//! * **Nobody reads from the disk first**: workers are read, and programs under `preload` run once for
//!   nothing, before they are measured.
//! * **Free memory is made ready** before each process ([`free_memory`]): the runner touches 128 MiB in
//!   huge pages and gives them back. A virtual machine hands memory that was free for a second or two back
//!   to its host, and the first touch of it is dear afterwards, a huge page 5 ms instead of 0.2: otherwise
//!   what a process takes would depend on how much the one before it has used. Every allocator finds the
//!   same, whether it asks for huge pages or not. What needs more than these 128 MiB (`heavy` workloads
//!   take gigabytes) costs what the machine makes of it.
//! * **A process per sample**: no allocator inherits another's heap, and the high-water mark of the
//!   resident set (`VmHWM`) belongs to that process alone. Programs under `preload` are started by a
//!   small process of their own (`measure`), because `ru_maxrss` starts from the size of whoever calls
//!   `exec`; what that process itself needs, some 3 MiB, is the floor of that column.
//! * **The harness keeps out of the way**: the workloads' own tables and inputs are mapped beside the
//!   allocator and subtracted from its resident set, and `/proc` is read without allocating.
//! * **Huge pages** are as the machine has them. Where the kernel gives them to those who ask (`madvise`),
//!   mimalloc 3 asks and the other peers do not: it faults once where they fault 512 times, and keeps
//!   more resident. The memory table says how much lay in them.
//! * **A/A**: pymalloc runs twice under two names. What differs between the two columns is noise, and a
//!   loss smaller than that is none. It does not show what differs between two binaries: where the
//!   compiler places a loop moves a workload by a few per cent for good, whatever the allocator.
//! * **CPU time is the headline**, user plus system of all threads: it is what noise from other
//!   processes disturbs least. It hides waiting, so wall time has its table too.
//! * **Single calls** are timed in CPU time (`worker::single`); the longest is the median of the longest
//!   of at least 20 processes. Interrupts and what a hypervisor takes are in it, for everyone.
//! * **Spread** is half the interquartile range, relative to the median. A sample that spreads more than
//!   [`stats::NOISY`] is marked `~`, one that was taken only once `?`; none is dropped.
//! * Inputs are generated or recorded, small, and the same for everyone; they are not your program.

mod cli;
mod execute;
mod free_memory;
mod gc_report;
mod in_process;
mod instructions;
mod interrupt;
mod machine;
mod order;
mod patience;
mod preload;
#[path = "../../src/observe/recording/mod.rs"]
#[allow(dead_code, reason = "the writing half belongs to the library")]
mod recording;
mod replay;
mod report;
mod run;
mod session;
mod stats;
mod workers;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: this process must stay small, it is the floor of what it measures.
    let mut args = std::env::args_os();
    match args.nth(1) {
        Some(command) if command == preload::measure::COMMAND => {
            return preload::measure::main(args);
        }
        Some(command) if command == preload::redis::COMMAND => return preload::redis::main(args),
        _ => {}
    }
    // `… | head` ends this program like any other, instead of a panic in `println!`.
    // SAFETY: the default action needs no handler, and no thread has been started.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    interrupt::pass_on();
    match cli::dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("pymalloc-bench: {message}");
            ExitCode::FAILURE
        }
    }
}
