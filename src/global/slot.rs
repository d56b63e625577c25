//! A place for what the layer above keeps for the whole process: it has no statics of its own.

use crate::sync::{AtomicPtr, Ordering};
use core::ptr::{NonNull, null_mut};

static RECORDER: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// What the recorder put there.
#[inline]
pub(crate) fn recorder() -> Option<NonNull<u8>> {
    // Acquire: pairs with `fill_recorder`.
    NonNull::new(RECORDER.load(Ordering::Acquire))
}

/// Puts it there, once. False when something is there.
pub(crate) fn fill_recorder(place: NonNull<u8>) -> bool {
    // Release: publishes what it points at.
    RECORDER
        .compare_exchange(
            null_mut(),
            place.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        )
        .is_ok()
}
