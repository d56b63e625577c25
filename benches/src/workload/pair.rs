//! What does the shortest life cost: `Box::new`, drop, and the next one?
//!
//! The size is a constant, so a good allocator folds its size class; the block is written to, and
//! `black_box` keeps the compiler from removing the pair.

use crate::worker::meter::Meter;
use std::hint::black_box;
use std::mem::MaybeUninit;

#[inline]
fn pair<const BYTES: usize>() {
    let mut block = Box::<MaybeUninit<[u8; BYTES]>>::new_uninit();
    // SAFETY: the first byte of a block of at least one byte.
    unsafe { block.as_mut_ptr().cast::<u8>().write(1) };
    drop(black_box(block));
}

fn pairs<const BYTES: usize>(n: u64) {
    for _ in 0..n {
        pair::<BYTES>();
    }
}

pub fn run<const BYTES: usize>(m: &mut Meter) -> Result<(), String> {
    let quick = match BYTES {
        0..=4096 => 8_000_000,
        4097..=65_536 => 1_000_000,
        _ => 200_000,
    };
    let n = m.pick(quick, 4 * quick);
    pairs::<BYTES>(n / 100);
    m.time(n, || pairs::<BYTES>(n));
    Ok(())
}

/// Do private pairs in all threads at once cost what they cost alone?
pub fn threads(m: &mut Meter) -> Result<(), String> {
    let n = m.pick(5_000_000, 20_000_000);
    let threads = m.threads();
    m.time(n * threads as u64, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| pairs::<64>(n));
            }
        });
    });
    Ok(())
}
