//! The ends: of a thread, of the process. And the beginning of both hooks.
//!
//! Registering with the C library may call back for memory, so it happens outside every lock, and in the
//! preload library not before the library's constructor ran: the first blocks are wanted before the C
//! library is ready.

use super::registration::Registration;
use super::{OPTIONS, fork, guard, slow, stats, thread};
use crate::os::{self, ExitHook};
use core::ffi::c_void;

static THREAD_HOOK: Registration = Registration::new();

/// The hook of ending threads. `None` while it is being registered, or when the system has none left.
pub(super) fn thread_hook() -> Option<ExitHook> {
    match THREAD_HOOK.key() {
        Some(key) => Some(ExitHook::from_raw(key)),
        None if !cfg!(feature = "preload") && THREAD_HOOK.is_new() => register(),
        None => None,
    }
}

/// Whether the hooks are registered: then the process has come far enough to call other libraries.
pub(super) fn is_registered() -> bool {
    THREAD_HOOK.key().is_some()
}

/// Registers the hooks of thread exit, fork and process exit, once.
#[cold]
pub(crate) fn register() -> Option<ExitHook> {
    if !THREAD_HOOK.claim() {
        return None;
    }
    fork::register();
    if OPTIONS.is_guarded() {
        os::on_fault::<guard::Guards>();
    }
    // Where stacks are kept.
    if OPTIONS.frames() > 0 || OPTIONS.sample() > 0 {
        guard::prepare();
    }
    os::at_exit(process_ends);
    let hook = ExitHook::new(thread_ends);
    THREAD_HOOK.finish(hook.map(ExitHook::to_raw));
    hook
}

unsafe extern "C" fn thread_ends(_: *mut c_void) {
    thread::end();
}

extern "C" fn process_ends() {
    verify_lists();
    if OPTIONS.is_guarded() {
        guard::look_at_all();
    }
    stats::report_at_exit();
}

/// Checks every block in this thread's lists, by sending it home, and aborts on the first that is none.
fn verify_lists() {
    thread::if_live(|thread, heap| {
        // Whoever ends the process in a signal handler may have interrupted the holder.
        if !heap.gate().lock().is_mine() {
            slow::flush_all(thread, heap);
        }
    });
}
