//! The object heap of one thread: bins, arenas, counts.
//!
//! ```text
//! type and class -> cache (64 entries) -> bin -> current pool -> free slot
//!                                          |         ^ refill: bitmaps, carve
//!                                          +-> next used pool -> new pool from an arena with room
//!                                                                   -> new arena from the allocator's extents
//! ```
//!
//! A heap is used by the thread that made it, and by no other: nothing in it is atomic, and handles are not
//! `Send`. It lives as long as it has objects, also when its thread's locals are gone (see [`Heap::orphan`]).
//!
//! The collector stands above this layer. It fills `on_limit` and `upper`, and everything here works without.
//!
//! Invariants:
//! * I1 each arena of the heap is in `arenas`; it is in the list of usable ones exactly if it has free pools.
//! * I2 each pool with young (middle) objects is in the list `listed[0]` (`listed[1]`); a pool in a list, or
//!   any pool while `phase` is not idle, is not given back to its arena.
//! * I3 no borrow of a `RefCell` here is held across a call to user code.

use super::arena::{ALL_POOLS, Arena, FIRST_POOL, TABLE_BYTES};
use super::header::{Raw, flags, new_header};
use super::pool::{Bin, Pool, PoolRef};
use super::type_info::{TAIL_PREFIX, TypeInfo};
use super::unraisable::UnraisableHook;
use super::weak::WeakMap;
use crate::global::object_memory;
use crate::obmalloc::size_class::SizeClass;
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;

/// Entries of the cache of bins.
const CACHE: usize = 64;

/// What the heap's thread is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// A collection.
    Collecting,
    /// A collection that drops the dead set's values: handles to members only count.
    TearingDown,
}

/// One entry of the cache.
struct CacheEntry {
    key: Cell<usize>,
    bin: Cell<Option<NonNull<Bin>>>,
}

/// A heap; see the module.
pub struct Heap {
    cache: [CacheEntry; CACHE],
    /// Allocations less deallocations of tracked types since the last collection: `gc.get_count()[0]`.
    pub count: Cell<u32>,
    /// Above this many an allocation calls `on_limit`.
    pub limit: Cell<u32>,
    /// See [`Phase`].
    pub phase: Cell<Phase>,
    /// Values being dropped, one inside the other.
    pub depth: Cell<u32>,
    /// Whether the queue is being emptied.
    pub draining: Cell<bool>,
    /// Dead objects whose turn comes when the stack is flat again.
    pub queue: RefCell<Vec<Raw>>,
    /// Weak references by the address of what they refer to.
    pub weak: RefCell<WeakMap>,
    bins: RefCell<Vec<NonNull<Bin>>>,
    types: RefCell<Vec<&'static TypeInfo>>,
    arenas: RefCell<Vec<Arena>>,
    usable: Cell<Option<Arena>>,
    /// Whether some empty pool could not be given back when it became empty.
    pub left_behind: Cell<bool>,
    listed: [Cell<Option<PoolRef>>; 2],
    /// Whether its thread let go of it.
    pub orphan: Cell<bool>,
    /// Whether it is an orphan without arenas.
    pub vacant: Cell<bool>,
    /// Called before an allocation that exceeds the limit.
    pub on_limit: Cell<fn(&Heap)>,
    /// Called when an orphan's last object is gone.
    pub on_empty: Cell<fn(&Heap)>,
    /// Called with panics nobody can catch.
    pub hook: Cell<Option<UnraisableHook>>,
    /// The upper layer's own.
    pub upper: Cell<Option<NonNull<()>>>,
    empty: Box<Pool>,
}

