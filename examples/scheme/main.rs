//! A small Scheme on counted handles with a cyclic collector.
//!
//! ```text
//! cargo run --release --features objects --example scheme              the programs below
//! cargo run --release --features objects --example scheme -- FILE      a program of yours
//! ```

#[macro_use]
mod memory;
mod interpreter;
mod programs;

use interpreter::Scheme;
use programs::times;
use pymalloc::gc;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

fn run(name: &str, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut scheme = Scheme::default();
    let value = scheme.run(text)?;
    println!("{name}: {}", scheme.show(&value));
    drop((value, scheme));
    println!("    left for gc.collect(): {}", gc::collect());
    let stats = gc::get_stats();
    let by_generation = stats.map(|generation| generation.collected);
    println!("    collected so far, by generation: {by_generation:?}");
    Ok(())
}

fn programs() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = std::env::args().nth(1) {
        return run(&path, &std::fs::read_to_string(&path)?);
    }
    run("loops", &times(programs::LOOPS, 20_000))?;
    run("accounts", &times(programs::ACCOUNTS, 20_000))?;
    run("rings", &times(programs::RINGS, 2_000))?;
    run("sorting", &times(programs::SORTING, 200))
}

fn main() -> std::process::ExitCode {
    // The interpreter calls itself for calls inside each other.
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    let result = thread.spawn(|| programs().map_err(|error| error.to_string()));
    let result = result.map(std::thread::JoinHandle::join);
    match result {
        Ok(Ok(Ok(()))) => std::process::ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
        _ => std::process::ExitCode::FAILURE,
    }
}
