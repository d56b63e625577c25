//! Places for what the layer above keeps for the whole process: it has no statics of its own.

use crate::sync::{AtomicPtr, Ordering};
use core::ptr::{NonNull, null_mut};

/// Who keeps something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The recorder.
    Recorder,
    /// `tracemalloc`.
    Tracer,
    /// Scoped counters.
    Regions,
    /// The heap profile.
    HeapProfile,
    /// The server.
    Server,
    /// Who finds lines for it.
    #[cfg_attr(
        not(feature = "symbols"),
        allow(dead_code, reason = "there are lines with that feature only")
    )]
    Names,
}

static SLOTS: [AtomicPtr<u8>; 6] = [const { AtomicPtr::new(null_mut()) }; 6];

/// What `keeper` put there.
#[inline]
pub(crate) fn kept(keeper: Keeper) -> Option<NonNull<u8>> {
    // Acquire: pairs with `keep`.
    NonNull::new(SLOTS[keeper as usize].load(Ordering::Acquire))
}

/// Puts it there, once. False when something is there.
pub(crate) fn keep(keeper: Keeper, place: NonNull<u8>) -> bool {
    // Release: publishes what it points at.
    SLOTS[keeper as usize]
        .compare_exchange(
            null_mut(),
            place.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        )
        .is_ok()
}
