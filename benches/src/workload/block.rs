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
