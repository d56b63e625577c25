//! Everything a report of bounded length shows, of one moment and without an allocation.
//!
//! A process may have thousands of arenas. [`Greatest`] keeps the rows with most in them and adds the others up.

use super::ROSTER;
use super::stats::{ArenaStats, HeapStats, Stats};

/// Rows that a report shows one by one.
pub(crate) const SHOWN: usize = 16;

/// A row of figures.
pub(crate) trait Row: Copy + Default {
    /// How much there is in it.
    fn weight(&self) -> u64;
    /// Adds another row's figures.
    fn add(&mut self, other: &Self);
}

impl Row for ArenaStats {
    fn weight(&self) -> u64 {
        self.pools_in_use.into()
    }

    fn add(&mut self, other: &Self) {
        self.pools_in_use += other.pools_in_use;
        self.pools_free += other.pools_free;
        self.pools_dirty += other.pools_dirty;
    }
}

impl Row for HeapStats {
    fn weight(&self) -> u64 {
        self.block_bytes
    }

    fn add(&mut self, other: &Self) {
        self.threads += other.threads;
        self.arenas += other.arenas;
        self.arenas_high += other.arenas_high;
        self.block_bytes += other.block_bytes;
        self.block_bytes_high += other.block_bytes_high;
    }
}

/// The greatest of many rows, greatest first, and the sum of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greatest<T> {
    rows: [T; SHOWN],
    n: usize,
    others: u64,
    rest: T,
}

impl<T: Row> Greatest<T> {
    fn new() -> Self {
        Self {
            rows: [T::default(); SHOWN],
            n: 0,
            others: 0,
            rest: T::default(),
        }
    }

    /// Puts a row in its place.
    fn note(&mut self, row: T) {
        let at = self.rows[..self.n].partition_point(|other| other.weight() >= row.weight());
        let last = if self.n < SHOWN {
            self.n += 1;
            None
        } else {
            Some(self.rows[SHOWN - 1])
        };
        let displaced = if at < SHOWN {
            self.rows[at..self.n].rotate_right(1);
            self.rows[at] = row;
            last
        } else {
            Some(row)
        };
        if let Some(row) = displaced {
            self.rest.add(&row);
            self.others += 1;
        }
    }

    /// The greatest, greatest first.
    pub fn rows(&self) -> &[T] {
        &self.rows[..self.n]
    }

    /// The sum of the others; `None` if there are none.
    pub fn rest(&self) -> Option<&T> {
        (self.others > 0).then_some(&self.rest)
    }
}

/// The figures of one moment.
pub(crate) struct Figures {
    /// The process.
    pub stats: Stats,
    /// Heaps by the bytes of their blocks.
    pub heaps: Greatest<HeapStats>,
    /// Arenas by their pools in use.
    pub arenas: Greatest<ArenaStats>,
}

/// The figures now.
pub(crate) fn figures() -> Figures {
    let mut heaps = Greatest::new();
    let mut arenas = Greatest::new();
    let stats = Stats::now_with(&mut |heap, state| {
        heaps.note(HeapStats::of(heap, state));
        ArenaStats::of_each(heap, state, |arena| arenas.note(arena));
    });
    for heap in &mut heaps.rows[..heaps.n] {
        (heap.threads, heap.thread) = ROSTER.users(heap.heap);
    }
    Figures {
        stats,
        heaps,
        arenas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(number: usize) -> HeapStats {
        HeapStats {
            heap: number,
            block_bytes: number as u64,
            ..HeapStats::default()
        }
    }

    #[test]
    fn the_greatest_are_kept_and_the_others_added_up() {
        let mut few = Greatest::new();
        for number in [3, 1, 2] {
            few.note(heap(number));
        }
        let numbers = |of: &Greatest<HeapStats>| of.rows().iter().map(|row| row.heap).collect();
        let shown: Vec<_> = numbers(&few);
        assert_eq!(shown, [3, 2, 1]);
        assert!(few.rest().is_none());
        let mut many = Greatest::new();
        // In an order that is neither rising nor falling.
        (0..100).for_each(|n| many.note(heap(n * 37 % 100)));
        let shown: Vec<_> = numbers(&many);
        assert_eq!(shown, (84..100).rev().collect::<Vec<_>>());
        let rest = many.rest().expect("others");
        assert_eq!(rest.block_bytes, (0..84).sum::<u64>());
    }
}
