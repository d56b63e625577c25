//! Watched calls, with the place in the program that they came from.
//!
//! A slow path is called last by the function before it, up to the one that the program called, and none of them needs a
//! frame. So at its first instruction the stack and the frame pointer are as the program left them, with the return
//! address on top: whoever writes the call down begins there, and does not have to find the way out of this library. Should a
//! compiler call them otherwise, the return address lies in this library, and it is found as ever.
//!
//! Only on x86-64: elsewhere a call leaves its return address in a register, and nobody knows where that is by now.

use super::malloc::{calloc_otherwise, malloc_otherwise, realloc_otherwise};
use crate::global::at_once;
#[cfg(target_arch = "x86_64")]
use crate::global::shortly;
use crate::obmalloc::thread_lists::ListPlace;
#[cfg(target_arch = "x86_64")]
use crate::os::Call;
use core::ffi::c_void;
use core::ptr::NonNull;

/// `malloc`, when there is no block to take, of the list for such a block.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) extern "C" fn malloc<const API: u8>(size: usize, place: ListPlace) -> *mut c_void {
    core::arch::naked_asm!(
        "mov rdx, rsp",
        "mov rcx, rbp",
        "jmp {from}",
        from = sym malloc_from::<API>,
    )
}

#[cfg(target_arch = "x86_64")]
#[cold]
extern "C" fn malloc_from<const API: u8>(
    size: usize,
    place: ListPlace,
    stack: usize,
    frame: usize,
) -> *mut c_void {
    match shortly::alloc(size, place, Call { stack, frame }) {
        Some(p) => p.as_ptr().cast(),
        None => malloc_plainly::<API>(size),
    }
}

/// `calloc` of so many bytes in all, when there is no block to take.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) extern "C" fn calloc(bytes: usize) -> *mut c_void {
    core::arch::naked_asm!(
        "mov rsi, rsp",
        "mov rdx, rbp",
        "jmp {from}",
        from = sym calloc_from,
    )
}

#[cfg(target_arch = "x86_64")]
#[cold]
extern "C" fn calloc_from(bytes: usize, stack: usize, frame: usize) -> *mut c_void {
    match shortly::alloc_zeroed(bytes, Call { stack, frame }) {
        Some(p) => p.as_ptr().cast(),
        None => calloc_otherwise(bytes),
    }
}

/// `realloc`, when somebody watches.
///
/// # Safety
/// As `realloc`, of a live block.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn realloc(old: NonNull<u8>, size: usize) -> *mut c_void {
    core::arch::naked_asm!(
        "mov rdx, rsp",
        "mov rcx, rbp",
        "jmp {from}",
        from = sym realloc_from,
    )
}

/// # Safety
/// As [`realloc`].
#[cfg(target_arch = "x86_64")]
#[cold]
unsafe extern "C" fn realloc_from(
    old: NonNull<u8>,
    size: usize,
    stack: usize,
    frame: usize,
) -> *mut c_void {
    // SAFETY: passed on.
    unsafe {
        match shortly::resize(old, size, Call { stack, frame }) {
            Some(p) => p.as_ptr().cast(),
            None => realloc_otherwise(old, size),
        }
    }
}

/// `malloc`, when there is no block to take.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
pub(super) extern "C" fn malloc<const API: u8>(size: usize, _: ListPlace) -> *mut c_void {
    malloc_plainly::<API>(size)
}

/// `calloc`, when there is no block to take.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
pub(super) extern "C" fn calloc(bytes: usize) -> *mut c_void {
    calloc_otherwise(bytes)
}

/// `realloc`, when somebody watches.
///
/// # Safety
/// As `realloc`, of a live block.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
pub(super) unsafe extern "C" fn realloc(old: NonNull<u8>, size: usize) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { realloc_otherwise(old, size) }
}

/// As `malloc`, where it is not known who called, or not to be told shortly.
#[cold]
#[inline(never)]
extern "C" fn malloc_plainly<const API: u8>(size: usize) -> *mut c_void {
    match at_once::alloc(size, false, API) {
        Some(p) => p.as_ptr().cast(),
        None => malloc_otherwise::<API>(size),
    }
}
