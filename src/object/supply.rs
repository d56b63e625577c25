//! Where a heap's pools come from, and where they go.
//!
//! Arenas with free pools are in a list of usable ones, one for tracked types and one for the others; a pool is cut from the first of them that has enough
//! adjacent free pieces. An arena whose pools are all free goes back to the allocator, unless it is the only
//! usable one.

use super::arena::{ALL_POOLS, Arena, FIRST_POOL, TABLE_BYTES};
use super::heap::{Heap, Phase, bin_of};
use super::passes::words_of;
use super::pool::{Bin, PoolRef};
use super::type_info::TAIL_PREFIX;
use crate::global::object_memory;
use core::cell::Cell;
use core::ptr::NonNull;

impl Heap {
    /// An empty pool for a bin; `None` when memory is out.
    pub(super) fn new_pool(&self, bin: &Bin) -> Option<PoolRef> {
        let span = bin.span;
        let (arena, index) = self.find_run(span, bin.info.cyclic).or_else(|| {
            let (base, zeroed) = object_memory::obtain()?;
            // SAFETY: a slot of an arena's size that nobody uses.
            self.adopt(unsafe {
                Arena::init(base, NonNull::from(self), (false, zeroed, bin.info.cyclic))
            });
            self.find_run(span, bin.info.cyclic)
        })?;
        let free = &arena.header().free_pools;
        free.set(free.get() & !run(index, span));
        if free.get() == 0 {
            self.unlink_usable(arena);
        }
        let pool = arena.pool(index);
        pool.init(bin, span, bin.capacity());
        self.watch_new(pool);
        Some(pool)
    }

    /// Where `span` adjacent free pools are.
    fn find_run(&self, span: usize, tracked: bool) -> Option<(Arena, usize)> {
        let mut next = self.usable[usize::from(tracked)].get();
        while let Some(arena) = next {
            let free = arena.header().free_pools.get();
            let found = (FIRST_POOL..=64 - span).find(|at| free & run(*at, span) == run(*at, span));
            if let Some(index) = found {
                return Some((arena, index));
            }
            next = arena.header().next.get();
        }
        None
    }

    /// A pool that is an arena of its own, for one object of `bytes`.
    pub(super) fn huge_pool(&self, bin: &Bin, bytes: usize) -> Option<PoolRef> {
        let len = bytes.checked_add(TABLE_BYTES + TAIL_PREFIX)?;
        let base = object_memory::obtain_huge(len)?;
        // SAFETY: a huge block at a multiple of an arena's size.
        let arena =
            unsafe { Arena::init(base, NonNull::from(self), (true, false, bin.info.cyclic)) };
        self.link_newest(arena);
        let pool = arena.pool(FIRST_POOL);
        pool.init(bin, 0, 1);
        self.watch_new(pool);
        if bin.info.cyclic {
            self.list(pool, 0);
        }
        Some(pool)
    }

    fn adopt(&self, arena: Arena) {
        self.link_newest(arena);
        self.link_usable(arena);
    }

    fn link_newest(&self, arena: Arena) {
        let older = self.newest.replace(Some(arena));
        arena.header().older.set(older);
        if let Some(older) = older {
            older.header().newer.set(Some(arena));
        }
    }

    fn unlink_arena(&self, arena: Arena) {
        let (newer, older) = (arena.header().newer.get(), arena.header().older.get());
        match newer {
            Some(newer) => newer.header().older.set(older),
            None => self.newest.set(older),
        }
        if let Some(older) = older {
            older.header().newer.set(newer);
        }
    }

    fn usable_like(&self, arena: Arena) -> &Cell<Option<Arena>> {
        &self.usable[usize::from(arena.header().tracked.get())]
    }

    fn link_usable(&self, arena: Arena) {
        let first = self.usable_like(arena).replace(Some(arena));
        arena.header().prev.set(None);
        arena.header().next.set(first);
        if let Some(first) = first {
            first.header().prev.set(Some(arena));
        }
    }

    fn unlink_usable(&self, arena: Arena) {
        let (prev, next) = (arena.header().prev.get(), arena.header().next.get());
        match prev {
            Some(prev) => prev.header().next.set(next),
            None => self.usable_like(arena).set(next),
        }
        if let Some(next) = next {
            next.header().prev.set(prev);
        }
    }

