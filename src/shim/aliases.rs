//! Second names of the functions: glibc's internal ones, old ones, and Darwin's; and `reallocarray`.

use super::aligned::{memalign, posix_memalign, pvalloc, valloc};
use super::info::malloc_usable_size;
use super::malloc::{calloc, free, malloc, or_enomem, realloc};
use crate::global::watch;
use crate::obmalloc::size_class::SizeClass;
use core::ffi::c_void;
use core::ptr::null_mut;

/// # Safety
/// As `malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_malloc(size: usize) -> *mut c_void {
    // SAFETY: passed on, here and below.
    unsafe { malloc(size) }
}

/// # Safety
/// As `calloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { calloc(count, size) }
}

/// # Safety
/// As `realloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_realloc(p: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { realloc(p, size) }
}

/// # Safety
/// As `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_free(p: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free(p) }
}

/// # Safety
/// As `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_cfree(p: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free(p) }
}

/// # Safety
/// As `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(p: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free(p) }
}

/// # Safety
/// As `memalign`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_memalign(align: usize, size: usize) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { memalign(align, size) }
}

/// # Safety
/// As `valloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_valloc(size: usize) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { valloc(size) }
}

/// # Safety
/// As `pvalloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_pvalloc(size: usize) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { pvalloc(size) }
}

/// # Safety
/// As `posix_memalign`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> i32 {
    // SAFETY: passed on.
    unsafe { posix_memalign(out, align, size) }
}

/// # Safety
/// As `malloc_usable_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_size(p: *const c_void) -> usize {
    // SAFETY: passed on.
    unsafe { malloc_usable_size(p) }
}

/// Bytes a block for `size` bytes really holds.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_good_size(size: usize) -> usize {
    if watch::is_on() && watch::is_guarded() {
        return size;
    }
    match SizeClass::aligned(size, 1) {
        Some(class) => class.block_bytes(),
        None => size
            .checked_next_multiple_of(crate::os::page_size())
            .unwrap_or(size),
    }
}

/// # Safety
/// As `reallocarray(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(p: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: passed on.
        Some(bytes) => unsafe { realloc(p, bytes) },
        None => or_enomem(null_mut()),
    }
}
