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
//! * I1 each arena of the heap is in the list that begins with `newest`, in the order they were made; it is in
//!   the list of usable ones exactly if it has free pools.
//! * I2 each pool with young (middle) objects is in the list `listed[0]` (`listed[1]`); a pool in a list, or
//!   any pool while `phase` is not idle, is not given back to its arena.
//! * I3 no borrow of a `RefCell` here is held across a call to user code.

use super::arena::Arena;
use super::header::{Raw, flags, new_header};
use super::pool::{Bin, Pool, PoolRef};
use super::type_info::TypeInfo;
use super::unraisable::UnraisableHook;
use super::weak::WeakMap;
use crate::global::object_watch::{Gap, Watch};
use crate::obmalloc::size_class::SizeClass;
use core::cell::{Cell, RefCell, UnsafeCell};
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
}

/// One entry of the cache: a bin and its current pool. 32 bytes, so that the index is a shift and a mask.
#[repr(align(32))]
pub struct CacheEntry {
    /// The bin's key; 0 for none, and in a heap that is watched.
    pub key: Cell<usize>,
    /// The same, also in a heap that is watched.
    pub known: Cell<usize>,
    /// The pool it takes from; `None` for none.
    pub pool: Cell<Option<PoolRef>>,
    bin: Cell<Option<NonNull<Bin>>>,
}

impl CacheEntry {
    /// Lets the fast way find the bin, or not.
    fn show(&self, shows: bool) {
        self.key.set(if shows { self.known.get() } else { 0 });
    }
}

/// A heap; see the module.
///
/// All of it is in a cell: references to it are on the stack when the last object ends it, and a reference to
/// anything else would promise that its memory stays.
pub struct Heap(UnsafeCell<Parts>);

impl core::ops::Deref for Heap {
    type Target = Parts;

    #[inline(always)]
    fn deref(&self) -> &Parts {
        // SAFETY: nobody borrows it mutably but `drop`; the parts are cells.
        unsafe { &*self.0.get() }
    }
}

