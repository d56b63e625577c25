//! Do blocks of different threads share cache lines, so that private writes slow each other down?
//!
//! After Berger et al., "Hoard" (2000): cache-thrash (active) and cache-scratch (passive).

use crate::worker::meter::Meter;
use std::hint::black_box;

/// Writes to a block before the next one is asked for.
const WRITES: u64 = 1_000;

/// Asks for blocks of 8 bytes, one after the other, and writes to each many times.
fn scratch(blocks: u64) {
    for _ in 0..blocks {
        let mut block = black_box(Box::new(0u64));
        for i in 0..WRITES {
            // SAFETY: the block is this thread's; volatile, so that every write happens.
            unsafe { std::ptr::write_volatile(&raw mut *block, i) };
        }
        drop(black_box(block));
    }
}

/// Active: the allocator itself gives two threads halves of one line.
pub fn active(m: &mut Meter) -> Result<(), String> {
    let (blocks, threads) = (m.pick(60_000, 240_000), m.threads());
    m.time(blocks * WRITES * threads as u64, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| scratch(blocks));
            }
        });
    });
    Ok(())
}

/// Passive: one thread makes neighbours and hands them out; each thread frees its own and asks anew.
pub fn passive(m: &mut Meter) -> Result<(), String> {
    let (blocks, threads) = (m.pick(60_000, 240_000), m.threads());
    m.time(blocks * WRITES * threads as u64, || {
        std::thread::scope(|scope| {
            let neighbours: Vec<_> = (0..threads)
                .map(|i| black_box(Box::new(i as u64)))
                .collect();
            for neighbour in neighbours {
                scope.spawn(move || {
                    drop(neighbour);
                    scratch(blocks);
                });
            }
        });
    });
    Ok(())
}
