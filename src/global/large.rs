//! What a thread's lists of large blocks hold together.
//!
//! | lists of blocks above 4 KiB may hold | then |
//! |---|---|
//! | 64 KiB or less together, or a 128th of what the heap has out | nothing |
//! | more, because one of them grew | the others go home, and have no room until they are used again |
//!
//! Called from slow calls only, by the thread whose lists they are.

use super::{SharedHeap, slow};
use crate::obmalloc::list::Worked;
use crate::obmalloc::size_class::SizeClass;
use crate::obmalloc::thread_lists::ThreadLists;

/// Lets a list grow that is about to be refilled or flushed. The lists of large blocks hold together no more than a
/// small part of what the heap has out.
pub(super) fn lengthen(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass, now: Worked) {
    /// In bytes: what a thread may keep whatever its heap has out.
    const LEAST: usize = 64 * 1024;
    if lists.lengthen(class, now) && lists.large_bytes() > LEAST {
        close_large(lists, heap, class);
    }
}

/// Sends home what the lists of large blocks hold, but that of `class`, if they hold too much together.
#[cold]
#[inline(never)]
fn close_large(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) {
    let live = heap
        .gate()
        .enter(|state| state.engine.counters().block_bytes);
    if lists.large_bytes() as u64 <= live / 128 {
        return;
    }
    for other in ThreadLists::large_classes().filter(|other| *other != class) {
        if lists.of(other).bound() > 0 {
            slow::flush(lists, heap, other);
            lists.close(other);
        }
    }
}
