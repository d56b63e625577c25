//! Places for what the layer above keeps for the whole process: it has no statics of its own.

use super::thread;
use crate::sync::{AtomicPtr, Ordering};
use core::cell::Cell;
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

/// Where the recorder keeps what it has for the calling thread. `None` for one that has no heap: its lists have gone
/// home, or it never allocated.
#[inline]
pub(crate) fn place_of_thread() -> Option<&'static Cell<Option<NonNull<u8>>>> {
    thread::place_for_log()
}

/// What a thread does with it at its end.
pub(crate) type Farewell = fn(NonNull<u8>);

static FAREWELL: AtomicPtr<()> = AtomicPtr::new(null_mut());

/// Asks for a call at the end of each thread that has something in its place.
pub(crate) fn set_farewell(farewell: Farewell) {
    // Release: publishes what the function was prepared with.
    FAREWELL.store(farewell as *mut (), Ordering::Release);
}

/// The calling thread ends; this was in its place.
pub(super) fn say_farewell(kept: NonNull<u8>) {
    // Acquire: pairs with `set_farewell`.
    let farewell = FAREWELL.load(Ordering::Acquire);
    // SAFETY: only `set_farewell` fills the place, with a function of this type; null is `None`.
    let farewell = unsafe { core::mem::transmute::<*mut (), Option<Farewell>>(farewell) };
    if let Some(farewell) = farewell {
        farewell(kept);
    }
}
