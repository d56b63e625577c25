//! What would a recorded program cost under this allocator?
//!
//! Every thread of the recording makes its calls in their order; what concerns a block that another
//! thread touched before waits for it ([`crate::script`]). The program's own work is left out, so threads
//! meet more often than they did. Of a block that grows, a byte is written on every page, as most
//! programs do; of a zeroed one only the first.

use super::block;
use crate::script::{Call, Kind};
use crate::worker::input::Threads;
use crate::worker::meter::Meter;
use crate::worker::proc;
use crate::worker::scratch::{Scratch, Zeroable};
use std::alloc::{self, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Where a block of the recording stands.
struct Slot {
    block: Cell<*mut u8>,
    /// What it was asked for with.
    layout: Cell<(usize, usize)>,
    /// Calls so far. Whoever makes the next one reads it with Acquire and so sees the cells above as the
    /// last one's Release left them.
    turn: AtomicU32,
}

// SAFETY: 1. A null pointer, integers. 2. No part needs a drop.
unsafe impl Zeroable for Slot {}
// SAFETY: the cells are touched only by the thread whose call is due, and `turn` hands them on.
unsafe impl Sync for Slot {}

impl Slot {
    fn layout(&self) -> Layout {
        let (size, align) = self.layout.get();
        Layout::from_size_align(size, align).expect("it was a layout before")
    }
}

/// What was seen when most bytes were live.
#[derive(Default)]
struct Seen {
    rss_kib: AtomicU64,
    huge_kib: AtomicU64,
    mappings: AtomicU64,
}

/// Looks between two pauses while a call is not due.
const SPINS: u32 = 200;

/// Waits until the slot has seen `turn` calls.
#[inline]
fn wait(slot: &Slot, turn: u32) {
    let mut looks = 0;
    while slot.turn.load(Ordering::Acquire) != turn {
        looks += 1;
        match looks {
            0..SPINS => std::hint::spin_loop(),
            SPINS..400 => std::thread::yield_now(),
            _ => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

/// The layout of a request: what C's malloc would give unless more is asked for.
fn layout(call: Call) -> Layout {
    let size = call.size.max(1);
    if call.align > 16 {
        Layout::from_size_align(size, call.align).expect("the recorded program had such a block")
    } else {
        block::layout(size)
    }
}

/// Writes a byte on every page of the block from `from` on.
fn touch(block: *mut u8, from: usize, size: usize) {
    const PAGE: usize = 4096;
    for at in (from..size).step_by(PAGE) {
        // SAFETY: inside the block.
        unsafe { block.add(at).write(1) };
    }
}

fn step(slots: &[Slot], seen: &Seen, call: Call) {
    if call.kind == Kind::Look {
        // Relaxed: the threads are joined before anybody reads them.
        seen.rss_kib.store(proc::rss_kib(), Ordering::Relaxed);
        seen.huge_kib.store(proc::huge_kib(), Ordering::Relaxed);
        seen.mappings.store(proc::mappings(), Ordering::Relaxed);
        return;
    }
    let slot = &slots[call.slot as usize];
    wait(slot, call.turn);
    let new = layout(call);
    match call.kind {
        Kind::Alloc | Kind::AllocZeroed => {
            // SAFETY: the size is not zero.
            let block = unsafe {
                match call.kind {
                    Kind::Alloc => alloc::alloc(new),
                    _ => alloc::alloc_zeroed(new),
                }
            };
            assert!(!block.is_null(), "out of memory");
            let touched = if call.kind == Kind::Alloc {
                new.size()
            } else {
                1
            };
            touch(block, 0, touched);
            slot.block.set(block);
            slot.layout.set((new.size(), new.align()));
        }
        Kind::Resize => {
            let old = slot.layout();
            // SAFETY: the slot's block with its layout.
            let block = unsafe { block::resize(slot.block.get(), old, new) };
            assert!(!block.is_null(), "out of memory");
            touch(block, old.size(), new.size());
            slot.block.set(block);
            slot.layout.set((new.size(), new.align()));
        }
        Kind::Free | Kind::Look => release(slot),
    }
    slot.turn
        .store(call.turn.wrapping_add(1), Ordering::Release);
}

fn release(slot: &Slot) {
    let block = slot.block.replace(std::ptr::null_mut());
    if !block.is_null() {
        // SAFETY: the slot's block with its layout; the slot has forgotten it.
        unsafe { alloc::dealloc(block, slot.layout()) };
    }
}

pub fn run(m: &mut Meter) -> Result<(), String> {
    let threads = Threads::open(&m.settings().inputs)?;
    let header = threads.header();
    let mut slots = Scratch::<Slot>::new(header.n_slots);
    m.own(&mut slots);
    let (seen, n_threads) = (Seen::default(), header.n_calls.len());
    // The look is none.
    let n_calls = header.n_calls.iter().sum::<usize>().saturating_sub(1);
    m.time(n_calls as u64, || {
        std::thread::scope(|scope| {
            let (threads, slots, seen) = (&threads, &slots[..], &seen);
            for thread in 1..n_threads {
                scope.spawn(move || threads.for_each(thread, |call| step(slots, seen, call)));
            }
            if n_threads > 0 {
                threads.for_each(0, |call| step(slots, seen, call));
            }
        });
    });
    m.live_was(
        seen.rss_kib.load(Ordering::Relaxed),
        seen.huge_kib.load(Ordering::Relaxed),
        seen.mappings.load(Ordering::Relaxed),
        header.most_bytes,
    );
    // What the recorded program never freed.
    for slot in slots.iter() {
        release(slot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    /// Blocks go from thread 0 to thread 1 and back; slots are reused many times.
    fn ping_pong() -> Script {
        let mut script = Script::new();
        for i in 0..2_000u64 {
            let address = 0x1000 + i % 7 * 0x100;
            script.alloc((i % 2) as u32, address, 1 + i % 100, 16, i % 3 == 0);
            script.resize(((i + 1) % 2) as u32, address, address + 0x40, 50_000);
            script.free((i % 2) as u32, address + 0x40);
        }
        script.alloc(1, 0x10, 5, 64, false);
        script
    }

    #[test]
    fn threads_that_hand_blocks_back_and_forth_come_to_an_end() {
        let file = format!("pymalloc-bench-replay-{}.calls", std::process::id());
        let path = std::env::temp_dir().join(file);
        ping_pong().write(&path).unwrap();
        let threads = Threads::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let slots = Scratch::<Slot>::new(threads.header().n_slots);
        let seen = Seen::default();
        std::thread::scope(|scope| {
            let (threads, slots, seen) = (&threads, &slots[..], &seen);
            for thread in 0..2 {
                scope.spawn(move || threads.for_each(thread, |call| step(slots, seen, call)));
            }
        });
        assert!(seen.rss_kib.load(Ordering::Relaxed) > 0);
        let turns: u32 = slots.iter().map(|s| s.turn.load(Ordering::Relaxed)).sum();
        assert_eq!(turns, 3 * 2_000 + 1);
        let live: Vec<_> = slots.iter().filter(|s| !s.block.get().is_null()).collect();
        assert_eq!(live.len(), 1);
        assert_eq!(
            (live[0].layout().size(), live[0].block.get().addr() % 64),
            (5, 0)
        );
        release(live[0]);
    }
}
