//! Free slots: those that hold memory, and those that do not.
//!
//! | state | in `note` beside it | list | taken |
//! |---|---|---|---|
//! | in use | whether its arena has a fence | none | |
//! | dirty | epoch of its release, its pools that hold memory | `dirty`, oldest first | newest first; for a purge, oldest first |
//! | clean | whether it reads as zero | `clean` | newest first |
//!
//! Two slots that make one huge page are a pair: they are purged together and filled together where both are
//! in the same state.
//!
//! Invariant I1: a slot is in the list that its state names. All of it runs under the lock of the extents; what
//! is Relaxed is ordered by that.

use super::address_map::{AddressMap, Slot};
use super::size_class::ARENA_BYTES;
use crate::sync::Ordering;

/// The state is in the low bits of a slot's note.
const STATE_BITS: u32 = 2;
const STATE: usize = (1 << STATE_BITS) - 1;
const USED: usize = 0;
const DIRTY: usize = 1;
const CLEAN: usize = 2;
/// The note of a slot in use whose arena has a fence.
pub const FENCED: usize = 1 << STATE_BITS;
/// The bits of a dirty slot's pools.
const POOLS_BITS: u32 = 8;

/// Slots linked both ways, by address; 0 for none.
struct List {
    first: usize,
    last: usize,
}

/// The free slots of the extents.
pub struct FreeSlots {
    map: &'static AddressMap,
    dirty: List,
    clean: List,
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
            clean: NONE,
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

    fn push(&mut self, addr: usize, note: usize) {
        let slot = self.slot(addr);
        let list = match note & STATE {
            DIRTY => &mut self.dirty,
            _ => &mut self.clean,
        };
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
        let list = match note & STATE {
            DIRTY => &mut self.dirty,
            _ => &mut self.clean,
        };
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

    /// Adds a slot of which `n_pools` hold memory.
    pub fn push_dirty(&mut self, addr: usize, epoch: u32, n_pools: usize) {
        let stamp = (epoch as usize) << POOLS_BITS | n_pools;
        self.push(addr, stamp << STATE_BITS | DIRTY);
    }

    /// Adds a slot without memory; `zeroed` if it is known to read as zero.
    pub fn push_clean(&mut self, addr: usize, zeroed: bool) {
        self.push(addr, usize::from(zeroed) << STATE_BITS | CLEAN);
    }

    fn take_dirty(&mut self, addr: usize) -> (usize, usize) {
        let stamp = self.unlink(addr) >> STATE_BITS;
        (addr, stamp & ((1 << POOLS_BITS) - 1))
    }

    /// Whether there is a dirty slot.
    pub fn has_dirty(&self) -> bool {
        self.dirty.last != 0
    }

    /// Takes the dirty slot that was added last: its address and its pools that hold memory.
    pub fn newest_dirty(&mut self) -> Option<(usize, usize)> {
        (self.dirty.last != 0).then(|| self.take_dirty(self.dirty.last))
    }

    /// Takes the dirty slot that was added first, if that was at or before epoch `until`.
    pub fn oldest_dirty(&mut self, until: u32) -> Option<(usize, usize)> {
        let addr = self.dirty.first;
        (addr != 0 && self.is_old(addr, until)).then(|| self.take_dirty(addr))
    }

    /// Takes the slot that makes a huge page with `addr`, if it is dirty since epoch `until` or before.
    pub fn dirty_buddy(&mut self, addr: usize, until: u32) -> Option<(usize, usize)> {
        self.is_old(buddy(addr), until)
            .then(|| self.take_dirty(buddy(addr)))
    }

    fn is_old(&self, addr: usize, until: u32) -> bool {
        let note = self.note(addr);
        let epoch = (note >> (STATE_BITS + POOLS_BITS)) as u32;
        // Wrapping: epochs are compared as distances.
        note & STATE == DIRTY && until.wrapping_sub(epoch) as i32 >= 0
    }

    /// Takes the clean slot that was added last. True with it when it is known to read as zero.
    pub fn newest_clean(&mut self) -> Option<(usize, bool)> {
        let addr = self.clean.last;
        (addr != 0).then(|| (addr, self.unlink(addr) >> STATE_BITS != 0))
    }

    /// Takes the slot that makes a huge page with `addr`, if it is clean.
    pub fn clean_buddy(&mut self, addr: usize) -> Option<usize> {
        let buddy = buddy(addr);
        (self.note(buddy) & STATE == CLEAN).then(|| {
            self.unlink(buddy);
            buddy
        })
    }
}
