//! What is known of a huge block, and who may free it.
//!
//! | state | `place` | whose |
//! |---|---|---|
//! | live | address + [`LIVE`] | the user's: only he may free or resize the block |
//! | claimed, stored | address | whoever claimed it to free or move it, then the holder of the lock of `Huge` |
//! | spare | the last address, or 0 | the holder of that lock |
//!
//! A lookup may hold a descriptor whose block is long gone: a neighbour of the block asks who owns the
//! address, or a program frees a block twice. So `place` and `len` may be read at any time, a descriptor is
//! made once, in fresh memory, and never overwritten as a whole, and claiming names the address: a late free of
//! an old block cannot hit the next one that uses the same descriptor.
//!
//! Invariants:
//! * I1 of all that try to claim a live block one succeeds, and owns the descriptor from then on.
//! * I2 `rest` is the owner's alone.

use crate::sync::{AtomicUsize, Ordering, SharedCell};
use core::ptr::NonNull;

/// Blocks begin at multiples of 1 MiB, so the low bits of an address are free.
const LIVE: usize = 1;

/// A descriptor. It lives for ever.
pub(super) struct Descriptor {
    place: AtomicUsize,
    len: AtomicUsize,
    rest: SharedCell<Rest>,
}

/// What only the owner of a descriptor reads or writes.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    /// Whether the memory is a range of arena slots instead of a mapping.
    pub carved: bool,
    /// When it was stored, in purge epochs.
    pub epoch: u32,
    /// Slots that had come fresh from the system then.
    pub fresh: usize,
    /// Next spare descriptor.
    pub next: Option<NonNull<Descriptor>>,
}

impl Descriptor {
    /// A spare one.
    pub fn new() -> Self {
        let rest = Rest {
            carved: false,
            epoch: 0,
            fresh: 0,
            next: None,
        };
        Self {
            place: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            rest: SharedCell::new(rest),
        }
    }

    /// Runs `f` on what is the owner's alone.
    ///
    /// # Safety
    /// The caller owns the descriptor (I2).
    pub unsafe fn with_rest<R>(&self, f: impl FnOnce(&mut Rest) -> R) -> R {
        // SAFETY: exclusive by I2.
        unsafe { self.rest.with_mut(f) }
    }

    /// Makes the block at `base` live. For the owner, who gives the descriptor to the block's user.
    pub fn set_live(&self, base: NonNull<u8>, len: usize) {
        self.len.store(len, Ordering::Relaxed);
        // Release: pairs with `claim`, so that `len` and `rest` are seen even by a program's second free of
        // the address, which no hand-over orders.
        self.place
            .store(base.addr().get() | LIVE, Ordering::Release);
    }

    /// Whether the live block begins at `addr`. Only a hint, but for the block's user.
    pub fn is_live_at(&self, addr: usize) -> bool {
        // Relaxed: the user's own hand-over ordered it; for anybody else `claim` decides. Added, not or-ed: an
        // odd address must not find the block before it.
        self.place.load(Ordering::Relaxed) == addr.wrapping_add(LIVE)
    }

    /// Takes the live block at `addr` from its user; false when it is not that block's, or no longer.
    pub fn claim(&self, addr: usize) -> bool {
        // Acquire: pairs with `set_live`. Nothing is published: the next owner gets the descriptor under the
        // lock.
        self.place
            .compare_exchange(
                addr.wrapping_add(LIVE),
                addr,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// First byte of the block. For the owner.
    pub fn base(&self) -> NonNull<u8> {
        let (addr, _) = self.place();
        debug_assert!(addr != 0);
        // SAFETY: a block's address, never 0; its mapping was exposed when it was made.
        unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) }
    }

    /// Address of the block, the last one or 0 if it is spare, and whether it is live.
    pub fn place(&self) -> (usize, bool) {
        // Relaxed: the owner's own figure; a figure for a report to anybody else.
        let place = self.place.load(Ordering::Relaxed);
        (place & !LIVE, place & LIVE != 0)
    }

    /// Bytes of the block.
    pub fn len(&self) -> usize {
        // Relaxed: as `place`.
        self.len.load(Ordering::Relaxed)
    }
}
