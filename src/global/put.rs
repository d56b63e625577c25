//! How a block that C's `free` is given enters a list of its thread: one way for calls that nobody watches (`shim/malloc.rs`)
//! and for those of which one observer is told (`shortly.rs`).

use super::MAP;
use crate::obmalloc::block::Block;
use crate::obmalloc::thread_lists::{ListPlace, ThreadLists};
use core::ptr::NonNull;

/// Puts a block on a list. False if nothing was done: there is no room, or it lies free. Calls `begin` just before it does
/// something.
///
/// # Safety
/// 1. The list is that of the address's label, or the one without room.
/// 2. The lists have no buffers.
/// 3. If a live block of ours begins at `p`, it is not used any more.
#[inline(always)]
pub(crate) unsafe fn put_on_list(
    lists: &ThreadLists,
    place: ListPlace,
    p: *mut u8,
    begin: impl FnOnce(),
) -> bool {
    let marked = || {
        // SAFETY: label 0 (foreign, huge, private, free, diverted) has no room, so the address is labelled (1): inside a
        // pool of ours and not null, and 16-aligned.
        let block = unsafe { Block::new(NonNull::new_unchecked(p)) };
        // SAFETY: a block has room for a mark.
        if unsafe { block.is_marked(MAP.secret()) } {
            return None;
        }
        begin();
        // SAFETY: the caller gives the block up (3); it is verified when it goes home.
        unsafe { block.mark(MAP.secret()) };
        Some(block)
    };
    // SAFETY: the list of this address (1), without a buffer (2); the block is free by now.
    unsafe { lists.push_made(place, marked) }
}
