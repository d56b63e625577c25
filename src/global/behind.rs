//! The lists of a watched thread: behind the empty ones that its hit paths see.
//!
//! ```text
//!                unwatched                                   watched
//! hit paths ──► [ lists ] ──► heap          hit paths ──► [ no block, no room ] ──► watch ──► [ lists ] ──► heap
//! ```
//!
//! Every call of a watched thread is slow, but the heap's lock and books need not be part of it: the region of
//! a thread serves a second set of lists, which only the slow paths reach ([`Thread::active`]).
//!
//! | state | `behind` | entered | left |
//! |---|---|---|---|
//! | open | none | the thread is born; `open` | `close` |
//! | closed | the lists | `close`: its first slow call of a watch | `open`: its first slow call after the watch; its end |
//!
//! * **I1** One of the two sets has the region; the other one holds no block and has no room.
//! * **I2** Where every block is guarded there is no second set: guarded blocks go to the heap one by one, as long as
//!   the process lives.

use super::thread::{self, Caller, Thread};
use super::{SharedHeap, regions, slow, watch};
use crate::obmalloc::block::Block;
use crate::obmalloc::list::Buffers;
use crate::obmalloc::size_class::SizeClass;
use crate::obmalloc::thread_lists::ThreadLists;
use core::ptr::NonNull;

/// Hides the lists from the hit paths.
pub(super) fn close(thread: &Thread, heap: &SharedHeap) {
    if thread.behind.get().is_some() {
        return;
    }
    slow::flush_all(thread, heap);
    let Some(region) = thread.lists.detach() else {
        return;
    };
    if watch::is_guarded() {
        // SAFETY: this thread's own, as before.
        unsafe { thread::attach(thread, region) };
        return;
    }
    // SAFETY: what a set of lists is attached to.
    let place = unsafe { regions::behind(region) };
    // SAFETY: the region is this thread's, and has room for a set of lists there.
    let lists = unsafe {
        place.write(ThreadLists::EMPTY);
        place.as_ref()
    };
    // Nobody but the slow paths sees them.
    // SAFETY: taken from the other set (I1).
    unsafe { lists.attach(region, Buffers::Without) };
    thread.behind.set(Some(lists));
}

/// Opens the lists if the last watch has ended.
#[inline]
pub(super) fn open_after_watch(thread: &Thread, heap: &SharedHeap) {
    if thread.behind.get().is_some() && !watch::is_exact() {
        open(thread, heap);
    }
}

/// Gives the lists back to the hit paths.
#[cold]
pub(super) fn open(thread: &Thread, heap: &SharedHeap) {
    slow::flush_all(thread, heap);
    let Some(lists) = thread.behind.take() else {
        return;
    };
    if let Some(region) = lists.detach() {
        // SAFETY: taken from the other set (I1).
        unsafe { thread::attach(thread, region) };
    }
}

/// Sends home what an unwatched thread holds; its lists are of the kind from now on that new ones have.
pub(super) fn renew(thread: &Thread, heap: &SharedHeap) {
    slow::flush_all(thread, heap);
    if let Some(region) = thread.lists.detach() {
        // SAFETY: this thread's own, as before.
        unsafe { thread::attach(thread, region) };
    }
}

/// The lists of the calling thread, if it is a watched one.
#[inline]
fn lists() -> Option<&'static ThreadLists> {
    match thread::caller() {
        Some(Caller::Live(thread, _)) => thread.behind.get(),
        _ => None,
    }
}

/// A block of the lists of a watched thread.
#[inline(always)]
pub(super) fn pop(thread: &Thread, class: SizeClass) -> Option<Block> {
    thread.behind.get()?.of(class).pop()
}

/// A block of `class` for a watched call. Null when memory is out.
#[inline]
pub(super) fn alloc(class: SizeClass) -> *mut u8 {
    if let Some(Caller::Live(thread, _)) = thread::caller()
        && let Some(block) = pop(thread, class)
    {
        return block.start().as_ptr();
    }
    super::event::note_taken();
    slow::alloc_from_heap(class)
}

/// Frees a block of a watched call's, of `class` or without one.
///
/// # Safety
/// `p` is a live block of `class`, or corruption to be reported.
#[inline]
pub(super) unsafe fn free(p: NonNull<u8>, class: Option<SizeClass>) {
    // SAFETY: the caller gives the block up; it is verified when it goes home.
    unsafe {
        let Some(class) = class else {
            return slow::free_unknown(p);
        };
        let block = Block::new(p);
        if !lists().is_some_and(|lists| lists.of(class).push(block)) {
            slow::free_to_heap(block, class);
        }
    }
}
