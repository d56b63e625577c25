//! What does the shortest life cost: `Box::new`, drop, and the next one?
//!
//! The size is a constant, so a good allocator folds its size class; the block is written to, and
//! `black_box` keeps the compiler from removing the pair.

use super::block;
use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;
use std::hint::black_box;
use std::mem::MaybeUninit;

#[inline]
fn pair<const BYTES: usize>() {
    let mut block = Box::<MaybeUninit<[u8; BYTES]>>::new_uninit();
    // SAFETY: the first byte of a block of at least one byte.
    unsafe { block.as_mut_ptr().cast::<u8>().write(1) };
    drop(black_box(block));
}

/// `n` pairs.
pub fn pairs<const BYTES: usize>(n: u64) {
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

/// The loops over blocks of so many times 16 bytes.
macro_rules! pairs_of {
    ($($sixteens:literal)*) => { [$(pairs::<{ 16 * $sixteens }>),*] };
}

/// The 32 small size classes.
const OF_CLASS: [fn(u64); 32] = pairs_of![
    1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
];

/// Each of them in turn.
pub fn classes(m: &mut Meter) -> Result<(), String> {
    let n = m.pick(300_000, 1_200_000);
    for pairs in OF_CLASS {
        m.time(n, || pairs(n));
    }
    Ok(())
}

/// Sizes known only at run time: the class must be computed.
pub fn runtime(m: &mut Meter) -> Result<(), String> {
    const SIZES: usize = 1024;
    let mut rng = Rng::new(31);
    let mut sizes = Scratch::<u32>::new(SIZES);
    for size in sizes.iter_mut() {
        *size = rng.request() as u32;
    }
    let n = m.pick(6_000_000, 24_000_000);
    m.time(n, || {
        for i in 0..n as usize {
            let block = block::alloc(sizes[i % SIZES] as usize);
            // SAFETY: made above.
            unsafe { block::free(block) };
        }
    });
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
