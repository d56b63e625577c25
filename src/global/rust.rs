//! [`PyMalloc`]: the allocator as Rust's global one.

use super::{Stats, purge, slow, thread};
use crate::obmalloc::address_map::{Label, label_of};
use crate::obmalloc::block::Block;
use crate::obmalloc::size_class::{ALIGNMENT, SMALL_MAX, SizeClass};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// The allocator. One line sets it:
///
/// ```
/// #[global_allocator]
/// static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
///
/// let numbers: Vec<u32> = (0..1000).collect();
/// assert_eq!(numbers.iter().sum::<u32>(), 499_500);
/// ```
///
/// It has no state of its own: every value is the same allocator. The class of a block is computed from
/// its layout, so an allocation of constant size compiles to a handful of instructions.
///
/// Allocation fails with null when the system has no memory; nothing here panics or unwinds. Freeing
/// what is not a live block is undefined by the contract of [`GlobalAlloc`]; what of it is noticed ends
/// in one line and an abort.
#[derive(Clone, Copy, Debug, Default)]
pub struct PyMalloc;

/// The list for a small request, known to the compiler when the layout is.
#[inline(always)]
const fn small_label(size: usize) -> Label {
    size.div_ceil(ALIGNMENT) as Label
}

#[inline(always)]
const fn is_small(layout: &Layout) -> bool {
    layout.size() <= SMALL_MAX && layout.align() <= ALIGNMENT
}

// SAFETY: blocks are disjoint, at least as large and as aligned as their layout says, and stay valid until
// freed; the engine under it is checked against CPython's by replay, against a naive oracle by random
// programs.
unsafe impl GlobalAlloc for PyMalloc {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_small(&layout) {
            return match SizeClass::aligned(layout.size(), layout.align())
                .and_then(|class| thread::lists().of(class).pop())
            {
                Some(block) => block.start().as_ptr(),
                None => slow::alloc_general(layout.size(), layout.align()),
            };
        }
        match thread::lists().at(small_label(layout.size())).pop() {
            Some(block) => block.start().as_ptr(),
            None => slow::alloc(layout.size()),
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's pointer came from `alloc`, which returned it non-null.
        unsafe {
            let p = NonNull::new_unchecked(p);
            let (size, align) = (layout.size(), layout.align());
            if is_small(&layout) {
                if !thread::lists().push(small_label(size), Block::new(p)) {
                    slow::free(p, size);
                }
                return;
            }
            match SizeClass::aligned(size, align) {
                Some(class) if thread::lists().push(label_of(class), Block::new(p)) => {}
                _ => slow::free_general(p, size, align),
            }
        }
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_small(&layout) {
            return slow::alloc_zeroed(layout.size(), layout.align());
        }
        match thread::lists().at(small_label(layout.size())).pop() {
            Some(block) => {
                let p = block.start().as_ptr();
                // SAFETY: the block holds at least the layout's size.
                unsafe { p.write_bytes(0, layout.size()) };
                p
            }
            None => slow::alloc_zeroed_unlisted(layout.size(), layout.align()),
        }
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: passed on.
        unsafe {
            slow::resize(
                NonNull::new_unchecked(p),
                layout.size(),
                layout.align(),
                new_size,
            )
        }
    }
}

impl PyMalloc {
    /// Bytes a block of this layout really holds: at least its size.
    ///
    /// The answer depends on the layout alone. A block must still be freed with the layout it was
    /// allocated with.
    pub const fn good_size(&self, layout: Layout) -> usize {
        match SizeClass::aligned(layout.size(), layout.align()) {
            Some(class) => class.block_bytes(),
            None => layout.size().next_multiple_of(4096),
        }
    }

    /// Bytes the live block at `p` holds; `None` for a pointer that is not a block of ours.
    ///
    /// ```
    /// let number = Box::new(7u64);
    /// let held = pymalloc::PyMalloc.usable_size(&raw const *number as *const u8);
    /// assert!(held.is_none_or(|bytes| bytes >= 8), "none when another allocator is global");
    /// ```
    pub fn usable_size(&self, p: *const u8) -> Option<usize> {
        slow::usable_unknown(NonNull::new(p.cast_mut())?)
    }

    /// Sends this thread's lists home and gives every free page back to the system, now. Returns the
    /// bytes given back. Works from any thread; other threads keep their bounded lists.
    pub fn collect(&self) -> u64 {
        purge::collect()
    }

    /// Figures of the whole process.
    pub fn stats(&self) -> Stats {
        Stats::now()
    }

    /// CPython's statistics report (`sys._debugmallocstats`), of all heaps together.
    pub fn debug_malloc_stats(&self, out: &mut impl core::fmt::Write) -> core::fmt::Result {
        super::stats::statistics().write(out)
    }
}
