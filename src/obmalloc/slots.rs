//! Free slots: those that hold memory, and those that do not.
//!
//! | state | in `note` beside it | lists | taken |
//! |---|---|---|---|
//! | in use | whether its arena has a fence | none | |
//! | dirty | epoch of its release, its pools that hold memory | oldest first | newest first; for a purge, oldest first |
//! | clean | whether it reads as zero | oldest first | newest first |
//!
//! Two slots that make one huge page are a pair. Both lists are double: one of slots whose other half is in another
//! state, one of halves of pairs. Who wants a slot gets one of the first kind if there is one, and a huge page is purged
//! or filled as a whole: a page fault of it costs a fifth of those of its small pages, and one that was split is none.
//! Of a *thin* pair so little holds memory that it is purged and filled anew, rather than used page by page.
//!
//! Invariants, all of them under the lock of the extents, by which what is Relaxed is ordered:
//! * I1 a slot is in the list that its state names.
//! * I2 of two slots marked as paired each is the other's half, and both are in the same state.

use super::address_map::{AddressMap, Slot};
use super::size_class::{ARENA_BYTES, POOL_BYTES};
use crate::sync::Ordering;

/// The state is in the low bits of a slot's note.
const STATE_BITS: u32 = 3;
const STATE: usize = 0b11;
const USED: usize = 0;
const DIRTY: usize = 1;
const CLEAN: usize = 2;
/// Beside the state: half of a pair.
const PAIRED: usize = 0b100;
/// The note of a slot in use whose arena has a fence.
pub const FENCED: usize = 1 << STATE_BITS;
/// The bits of a dirty slot's pools.
const POOLS_BITS: u32 = 8;

impl Slot {
    /// Whether nobody uses it and it is ours. Racy, for reports only.
    pub fn is_free(&self) -> bool {
        self.note.load(Ordering::Relaxed) & STATE != USED
    }
}

/// Slots linked both ways, by address; 0 for none.
struct List {
    first: usize,
    last: usize,
}

/// The free slots of the extents.
pub struct FreeSlots {
    map: &'static AddressMap,
    dirty: List,
    dirty_pairs: List,
    clean: List,
    clean_pairs: List,
}

/// The other slot of a huge page.
fn buddy(addr: usize) -> usize {
    addr ^ ARENA_BYTES
}

impl FreeSlots {
    /// None; their slots are entered in `map`.
    pub const fn new(map: &'static AddressMap) -> Self {
        const NONE: List = List { first: 0, last: 0 };
        Self {
            map,
            dirty: NONE,
            dirty_pairs: NONE,
            clean: NONE,
            clean_pairs: NONE,
        }
    }

