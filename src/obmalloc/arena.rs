//! Arenas of pools: which one gives the next pool, and when one goes back.
//!
//! | arena | condition | on which list |
//! |---|---|---|
//! | usable | `available >= 1` | `usable`, sorted by `available` ascending |
//! | spent | `available == 0` | none but `all` |
//! | released | wholly free, with a right neighbour in `usable` | none: it is its backing's again |
//!
//! Invariants (spec/obmalloc.md section 5; CPython 3.11 `arena_map`-independent part of obmalloc.c):
//! * I1 `available` = pools on the free stack + pools never carved.
//! * I2 `last[k]` is the rightmost usable arena with `available == k`, or none.
//! * I3 pools come from the head of `usable`, the fullest arena; its stack first, then carving upwards.
//! * I4 the last usable arena is never released, even when wholly free.
//!
//! Callers: the engine, under the lock of the heap that owns it.

use super::geometry::Geometry;
use super::pool::{FreePools, Pool};
use super::size_class::ARENA_POOLS;
use core::ptr::NonNull;

/// An arena's descriptor.
#[repr(C)]
pub struct Arena {
    base: NonNull<u8>,
    /// The heap that owns the arena: an address its creator chose, 0 for none. Constant while mapped.
    home: usize,
    /// Neighbours in the list of all arenas of the engine.
    pub(super) all_next: Option<NonNull<Arena>>,
    pub(super) all_prev: Option<NonNull<Arena>>,
    /// Neighbours in `usable` (small) or in a bucket (runs).
    pub(super) next: Option<NonNull<Arena>>,
    pub(super) prev: Option<NonNull<Arena>>,
    /// Neighbours in the list of arenas with dirty free pools, oldest first.
    pub(super) dirty_next: Option<NonNull<Arena>>,
    pub(super) dirty_prev: Option<NonNull<Arena>>,
    free_pools: FreePools,
    /// Pools that can be taken, of how many, and how many were ever carved.
    pub(super) available: u32,
    pub(super) total: u32,
    carved: u32,
    /// Whether this arena is cut into runs, not into pools of one slot.
    pub(super) for_runs: bool,
    pub(super) on_dirty_list: bool,
    /// When the newest of its dirty pools came free, in purge epochs.
    pub(super) stamp: u32,
    /// Bit per pool: free (kept for runs), free and touched since it was last zero, known to be zero.
    pub(super) free: u64,
    pub(super) dirty: u64,
    pub(super) zero: u64,
}

/// Memory for one arena, as its backing hands it over.
pub struct ArenaMemory {
    /// First byte of the mapping.
    pub base: NonNull<u8>,
    /// Where the descriptor goes.
    pub descriptor: NonNull<Arena>,
    /// Owner to be named in the descriptor.
    pub home: usize,
    /// Whether the pools' memory is known to read as zero.
    pub zeroed: bool,
}

impl Arena {
    /// Writes the descriptor of an arena with all its pools free.
    ///
    /// # Safety
    /// `memory` is an arena's mapping that nobody else uses.
    pub unsafe fn init<G: Geometry>(memory: &ArenaMemory, for_runs: bool) -> NonNull<Arena> {
        let (pools, mask) = Self::pools::<G>(memory.base, for_runs);
        let value = Self {
            base: memory.base,
            home: memory.home,
            all_next: None,
            all_prev: None,
            next: None,
            prev: None,
            dirty_next: None,
            dirty_prev: None,
            free_pools: FreePools::EMPTY,
            available: pools as u32,
            total: pools as u32,
            carved: 0,
            for_runs,
            on_dirty_list: false,
            stamp: 0,
            free: mask,
            dirty: 0,
            zero: if memory.zeroed { mask } else { 0 },
        };
        // SAFETY: unused by the caller's word.
        unsafe { memory.descriptor.write(value) };
        // Of runs the headers alone know what is out.
        if !memory.zeroed && !for_runs {
            // SAFETY: as above.
            unsafe { G::clear(memory.descriptor) };
        }
        memory.descriptor
    }

    /// The number of pools that can be used, and a bit for each.
    fn pools<G: Geometry>(base: NonNull<u8>, for_runs: bool) -> (usize, u64) {
        let (_, all) = G::layout(base.addr().get());
        // Runs end before the last pool: see `geometry.rs`.
        let pools = all - usize::from(for_runs);
        (pools, u64::MAX >> (64 - pools))
    }

    /// Turns a wholly free arena of pools into one of runs, or back. What is known of its memory stays.
    ///
    /// # Safety
    /// It is on no list but that of all arenas and that of dirty ones, and all its pools are free.
    pub(super) unsafe fn convert<G: Geometry>(mut this: NonNull<Arena>) {
        // SAFETY: ours under the heap's lock.
        let arena = unsafe { this.as_mut() };
        debug_assert!(arena.is_unused());
        let for_runs = !arena.for_runs;
        let (pools, mask) = Self::pools::<G>(arena.base, for_runs);
        arena.next = None;
        arena.prev = None;
        arena.free_pools = FreePools::EMPTY;
        arena.available = pools as u32;
        arena.total = pools as u32;
        arena.carved = 0;
        arena.for_runs = for_runs;
        arena.free = mask;
        if !for_runs {
            // Whatever was in the slot before it served runs.
            // SAFETY: ours, and no block of it is out.
            unsafe { G::clear(this) };
        }
    }

    /// First byte of the mapping.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The owner named when it was mapped.
    #[inline]
    pub fn home(&self) -> usize {
        self.home
    }

    /// Pools that can be taken.
    pub fn available(&self) -> u32 {
        self.available
    }

