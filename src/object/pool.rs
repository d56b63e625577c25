//! A pool of objects of one type, and the bin that has a type's pools.
//!
//! | pool | condition | where |
//! |---|---|---|
//! | used | `live < capacity` | its bin's list; the first one gives the next slot |
//! | full | few slots are free, or none | nowhere until a sixteenth of its slots is free |
//! | free | `live == 0` | its arena's, unless it is the only pool its bin has |
//!
//! Free slots are linked through the place of their header. Slots of dead sets are freed by clearing their
//! bits, without touching them: `live` then says that there are more free slots than the chain has, and when
//! the chain is used up it is made again from the bitmaps.
//!
//! A full pool waits for more than one free slot, so that what comes and goes beside a large structure that
//! changes stays in few pools: those a collection looks at. The price is a sixteenth of a pool at most.
//!
//! Invariants:
//! * I1 each chained slot is free, and lies below `carved`.
//! * I2 [`Pool::live`] = taken slots; a free slot below `carved` that is not chained is found by the bitmaps.
//! * I3 a pool is in its bin's list exactly if `in_list`, and then `live < capacity` or it is the first.
//! * I4 `until` = frees until something is to be done: `live` in the list, and one more for what its bin takes
//!   from (`held`), which is kept when it is empty; [`Pool::enough`] less its free slots when full.

use super::arena::{ARENA_MASK, Arena, GRANULE, WORD};
use super::header::Raw;
use super::heap::CacheEntry;
use super::type_info::{TAIL_PREFIX, TypeInfo};
use super::watched::PoolWatch;
use crate::obmalloc::size_class::POOL_BYTES;
use core::cell::Cell;
use core::ops::Deref;
use core::ptr::NonNull;
use static_assertions::const_assert_eq;

/// Bytes of slots that a refill carves.
const CARVE_BYTES: usize = 2048;

/// A full pool is used again when one slot in so many is free.
const ENOUGH: u32 = 16;

/// A free slot, seen from the place of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct FreeSlot(NonNull<u8>);

impl FreeSlot {
    /// The next free slot.
    #[inline(always)]
    fn next(self) -> Option<FreeSlot> {
        // SAFETY: a free slot's header place holds the link (I1).
        unsafe { self.0.cast::<Option<FreeSlot>>().sub(1).read() }
    }

    fn set_next(self, next: Option<FreeSlot>) {
        // SAFETY: the header place of a free slot is the pool's.
        unsafe { self.0.cast::<Option<FreeSlot>>().sub(1).write(next) };
    }
}

/// Lets the object of a handle that is given up die, if it was the last; with the descriptor it begins in.
pub type Die = unsafe fn(Raw, PoolRef);

/// The pool's descriptor, in the arena's tables.
#[repr(C, align(128))]
pub struct Pool {
    free: Cell<Option<FreeSlot>>,
    /// The header of a new object; also in the descriptors of a run behind the first.
    pub header: Cell<u64>,
    /// How an object of its type dies; also in the descriptors of a run behind the first.
    pub die: Cell<Option<Die>>,
    /// Frees until the pool moves (I4).
    until: Cell<u32>,
    /// Slots there are.
    pub capacity: Cell<u32>,
    /// Its type.
    pub info: Cell<Option<&'static TypeInfo>>,
    /// The bin it belongs to.
    pub bin: Cell<Option<NonNull<Bin>>>,
    /// Slots that were ever in a chain.
    carved: Cell<u32>,
    block_bytes: Cell<u32>,
    /// 16 KiB pieces of its run; 0 for a pool that is an arena of its own.
    pub span: Cell<u8>,
    /// How many descriptors before this one its run begins.
    lead: Cell<u8>,
    in_list: Cell<bool>,
    held: Cell<bool>,
    /// Whether it is in the heap's lists of pools with young and with middle objects.
    pub listed: [Cell<bool>; 2],
    next: Cell<Option<PoolRef>>,
    prev: Cell<Option<PoolRef>>,
    /// Next in those lists.
    pub next_listed: [Cell<Option<PoolRef>>; 2],
    /// The one before, which the first one does not have.
    pub prev_listed: [Cell<Option<PoolRef>>; 2],
    /// Next of the pools a collection looks at.
    pub next_candidate: Cell<Option<PoolRef>>,
    /// Whether it is one of those.
    pub is_candidate: Cell<bool>,
    /// Who is told of its objects.
    pub watch: PoolWatch,
}

