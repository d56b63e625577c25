//! Other allocators of the process: where pointers go that are not ours, and where everything goes when
//! the executable brought its own.
//!
//! | situation | functions looked up |
//! |---|---|
//! | a foreign pointer; `PYMALLOC=malloc` | the next after this library in link order |
//! | the executable has its own `malloc` | what the executable itself finds; where that is ours, the next |
//!
//! Looking a symbol up may call back for memory, which we then serve ourselves. It also takes the loader's
//! lock, so the preload library does it in its constructor, not inside some later `free`.

use super::OPTIONS;
use crate::os;
use crate::sync::{AtomicPtr, Ordering};
use core::ffi::{CStr, c_void};
use core::ptr::{NonNull, null_mut};

/// A function looked up on first use.
struct Symbol {
    name: &'static CStr,
    /// Null until looked up.
    found: AtomicPtr<c_void>,
}

impl Symbol {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            found: AtomicPtr::new(null_mut()),
        }
    }

    /// Not inlined: five copies would push the code of the start beyond its page group (`src/shim/layout.ld`).
    #[inline(never)]
    fn get(&self) -> Option<NonNull<c_void>> {
        // Relaxed: a function's address needs nothing published with it.
        if let Some(found) = NonNull::new(self.found.load(Ordering::Relaxed)) {
            return Some(found);
        }
        let own = OPTIONS
            .executable_malloc()
            .then(|| os::default_symbol(self.name))
            .flatten();
        let found = own
            .filter(|f| !is_ours(*f) && os::is_definition(*f))
            .or_else(|| os::next_symbol(self.name))?;
        self.found.store(found.as_ptr(), Ordering::Relaxed);
        Some(found)
    }
}

/// Whether a function is one that this library exports: calling it would come back here. Filled by the
/// shim's constructor, before the executable's own symbols are looked at.
static IS_OURS: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Says how to recognise what this library exports.
#[cfg(feature = "preload")]
pub(crate) fn set_is_ours(test: fn(NonNull<c_void>) -> bool) {
    // Relaxed: as `Symbol::get`; one thread exists so far.
    IS_OURS.store(test as *mut c_void, Ordering::Relaxed);
}

fn is_ours(function: NonNull<c_void>) -> bool {
    let test = IS_OURS.load(Ordering::Relaxed);
    // SAFETY: `set_is_ours` stored a function of this type, or nobody did and it is null.
    let test: Option<fn(NonNull<c_void>) -> bool> = unsafe { core::mem::transmute(test) };
    test.is_some_and(|test| test(function))
}

static FREE: Symbol = Symbol::new(c"free");

/// Frees by the other allocator; false when there is none.
pub(crate) fn free(p: NonNull<u8>) -> bool {
    let Some(function) = FREE.get() else {
        return false;
    };
    // SAFETY: `free` has this type in C. A pointer that is nobody's is the program's error, which the
    // other allocator reports.
    unsafe {
        let free: unsafe extern "C" fn(*mut c_void) = core::mem::transmute(function);
        free(p.as_ptr().cast());
    }
    true
}

#[cfg(feature = "preload")]
pub(crate) use whole::{alloc, alloc_zeroed, lookup, realloc, resolve, usable_size};

/// What the preload library forwards besides `free`.
#[cfg(feature = "preload")]
mod whole {
    use super::{NonNull, Symbol, c_void, null_mut};
    use crate::obmalloc::size_class::ALIGNMENT;

    static MALLOC: Symbol = Symbol::new(c"malloc");
    static CALLOC: Symbol = Symbol::new(c"calloc");
    static ALIGNED: Symbol = Symbol::new(c"memalign");
    static REALLOC: Symbol = Symbol::new(c"realloc");
    static USABLE: Symbol = Symbol::new(c"malloc_usable_size");

    /// Looks everything up.
    pub(crate) fn resolve() {
        for symbol in [&super::FREE, &MALLOC, &CALLOC, &ALIGNED, &REALLOC, &USABLE] {
            symbol.get();
        }
    }

    /// Another function of the other allocator, looked up at each call.
    pub(crate) fn lookup(name: &'static core::ffi::CStr) -> Option<NonNull<c_void>> {
        Symbol::new(name).get()
    }

    /// `size` bytes at a multiple of `align` from the other allocator.
    pub(crate) fn alloc(size: usize, align: usize) -> *mut u8 {
        // SAFETY: `malloc` and `memalign` have these types in C.
        unsafe {
            if align <= ALIGNMENT {
                let Some(function) = MALLOC.get() else {
                    return null_mut();
                };
                let malloc: unsafe extern "C" fn(usize) -> *mut c_void =
                    core::mem::transmute(function);
                return malloc(size).cast();
            }
            let Some(function) = ALIGNED.get() else {
                return null_mut();
            };
            let memalign: unsafe extern "C" fn(usize, usize) -> *mut c_void =
                core::mem::transmute(function);
            memalign(align, size).cast()
        }
    }

    /// `size` zeroed bytes from the other allocator.
    pub(crate) fn alloc_zeroed(size: usize) -> *mut u8 {
        let Some(function) = CALLOC.get() else {
            return null_mut();
        };
        // SAFETY: `calloc` has this type in C.
        unsafe {
            let calloc: unsafe extern "C" fn(usize, usize) -> *mut c_void =
                core::mem::transmute(function);
            calloc(1, size).cast()
        }
    }

    /// Resizes a block that is not ours.
    ///
    /// # Safety
    /// `p` is a live block of the other allocator.
    pub(crate) unsafe fn realloc(p: NonNull<u8>, size: usize) -> *mut u8 {
        let Some(function) = REALLOC.get() else {
            return null_mut();
        };
        // SAFETY: `realloc` has this type in C; `p` by the caller's word.
        unsafe {
            let realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void =
                core::mem::transmute(function);
            realloc(p.as_ptr().cast(), size).cast()
        }
    }

    /// Bytes a block that is not ours holds; 0 when nobody knows.
    ///
    /// # Safety
    /// `p` is a live block of the other allocator.
    pub(crate) unsafe fn usable_size(p: NonNull<u8>) -> usize {
        let Some(function) = USABLE.get() else {
            return 0;
        };
        // SAFETY: `malloc_usable_size` has this type in C; `p` by the caller's word.
        unsafe {
            let usable: unsafe extern "C" fn(*mut c_void) -> usize = core::mem::transmute(function);
            usable(p.as_ptr().cast())
        }
    }
}
