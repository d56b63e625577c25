//! A flush: free blocks of one class, from a thread's list, sorted out by whose they are.
//!
//! ```text
//! list: | b | b | b | b | b | …      oldest first
//!         |   |   `---.---'
//!         |   |       run of neighbours in one slot: `Engine::put`, or moved to the front with others of other heaps
//!         |   block whose neighbours on the list lie elsewhere, of a pool that stays where it is: `put_scattered`
//!         block of another heap: moved to the front
//!
//! left: | b | b | … of other heaps   one heap after the other: sorted out there in the same way, if its lock is free
//!                                    or a moment later; else sent to its inbox in a chain
//! ```
//!
//! Half the instructions of a program that frees in random order are spent here. So whose a block is says its arena's
//! number, where that is known (`own_arenas.rs`); the loop over scattered blocks is a function of its own, whose values
//! stay in registers, and leaves to the general one whatever is more than a bit and two numbers: 55 instructions a
//! block where the general one needs 100. What is found wrong ends the process before anything is changed.
//!
//! Others' blocks are put back where they are from by who frees them, because a chain lies in the blocks: it is written by
//! one thread and read by another, which then takes the lock for as long. Two locks are never held together.

use super::chain::{self, Chain};
use super::free_bits::FreeBits;
use super::geometry::{Geometry, Production};
use super::heap::{Heap, HeapState, home_of};
use super::heap_errors::{Wrong, not_out, wrong_pool};
use super::list::{Entry, addr_of};
use super::size_class::{ALIGNMENT, ARENA_BYTES, POOL_BYTES, SizeClass};
use core::hint::assert_unchecked;
use core::ptr::with_exposed_provenance;

/// Heaps that are asked for all that is left; of more of them each for what lies in front.
const ASKED_FOR_ALL: usize = 4;

/// Blocks for which it is worth a moment's wait that nobody uses their heap: a chain of fewer takes less than that.
const WAITED_FOR: usize = 16;

/// What a heap made of blocks.
#[derive(Clone, Copy)]
pub(super) struct Sorted {
    /// How many were its own.
    pub n_own: usize,
    /// How many were not. They are the first ones now, and lie in pools of the class as far as the address map knows.
    pub n_others: usize,
}

/// Puts the heap's own blocks back, and moves the others to the front.
///
/// # Safety
/// Each entry is a free block of `class` of some heap, or corruption to be reported.
#[inline(always)]
pub(super) unsafe fn sort_out(
    state: &mut HeapState,
    class: SizeClass,
    blocks: &mut [Entry],
) -> Sorted {
    // Two loops, each without the other's questions.
    // SAFETY: the caller's.
    unsafe {
        match class.is_small() {
            true => sort_out_of::<true>(state, class, blocks),
            false => sort_out_of::<false>(state, class, blocks),
        }
    }
}

/// # Safety
/// As [`sort_out`]; `SMALL` says whether the class is small.
#[inline(always)]
unsafe fn sort_out_of<const SMALL: bool>(
    state: &mut HeapState,
    class: SizeClass,
    blocks: &mut [Entry],
) -> Sorted {
    // SAFETY: the caller's word.
    unsafe { assert_unchecked(class.is_small() == SMALL) };
    let own_home = state.engine.backing().home();
    let (mut at, mut n_own, mut n_others) = (0, 0, 0);
    while let Some(first) = blocks.get(at) {
        let Some(block) = *first else {
            at += 1;
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
                if home_of(block) != own_home {
                    // Its own heap verifies the rest, under its lock: the pool's header changes.
                    let n = move_slot(blocks, at, n_others);
                    (at, n_others) = (at + n, n_others + n);
                    continue;
                }
            }
            let pool = Production::pool_of(block.start(), class);
            if !pool.as_ref().serves(class) {
                state.ends_with(wrong_pool(state.map, block, class));
            }
            let mut n = state.engine.put(pool, class, &blocks[at..]);
            if n == 0 {
                state.ends_with(not_out(pool, block, class));
            }
            if SMALL {
                n += put_scattered(state, class, &blocks[at + n..]);
            }
            (at, n_own) = (at + n, n_own + n);
        }
    }
    state.engine.count_freed(class, n_own as u32);
    Sorted { n_own, n_others }
}