const_assert_eq!(size_of::<Pool>(), 128);

/// A descriptor's address.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct PoolRef(NonNull<Pool>);

impl Deref for PoolRef {
    type Target = Pool;

    #[inline(always)]
    fn deref(&self) -> &Pool {
        // SAFETY: descriptors lie in mapped arenas, and have only cells.
        unsafe { self.0.as_ref() }
    }
}

impl PoolRef {
    /// The descriptor at `place`.
    ///
    /// # Safety
    /// 1. It lies in an arena's tables, or is a heap's empty pool.
    #[inline(always)]
    pub const unsafe fn new(place: NonNull<Pool>) -> Self {
        Self(place)
    }

    /// Its index in the arena.
    #[inline(always)]
    pub fn index(self) -> usize {
        (self.0.addr().get() & ARENA_MASK) / size_of::<Pool>()
    }

    /// The arena it lies in.
    #[inline(always)]
    pub fn arena(self) -> Arena {
        // SAFETY: descriptors lie in their arena's first KiBs.
        unsafe {
            let base = self.0.as_ptr().map_addr(|addr| addr & !ARENA_MASK);
            Arena::new(NonNull::new_unchecked(base.cast()))
        }
    }

    /// The first pool of the run this one belongs to.
    #[inline(always)]
    pub fn first_of_run(self) -> Self {
        let lead = self.lead.get() as usize;
        // SAFETY: a run's descriptors are adjacent.
        unsafe { Self(self.0.sub(lead)) }
    }

    /// Makes it the pool of `bin`, empty. `span` is 0 for an arena of its own.
    pub fn init(self, bin: &Bin, span: usize, capacity: u32) {
        let pool = Pool {
            free: Cell::new(None),
            header: Cell::new(bin.header),
            die: Cell::new(Some(bin.info.die)),
            until: Cell::new(0),
            capacity: Cell::new(capacity),
            info: Cell::new(Some(bin.info)),
            bin: Cell::new(Some(NonNull::from(bin))),
            carved: Cell::new(0),
            // An arena of its own has one slot, whatever its size.
            block_bytes: Cell::new(bin.block_bytes.max(1) as u32),
            span: Cell::new(span as u8),
            lead: Cell::new(0),
            in_list: Cell::new(false),
            held: Cell::new(false),
            listed: [const { Cell::new(false) }; 2],
            next: Cell::new(None),
            prev: Cell::new(None),
            next_listed: [const { Cell::new(None) }; 2],
            prev_listed: [const { Cell::new(None) }; 2],
            next_candidate: Cell::new(None),
            is_candidate: Cell::new(false),
            watch: PoolWatch::NONE,
        };
        // SAFETY: a descriptor nobody uses.
        unsafe { self.0.write(pool) };
        for behind in 1..span {
            // SAFETY: the run's descriptors are adjacent, and nobody uses them.
            let piece = unsafe { Self(self.0.add(behind)) };
            // SAFETY: as above; only these three are ever read of it.
            let piece = unsafe { piece.0.as_ref() };
            piece.lead.set(behind as u8);
            piece.header.set(bin.header);
            piece.die.set(Some(bin.info.die));
        }
    }

    /// Whether the chain has a slot.
    #[inline(always)]
    pub fn has_chain(self) -> bool {
        self.free.get().is_some()
    }

    /// Takes a slot from the chain, and writes a new object's header.
    #[inline(always)]
    pub fn take(self) -> Option<Raw> {
        let slot = self.free.get()?;
        self.free.set(slot.next());
        self.until.set(self.until.get() + 1);
        // SAFETY: taken just now; the caller sets its bit.
        let object = unsafe { Raw::new(slot.0) };
        object.write_header(self.header.get());
        Some(object)
    }

    /// Puts a slot on the chain. The caller cleared its bit. True when a full pool has [`Self::enough`] free
    /// slots, or the pool became empty.
    #[inline(always)]
    #[must_use]
    pub fn put(self, object: Raw) -> bool {
        let slot = FreeSlot(object.value());
        slot.set_next(self.free.get());
        self.free.set(Some(slot));
        let until = self.until.get() - 1;
        self.until.set(until);
        until == 0
    }

