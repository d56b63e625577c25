//! Where pool headers lie and where blocks begin.
//!
//! obmalloc's rules are the same in both geometries; only these places differ.
//!
//! ```text
//! Cpython: header inside its pool                Production: one slot of headers per arena
//! base (any page)                                base (multiple of 1 MiB)
//! |  up to 16 KiB unused                         | slot 0: Arena | 63 headers | bits of what is out | unused
//! | pool 0: header 48 | block 0 | block 1 …      | slot 1: block 0 | block 1 …
//! | pool 1: header 48 | block 0 | block 1 …      | slot 2: block 0 | block 1 …
//!                                                | slot 63: of no run
//! ```
//!
//! Production keeps the headers of an arena together because headers at multiples of 16 KiB fall into
//! one cache set, and because blocks at offset 0 give every power-of-two class its natural alignment.
//! Slot 0 costs one pool of 64, the same 63 that real CPython arenas have, since theirs are not aligned.
//!
//! A program that frees a pointer into the middle of a block may have that place handed out to it, as long as a
//! block, until the list goes home; it then writes to what follows its block. That must not be the books of the
//! next arena, whose slot may begin there. So the first `UNUSED` bytes of slot 0 hold nothing, as many as a
//! small block has; and where blocks are larger, the last slot of an arena belongs to no run, and the lists take
//! no pointer into a slot in which no block begins (`address_map.rs`), so that none reaches beyond that slot.
//!
//! Two rules differ, too. Production takes the lowest free block of a pool, where CPython takes the one freed
//! last: its bits have no order, and a flush and a refill touch no block (`free_bits.rs`; both together, in a
//! program of CPython's objects, 222 million instructions with a chain and 94 with bits). And it formats an emptied
//! pool anew, where CPython keeps its free chain for the next user of the same class: there is no chain.

use super::arena::Arena;
use super::free_bits::{BITS_BYTES, Bits, FreeBits};
use super::free_chain::FreeChain;
use super::list::Entry;
use super::pool::Pool;
use super::size_class::{ARENA_BYTES, POOL_BYTES, SMALL_MAX, SizeClass};
use core::ptr::NonNull;
use static_assertions::const_assert;

/// The places. Implementations are types without values.
pub trait Geometry {
    /// Bytes at the start of a pool that are not for blocks.
    const HEADER_BYTES: usize;

    /// How a pool knows its free blocks.
    type Free: FreeBlocks;

    /// Whether an empty pool keeps its free chain for the next user of the same class.
    const KEEPS_CHAIN: bool;

    /// Offset of the first pool and number of pools in an arena at `base`.
    fn layout(base: usize) -> (usize, usize);

    /// The header of the pool at slot `index`.
    ///
    /// # Safety
    /// `arena` is mapped and has that slot.
    unsafe fn header(arena: NonNull<Arena>, index: usize) -> NonNull<Pool>;

    /// Slot of a pool, below 64.
    ///
    /// # Safety
    /// The pool's arena is mapped.
    unsafe fn index(pool: NonNull<Pool>) -> usize;

    /// First byte of a pool's slot.
    ///
    /// # Safety
    /// The pool's arena is mapped.
    unsafe fn memory(pool: NonNull<Pool>) -> NonNull<u8>;

    /// The pool of a block: the one amplification from a user's pointer to the allocator's own data.
    ///
    /// # Safety
    /// `block` lies in a pool of `class`.
    unsafe fn pool_of(block: NonNull<u8>, class: SizeClass) -> NonNull<Pool>;

    /// Clears what is known of an arena's small blocks from earlier times.
    ///
    /// # Safety
    /// The arena's memory is ours, and no block of it is out.
    unsafe fn clear(arena: NonNull<Arena>);

    /// Blocks that fit a pool of `class`.
    fn capacity(class: SizeClass) -> u32 {
        ((class.span() * POOL_BYTES - Self::HEADER_BYTES) / class.block_bytes()) as u32
    }
}

/// How a pool knows its free blocks, by `Pool::free` and what lies elsewhere. Functions on types without
/// values; all run under the lock of the heap that owns the pool.
pub trait FreeBlocks {
    /// `Pool::free` of a pool for `class` that has no block out and never had.
    fn fresh(class: SizeClass) -> u64;

    /// Takes blocks until `places` is filled, from its end to its start, or the pool is full. Returns their
    /// number.
    ///
    /// # Safety
    /// The pool was formatted for `class` and is not full; the caller holds its header alone.
    unsafe fn take<G: Geometry>(
        pool: NonNull<Pool>,
        class: SizeClass,
        places: &mut [Entry],
    ) -> usize;

    /// Puts back `blocks` up to the first that lies in another pool or is known to be none that is out.
    /// Returns their number.
    ///
    /// # Safety
    /// The pool serves `class`, the first block lies in it, and none is used any more; the caller holds the
    /// pool's header alone.
    unsafe fn put<G: Geometry>(pool: NonNull<Pool>, class: SizeClass, blocks: &[Entry]) -> usize;
}

