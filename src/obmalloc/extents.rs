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
//! When a process is large, slots for arenas are carved in pairs and filled by one huge page: a page fault
//! costs some 1.5 µs for 4 KiB and 170 µs for 2 MiB, a fifth. Only the filling asks for one. The kernel
//! must not make huge pages of what was purged, so extents refuse them otherwise, and stay one mapping each;
//! and all of such a pair counts as dirty, so that what stays unused goes back by age.
//!
//! Memory goes back by purge, which splits no mapping, so the number of mappings stays small (the kernel
//! allows 65,530). Addresses go back only when the system refuses more of them (`retreat`).
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
    pub(super) kernel: Kernel,
    /// A [`HugePages`].
    huge_pages: AtomicU8,
}

/// Which slots are backed by huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HugePages {
    /// None.
    Never,
    /// All.
    Always,
    /// Those a process carves when it has `LARGE` mapped.
    WhenLarge,
}

/// Bytes mapped from which on a process is large: what huge pages may waste is little beside that. The preload
/// library comes under programs that did not ask for it, many of them small.
pub(super) const LARGE: usize = if cfg!(feature = "preload") { 32 } else { 6 } * ARENA_BYTES;

struct State {
    /// Next never-used slot and the end of its extent.
    bump: usize,
    end: usize,
    next_extent: usize,
    free: FreeSlots,
}

