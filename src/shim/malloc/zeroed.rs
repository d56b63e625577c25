//! calloc.

use super::super::called;
use super::{alloc, hand_out, or_enomem};
use crate::global::watch::{self, MALLOC};
use crate::global::{self, at_once, countdown, next_malloc, shown, slow};
use crate::obmalloc::address_map::Label;
use crate::obmalloc::size_class::{ALIGNMENT, SMALL_MAX, SizeClass};
use crate::obmalloc::thread_lists::ListPlace;
use core::ffi::c_void;
use core::ptr::null_mut;

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else {
        return or_enomem(null_mut());
    };
    if bytes <= SMALL_MAX
        && let Some(block) = shown().pop(ListPlace::of(bytes.div_ceil(ALIGNMENT) as Label))
    {
        let p = hand_out(block);
        // SAFETY: the block holds `bytes`.
        unsafe { p.cast::<u8>().write_bytes(0, bytes) };
        return p;
    }
    calloc_slow(bytes)
}

#[cold]
#[inline(never)]
extern "C" fn calloc_slow(bytes: usize) -> *mut c_void {
    if bytes > 0
        && let Some(class) = SizeClass::of(bytes)
        && let Some(p) = countdown::of_class(class)
    {
        // SAFETY: a block of so many bytes, nobody else's yet.
        unsafe { p.write_bytes(0, bytes) };
        return p.as_ptr().cast();
    }
    called::calloc(bytes)
}

/// As `calloc`, when nothing quicker gave a block.
#[cold]
#[inline(never)]
pub(in crate::shim) extern "C" fn calloc_otherwise(bytes: usize) -> *mut c_void {
    if let Some(p) = at_once::alloc(bytes, true, MALLOC) {
        return p.as_ptr().cast();
    }
    if global::passes_through() {
        return next_malloc::alloc_zeroed(bytes).cast();
    }
    if watch::is_on_or_samples()
        && let Some(p) = watch::sampled(bytes, ALIGNMENT)
    {
        return p.as_ptr().cast();
    }
    if watch::is_on() {
        return or_enomem(watch::alloc(bytes, ALIGNMENT, true, MALLOC));
    }
    if bytes == 0 {
        return alloc(0, ALIGNMENT, MALLOC);
    }
    // At least one word is cleared of a block with a mark.
    or_enomem(slow::alloc_zeroed(bytes.max(ALIGNMENT), ALIGNMENT))
}
