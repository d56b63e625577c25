//! The sampled blocks that live: a table under a lock, and before it a filter that anybody asks without one.
//!
//! ```text
//! free of a block ─► its pool's bit of its class's 64 ─► its own bit of 131,072 ─► lock ─► table by address
//!                                └ 0: not sampled              └ 0: not sampled
//! ```
//!
//! C's frees do not ask: those of a pool with a sampled block are diverted (`address_map.rs`). So the table holds, beside
//! the blocks' addresses, how many are in each pool: the n-th of them counts at the pool's n-th place of 16 bytes, an
//! odd key ([`counter`]).
//!
//! * **I1** The bits of every block in the table is set before its user has the block, and stays while it is
//!   there. Whoever frees the block got it from its user, so he sees the bit.
//! * **I2** The table is at most half full, so every search ends; each block lies between its own place and the
//!   next free one.

use super::MAP;
use crate::obmalloc::address_map::class_of;
use crate::obmalloc::size_class::{ALIGNMENT, POOL_BYTES, SizeClass};
use crate::os::{self, Lock};
use crate::sync::{AtomicU64, Ordering, SharedCell};
use core::ptr::NonNull;

const WORDS: usize = 2048;
/// Bits of the filter.
const BITS: usize = 64 * WORDS;

/// How many blocks share a bit; one that ever was shared by so many is never cleared.
type Count = u8;

/// Under the lock.
struct Table {
    /// Addresses, 0 where there is none.
    entries: Option<NonNull<usize>>,
    /// Entries there is room for, a power of two.
    room: usize,
    used: usize,
    /// Blocks in the table by bit of the filter, and by bit of each class's word. They make a bit go with its last
    /// block: memory that is used again and again would else be asked for in the table each time.
    by_bit: Option<NonNull<[Count; BITS]>>,
    by_pool: [Count; 64 * SizeClass::COUNT],
}

// SAFETY: mappings that belong to no thread.
unsafe impl Send for Table {}

/// The set.
pub(super) struct SampledBlocks {
    classes: [AtomicU64; SizeClass::COUNT],
    filter: [AtomicU64; WORDS],
    lock: Lock,
    table: SharedCell<Table>,
}

/// Word and bit of an address.
#[inline]
fn place(address: usize) -> (usize, u64) {
    let mixed = (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 53) as usize, 1 << (mixed >> 47 & 63))
}

/// The bit of an address's pool in its class's word.
#[inline(always)]
pub(super) fn pool_bit(address: usize) -> u64 {
    1 << ((address / POOL_BYTES) & 63)
}

impl SampledBlocks {
    /// None.
    pub const fn new() -> Self {
        Self {
            classes: [const { AtomicU64::new(0) }; SizeClass::COUNT],
            filter: [const { AtomicU64::new(0) }; WORDS],
            lock: Lock::new(),
            table: SharedCell::new(Table {
                entries: None,
                room: 0,
                used: 0,
                by_bit: None,
                by_pool: [0; 64 * SizeClass::COUNT],
            }),
        }
    }

