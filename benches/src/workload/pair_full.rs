//! What does a pair cost when a million objects live and the class's other pools are full?
//!
//! An allocator that gives a page back as soon as it is empty does so on every pair when the pair's
//! block is the only one of its page. At which live count that happens depends on the allocator, so the
//! workload looks for the worst count among `STEPS` consecutive ones, and measures there.

use crate::worker::meter::Meter;
use std::hint::black_box;
use std::time::Instant;

/// Objects live before the search.
const LIVE: usize = 1_000_000;
/// Live counts tried: more than the blocks of one page of any peer.
const STEPS: usize = 2048;
/// Pairs per count while searching.
const PROBES: u32 = 200;

type Object = Box<[u64; 8]>;

fn pairs(n: u64) {
    for _ in 0..n {
        drop(black_box(Box::new([black_box(0u64); 8])));
    }
}

/// Nanoseconds of `PROBES` pairs at each live count.
fn search(live: &mut Vec<Object>) -> Vec<u64> {
    let cost = (0..STEPS)
        .map(|_| {
            live.push(Box::new([1; 8]));
            let started = Instant::now();
            pairs(u64::from(PROBES));
            started.elapsed().as_nanos() as u64
        })
        .collect();
    live.truncate(LIVE);
    cost
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let mut live: Vec<Object> = Vec::with_capacity(LIVE + STEPS);
    live.extend((0..LIVE).map(|i| Box::new([i as u64; 8])));
    // The cheapest of three visits to each count: an interrupt hits one of them at most.
    let visits = [search(&mut live), search(&mut live), search(&mut live)];
    let cost = |step: usize| visits.iter().map(|visit| visit[step]).min();
    let worst = (0..STEPS)
        .max_by_key(|&step| cost(step))
        .expect("there are steps");
    for _ in 0..=worst {
        live.push(Box::new([1; 8]));
    }
    let n = m.pick(1_000_000, 8_000_000);
    m.time(n, || pairs(n));
    m.live();
    Ok(())
}
