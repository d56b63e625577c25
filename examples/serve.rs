//! A Rust program that serves its figures: threads work, and one place leaks.
//!
//! `cargo run --release --example serve -- 127.0.0.1:9123 60` serves a minute long: `/metrics` for Prometheus,
//! `/debug/pprof/heap` for pprof, with files and lines by `--features symbols` and `CARGO_PROFILE_RELEASE_DEBUG=1`.

use pymalloc::observe;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// What nobody frees.
#[inline(never)]
fn leak_here(n: usize) {
    black_box(vec![n as u8; 10_000].leak()); // LEAK
}

/// What comes and goes.
#[inline(never)]
fn work(id: usize) -> usize {
    let words = (0..2000).map(|n| (format!("{id}-{n}"), vec![n; n % 50]));
    words.collect::<BTreeMap<_, _>>().len()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let address = words.next().unwrap_or_else(|| "127.0.0.1:9123".into());
    let seconds = words.next().unwrap_or_else(|| "60".into()).parse()?;
    // A sample of one block in 64 KiB: cheap, and enough to see a leak of 10 kB a round.
    match observe::serve_sampled(&address, 32, 64 << 10)? {
        Some(found) => println!("serving at http://{found}/metrics"),
        None => println!("serving at {address}"),
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads = (0..2).map(|id| {
        std::thread::spawn(move || {
            let mut done = 0;
            while Instant::now() < end {
                done += work(id);
                leak_here(id); // CALL
                std::thread::sleep(Duration::from_millis(20));
            }
            done
        })
    });
    let threads: Vec<_> = threads.collect();
    let done: usize = threads
        .into_iter()
        .filter_map(|thread| thread.join().ok())
        .sum();
    println!("{done} words");
    Ok(())
}
