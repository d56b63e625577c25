//! Blocks of a size known only at run time, which carry their size in their first bytes, as the
//! objects of a program do: freeing one reads it.

use std::alloc::{self, Layout};
use std::hint::black_box;

/// Smallest block that can carry its size, bytes.
pub const MIN: usize = 8;

/// The layout C's malloc would give: 16-aligned, 8-aligned below 16 bytes.
#[inline]
pub fn layout(size: usize) -> Layout {
    let align = if size >= 16 { 16 } else { 8 };
    Layout::from_size_align(size, align).expect("sizes of workloads are small")
}

/// A block of `size` bytes, at least [`MIN`].
#[inline]
pub fn alloc(size: usize) -> *mut u8 {
    debug_assert!(size >= MIN);
    let layout = layout(size);
    // SAFETY: the size is not zero, and the block has room for a u64.
    unsafe {
        let block = black_box(alloc::alloc(layout));
        if block.is_null() {
            alloc::handle_alloc_error(layout);
        }
        block.cast::<u64>().write(size as u64);
        block
    }
}

/// Frees a block.
///
/// # Safety
/// 1. `block` came from [`alloc`] and was not freed; its first eight bytes are as `alloc` left them.
#[inline]
pub unsafe fn free(block: *mut u8) {
    // SAFETY: 1.
    unsafe {
        let size = block.cast::<u64>().read() as usize;
        alloc::dealloc(block, layout(size));
    }
}

/// A block of another size with the old one's content, as C's `realloc` would give: when the alignment
/// changes with the size, it is copied. Null when there is no memory.
///
/// # Safety
/// 1. `old` is a live block with `old_layout`; it is not used again unless the result is null.
pub unsafe fn resize(old: *mut u8, old_layout: Layout, new_layout: Layout) -> *mut u8 {
    if old_layout.align() == new_layout.align() {
        // SAFETY: 1, and the new size is not zero.
        return unsafe { alloc::realloc(old, old_layout, new_layout.size()) };
    }
    // SAFETY: the new size is not zero.
    let block = unsafe { alloc::alloc(new_layout) };
    if !block.is_null() {
        let both = old_layout.size().min(new_layout.size());
        // SAFETY: two blocks of at least that size.
        unsafe { block.copy_from_nonoverlapping(old, both) };
        // SAFETY: 1.
        unsafe { alloc::dealloc(old, old_layout) };
    }
    block
}
