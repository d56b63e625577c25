//! A flush: free blocks of one class, from a thread's list, sorted out by whose they are.
//!
//! ```text
//! list: | b | b | b | b | b | …      oldest first
//!         |   |   `---.---'
//!         |   |       run of neighbours in one slot: `Engine::put`, or a carrier's worth for another heap
//!         |   block whose neighbours on the list lie elsewhere, of a pool that stays where it is: `put_scattered`
//!         block of another heap: to that heap's chain
//! ```
//!
//! Half the instructions of a program that frees in random order are spent here. So whose a block is says its arena's
//! number, where that is known (`own_arenas.rs`); the loop over scattered blocks is a function of its own, whose values
//! stay in registers, and leaves to the general one whatever is more than a bit and two numbers: 55 instructions a
//! block where the general one needs 100. What is found wrong ends the process before anything is changed.

use super::chain::{self, Chain};
use super::free_bits::FreeBits;
use super::geometry::{Geometry, Production};
use super::heap::{Heap, HeapState, home_of};
use super::heap_errors::{Wrong, not_out, wrong_pool};
use super::list::{Entry, addr_of};
use super::size_class::{ARENA_BYTES, POOL_BYTES, SizeClass};
use core::hint::assert_unchecked;

/// Other heaps a flush may meet before it must deliver early.
const PENDING: usize = 4;

/// Puts the heap's own blocks back, and collects the others by heap. Returns how many were its own.
///
/// # Safety
/// Each entry is a free block of `class` of some heap, or corruption to be reported.
#[inline(always)]
pub(super) unsafe fn sort_out(
    state: &mut HeapState,
    class: SizeClass,
    blocks: &[Entry],
    pending: &mut Pending,
) -> usize {
    // Two loops, each without the other's questions.
    // SAFETY: the caller's.
    unsafe {
        match class.is_small() {
            true => sort_out_of::<true>(state, class, blocks, pending),
            false => sort_out_of::<false>(state, class, blocks, pending),
        }
    }
}

/// # Safety
/// As [`sort_out`]; `SMALL` says whether the class is small.
#[inline(always)]
unsafe fn sort_out_of<const SMALL: bool>(
    state: &mut HeapState,
    class: SizeClass,
    blocks: &[Entry],
    pending: &mut Pending,
) -> usize {
    // SAFETY: the caller's word.
    unsafe { assert_unchecked(class.is_small() == SMALL) };
    let own_home = state.engine.backing().home();
    let (mut rest, mut n_own) = (blocks, 0);
    while let Some((first, others)) = rest.split_first() {
        let Some(block) = *first else {
            rest = others;
            continue;
        };
        // SAFETY: free by the caller's word; in an arena of ours, once that is verified.
        unsafe {
            if SMALL && state.engine.backing().knows(block.addr()) {
                if block.addr() % ARENA_BYTES < POOL_BYTES {
                    state.ends_with(Wrong::NoBlock(block.start()));
                }
            } else {
                state.verify_pool(block, class);
                let home = home_of(block);
                if home != own_home {
                    // Its own heap verifies the rest, under its lock: the pool's header changes.
                    let n = pending.add(rest, home, chain::room(class));
                    rest = &rest[n..];
                    continue;
                }
            }
            let pool = Production::pool_of(block.start(), class);
            if !pool.as_ref().serves(class) {
                state.ends_with(wrong_pool(state.map, block, class));
            }
            let mut n = state.engine.put(pool, class, rest);
            if n == 0 {
                state.ends_with(not_out(pool, block, class));
            }
            if SMALL {
                n += put_scattered(state, class, &rest[n..]);
            }
            n_own += n;
            rest = &rest[n..];
        }
    }
    state.engine.count_freed(class, n_own as u32);
    n_own
}

/// Puts back `blocks` of a small class up to the first that is not known to be this heap's, that lies beside the one
/// behind it, or that takes more than a bit and two numbers to put back or to judge. Returns their number.
///
/// # Safety
/// As [`sort_out`].
#[inline(never)]
unsafe fn put_scattered(state: &mut HeapState, class: SizeClass, blocks: &[Entry]) -> usize {
    let backing = state.engine.backing();
    for (n, entry) in blocks.iter().enumerate() {
        let next = blocks.get(n + 1).map_or(0, addr_of);
        // An entry without a block lies beside none, and in no arena.
        if (next ^ addr_of(entry)) < POOL_BYTES || !backing.knows(addr_of(entry)) {
            return n;
        }
        // SAFETY: in an arena of this heap's, with bits, and free by the caller's word.
        if !entry.is_some_and(|block| unsafe { FreeBits::put_simple(block, class) }) {
            return n;
        }
    }
    blocks.len()
}

/// Blocks of other heaps, collected by heap.
pub(super) struct Pending {
    chains: [(usize, Chain); PENDING],
    /// The place used last.
    last: usize,
}

impl Pending {
    /// None.
    pub const EMPTY: Self = Self {
        chains: [(0, Chain::EMPTY); PENDING],
        last: 0,
    };

    /// Adds `blocks`, up to the first in another slot than the first one, to the chain of the heap at `home`; carriers
    /// have room for `room` others. Returns their number, at least one.
    ///
    /// # Safety
    /// The first block lies in an arena of that heap; all are free, and as long as `room` says.
    #[inline(always)]
    unsafe fn add(&mut self, blocks: &[Entry], home: usize, room: usize) -> usize {
        // SAFETY: the chains' blocks and these are free, by the caller's word.
        unsafe {
            if self.chains[self.last].0 != home {
                self.find(home);
            }
            self.chains[self.last].1.push_slot(blocks, room)
        }
    }

    /// Finds or makes a place for a heap's blocks; when there is none, the first chain goes.
    ///
    /// # Safety
    /// The chains' blocks are free and of the heaps they are collected for.
    #[cold]
    #[inline(never)]
    unsafe fn find(&mut self, home: usize) {
        let place = self
            .chains
            .iter()
            .position(|(other, _)| *other == home || *other == 0);
        self.last = place.unwrap_or_else(|| {
            let (other, chain) = core::mem::replace(&mut self.chains[0], (0, Chain::EMPTY));
            // Only tries the other heap's lock, so holding our own cannot deadlock.
            // SAFETY: collected from arenas of the heap at `other`.
            unsafe { deliver(other, chain) };
            0
        });
        self.chains[self.last].0 = home;
    }

    /// Hands all of them to their heaps. Returns the number of free pools that hold memory there, as [`deliver`] does.
    ///
    /// # Safety
    /// As [`Self::find`].
    #[inline(always)]
    pub unsafe fn deliver(self) -> u64 {
        let mut dirty_pools = 0;
        for (home, chain) in self.chains {
            // Looked at here, so that the usual flush, of its own heap's blocks, pays for no call.
            if !chain.is_empty() {
                // SAFETY: the caller's.
                dirty_pools += unsafe { deliver(home, chain) };
            }
        }
        dirty_pools
    }
}

/// Hands a chain to its heap. Returns the number of that heap's free pools that hold memory, if nobody
/// is using it: its threads may all be asleep, or gone, and then nobody else looks.
///
/// # Safety
/// The chain's blocks are free and belong to the heap at `home`.
unsafe fn deliver(home: usize, chain: Chain) -> u64 {
    // SAFETY: arenas name heaps, which live for ever.
    let heap = unsafe { &*core::ptr::with_exposed_provenance::<Heap>(home) };
    // SAFETY: the chain is that heap's by the caller's word.
    unsafe { heap.gate().deliver(chain) };
    heap.gate()
        .try_enter(|state| state.engine.dirty().pools())
        .unwrap_or(0)
}
