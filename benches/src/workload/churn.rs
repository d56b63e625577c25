//! What does a short-lived thread with a few blocks of many sizes cost, and does its memory come back?

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;

/// Blocks a thread makes and frees.
const BLOCKS: usize = 100;

fn live_briefly(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut blocks = [std::ptr::null_mut(); BLOCKS];
    for slot in &mut blocks {
        *slot = block::alloc(rng.request());
    }
    for block in blocks {
        // SAFETY: made above.
        unsafe { block::free(block) };
    }
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let (rounds, threads) = (m.pick(600, 6_000), m.threads());
    m.time(rounds * threads as u64, || {
        for round in 0..rounds {
            std::thread::scope(|scope| {
                for thread in 0..threads as u64 {
                    scope.spawn(move || live_briefly(round * 64 + thread));
                }
            });
        }
    });
    Ok(())
}
