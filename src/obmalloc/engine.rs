//! The engine: a complete obmalloc as a value, without locks and without threads.
//!
//! ```text
//! alloc:  class -> ring's first pool -> its free blocks, else its next never-used one
//!                  ring empty -> a pool from the fullest arena -> a new arena from the backing
//! free:   block -> its pool; full -> ring's front; empty -> its arena; arena -> backing
//! ```
//!
//! The same code runs under the CPython geometry, where the recordings in `tests/data/` pin every
//! address, and under the production geometry, where a lock and thread lists stand before it.
//!
//! Invariants:
//! * I1 a pool is in its class's ring exactly while it is used (neither full nor empty).
//! * I2 `block_bytes` = sum over pools of `live * block bytes`.
//! * I3 failure (no arena to be had) changes nothing.

use super::arena::{Arena, ArenaMemory, Returned, Usable, unlink};
use super::block::Block;
use super::dirty::Dirty;
use super::free_bits::{FreeBits, Shuffle};
use super::geometry::{FreeBlocks, Geometry, Production};
use super::list::Entry;
use super::pool::{Pool, Ring};
use super::runs::{self, Runs};
use super::size_class::SizeClass;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Where arenas come from and go to.
pub trait Backing {
    /// An arena's memory, or `None` when there is none.
    fn obtain(&mut self) -> Option<ArenaMemory>;

    /// Takes an arena back.
    ///
    /// # Safety
    /// The arena came from `obtain`, and no block of it is live.
    unsafe fn release(&mut self, arena: NonNull<Arena>);

    /// Notes that pools are used from now on, `n_fresh` of which hold no memory yet.
    fn took_pools(&mut self, _n_fresh: usize) {}

    /// Notes which class the `span` pools from `first` on serve now; `None`: none.
    fn label(&mut self, first: NonNull<u8>, span: usize, class: Option<SizeClass>);
}

/// What the engine counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Arenas held now, obtained ever, held at most.
    pub arenas_now: u64,
    /// Arenas obtained ever.
    pub arenas_total: u64,
    /// Arenas held at most.
    pub arenas_high: u64,
    /// Bytes of the blocks that are out, whole blocks.
    pub block_bytes: u64,
    /// The most `block_bytes` ever was.
    pub block_bytes_high: u64,
}

/// A complete obmalloc.
pub struct Engine<G: Geometry, B: Backing> {
    rings: [Ring; SizeClass::COUNT],
    usable: Usable,
    runs: Runs,
    all: Option<NonNull<Arena>>,
    dirty: Dirty,
    counters: Counters,
    backing: B,
    geometry: PhantomData<G>,
}

// SAFETY: the engine owns its arenas; it is as movable as its backing.
unsafe impl<G: Geometry, B: Backing + Send> Send for Engine<G, B> {}

