//! What the environment asks for before the program begins: a recording, and of the preload library a server.
//!
//! ```text
//! loader ─► preload library's constructor ─► records ─┐ leaves it to ┐
//!        └► program's constructors, this one of its crate ──────────►└► records, where the crate is its global allocator
//! ```
//!
//! | this code is in | and | who records |
//! |---|---|---|
//! | the preload library | | it, until a program leaves it no choice |
//! | a program | no preload library | the program: its blocks and objects |
//! | a program | the library, and Rust's blocks are this crate's | the program |
//! | a program | the library, and they are another allocator's | the library |
//! | a library of the program | the preload library | the preload library |
//!
//! A file has one writer. Where Rust's blocks are another allocator's, that one may well call `malloc`.

use super::recorder;
use crate::os;

/// What the preload library exports for a program that records itself.
#[cfg(not(feature = "preload"))]
const LEAVE: &core::ffi::CStr = c"pymalloc_leave_recording";

/// Runs before the program's own constructors, in the preload library also behind the shim's.
extern "C" fn constructor() {
    if let Some(config) = recorder::Config::from_environment()
        && is_ours_to_record()
        && recorder::start(config) == Err(recorder::StartError::Refused)
    {
        os::say(format_args!(
            "PYMALLOC_RECORD: the recording cannot be written"
        ));
    }
    #[cfg(feature = "preload")]
    super::serve::serve_as_asked();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

#[cfg(feature = "preload")]
fn is_ours_to_record() -> bool {
    true
}

/// Whether the program records itself; then the preload library does so no more.
#[cfg(not(feature = "preload"))]
fn is_ours_to_record() -> bool {
    let Some(leave) = os::default_symbol(LEAVE) else {
        return true;
    };
    let is_program = os::is_in_executable(constructor as *const ());
    if !is_program || !serves_rust() {
        return false;
    }
    // SAFETY: the preload library exports a function of this type by this name.
    let leave: extern "C" fn() = unsafe { core::mem::transmute(leave) };
    leave();
    true
}

/// Whether Rust's blocks are this crate's.
#[cfg(not(feature = "preload"))]
fn serves_rust() -> bool {
    let layout = core::alloc::Layout::new::<u128>();
    // SAFETY: the layout has bytes.
    let block = core::ptr::NonNull::new(unsafe { std::alloc::alloc(layout) });
    block.is_some_and(|block| {
        let is_ours = crate::global::slow::usable_unknown(block).is_some();
        // SAFETY: made just now.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
        is_ours
    })
}
