//! What object heaps take from this process's allocator: arena slots, huge blocks, and the place where a
//! thread finds its heap.
//!
//! Slots of object arenas stay nobody's in the address map: a stray `free` of an object is a foreign one.

use super::{EXTENTS, event, huge, purge, slow};
use crate::obmalloc::size_class::{ARENA_BYTES, ARENA_POOLS};
use crate::os;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

/// Memory of one arena, at a multiple of its size; true with it when it reads as zero.
pub(crate) fn obtain() -> Option<(NonNull<u8>, bool)> {
    if os::IS_INTERPRETED {
        return Some((from_std(ARENA_BYTES)?, true));
    }
    super::OPTIONS.load();
    event::note_taken();
    os::keep_errno(|| EXTENTS.obtain_slot())
}

/// At least `len` bytes at a multiple of an arena's size.
pub(crate) fn obtain_huge(len: usize) -> Option<NonNull<u8>> {
    if os::IS_INTERPRETED {
        return from_std(len);
    }
    event::note_taken();
    NonNull::new(huge::alloc_block(len, ARENA_BYTES))
}

/// Takes back what [`obtain`], or for `huge` [`obtain_huge`], gave. The caller says afterwards that it is done,
/// by [`settle`].
///
/// # Safety
/// 1. Nothing in it is used any more.
pub(crate) unsafe fn release(base: NonNull<u8>, huge: bool) {
    if os::IS_INTERPRETED {
        // A huge one's size is not known here; it stays.
        if !huge {
            // SAFETY: of `from_std` with this size; duty 1.
            unsafe { std::alloc::dealloc(base.as_ptr(), layout(ARENA_BYTES)) };
        }
        return;
    }
    if huge {
        // SAFETY: a huge block by duty 1.
        return unsafe { slow::free_unknown(base) };
    }
    os::keep_errno(|| EXTENTS.release(base.addr().get(), purge::epoch(), ARENA_POOLS));
}

/// Looks whether too much lies free. After a collection, which frees much at once, half of that is kept until
/// the next one, or any other look.
pub(crate) fn settle(after_collection: bool) {
    if os::IS_INTERPRETED {
        return;
    }
    os::keep_errno(|| {
        if after_collection {
            purge::poll_for_half();
        } else {
            purge::poll(0);
        }
    });
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, ARENA_BYTES).expect("below the address space's half")
}

/// Zeroed memory for an interpreter, which sees each object of std's by itself, and so a wild access.
fn from_std(len: usize) -> Option<NonNull<u8>> {
    // SAFETY: the length is not 0.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(len)) })
}

std::thread_local! {
    /// The thread's object heap; null before the first object.
    static CURRENT: Cell<*mut ()> = const { Cell::new(core::ptr::null_mut()) };
    /// The object heap that the thread made last, of those that are.
    static NEWEST: Cell<*mut ()> = const { Cell::new(core::ptr::null_mut()) };
    /// What is done when the thread ends.
    static AT_EXIT: AtExit = const { AtExit(Cell::new(None)) };
}

/// Calls its function when the thread ends.
struct AtExit(Cell<Option<fn()>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// The thread's object heap, as the upper layer set it.
#[inline(always)]
pub(crate) fn current() -> *mut () {
    CURRENT.get()
}

/// Sets the thread's object heap.
pub(crate) fn set_current(heap: *mut ()) {
    CURRENT.set(heap);
}

/// The object heap that the thread made last, as the upper layer set it.
pub(crate) fn newest() -> *mut () {
    NEWEST.get()
}

/// Sets that heap.
pub(crate) fn set_newest(heap: *mut ()) {
    NEWEST.set(heap);
}

/// Has `end` called when the thread ends. False when it is ending already.
pub(crate) fn at_thread_exit(end: fn()) -> bool {
    AT_EXIT.try_with(|at_exit| at_exit.0.set(Some(end))).is_ok()
}
