//! Arenas cut into runs of adjacent pools, for classes above 512 bytes.
//!
//! CPython has no such tier: it asks the raw domain. The arenas are obmalloc's, one bit per pool says
//! which are free, and an arena is found by the length of its longest free run:
//!
//! ```text
//! bucket[k]: arenas whose longest run of free pools is k      index: bit k set = bucket[k] not empty
//! ```
//!
//! Its last pool is part of no run (`geometry.rs`).
//!
//! Invariants:
//! * I1 an arena is in `bucket[longest(free)]`, or in none when nothing is free.
//! * I2 `available` is the number of bits in `free`.
//! * I3 at most one wholly free arena is kept; a second one is released.
//!
//! Callers: the engine, under the lock of the heap that owns it.

use super::arena::{Arena, Returned, unlink};
use super::geometry::Geometry;
use super::pool::Pool;
use super::size_class::ARENA_POOLS;
use core::ptr::NonNull;

/// The run arenas of one engine.
pub struct Runs {
    buckets: [Option<NonNull<Arena>>; ARENA_POOLS],
    index: u64,
    unused: u32,
}

/// Length of the longest run of set bits.
fn longest(free: u64) -> usize {
    let mut rest = free;
    let mut length = 0;
    while rest != 0 {
        rest &= rest << 1;
        length += 1;
    }
    length
}

/// Lowest bit at which `span` set bits begin.
fn find(free: u64, span: usize) -> Option<usize> {
    let mut starts = free;
    let mut have = 1;
    while have < span {
        let step = have.min(span - have);
        starts &= starts >> step;
        have += step;
    }
    (starts != 0).then(|| starts.trailing_zeros() as usize)
}

/// The `span` bits from `index` on.
pub(super) fn bits(index: usize, span: usize) -> u64 {
    (u64::MAX >> (64 - span)) << index
}

impl Runs {
    /// No arenas.
    pub const EMPTY: Self = Self {
        buckets: [None; ARENA_POOLS],
        index: 0,
        unused: 0,
    };

    /// Adds an arena that is wholly free.
    ///
    /// # Safety
    /// The arena is on no list and stays mapped until released.
    pub unsafe fn start(&mut self, arena: NonNull<Arena>) {
        self.unused += 1;
        // SAFETY: passed on.
        unsafe { self.insert(arena) };
    }

    unsafe fn insert(&mut self, mut this: NonNull<Arena>) {
        // SAFETY: arenas here are ours under the heap's lock.
        unsafe {
            let arena = this.as_mut();
            let k = longest(arena.free);
            if k == 0 {
                return;
            }
            arena.prev = None;
            arena.next = self.buckets[k];
            if let Some(mut next) = arena.next {
                next.as_mut().prev = Some(this);
            }
            self.buckets[k] = Some(this);
            self.index |= 1 << k;
        }
    }

    unsafe fn remove(&mut self, this: NonNull<Arena>) {
        // SAFETY: arenas here are ours under the heap's lock.
        unsafe {
            let k = longest(this.as_ref().free);
            if k == 0 {
                return;
            }
            unlink!(this, next, prev, self.buckets[k]);
            if self.buckets[k].is_none() {
                self.index &= !(1 << k);
            }
        }
    }

    /// Takes out a wholly free arena, if there is one.
    ///
    /// # Safety
    /// All arenas here are mapped and ours.
    pub unsafe fn take_unused(&mut self) -> Option<NonNull<Arena>> {
        // SAFETY: ours under the heap's lock.
        unsafe {
            let this = self.buckets.iter().rev().find_map(|first| *first)?;
            if !this.as_ref().is_unused() {
                return None;
            }
            self.unused -= 1;
            self.remove(this);
            Some(this)
        }
    }

    /// Takes a run of `span` pools from the arena whose longest run is the shortest that fits. The pool
    /// has no class yet.
    ///
    /// # Safety
    /// All arenas here are mapped and ours; `span` is at most [`super::size_class::MAX_SPAN`].
    pub unsafe fn take<G: Geometry>(&mut self, span: usize) -> Option<NonNull<Pool>> {
        let fitting = self.index & (u64::MAX << span);
        if fitting == 0 {
            return None;
        }
        // SAFETY: ours under the heap's lock; the slots found free have headers.
        unsafe {
            let mut this = self.buckets[fitting.trailing_zeros() as usize]?;
            self.unused -= u32::from(this.as_ref().is_unused());
            self.remove(this);
            let arena = this.as_mut();
            let index = find(arena.free, span)?;
            let mask = bits(index, span);
            arena.free &= !mask;
            arena.available -= span as u32;
            self.insert(this);
            for lead in 0..span {
                let mut slot = G::header(this, index + lead);
                Pool::init(slot, this);
                slot.as_mut().follow(lead);
            }
            Some(G::header(this, index))
        }
    }

    /// Puts the run that begins at `pool` back.
    ///
    /// # Safety
    /// The pool is empty, on no list, `span` pools long, and its arena one of ours.
    pub unsafe fn put<G: Geometry>(&mut self, pool: NonNull<Pool>, span: usize) -> Returned {
        // SAFETY: ours under the heap's lock.
        unsafe {
            let mut this = pool.as_ref().arena();
            self.remove(this);
            let arena = this.as_mut();
            arena.free |= bits(G::index(pool), span);
            arena.available += span as u32;
            if arena.is_unused() {
                if self.unused > 0 {
                    return Returned::Released;
                }
                self.unused += 1;
            }
            self.insert(this);
            Returned::Kept
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_where_a_naive_search_finds_them() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let free = seed & seed.rotate_left(17) | seed.rotate_left(31) & seed.rotate_left(5);
            let run_at = |at: usize| (at..64).take_while(|&b| free >> b & 1 == 1).count();
            assert_eq!(longest(free), (0..64).map(run_at).max().unwrap());
            for span in 1..=16 {
                assert_eq!(find(free, span), (0..64).find(|&at| run_at(at) >= span));
            }
        }
    }
}
