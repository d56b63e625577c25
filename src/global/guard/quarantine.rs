//! Where freed blocks wait before their memory is used again, so that writes to them are noticed.
//!
//! ```text
//! ring: | block | block | block | …           oldest first; `checks` takes one at random instead
//!         ^ first         ^ first + len
//! ```
//!
//! Bounded in blocks and in bytes. Nothing is done to a block under the lock. Without memory for the ring,
//! blocks do not wait.

use crate::os::{self, Lock};
use crate::sync::SharedCell;
use core::ptr::NonNull;

/// Most blocks.
const MOST: usize = 1 << 14;
/// Most bytes.
const MOST_BYTES: usize = 16 << 20;

/// One waiting block.
#[derive(Clone, Copy)]
pub struct Waiting {
    /// Its first byte.
    pub base: NonNull<u8>,
    /// Bytes of memory it keeps.
    pub weight: usize,
    /// Whether its pages are inaccessible but for the first.
    pub is_concealed: bool,
}

struct Ring {
    places: Option<NonNull<Waiting>>,
    first: usize,
    len: usize,
    bytes: usize,
    /// State of the random numbers.
    random: usize,
}

// SAFETY: waiting blocks are nobody's.
unsafe impl Send for Ring {}

static LOCK: Lock = Lock::new();
static RING: SharedCell<Ring> = SharedCell::new(Ring {
    places: None,
    first: 0,
    len: 0,
    bytes: 0,
    random: 0,
});

/// The lock: for fork.
pub fn lock() -> &'static Lock {
    &LOCK
}

impl Ring {
    fn place(&self, places: NonNull<Waiting>, index: usize) -> NonNull<Waiting> {
        // SAFETY: below `MOST`.
        unsafe { places.add((self.first + index) % MOST) }
    }

    fn push(&mut self, block: Waiting, random: Option<usize>) -> Option<Waiting> {
        if self.places.is_none() {
            let len = (MOST * size_of::<Waiting>()).next_multiple_of(os::page_size());
            self.places = os::map(len, os::page_size()).map(NonNull::cast);
            self.random = random.unwrap_or(0);
        }
        let (Some(places), true) = (self.places, self.len < MOST) else {
            return Some(block);
        };
        // SAFETY: places of the ring.
        unsafe {
            self.place(places, self.len).write(block);
            self.len += 1;
            self.bytes += block.weight;
            if random.is_some() {
                // The one that leaves next is any of those that wait.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                let other = self.place(places, self.random % self.len);
                self.place(places, 0).swap(other);
            }
        }
        None
    }

    fn pop(&mut self, bytes: usize, blocks: usize) -> Option<Waiting> {
        let places = self.places?;
        if self.len == 0 || (self.bytes <= bytes && self.len <= blocks) {
            return None;
        }
        // SAFETY: a place of the ring, and written.
        let oldest = unsafe { self.place(places, 0).read() };
        self.first = (self.first + 1) % MOST;
        self.len -= 1;
        self.bytes -= oldest.weight;
        Some(oldest)
    }
}

/// Lets a block wait. `random`, if given, is a seed: then the order is random. Returns it again if it cannot.
pub fn push(block: Waiting, random: Option<usize>) -> Option<Waiting> {
    if block.weight > MOST_BYTES {
        return Some(block);
    }
    let _locked = LOCK.lock();
    // SAFETY: the lock is held.
    unsafe { RING.with_mut(|ring| ring.push(block, random)) }
}

/// A block that has waited, while too many do.
pub fn pop() -> Option<Waiting> {
    let _locked = LOCK.lock();
    // SAFETY: the lock is held.
    unsafe { RING.with_mut(|ring| ring.pop(MOST_BYTES, MOST - 1)) }
}

/// A block that waits, as long as one does: at the end of the process.
pub fn pop_any() -> Option<Waiting> {
    let _locked = LOCK.try_lock()?;
    // SAFETY: the lock is held.
    unsafe { RING.with_mut(|ring| ring.pop(0, 0)) }
}
