//! Whether a thread's frees outweigh its allocs: what lists are for then.
//!
//! A block that waits in a list keeps its pool, and with it an arena, from being given back; where most of a heap is
//! freed there are many such pools. So lists get shorter as it drains, and end with nothing in them.
//!
//! | [`Level`] | live bytes of the heap | lists | left by |
//! |---|---|---|---|
//! | flood | as many as ever, or half | as long as the traffic makes them | half is freed: they are emptied |
//! | ebb | each time half is freed again, they are emptied | short: in large heaps a 512th of what is left | a refill: flood; one in 128 bytes is left of a large heap: low |
//! | low | few of many | closed: what is freed goes home at once | a refill: flood |

use super::thread::Thread;
use super::{SharedHeap, slow};
use crate::obmalloc::heap::Freed;
use crate::obmalloc::size_class::SizeClass;
use core::cell::Cell;

/// Below this many bytes a heap need not be drained: there is little to win.
const LITTLE: u64 = 4096;
/// Least high-water mark, in bytes, of a heap that is large: it falls low.
const MUCH: u64 = 4 << 20;

/// Of so many bytes at high water, one at low water.
const FEW: u64 = 128;
/// At ebb, of so many bytes that are out, one in each list.
const LIST_PART: u64 = 512;

/// What a thread's lists do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// They work.
    Flood,
    /// They are short.
    Ebb,
    /// They are closed for frees.
    Low,
}

/// The level, and what it was judged by.
pub(super) struct Tide {
    level: Cell<Level>,
    /// The most bytes of blocks the heap had out since the lists were emptied last, and before the ebb.
    most: Cell<u64>,
    high_water: Cell<u64>,
}

impl Tide {
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make records from"
    )]
    pub const EMPTY: Self = Self {
        level: Cell::new(Level::Flood),
        most: Cell::new(0),
        high_water: Cell::new(0),
    };

    /// What the lists do now.
    pub fn level(&self) -> Level {
        self.level.get()
    }

    /// The thread allocates again.
    pub fn turns(&self) {
        self.level.set(Level::Flood);
    }

    /// Bytes that each list may hold at ebb, of a heap that was large: so little of the `live` bytes that all lists together
    /// hold less than what is left at low water, which is noticed by a list that runs over.
    fn list_bytes(&self, live: u64) -> Option<usize> {
        (self.high_water.get() >= MUCH).then_some((live / LIST_PART) as usize)
    }

    /// Notes that `live` bytes of blocks are out after a flush. What the lists, emptied, should do now; `None` when
    /// nothing changes.
    pub fn falls(&self, live: u64) -> Option<Level> {
        let most = self.most.get().max(live);
        self.most.set(most);
        if live >= most / 2 || most <= LITTLE {
            return None;
        }
        if self.level.get() == Level::Flood {
            self.high_water.set(most);
        }
        let high = self.high_water.get();
        let level = if high >= MUCH && live < high / FEW {
            Level::Low
        } else {
            Level::Ebb
        };
        self.most.set(live);
        self.level.set(level);
        Some(level)
    }
}

/// Empties the lists, and shortens or closes them, if so much has come back. Returns the free pools that hold
/// memory.
pub(super) fn ebb(thread: &Thread, heap: &SharedHeap, freed: Freed) -> u64 {
    let Some(level) = thread.tide.falls(freed.live_bytes) else {
        return freed.dirty_pools;
    };
    slow::flush_all(thread, heap);
    let most_bytes = thread.tide.list_bytes(freed.live_bytes);
    for class in SizeClass::all() {
        match level {
            Level::Low => thread.active().close(class),
            Level::Flood | Level::Ebb => thread.active().shorten(class, most_bytes),
        }
    }
    heap.gate().enter(|state| state.engine.dirty().pools())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_shorten_by_halves_and_close_when_little_is_left_of_much() {
        let tide = Tide::EMPTY;
        assert_eq!(tide.falls(64 << 20), None, "the most so far");
        assert_eq!(tide.falls(33 << 20), None, "more than half");
        for mib in [31, 15, 7, 3, 1] {
            assert_eq!(tide.falls(mib << 20), Some(Level::Ebb));
        }
        assert_eq!(tide.falls(1 << 19), None, "half of 1");
        assert_eq!(tide.falls(1 << 18), Some(Level::Low));
        assert_eq!(tide.level(), Level::Low);
        tide.turns();
        assert_eq!(tide.level(), Level::Flood);
        assert_eq!(tide.falls(1 << 17), None, "half of a quarter");
        assert_eq!(tide.falls(1 << 16), Some(Level::Ebb), "half of an eighth");
    }

    #[test]
    fn a_small_heap_keeps_its_lists() {
        let tide = Tide::EMPTY;
        for kib in [2048, 512, 255, 100, 40, 15] {
            assert_ne!(tide.falls(kib << 10), Some(Level::Low));
        }
        assert_eq!(tide.falls(0), Some(Level::Ebb));
        assert_eq!(tide.falls(0), None, "nothing to win");
    }
}
