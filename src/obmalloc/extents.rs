//! Address space: large reservations, cut into 1 MiB slots for arenas.
//!
//! ```text
//! extent: | slot | slot | slot | … reserved, no memory …        |
//!          committed one by one  ^ bump                     end ^
//! ```
//!
//! | slot | memory | where |
//! |---|---|---|
//! | in use | yes | its owner's |
//! | dirty | yes | the queue, oldest first; reused newest first |
//! | clean | no (given back) | the stack |
//! | reserved | none yet | above `bump` |
//!
//! For a heap that is large, slots for arenas are carved in pairs and filled by one huge page: a page fault
//! costs some 1.5 µs for 4 KiB and 170 µs for 2 MiB, a fifth. Only the filling asks for one. The kernel
//! must not make huge pages of what was purged, so extents refuse them otherwise, and stay one mapping each;
//! and all of such a pair counts as dirty, so that what stays unused goes back by age.
//!
//! Memory goes back by purge, which splits no mapping, so the number of mappings stays small (the kernel
//! allows 65,530). Addresses go back only when the system refuses more of them (`retreat`), or to make those that were
//! guarded accessible again (`give_up`).
//!
//! Invariants:
//! * I1 a slot is in one place of the table above.
//! * I2 a slot is purged while it is in none: taken out of the queue under the lock, purged without it,
//!   put on the stack under it. Nobody can reuse it meanwhile.
//! * I3 `dirty_pools` counts the pools with memory of all dirty slots.

use super::address_map::{AddressMap, Slot};
use super::kernel::Kernel;
use super::size_class::{ARENA_BYTES, POOL_BYTES};
use super::slots::FreeSlots;
use crate::os::{self, Lock};
use crate::sync::{AtomicU8, AtomicUsize, Ordering, SharedCell, const_unless_loom};
use core::ptr::NonNull;

/// First reservation, and the largest one, in bytes. A model's address space is eight arenas long.
const FIRST_EXTENT: usize = if cfg!(loom) { 2 } else { 64 } * ARENA_BYTES;
const LARGEST_EXTENT: usize = if cfg!(loom) { 2 } else { 4096 } * ARENA_BYTES;

/// Bytes of a huge page.
pub(super) const HUGE_PAGE: usize = 2 * ARENA_BYTES;

/// The process's arena slots.
pub struct Extents {
    map: &'static AddressMap,
    lock: Lock,
    state: SharedCell<State>,
    /// Mapped bytes now and at most, whoever mapped them; pools in dirty slots. Written under some
    /// lock, read for reports and decisions that tolerate any order: Relaxed throughout.
    mapped: AtomicUsize,
    mapped_high: AtomicUsize,
    /// The most that may be.
    limit: AtomicUsize,
    dirty_pools: AtomicUsize,
    /// Memory that came from the system ever, in pools. It only grows; who wants to know what came since remembers.
    fresh_pools: AtomicUsize,
    /// The same for slots that held none when they were obtained.
    fresh_slots: AtomicUsize,
    pub(super) kernel: Kernel,
    /// Heaps that threads share.
    heaps: AtomicUsize,
    /// A [`HugePages`].
    huge_pages: AtomicU8,
    /// A [`Filling`].
    filling: AtomicU8,
    /// Pairs that were filled ever.
    n_filled: AtomicUsize,
}

/// Which slots are backed by huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HugePages {
    /// None.
    Never,
    /// All.
    Always,
    /// Those carved for a heap that has `LARGE` or had.
    WhenLarge,
}

/// Who fills huge pages, which takes some 170 µs, and whether there is one to fill.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Filling {
    /// Whoever wants a slot.
    AtOnce,
    /// A thread that does so ahead: nothing to do.
    Ahead,
    /// The same: the slots filled ahead are used up.
    Wanted,
    /// The same, and it was told.
    Asked,
}

/// Bytes of arenas from which on a heap is large: one of several, each of which may waste most of a huge page, and the
/// only one. The preload library comes under programs that did not ask for it, many of them small.
pub(super) const LARGE: usize = if cfg!(feature = "preload") { 32 } else { 6 } * ARENA_BYTES;
const LARGE_ALONE: usize = if cfg!(feature = "preload") { 24 } else { 2 } * ARENA_BYTES;

