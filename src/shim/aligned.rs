//! Blocks at a given alignment, and freeing with what was asked for.

use super::malloc::{UNSAID, alloc, free_for, malloc_for, or_enomem};
use crate::global::watch::MALLOC;
use crate::obmalloc::size_class::ALIGNMENT;
use crate::os;
use core::ffi::c_void;
use core::ptr::null_mut;

/// As glibc's: an alignment that is no power of two is rounded up to one; one beyond half the address
/// space is EINVAL.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    memalign_for::<MALLOC>(align, size)
}

/// `memalign` for an API.
pub(super) fn memalign_for<const API: u8>(align: usize, size: usize) -> *mut c_void {
    if align <= ALIGNMENT {
        return malloc_for::<API>(size);
    }
    match align.checked_next_power_of_two() {
        Some(align) if align <= isize::MAX as usize => checked(align, size, API),
        _ => {
            os::set_errno(libc::EINVAL);
            null_mut()
        }
    }
}

fn checked(align: usize, size: usize, api: u8) -> *mut c_void {
    if size > isize::MAX as usize - align {
        return or_enomem(null_mut());
    }
    alloc(size, align, api)
}

/// C17: any size; EINVAL when the alignment is no power of two (glibc 2.38 and later).
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        os::set_errno(libc::EINVAL);
        return null_mut();
    }
    // SAFETY: no conditions.
    unsafe { memalign(align, size) }
}

/// Returns EINVAL or ENOMEM, and leaves `errno` and, on failure, `*out` alone.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> i32 {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    // SAFETY: no conditions.
    let p = os::keep_errno(|| unsafe { memalign(align, size) });
    if p.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: a valid place by the caller's word.
    unsafe { out.write(p) };
    0
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(size: usize) -> *mut c_void {
    checked(os::page_size(), size, MALLOC)
}

/// The size is rounded up to whole pages.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = os::page_size();
    match size.max(1).checked_next_multiple_of(page) {
        Some(size) => checked(page, size, MALLOC),
        None => or_enomem(null_mut()),
    }
}

/// C23. The size is a promise that costs more to check than it saves, unless somebody watches.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(p: *mut c_void, size: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<MALLOC>(p, size, UNSAID) }
}

/// C23.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(p: *mut c_void, align: usize, size: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<MALLOC>(p, size, align) }
}