impl Heap {
    /// A heap without memory.
    pub fn new(on_limit: fn(&Heap), on_empty: fn(&Heap)) -> Self {
        let no_entry = || CacheEntry {
            key: Cell::new(0),
            bin: Cell::new(None),
        };
        Self {
            cache: core::array::from_fn(|_| no_entry()),
            count: Cell::new(0),
            limit: Cell::new(u32::MAX),
            phase: Cell::new(Phase::Idle),
            depth: Cell::new(0),
            draining: Cell::new(false),
            queue: RefCell::default(),
            weak: RefCell::default(),
            bins: RefCell::default(),
            types: RefCell::default(),
            arenas: RefCell::default(),
            usable: Cell::new(None),
            left_behind: Cell::new(false),
            listed: [const { Cell::new(None) }; 2],
            orphan: Cell::new(false),
            vacant: Cell::new(false),
            on_limit: Cell::new(on_limit),
            on_empty: Cell::new(on_empty),
            hook: Cell::new(None),
            upper: Cell::new(None),
            empty: Box::new(Pool::empty()),
        }
    }

    fn empty_pool(&self) -> PoolRef {
        // SAFETY: the heap's empty pool, at a fixed address for the heap's life.
        unsafe { PoolRef::new(NonNull::from(&*self.empty)) }
    }

    /// A slot for an object of `info` in `class`, with the header of a new object and no bit set; `None`
    /// when memory is out.
    #[inline(always)]
    pub fn take(&self, info: &'static TypeInfo, class: SizeClass) -> Option<Raw> {
        let key = (&raw const *info).addr() + class.index();
        let entry = &self.cache[cache_index(key)];
        if entry.key.get() == key
            && let Some(bin) = entry.bin.get()
        {
            // SAFETY: bins live as long as the heap.
            let bin = unsafe { bin.as_ref() };
            if let Some(object) = bin.current.get().take() {
                object.write_header(bin.header);
                return Some(object);
            }
        }
        self.take_slow(info, Some(class), 0)
    }

    /// As [`Self::take`], where the fast way ends; `None` and the bytes of the value for an object that takes
    /// an arena of its own.
    #[cold]
    #[inline(never)]
    pub fn take_slow(
        &self,
        info: &'static TypeInfo,
        class: Option<SizeClass>,
        bytes: usize,
    ) -> Option<Raw> {
        let bin = self.bin(info, class);
        if bin.span == 0 {
            let pool = self.huge_pool(bin, bytes)?;
            let object = pool.refill().then(|| pool.take()).flatten()?;
            object.write_header(bin.header);
            return Some(object);
        }
        loop {
            let pool = bin.current.get();
            if let Some(object) = pool.take() {
                if info.cyclic {
                    self.list(pool, 0);
                }
                object.write_header(bin.header);
                return Some(object);
            }
            if pool.refill() {
                continue;
            }
            if bin.has_current() {
                bin.unlink(pool);
                continue;
            }
            bin.link(self.new_pool(bin)?);
        }
    }

    fn bin(&self, info: &'static TypeInfo, class: Option<SizeClass>) -> &Bin {
        let class_index = class.map_or(SizeClass::COUNT, SizeClass::index);
        let key = (&raw const *info).addr() + class_index;
        let known = |bin: &&NonNull<Bin>| {
            // SAFETY: bins live as long as the heap.
            unsafe { bin.as_ref() }.key == key
        };
        let found = self.bins.borrow().iter().find(known).copied();
        let bin = found.unwrap_or_else(|| {
            let header = new_header(self.type_index(info));
            let shape = class.map_or((0, 0), |class| (class.block_bytes(), class.span()));
            let bin = Box::new(Bin::new(info, key, header, shape, self.empty_pool()));
            let bin = NonNull::from(Box::leak(bin));
            self.bins.borrow_mut().push(bin);
            bin
        });
        let entry = &self.cache[cache_index(key)];
        entry.key.set(key);
        entry.bin.set(Some(bin));
        // SAFETY: bins live as long as the heap.
        unsafe { bin.as_ref() }
    }

    fn type_index(&self, info: &'static TypeInfo) -> usize {
        let mut types = self.types.borrow_mut();
        let known = types.iter().position(|known| core::ptr::eq(*known, info));
        known.unwrap_or_else(|| {
            assert!(types.len() < flags::TYPES, "a million types in one heap");
            types.push(info);
            types.len() - 1
        })
    }

