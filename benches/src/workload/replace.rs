//! What does replacing a random block cost as the live set grows?
//!
//! A slot table of random blocks is filled (not timed), then random slots are freed and filled again.
//! Beyond the processor's caches every allocator waits for the block it frees; what grows beyond that is
//! the allocator's own.

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;

/// Mean of [`Rng::request`], bytes.
pub const MEAN: usize = 166;

/// How many replacements are timed.
pub fn replacements<const MIB: usize>(m: &Meter) -> u64 {
    let quick = if MIB < 1024 { 2_000_000 } else { 1_000_000 };
    m.pick(quick, 4 * quick)
}

pub fn run<const MIB: usize>(m: &mut Meter) -> Result<(), String> {
    let mut slots = Scratch::<*mut u8>::new((MIB << 20) / MEAN);
    m.own(&mut slots);
    let mut rng = Rng::new(MIB as u64);
    for slot in slots.iter_mut() {
        *slot = block::alloc(rng.request());
    }
    let n = replacements::<MIB>(m);
    m.time(n, || {
        for _ in 0..n {
            let at = rng.below(slots.len());
            // SAFETY: every slot holds a live block, replaced at once.
            unsafe { block::free(slots[at]) };
            slots[at] = block::alloc(rng.request());
        }
    });
    m.live_with((slots.len() * MEAN) as u64);
    for &slot in slots.iter() {
        // SAFETY: every slot holds a live block; the table is not used again.
        unsafe { block::free(slot) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_the_mean() {
        let mut rng = Rng::new(1);
        let sum: usize = (0..1_000_000).map(|_| rng.request()).sum();
        assert!((sum / 1_000_000).abs_diff(MEAN) <= 2, "{}", sum / 1_000_000);
    }
}
