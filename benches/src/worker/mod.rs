//! The main function of every worker: run one workload once, under the allocator linked in, and print
//! what was measured as one line of JSON.
//!
//! ```text
//! worker-NAME WORKLOAD [--full] [--threads N] [--inputs DIR] [--settle]
//! worker-NAME count LOOP N
//! ```
//!
//! The process is fresh, so its high-water mark is its own. Nothing of the measuring goes through the
//! allocator under test: [`proc`] reads `/proc` into stack buffers and [`scratch`] maps its own memory.

pub mod input;
pub mod meter;
pub mod proc;
pub mod rng;
pub mod scratch;
pub mod single;

use crate::catalogue::Scale;
use crate::outcome::Outcome;
use meter::{Meter, Settings};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the workload the command line names. `allocator` is for messages.
pub fn main(allocator: &str) -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(outcome) => {
            println!(
                "{}",
                serde_json::to_string(&outcome).expect("plain numbers become JSON")
            );
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("worker-{allocator}: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<Outcome, String> {
    let name = args.next().ok_or("which workload?")?;
    if name == "count" {
        return count(args);
    }
    let work = crate::workload::find(&name).ok_or_else(|| format!("no workload `{name}`"))?;
    let mut settings = Settings {
        scale: Scale::Quick,
        threads: 2,
        inputs: PathBuf::new(),
    };
    let mut settle = false;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--full" => settings.scale = Scale::Full,
            "--settle" => settle = true,
            "--inputs" => settings.inputs = value()?.into(),
            "--threads" => {
                let given = value()?;
                settings.threads = given
                    .parse()
                    .map_err(|_| format!("--threads {given}: not a number"))?;
            }
            _ => return Err(format!("unknown option `{arg}`")),
        }
    }
    let mut meter = Meter::new(settings);
    work(&mut meter)?;
    Ok(meter.finish(settle))
}

/// Operations before those that are counted: lists have their length, pages are there.
const WARM_UP: u64 = 5_000;

/// Makes operations to be counted from outside.
fn count(mut args: impl Iterator<Item = String>) -> Result<Outcome, String> {
    let name = args.next().ok_or("count which loop?")?;
    let work = crate::workload::counted::find(&name).ok_or_else(|| format!("no loop `{name}`"))?;
    let n = args.next().ok_or("count how many operations?")?;
    let n: u64 = n.parse().map_err(|_| format!("{n}: not a number"))?;
    work(WARM_UP);
    work(n);
    Ok(Outcome {
        ops: n,
        ..Outcome::default()
    })
}
