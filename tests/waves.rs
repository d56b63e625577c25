//! A program of one thread that fills memory and empties it, again and again, keeps what it wants again: memory goes
//! back once, not in every wave.

#[path = "support/child.rs"]
mod child;

use pymalloc::PyMalloc;
use std::alloc::{GlobalAlloc, Layout};

const WAVES: usize = 6;
const BLOCKS: usize = 40_000;

/// A wave of 16 MiB of blocks of all lengths, freed in no order: its arenas come free piece by piece, all at the end.
fn scattered_wave(blocks: &mut Vec<*mut u8>) {
    let layout = |k: usize| Layout::from_size_align(16 + k * 7919 % 800, 16).unwrap();
    // SAFETY: as in `wave`; 39,989 has no factor in common with the number of blocks.
    unsafe {
        blocks.extend((0..BLOCKS).map(|k| PyMalloc.alloc(layout(k))));
        for k in (0..BLOCKS).map(|k| k * 39_989 % BLOCKS) {
            assert!(!blocks[k].is_null());
            blocks[k].write(1);
            PyMalloc.dealloc(blocks[k], layout(k));
        }
    }
    blocks.clear();
}

/// A wave of 16 MiB, from pools that are taken one by one.
fn wave(blocks: &mut Vec<*mut u8>) {
    let layout = Layout::from_size_align(400, 16).unwrap();
    // SAFETY: not a layout of no bytes; each block is written inside and freed once.
    unsafe {
        blocks.extend((0..BLOCKS).map(|_| PyMalloc.alloc(layout)));
        for p in blocks.drain(..) {
            assert!(!p.is_null());
            p.write(1);
            PyMalloc.dealloc(p, layout);
        }
    }
}

/// `thp` says what of it lies in huge pages.
fn memory_goes_back_once(test: &str, thp: &str, wave: fn(&mut Vec<*mut u8>)) {
    if child::part().is_none() {
        let conf = format!("purge_delay:60000,thp:{thp}");
        let output = child::command(test, "alone")
            .env("PYMALLOC_CONF", conf)
            .output()
            .expect("runs");
        return child::passed(test, &output);
    }
    let mut blocks = Vec::with_capacity(BLOCKS);
    let purged = [(); WAVES].map(|()| {
        wave(&mut blocks);
        PyMalloc.stats().purged_bytes
    });
    println!("purged after each wave: {purged:?}");
    assert!(
        purged[0] > 8 << 20,
        "nothing says that there is another wave"
    );
    assert_eq!(purged[1], purged[WAVES - 1], "known from the second on");
}

#[test]
fn waves_keep_their_memory() {
    memory_goes_back_once("waves_keep_their_memory", "default", wave);
}

#[test]
fn waves_in_small_pages_keep_their_memory() {
    memory_goes_back_once("waves_in_small_pages_keep_their_memory", "never", wave);
}

#[test]
fn waves_in_huge_pages_keep_their_memory() {
    memory_goes_back_once("waves_in_huge_pages_keep_their_memory", "always", wave);
}

#[test]
fn scattered_waves_keep_their_memory() {
    memory_goes_back_once(
        "scattered_waves_keep_their_memory",
        "default",
        scattered_wave,
    );
}
