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
//! Memory goes back by purge, which splits no mapping, so the number of mappings stays small (the kernel
//! allows 65,530). Addresses go back only when the system refuses more of them (`retreat`).
//!
//! Invariants:
//! * I1 a slot is in one place of the table above.
//! * I2 a slot is purged while it is in none: taken out of the queue under the lock, purged without it,
//!   put on the stack under it. Nobody can reuse it meanwhile.
//! * I3 `dirty_pools` counts the pools with memory of all dirty slots.

use super::address_map::{AddressMap, Owner, Slot, label_of};
use super::arena::{Arena, ArenaMemory};
use super::engine::Backing;
use super::kernel::Kernel;
use super::size_class::{ARENA_BYTES, SizeClass};
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
    /// What extents are told about huge pages: [`THP_DEFAULT`] for nothing, else a bool.
    huge_pages: AtomicU8,
}

const THP_DEFAULT: u8 = 2;

struct State {
    /// Next never-used slot and the end of its extent.
    bump: usize,
    end: usize,
    next_extent: usize,
    /// Ends of the queue of dirty slots and top of the stack of clean ones; 0 for none.
    dirty_first: usize,
    dirty_last: usize,
    clean: usize,
}

#[path = "extents_counts.rs"]
mod counts;

/// What a slot comes with.
struct SlotMemory {
    base: NonNull<u8>,
    zeroed: bool,
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
                dirty_first: 0,
                dirty_last: 0,
                clean: 0,
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
                huge_pages: AtomicU8::new(THP_DEFAULT),
            }
        }
    }

    /// The lock: for fork.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Asks for huge pages, or for none, in extents from now on.
    pub fn set_huge_pages(&self, wanted: bool) {
        // Relaxed: a wish, made before the first extent.
        self.huge_pages.store(u8::from(wanted), Ordering::Relaxed);
    }

    fn advise(&self, base: NonNull<u8>, len: usize) {
        let choice = self.huge_pages.load(Ordering::Relaxed);
        if choice != THP_DEFAULT {
            // SAFETY: reserved by the caller.
            unsafe { os::advise_huge_pages(base, len, choice != 0) };
        }
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
        let SlotMemory { base, zeroed } = self.obtain()?;
        Some((base, zeroed))
    }

    /// A slot for one arena: the dirty slot touched last, else a clean one, else a new one.
    fn obtain(&self) -> Option<SlotMemory> {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.state.with_mut(|state| self.obtain_locked(state)) }
    }

    fn obtain_locked(&self, state: &mut State) -> Option<SlotMemory> {
        if state.dirty_last != 0 {
            let addr = state.dirty_last;
            let note = self.unlink_dirty(state, addr);
            self.dirty_pools
                .fetch_sub(note & DIRTY_MASK, Ordering::Relaxed);
            return Some(SlotMemory {
                base: at(addr),
                zeroed: false,
            });
        }
        if !self.has_room(ARENA_BYTES) {
            return None;
        }
        if state.clean != 0 {
            let addr = state.clean;
            let slot = self.slot(addr);
            state.clean = slot.next.load(Ordering::Relaxed);
            let zeroed = slot.note.load(Ordering::Relaxed) == CLEAN_ZERO;
            self.note_mapped(ARENA_BYTES);
            return Some(SlotMemory {
                base: at(addr),
                zeroed,
            });
        }
        let base = self.carve(state, 1)?;
        Some(SlotMemory { base, zeroed: true })
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
                self.advise(base, size);
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
        let base = os::reserve(size, ARENA_BYTES)?;
        if self.cover_locked(base, size) {
            return Some(base);
        }
        // SAFETY: reserved just now.
        unsafe { os::unmap(base, size) };
        None
    }

    fn slot(&self, addr: usize) -> &'static Slot {
        self.map
            .slot(addr)
            .expect("slots of extents are covered by the map")
    }

    /// Takes a dirty slot back: `n_pools` of it hold memory.
    pub fn release(&self, addr: usize, epoch: u32, n_pools: usize) {
        let _locked = self.lock.lock();
        let slot = self.slot(addr);
        // SAFETY: the lock is held.
        unsafe {
            self.state.with_mut(|state| {
                slot.next.store(0, Ordering::Relaxed);
                slot.prev.store(state.dirty_last, Ordering::Relaxed);
                slot.note
                    .store((epoch as usize) << DIRTY_BITS | n_pools, Ordering::Relaxed);
                match state.dirty_last {
                    0 => state.dirty_first = addr,
                    last => self.slot(last).next.store(addr, Ordering::Relaxed),
                }
                state.dirty_last = addr;
            });
        }
        self.dirty_pools.fetch_add(n_pools, Ordering::Relaxed);
    }

    /// Takes a slot out of the dirty queue; its note.
    fn unlink_dirty(&self, state: &mut State, addr: usize) -> usize {
        let slot = self.slot(addr);
        let (next, prev) = (
            slot.next.load(Ordering::Relaxed),
            slot.prev.load(Ordering::Relaxed),
        );
        match prev {
            0 => state.dirty_first = next,
            prev => self.slot(prev).next.store(next, Ordering::Relaxed),
        }
        match next {
            0 => state.dirty_last = prev,
            next => self.slot(next).prev.store(prev, Ordering::Relaxed),
        }
        slot.note.load(Ordering::Relaxed)
    }

    /// Purges dirty slots released at or before epoch `until`, oldest first, until `n_pools` pools are
    /// done or none is left. Returns the number of pools purged.
    pub fn purge(&self, until: u32, n_pools: u64) -> u64 {
        let mut done = 0;
        while done < n_pools {
            let Some((addr, n)) = self.take_oldest(until) else {
                break;
            };
            // SAFETY: a slot out of every list is ours alone (I2).
            let zeroed = unsafe { self.kernel.purge(at(addr), ARENA_BYTES) };
            self.put_clean(addr, zeroed);
            done += n as u64;
        }
        done
    }

    fn take_oldest(&self, until: u32) -> Option<(usize, usize)> {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe {
            self.state.with_mut(|state| {
                let addr = state.dirty_first;
                if addr == 0 {
                    return None;
                }
                let note = self.slot(addr).note.load(Ordering::Relaxed);
                let age = until.wrapping_sub((note >> DIRTY_BITS) as u32) as i32;
                if age < 0 {
                    return None;
                }
                self.unlink_dirty(state, addr);
                self.dirty_pools
                    .fetch_sub(note & DIRTY_MASK, Ordering::Relaxed);
                Some((addr, note & DIRTY_MASK))
            })
        }
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
        while state.dirty_first != 0 {
            let addr = state.dirty_first;
            let n_pools = self.unlink_dirty(state, addr) & DIRTY_MASK;
            self.dirty_pools.fetch_sub(n_pools, Ordering::Relaxed);
            self.note_unmapped(ARENA_BYTES);
            self.push_clean(state, addr, false);
        }
        let (mut given, mut kept) = (false, 0);
        while state.clean != 0 {
            let addr = state.clean;
            let slot = self.slot(addr);
            state.clean = slot.next.load(Ordering::Relaxed);
            // SAFETY: free, and on no list any more.
            if unsafe { os::unmap(at(addr), ARENA_BYTES) } {
                given = true;
            } else {
                // One mapping too many: it stays, with whatever is in it.
                slot.note.store(CLEAN_DIRTY, Ordering::Relaxed);
                slot.next.store(kept, Ordering::Relaxed);
                kept = addr;
            }
        }
        state.clean = kept;
        let rest = state.end - state.bump;
        // SAFETY: reserved, and never used.
        if rest > 0 && unsafe { os::unmap(at(state.bump), rest) } {
            state.end = state.bump;
            given = true;
        }
        given
    }

    fn push_clean(&self, state: &mut State, addr: usize, zeroed: bool) {
        let slot = self.slot(addr);
        slot.note.store(
            if zeroed { CLEAN_ZERO } else { CLEAN_DIRTY },
            Ordering::Relaxed,
        );
        slot.next.store(state.clean, Ordering::Relaxed);
        state.clean = addr;
    }

    /// Puts a purged slot on the stack. `zeroed` says that the purge worked.
    pub fn put_clean(&self, addr: usize, zeroed: bool) {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe {
            self.state
                .with_mut(|state| self.push_clean(state, addr, zeroed));
        }
        self.note_unmapped(ARENA_BYTES);
    }
}

