//! Free pools that still hold memory: which, since when, and their way back to the system.
//!
//! Arenas with such pools stand in a queue, the one touched longest ago first. A purge takes from the
//! front, in steps its caller bounds, under the lock of the heap that owns the arenas.
//!
//! | bit of a pool | in `dirty` | in `zero` |
//! |---|---|---|
//! | in use | 0 | 0 |
//! | free, touched | 1 | 0 |
//! | free, never touched or purged | 0 | 1 |
//! | free, purge refused | 0 | 0 |
//!
//! Invariants:
//! * I1 an arena is in the queue if `dirty != 0`; one with `dirty == 0` may linger until it gets to the
//!   front.
//! * I2 `pools` = sum of the bits of `dirty` over the engine's arenas.
//! * I3 a purged pool has no class: it is formatted anew before it is used.

use super::arena::{Arena, unlink};
use super::geometry::{Geometry, Production};
use super::runs::bits;
use super::size_class::{ARENA_BYTES, POOL_BYTES};
use core::ptr::NonNull;

/// The queue of arenas with dirty pools.
pub struct Dirty {
    first: Option<NonNull<Arena>>,
    last: Option<NonNull<Arena>>,
    pools: u64,
    purged: u64,
    /// Now, in ticks of whoever purges by age: stamps pools as they come free.
    pub epoch: u32,
}

impl Dirty {
    /// Nothing dirty.
    pub const EMPTY: Self = Self {
        first: None,
        last: None,
        pools: 0,
        purged: 0,
        epoch: 0,
    };

    /// Free pools that hold memory.
    pub fn pools(&self) -> u64 {
        self.pools
    }

    /// Pools purged ever.
    pub fn purged(&self) -> u64 {
        self.purged
    }

    /// Notes that the pools of `mask` came free with memory in them.
    ///
    /// # Safety
    /// The arena is the engine's, and its pools of `mask` were not dirty.
    pub(super) unsafe fn note(&mut self, mut arena: NonNull<Arena>, mask: u64) {
        // SAFETY: ours.
        unsafe {
            let fresh = mask & !arena.as_ref().dirty;
            arena.as_mut().dirty |= fresh;
            self.pools += u64::from(fresh.count_ones());
            if self.last != Some(arena) {
                self.dequeue(arena);
                self.enqueue(arena);
            }
            arena.as_mut().stamp = self.epoch;
        }
    }

    /// Notes that the free pools of `mask` are used from now on. The number of those that were never touched, or
    /// purged.
    ///
    /// # Safety
    /// The arena is the engine's.
    pub(super) unsafe fn occupy(&mut self, mut arena: NonNull<Arena>, mask: u64) -> usize {
        // SAFETY: ours.
        let arena = unsafe { arena.as_mut() };
        self.pools -= u64::from((arena.dirty & mask).count_ones());
        let n_fresh = (arena.zero & mask).count_ones() as usize;
        arena.dirty &= !mask;
        arena.zero &= !mask;
        n_fresh
    }

    /// Forgets an arena that leaves the engine.
    ///
    /// # Safety
    /// The arena is the engine's.
    pub(super) unsafe fn leave(&mut self, arena: NonNull<Arena>) {
        // SAFETY: ours.
        unsafe {
            self.pools -= u64::from(arena.as_ref().dirty.count_ones());
            self.dequeue(arena);
        }
    }

    unsafe fn enqueue(&mut self, mut arena: NonNull<Arena>) {
        // SAFETY: ours, and not in the queue.
        unsafe {
            let this = arena.as_mut();
            this.on_dirty_list = true;
            this.dirty_next = None;
            this.dirty_prev = self.last;
            match self.last {
                Some(mut last) => last.as_mut().dirty_next = Some(arena),
                None => self.first = Some(arena),
            }
        }
        self.last = Some(arena);
    }

    unsafe fn dequeue(&mut self, mut arena: NonNull<Arena>) {
        // SAFETY: ours.
        unsafe {
            if !arena.as_ref().on_dirty_list {
                return;
            }
            if self.last == Some(arena) {
                self.last = arena.as_ref().dirty_prev;
            }
            unlink!(arena, dirty_next, dirty_prev, self.first);
            arena.as_mut().on_dirty_list = false;
        }
    }

    /// Purges pools that came free at or before epoch `until`, oldest arenas first, until `n_pools`
    /// are done or none is left. `page` is the system's page size; `purge` gives a range back and says
    /// whether it reads as zero now. Returns the number of pools purged.
    ///
    /// # Safety
    /// The engine's geometry is [`Production`], and its lock is held.
    pub unsafe fn purge(
        &mut self,
        until: u32,
        n_pools: u64,
        page: usize,
        mut purge: impl FnMut(NonNull<u8>, usize) -> bool,
    ) -> u64 {
        let mut done = 0;
        while done < n_pools {
            let Some(arena) = self.first else { break };
            // SAFETY: ours; every dirty pool is free.
            unsafe {
                // Wrapping: epochs are compared as distances.
                let age = until.wrapping_sub(arena.as_ref().stamp) as i32;
                if arena.as_ref().dirty != 0 && age < 0 {
                    break;
                }
                done += self.purge_arena(arena, page, &mut purge);
                self.dequeue(arena);
            }
        }
        done
    }

    unsafe fn purge_arena(
        &mut self,
        mut this: NonNull<Arena>,
        page: usize,
        purge: &mut impl FnMut(NonNull<u8>, usize) -> bool,
    ) -> u64 {
        // SAFETY: ours.
        let arena = unsafe { this.as_mut() };
        // A page may span several pools: only whole pages of dirty or zero pools can go.
        let group = (page / POOL_BYTES).max(1);
        let slots = (arena.dirty | arena.zero) << 1;
        let mut whole = 0;
        for first in (0..ARENA_BYTES / POOL_BYTES).step_by(group) {
            let mask = bits(first, group);
            if slots & mask == mask {
                whole |= mask;
            }
        }
        let free = (slots & whole) >> 1;
        let mut rest = arena.dirty & free;
        let n_done = rest.count_ones();
        self.pools -= u64::from(arena.dirty.count_ones());
        self.purged += u64::from(n_done);
        arena.dirty = 0;
        while rest != 0 {
            let index = rest.trailing_zeros() as usize;
            // Purged pools between dirty ones go again: that costs less than another call.
            let adjacent = rest & bits(index, (free >> index).trailing_ones() as usize);
            let span = 64 - adjacent.leading_zeros() as usize - index;
            rest &= !adjacent;
            // SAFETY: dirty pools and zero ones are free, so nothing in them is used.
            unsafe {
                let start = arena.base().add((index + 1) * POOL_BYTES);
                if purge(start, span * POOL_BYTES) {
                    arena.zero |= bits(index, span);
                }
                if !arena.for_runs {
                    for k in index..(index + span).min(arena.carved() as usize) {
                        Production::header(this, k).as_mut().forget();
                    }
                }
            }
        }
        u64::from(n_done)
    }
}
