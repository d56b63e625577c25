//! Fences: inaccessible pages between an arena's headers and its first block.
//!
//! ```text
//! slot 0: | Arena, headers, bits: 12 KiB | fence: 4 KiB, inaccessible | slot 1: block 0 | …
//! ```
//!
//! A program that writes in front of a block may hit its neighbour; in front of an arena's first block it would
//! hit what the allocator knows of all of them, or the unused pages behind it. There it faults instead. Each
//! fence splits a mapping, and the kernel counts those, so only the first arenas of the process have one; and
//! none has where a page is larger than the 4 KiB that are left.

use super::geometry::HEADER_SLOT_BYTES;
use super::size_class::POOL_BYTES;
use crate::os;
use crate::sync::{AtomicUsize, Ordering, const_unless_loom};
use core::ptr::NonNull;

/// Bytes of an arena's headers and bits, and of the fence behind them.
const HEADERS: usize = HEADER_SLOT_BYTES;
const FENCE_BYTES: usize = POOL_BYTES - HEADERS;
/// Most fences at a time.
const MOST: usize = 32;

/// How many there are.
pub struct Fences {
    n: AtomicUsize,
}

fn start(arena: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: inside the arena.
    unsafe { arena.add(HEADERS) }
}

impl Fences {
    const_unless_loom! {
        /// None.
        pub fn new() -> Self {
            Self { n: AtomicUsize::new(0) }
        }
    }

    /// Builds an arena's fence; false when it gets none.
    ///
    /// # Safety
    /// The arena is committed, and its first block begins at its second pool or later.
    pub unsafe fn build(&self, arena: NonNull<u8>) -> bool {
        // A model's memory is whole slots. Relaxed: a bound that may be missed by some.
        if cfg!(loom) || self.n.load(Ordering::Relaxed) >= MOST || os::page_size() > FENCE_BYTES {
            return false;
        }
        // SAFETY: between headers and blocks, by the caller's word.
        let built = unsafe { os::protect(start(arena), FENCE_BYTES) };
        self.n.fetch_add(usize::from(built), Ordering::Relaxed);
        built
    }

    /// Takes an arena's fence away; false when the kernel refuses.
    ///
    /// # Safety
    /// [`Self::build`] was true for this arena.
    pub unsafe fn remove(&self, arena: NonNull<u8>) -> bool {
        self.n.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the arena's own pages, by the caller's word.
        unsafe { os::commit(start(arena), FENCE_BYTES) }
    }
}