/// Bytes of a pool header (CPython 3.11: `POOL_OVERHEAD`).
pub const POOL_HEADER_BYTES: usize = 48;
const_assert!(size_of::<Pool>() == POOL_HEADER_BYTES);

/// A pointer to the allocator's own data at `addr`, with the rights of the whole arena, which were
/// exposed when it was mapped.
#[inline]
pub(super) fn amplify<T>(addr: usize) -> NonNull<T> {
    debug_assert!(addr != 0);
    // SAFETY: callers pass addresses inside arenas, never 0.
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) }
}

/// CPython's own layout: what the recordings were made with.
pub struct Cpython;

impl Geometry for Cpython {
    type Free = FreeChain;
    const HEADER_BYTES: usize = POOL_HEADER_BYTES;
    const KEEPS_CHAIN: bool = true;

    fn layout(base: usize) -> (usize, usize) {
        // CPython 3.11, `new_arena`: the first pool begins at the next multiple of POOL_SIZE.
        match base % POOL_BYTES {
            0 => (0, ARENA_BYTES / POOL_BYTES),
            excess => (POOL_BYTES - excess, ARENA_BYTES / POOL_BYTES - 1),
        }
    }

    unsafe fn header(arena: NonNull<Arena>, index: usize) -> NonNull<Pool> {
        // SAFETY: mapped by the caller's word.
        let base = unsafe { arena.as_ref() }.base().addr().get();
        amplify(base + Self::layout(base).0 + index * POOL_BYTES)
    }

    unsafe fn index(pool: NonNull<Pool>) -> usize {
        // SAFETY: mapped by the caller's word.
        let base = unsafe { pool.as_ref().arena().as_ref() }
            .base()
            .addr()
            .get();
        (pool.addr().get() - base) / POOL_BYTES
    }

    unsafe fn memory(pool: NonNull<Pool>) -> NonNull<u8> {
        pool.cast()
    }

    #[inline]
    unsafe fn pool_of(block: NonNull<u8>, _: SizeClass) -> NonNull<Pool> {
        amplify(block.addr().get() & !(POOL_BYTES - 1))
    }

    unsafe fn clear(_: NonNull<Arena>) {}
}

/// The layout the allocator ships with.
pub struct Production;

/// Bytes at the start of slot 0 that hold nothing: as far as a small block's length reaches from the last place
/// of the slot in front of it.
pub(super) const UNUSED: usize = SMALL_MAX;
/// Where the headers begin in slot 0, so that the last one ends with the first 4 KiB.
const TABLE: usize = 4096 - 63 * POOL_HEADER_BYTES;
const_assert!(UNUSED + size_of::<Arena>() <= TABLE);
/// Where the bits of blocks that are out begin in slot 0.
pub(super) const BITS: usize = 4096;
/// Bytes of slot 0 that are used.
pub const HEADER_SLOT_BYTES: usize = BITS + BITS_BYTES;
const_assert!(HEADER_SLOT_BYTES <= POOL_BYTES);

impl Geometry for Production {
    type Free = FreeBits;
    const HEADER_BYTES: usize = 0;
    const KEEPS_CHAIN: bool = false;

    fn layout(base: usize) -> (usize, usize) {
        debug_assert!(base.is_multiple_of(ARENA_BYTES));
        (POOL_BYTES, ARENA_BYTES / POOL_BYTES - 1)
    }

    #[inline]
    unsafe fn header(arena: NonNull<Arena>, index: usize) -> NonNull<Pool> {
        debug_assert!(index < 63);
        // SAFETY: the table lies in the arena's first page.
        unsafe {
            arena
                .cast::<u8>()
                .add(TABLE - UNUSED + index * POOL_HEADER_BYTES)
                .cast()
        }
    }

    #[inline]
    unsafe fn index(pool: NonNull<Pool>) -> usize {
        (pool.addr().get() % ARENA_BYTES - TABLE) / POOL_HEADER_BYTES
    }

    #[inline]
    unsafe fn memory(pool: NonNull<Pool>) -> NonNull<u8> {
        // SAFETY: a header lies in its own arena.
        let index = unsafe { Self::index(pool) };
        amplify((pool.addr().get() & !(ARENA_BYTES - 1)) + (index + 1) * POOL_BYTES)
    }

    #[inline]
    unsafe fn pool_of(block: NonNull<u8>, class: SizeClass) -> NonNull<Pool> {
        let addr = block.addr().get();
        let slot = (addr / POOL_BYTES) % 64;
        let table = (addr & !(ARENA_BYTES - 1)) + TABLE;
        let pool: NonNull<Pool> = amplify(table + (slot - 1) * POOL_HEADER_BYTES);
        if class.is_small() {
            return pool;
        }
        // SAFETY: the slots of a run name how far behind its first one they are.
        unsafe { pool.sub(pool.as_ref().lead()) }
    }

    unsafe fn clear(arena: NonNull<Arena>) {
        // SAFETY: inside the arena's header slot, and ours by the caller's word.
        unsafe { Bits::of_slot(arena.addr().get()).clear() };
    }
}