/// What a heap has.
pub struct Parts {
    cache: [CacheEntry; CACHE],
    /// Allocations less deallocations of tracked types since the last collection: `gc.get_count()[0]`.
    pub count: Cell<u32>,
    /// Above this many an allocation calls `on_limit`.
    pub limit: Cell<u32>,
    /// See [`Phase`].
    pub phase: Cell<Phase>,
    /// Values being dropped, one inside the other; more by `TEARING` while a dead set is torn down.
    pub depth: Cell<u32>,
    /// Whether something waits for `depth` to be 0: the queue, or the end of an orphan.
    pub afterwards: Cell<bool>,
    /// Whether the queue is being emptied.
    pub draining: Cell<bool>,
    /// Dead objects whose turn comes when the stack is flat again.
    pub queue: RefCell<Vec<Raw>>,
    /// Weak references by the address of what they refer to.
    pub weak: RefCell<WeakMap>,
    pub(super) bins: RefCell<Vec<NonNull<Bin>>>,
    pub(super) types: RefCell<Vec<&'static TypeInfo>>,
    /// The arena made last.
    pub(super) newest: Cell<Option<Arena>>,
    /// Arenas with free pools: those of types that are not tracked, and of those that are.
    pub(super) usable: [Cell<Option<Arena>>; 2],
    /// Whether some empty pool could not be given back when it became empty.
    pub left_behind: Cell<bool>,
    pub(super) listed: [Cell<Option<PoolRef>>; 2],
    /// Whether more arenas may go back than one, and whoever gives them looks after the memory then.
    pub(super) frees_many: Cell<bool>,
    /// Of which objects others are told: see [`super::watched`].
    pub(super) watch: Cell<Watch>,
    /// What is left until the next sample.
    pub(super) gap: Gap,
    /// The thread's heaps, in a ring of none or more: the one made before this, and the one made after.
    pub(super) siblings: [Cell<Option<NonNull<Heap>>>; 2],
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
            known: Cell::new(0),
            pool: Cell::new(None),
            bin: Cell::new(None),
        };
        Self(UnsafeCell::new(Parts {
            cache: core::array::from_fn(|_| no_entry()),
            count: Cell::new(0),
            limit: Cell::new(u32::MAX),
            phase: Cell::new(Phase::Idle),
            depth: Cell::new(0),
            afterwards: Cell::new(false),
            draining: Cell::new(false),
            queue: RefCell::default(),
            weak: RefCell::default(),
            bins: RefCell::default(),
            types: RefCell::default(),
            newest: Cell::new(None),
            usable: [const { Cell::new(None) }; 2],
            left_behind: Cell::new(false),
            listed: [const { Cell::new(None) }; 2],
            frees_many: Cell::new(false),
            watch: Cell::new(Watch::Off),
            gap: Gap::new(),
            siblings: [const { Cell::new(None) }; 2],
            orphan: Cell::new(false),
            vacant: Cell::new(false),
            on_limit: Cell::new(on_limit),
            on_empty: Cell::new(on_empty),
            hook: Cell::new(None),
            upper: Cell::new(None),
            empty: Box::new(Pool::empty()),
        }))
    }

    fn empty_pool(&self) -> PoolRef {
        // SAFETY: the heap's empty pool, at a fixed address for the heap's life.
        unsafe { PoolRef::new(NonNull::from(&*self.empty)) }
    }

    /// The pool that objects of `info` in `class` come from, if the cache knows it.
    #[inline(always)]
    fn cached(&self, info: &'static TypeInfo, class: SizeClass) -> Option<PoolRef> {
        let key = bin_key(info, class.index());
        let entry = &self.cache[cache_index(key)];
        // SAFETY: an entry with a key has a pool.
        (entry.key.get() == key).then(|| unsafe { entry.pool.get().unwrap_unchecked() })
    }

    /// A slot for an object of `info` in `class`, with the header of a new object and no bit set; `None`
    /// when memory is out. `bytes` are those of its value.
    #[inline(always)]
    pub fn take(&self, info: &'static TypeInfo, class: SizeClass, bytes: usize) -> Option<Raw> {
        let cached = self.cached(info, class).and_then(PoolRef::take);
        cached.or_else(|| take_slow(self, info, class.index(), bytes))
    }

    /// As [`Self::take`], counting the allocation of a tracked type; `None`, and nothing done, unless it is a
    /// matter of a few instructions.
    #[inline(always)]
    pub fn take_counted(&self, info: &'static TypeInfo, class: SizeClass) -> Option<Raw> {
        let pool = self.cached(info, class)?;
        if !pool.has_chain() {
            return None;
        }
        if info.cyclic {
            let count = self.count.get().wrapping_add(1);
            if count > self.limit.get() {
                return None;
            }
            self.count.set(count);
        }
        pool.take()
    }

    /// As [`Self::take`], where the fast way ends; no class for an object that takes an arena of its own.
    fn take_general(
        &self,
        info: &'static TypeInfo,
        class: Option<SizeClass>,
        bytes: usize,
    ) -> Option<Raw> {
        if let Some(class) = class
            && let Some(object) = self.cached(info, class).and_then(PoolRef::take)
        {
            // Of a type that does not take the fast way.
            return Some(object);
        }
        self.look();
        match self.watch.get() {
            Watch::Off => self.take_unwatched(info, class, bytes),
            _ => self.take_watched(info, class, bytes),
        }
    }

    /// As [`Self::take`], told to nobody.
    pub(super) fn take_unwatched(
        &self,
        info: &'static TypeInfo,
        class: Option<SizeClass>,
        bytes: usize,
    ) -> Option<Raw> {
        let bin = self.bin(info, class)?;
        if bin.span == 0 {
            let pool = self.huge_pool(bin, bytes)?;
            return pool.refill(false).then(|| pool.take()).flatten();
        }
        loop {
            let pool = bin.current();
            if let Some(object) = pool.take() {
                return Some(object);
            }
            if pool.refill(self.depth.get() == 0) {
                continue;
            }
            if bin.has_current() && pool.is_full() {
                bin.unlink(pool);
                pool.become_full();
                continue;
            }
            bin.link(self.new_pool(bin)?);
        }
    }

    /// The bin for objects of a type and class; `None` when memory for a new one is out.
    fn bin(&self, info: &'static TypeInfo, class: Option<SizeClass>) -> Option<&Bin> {
        let key = bin_key(info, class.map_or(SizeClass::COUNT, SizeClass::index));
        let entry = &self.cache[cache_index(key)];
        if let (true, Some(bin)) = (entry.known.get() == key, entry.bin.get()) {
            // SAFETY: bins live as long as the heap.
            return Some(unsafe { bin.as_ref() });
        }
        let known = |bin: &&NonNull<Bin>| {
            // SAFETY: bins live as long as the heap.
            unsafe { bin.as_ref() }.key == key
        };
        let found = self.bins.borrow().iter().find(known).copied();
        let bin = match found {
            Some(bin) => bin,
            None => {
                let header = new_header(self.type_index(info)?);
                let shape = class.map_or((0, 0), |class| (class.block_bytes(), class.span()));
                let place = (self.empty_pool(), NonNull::from(entry));
                self.add_bin(Bin::new(info, key, header, shape, place))?
            }
        };
        entry.known.set(key);
        entry.show(self.watch.get() == Watch::Off);
        entry.bin.set(Some(bin));
        // SAFETY: bins live as long as the heap.
        let bin = unsafe { bin.as_ref() };
        entry.pool.set(Some(bin.current()));
        Some(bin)
    }

    fn add_bin(&self, bin: Bin) -> Option<NonNull<Bin>> {
        let mut bins = self.bins.borrow_mut();
        bins.try_reserve(1).ok()?;
        // A vector of one, because a box cannot be asked for without ending the process.
        let mut one = Vec::new();
        one.try_reserve_exact(1).ok()?;
        one.push(bin);
        let bin = NonNull::from(Box::leak(one.into_boxed_slice())).cast::<Bin>();
        bins.push(bin);
        Some(bin)
    }

    fn type_index(&self, info: &'static TypeInfo) -> Option<usize> {
        let mut types = self.types.borrow_mut();
        let known = types.iter().position(|known| core::ptr::eq(*known, info));
        if known.is_some() {
            return known;
        }
        assert!(types.len() < flags::TYPES, "a million types in one heap");
        types.try_reserve(1).ok()?;
        types.push(info);
        Some(types.len() - 1)
    }

    /// The heap's types, by index.
    pub fn types(&self) -> core::cell::Ref<'_, Vec<&'static TypeInfo>> {
        self.types.borrow()
    }

    /// Takes one object from a type's free list, in name: the slots are the pools'. False if it has none.
    pub fn reuse(&self, info: &'static TypeInfo, class: Option<SizeClass>) -> bool {
        let Some(bin) = self.bin(info, class) else {
            return false;
        };
        let kept = &bin.kept;
        let has_some = kept.get() > 0;
        kept.set(kept.get().saturating_sub(1));
        has_some
    }

    /// Frees a slot whose bit is cleared.
    #[inline(always)]
    pub fn free(&self, pool: PoolRef, object: Raw) {
        if pool.put(object) {
            self.moved(pool, pool.enough());
        }
    }

    /// Notes that `n` slots of a pool, which held dead objects, have no bit any more.
    pub fn free_many(&self, pool: PoolRef, n: u32) {
        if let Some(free) = pool.lose(n) {
            self.moved(pool, free);
        }
    }

    /// A full pool has `free` slots, enough to be used again, or a pool became empty.
    #[cold]
    #[inline(never)]
    fn moved(&self, pool: PoolRef, free: u32) {
        let bin = bin_of(pool);
        if bin.span == 0 {
            // Its memory is not for another size.
            self.unlist(pool);
        } else if !pool.in_list() {
            pool.leave_full(free);
            bin.link_second(pool);
        }
        self.give_back(pool);
        self.end_if_vacant();
    }

    /// Ends an orphan whose last object is gone. The last thing done with a heap: it may be gone after it.
    #[inline]
    pub fn end_if_vacant(&self) {
        if !self.vacant.get() || self.depth.get() > 0 || self.phase.get() != Phase::Idle {
            return;
        }
        // A new object may have come meanwhile.
        self.vacant.set(self.newest.get().is_none());
        if self.vacant.get() {
            (self.on_empty.get())(self);
        }
    }

    /// Puts a pool into the list of those with objects of generation `age`.
    pub fn list(&self, pool: PoolRef, age: usize) {
        if !pool.listed[age].replace(true) {
            let first = self.listed[age].replace(Some(pool));
            pool.next_listed[age].set(first);
            pool.prev_listed[age].set(None);
            if let Some(first) = first {
                first.prev_listed[age].set(Some(pool));
            }
        }
    }

    /// Takes a pool out of both lists, if it is in them.
    pub(super) fn unlist(&self, pool: PoolRef) {
        for age in 0..2 {
            if !pool.listed[age].replace(false) {
                continue;
            }
            let (prev, next) = (pool.prev_listed[age].get(), pool.next_listed[age].take());
            match prev {
                Some(prev) => prev.next_listed[age].set(next),
                None => self.listed[age].set(next),
            }
            if let Some(next) = next {
                next.prev_listed[age].set(prev);
            }
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

    /// Lets the fast way find the bins, or none.
    pub(super) fn show_bins(&self, shows: bool) {
        self.cache.iter().for_each(|entry| entry.show(shows));
    }

    /// Calls `f` on each bin.
    pub fn for_each_bin(&self, mut f: impl FnMut(&Bin)) {
        for bin in self.bins.borrow().iter() {
            // SAFETY: bins live as long as the heap.
            f(unsafe { bin.as_ref() });
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        for bin in self.0.get_mut().bins.get_mut().drain(..) {
            // SAFETY: a vector of one that `add_bin` leaked; no object is left to look at it.
            drop(unsafe { Box::from_raw(bin.as_ptr()) });
        }
    }
}

/// The cold continuation of [`Heap::take`]; class [`SizeClass::COUNT`] is an arena for `bytes` of value. Does
/// not unwind.
#[cold]
#[inline(never)]
pub extern "C" fn take_slow(
    heap: &Heap,
    info: &'static TypeInfo,
    class: usize,
    bytes: usize,
) -> Option<Raw> {
    let class = (class < SizeClass::COUNT).then(|| SizeClass::new(class));
    heap.take_general(info, class, bytes)
}

/// What a bin is found by. Its seven low bits are the class, because types lie at multiples of 128; the bits
/// above differ by type and by class.
#[inline(always)]
fn bin_key(info: &'static TypeInfo, class_index: usize) -> usize {
    (&raw const *info).addr() + class_index * 257
}

/// Where a bin's key is looked for.
#[inline(always)]
const fn cache_index(key: usize) -> usize {
    (key >> 8) % CACHE
}

/// The bin of a pool.
#[inline]
pub fn bin_of<'a>(pool: PoolRef) -> &'a Bin {
    // SAFETY: a pool in use names its bin, which lives as long as the heap.
    unsafe { pool.bin.get().unwrap_unchecked().as_ref() }
}
