//! The object arena: one MiB with the collector's tables in front of the pools.
//!
//! ```text
//!      0 | heap, links, card (1 KiB)
//!  1 KiB | pool descriptors 8..64, 128 bytes each
//!  8 KiB | white    1 bit per granule         24 KiB | frozen   1 bit
//! 16 KiB | dead     1 bit                     32 KiB | words    4 × 64 bits per KiB: young, middle, old, plain
//! 64 KiB | pending  1 bit (where the next table has no use)
//! 72 KiB | work     1 byte per granule
//! 128 KiB| pool 8 | pool 9 | … | pool 63      16 KiB each
//! ```
//!
//! Tables are indexed by the granule (16 bytes) of an object's value, by shifting its address: no list links
//! the objects, none is visited to be counted, aged or found dead. The four words of a KiB share half a cache
//! line; white bits are dense, because marking jumps. Tables of free pools are zero, so what was never used takes
//! no memory.
//!
//! | bit of a slot | meaning |
//! |---|---|
//! | young, middle, old, frozen | tracked, in this generation |
//! | plain | taken, not tracked: a type without handles, untracked, being built or being dropped |
//! | dead | member of the set being collected |
//! | none | free |
//!
//! Invariants:
//! * I1 a taken slot has exactly one of these bits, and a free one none.
//! * I2 a white bit is an object that a marking pass has not reached, or a dead one; outside a pass dead ones
//!   only. Every pending bit is 0 then. So whoever marks stops at what is no candidate of his, be it of another
//!   generation, heap or kind.
//! * I3 `free_pools` has a bit for each pool that no bin has.

use super::heap::Heap;
use super::pool::{Pool, PoolRef};
use crate::obmalloc::size_class::{ARENA_BYTES, POOL_BYTES};
use core::cell::Cell;
use core::ptr::NonNull;
use static_assertions::const_assert;

/// Low bits of an address within its arena.
pub const ARENA_MASK: usize = ARENA_BYTES - 1;
/// Bytes a table entry stands for.
pub const GRANULE: usize = 16;
/// Granules of one word of a bitmap.
pub const WORD: usize = 64;
/// Words of a bitmap per pool.
pub const POOL_WORDS: usize = POOL_BYTES / GRANULE / WORD;
/// Pools before this one hold the tables.
pub const FIRST_POOL: usize = 8;
/// Bytes before the first pool.
pub const TABLE_BYTES: usize = FIRST_POOL * POOL_BYTES;
/// Pools a new arena has, as bits.
pub const ALL_POOLS: u64 = !0 << FIRST_POOL;

const DESCRIPTORS: usize = 0;
const WHITE: usize = 8 << 10;
const DEAD: usize = 16 << 10;
const FROZEN: usize = 24 << 10;
const WORDS: usize = 32 << 10;
const PENDING: usize = 64 << 10;
const WORK: usize = 64 << 10;

const_assert!(size_of::<ArenaHeader>() <= FIRST_POOL * size_of::<Pool>());
const_assert!(DESCRIPTORS + 64 * size_of::<Pool>() <= WHITE);
const_assert!(WORDS + (ARENA_BYTES >> 10) * size_of::<Words>() <= PENDING);
const_assert!(WORK + ARENA_BYTES / GRANULE <= TABLE_BYTES);
// The pending bitmap ends where the first pool's work bytes begin.
const_assert!(PENDING + ARENA_BYTES / GRANULE / 8 <= WORK + TABLE_BYTES / GRANULE);

/// What stands at an arena's start.
#[repr(C)]
pub struct ArenaHeader {
    heap: Cell<Option<NonNull<Heap>>>,
    /// The heap's list of usable arenas.
    pub next: Cell<Option<Arena>>,
    /// The one before.
    pub prev: Cell<Option<Arena>>,
    /// The heap's arena made before this one.
    pub older: Cell<Option<Arena>>,
    /// The one made after it.
    pub newer: Cell<Option<Arena>>,
    /// Pools nobody has (I3).
    pub free_pools: Cell<u64>,
    /// Whether it holds one object larger than a pool's run.
    pub huge: Cell<bool>,
    /// Whether its pools are of types that are tracked: an arena has either those or the others.
    pub tracked: Cell<bool>,
    /// Set when a decrement left a count above zero: only then can something in it have become garbage.
    pub card: Cell<bool>,
}

/// Generations of 64 granules.
#[repr(C, align(32))]
pub struct Words {
    /// Generation 0.
    pub young: Cell<u64>,
    /// Generation 1.
    pub middle: Cell<u64>,
    /// Generation 2.
    pub old: Cell<u64>,
    /// Taken and not tracked.
    pub plain: Cell<u64>,
}

/// An arena of objects; copying it copies the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Arena(NonNull<u8>);