/// Moves the block at `from`, and those behind it up to the first that does not lie in its slot or is misaligned, to `to`,
/// which is no further. Returns their number.
#[inline(always)]
fn move_slot(blocks: &mut [Entry], from: usize, to: usize) -> usize {
    let base = addr_of(&blocks[from]) & !(POOL_BYTES - 1);
    let mut n = 0;
    while let Some(entry) = blocks.get(from + n).copied() {
        let offset = addr_of(&entry).wrapping_sub(base);
        if n > 0 && offset.rotate_right(ALIGNMENT.ilog2()) >= POOL_BYTES / ALIGNMENT {
            break;
        }
        blocks[to + n] = entry;
        n += 1;
    }
    n
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

/// Sends blocks home which another heap left. Returns the number of free pools that hold memory there, in heaps that nobody
/// is using: their threads may all be asleep, or gone, and then nobody else looks.
///
/// # Safety
/// They are what [`sort_out`] left of blocks of `class`. The caller holds no heap's lock.
#[inline(never)]
pub(super) unsafe fn send_home(class: SizeClass, blocks: &mut [Entry]) -> u64 {
    let (mut rest, mut n_heaps, mut dirty_pools) = (blocks, 0, 0);
    while let Some(Some(first)) = rest.first().copied() {
        // SAFETY: verified, so in an arena; arenas name heaps, which live for ever.
        let heap = unsafe { &*with_exposed_provenance::<Heap>(home_of(first)) };
        n_heaps += 1;
        let n = match n_heaps > ASKED_FOR_ALL {
            true => in_front(rest, heap.home()),
            false => rest.len(),
        };
        let (now, later) = rest.split_at_mut(n);
        let may_wait = n >= WAITED_FOR;
        let done = heap.gate().enter_soon(may_wait, |state| {
            // SAFETY: the caller's.
            let sorted = unsafe { sort_out(state, class, now) };
            (sorted.n_others, state.engine.dirty().pools())
        });
        let (n_left, n_dirty) = match done {
            Some(done) => done,
            // SAFETY: as above.
            None => unsafe { deliver(heap, class, now) },
        };
        dirty_pools += n_dirty;
        rest = match n_left {
            0 => later,
            // Nothing is left for later: all were asked for.
            _ => &mut now[..n_left],
        };
    }
    dirty_pools
}

/// How many of `blocks` are of the heap at `home`, up to the first that is not.
fn in_front(blocks: &[Entry], home: usize) -> usize {
    let of_home = |entry: &&Entry| {
        // SAFETY: verified, so in arenas.
        entry.is_some_and(|block| unsafe { home_of(block) } == home)
    };
    blocks.iter().take_while(of_home).count()
}

/// Leaves its blocks in the inbox of a heap that somebody is using, and moves the others to the front. Returns their
/// number, and that of the heap's free pools that hold memory, if nobody is using it any more.
///
/// # Safety
/// As [`send_home`].
#[cold]
#[inline(never)]
unsafe fn deliver(heap: &Heap, class: SizeClass, blocks: &mut [Entry]) -> (usize, u64) {
    let (mut chain, mut at, mut n_others) = (Chain::EMPTY, 0, 0);
    while let Some(Some(block)) = blocks.get(at).copied() {
        // SAFETY: verified, so in an arena; free, and as long as its class says.
        unsafe {
            if home_of(block) == heap.home() {
                at += chain.push_slot(&blocks[at..], chain::room(class));
            } else {
                let n = move_slot(blocks, at, n_others);
                (at, n_others) = (at + n, n_others + n);
            }
        }
    }
    // SAFETY: the chain is that heap's.
    unsafe { heap.gate().deliver(chain) };
    let dirty_pools = heap.gate().try_enter(|state| state.engine.dirty().pools());
    (n_others, dirty_pools.unwrap_or(0))
}
