//! C++ `new` and `delete`, under the names the Itanium ABI gives them.
//!
//! `new` is `malloc`. When memory is out, the next definition in link order is called: libstdc++'s, which
//! runs the new-handler and throws, or returns null from a nothrow form. It is looked up only then.

use super::aligned::memalign_for;
use super::malloc::{UNSAID, free_for, malloc_for};
use crate::global::watch::{self, NEW, NEW_ARRAY};
use crate::os;
use core::ffi::{CStr, c_void};
use core::ptr::NonNull;

type New = unsafe extern "C-unwind" fn(usize) -> *mut c_void;
type NewNothrow = unsafe extern "C-unwind" fn(usize, *const c_void) -> *mut c_void;
type NewAligned = unsafe extern "C-unwind" fn(usize, usize) -> *mut c_void;
type NewAlignedNothrow = unsafe extern "C-unwind" fn(usize, usize, *const c_void) -> *mut c_void;

/// A size that every allocator refuses as it does `size`: libstdc++ 12 rounds sizes near the top up to 0.
fn refusable(size: usize) -> usize {
    size.min(isize::MAX as usize)
}

/// A block that the next definition took, by calling `malloc`.
unsafe fn adopted<const API: u8>(p: *mut c_void) -> *mut c_void {
    // SAFETY: null, or a block that was made for the caller.
    unsafe { watch::adopt(p.cast(), API) };
    p
}

/// The next definition of a throwing operator; without one there is nobody to throw.
#[cold]
fn next(name: &'static CStr) -> NonNull<c_void> {
    os::next_symbol(name).unwrap_or_else(|| {
        os::fatal(format_args!(
            "out of memory in operator new, and no C++ library to report it to"
        ))
    })
}

/// `operator new(size_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _Znwm(size: usize) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = malloc_for::<NEW>(size);
        if !p.is_null() {
            return p;
        }
        adopted::<NEW>(
            core::mem::transmute::<NonNull<c_void>, New>(next(c"_Znwm"))(refusable(size)),
        )
    }
}

/// `operator new[](size_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _Znam(size: usize) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = malloc_for::<NEW_ARRAY>(size);
        if !p.is_null() {
            return p;
        }
        adopted::<NEW_ARRAY>(
            core::mem::transmute::<NonNull<c_void>, New>(next(c"_Znam"))(refusable(size)),
        )
    }
}

/// `operator new(size_t, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _ZnwmRKSt9nothrow_t(
    size: usize,
    tag: *const c_void,
) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = malloc_for::<NEW>(size);
        if !p.is_null() {
            return p;
        }
        match os::next_symbol(c"_ZnwmRKSt9nothrow_t") {
            Some(next) => adopted::<NEW>(
                core::mem::transmute::<NonNull<c_void>, NewNothrow>(next)(refusable(size), tag),
            ),
            None => p,
        }
    }
}

/// `operator new[](size_t, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _ZnamRKSt9nothrow_t(
    size: usize,
    tag: *const c_void,
) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = malloc_for::<NEW_ARRAY>(size);
        if !p.is_null() {
            return p;
        }
        match os::next_symbol(c"_ZnamRKSt9nothrow_t") {
            Some(next) => adopted::<NEW_ARRAY>(
                core::mem::transmute::<NonNull<c_void>, NewNothrow>(next)(refusable(size), tag),
            ),
            None => p,
        }
    }
}

/// `operator new(size_t, align_val_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _ZnwmSt11align_val_t(size: usize, align: usize) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = memalign_for::<NEW>(align, size);
        if !p.is_null() {
            return p;
        }
        adopted::<NEW>(core::mem::transmute::<NonNull<c_void>, NewAligned>(next(
            c"_ZnwmSt11align_val_t",
        ))(refusable(size), align))
    }
}

/// `operator new[](size_t, align_val_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _ZnamSt11align_val_t(size: usize, align: usize) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = memalign_for::<NEW_ARRAY>(align, size);
        if !p.is_null() {
            return p;
        }
        adopted::<NEW_ARRAY>(core::mem::transmute::<NonNull<c_void>, NewAligned>(next(
            c"_ZnamSt11align_val_t",
        ))(refusable(size), align))
    }
}

/// `operator new(size_t, align_val_t, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _ZnwmSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    tag: *const c_void,
) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = memalign_for::<NEW>(align, size);
        if !p.is_null() {
            return p;
        }
        match os::next_symbol(c"_ZnwmSt11align_val_tRKSt9nothrow_t") {
            Some(next) => {
                adopted::<NEW>(core::mem::transmute::<NonNull<c_void>, NewAlignedNothrow>(
                    next,
                )(refusable(size), align, tag))
            }
            None => p,
        }
    }
}

/// `operator new[](size_t, align_val_t, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _ZnamSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    tag: *const c_void,
) -> *mut c_void {
    // SAFETY: the symbol's type is its mangled name's.
    unsafe {
        let p = memalign_for::<NEW_ARRAY>(align, size);
        if !p.is_null() {
            return p;
        }
        match os::next_symbol(c"_ZnamSt11align_val_tRKSt9nothrow_t") {
            Some(next) => adopted::<NEW_ARRAY>(core::mem::transmute::<
                NonNull<c_void>,
                NewAlignedNothrow,
            >(next)(refusable(size), align, tag)),
            None => p,
        }
    }
}

/// `operator delete(void*)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPv(p: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW>(p, UNSAID, UNSAID) }
}

/// `operator delete(void*, size_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvm(p: *mut c_void, size: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW>(p, size, UNSAID) }
}

/// `operator delete(void*, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvRKSt9nothrow_t(p: *mut c_void, _tag: *const c_void) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW>(p, UNSAID, UNSAID) }
}

/// `operator delete(void*, align_val_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvSt11align_val_t(p: *mut c_void, align: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW>(p, UNSAID, align) }
}

/// `operator delete(void*, size_t, align_val_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvmSt11align_val_t(p: *mut c_void, size: usize, align: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW>(p, size, align) }
}

/// `operator delete(void*, align_val_t, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvSt11align_val_tRKSt9nothrow_t(
    p: *mut c_void,
    align: usize,
    _tag: *const c_void,
) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW>(p, UNSAID, align) }
}

/// `operator delete[](void*)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPv(p: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW_ARRAY>(p, UNSAID, UNSAID) }
}

/// `operator delete[](void*, size_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvm(p: *mut c_void, size: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW_ARRAY>(p, size, UNSAID) }
}

/// `operator delete[](void*, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvRKSt9nothrow_t(p: *mut c_void, _tag: *const c_void) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW_ARRAY>(p, UNSAID, UNSAID) }
}

/// `operator delete[](void*, align_val_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvSt11align_val_t(p: *mut c_void, align: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW_ARRAY>(p, UNSAID, align) }
}

/// `operator delete[](void*, size_t, align_val_t)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvmSt11align_val_t(p: *mut c_void, size: usize, align: usize) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW_ARRAY>(p, size, align) }
}

/// `operator delete[](void*, align_val_t, nothrow_t const&)`
///
/// # Safety
/// As in C++.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvSt11align_val_tRKSt9nothrow_t(
    p: *mut c_void,
    align: usize,
    _tag: *const c_void,
) {
    // SAFETY: passed on.
    unsafe { free_for::<NEW_ARRAY>(p, UNSAID, align) }
}
