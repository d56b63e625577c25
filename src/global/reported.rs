//! Blocks from a heap that is to report before it gets another arena: `PYMALLOCSTATS`.
//!
//! CPython prints its report each time before it obtains an arena, the first time with none (3.11, `new_arena`). A
//! report looks at every heap, and whoever obtains an arena holds the lock of one. So with the variable set a heap
//! holds back ([`HeapBacking::holds_back`]): it refuses, the report is printed here without any lock, the heap is
//! permitted one arena, and is asked again.
//!
//! [`HeapBacking::holds_back`]: crate::obmalloc::heap_backing::HeapBacking::holds_back

use super::{OPTIONS, SharedHeap, purge, stats};
use crate::obmalloc::block::Block;
use crate::obmalloc::size_class::SizeClass;
use crate::obmalloc::thread_lists::ThreadLists;

/// One block, past the lists; true with it when it reads as zero.
#[inline]
pub(super) fn one(heap: &SharedHeap, class: SizeClass) -> Option<(Block, bool)> {
    let attempt = || heap.alloc_one(class);
    attempt().or_else(|| again(heap, &mut || attempt()))
}

/// Fills the list of `class` with up to `n` blocks, and says with how many.
#[inline]
pub(super) fn many(heap: &SharedHeap, lists: &ThreadLists, class: SizeClass, n: usize) -> usize {
    let attempt = || Some(heap.alloc_many(class, lists.places(class, n))).filter(|n| *n > 0);
    attempt()
        .or_else(|| again(heap, &mut || attempt()))
        .unwrap_or(0)
}

/// Reports, if that is what the heap waits for, or else makes room, and tries again. `None` when memory is out.
#[cold]
#[inline(never)]
fn again<R>(heap: &SharedHeap, attempt: &mut dyn FnMut() -> Option<R>) -> Option<R> {
    if !OPTIONS.reports() {
        return purge::make_way().then(attempt).flatten();
    }
    loop {
        stats::print_report();
        heap.gate()
            .enter(|state| state.engine.backing_mut().is_permitted = true);
        if let Some(made) = attempt() {
            return Some(made);
        }
        let unused = heap
            .gate()
            .enter(|state| core::mem::take(&mut state.engine.backing_mut().is_permitted));
        // Else another thread had the arena, and all of it.
        if unused {
            return None;
        }
    }
}
