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
//! The free chain is obmalloc's, last freed first; how it is kept says `free_chain.rs`.
//!
//! Invariants:
//! * I1 `live <= carved <= capacity`.
//! * I2 the free chain has `carved - live` blocks, last freed first.
//! * I3 in CPython's geometry chain and `carved` survive the empty state; they start anew only when the next
//!   class differs (CPython 3.11, `allocate_from_new_pool`). In production they always start anew.
//! * I4 in production bit `k` of the pool's bits is set exactly while block `k` is out.
//!
//! CPython links one never-used block ahead of need; we carve when the chain is empty. The addresses are
//! the same (shown by replay), and no block is touched before it is used.
//!
//! Everything here runs under the lock of the heap that owns the arena.

use super::arena::Arena;
use super::block::Block;
use super::free_chain::{Coding, Hidden, Links, OutBits, overwritten};
use super::geometry::Geometry;
use super::size_class::{ALIGNMENT, POOL_BYTES, SizeClass, block_number};
use crate::sync::prefetch;
use core::ptr::NonNull;

/// A pool's header. The first 16 bytes are what alloc and free touch.
#[repr(C)]
pub struct Pool {
    links: Links,
    /// Blocks handed out.
    live: u16,
    /// Blocks ever handed out since the pool was formatted.
    carved: u16,
    capacity: u16,
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
            links: Links::EMPTY,
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
        self.links = Links::EMPTY;
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
        self.links = Links::EMPTY;
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
        u32::from(self.live)
    }

    /// Blocks ever handed out since the pool was formatted: the ones a pointer can name.
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

    /// Takes one block: the last freed, else the next never used. True with it when the block is known
    /// to read as zero.
    ///
    /// # Safety
    /// The pool is not full and was formatted for `class`.
    pub unsafe fn take<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        coding: impl Coding,
    ) -> (Block, bool) {
        let mut place = [None];
        // SAFETY: the header is ours under the heap's lock, and what is asked of it the caller's.
        unsafe {
            let zeroed = this.as_ref().zeroed && this.as_ref().live == this.as_ref().carved;
            Self::take_many::<G>(this, class, &mut place, coding);
            (place[0].expect("the pool is not full"), zeroed)
        }
    }

    /// Takes blocks until `places` is filled, from its end to its start, or the pool is full; in the order
    /// `take` would give them. Returns their number.
    ///
    /// Their first cache lines are asked for all at once: their users would wait for one after the other.
    ///
    /// # Safety
    /// The pool was formatted for `class`.
    pub unsafe fn take_many<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        places: &mut [Option<Block>],
        coding: impl Coding,
    ) -> usize {
        // SAFETY: under the heap's lock the header is ours.
        let (blocks, pool) = unsafe { (Blocks::of::<G>(this, class), &mut *this.as_ptr()) };
        let bits = OutBits::of::<G>(this);
        let (mut links, mut free) = (pool.links, pool.carved - pool.live);
        let mut left = places.len();
        while left > 0 && free > 0 {
            // SAFETY: the chain has `free` blocks (I2).
            let block = unsafe {
                let k = links.pop(free, &blocks, pool.carved, coding);
                blocks.nth(k)
            };
            // SAFETY: a block of this pool.
            if unsafe { bits.set(block) } {
                overwritten(block);
            }
            prefetch(block.start().as_ptr());
            free -= 1;
            left -= 1;
            places[left] = Some(block);
        }
        let fresh = left.min(usize::from(pool.capacity - pool.carved)) as u16;
        for k in pool.carved..pool.carved + fresh {
            // SAFETY: below the capacity (I1).
            unsafe {
                let block = blocks.nth(k);
                bits.set(block);
                prefetch(block.start().as_ptr());
                left -= 1;
                places[left] = Some(block);
            }
        }
        pool.links = links;
        pool.carved += fresh;
        pool.live = pool.carved - free;
        places.len() - left
    }

    /// Puts a block back. False, and nothing is changed, when it is known to be none that is out.
    ///
    /// # Safety
    /// The pool serves `class`, and the block lies in it and is not used any more.
    #[inline(always)]
    pub unsafe fn put<G: Geometry>(
        this: NonNull<Pool>,
        block: Block,
        class: SizeClass,
        coding: impl Coding,
    ) -> bool {
        // SAFETY: under the heap's lock the header is ours.
        let (pool, offset) = unsafe {
            let offset = block.addr() - G::first_block(this, block.addr(), class);
            (&mut *this.as_ptr(), offset)
        };
        // SAFETY: in the pool's arena.
        if !offset.is_multiple_of(ALIGNMENT) || !unsafe { OutBits::of::<G>(this).clear(block) } {
            return false;
        }
        let k = block_number(offset, class) as u16;
        let free = pool.carved - pool.live;
        debug_assert!(k < pool.carved && pool.live > 0);
        // SAFETY: block `k`, and free from here on.
        unsafe { pool.links.push(free, k, block, coding) };
        pool.live -= 1;
        true
    }

    /// Carves all blocks of a pool that was just formatted, and frees them in a random order, which `turn`
    /// makes another each time.
    ///
    /// # Safety
    /// The pool was formatted for `class`, and no block of it was carved.
    pub unsafe fn carve_shuffled<G: Geometry>(
        this: NonNull<Pool>,
        class: SizeClass,
        hidden: Hidden,
        turn: u64,
    ) {
        // SAFETY: under the heap's lock the header is ours.
        let (blocks, pool) = unsafe { (Blocks::of::<G>(this, class), &mut *this.as_ptr()) };
        debug_assert!(pool.carved == 0 && pool.live == 0);
        let mut order = [0; POOL_BYTES / ALIGNMENT];
        let order = &mut order[..usize::from(pool.capacity)];
        (0..)
            .zip(order.iter_mut())
            .for_each(|(k, place)| *place = k);
        hidden.shuffle(order, this.addr().get() as u64, turn);
        for (free, &k) in (0..).zip(&*order) {
            // SAFETY: below the capacity, and nobody's.
            unsafe { pool.links.push(free, k, blocks.nth(k), hidden) };
        }
        pool.carved = pool.capacity;
        pool.zeroed = false;
    }
}

/// Where a pool's blocks lie.
pub(super) struct Blocks {
    first: NonNull<u8>,
    bytes: usize,
}

impl Blocks {
    /// Those of a pool.
    ///
    /// # Safety
    /// The pool's arena is mapped.
    #[inline(always)]
    unsafe fn of<G: Geometry>(pool: NonNull<Pool>, class: SizeClass) -> Self {
        Self {
            // SAFETY: the caller's; blocks begin inside the pool.
            first: unsafe { G::memory(pool).add(G::HEADER_BYTES) },
            bytes: class.block_bytes(),
        }
    }

    /// Block `k`.
    ///
    /// # Safety
    /// `k` is below the pool's capacity.
    #[inline(always)]
    pub(super) unsafe fn nth(&self, k: u16) -> Block {
        // SAFETY: inside the pool by the caller's word.
        unsafe { Block::new(self.first.add(usize::from(k) * self.bytes)) }
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
