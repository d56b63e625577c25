//! What do alignments of 32 to 8,192 bytes cost, in time and in memory?

use crate::worker::meter::Meter;
use crate::worker::rng::Rng;
use crate::worker::scratch::Scratch;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

/// Blocks live at a time.
const LIVE: usize = 2_000;

/// Sizes from half to four times the alignment, small alignments more often.
fn request(rng: &mut Rng) -> Layout {
    let bits = rng.bits();
    let align = 32 << ((bits & 0xFF).trailing_zeros().min(8));
    let size = align / 2 + (bits >> 32) as usize % (align * 7 / 2);
    Layout::from_size_align(size, align).expect("sizes of workloads are small")
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let mut blocks = Scratch::<*mut u8>::new(LIVE);
    let mut layouts = Scratch::<(u32, u32)>::new(LIVE);
    let mut rng = Rng::new(5);
    let n = m.pick(1_500_000, 8_000_000);
    let old = |(size, align): (u32, u32)| {
        Layout::from_size_align(size as usize, align as usize).expect("it was a layout before")
    };
    m.time(n, || {
        for _ in 0..n {
            let at = rng.below(LIVE);
            if !blocks[at].is_null() {
                // SAFETY: the slot's block and its layout.
                unsafe { dealloc(blocks[at], old(layouts[at])) };
            }
            let layout = request(&mut rng);
            // SAFETY: the size is not zero, and a byte fits.
            unsafe {
                let block = alloc(layout);
                if block.is_null() {
                    handle_alloc_error(layout);
                }
                debug_assert_eq!(block.addr() % layout.align(), 0);
                block.write(1);
                blocks[at] = block;
            }
            layouts[at] = (layout.size() as u32, layout.align() as u32);
        }
    });
    m.live();
    for (&block, &layout) in blocks.iter().zip(layouts.iter()) {
        if !block.is_null() {
            // SAFETY: the slot's block and its layout.
            unsafe { dealloc(block, old(layout)) };
        }
    }
    Ok(())
}