#[path = "extents_counts.rs"]
mod counts;

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
                kernel: Kernel::new(),
                huge_pages: AtomicU8::new(HugePages::WhenLarge as u8),
            }
        }
    }

    /// The lock: for fork.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Decides about huge pages for slots that are carved from now on.
    pub fn set_huge_pages(&self, choice: HugePages) {
        // Relaxed: a wish, made before the first extent.
        self.huge_pages.store(choice as u8, Ordering::Relaxed);
    }

    /// Fences the books of up to `most` arenas: blocks are guarded. No huge page is asked for that a fence would
    /// split.
    pub fn guard_books(&self, most: usize) {
        self.kernel.guard(most);
        let wanted = self.huge_pages.load(Ordering::Relaxed);
        if wanted == HugePages::WhenLarge as u8 {
            self.set_huge_pages(HugePages::Never);
        }
    }

    /// Whether slots carved now are to be backed by huge pages.
    fn wants_huge_pages(&self) -> bool {
        let choice = self.huge_pages.load(Ordering::Relaxed);
        let large = self.mapped_high.load(Ordering::Relaxed) >= LARGE;
        let wanted =
            choice == HugePages::Always as u8 || (choice == HugePages::WhenLarge as u8 && large);
        // A model's memory is no kernel's; where pages are larger, huge ones are too large.
        wanted && !cfg!(loom) && os::page_size() == 4096
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

    /// A slot: the dirty one touched last, else a clean one, else a new one. For an arena, a new one may be part
    /// of a huge page, of which the rest comes free in `arena_epoch`; a block in a slot of its own, or a small
    /// heap, may leave most of it untouched.
    pub(super) fn obtain(&self, arena_epoch: Option<u32>) -> Option<SlotMemory> {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe {
            self.state
                .with_mut(|state| self.obtain_locked(state, arena_epoch))
        }
    }

    fn obtain_locked(&self, state: &mut State, arena_epoch: Option<u32>) -> Option<SlotMemory> {
        if let Some((addr, n_pools)) = state.free.newest_dirty() {
            self.dirty_pools.fetch_sub(n_pools, Ordering::Relaxed);
            return Some(SlotMemory {
                base: at(addr),
                zeroed: false,
                huge: false,
            });
        }
        if !self.has_room(ARENA_BYTES) {
            return None;
        }
        let huge =
            arena_epoch.filter(|_| self.wants_huge_pages() && self.has_room(2 * ARENA_BYTES));
        if let Some((addr, zeroed)) = state.free.newest_clean() {
            self.note_mapped(ARENA_BYTES);
            if let Some(epoch) = huge
                && let Some(buddy) = state.free.clean_buddy(addr)
            {
                self.note_mapped(ARENA_BYTES);
                return Some(self.huge_pair(state, addr.min(buddy), epoch));
            }
            return Some(SlotMemory {
                base: at(addr),
                zeroed,
                huge: false,
            });
        }
        if let Some(epoch) = huge
            && state.bump.is_multiple_of(HUGE_PAGE)
            && state.end - state.bump >= HUGE_PAGE
            && let Some(base) = self.carve(state, HUGE_PAGE / ARENA_BYTES)
        {
            return Some(self.huge_pair(state, base.addr().get(), epoch));
        }
        let base = self.carve(state, 1)?;
        Some(SlotMemory {
            base,
            zeroed: true,
            huge: false,
        })
    }

    /// Fills a pair of slots without memory that are on no list; the first of them. The other waits for the
    /// next to come, or for the purge.
    fn huge_pair(&self, state: &mut State, base: usize, epoch: u32) -> SlotMemory {
        // SAFETY: committed, and nobody uses it.
        unsafe { os::fill_huge_page(at(base), HUGE_PAGE) };
        self.push_dirty(state, base + ARENA_BYTES, epoch, ARENA_BYTES / POOL_BYTES);
        SlotMemory {
            base: at(base),
            zeroed: false,
            huge: true,
        }
    }

    /// `n` adjacent slots of zeroed memory that were never used.
    pub fn carve_many(&self, n: usize) -> Option<NonNull<u8>> {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.state.with_mut(|state| self.carve(state, n)) }
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
        unsafe { os::label(base, len, c"pymalloc") };
        state.bump += len;
        self.note_mapped(len);
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
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe {
            self.state
                .with_mut(|state| self.push_dirty(state, addr, epoch, n_pools));
        }
    }

    fn push_dirty(&self, state: &mut State, addr: usize, epoch: u32, n_pools: usize) {
        state.free.push_dirty(addr, epoch, n_pools);
        self.dirty_pools.fetch_add(n_pools, Ordering::Relaxed);
    }

    /// Purges dirty slots released at or before epoch `until`, oldest first, until `n_pools` pools are
    /// done or none is left. Returns the number of pools purged.
    pub fn purge(&self, until: u32, n_pools: u64) -> u64 {
        let mut done = 0;
        while done < n_pools {
            let Some((base, n_slots, n)) = self.take_oldest(until) else {
                break;
            };
            // SAFETY: slots out of every list are ours alone (I2).
            let zeroed = unsafe { self.kernel.purge(at(base), n_slots * ARENA_BYTES) };
            for k in 0..n_slots {
                self.put_clean(base + k * ARENA_BYTES, zeroed);
            }
            done += n as u64;
        }
        done
    }

    /// The oldest dirty slot, with the one beside it that makes a huge page with it if that may go, too: the
    /// address of the first, their number, and their pools that hold memory.
    fn take_oldest(&self, until: u32) -> Option<(usize, usize, usize)> {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        let (addr, buddy) = unsafe {
            self.state.with_mut(|state| {
                let oldest = state.free.oldest_dirty(until)?;
                Some((oldest, state.free.dirty_buddy(oldest.0, until)))
            })?
        };
        let (base, n_slots, n_pools) = match buddy {
            Some(buddy) => (addr.0.min(buddy.0), 2, addr.1 + buddy.1),
            None => (addr.0, 1, addr.1),
        };
        self.dirty_pools.fetch_sub(n_pools, Ordering::Relaxed);
        Some((base, n_slots, n_pools))
    }

    /// Gives address space back: free slots, and what is left of the extent. For a process that may have no
    /// more of it, where slots that lie free would stand in the way of a huge block. False when there is
    /// nothing to give.
    pub fn retreat(&self) -> bool {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.state.with_mut(|state| self.retreat_locked(state)) }
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
                kept.push_clean(addr, false);
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

    /// Puts a purged slot on the stack. `zeroed` says that the purge worked.
    pub fn put_clean(&self, addr: usize, zeroed: bool) {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe {
            self.state
                .with_mut(|state| state.free.push_clean(addr, zeroed));
        }
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

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 * ARENA_BYTES;

/// The slot at `addr`, whose mapping was exposed when it was made.
pub(super) fn at(addr: usize) -> NonNull<u8> {
    debug_assert!(addr != 0);
    // SAFETY: callers pass slots' addresses, never 0.
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) }
}
