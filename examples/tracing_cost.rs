//! What `observe::tracemalloc` costs the program it runs in: CPU time of two workloads, off, sampled and exact.
//!
//! ```sh
//! cargo run --release --example tracing_cost -- 9
//! ```
//!
//! Rounds are interleaved; each row is the median of all rounds and their spread, beside the median of "off".

use pymalloc::observe::tracemalloc;
use std::collections::BTreeMap;
use std::hint::black_box;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Words of a text, counted and sorted: an allocation for every word, at different depths.
fn words() {
    let text =
        "the quick brown fox jumps over the lazy dog and runs away from all of it ".repeat(40);
    for round in 0..60 {
        let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (at, word) in text.split(' ').enumerate() {
            let key = format!("{word}{}", at % 97);
            counts.entry(key).or_default().push(word.to_owned());
        }
        let longest = counts.into_values().map(|words| words.join(" ")).max();
        black_box((longest, round));
    }
}

/// Nothing but allocations.
fn boxes() {
    for at in 0..300_000u64 {
        drop(black_box(Box::new([at; 6])));
    }
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place to write.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A way to trace: frames, and bytes between samples.
type Mode = (&'static str, Option<(usize, u64)>);

const MODES: [Mode; 4] = [
    ("off", None),
    ("sampled, 512 KiB", Some((32, 512 << 10))),
    ("1 frame", Some((1, 0))),
    ("32 frames", Some((32, 0))),
];

fn seconds(work: fn(), mode: &Mode) -> f64 {
    if let Some((frames, bytes)) = mode.1 {
        tracemalloc::start_sampled(frames, bytes).expect("nothing is traced");
    }
    let start = cpu_seconds();
    work();
    let spent = cpu_seconds() - start;
    tracemalloc::stop();
    spent
}

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(5usize)
        .max(1);
    for (name, work) in [("words", words as fn()), ("boxes", boxes)] {
        let mut times = MODES.map(|_| Vec::new());
        for _ in 0..rounds {
            for (mode, times) in MODES.iter().zip(&mut times) {
                times.push(seconds(work, mode));
            }
        }
        times
            .iter_mut()
            .for_each(|times| times.sort_by(f64::total_cmp));
        let off = times[0][rounds / 2];
        for ((mode, _), times) in MODES.iter().zip(&times) {
            let median = times[rounds / 2];
            println!(
                "{name:6} {mode:18} {:8.1} ms  ({:.1}..{:.1})  {:.2} of off",
                median * 1e3,
                times[0] * 1e3,
                times[rounds - 1] * 1e3,
                median / off
            );
        }
    }
}
