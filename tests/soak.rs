//! Long runs with flat memory: short threads without end, and a program that changes what it does.
//!
//! Each takes `PYMALLOC_SOAK_SECONDS`, 8 by default. An hour:
//! `PYMALLOC_SOAK_SECONDS=3600 cargo test --release --test soak -- --nocapture --test-threads 1`

#[path = "support/child.rs"]
mod child;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/rng.rs"]
mod rng;

use pymalloc::PyMalloc;
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: PyMalloc = PyMalloc;

fn duration() -> Duration {
    let seconds = std::env::var("PYMALLOC_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(8, |text| text.parse().expect("whole seconds")))
}

/// Resident memory over time, in bytes: of what is longer than the test's own books, nothing is kept.
struct Curve {
    start: Instant,
    rounds: usize,
    /// The highest point of the second quarter of the time, and of the last.
    early: usize,
    late: usize,
}

impl Curve {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            rounds: 0,
            early: 0,
            late: 0,
        }
    }

    /// Notes a point. False when the time is over.
    fn goes_on(&mut self, bytes: usize) -> bool {
        self.rounds += 1;
        let (now, whole) = (self.start.elapsed(), duration());
        if (whole / 4..whole / 2).contains(&now) {
            self.early = self.early.max(bytes);
        } else if now > whole * 3 / 4 {
            self.late = self.late.max(bytes);
        }
        now < whole
    }

    /// Fails if memory grew by more than `slack` bytes from the second quarter of the time to the last.
    fn is_flat(&self, what: &str, slack: usize) {
        let (early, late) = (self.early, self.late);
        let mib = |bytes: usize| bytes as f64 / 1048576.0;
        println!(
            "{what}: {} rounds, {:.1} MiB early, {:.1} MiB late",
            self.rounds,
            mib(early),
            mib(late)
        );
        assert!(early > 0 && late > 0, "{what}: too few rounds");
        assert!(
            late <= early + slack,
            "{what}: {:.1} MiB, then {:.1} MiB",
            mib(early),
            mib(late)
        );
    }
}

/// Repeats `round` for as long as the soak lasts, in a process of its own, and looks at its memory after each.
fn soak(test: &str, slack: usize, mut round: impl FnMut(&mut rng::Rng)) {
    if child::part().is_none() {
        let output = child::command(test, "soak").output().expect("runs");
        print!("{}", String::from_utf8_lossy(&output.stdout));
        return child::passed(test, &output);
    }
    child::watchdog(duration().as_secs() as u32 * 2 + 60);
    let mut random = rng::Rng::new(rng::seed(test));
    let mut curve = Curve::new();
    loop {
        round(&mut random);
        if !curve.goes_on(memory::resident()) {
            break;
        }
    }
    curve.is_flat(test, slack);
}

/// Blocks of random sizes up to `most`, `bytes` in all.
fn blocks(random: &mut rng::Rng, most: usize, bytes: usize) -> Vec<Vec<u8>> {
    let (mut held, mut blocks) = (0, Vec::new());
    while held < bytes {
        let size = 1 + random.below(most);
        blocks.push(vec![size as u8; size]);
        held += size;
    }
    blocks
}

#[test]
fn short_threads_without_end_keep_memory_flat() {
    let test = "short_threads_without_end_keep_memory_flat";
    soak(test, 6 << 20, |random| {
        // Half of what a thread makes it hands to the next one, which frees it.
        let mut inherited: Vec<Vec<u8>> = Vec::new();
        for _ in 0..20 {
            let seed = random.below(usize::MAX >> 1) as u64;
            let mut passed = std::mem::take(&mut inherited);
            let thread = std::thread::spawn(move || {
                let mut random = rng::Rng::new(seed);
                passed.clear();
                let mut own = blocks(&mut random, 3000, 200_000);
                own.extend(blocks(&mut random, 60, 50_000));
                own.split_off(own.len() / 2)
            });
            inherited = thread.join().expect("no panic");
        }
    });
}

#[test]
fn a_program_that_changes_its_ways_keeps_memory_flat() {
    let test = "a_program_that_changes_its_ways_keeps_memory_flat";
    soak(test, 12 << 20, |random| {
        // What lives through a phase is a thousandth of it, scattered.
        let mut kept = Vec::new();
        for most in [24, 500, 6000, 90_000, 1 << 20] {
            let mut phase = blocks(random, most, 24 << 20);
            let n = phase.len();
            for index in (0..n).step_by(1000).rev() {
                kept.push(phase.swap_remove(index));
            }
            while !phase.is_empty() {
                let index = random.below(phase.len());
                phase.swap_remove(index);
            }
        }
        assert!(
            kept.iter()
                .all(|block| block.iter().all(|byte| *byte == block.len() as u8))
        );
    });
}
