//! The usual call of a watched thread, on a short way: its list has a block or room, and observers are all there is to
//! tell of it. Everything else goes by `watch.rs`, which comes here first; the C front, too, so that who looks on the
//! stack for the caller finds few frames of ours.

use super::event::{Event, tell_by};
use super::thread::{self, Thread};
use super::watch::{EXACT, WATCH};
use super::{behind, modes, slow};
use crate::obmalloc::block::Block;
use crate::obmalloc::size_class::{ALIGNMENT, SizeClass};
use crate::sync::Ordering;
use core::ptr::NonNull;

/// The calling thread, if all there is to do for a call is to tell [`EXACT`] of it: its lists are closed, every call is
/// observed, and none is judged, guarded or drawn for.
#[inline(always)]
fn plainly_observed() -> Option<&'static Thread> {
    if !modes::is_plainly_observed() {
        return None;
    }
    thread::watched(WATCH.load(Ordering::Relaxed))
}

/// A block that its user does not have yet, of which observers are to be told by this thread, and whether it was taken
/// from what threads share. `None` if it cannot be had at once.
#[inline(always)]
pub(super) fn take(
    size: usize,
    align: usize,
    zeroed: bool,
) -> Option<(&'static Thread, NonNull<u8>, bool)> {
    let thread = plainly_observed()?;
    let class = SizeClass::of(size).filter(|_| size > 0 && align <= ALIGNMENT)?;
    // What another observer's own calls are made of is not told.
    if (zeroed && class.block_bytes() >= slow::ZERO_FROM_HEAP) || thread.told.observing.get() {
        return None;
    }
    let block = behind::pop(thread, class)?;
    // SAFETY: a block of at least `size` and at least 16 bytes that is nobody else's yet.
    unsafe {
        if zeroed {
            block.start().write_bytes(0, size);
        }
        block.unmark();
    }
    Some((thread, block.start(), thread.told.taken.replace(false)))
}

/// A block for an API, with observers told of it. `None` if it cannot be had at once.
#[cfg(feature = "preload")]
#[inline(always)]
pub(crate) fn alloc(size: usize, zeroed: bool, api: u8) -> Option<NonNull<u8>> {
    let (thread, p, taken) = take(size, ALIGNMENT, zeroed)?;
    let event = Event::Allocated {
        address: p.addr().get(),
        size,
        align: ALIGNMENT,
        zeroed,
        taken,
        api,
    };
    tell_by(thread, &EXACT, &event);
    Some(p)
}

/// Frees a block with a class, if it can be done at once; `secret` is what free blocks are marked with, if they are. False
/// if nothing was done.
///
/// # Safety
/// If a live block of ours begins at `p`, it is not used any more.
#[inline(always)]
pub(crate) unsafe fn free(
    p: NonNull<u8>,
    class: Option<SizeClass>,
    size: Option<usize>,
    api: u8,
    secret: Option<usize>,
) -> bool {
    let Some(thread) = plainly_observed() else {
        return false;
    };
    let (Some(class), Some(lists)) = (class, thread.behind.get()) else {
        return false;
    };
    // SAFETY: labelled, and 16-aligned.
    let block = unsafe { Block::new(p) };
    // SAFETY: a block has room for a mark.
    if secret.is_some_and(|secret| unsafe { block.is_marked(secret) }) {
        return false;
    }
    let address = p.addr().get();
    tell_by(thread, &EXACT, &Event::Freeing { address, size, api });
    if let Some(secret) = secret {
        // SAFETY: the caller gives the block up.
        unsafe { block.mark(secret) };
    }
    // SAFETY: as above; the block is verified when it goes home.
    unsafe {
        if !lists.of(class).push(block) {
            slow::free_to_heap(block, class);
        }
    }
    true
}