    /// The lock: for fork.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Whether the block at `address` may be one of them.
    #[inline(always)]
    pub fn may_have(&self, address: usize) -> bool {
        let (word, bit) = place(address);
        // Relaxed: who frees it has it from its user (I1).
        self.filter[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Bits of the pools of a class that may have some of them: see [`pool_bit`]. Read after the blocks that are
    /// asked for were freed.
    #[inline(always)]
    pub fn pools(&self, class: SizeClass) -> u64 {
        // Relaxed: as above.
        self.classes[class.index()].load(Ordering::Relaxed)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.table.with_mut(f) }
    }

    /// Adds a block. False when memory is out, or it is there.
    pub fn add(&self, address: usize) -> bool {
        self.with(|table| {
            if !table.add(address) {
                return false;
            }
            let class = class_of(MAP.label(address));
            if class.is_some() && !table.count_in_pool(address) {
                table.remove(address);
                return false;
            }
            let (word, bit) = place(address);
            if let Some(count) = table.count(word, bit) {
                *count = count.saturating_add(1);
            }
            self.filter[word].fetch_or(bit, Ordering::Relaxed);
            if let Some(class) = class {
                let bit = pool_bit(address);
                let count = table.count_of_pool(class, bit);
                *count = count.saturating_add(1);
                self.classes[class.index()].fetch_or(bit, Ordering::Relaxed);
                MAP.divert(address, true);
            }
            true
        })
    }

    /// Takes a block away. False when it is none of them.
    pub fn remove(&self, address: usize) -> bool {
        self.with(|table| {
            if !table.remove(address) {
                return false;
            }
            let (word, bit) = place(address);
            if table.count(word, bit).is_some_and(is_last) {
                self.filter[word].fetch_and(!bit, Ordering::Relaxed);
            }
            if let Some(class) = class_of(MAP.label(address)) {
                let bit = pool_bit(address);
                if is_last(table.count_of_pool(class, bit)) {
                    self.classes[class.index()].fetch_and(!bit, Ordering::Relaxed);
                }
                MAP.divert(address, !table.was_last_in_pool(address));
            }
            true
        })
    }
}

/// Counts one less, if the count is exact. True at none.
fn is_last(count: &mut Count) -> bool {
    if *count != Count::MAX {
        *count -= 1;
    }
    *count == 0
}

impl Table {
    fn entries(&mut self) -> &mut [usize] {
        match self.entries {
            // SAFETY: mapped for `room` entries, which are 0 at first.
            Some(start) => unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), self.room) },
            None => &mut [],
        }
    }

    fn len(room: usize) -> usize {
        (room * size_of::<usize>()).next_multiple_of(os::page_size())
    }

    /// The place of `address`, or the free one where it belongs.
    fn find(&mut self, address: usize) -> usize {
        let entries = self.entries();
        let mask = entries.len() - 1;
        let mut at = home(address) & mask;
        while entries[at] != 0 && entries[at] != address {
            at = (at + 1) & mask;
        }
        at
    }

    /// Blocks of a bit of the filter.
    fn count(&mut self, word: usize, bit: u64) -> Option<&mut Count> {
        // SAFETY: mapped for this, zero at first, and reached under the lock only.
        let counts = unsafe { self.by_bit?.as_mut() };
        counts.get_mut(word * 64 + bit.trailing_zeros() as usize)
    }

    fn count_of_pool(&mut self, class: SizeClass, bit: u64) -> &mut Count {
        &mut self.by_pool[class.index() * 64 + bit.trailing_zeros() as usize]
    }

    fn add(&mut self, address: usize) -> bool {
        if self.by_bit.is_none() {
            let len = size_of::<[Count; BITS]>().next_multiple_of(os::page_size());
            self.by_bit = os::map(len, os::page_size()).map(NonNull::cast);
        }
        if self.by_bit.is_none() || ((self.used + 1) * 2 > self.room && !self.grow()) {
            return false;
        }
        let at = self.find(address);
        if self.entries()[at] != 0 {
            return false;
        }
        self.entries()[at] = address;
        self.used += 1;
        true
    }

    fn remove(&mut self, address: usize) -> bool {
        if self.room == 0 {
            return false;
        }
        let mut hole = self.find(address);
        let entries = self.entries();
        if entries[hole] == 0 {
            return false;
        }
        let mask = entries.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if entries[at] == 0 {
                break;
            }
            // It may come forward if its own place is not behind the hole (I2).
            let distance = at.wrapping_sub(home(entries[at])) & mask;
            if distance >= (at.wrapping_sub(hole) & mask) {
                entries[hole] = entries[at];
                hole = at;
            }
        }
        entries[hole] = 0;
        self.used -= 1;
        true
    }

    fn n_in_pool(&mut self, address: usize) -> usize {
        let mut n = 0;
        while self.has(counter(address, n)) {
            n += 1;
        }
        n
    }

    /// Counts one more block of a pool. False when memory is out.
    fn count_in_pool(&mut self, address: usize) -> bool {
        let n = self.n_in_pool(address);
        self.add(counter(address, n))
    }

    /// Counts one less; true at none.
    fn was_last_in_pool(&mut self, address: usize) -> bool {
        let n = self.n_in_pool(address);
        n == 0 || (self.remove(counter(address, n - 1)) && n == 1)
    }

    fn has(&mut self, address: usize) -> bool {
        if self.room == 0 {
            return false;
        }
        let at = self.find(address);
        self.entries()[at] != 0
    }

    fn grow(&mut self) -> bool {
        let room = (2 * self.room).max(1024);
        let page = os::page_size();
        let Some(entries) = os::map(Self::len(room), page) else {
            return false;
        };
        let old = self.entries.replace(entries.cast());
        let old_room = core::mem::replace(&mut self.room, room);
        let Some(old) = old else {
            return true;
        };
        // SAFETY: mapped for so many entries.
        let addresses = unsafe { core::slice::from_raw_parts(old.as_ptr(), old_room) };
        for address in addresses.iter().filter(|address| **address != 0) {
            let at = self.find(*address);
            self.entries()[at] = *address;
        }
        // SAFETY: mapped here, and copied.
        unsafe { os::unmap(old.cast(), Self::len(old_room)) };
        true
    }
}

/// The key that stands for the `n`-th sampled block of the pool of `address`.
fn counter(address: usize, n: usize) -> usize {
    (address & !(POOL_BYTES - 1)) + ALIGNMENT * n + 1
}

/// Where the search for an address begins.
fn home(address: usize) -> usize {
    ((address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn it_is_a_set() {
        let set = SampledBlocks::new();
        let mut oracle = HashSet::new();
        let mut seed = 7u64;
        for step in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let address = 0x7f00_0000_0000 + (seed >> 33) as usize % 9000 * 16;
            if seed >> 20 & 1 == 0 {
                assert_eq!(set.add(address), oracle.insert(address), "step {step}");
            } else {
                assert_eq!(set.remove(address), oracle.remove(&address), "step {step}");
            }
            assert!(oracle.iter().take(3).all(|address| set.may_have(*address)));
        }
        assert_eq!(set.with(|table| table.used), oracle.len());
        assert!(oracle.iter().all(|address| set.remove(*address)));
        let bits = set.filter.iter().map(|word| word.load(Ordering::Relaxed));
        assert_eq!(
            bits.filter(|word| *word != 0).count(),
            0,
            "all bits are gone"
        );
    }
}
