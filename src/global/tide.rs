//! Whether a thread's frees outweigh its allocs: what lists are for then.
//!
//! A block that waits in a list keeps its pool, and with it an arena, from being given back; where most of a heap is
//! freed there are many such pools. So lists get shorter as it drains, and end with nothing in them.
//!
//! | [`Level`] | live bytes of the heap | lists | left by |
//! |---|---|---|---|
//! | flood | as many as ever, or half | as long as the traffic makes them | half is freed: they are emptied |
//! | ebb | each time half is freed again, they are emptied | short | a refill: flood; one in 32 bytes is left of much: low |
//! | low | few of many | closed: what is freed goes home at once | a refill: flood |

use core::cell::Cell;

/// Below this many bytes a heap need not be drained: there is little to win.
const LITTLE: u64 = 4096;
/// Least high-water mark, in bytes, from which on it falls low.
const MUCH: u64 = 1 << 20;

/// Of so many bytes at high water, one at low water.
const FEW: u64 = 32;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_shorten_by_halves_and_close_when_little_is_left_of_much() {
        let tide = Tide::EMPTY;
        assert_eq!(tide.falls(64 << 20), None, "the most so far");
        assert_eq!(tide.falls(33 << 20), None, "more than half");
        for mib in [31, 15, 7, 3] {
            assert_eq!(tide.falls(mib << 20), Some(Level::Ebb));
        }
        assert_eq!(tide.falls(2 << 20), None, "half of 3 is less");
        assert_eq!(tide.falls(1 << 20), Some(Level::Low));
        assert_eq!(tide.level(), Level::Low);
        tide.turns();
        assert_eq!(tide.level(), Level::Flood);
        assert_eq!(tide.falls(1 << 19), None, "half of 1");
        assert_eq!(tide.falls(1 << 18), Some(Level::Ebb), "a quarter of 1");
    }

    #[test]
    fn a_small_heap_keeps_its_lists() {
        let tide = Tide::EMPTY;
        for kib in [512, 255, 100, 40, 15] {
            assert_ne!(tide.falls(kib << 10), Some(Level::Low));
        }
        assert_eq!(tide.falls(0), Some(Level::Ebb));
        assert_eq!(tide.falls(0), None, "nothing to win");
    }
}