impl Arena {
    /// The arena at `base`.
    ///
    /// # Safety
    /// 1. `base` is an object arena's first byte, with rights to all of it; it is mapped while used.
    #[inline(always)]
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        Self(base)
    }

    /// Makes an arena of memory at `base`; `huge` for a single object, `zeroed` if the memory is zero, `tracked` as the types of its
    /// pools are.
    ///
    /// # Safety
    /// 1. At least [`ARENA_BYTES`] of memory at a multiple of it, that nobody uses.
    pub unsafe fn init(
        base: NonNull<u8>,
        heap: NonNull<Heap>,
        (huge, zeroed, tracked): (bool, bool, bool),
    ) -> Self {
        let header = ArenaHeader {
            heap: Cell::new(Some(heap)),
            next: Cell::new(None),
            prev: Cell::new(None),
            older: Cell::new(None),
            newer: Cell::new(None),
            free_pools: Cell::new(ALL_POOLS),
            huge: Cell::new(huge),
            tracked: Cell::new(tracked),
            card: Cell::new(false),
        };
        // SAFETY: the caller's memory, large enough (asserted above) and aligned.
        unsafe {
            base.cast::<ArenaHeader>().write(header);
            if !zeroed {
                let end = WORK + TABLE_BYTES / GRANULE;
                base.add(WHITE).write_bytes(0, end - WHITE);
            }
        }
        Self(base)
    }

    /// Its first byte.
    pub fn base(self) -> NonNull<u8> {
        self.0
    }

    /// A place in the tables.
    #[inline(always)]
    fn at<'a, T>(self, offset: usize) -> &'a T {
        debug_assert!(offset + size_of::<T>() <= TABLE_BYTES);
        // SAFETY: mapped by `new`'s duty 1; all entries are cells or written when the arena or its pool was
        // made, and nobody holds one mutably.
        unsafe { self.0.add(offset).cast::<T>().as_ref() }
    }

    /// What stands at its start.
    #[inline(always)]
    pub fn header<'a>(self) -> &'a ArenaHeader {
        self.at(0)
    }

    /// The heap it belongs to.
    #[inline(always)]
    pub fn heap<'a>(self) -> &'a Heap {
        let heap = self.header().heap.get();
        // SAFETY: set by `init`; a heap outlives its arenas.
        unsafe { heap.unwrap_unchecked().as_ref() }
    }

    /// Generations of the 64 granules of `word`.
    #[inline(always)]
    pub fn words<'a>(self, word: usize) -> &'a Words {
        self.at(WORDS + word * size_of::<Words>())
    }

    /// Candidates that marking has not reached.
    #[inline(always)]
    pub fn white<'a>(self, word: usize) -> &'a Cell<u64> {
        self.at(WHITE + word * 8)
    }

    /// Members of the set being collected.
    #[inline(always)]
    pub fn dead<'a>(self, word: usize) -> &'a Cell<u64> {
        self.at(DEAD + word * 8)
    }

    /// Objects put aside by `freeze`.
    #[inline(always)]
    pub fn frozen<'a>(self, word: usize) -> &'a Cell<u64> {
        self.at(FROZEN + word * 8)
    }

    /// Marked, and to be traversed.
    #[inline(always)]
    pub fn pending<'a>(self, word: usize) -> &'a Cell<u64> {
        self.at(PENDING + word * 8)
    }

    /// Handles from outside the candidates, modulo 256.
    #[inline(always)]
    pub fn work<'a>(self, granule: usize) -> &'a Cell<u8> {
        self.at(WORK + granule)
    }

    /// Eight work bytes from `granule` on, the first one lowest.
    #[inline(always)]
    pub fn work_bytes(self, granule: usize) -> u64 {
        u64::from_le(self.at::<Cell<u64>>(WORK + granule).get())
    }

    /// Descriptor of pool `index`, from [`FIRST_POOL`] to 63.
    #[inline(always)]
    pub fn pool(self, index: usize) -> PoolRef {
        debug_assert!((FIRST_POOL..64).contains(&index));
        // SAFETY: the descriptors lie in the arena's tables.
        unsafe {
            let place = self.0.add(DESCRIPTORS + index * size_of::<Pool>());
            PoolRef::new(place.cast())
        }
    }

    /// Descriptor of the pool that has `granule`: the first of its run.
    #[inline(always)]
    pub fn pool_of(self, granule: usize) -> PoolRef {
        self.piece_of(granule).first_of_run()
    }

    /// Descriptor of the 16 KiB that have `granule`.
    #[inline(always)]
    pub fn piece_of(self, granule: usize) -> PoolRef {
        self.pool(granule / (POOL_BYTES / GRANULE))
    }

    /// Zeroes the work bytes of a pool's `words` from `first` on.
    pub fn zero_work(self, first: usize, words: usize) {
        // SAFETY: the bytes of a pool's granules lie in the table; they are plain bytes, and nobody holds a
        // reference to one.
        unsafe {
            self.0.add(WORK + first * WORD).write_bytes(0, words * WORD);
        }
    }

    /// Which slots of a word are taken (I1).
    pub fn taken(self, word: usize) -> u64 {
        let words = self.words(word);
        words.young.get()
            | words.middle.get()
            | words.old.get()
            | words.plain.get()
            | self.frozen(word).get()
            | self.dead(word).get()
    }
}
