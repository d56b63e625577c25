//! Programs that use real crates the way their users do, and say in one line each what they made.
//!
//! Two binaries run them, one per allocator; `tests/rust_programs.rs` compares their output. A program
//! depends on nothing but its code, so that any difference is the allocator's doing.
//!
//! ```text
//! with_pymalloc THREADS [PROGRAM…]      prints "PROGRAM OUTPUT-BYTES DIGEST" per program
//! ```

/// Deterministic input and the digest of output.
mod material;

/// Programs of one thread, on documents, source code and text.
mod documents;
mod source_code;
mod text;

/// Programs of many threads.
mod threads;

use std::process::ExitCode;

/// How a program uses the number of threads it is given.
enum Run {
    /// It has one thread; that many copies run at once, and must make the same.
    Copies(fn() -> String),
    /// It starts that many threads itself, and makes the same with any number.
    Together(fn(usize) -> String),
}

/// Every program by name.
const PROGRAMS: [(&str, Run); 10] = [
    ("json", Run::Copies(documents::json)),
    ("markdown", Run::Copies(documents::markdown)),
    ("syn", Run::Copies(source_code::parse_and_quote)),
    ("rhai", Run::Copies(source_code::scripts)),
    ("regex", Run::Copies(text::regexes)),
    ("index", Run::Copies(text::index)),
    ("pipeline", Run::Together(threads::pipeline)),
    ("channels", Run::Together(threads::channels)),
    ("churn", Run::Together(threads::churn)),
    ("tokio", Run::Together(threads::tasks)),
];

/// Names of all programs, in the order they run.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|(name, _)| *name)
}

/// Runs the programs the command line names, or all, and prints a line for each.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|threads| threads.parse().ok());
    let Some(threads @ 1..) = threads else {
        eprintln!(
            "usage: with_pymalloc THREADS [PROGRAM…]\nprograms: {}",
            names().collect::<Vec<_>>().join(" ")
        );
        return ExitCode::from(2);
    };
    let chosen: Vec<String> = arguments.collect();
    if let Some(unknown) = chosen
        .iter()
        .find(|chosen| !names().any(|name| name == **chosen))
    {
        eprintln!("unknown program {unknown}");
        return ExitCode::from(2);
    }
    for (name, run) in &PROGRAMS {
        if !chosen.is_empty() && !chosen.iter().any(|chosen| chosen == name) {
            continue;
        }
        let output = match run {
            Run::Copies(program) => in_copies(*program, threads),
            Run::Together(program) => program(threads),
        };
        println!(
            "{name} {} {:016x}",
            output.len(),
            material::digest(output.as_bytes())
        );
    }
    ExitCode::SUCCESS
}

/// Runs `program` on that many threads at once.
///
/// # Panics
/// If two copies make different things.
fn in_copies(program: fn() -> String, threads: usize) -> String {
    let copies: Vec<_> = (0..threads).map(|_| std::thread::spawn(program)).collect();
    let mut outputs: Vec<_> = copies
        .into_iter()
        .map(|copy| copy.join().expect("the program ends"))
        .collect();
    outputs.dedup();
    assert_eq!(
        outputs.len(),
        1,
        "copies of one program made different things"
    );
    outputs.swap_remove(0)
}
