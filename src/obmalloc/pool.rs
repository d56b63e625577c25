//! A pool: blocks of one class.
//!
//! ```text
//! | block 0 | block 1 | … | block carved-1 | never used … | tail |
//!              live or free                  ^ carved        ^ capacity
//! ```
//!
//! | state | condition | on which list | left by |
//! |---|---|---|---|
//! | used | `0 < live < capacity` | its class's ring | alloc of the last block, free of the last live one |
//! | full | `live == capacity` | none | any free: to the front of the ring |
//! | empty | `live == 0` | its arena's free pools | being taken for any class |
//!
//! How a pool knows its free blocks is the geometry's: CPython's has obmalloc's chain (`free_chain.rs`),
//! production a bit for each block (`free_bits.rs`).
//!
//! Invariants:
//! * I1 `live <= carved <= capacity`.
//! * I2 in CPython's geometry `carved` and the chain survive the empty state; they start anew only when the
//!   next class differs (CPython 3.11, `allocate_from_new_pool`). In production they always start anew.
//!
//! Everything here runs under the lock of the heap that owns the arena.

use super::arena::Arena;
use super::block::Block;
use super::geometry::{FreeBlocks, Geometry};
use super::size_class::SizeClass;
use core::ptr::NonNull;

/// A pool's header. The first 16 bytes are what alloc and free touch.
#[repr(C)]
pub struct Pool {
    /// What the geometry knows of its free blocks.
    pub(super) free: u64,
    /// Blocks handed out.
    pub(super) live: u16,
    /// Blocks below this number were handed out since the pool was formatted, the ones from it on never.
    pub(super) carved: u16,
    pub(super) capacity: u16,
    /// Class, or [`NO_CLASS`].
    class: u8,
    /// Slots this header is behind the first slot of its run.
    lead: u8,
    /// Neighbours in the ring; `next` also links an arena's free pools.
    next: Option<NonNull<Pool>>,
    prev: Option<NonNull<Pool>>,
    arena: NonNull<Arena>,
    /// Whether memory that was never carved is known to be zero.
    zeroed: bool,
}

/// CPython's 0xFFFF of a pool that was just carved (`DUMMY_SIZE_IDX`).
const NO_CLASS: u8 = u8::MAX;

impl Pool {
    /// Writes the header of a pool that never had a class.
    ///
    /// # Safety
    /// `pool` points to a header's place in `arena`.
    pub unsafe fn init(pool: NonNull<Pool>, arena: NonNull<Arena>) {
        let value = Self {
            free: 0,
            live: 0,
            carved: 0,
            next: None,
            prev: None,
            arena,
            capacity: 0,
            class: NO_CLASS,
            lead: 0,
            zeroed: false,
        };
        // SAFETY: the place is ours by the caller's word.
        unsafe { pool.write(value) }
    }

    /// Starts an empty pool for `class`. `zeroed` promises that its memory reads as zero.
    pub fn format<G: Geometry>(&mut self, class: SizeClass, zeroed: bool) {
        debug_assert_eq!(self.live, 0);
        self.free = G::Free::fresh(class);
        self.carved = 0;
        self.capacity = G::capacity(class) as u16;
        self.class = class.index() as u8;
        self.lead = 0;
        self.zeroed = zeroed;
    }

    /// Forgets its class: its memory was purged.
    pub fn forget(&mut self) {
        debug_assert_eq!(self.live, 0);
        self.class = NO_CLASS;
        self.free = 0;
        self.carved = 0;
    }

    /// Makes this the header of a slot inside a run, `lead` slots behind the first.
    pub fn follow(&mut self, lead: usize) {
        self.lead = lead as u8;
    }

    /// Slots between the run's first slot and this one.
    #[inline]
    pub fn lead(&self) -> usize {
        self.lead as usize
    }

    /// The arena this pool lies in.
    #[inline]
    pub fn arena(&self) -> NonNull<Arena> {
        self.arena
    }

