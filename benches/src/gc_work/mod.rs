//! The work that collectors are compared by: one process runs one contender on one workload once.
//!
//! ```text
//! graph       what a contender must offer: nodes of 40 bytes with three references
//! workloads   the rows of the table, written once for all of them
//! contenders  Rc, pymalloc, and the crates people use instead
//! arena       gc-arena, whose objects live inside a closure: the same rows in its own words
//! ```
//!
//! Time is user CPU of the measured part, per object; memory is the growth of the resident set per object.

mod arena;
mod contenders;
mod graph;
mod meter;
mod pauses;
mod workloads;

pub use workloads::WORKLOADS;

use crate::gc_work::graph::Graph;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// What one run measured.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Sample {
    /// Nanoseconds of user CPU per object; for memory, bytes per object over the payload.
    pub value: f64,
    /// More figures, by name.
    #[serde(default)]
    pub more: Vec<(String, f64)>,
}

fn run<G: Graph>(workload: &str) -> Option<Sample> {
    workloads::run::<G>(workload)
}

fn dispatch(contender: &str, workload: &str) -> Option<Sample> {
    match contender {
        "pymalloc" => match workload.strip_prefix("pauses-") {
            Some(size) => pauses::run(size),
            None => run::<contenders::Ours>(workload),
        },
        "rc" => run::<contenders::Counted>(workload),
        "dumpster" => run::<contenders::Dumpster>(workload),
        "bacon_rajan_cc" => run::<contenders::Bacon>(workload),
        "gcmodule" => run::<contenders::Gcmodule>(workload),
        "jrsonnet-gcmodule" => run::<contenders::Jrsonnet>(workload),
        "rust-cc" => run::<contenders::RustCc>(workload),
        // It collects while the garbage is made, and cannot be told not to.
        "boa_gc" if matches!(workload, "c-self" | "d-pairs" | "e-tree" | "h-random") => None,
        "boa_gc" => run::<contenders::Boa>(workload),
        "gc-arena" => arena::run(workload),
        _ => None,
    }
}

/// `worker-gc CONTENDER WORKLOAD`: one line of JSON; exit status 2 when the contender cannot do it.
pub fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(contender), Some(workload)) = (args.next(), args.next()) else {
        eprintln!("worker-gc CONTENDER WORKLOAD");
        return ExitCode::FAILURE;
    };
    match dispatch(&contender, &workload) {
        Some(sample) => {
            println!("{}", serde_json::to_string(&sample).expect("plain numbers"));
            // What is alive is not taken apart: that is no part of the work.
            std::process::exit(0);
        }
        None => ExitCode::from(2),
    }
}