    /// Gives an empty pool back to its arena, unless it is needed (I2) or the only one of its bin.
    pub fn give_back(&self, pool: PoolRef) {
        // A value being dropped has no bit, and its slot is taken still.
        debug_assert!(self.depth.get() > 0 || pool.live() == n_taken(pool));
        let listed = pool.listed[0].get() || pool.listed[1].get();
        let bin = bin_of(pool);
        if pool.live() > 0 {
            return;
        }
        if self.phase.get() != Phase::Idle {
            // A candidate is given back when the collection ends; others are looked for then.
            return self
                .left_behind
                .set(self.left_behind.get() || !pool.is_candidate.get());
        }
        if listed && !self.orphan.get() {
            // It is a candidate of the next collection of its list.
            return;
        }
        if listed {
            self.unlist(pool);
        }
        if bin.is_only(pool) && !self.orphan.get() && bin.span != 0 {
            return;
        }
        bin.unlink(pool);
        let arena = pool.arena();
        if arena.header().huge.get() {
            return self.release_arena(arena);
        }
        let free = &arena.header().free_pools;
        if free.get() == 0 {
            self.link_usable(arena);
        }
        free.set(free.get() | run(pool.index(), bin.span));
        let is_only =
            self.usable_like(arena).get() == Some(arena) && arena.header().next.get().is_none();
        if free.get() == ALL_POOLS && (!is_only || self.orphan.get()) {
            self.unlink_usable(arena);
            self.release_arena(arena);
        }
    }

    fn release_arena(&self, arena: Arena) {
        self.unlink_arena(arena);
        // SAFETY: no pool of it is used, and no list has it.
        unsafe { object_memory::release(arena.base(), arena.header().huge.get()) };
        if !self.frees_many.get() {
            object_memory::settle(false);
        }
        self.note_vacant();
    }

    /// Gives back the pools that a collection left empty, as `each` names them.
    pub fn give_back_many(&self, each: impl FnOnce(&Self)) {
        self.frees_many.set(true);
        each(self);
        self.tidy();
        self.frees_many.set(false);
        object_memory::settle(!self.orphan.get());
    }

    /// Gives back every empty pool, also those that bins keep.
    pub fn give_back_all(&self) {
        self.for_each_bin(Bin::let_go);
        for age in 0..2 {
            self.take_listed(age, |_| ());
        }
        self.left_behind.set(true);
        self.tidy();
        object_memory::settle(false);
        self.note_vacant();
    }

    fn note_vacant(&self) {
        if self.orphan.get() && self.newest.get().is_none() {
            self.vacant.set(true);
            self.afterwards.set(true);
        }
    }

    /// Gives back what could not be given back when it became empty.
    pub fn tidy(&self) {
        if self.left_behind.replace(false) {
            let mut empty = Vec::new();
            self.for_each_pool(|pool| {
                if pool.live() == 0 && empty.try_reserve(1).is_ok() {
                    empty.push(pool);
                }
            });
            empty.into_iter().for_each(|pool| self.give_back(pool));
        }
    }

    /// The heap's arenas, the newest first. None may go meanwhile.
    pub fn arenas(&self) -> impl Iterator<Item = Arena> {
        core::iter::successors(self.newest.get(), |arena| arena.header().older.get())
    }

    /// Calls `f` on each pool some bin has, the newest arena's last one first.
    pub fn for_each_pool(&self, mut f: impl FnMut(PoolRef)) {
        for arena in self.arenas() {
            let mut used = !arena.header().free_pools.get() & ALL_POOLS;
            if arena.header().huge.get() {
                used = 1 << FIRST_POOL;
            }
            while used != 0 {
                let last = 63 - used.leading_zeros() as usize;
                let pool = arena.pool(last).first_of_run();
                used &= !(!0 << pool.index());
                f(pool);
            }
        }
    }
}

/// Objects that have a bit in a pool.
fn n_taken(pool: PoolRef) -> u32 {
    let (first, words) = words_of(pool);
    (first..first + words)
        .map(|word| pool.arena().taken(word).count_ones())
        .sum()
}

/// The bits of `span` pools from `index` on.
const fn run(index: usize, span: usize) -> u64 {
    (!0 >> (64 - span)) << index
}
