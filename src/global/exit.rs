//! The ends: of a thread, of the process. And the beginning of both hooks.
//!
//! Registering with the C library may call back for memory, so it happens outside every lock, and in the
//! preload library not before the library's constructor ran: the first blocks are wanted before the C
//! library is ready.

use super::{fork, stats, thread};
use crate::os::{self, ExitHook};
use crate::sync::{AtomicU8, AtomicU32, Ordering};
use core::ffi::c_void;

const NONE: u8 = 0;
const REGISTERING: u8 = 1;
const REGISTERED: u8 = 2;
const REFUSED: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(NONE);
static KEY: AtomicU32 = AtomicU32::new(0);

/// The hook of ending threads. `None` while it is being registered, or when the system has none left.
pub(super) fn thread_hook() -> Option<ExitHook> {
    // Acquire: pairs with the Release in `register`, so that the key is seen.
    match STATE.load(Ordering::Acquire) {
        REGISTERED => Some(ExitHook::from_raw(KEY.load(Ordering::Relaxed))),
        NONE if !cfg!(feature = "preload") => register(),
        _ => None,
    }
}

/// Registers the hooks of thread exit, fork and process exit, once.
#[cold]
pub(crate) fn register() -> Option<ExitHook> {
    let claimed = STATE
        .compare_exchange(NONE, REGISTERING, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok();
    if !claimed {
        return None;
    }
    fork::register();
    os::at_exit(process_ends);
    let Some(key) = ExitHook::new(thread_ends) else {
        STATE.store(REFUSED, Ordering::Relaxed);
        return None;
    };
    KEY.store(key.to_raw(), Ordering::Relaxed);
    STATE.store(REGISTERED, Ordering::Release);
    Some(key)
}

unsafe extern "C" fn thread_ends(_: *mut c_void) {
    thread::end();
}

extern "C" fn process_ends() {
    super::slow::verify_lists();
    stats::report_at_exit();
}
