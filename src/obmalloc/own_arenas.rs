//! The arenas with small pools that a heap knows for its own by their numbers alone.
//!
//! Who owns an arena says the arena itself, and that it is one says the address map: two lines of memory more for each
//! block of a flush that goes somewhere else than the one before it. A heap that remembers its arenas needs neither.
//!
//! ```text
//! address:  | number of its arena          | 20 bits |
//!             number % PLACES -> places[k] == number : ours
//! ```
//!
//! Invariant I1: a number in its place is that of an arena the heap has, with bits for its small pools (`free_bits.rs`):
//! what is freed there and is no block that is out is known by its bit, whatever lies around it. The reverse does not
//! hold: of two arenas for one place the one that got a pool last has it.
//!
//! All of it is used under the lock of the heap.

use super::size_class::ARENA_BYTES;

/// A power of two. Numbers of arenas follow each other, so that heaps of up to so many MiB are known whole.
const PLACES: usize = 64;

/// In a place without an arena: no address has so high a number, not even a wrong one.
const NOBODY: usize = usize::MAX;

/// See the module.
pub struct OwnArenas {
    places: [usize; PLACES],
}

impl OwnArenas {
    /// None.
    pub const NONE: Self = Self {
        places: [NOBODY; PLACES],
    };

    /// Whether `addr` lies in an arena that is known to be the heap's.
    #[inline(always)]
    pub fn has(&self, addr: usize) -> bool {
        let number = addr / ARENA_BYTES;
        self.places[number % PLACES] == number
    }

    /// Remembers the arena at `addr`, which the heap has and which has small pools.
    pub fn add(&mut self, addr: usize) {
        let number = addr / ARENA_BYTES;
        self.places[number % PLACES] = number;
    }

    /// Forgets the arena at `addr`, which the heap gives back or uses for runs.
    pub fn remove(&mut self, addr: usize) {
        let number = addr / ARENA_BYTES;
        let place = &mut self.places[number % PLACES];
        if *place == number {
            *place = NOBODY;
        }
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_is_known_until_it_is_forgotten() {
        let mut own = OwnArenas::NONE;
        let addrs = [3, 4, 3 + PLACES].map(|number| number * ARENA_BYTES);
        own.add(addrs[0]);
        own.add(addrs[1]);
        assert!(own.has(addrs[0]) && own.has(addrs[0] + ARENA_BYTES - 1));
        assert!(own.has(addrs[1]) && !own.has(addrs[1] + ARENA_BYTES));
        assert!(!own.has(addrs[2]), "another one of the same place");

        own.add(addrs[2]);
        assert!(own.has(addrs[2]) && !own.has(addrs[0]));
        own.remove(addrs[0]);
        assert!(own.has(addrs[2]), "the place is another's by now");
        own.remove(addrs[2]);
        assert!(!own.has(addrs[2]) && own.has(addrs[1]));
    }

    #[test]
    fn nothing_is_known_at_first() {
        let mut addrs = (0..=PLACES).map(|number| number * ARENA_BYTES);
        assert!(addrs.all(|addr| !OwnArenas::NONE.has(addr)));
        assert!(!OwnArenas::NONE.has(usize::MAX));
    }
}
