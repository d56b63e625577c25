//! Blocks of no bytes: what C's `malloc(0)` gives.
//!
//! ```text
//! region:  | 16 | 16 | 16 | …     inaccessible address space: whoever reads or writes there ends the process
//! states:  |  l |  f |  n | …     one byte each: never given, live, freed
//! ```
//!
//! Each is an address of its own, as C wants it, and nothing more: it takes one byte of memory. Places are
//! given in turn, so an address comes back as late as can be. When there is no place, or no region, `malloc(0)`
//! gives a block of 16 bytes. The option `zero_size:block` wants that always.

use super::OPTIONS;
use crate::obmalloc::size_class::ALIGNMENT;
use crate::os;
use crate::sync::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use core::ptr::{NonNull, null_mut};

/// Places in the region: 4 MiB of address space.
const PLACES: usize = 1 << 18;
const REGION_BYTES: usize = PLACES * ALIGNMENT;

const NEVER: u8 = 0;
const LIVE: u8 = 1;
const FREED: u8 = 2;

/// First byte of the region; null until it is made.
static REGION: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// State of each place.
static STATES: AtomicPtr<AtomicU8> = AtomicPtr::new(null_mut());
/// The place to try next.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// What a pointer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nothing {
    /// Not in the region.
    Elsewhere,
    /// A live block of no bytes; no longer, if it was to be freed.
    Live,
    /// One that was freed.
    Freed,
    /// No place that was ever given.
    None,
}

fn state(region: *mut u8, index: usize) -> &'static AtomicU8 {
    debug_assert!(!region.is_null() && index < PLACES);
    // SAFETY: the states were published before the region and stay for ever; the index is below `PLACES`.
    unsafe { &*STATES.load(Ordering::Acquire).add(index) }
}

/// Makes the region. Null when there is no address space.
#[cold]
fn region() -> *mut u8 {
    let page = os::page_size();
    let made = os::map(PLACES, page).zip(os::reserve(REGION_BYTES, page));
    let Some((states, region)) = made else {
        return null_mut();
    };
    // Both are published once, states first: whoever sees the region sees its states.
    let first = |place: &AtomicPtr<AtomicU8>, p: NonNull<u8>| {
        place
            .compare_exchange(
                null_mut(),
                p.as_ptr().cast(),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    };
    // SAFETY: mapped just now, and if another thread was first, known to nobody.
    unsafe {
        if !first(&STATES, states) {
            os::unmap(states, PLACES);
        }
        match REGION.compare_exchange(
            null_mut(),
            region.as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => region.as_ptr(),
            Err(other) => {
                os::unmap(region, REGION_BYTES);
                other
            }
        }
    }
}

/// A block of no bytes; `None` when there is no place for one or none is wanted.
pub(super) fn alloc() -> Option<NonNull<u8>> {
    OPTIONS.load();
    OPTIONS.zero_size_traps().then(take_place).flatten()
}

/// Takes a place; `None` when none is free, or there is no region.
fn take_place() -> Option<NonNull<u8>> {
    /// Places that may be taken before we give up looking.
    const TRIES: usize = 64;
    let mut start = REGION.load(Ordering::Acquire);
    if start.is_null() {
        start = os::keep_errno(region);
    }
    if start.is_null() {
        return None;
    }
    (0..TRIES).find_map(|_| {
        // Relaxed: only a hint where to look.
        let index = NEXT.fetch_add(1, Ordering::Relaxed) % PLACES;
        let state = state(start, index);
        let before = state.load(Ordering::Relaxed);
        let taken = before != LIVE
            && state
                .compare_exchange(before, LIVE, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        // SAFETY: inside the region.
        taken.then(|| unsafe { NonNull::new_unchecked(start.add(index * ALIGNMENT)) })
    })
}

fn index_of(p: NonNull<u8>) -> Option<(usize, *mut u8)> {
    let start = REGION.load(Ordering::Acquire);
    let offset = p.addr().get().wrapping_sub(start.addr());
    (!start.is_null() && offset < REGION_BYTES).then_some((offset, start))
}

/// What `p` is; if it is live and `frees`, it is so no longer, for one of two racing callers.
fn look(p: NonNull<u8>, frees: bool) -> Nothing {
    let Some((offset, start)) = index_of(p) else {
        return Nothing::Elsewhere;
    };
    if !offset.is_multiple_of(ALIGNMENT) {
        return Nothing::None;
    }
    let state = state(start, offset / ALIGNMENT);
    let next = if frees { FREED } else { LIVE };
    match state.compare_exchange(LIVE, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Nothing::Live,
        Err(NEVER) => Nothing::None,
        Err(_) => Nothing::Freed,
    }
}

/// Frees a block of no bytes; false when `p` is not in the region. Reports a pointer that is not live.
pub(super) fn free(p: NonNull<u8>) -> bool {
    match look(p, true) {
        Nothing::Elsewhere => return false,
        Nothing::Live => {}
        Nothing::Freed => os::fatal(format_args!("double free of {p:p} (0 bytes)")),
        Nothing::None => os::fatal(format_args!(
            "free of {p:p}, which is not a block of this heap"
        )),
    }
    true
}

/// Whether `p` lies in the region, and is live there.
pub(super) fn is_live(p: NonNull<u8>) -> Option<bool> {
    match look(p, false) {
        Nothing::Elsewhere => None,
        what => Some(what == Nothing::Live),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_of_nothing_is_another_and_freed_once() {
        let blocks: Vec<_> = (0..1000).map(|_| take_place().expect("a place")).collect();
        let mut sorted = blocks.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 1000);
        for p in blocks {
            assert_eq!(p.addr().get() % ALIGNMENT, 0);
            assert_eq!(is_live(p), Some(true));
            assert!(free(p));
            assert_eq!((is_live(p), look(p, true)), (Some(false), Nothing::Freed));
        }
        assert_eq!(
            look(NonNull::from(&REGION).cast(), true),
            Nothing::Elsewhere
        );
        a_full_region_gives_none_and_a_free_place_is_found_again();
        places_are_given_where_the_options_want_them();
    }

    /// Not a test of its own: beside it nobody else can have a place.
    fn a_full_region_gives_none_and_a_free_place_is_found_again() {
        let all: Vec<_> = core::iter::from_fn(take_place).take(PLACES + 1).collect();
        assert!(all.len() <= PLACES && all.len() > PLACES - 2000);
        all.into_iter().for_each(|p| assert!(free(p)));
        assert!(free(take_place().expect("a place")));
    }

    /// In production and under `checks:on`; in debug mode a block of no bytes has pads, and lies elsewhere.
    fn places_are_given_where_the_options_want_them() {
        let given = alloc();
        assert_eq!(given.is_some(), OPTIONS.zero_size_traps());
        assert!(given.is_none_or(free));
    }
}
