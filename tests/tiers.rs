//! Memory moves between the tiers: what one of them has free serves the others before the system is asked for more.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

const MIB: usize = 1 << 20;

/// Blocks of `bytes` bytes each, all of them written to.
fn blocks(n: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..n).map(|_| vec![0xFF; bytes]).collect()
}

fn an_arena_of_runs_that_comes_free_serves_small_blocks() {
    let mut places = HashSet::with_capacity(9000);
    // Slots that hold what a program wrote, all over where an arena has its books.
    drop(blocks(6, MIB - 8192));
    // Runs in such a slot, and free again, those in the thread's lists among them.
    drop(blocks(110, 12 * 1024));
    GLOBAL.collect();
    let before = GLOBAL.stats();
    // More small blocks than one arena has room for.
    let layout = Layout::new::<[u64; 16]>();
    for n in 0..9000 {
        // SAFETY: not a layout of no bytes; the block is written as far as it reaches.
        unsafe {
            let place = GLOBAL.alloc(layout);
            assert!(!place.is_null());
            place.write_bytes(n as u8, layout.size());
            assert!(
                places.insert(place.addr()),
                "{place:p} was handed out twice"
            );
        }
    }
    assert!(places.iter().all(|place| place % 16 == 0));
    let after = GLOBAL.stats();
    assert!(
        before.arenas > 0 && after.arenas <= before.arenas,
        "{} and {}",
        before.arenas,
        after.arenas
    );
}

/// A program that reads files of many lengths: one block of each at a time.
fn blocks_of_many_lengths_do_not_pile_up() {
    let one_each = || {
        for bytes in (5..250).map(|k| k * 1024) {
            drop(vec![1u8; bytes]);
        }
    };
    one_each();
    let before = GLOBAL.stats();
    for _ in 0..4 {
        one_each();
    }
    let after = GLOBAL.stats();
    assert!(after.arenas <= before.arenas);
    // Of 48 classes of large blocks, a thread's lists would hold 3 MiB.
    let out = after.block_bytes as usize;
    assert!(out < 3 * MIB / 2, "{out} bytes are out or in lists");
}

#[test]
fn memory_moves_between_the_tiers() {
    an_arena_of_runs_that_comes_free_serves_small_blocks();
    blocks_of_many_lengths_do_not_pile_up();
}