    fn slot(&self, addr: usize) -> &'static Slot {
        self.map
            .slot(addr)
            .expect("slots of extents are covered by the map")
    }

    fn note(&self, addr: usize) -> usize {
        self.map
            .slot(addr)
            .map_or(USED, |slot| slot.note.load(Ordering::Relaxed))
    }

    /// The list that a note names.
    fn list(&mut self, note: usize) -> &mut List {
        match (note & STATE, note & PAIRED != 0) {
            (DIRTY, false) => &mut self.dirty,
            (DIRTY, true) => &mut self.dirty_pairs,
            (_, false) => &mut self.clean,
            (_, true) => &mut self.clean_pairs,
        }
    }

    /// Puts a slot at the end of the list that its note names.
    fn link(&mut self, addr: usize, note: usize) {
        let slot = self.slot(addr);
        let list = self.list(note);
        let before = core::mem::replace(&mut list.last, addr);
        if before == 0 {
            list.first = addr;
        }
        slot.next.store(0, Ordering::Relaxed);
        slot.prev.store(before, Ordering::Relaxed);
        slot.note.store(note, Ordering::Relaxed);
        if before != 0 {
            self.slot(before).next.store(addr, Ordering::Relaxed);
        }
    }

    /// Takes a free slot out of its list; its note.
    fn unlink(&mut self, addr: usize) -> usize {
        let slot = self.slot(addr);
        let note = slot.note.swap(USED, Ordering::Relaxed);
        let (next, prev) = (
            slot.next.load(Ordering::Relaxed),
            slot.prev.load(Ordering::Relaxed),
        );
        let list = self.list(note);
        if next == 0 {
            list.last = prev;
        }
        if prev == 0 {
            list.first = next;
        }
        if next != 0 {
            self.slot(next).prev.store(prev, Ordering::Relaxed);
        }
        if prev != 0 {
            self.slot(prev).next.store(next, Ordering::Relaxed);
        }
        note
    }

    /// Adds a slot, which makes a pair with its other half if that is in the same state.
    fn push(&mut self, addr: usize, note: usize) {
        if self.note(buddy(addr)) & STATE != note & STATE {
            return self.link(addr, note);
        }
        let other = self.unlink(buddy(addr));
        self.link(buddy(addr), other | PAIRED);
        self.link(addr, note | PAIRED);
    }

    /// Takes a free slot, whose other half is single then; what its note says beside the state.
    fn take(&mut self, addr: usize) -> usize {
        let note = self.unlink(addr);
        if note & PAIRED != 0 {
            let other = self.unlink(buddy(addr));
            self.link(buddy(addr), other & !PAIRED);
        }
        note >> STATE_BITS
    }

    /// Adds a slot of which `n_pools` hold memory.
    pub fn push_dirty(&mut self, addr: usize, epoch: u32, n_pools: usize) {
        let stamp = (epoch as usize) << POOLS_BITS | n_pools;
        self.push(addr, stamp << STATE_BITS | DIRTY);
    }

    /// Adds a slot without memory; `zeroed` if it is known to read as zero.
    pub fn push_clean(&mut self, addr: usize, zeroed: bool) {
        self.push(addr, usize::from(zeroed) << STATE_BITS | CLEAN);
    }

    /// As [`Self::push_clean`], beside other free slots than its half's: no pair.
    pub fn push_alone(&mut self, addr: usize) {
        self.link(addr, CLEAN);
    }

    fn take_dirty(&mut self, addr: usize) -> (usize, usize) {
        (addr, self.take(addr) & ((1 << POOLS_BITS) - 1))
    }

    /// Whether there is a dirty slot.
    pub fn has_dirty(&self) -> bool {
        self.dirty.last != 0 || self.dirty_pairs.last != 0
    }

    /// Takes the dirty slot that was added last, one that is no half of a pair if there is one: its address and its
    /// pools that hold memory.
    pub fn newest_dirty(&mut self) -> Option<(usize, usize)> {
        let addr = newest(&self.dirty, &self.dirty_pairs)?;
        Some(self.take_dirty(addr))
    }

    /// Takes the dirty pair that was completed first, if that was at or before epoch `until`: the address of the first
    /// half, and their pools that hold memory.
    pub fn oldest_dirty_pair(&mut self, until: u32) -> Option<(usize, usize)> {
        let addr = self.dirty_pairs.first;
        let both_old = addr != 0 && self.is_old(addr, until) && self.is_old(buddy(addr), until);
        both_old.then(|| self.take_dirty_pair(addr))
    }

    /// Takes the dirty pair that was completed last, if it is thin and no other slot is dirty: the address of the first
    /// half, and their pools that hold memory.
    pub fn newest_thin_pair(&mut self) -> Option<(usize, usize)> {
        let addr = self.dirty_pairs.last;
        let is_thin = addr != 0
            && self.dirty.last == 0
            && self.pools(addr) + self.pools(buddy(addr)) < ARENA_BYTES / POOL_BYTES;
        is_thin.then(|| self.take_dirty_pair(addr))
    }

    fn take_dirty_pair(&mut self, half: usize) -> (usize, usize) {
        let (_, n_pools) = self.take_dirty(half);
        let (_, n_more) = self.take_dirty(buddy(half));
        (half.min(buddy(half)), n_pools + n_more)
    }

    /// The pools of a dirty slot that hold memory.
    fn pools(&self, addr: usize) -> usize {
        self.note(addr) >> STATE_BITS & ((1 << POOLS_BITS) - 1)
    }

    /// Takes the dirty slot of no pair that was added first, if that was at or before epoch `until`.
    pub fn oldest_dirty(&mut self, until: u32) -> Option<(usize, usize)> {
        let addr = self.dirty.first;
        (addr != 0 && self.is_old(addr, until)).then(|| self.take_dirty(addr))
    }

    fn is_old(&self, addr: usize, until: u32) -> bool {
        let epoch = (self.note(addr) >> (STATE_BITS + POOLS_BITS)) as u32;
        // Wrapping: epochs are compared as distances.
        until.wrapping_sub(epoch) as i32 >= 0
    }

    /// Takes the clean slot that was added last, one that is no half of a pair if there is one. True with it when it is
    /// known to read as zero.
    pub fn newest_clean(&mut self) -> Option<(usize, bool)> {
        let addr = newest(&self.clean, &self.clean_pairs)?;
        Some((addr, self.take(addr) != 0))
    }

    /// Takes the clean pair that was completed last: the address of the first half.
    pub fn newest_clean_pair(&mut self) -> Option<usize> {
        let addr = self.clean_pairs.last;
        (addr != 0).then(|| {
            self.take(addr);
            self.take(buddy(addr));
            addr.min(buddy(addr))
        })
    }
}

/// The last of the single slots, or else of the halves of pairs.
fn newest(single: &List, paired: &List) -> Option<usize> {
    [single.last, paired.last]
        .into_iter()
        .find(|&addr| addr != 0)
}

#[cfg(all(test, not(loom)))]
#[path = "slots_tests.rs"]
mod tests;
