//! The malloc family over `rusty_alloc`, as thin as it can be: to preload it beside ours. `free` of what
//! is not its own is ignored by the crate.

use rusty_alloc::alloc;
use std::ffi::{c_int, c_void};

/// Sets errno as the C functions do when memory is out.
fn or_enomem(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        unsafe extern "C" {
            fn __errno_location() -> *mut c_int;
        }
        // SAFETY: the C library's errno of this thread; 12 is ENOMEM on Linux.
        unsafe { *__errno_location() = 12 };
    }
    block.cast()
}

#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    or_enomem(alloc::malloc(size))
}

#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    or_enomem(alloc::calloc(count, size))
}

/// # Safety
/// 1. `block` is null or came from here and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: 1.
    or_enomem(unsafe { alloc::realloc(block.cast(), size) })
}

/// # Safety
/// 1. `block` is null or came from here and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: 1.
    unsafe { alloc::free(block.cast()) };
}

#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    or_enomem(alloc::malloc_aligned(size, align))
}

#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    memalign(align, size)
}

#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    memalign(4096, size)
}

#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    memalign(4096, size.next_multiple_of(4096))
}

/// # Safety
/// 1. `to` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<usize>() {
        return 22;
    }
    let block = alloc::malloc_aligned(size, align);
    if block.is_null() {
        return 12;
    }
    // SAFETY: 1.
    unsafe { *to = block.cast() };
    0
}

/// # Safety
/// 1. `block` is null or came from here and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: 1.
    unsafe { alloc::usable_size(block.cast()) }
}
