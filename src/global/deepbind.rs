//! What the shim's `dlopen` goes on with: the next `dlopen` in link order, and whether RTLD_DEEPBIND is cleared.
//!
//! Any thread may call these, also before the library's constructor; nothing is locked here.

use super::OPTIONS;
use super::options::Shown;
use crate::os;
use crate::sync::{AtomicBool, AtomicPtr, Ordering};
use core::ffi::{CStr, c_char, c_void};
use core::ptr::{NonNull, null_mut};

/// The next `dlopen`; null until it is looked up. The shim reads it by an instruction of its own.
pub(crate) static NEXT: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Whether it was said that the flag is cleared.
static SAID: AtomicBool = AtomicBool::new(false);

/// The next `dlopen`, looked up the first time: as [`os::next_symbol`].
pub(crate) fn next() -> Option<NonNull<c_void>> {
    // Relaxed: a function's address needs nothing published with it; two threads find the same.
    let found =
        NonNull::new(NEXT.load(Ordering::Relaxed)).or_else(|| os::next_symbol(c"dlopen"))?;
    NEXT.store(found.as_ptr(), Ordering::Relaxed);
    Some(found)
}

/// Whether the options are for clearing the flag.
pub(crate) fn is_cleared() -> bool {
    OPTIONS.load();
    OPTIONS.clears_deepbind()
}

/// Says, the first time, that the flag is cleared, if anybody wants to know.
///
/// # Safety
/// 1. `file` is what `dlopen` was given: null, or a string that ends in a nul.
pub(crate) unsafe fn say_once(file: *const c_char) {
    // Relaxed: whoever sets it says it, and says nothing that another thread wrote.
    if !OPTIONS.verbose() || SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let path = match file.is_null() {
        true => c"the program",
        // SAFETY: 1.
        false => unsafe { CStr::from_ptr(file) },
    };
    let name = path.to_bytes().rsplit(|byte| *byte == b'/').next();
    os::say(format_args!(
        "RTLD_DEEPBIND is cleared, so that a library calls the malloc that all call (deepbind:keep keeps it): {}",
        Shown(name.unwrap_or_default())
    ));
}