    /// The heap's types, by index.
    pub fn types(&self) -> Vec<&'static TypeInfo> {
        self.types.borrow().clone()
    }

    fn new_pool(&self, bin: &Bin) -> Option<PoolRef> {
        let span = bin.span;
        let (arena, index) = self.find_run(span).or_else(|| {
            let base = object_memory::obtain()?;
            // SAFETY: a slot of an arena's size that nobody uses.
            self.adopt(unsafe { Arena::init(base, NonNull::from(self), false) });
            self.find_run(span)
        })?;
        let free = &arena.header().free_pools;
        free.set(free.get() & !run(index, span));
        if free.get() == 0 {
            self.unlink_usable(arena);
        }
        let pool = arena.pool(index);
        pool.init(bin, span, bin.capacity());
        Some(pool)
    }

    /// Where `span` adjacent free pools are.
    fn find_run(&self, span: usize) -> Option<(Arena, usize)> {
        let mut next = self.usable.get();
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

    fn huge_pool(&self, bin: &Bin, bytes: usize) -> Option<PoolRef> {
        let len = bytes.checked_add(TABLE_BYTES + TAIL_PREFIX)?;
        let base = object_memory::obtain_huge(len)?;
        // SAFETY: a huge block at a multiple of an arena's size.
        let arena = unsafe { Arena::init(base, NonNull::from(self), true) };
        self.arenas.borrow_mut().push(arena);
        let pool = arena.pool(FIRST_POOL);
        pool.init(bin, 0, 1);
        if bin.info.cyclic {
            self.list(pool, 0);
        }
        Some(pool)
    }

    fn adopt(&self, arena: Arena) {
        self.arenas.borrow_mut().push(arena);
        self.link_usable(arena);
    }

    fn link_usable(&self, arena: Arena) {
        let first = self.usable.replace(Some(arena));
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
            None => self.usable.set(next),
        }
        if let Some(next) = next {
            next.header().prev.set(prev);
        }
    }

    /// Frees a slot whose bit is cleared.
    #[inline]
    pub fn free(&self, pool: PoolRef, object: Raw) {
        let was_full = pool.is_full();
        pool.put(object);
        if was_full || pool.live.get() == 0 {
            self.moved(pool);
        }
    }

    /// Notes that `n` slots of a pool, which held dead objects, have no bit any more.
    pub fn free_many(&self, pool: PoolRef, n: u32) {
        pool.live.set(pool.live.get() - n);
        self.moved(pool);
    }

    /// A pool left the full state, or became empty.
    #[cold]
    #[inline(never)]
    fn moved(&self, pool: PoolRef) {
        let bin = bin_of(pool);
        if bin.span == 0 {
            // Its memory is not for another size.
            self.unlist(pool);
        } else if !bin.is_linked(pool) {
            bin.link_second(pool);
        }
        self.give_back(pool);
        self.end_if_vacant();
    }

    /// Ends an orphan whose last object is gone. The last thing done with a heap: it may be gone after it.
    #[inline]
    pub fn end_if_vacant(&self) {
        if self.vacant.get() && self.depth.get() == 0 && self.phase.get() == Phase::Idle {
            (self.on_empty.get())(self);
        }
    }

    /// Takes one pool out of the lists of pools with young and middle objects.
    fn unlist(&self, pool: PoolRef) {
        for age in 0..2 {
            if !pool.listed[age].get() {
                continue;
            }
            let mut kept = None;
            self.take_listed(age, |other| {
                if other != pool {
                    other.next_listed[age].set(kept);
                    kept = Some(other);
                }
            });
            while let Some(other) = kept {
                kept = other.next_listed[age].take();
                self.list(other, age);
            }
        }
    }

    /// Gives an empty pool back to its arena, unless it is needed (I2) or the only one of its bin.
    pub fn give_back(&self, pool: PoolRef) {
        let listed = pool.listed[0].get() || pool.listed[1].get();
        let bin = bin_of(pool);
        if pool.live.get() > 0 {
            return;
        }
        if listed || self.phase.get() != Phase::Idle {
            return self.left_behind.set(true);
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
        let is_only = self.usable.get() == Some(arena) && arena.header().next.get().is_none();
        if free.get() == ALL_POOLS && (!is_only || self.orphan.get()) {
            self.unlink_usable(arena);
            self.release_arena(arena);
        }
    }

    fn release_arena(&self, arena: Arena) {
        self.arenas.borrow_mut().retain(|known| *known != arena);
        // SAFETY: no pool of it is used, and no list has it.
        unsafe { object_memory::release(arena.base(), arena.header().huge.get()) };
        self.vacant
            .set(self.orphan.get() && self.arenas.borrow().is_empty());
    }

    /// Puts a pool into the list of those with objects of generation `age`.
    pub fn list(&self, pool: PoolRef, age: usize) {
        if !pool.listed[age].replace(true) {
            pool.next_listed[age].set(self.listed[age].get());
            self.listed[age].set(Some(pool));
        }
    }

    /// Takes all pools out of that list, and calls `f` on each.
    pub fn take_listed(&self, age: usize, mut f: impl FnMut(PoolRef)) {
        let mut next = self.listed[age].take();
        while let Some(pool) = next {
            next = pool.next_listed[age].take();
            pool.listed[age].set(false);
            f(pool);
        }
    }

    /// Gives back every empty pool, also those that bins keep.
    pub fn give_back_all(&self) {
        for age in 0..2 {
            self.take_listed(age, |_| ());
        }
        self.left_behind.set(true);
        self.tidy();
        self.vacant
            .set(self.orphan.get() && self.arenas.borrow().is_empty());
    }

    /// Gives back what could not be given back when it became empty.
    pub fn tidy(&self) {
        if self.left_behind.replace(false) {
            let mut empty = Vec::new();
            self.for_each_pool(|pool| {
                if pool.live.get() == 0 && empty.try_reserve(1).is_ok() {
                    empty.push(pool);
                }
            });
            empty.into_iter().for_each(|pool| self.give_back(pool));
        }
    }

    /// Calls `f` on each bin.
    pub fn for_each_bin(&self, mut f: impl FnMut(&Bin)) {
        let bins = self.bins.borrow().clone();
        // SAFETY: bins live as long as the heap.
        bins.iter().for_each(|bin| f(unsafe { bin.as_ref() }));
    }

    /// The heap's arenas.
    pub fn arenas(&self) -> core::cell::Ref<'_, Vec<Arena>> {
        self.arenas.borrow()
    }

    /// Calls `f` on each pool some bin has.
    pub fn for_each_pool(&self, mut f: impl FnMut(PoolRef)) {
        for arena in self.arenas.borrow().iter() {
            let mut used = !arena.header().free_pools.get() & ALL_POOLS;
            if arena.header().huge.get() {
                used = 1 << FIRST_POOL;
            }
            while used != 0 {
                let pool = arena.pool(used.trailing_zeros() as usize);
                let span = pool.span.get().max(1) as usize;
                used &= !run(pool.index(), span);
                f(pool);
            }
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        for bin in self.bins.get_mut().drain(..) {
            // SAFETY: leaked by `bin`; no object is left to look at it.
            drop(unsafe { Box::from_raw(bin.as_ptr()) });
        }
    }
}

/// Where a bin's key is looked for: keys are multiples of 128 plus a class.
#[inline(always)]
const fn cache_index(key: usize) -> usize {
    (key ^ key >> 7) % CACHE
}

/// The bits of `span` pools from `index` on.
const fn run(index: usize, span: usize) -> u64 {
    (!0 >> (64 - span)) << index
}

/// The bin of a pool.
#[inline]
pub fn bin_of<'a>(pool: PoolRef) -> &'a Bin {
    // SAFETY: a pool in use names its bin, which lives as long as the heap.
    unsafe { pool.bin.get().unwrap_unchecked().as_ref() }
}