struct State {
    /// Next never-used slot and the end of its extent.
    bump: usize,
    end: usize,
    next_extent: usize,
    free: FreeSlots,
}

#[path = "extents_counts.rs"]
mod counts;
#[path = "extents_pairs.rs"]
mod pairs;

/// Who asks for a slot that may be part of a huge page.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// When the other slot of the pair comes free.
    pub epoch: u32,
    /// Whether it is a large heap.
    pub is_large: bool,
}

/// What a slot comes with.
pub(super) struct SlotMemory {
    /// Its first byte.
    pub base: NonNull<u8>,
    /// Whether it reads as zero.
    pub zeroed: bool,
    /// Whether it is part of a huge page that holds memory.
    pub huge: bool,
}

/// Counts of the extents.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtentCounts {
    /// Bytes readable and writable now: arenas, huge blocks, tables.
    pub mapped_bytes: usize,
    /// The most that ever was.
    pub mapped_bytes_high: usize,
}

impl Extents {
    const_unless_loom! {
        /// No extents; arenas will be entered in `map`.
        pub fn new(map: &'static AddressMap) -> Self {
            let state = State {
                bump: 0,
                end: 0,
                next_extent: FIRST_EXTENT,
                free: FreeSlots::new(map),
            };
            Self {
                map,
                lock: Lock::new(),
                state: SharedCell::new(state),
                mapped: AtomicUsize::new(0),
                mapped_high: AtomicUsize::new(0),
                limit: AtomicUsize::new(usize::MAX),
                dirty_pools: AtomicUsize::new(0),
                fresh_pools: AtomicUsize::new(0),
                fresh_slots: AtomicUsize::new(0),
                kernel: Kernel::new(),
                heaps: AtomicUsize::new(0),
                huge_pages: AtomicU8::new(HugePages::WhenLarge as u8),
                filling: AtomicU8::new(Filling::AtOnce as u8),
                n_filled: AtomicUsize::new(0),
            }
        }
    }