impl<G: Geometry, B: Backing> Engine<G, B> {
    /// An engine without memory.
    pub const fn new(backing: B) -> Self {
        Self {
            rings: [Ring::EMPTY; SizeClass::COUNT],
            usable: Usable::EMPTY,
            runs: Runs::EMPTY,
            all: None,
            dirty: Dirty::EMPTY,
            counters: Counters {
                arenas_now: 0,
                arenas_total: 0,
                arenas_high: 0,
                block_bytes: 0,
                block_bytes_high: 0,
            },
            backing,
            geometry: PhantomData,
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Free pools that hold memory.
    pub fn dirty(&mut self) -> &mut Dirty {
        &mut self.dirty
    }

    /// Where its arenas come from.
    pub fn backing(&self) -> &B {
        &self.backing
    }

    /// Where its arenas come from.
    pub fn backing_mut(&mut self) -> &mut B {
        &mut self.backing
    }

    /// Takes one block of `class`. True with it when it is known to read as zero.
    #[inline]
    pub fn alloc(&mut self, class: SizeClass) -> Option<(Block, bool)> {
        let pool = self.pool_for(class)?;
        // SAFETY: pools in a ring are not full (I1).
        let taken = unsafe { Pool::take::<G>(pool, class) };
        self.took(pool, class, 1);
        Some(taken)
    }

    /// Fills `places` with blocks of `class` from its end to its start, in the order `alloc` would give
    /// them. Returns their number: fewer than there are places when memory is out.
    pub fn alloc_many(&mut self, class: SizeClass, places: &mut [Entry]) -> usize {
        let mut left = places.len();
        while left > 0 {
            let Some(pool) = self.pool_for(class) else {
                break;
            };
            // SAFETY: pools in a ring are not full (I1), so at least one block comes.
            let n = unsafe { G::Free::take::<G>(pool, class, &mut places[..left]) };
            self.took(pool, class, n as u32);
            left -= n;
        }
        places.len() - left
    }

    /// Puts a block back. False, and nothing is changed, when it is known to be none that is out.
    ///
    /// # Safety
    /// `block` lies in a pool of this engine that serves `class`, and is not used any more.
    #[inline]
    pub unsafe fn free(&mut self, block: Block, class: SizeClass) -> bool {
        // SAFETY: in a pool of `class` by the caller's word.
        unsafe {
            let pool = G::pool_of(block.start(), class);
            let n = self.put(pool, class, &[Some(block)]);
            self.count_freed(class, n as u32);
            n == 1
        }
    }

    /// Puts back `blocks` up to the first that does not lie in `pool` or is known to be none that is out. Returns their
    /// number; counting them is left to [`Self::count_freed`].
    ///
    /// # Safety
    /// `pool` is this engine's and serves `class`, the first block lies in it, and none is used any more.
    #[inline(always)]
    pub unsafe fn put(&mut self, pool: NonNull<Pool>, class: SizeClass, blocks: &[Entry]) -> usize {
        // SAFETY: our pool by the caller's word.
        unsafe {
            debug_assert_eq!(pool.as_ref().class(), Some(class));
            let n = G::Free::put::<G>(pool, class, blocks);
            let live = pool.as_ref().live();
            let was_full = live + n as u32 == pool.as_ref().capacity();
            if n > 0 && (live == 0 || was_full) {
                self.moved(pool, class, was_full);
            }
            n
        }
    }

    /// Counts `n_blocks` of `class` that were put back.
    #[inline]
    pub fn count_freed(&mut self, class: SizeClass, n_blocks: u32) {
        self.counters.block_bytes -= u64::from(n_blocks) * class.block_bytes() as u64;
    }

    /// A pool left the full state, became empty, or (of one block) both.
    #[cold]
    #[inline(never)]
    unsafe fn moved(&mut self, pool: NonNull<Pool>, class: SizeClass, was_full: bool) {
        let ring = &mut self.rings[class.index()];
        // SAFETY: our pool; it is in its ring unless it was full (I1).
        unsafe {
            if pool.as_ref().live() > 0 {
                ring.push_front(pool);
                return;
            }
            if !was_full {
                ring.remove(pool);
            }
            self.emptied(pool, class);
        }
    }

    #[inline]
    fn pool_for(&mut self, class: SizeClass) -> Option<NonNull<Pool>> {
        match self.rings[class.index()].first() {
            Some(pool) => Some(pool),
            None => self.new_pool(class),
        }
    }

    #[inline]
    fn took(&mut self, pool: NonNull<Pool>, class: SizeClass, n_blocks: u32) {
        let counters = &mut self.counters;
        counters.block_bytes += u64::from(n_blocks) * class.block_bytes() as u64;
        counters.block_bytes_high = counters.block_bytes_high.max(counters.block_bytes);
        // SAFETY: our pool, and in its ring (I1).
        unsafe {
            if pool.as_ref().is_full() {
                self.rings[class.index()].remove(pool);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn new_pool(&mut self, class: SizeClass) -> Option<NonNull<Pool>> {
        let pool = if class.is_small() {
            self.small_pool(class)?
        } else {
            self.run(class)?
        };
        // SAFETY: an empty pool, on no list.
        unsafe {
            self.backing
                .label(G::memory(pool), class.span(), Some(class));
            self.rings[class.index()].push_front(pool);
        }
        Some(pool)
    }

    fn small_pool(&mut self, class: SizeClass) -> Option<NonNull<Pool>> {
        if self.usable.is_empty() {
            let arena = self.new_arena(false)?;
            // SAFETY: new, and nothing else is usable.
            unsafe { self.usable.start(arena) };
        }
        // SAFETY: our arenas; a pool taken is empty.
        unsafe {
            let mut pool = self.usable.take_pool::<G>()?;
            let arena = pool.as_ref().arena();
            let bit = runs::bits(G::index(pool), 1);
            let zeroed = arena.as_ref().zero & bit != 0;
            self.backing.took_pools(self.dirty.occupy(arena, bit));
            if !G::KEEPS_CHAIN || pool.as_ref().class() != Some(class) {
                pool.as_mut().format::<G>(class, zeroed);
            }
            Some(pool)
        }
    }

    fn run(&mut self, class: SizeClass) -> Option<NonNull<Pool>> {
        let span = class.span();
        // SAFETY: our arenas; `span` is a class's.
        let found = unsafe { self.runs.take::<G>(span) };
        let mut pool = match found {
            Some(found) => found,
            None => {
                let arena = self.new_arena(true)?;
                // SAFETY: new and wholly free, so any span fits.
                unsafe {
                    self.runs.start(arena);
                    self.runs.take::<G>(span)?
                }
            }
        };
        // SAFETY: an empty pool of ours.
        unsafe {
            let arena = pool.as_ref().arena();
            let mask = runs::bits(G::index(pool), span);
            let zeroed = arena.as_ref().zero & mask == mask;
            self.backing.took_pools(self.dirty.occupy(arena, mask));
            pool.as_mut().format::<G>(class, zeroed);
        }
        Some(pool)
    }

    /// A pool's last block came back.
    unsafe fn emptied(&mut self, pool: NonNull<Pool>, class: SizeClass) {
        // SAFETY: an empty pool of ours, on no list.
        unsafe {
            let span = class.span();
            let arena = pool.as_ref().arena();
            self.backing.label(G::memory(pool), span, None);
            let mask = runs::bits(G::index(pool), span);
            self.dirty.note(arena, mask);
            let returned = if class.is_small() {
                self.usable.put_pool(pool)
            } else {
                self.runs.put::<G>(pool, span)
            };
            if returned == Returned::Released {
                self.release(arena);
            }
        }
    }

    /// An arena that the other tier keeps wholly free, or one from the backing.
    fn new_arena(&mut self, for_runs: bool) -> Option<NonNull<Arena>> {
        // SAFETY: our arenas; what is taken out is wholly free, and on no list of its tier.
        unsafe {
            let spare = match for_runs {
                true => self.usable.take_unused(),
                false => self.runs.take_unused(),
            };
            if let Some(arena) = spare {
                Arena::convert::<G>(arena);
                return Some(arena);
            }
        }
        let memory = self.backing.obtain()?;
        // SAFETY: the backing hands over memory nobody uses.
        let mut arena = unsafe { Arena::init::<G>(&memory, for_runs) };
        // SAFETY: our arenas.
        unsafe {
            arena.as_mut().all_next = self.all;
            if let Some(mut next) = self.all {
                next.as_mut().all_prev = Some(arena);
            }
            self.all = Some(arena);
            if !memory.zeroed {
                let all = runs::bits(0, arena.as_ref().total as usize);
                self.dirty.note(arena, all);
            }
        }
        let counters = &mut self.counters;
        counters.arenas_now += 1;
        counters.arenas_total += 1;
        counters.arenas_high = counters.arenas_high.max(counters.arenas_now);
        Some(arena)
    }

    unsafe fn release(&mut self, arena: NonNull<Arena>) {
        // SAFETY: ours, wholly free and on no usable list.
        unsafe {
            unlink!(arena, all_next, all_prev, self.all);
            self.dirty.leave(arena);
            self.counters.arenas_now -= 1;
            self.backing.release(arena);
        }
    }

    /// Calls `f` on each arena and its pools' headers that are in use or were.
    pub fn for_each_pool(&self, mut f: impl FnMut(&Arena, &Pool)) {
        let mut next = self.all;
        while let Some(arena) = next {
            // SAFETY: our arenas; headers below `carved`, or of occupied slots, are written.
            unsafe {
                let arena_ref = arena.as_ref();
                if arena_ref.for_runs {
                    let (mut index, total) = (0, arena_ref.total as usize);
                    while index < total {
                        let pool = G::header(arena, index).as_ptr();
                        if arena_ref.free >> index & 1 == 1 {
                            index += 1;
                            continue;
                        }
                        f(arena_ref, &*pool);
                        index += (*pool).class().map_or(1, SizeClass::span);
                    }
                } else {
                    for index in 0..arena_ref.carved() as usize {
                        f(arena_ref, G::header(arena, index).as_ref());
                    }
                }
                next = arena_ref.all_next;
            }
        }
    }

    /// Calls `f` on each arena.
    pub fn for_each_arena(&self, mut f: impl FnMut(&Arena)) {
        let mut next = self.all;
        while let Some(arena) = next {
            // SAFETY: our arenas.
            unsafe {
                f(arena.as_ref());
                next = arena.as_ref().all_next;
            }
        }
    }

    /// Gives every arena back, live blocks or not.
    ///
    /// # Safety
    /// No block of this engine is used any more.
    pub unsafe fn release_all(&mut self) {
        self.rings = [Ring::EMPTY; SizeClass::COUNT];
        self.usable = Usable::EMPTY;
        self.runs = Runs::EMPTY;
        self.counters.block_bytes = 0;
        while let Some(arena) = self.all {
            // SAFETY: ours; the blocks are unused by the caller's word.
            unsafe {
                let (base, total) = (arena.as_ref().base(), arena.as_ref().total);
                let first = base.add(G::layout(base.addr().get()).0);
                self.backing.label(first, total as usize, None);
                let all = runs::bits(0, total as usize);
                self.dirty.note(arena, all & !arena.as_ref().zero);
                self.release(arena);
            }
        }
    }
}

impl<B: Backing> Engine<Production, B> {
    /// As [`Self::alloc`], with any free block of the pool, in an order nobody can guess. It is never known to
    /// read as zero.
    pub fn alloc_shuffled(&mut self, class: SizeClass, shuffle: Shuffle) -> Option<(Block, bool)> {
        let pool = self.pool_for(class)?;
        // SAFETY: pools in a ring are not full (I1).
        let block = unsafe { FreeBits::take_any(pool, class, shuffle) };
        self.took(pool, class, 1);
        Some((block, false))
    }
}