    /// Counts `n` slots free that are not chained. The free slots of a full pool that has enough of them now;
    /// `None` for one that has not; any number for other pools.
    pub fn lose(self, n: u32) -> Option<u32> {
        let until = self.until.get();
        if self.is_counted() || n < until {
            self.until.set(until - n);
            return self.is_counted().then_some(n);
        }
        Some(self.enough() - until + n)
    }

    /// Counts what is live in a full pool, because `free` slots are enough.
    pub fn leave_full(self, free: u32) {
        self.until.set(self.capacity.get() - free);
    }

    /// Notes that the pool, which left the list, is full.
    pub fn become_full(self) {
        self.until.set(self.enough());
    }

    /// Free slots from which a full pool is used again.
    pub fn enough(self) -> u32 {
        (self.capacity.get() / ENOUGH).max(1)
    }

    /// Whether `until` counts taken slots; a full pool's does not.
    fn is_counted(self) -> bool {
        self.in_list.get() || self.span.get() == 0
    }

    /// Taken slots (I2).
    pub fn live(self) -> u32 {
        if self.is_counted() {
            self.until.get() - u32::from(self.held.get())
        } else {
            self.capacity.get() - (self.enough() - self.until.get())
        }
    }

    /// Keeps the pool when it is empty, or does not (I4).
    fn hold(self, held: bool) {
        if self.held.replace(held) != held {
            let until = self.until.get();
            self.until.set(if held { until + 1 } else { until - 1 });
        }
    }

    /// Whether it is in its bin's list.
    pub fn in_list(self) -> bool {
        self.in_list.get()
    }

    /// Whether every slot is taken.
    pub fn is_full(self) -> bool {
        self.live() == self.capacity.get()
    }

    /// Chains free slots: those the bitmaps tell of, unless `may_sweep` is false, else some never used. False
    /// when there are none.
    ///
    /// While a value is being dropped its slot has no bit, and must not be found free.
    #[cold]
    #[inline(never)]
    pub fn refill(self, may_sweep: bool) -> bool {
        debug_assert!(self.free.get().is_none());
        let (live, carved) = (self.live(), self.carved.get());
        let (from, to) = if live < carved && may_sweep {
            (0, carved)
        } else {
            let batch = (CARVE_BYTES as u32 / self.block_bytes.get()).max(1);
            (carved, (carved + batch).min(self.capacity.get()))
        };
        self.carved.set(carved.max(to));
        let chain = self.chain(from, to, to <= carved);
        self.free.set(chain);
        chain.is_some()
    }

    /// A chain of the slots `from` to `to`, lowest first: of all, or with `sweeps` of those not taken.
    fn chain(self, from: u32, to: u32, sweeps: bool) -> Option<FreeSlot> {
        let arena = self.arena();
        let step = self.block_bytes.get() as usize / GRANULE;
        let first = (self.index() * POOL_BYTES + TAIL_PREFIX) / GRANULE;
        let mut granule = first + to as usize * step;
        // The word looked at last: slots share it.
        let (mut word, mut taken) = (usize::MAX, 0);
        let mut chain = None;
        for _ in from..to {
            granule -= step;
            if sweeps && word != granule / WORD {
                word = granule / WORD;
                taken = arena.taken(word);
            }
            if taken >> (granule % WORD) & 1 == 0 {
                // SAFETY: inside the pool, whose slots are `step` granules apart.
                let slot = FreeSlot(unsafe { arena.base().add(granule * GRANULE) });
                slot.set_next(chain);
                chain = Some(slot);
            }
        }
        chain
    }
}

/// The pools of one type and slot size in one heap.
pub struct Bin {
    /// The type.
    pub info: &'static TypeInfo,
    /// What it is found by: see [`super::heap`].
    pub key: usize,
    /// The header of a new object.
    pub header: u64,
    /// Bytes of a slot.
    pub block_bytes: usize,
    /// 16 KiB pieces of a pool; 0 for objects with an arena each.
    pub span: usize,
    /// Where the next slot comes from; the heap's empty pool if there is none.
    current: Cell<PoolRef>,
    /// Where the heap's cache names it, while it does.
    entry: NonNull<CacheEntry>,
    /// Dead objects kept without being counted as deallocated.
    pub kept: Cell<u32>,
    /// The empty pool.
    empty: PoolRef,
}