    /// The lock: for fork.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The map its arenas are entered in.
    pub fn map(&self) -> &'static AddressMap {
        self.map
    }

    /// Pools with memory in slots that wait for reuse or purge.
    pub fn dirty_pools(&self) -> usize {
        self.dirty_pools.load(Ordering::Relaxed)
    }

    /// Makes the map able to hold `len` bytes from `start` on.
    pub fn cover(&self, start: NonNull<u8>, len: usize) -> bool {
        let _locked = self.lock.lock();
        self.cover_locked(start, len)
    }

    fn cover_locked(&self, start: NonNull<u8>, len: usize) -> bool {
        self.map.cover(start, len, || {
            os::map(AddressMap::LEAF_BYTES, os::page_size())
        })
    }

    /// A slot's memory, for a block that fills most of one. True with it when it reads as zero.
    pub fn obtain_slot(&self) -> Option<(NonNull<u8>, bool)> {
        let SlotMemory { base, zeroed, .. } = self.obtain(None)?;
        Some((base, zeroed))
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.state.with_mut(f) }
    }

    /// A slot: the dirty one touched last, else a clean one, else a new one. For an arena, a new one may be part
    /// of a huge page; a block in a slot of its own, or a first-class heap, may leave most of it untouched.
    pub(super) fn obtain(&self, pair: Option<Pair>) -> Option<SlotMemory> {
        let (slot, fill) = self.with(|state| self.obtain_locked(state, pair))?;
        if let Some(epoch) = fill {
            let base = slot.base.addr().get();
            self.fill(base);
            self.release(base + ARENA_BYTES, epoch, ARENA_BYTES / POOL_BYTES);
        }
        Some(slot)
    }

    /// A slot, and with it, when it is the first of a pair to be filled, the epoch the second comes free in.
    fn obtain_locked(
        &self,
        state: &mut State,
        pair: Option<Pair>,
    ) -> Option<(SlotMemory, Option<u32>)> {
        let slot = |addr, zeroed| SlotMemory {
            base: at(addr),
            zeroed,
            huge: false,
        };
        let filled = |base| SlotMemory {
            base: at(base),
            zeroed: false,
            huge: true,
        };
        let pair = pair.filter(|pair| self.wants_huge_pages(pair.is_large));
        if let Some(pair) = pair
            && self.fills_at_once()
            && let Some((base, n_pools)) = state.free.newest_thin_pair()
        {
            self.dirty_pools.fetch_sub(n_pools, Ordering::Relaxed);
            return Some((filled(base), Some(pair.epoch)));
        }
        if let Some((addr, n_pools)) = state.free.newest_dirty() {
            self.dirty_pools.fetch_sub(n_pools, Ordering::Relaxed);
            if pair.is_some() && !state.free.has_dirty() {
                self.leave_to_filler();
            }
            return Some((slot(addr, false), None));
        }
        if let Some(pair) = pair
            && !self.leave_to_filler()
            && let Some(base) = self.take_pair(state)
        {
            return Some((filled(base), Some(pair.epoch)));
        }
        if !self.has_room(ARENA_BYTES) {
            return None;
        }
        if let Some((addr, zeroed)) = state.free.newest_clean() {
            self.note_mapped(ARENA_BYTES);
            self.note_fresh_slots(1);
            return Some((slot(addr, zeroed), None));
        }
        let base = self.carve(state, 1)?;
        Some((slot(base.addr().get(), true), None))
    }

    /// `n` adjacent slots of zeroed memory that were never used.
    pub fn carve_many(&self, n: usize) -> Option<NonNull<u8>> {
        self.with(|state| self.carve(state, n))
    }

    fn carve(&self, state: &mut State, n: usize) -> Option<NonNull<u8>> {
        let len = n.checked_mul(ARENA_BYTES)?;
        if !self.has_room(len) {
            return None;
        }
        if state.end - state.bump < len && !self.extend(state, len) {
            return None;
        }
        let base = at(state.bump);
        // SAFETY: reserved by `extend`, and above `bump`, so nobody uses it.
        if !unsafe { os::commit(base, len) } {
            return None;
        }
        // SAFETY: committed just now.
        unsafe { self.kernel.label(base, len) };
        state.bump += len;
        self.note_mapped(len);
        self.note_fresh_slots(n);
        Some(base)
    }

    /// Reserves a new extent of at least `len` bytes, as large as may be had. What is left of the old one
    /// stays reserved and unused.
    fn extend(&self, state: &mut State, len: usize) -> bool {
        let mut size = state.next_extent.max(len);
        loop {
            if let Some(base) = self.reserve(size) {
                // SAFETY: reserved just now.
                unsafe { os::refuse_huge_pages(base, size + tail()) };
                state.bump = base.addr().get();
                state.end = state.bump + size;
                if size >= MARGIN_FROM.max(len + ARENA_BYTES) {
                    state.bump += ARENA_BYTES;
                }
                state.next_extent = (size * 2).min(LARGEST_EXTENT);
                return true;
            }
            if size == len {
                return false;
            }
            size = (size / 2).next_multiple_of(ARENA_BYTES).max(len);
        }
    }

    /// Address space with its place in the map. A reservation that leaves no room for the map is none.
    fn reserve(&self, size: usize) -> Option<NonNull<u8>> {
        let base = os::reserve(size + tail(), ARENA_BYTES)?;
        if self.cover_locked(base, size) {
            return Some(base);
        }
        // SAFETY: reserved just now.
        unsafe { os::unmap(base, size + tail()) };
        None
    }

    pub(super) fn slot(&self, addr: usize) -> &'static Slot {
        self.map
            .slot(addr)
            .expect("slots of extents are covered by the map")
    }

    /// Takes a dirty slot back: `n_pools` of it hold memory.
    pub fn release(&self, addr: usize, epoch: u32, n_pools: usize) {
        self.with(|state| {
            state.free.push_dirty(addr, epoch, n_pools);
            self.dirty_pools.fetch_add(n_pools, Ordering::Relaxed);
        });
    }

    /// Purges dirty slots released at or before epoch `until`, whole huge pages first and oldest first, until `n_pools`
    /// pools are done or none is left. Returns the number of pools purged.
    pub fn purge(&self, until: u32, n_pools: u64) -> u64 {
        let done = self.purge_pairs(until, n_pools);
        done + self.purge_with(n_pools.saturating_sub(done), 1, |state| {
            state.free.oldest_dirty(until)
        })
    }

    /// As [`Self::purge`], but no half of a huge page.
    pub fn purge_pairs(&self, until: u32, n_pools: u64) -> u64 {
        self.purge_with(n_pools, 2, |state| state.free.oldest_dirty_pair(until))
    }

    /// Purges what `take` takes, so many slots at a time and their pools that hold memory.
    fn purge_with(
        &self,
        n_pools: u64,
        n_slots: usize,
        take: impl Fn(&mut State) -> Option<(usize, usize)>,
    ) -> u64 {
        let mut done = 0;
        while done < n_pools {
            let Some((base, n)) = self.with(&take) else {
                break;
            };
            self.dirty_pools.fetch_sub(n, Ordering::Relaxed);
            // SAFETY: slots out of every list are ours alone (I2).
            let zeroed = unsafe { self.kernel.purge(at(base), n_slots * ARENA_BYTES) };
            for k in 0..n_slots {
                self.put_clean(base + k * ARENA_BYTES, zeroed);
            }
            done += n as u64;
        }
        done
    }

    /// Gives address space back: free slots, and what is left of the extent. For a process that may have no
    /// more of it, where slots that lie free would stand in the way of a huge block. False when there is
    /// nothing to give.
    pub fn retreat(&self) -> bool {
        self.with(|state| self.retreat_locked(state))
    }

    fn retreat_locked(&self, state: &mut State) -> bool {
        while let Some((addr, n_pools)) = state.free.newest_dirty() {
            self.dirty_pools.fetch_sub(n_pools, Ordering::Relaxed);
            self.note_unmapped(ARENA_BYTES);
            state.free.push_clean(addr, false);
        }
        let mut given = false;
        let mut kept = FreeSlots::new(self.map);
        while let Some((addr, _)) = state.free.newest_clean() {
            // SAFETY: free, and on no list any more.
            if unsafe { os::unmap(at(addr), ARENA_BYTES) } {
                given = true;
            } else {
                // One mapping too many: it stays, with whatever is in it.
                kept.push_alone(addr);
            }
        }
        state.free = kept;
        let rest = state.end - state.bump;
        // SAFETY: reserved, and never used.
        if rest > 0 && unsafe { os::unmap(at(state.bump), rest) } {
            state.end = state.bump;
            given = true;
        }
        given
    }

    /// Gives memory back that is in no slot's list, with its addresses if the kernel takes them: as it refuses, with
    /// too many mappings, where that would split one.
    ///
    /// # Safety
    /// Mappings or slots of ours that nobody uses, and nobody will.
    pub(super) unsafe fn give_up(&self, base: NonNull<u8>, len: usize) {
        // SAFETY: unused by the caller's word.
        unsafe {
            if !os::unmap(base, len) {
                os::purge(base, len);
            }
        }
        self.note_unmapped(len);
    }

    /// Puts a purged slot on the stack. `zeroed` says that the purge worked.
    pub fn put_clean(&self, addr: usize, zeroed: bool) {
        self.with(|state| state.free.push_clean(addr, zeroed));
        self.note_unmapped(ARENA_BYTES);
    }
}

/// Extents from this size on begin with a slot that is never used, so that nothing of ours lies in front of
/// their first arena.
const MARGIN_FROM: usize = 32 * ARENA_BYTES;

/// Bytes behind an extent that are reserved and never used: what is handed out in the last place of a small pool
/// ends there, not in somebody else's mapping (`geometry.rs`). A model's memory is whole slots.
fn tail() -> usize {
    if cfg!(loom) { 0 } else { os::page_size() }
}

/// The slot at `addr`, whose mapping was exposed when it was made.
pub(super) fn at(addr: usize) -> NonNull<u8> {
    debug_assert!(addr != 0);
    // SAFETY: callers pass slots' addresses, never 0.
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) }
}
