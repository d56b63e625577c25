//! What does a server's pattern cost: each thread replaces random blocks in a live set it inherited
//! from another thread, and hands it on to a new thread now and then?
//!
//! After Larson and Krishnan, "Memory allocation for long-running server applications" (1998).

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;

/// Blocks per live set.
const LIVE: usize = 5_000;
/// Replacements before a set changes hands.
const TURN: u64 = 50_000;

fn turn(mut slots: Scratch<*mut u8>, mut rng: Rng) -> (Scratch<*mut u8>, Rng) {
    for _ in 0..TURN {
        let at = rng.below(LIVE);
        if !slots[at].is_null() {
            // SAFETY: the slot's block, replaced at once.
            unsafe { block::free(slots[at]) };
        }
        slots[at] = block::alloc(rng.request());
    }
    (slots, rng)
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let turns = m.pick(30, 120);
    let threads = m.threads();
    let mut sets: Vec<_> = (0..threads)
        .map(|i| (Scratch::new(LIVE), Rng::new(i as u64)))
        .collect();
    for _ in 0..turns {
        sets = m.time(TURN * threads as u64, || {
            let started: Vec<_> = sets
                .drain(..)
                .map(|(slots, rng)| std::thread::spawn(move || turn(slots, rng)))
                .collect();
            started
                .into_iter()
                .map(|t| t.join().expect("no assertion in a turn"))
                .collect()
        });
        sets.rotate_left(1);
    }
    m.live();
    for (slots, _) in sets {
        for &block in slots.iter().filter(|block| !block.is_null()) {
            // SAFETY: a live block; the table is dropped next.
            unsafe { block::free(block) };
        }
    }
    Ok(())
}
