//! What would a recorded CPython program cost under this allocator?
//!
//! Every call of the recording is made in its order; the first and last byte of a block are written.
//! The table of live blocks and the recording lie outside the allocator under test.

use super::block;
use crate::ops::{Kind, Op};
use crate::worker::input::Calls;
use crate::worker::meter::Meter;
use crate::worker::scratch::Scratch;
use std::alloc;

/// Most times a recording is replayed in one run.
const REPEATS: u64 = 8;

pub fn run(m: &mut Meter, name: &str) -> Result<(), String> {
    let calls = Calls::open(&m.settings().inputs.join(format!("{name}.ops")))?;
    let header = calls.header();
    let mut slots = Scratch::<(*mut u8, usize)>::new(header.n_slots);
    m.own(&mut slots);
    let wanted = m.pick(1_000_000, 8_000_000);
    let repeats = (wanted / header.n_calls as u64).clamp(1, REPEATS);
    for _ in 0..repeats {
        m.time(header.n_calls as u64, || {
            calls.for_each(|op| step(&mut slots, op))
        });
    }
    m.live();
    // What the recorded program never freed.
    for slot in slots.iter_mut() {
        release(slot);
    }
    Ok(())
}

/// CPython's malloc(0) is a block like any other.
fn bytes(op: Op) -> usize {
    (op.size as usize).max(1)
}

fn step(slots: &mut [(*mut u8, usize)], op: Op) {
    let slot = &mut slots[op.slot as usize];
    match op.kind {
        Kind::Malloc | Kind::Calloc => {
            release(slot);
            let layout = block::layout(bytes(op));
            // SAFETY: the size is not zero.
            let block = unsafe {
                if op.kind == Kind::Malloc {
                    alloc::alloc(layout)
                } else {
                    alloc::alloc_zeroed(layout)
                }
            };
            fill(slot, block, bytes(op));
        }
        Kind::Realloc => {
            let (old, old_bytes) = *slot;
            let (old_layout, new_layout) = (block::layout(old_bytes), block::layout(bytes(op)));
            // SAFETY: the slot's block with its layout.
            let block = unsafe { block::resize(old, old_layout, new_layout) };
            fill(slot, block, bytes(op));
        }
        Kind::Free => release(slot),
    }
}

fn fill(slot: &mut (*mut u8, usize), block: *mut u8, bytes: usize) {
    assert!(!block.is_null(), "out of memory");
    // SAFETY: the first and the last byte of the block.
    unsafe {
        block.write(1);
        block.add(bytes - 1).write(1);
    }
    *slot = (block, bytes);
}

/// Frees the slot's block if it has one. A repeat finds blocks the recording never freed.
fn release(slot: &mut (*mut u8, usize)) {
    if !slot.0.is_null() {
        // SAFETY: the slot's block with its layout.
        unsafe { alloc::dealloc(slot.0, block::layout(slot.1)) };
        *slot = (std::ptr::null_mut(), 0);
    }
}
