//! Loops whose instructions are counted: `worker-NAME count LOOP N` makes `N` operations and nothing
//! else, so that the difference between two counts is what the operations took.

use super::block;
use super::pair::pairs;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::hint::black_box;

/// Blocks of the batch.
const BATCH: usize = 64;

/// The loop of that name in [`crate::catalogue::COUNTED`].
pub fn find(name: &str) -> Option<fn(u64)> {
    Some(match name {
        "insn-box-16" => pairs::<16>,
        "insn-box-64" => pairs::<64>,
        "insn-box-512" => pairs::<512>,
        "insn-box-4k" => pairs::<4096>,
        "insn-runtime" => runtime,
        "insn-batch" => batch,
        "insn-zeroed" => zeroed,
        "insn-grow" => grow,
        _ => return None,
    })
}

/// A pair whose size is known only at run time.
fn runtime(n: u64) {
    for i in 0..n as usize {
        let block = block::alloc(black_box(24 + i % 8 * 40));
        // SAFETY: made above.
        unsafe { block::free(block) };
    }
}

/// 64 blocks of 64 bytes live at a time, freed in the order they came.
fn batch(n: u64) {
    let mut blocks = [std::ptr::null_mut(); BATCH];
    for _ in 0..n / BATCH as u64 {
        for slot in &mut blocks {
            *slot = block::alloc(64);
        }
        for block in black_box(&blocks) {
            // SAFETY: made above.
            unsafe { block::free(*block) };
        }
    }
}

/// A zeroed block of 64 bytes and its end.
fn zeroed(n: u64) {
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..n {
        // SAFETY: the size is not zero; the block goes back with the layout it came with.
        unsafe { dealloc(black_box(alloc_zeroed(layout)), layout) };
    }
}

/// A string of 200 bytes, grown push by push; one operation is one push.
fn grow(n: u64) {
    for _ in 0..n / 200 {
        let mut string = String::new();
        for _ in 0..200 {
            string.push(black_box('a'));
        }
        drop(black_box(string));
    }
}
