//! The example `scheme` on three memory managers: one interpreter, one text of it.
//!
//! ```text
//! cargo build -p pymalloc-bench --profile fat --features gc --bin scheme
//! target/fat/scheme              all of them, interleaved: CPU time and peak memory, medians
//! target/fat/scheme rc loops     one run
//! ```
//!
//! All use the system's allocator for what is no object. Each run is a process of its own; `Rc` leaks every cycle.

// One text, three memory managers: that is the comparison.
#![allow(clippy::duplicate_mod)]

mod counted;
mod dumpster;
mod ours;
#[path = "../../../../examples/scheme/programs.rs"]
mod programs;

use std::process::{Command, ExitCode};

const CONTENDERS: [&str; 3] = ["pymalloc", "rc", "dumpster"];
/// Name, text, rounds.
const PROGRAMS: [(&str, &str, u64); 4] = [
    ("loops", programs::LOOPS, 40_000),
    ("accounts", programs::ACCOUNTS, 150_000),
    ("rings", programs::RINGS, 4_000),
    ("sorting", programs::SORTING, 400),
];
const ROUNDS: usize = 5;

/// CPU time in milliseconds, user and system, and peak resident memory in MiB, of this process.
fn used() -> (f64, f64) {
    // SAFETY: a plain struct, filled by the call.
    let usage = unsafe {
        let mut usage = core::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let ms = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    (
        ms(usage.ru_utime) + ms(usage.ru_stime),
        usage.ru_maxrss as f64 / 1024.0,
    )
}

/// Runs a program once; its value, or what is wrong.
fn run(contender: &str, text: &str) -> String {
    macro_rules! run_on {
        ($module:ident) => {{
            let mut scheme = $module::interpreter::Scheme::default();
            match scheme.run(text) {
                Ok(value) => scheme.show(&value),
                Err(error) => error.to_string(),
            }
        }};
    }
    match contender {
        "pymalloc" => run_on!(ours),
        "rc" => run_on!(counted),
        "dumpster" => run_on!(dumpster),
        _ => "no such contender".into(),
    }
}

fn one(contender: String, text: String) {
    let work = move || {
        let before = used().0;
        let value = run(&contender, &text);
        let (after, peak) = used();
        println!("{:.2} {peak:.1} {value}", after - before);
        // What a contender does when its thread ends is no part of the work.
        std::process::exit(0)
    };
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    let _ = thread.spawn(work).expect("a thread").join();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn all() -> std::io::Result<()> {
    let this = std::env::current_exe()?;
    println!(
        "| program | {} |",
        CONTENDERS
            .map(|name| format!("{name} ms | {name} MiB"))
            .join(" | ")
    );
    for (program, _, _) in PROGRAMS {
        let mut samples = [const { (Vec::new(), Vec::new()) }; CONTENDERS.len()];
        let mut values = Vec::new();
        for _ in 0..ROUNDS {
            for (contender, sample) in CONTENDERS.iter().zip(&mut samples) {
                let output = Command::new(&this).args([contender, program]).output()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let mut fields = text.split_whitespace();
                let mut number = || fields.next().and_then(|field| field.parse().ok());
                let (Some(ms), Some(peak)) = (number(), number()) else {
                    return Err(std::io::Error::other(format!(
                        "{contender} {program}: {text}"
                    )));
                };
                sample.0.push(ms);
                sample.1.push(peak);
                values.push(fields.collect::<Vec<_>>().join(" "));
            }
        }
        values.dedup();
        assert_eq!(values.len(), 1, "one value from all: {values:?}");
        let cells = samples.map(|(ms, peak)| format!("{:.0} | {:.0}", median(ms), median(peak)));
        println!("| {program} | {} |", cells.join(" | "));
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let (Some(contender), Some(program)) = (arguments.next(), arguments.next()) {
        let found = PROGRAMS.iter().find(|(name, _, _)| *name == program);
        let Some((_, text, times)) = found else {
            eprintln!("no such program");
            return ExitCode::FAILURE;
        };
        one(contender, programs::times(text, *times));
    } else if let Err(error) = all() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
