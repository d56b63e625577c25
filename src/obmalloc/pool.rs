//! A pool: blocks of one class.
//!
//! ```text
//! | block 0 | block 1 | … | block carved-1 | never used … | tail |
//!      live or free, free ones linked LIFO     ^ carved        ^ capacity
//! ```
//!
//! | state | condition | on which list | left by |
//! |---|---|---|---|
//! | used | `0 < live < capacity` | its class's ring | alloc of the last block, free of the last live one |
//! | full | `live == capacity` | none | any free: to the front of the ring |
//! | empty | `live == 0` | its arena's free pools | being taken for any class |
//!
//! Invariants:
//! * I1 `live <= carved <= capacity`.
//! * I2 the free chain has `carved - live` blocks, last freed first.
//! * I3 in CPython's geometry chain and `carved` survive the empty state; they start anew only when the next
//!   class differs (CPython 3.11, `allocate_from_new_pool`). In production they always start anew.
//!
//! CPython links one never-used block ahead of need; we carve when the chain is empty. The addresses are
//! the same (shown by replay), and no block is touched before it is used.
//!
//! Everything here runs under the lock of the heap that owns the arena.

use super::arena::Arena;
use super::block::{Block, Place};
use super::geometry::Geometry;
use super::size_class::SizeClass;
use core::ptr::NonNull;

/// A pool's header. The first 16 bytes are what alloc and free touch.
#[repr(C)]
pub struct Pool {
    /// Last freed block, if any is free.
    free: Option<Block>,
    /// Blocks handed out.
    live: u32,
    /// Blocks ever handed out since the pool was formatted.
    carved: u32,
    /// Neighbours in the ring; `next` also links an arena's free pools.
    next: Option<NonNull<Pool>>,
    prev: Option<NonNull<Pool>>,
    arena: NonNull<Arena>,
    capacity: u16,
    /// Class, or [`NO_CLASS`].
    class: u8,
    /// Slots this header is behind the first slot of its run.
    lead: u8,
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
            free: None,
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
        self.free = None;
        self.carved = 0;
        self.capacity = G::capacity(class) as u16;
        self.class = class.index() as u8;
        self.lead = 0;
        self.zeroed = zeroed;
    }

    /// Forgets class and free chain, whose links were purged.
    pub fn forget(&mut self) {
        debug_assert_eq!(self.live, 0);
        self.class = NO_CLASS;
        self.free = None;
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

    /// Blocks handed out.
    #[inline]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Blocks ever handed out since the pool was formatted: the ones a pointer can name.
    #[inline]
    pub fn carved(&self) -> u32 {
        self.carved
    }

    /// Blocks the pool has room for.
    #[inline]
    pub fn capacity(&self) -> u32 {
        u32::from(self.capacity)
    }

    /// Whether every block is handed out.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.live == u32::from(self.capacity)
    }

    /// Takes one block: the last freed, else the next never used. True with it when the block is known
    /// to read as zero.
    ///
    /// # Safety
    /// The pool is not full and was formatted for `class`.
    pub unsafe fn take<G: Geometry>(this: NonNull<Pool>, class: SizeClass) -> (Block, bool) {
        // SAFETY: under the heap's lock the header is ours.
        let pool = unsafe { &mut *this.as_ptr() };
        debug_assert!(!pool.is_full());
        pool.live += 1;
        if let Some(block) = pool.free {
            // SAFETY: chained blocks are free (I2).
            unsafe {
                pool.free = block.link();
                block.unmark();
            }
            return (block, false);
        }
        pool.carved += 1;
        // SAFETY: `carved <= capacity` (I1), so the block lies inside the pool.
        (
            unsafe { Self::carve::<G>(this, class, pool.carved - 1, pool.zeroed) },
            pool.zeroed,
        )
    }

    /// Takes blocks until `places` is filled, from its end to its start, or the pool is full; in the order
    /// `take` would give them. Returns their number.
    ///
    /// # Safety
    /// The pool was formatted for `class`.
    pub unsafe fn take_many<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        places: &mut [Option<Block>],
    ) -> usize {
        // SAFETY: under the heap's lock the header is ours.
        let pool = unsafe { &mut *this.as_ptr() };
        let n = places.len().min((pool.capacity() - pool.live) as usize);
        for place in places.iter_mut().rev().take(n) {
            *place = match pool.free {
                Some(block) => {
                    // SAFETY: chained blocks are free (I2).
                    unsafe {
                        pool.free = block.link();
                        block.unmark();
                    }
                    Some(block)
                }
                None => {
                    pool.carved += 1;
                    // SAFETY: below the capacity: the chain is empty, so every carved block is out, and not
                    // all of them are (I1, I2).
                    Some(unsafe { Self::carve::<G>(this, class, pool.carved - 1, pool.zeroed) })
                }
            };
        }
        pool.live += n as u32;
        n
    }

    /// Puts a block back, marked with the process's secret. Returns the number of blocks still out.
    ///
    /// # Safety
    /// `block` was taken from this pool and is not used any more.
    #[inline]
    pub unsafe fn put(&mut self, block: Block, secret: usize) -> u32 {
        // SAFETY: free from here on.
        unsafe {
            block.set_link(self.free);
            block.mark(secret, Place::Pool);
        }
        self.free = Some(block);
        self.live -= 1;
        self.live
    }

    /// Block `k`, which was never out. Unless its memory is `zeroed`, a mark of earlier times may lie there.
    ///
    /// # Safety
    /// As [`Self::nth`].
    #[inline]
    unsafe fn carve<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        k: u32,
        zeroed: bool,
    ) -> Block {
        // SAFETY: the caller's; nobody uses the block.
        unsafe {
            let block = Self::nth::<G>(this, class, k);
            if !zeroed {
                block.unmark();
            }
            block
        }
    }

    /// Block `k` of the pool.
    ///
    /// # Safety
    /// `k` is below the capacity for `class`.
    unsafe fn nth<G: Geometry>(this: NonNull<Pool>, class: SizeClass, k: u32) -> Block {
        let offset = G::HEADER_BYTES + k as usize * class.block_bytes();
        // SAFETY: inside the pool by the caller's word.
        unsafe { Block::new(G::memory(this).add(offset)) }
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