impl Bin {
    /// A bin without pools.
    pub fn new(
        info: &'static TypeInfo,
        key: usize,
        header: u64,
        (block_bytes, span): (usize, usize),
        (empty, entry): (PoolRef, NonNull<CacheEntry>),
    ) -> Self {
        Self {
            info,
            key,
            header,
            block_bytes,
            span,
            current: Cell::new(empty),
            entry,
            kept: Cell::new(0),
            empty,
        }
    }

    /// Slots of a pool.
    pub fn capacity(&self) -> u32 {
        match self.span {
            0 => 1,
            1 if self.block_bytes <= crate::obmalloc::size_class::SMALL_MAX => {
                let prefix = if self.info.item_bytes > 0 { 0 } else { 8 };
                ((POOL_BYTES - prefix) / self.block_bytes) as u32
            }
            span => (span * POOL_BYTES / self.block_bytes) as u32,
        }
    }

    /// Where the next slot comes from.
    #[inline(always)]
    pub fn current(&self) -> PoolRef {
        self.current.get()
    }

    /// Lets go of the pool it takes from, which may go back when it is empty.
    pub fn let_go(&self) {
        self.current.get().hold(false);
    }

    fn set_current(&self, pool: PoolRef) {
        self.let_go();
        self.current.set(pool);
        // SAFETY: the heap's cache lives as long as its bins.
        let entry = unsafe { self.entry.as_ref() };
        if entry.known.get() == self.key {
            entry.pool.set(Some(pool));
        }
        if pool == self.empty {
            return;
        }
        let heap = pool.arena().heap();
        pool.hold(!heap.orphan.get());
        if self.info.cyclic {
            // Whatever is made in it is young.
            heap.list(pool, 0);
        }
    }

    /// Whether it has a pool to take from.
    pub fn has_current(&self) -> bool {
        self.current.get() != self.empty
    }

    /// Makes a used pool the first of the list.
    pub fn link(&self, pool: PoolRef) {
        debug_assert!(!pool.in_list.get());
        pool.in_list.set(true);
        pool.prev.set(None);
        let first = self.has_current().then(|| self.current.get());
        pool.next.set(first);
        if let Some(first) = first {
            first.prev.set(Some(pool));
        }
        self.set_current(pool);
    }

    /// As [`Self::link`], behind the first pool: what is being taken from stays so.
    pub fn link_second(&self, pool: PoolRef) {
        if !self.has_current() {
            return self.link(pool);
        }
        debug_assert!(!pool.in_list.get());
        pool.in_list.set(true);
        let first = self.current.get();
        let second = first.next.get();
        pool.prev.set(Some(first));
        pool.next.set(second);
        first.next.set(Some(pool));
        if let Some(second) = second {
            second.prev.set(Some(pool));
        }
    }

    /// Takes a pool out of the list, if it is in it.
    pub fn unlink(&self, pool: PoolRef) {
        if !pool.in_list.replace(false) {
            return;
        }
        match pool.prev.get() {
            Some(prev) => prev.next.set(pool.next.get()),
            None => self.set_current(pool.next.get().unwrap_or(self.empty)),
        }
        if let Some(next) = pool.next.get() {
            next.prev.set(pool.prev.get());
        }
    }

    /// Whether the pool is the only one in the list.
    pub fn is_only(&self, pool: PoolRef) -> bool {
        self.current.get() == pool && pool.next.get().is_none()
    }
}

impl Pool {
    /// A pool that never has a slot.
    pub fn empty() -> Self {
        Self {
            free: Cell::new(None),
            header: Cell::new(0),
            die: Cell::new(None),
            // Full (I4).
            until: Cell::new(1),
            capacity: Cell::new(0),
            info: Cell::new(None),
            bin: Cell::new(None),
            carved: Cell::new(0),
            block_bytes: Cell::new(1),
            span: Cell::new(1),
            lead: Cell::new(0),
            in_list: Cell::new(false),
            held: Cell::new(false),
            listed: [const { Cell::new(false) }; 2],
            next: Cell::new(None),
            prev: Cell::new(None),
            next_listed: [const { Cell::new(None) }; 2],
            prev_listed: [const { Cell::new(None) }; 2],
            next_candidate: Cell::new(None),
            is_candidate: Cell::new(false),
            watch: PoolWatch::NONE,
        }
    }
}
