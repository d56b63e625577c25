//! Something done once for the process by whoever comes first, without making others wait.
//!
//! | state | meaning | left by |
//! |---|---|---|
//! | new | nobody has begun | `claim`, once |
//! | claimed | being done; may call back into the allocator | `finish` |
//! | done | the key is there | never |
//! | refused | the system gave none | never |
//!
//! Waiting is out of the question: the one who registers may call back for memory, and so ask again.

use crate::sync::{AtomicU8, AtomicU32, Ordering, const_unless_loom};

const NEW: u8 = 0;
const CLAIMED: u8 = 1;
const DONE: u8 = 2;
const REFUSED: u8 = 3;

/// A key that somebody gets from the system once.
pub struct Registration {
    state: AtomicU8,
    key: AtomicU32,
}

impl Registration {
    const_unless_loom! {
        /// Not begun.
        pub fn new() -> Self {
            Self { state: AtomicU8::new(NEW), key: AtomicU32::new(0) }
        }
    }

    /// The key, if it is there.
    #[inline]
    pub fn key(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `finish`, so that the key is seen.
        (self.state.load(Ordering::Acquire) == DONE).then(|| self.key.load(Ordering::Relaxed))
    }

    /// Whether nobody has begun: a hint.
    pub fn is_new(&self) -> bool {
        // Relaxed: `claim` decides.
        self.state.load(Ordering::Relaxed) == NEW
    }

    /// True for the one caller who is to do it, and then calls [`Self::finish`].
    pub fn claim(&self) -> bool {
        // Relaxed: nothing was published before.
        self.state
            .compare_exchange(NEW, CLAIMED, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Publishes the key, or that there is none.
    pub fn finish(&self, key: Option<u32>) {
        if let Some(key) = key {
            self.key.store(key, Ordering::Relaxed);
        }
        let state = if key.is_some() { DONE } else { REFUSED };
        // Release: publishes the key.
        self.state.store(state, Ordering::Release);
    }
}