    /// Pools that were ever taken since the arena was obtained: slots `0..carved` have a header.
    pub fn carved(&self) -> u32 {
        self.carved
    }

    /// Bits of the pools that are free and hold memory.
    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// Whether no pool is in use.
    pub fn is_unused(&self) -> bool {
        self.available == self.total
    }
}

/// A doubly linked list through one pair of fields; what both arena lists are made of.
macro_rules! unlink {
    ($arena:expr, $next:ident, $prev:ident, $first:expr) => {{
        let (next, prev) = ($arena.as_ref().$next, $arena.as_ref().$prev);
        match prev {
            Some(mut prev) => prev.as_mut().$next = next,
            None => $first = next,
        }
        if let Some(mut next) = next {
            next.as_mut().$prev = prev;
        }
    }};
}
pub(super) use unlink;

/// The usable arenas of one engine.
pub struct Usable {
    first: Option<NonNull<Arena>>,
    /// CPython 3.8+: `nfp2lasta`.
    last: [Option<NonNull<Arena>>; ARENA_POOLS + 1],
}

/// What became of an arena that got a pool back.
#[derive(PartialEq, Eq, Debug)]
pub enum Returned {
    /// It stays.
    Kept,
    /// It is wholly free, unlinked, and to be given back.
    Released,
}

impl Usable {
    /// No arenas.
    pub const EMPTY: Self = Self {
        first: None,
        last: [None; ARENA_POOLS + 1],
    };

    /// Whether a pool can be had without a new arena.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds a new arena, the only one there.
    ///
    /// # Safety
    /// The arena is on no list, and this list is empty.
    pub unsafe fn start(&mut self, arena: NonNull<Arena>) {
        debug_assert!(self.is_empty());
        self.first = Some(arena);
        // SAFETY: ours under the heap's lock.
        self.last[unsafe { arena.as_ref() }.available as usize] = Some(arena);
    }

    /// Takes out a wholly free arena, if there is one: it is the last.
    ///
    /// # Safety
    /// All arenas here are mapped and ours.
    pub unsafe fn take_unused(&mut self) -> Option<NonNull<Arena>> {
        // SAFETY: ours under the heap's lock; so is its neighbour.
        unsafe {
            let this = self.last.iter().rev().find_map(|last| *last)?;
            if !this.as_ref().is_unused() {
                return None;
            }
            let k = this.as_ref().available;
            let left = this.as_ref().prev;
            self.last[k as usize] = left.filter(|left| left.as_ref().available == k);
            unlink!(this, next, prev, self.first);
            Some(this)
        }
    }

    /// Takes a pool from the fullest arena (section 5.2). The pool's class tells whether its free chain
    /// is still good.
    ///
    /// # Safety
    /// All arenas here are mapped and ours.
    pub unsafe fn take_pool<G: Geometry>(&mut self) -> Option<NonNull<Pool>> {
        let mut head = self.first?;
        // SAFETY: ours under the heap's lock.
        let arena = unsafe { head.as_mut() };
        let k = arena.available as usize;
        if self.last[k] == Some(head) {
            self.last[k] = None;
        }
        if k > 1 {
            // It keeps the head: its count only got smaller.
            self.last[k - 1] = Some(head);
        }
        arena.available -= 1;
        let pool = match arena.free_pools.pop() {
            Some(pool) => pool,
            None => {
                // SAFETY: I1: nothing on the stack and `available` was at least 1.
                let pool = unsafe { G::header(head, arena.carved as usize) };
                arena.carved += 1;
                // SAFETY: a header's place, never used since the arena was obtained.
                unsafe { Pool::init(pool, head) };
                pool
            }
        };
        if arena.available == 0 {
            self.first = arena.next;
            if let Some(mut next) = arena.next {
                // SAFETY: as above.
                unsafe { next.as_mut().prev = None };
            }
            arena.next = None;
        }
        Some(pool)
    }

    /// Puts an empty pool back (section 5.3: rules A, B, C in this order).
    ///
    /// # Safety
    /// The pool is empty, on no list, and its arena one of ours.
    pub unsafe fn put_pool(&mut self, pool: NonNull<Pool>) -> Returned {
        // SAFETY: ours under the heap's lock; so are the neighbours below.
        unsafe {
            let mut this = pool.as_ref().arena();
            let arena = this.as_mut();
            arena.free_pools.push(pool);
            let k = arena.available as usize;
            arena.available += 1;
            let was_last = k > 0 && self.last[k] == Some(this);
            if was_last {
                self.last[k] = arena
                    .prev
                    .filter(|left| left.as_ref().available as usize == k);
            }
            if arena.is_unused() && arena.next.is_some() {
                unlink!(this, next, prev, self.first);
                return Returned::Released;
            }
            if k == 0 {
                arena.prev = None;
                arena.next = self.first;
                if let Some(mut next) = self.first {
                    next.as_mut().prev = Some(this);
                }
                self.first = Some(this);
                self.last[1].get_or_insert(this);
                return Returned::Kept;
            }
            self.last[k + 1].get_or_insert(this);
            if !was_last {
                // Some other arena ends the group with k: move to just behind it.
                let mut end =
                    self.last[k].expect("a group that another arena ends has an end (I2)");
                unlink!(this, next, prev, self.first);
                let next = end.as_ref().next;
                arena.prev = Some(end);
                arena.next = next;
                end.as_mut().next = Some(this);
                if let Some(mut next) = next {
                    next.as_mut().prev = Some(this);
                }
            }
            Returned::Kept
        }
    }
}