    /// Class of the blocks, if it was formatted for one.
    #[inline]
    pub fn class(&self) -> Option<SizeClass> {
        (self.class != NO_CLASS).then(|| SizeClass::new(self.class as usize))
    }

    /// Whether it was formatted for `class`.
    #[inline(always)]
    pub fn serves(&self, class: SizeClass) -> bool {
        self.class == class.index() as u8
    }

    /// Blocks handed out.
    #[inline]
    pub fn live(&self) -> u32 {
        u32::from(self.live)
    }

    /// Blocks below this number were handed out since the pool was formatted: the ones a pointer can name.
    #[inline]
    pub fn carved(&self) -> u32 {
        u32::from(self.carved)
    }

    /// Blocks the pool has room for.
    #[inline]
    pub fn capacity(&self) -> u32 {
        u32::from(self.capacity)
    }

    /// Whether every block is handed out.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.live == self.capacity
    }

    /// Takes one block. True with it when the block is known to read as zero.
    ///
    /// # Safety
    /// The pool is not full and was formatted for `class`.
    pub unsafe fn take<G: Geometry>(this: NonNull<Pool>, class: SizeClass) -> (Block, bool) {
        let mut place = [None];
        // SAFETY: the header is ours under the heap's lock, and what is asked of it the caller's.
        unsafe {
            let zeroed = this.as_ref().zeroed && this.as_ref().live == this.as_ref().carved;
            G::Free::take::<G>(this, class, &mut place);
            (place[0].expect("the pool is not full"), zeroed)
        }
    }
}

/// The non-full, non-empty pools of one class, most recently unfilled first (CPython: `usedpools`).
#[derive(Clone, Copy)]
pub struct Ring {
    first: Option<NonNull<Pool>>,
}

impl Ring {
    /// A ring without pools.
    pub const EMPTY: Self = Self { first: None };

    /// The pool the next block comes from.
    #[inline]
    pub fn first(&self) -> Option<NonNull<Pool>> {
        self.first
    }

    /// Puts `pool` first.
    ///
    /// # Safety
    /// The pool is on no list.
    pub unsafe fn push_front(&mut self, mut pool: NonNull<Pool>) {
        // SAFETY: headers are ours under the heap's lock.
        unsafe {
            pool.as_mut().prev = None;
            pool.as_mut().next = self.first;
            if let Some(mut second) = self.first {
                second.as_mut().prev = Some(pool);
            }
        }
        self.first = Some(pool);
    }

    /// Takes `pool` out.
    ///
    /// # Safety
    /// The pool is in this ring.
    pub unsafe fn remove(&mut self, pool: NonNull<Pool>) {
        // SAFETY: headers are ours under the heap's lock.
        unsafe {
            let (next, prev) = (pool.as_ref().next, pool.as_ref().prev);
            match prev {
                Some(mut prev) => prev.as_mut().next = next,
                None => self.first = next,
            }
            if let Some(mut next) = next {
                next.as_mut().prev = prev;
            }
        }
    }
}

/// An arena's empty pools, last emptied first (CPython: `arena_object.freepools`).
#[derive(Clone, Copy)]
pub struct FreePools {
    top: Option<NonNull<Pool>>,
}

impl FreePools {
    /// No pools.
    pub const EMPTY: Self = Self { top: None };

    /// Puts an empty pool on top.
    ///
    /// # Safety
    /// The pool is on no list.
    pub unsafe fn push(&mut self, mut pool: NonNull<Pool>) {
        // SAFETY: headers are ours under the heap's lock.
        unsafe { pool.as_mut().next = self.top };
        self.top = Some(pool);
    }

    /// Takes the top one.
    pub fn pop(&mut self) -> Option<NonNull<Pool>> {
        let pool = self.top?;
        // SAFETY: as `push`.
        self.top = unsafe { pool.as_ref().next };
        Some(pool)
    }
}