/// Extents from this size on begin with a slot that is never used, so that nothing of ours lies in front of
/// their first arena.
const MARGIN_FROM: usize = 32 * ARENA_BYTES;

const DIRTY_BITS: u32 = 8;
const DIRTY_MASK: usize = (1 << DIRTY_BITS) - 1;
const CLEAN_ZERO: usize = 1;
const CLEAN_DIRTY: usize = 0;

/// The slot at `addr`, whose mapping was exposed when it was made.
fn at(addr: usize) -> NonNull<u8> {
    debug_assert!(addr != 0);
    // SAFETY: callers pass slots' addresses, never 0.
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) }
}

/// A heap's view of the extents: arenas named as its own.
pub struct HeapBacking {
    pub(super) extents: &'static Extents,
    /// Written into each arena (see [`Arena::home`]).
    home: usize,
    /// Whether its blocks may enter thread lists.
    shared: bool,
    /// Now, in purge epochs; stamps the arenas it gives back.
    pub epoch: u32,
}

impl HeapBacking {
    /// A view for the heap at `home`; `shared` when its blocks may enter thread lists.
    pub const fn new(extents: &'static Extents, home: usize, shared: bool) -> Self {
        Self {
            extents,
            home,
            shared,
            epoch: 0,
        }
    }
}

impl Backing for HeapBacking {
    fn obtain(&mut self) -> Option<ArenaMemory> {
        let SlotMemory { base, zeroed } = self.extents.obtain()?;
        // SAFETY: an arena's pools begin behind its first 16 KiB.
        let fenced = unsafe { self.extents.kernel.build_fence(base) };
        let owner = if self.shared {
            Owner::Arena
        } else {
            Owner::PrivateArena
        };
        let slot = self.extents.slot(base.addr().get());
        slot.set_owner(owner);
        // Relaxed: the arena's heap reads it again, before anybody else writes it.
        slot.note.store(usize::from(fenced), Ordering::Relaxed);
        Some(ArenaMemory {
            base,
            descriptor: base.cast(),
            home: self.home,
            zeroed,
        })
    }

    unsafe fn release(&mut self, arena: NonNull<Arena>) {
        let addr = arena.addr().get();
        let slot = self.extents.slot(addr);
        slot.set_owner(Owner::Nobody);
        // SAFETY: it has a fence; no block is live, by the caller's word.
        unsafe {
            let fenced = slot.note.swap(0, Ordering::Relaxed) == 1;
            if fenced && !self.extents.kernel.remove_fence(at(addr)) {
                // The kernel has no memory for three pages: the slot is lost, what is in it goes back.
                os::purge(at(addr), ARENA_BYTES);
                return;
            }
        }
        // SAFETY: still ours until it is in the queue. One more for the page of headers.
        let n_pools = unsafe { arena.as_ref() }.dirty().count_ones() as usize + 1;
        self.extents.release(addr, self.epoch, n_pools);
    }

    fn label(&mut self, first: NonNull<u8>, span: usize, class: Option<SizeClass>) {
        if self.shared {
            self.extents
                .map
                .set_labels(first, span, class.map_or(0, label_of));
        }
    }
}
