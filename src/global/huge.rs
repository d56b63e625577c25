//! Huge blocks: the one the calling thread keeps, or else the process's.

use super::{EXTENTS, HUGE, purge, thread};
use crate::os;
use core::ptr::{NonNull, null_mut};

/// Size from which a refused request is not tried again, in bytes: what 47 bits of addresses hold
/// makes room for one such block at most.
const MOST_RETRIED: usize = 1 << 44;

/// A block with a mapping of its own, whatever its size. Null when memory is out.
pub(crate) fn alloc_block(size: usize, align: usize) -> *mut u8 {
    alloc(size, align, false).map_or(null_mut(), |(p, _)| p.as_ptr())
}

/// A block of at least `size` bytes at a multiple of `align`, for a caller who has it `zeroed`, or not. True with it
/// when it reads as zero.
#[inline(always)]
pub(super) fn alloc(size: usize, align: usize, zeroed: bool) -> Option<(NonNull<u8>, bool)> {
    match thread::kept().and_then(|kept| HUGE.alloc_kept(kept, size, align)) {
        Some(p) => Some((p, false)),
        None => alloc_elsewhere(size, align, zeroed),
    }
}

#[cold]
#[inline(never)]
fn alloc_elsewhere(size: usize, align: usize, zeroed: bool) -> Option<(NonNull<u8>, bool)> {
    os::keep_errno(|| {
        thread::caller()?;
        let made = HUGE.alloc(size, align, zeroed).or_else(|| {
            // Out of memory or of address space, unless nobody has that much.
            (size < MOST_RETRIED && purge::make_way() | EXTENTS.retreat())
                .then(|| HUGE.alloc(size, align, zeroed))
                .flatten()
        });
        purge::note_fresh(made.is_some_and(|(_, zeroed)| zeroed), size);
        made
    })
}

/// Frees the huge block at `p`; false when no live one begins there.
///
/// # Safety
/// If one does, it is not used any more.
pub(super) unsafe fn free(p: NonNull<u8>) -> bool {
    // SAFETY: passed on; the place is the calling thread's.
    unsafe {
        if thread::keep().is_some_and(|kept| HUGE.keep(kept, p)) {
            purge::note_kept();
            return true;
        }
        let freed = HUGE.free(p);
        if freed {
            purge::poll(0);
        }
        freed
    }
}
