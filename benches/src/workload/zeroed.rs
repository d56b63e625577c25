//! What does zeroed memory cost, and does the allocator clear what the kernel has cleared already?

use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::hint::black_box;

fn zeroed(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, 8).expect("sizes of workloads are small");
    // SAFETY: the size is not zero.
    let block = unsafe { black_box(alloc_zeroed(layout)) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

/// A window of live blocks of 16 to 4,096 bytes moves over memory that was written before.
pub fn small(m: &mut Meter) -> Result<(), String> {
    let mut window = Scratch::<(*mut u8, usize)>::new(1024);
    let mut rng = Rng::new(3);
    let n = m.pick(1_500_000, 8_000_000);
    m.time(n, || {
        for i in 0..n as usize {
            let at = i % window.len();
            let (old, old_size) = window[at];
            if !old.is_null() {
                // SAFETY: the slot's block, allocated with that size.
                unsafe { dealloc(old, Layout::from_size_align_unchecked(old_size, 8)) };
            }
            let size = 16 << rng.below(9);
            let block = zeroed(size);
            // SAFETY: inside the block.
            unsafe {
                debug_assert_eq!(block.add(size - 1).read(), 0);
                block.write_bytes(0xAA, size.min(64));
            }
            window[at] = (block, size);
        }
    });
    m.live();
    for &(block, size) in window.iter().filter(|slot| !slot.0.is_null()) {
        // SAFETY: the slot's block, allocated with that size.
        unsafe { dealloc(block, Layout::from_size_align_unchecked(size, 8)) };
    }
    Ok(())
}

/// Blocks of 64 KiB to 16 MiB, one page in sixteen touched: clearing all of it is work nobody asked for.
pub fn large(m: &mut Meter) -> Result<(), String> {
    const PAGE: usize = 4096;
    let rounds = m.pick(60, 240);
    let sizes = (16..=24).map(|bits| 1usize << bits);
    m.time(rounds * sizes.clone().count() as u64, || {
        for _ in 0..rounds {
            for size in sizes.clone() {
                let block = zeroed(size);
                for at in (0..size).step_by(16 * PAGE) {
                    // SAFETY: inside the block.
                    unsafe { block.add(at).write(1) };
                }
                // SAFETY: allocated above with that layout.
                unsafe { dealloc(black_box(block), Layout::from_size_align_unchecked(size, 8)) };
            }
        }
    });
    Ok(())
}
