//! How long does a single call take, at worst, in two threads without memory pressure?

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;
use crate::worker::single::Single;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Blocks of a live set.
const LIVE: usize = 20_000;
/// Blocks of a wave: some 16 MiB.
const WAVE: usize = 100_000;
/// Blocks on their way from one thread to the other.
const ON_THE_WAY: usize = 4_096;

/// Runs the work in two threads; each is told which it is.
fn in_two_threads(m: &mut Meter, work: impl Fn(usize, &mut Single) + Sync) -> Result<(), String> {
    let mut all = Single::new();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..2)
            .map(|me| {
                scope.spawn(move || {
                    let mut single = Single::new();
                    work(me, &mut single);
                    single
                })
            })
            .collect();
        for thread in threads {
            all.add(&thread.join().expect("no assertion in a thread"));
        }
    });
    m.latency(all.latency());
    Ok(())
}

/// Random replacement, each thread for itself.
pub fn private(m: &mut Meter) -> Result<(), String> {
    let n = m.pick(150_000, 1_000_000);
    in_two_threads(m, |me, single| {
        let mut slots = Scratch::<*mut u8>::new(LIVE);
        let mut rng = Rng::new(me as u64);
        for _ in 0..n {
            let slot = &mut slots[rng.below(LIVE)];
            if !slot.is_null() {
                // SAFETY: the slot's block, replaced at once.
                single.call(|| unsafe { block::free(*slot) });
            }
            let size = rng.request();
            *slot = single.call(|| block::alloc(size));
        }
        for &block in slots.iter().filter(|block| !block.is_null()) {
            // SAFETY: a live block; the table is dropped next.
            unsafe { block::free(block) };
        }
    })
}

/// Each thread puts a new block where it frees the other's.
pub fn remote(m: &mut Meter) -> Result<(), String> {
    let n = m.pick(150_000, 1_000_000);
    let places: Vec<AtomicPtr<u8>> = (0..2 * ON_THE_WAY).map(|_| AtomicPtr::default()).collect();
    in_two_threads(m, |me, single| {
        let mut rng = Rng::new(me as u64);
        for i in 0..n {
            let at = i % ON_THE_WAY;
            let size = rng.request();
            let block = single.call(|| block::alloc(size));
            // AcqRel: what is written to a block before it is handed over is seen by whoever frees it.
            let mine = places[me * ON_THE_WAY + at].swap(block, Ordering::AcqRel);
            let theirs =
                places[(1 - me) * ON_THE_WAY + at].swap(std::ptr::null_mut(), Ordering::AcqRel);
            for block in [mine, theirs] {
                if !block.is_null() {
                    // SAFETY: the swap took the only pointer to the block.
                    single.call(|| unsafe { block::free(block) });
                }
            }
        }
    })?;
    for place in &places {
        let block = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !block.is_null() {
            // SAFETY: as above.
            unsafe { block::free(block) };
        }
    }
    Ok(())
}

/// Fill and drain, in random order.
pub fn waves(m: &mut Meter) -> Result<(), String> {
    let waves = m.pick(1, 6);
    in_two_threads(m, |me, single| {
        let mut blocks = Scratch::<*mut u8>::new(WAVE);
        let mut rng = Rng::new(me as u64);
        for _ in 0..waves {
            for slot in blocks.iter_mut() {
                let size = rng.request();
                *slot = single.call(|| block::alloc(size));
            }
            rng.shuffle(&mut blocks);
            for &block in blocks.iter() {
                // SAFETY: every slot holds a block of this wave.
                single.call(|| unsafe { block::free(block) });
            }
        }
    })
}
