//! A machine for models: the names of the shipped `os`, with a kernel that checks its callers.
//!
//! One machine per execution. It lives in a thread-local of the standard library, which all threads of an
//! execution share (loom runs them as coroutines of one system thread) and executions of other models do
//! not.

mod pages;
mod park;
#[path = "../../../src/os/text.rs"]
#[allow(dead_code, reason = "a model fails by panic, not by message and abort")]
mod text;

pub use pages::{
    Refused, Slot, ask_for_huge_pages, boot, commit, fill_huge_page, grow, halt, label, map,
    page_size, protect, purge, refuse, refuse_huge_pages, relocate, reserve, resident, slot, unmap,
};
pub use park::Futex;
pub use text::Text;

use std::ffi::CStr;

/// The lock everything above uses.
pub type Lock = crate::sync::Lock<Futex>;
/// Proof that a [`Lock`] is held.
pub type Locked<'a> = crate::sync::Locked<'a, Futex>;

/// As the shipped one.
pub fn forget_origin(number: usize) -> usize {
    number
}

/// Corruption: the model fails.
pub fn fatal(message: std::fmt::Arguments<'_>) -> ! {
    panic!("{message}")
}

/// The same, for who holds locks.
pub fn fatal_after(message: std::fmt::Arguments<'_>, _: fn()) -> ! {
    panic!("{message}")
}

/// A message to the user.
pub fn say(message: std::fmt::Arguments<'_>) {
    panic!("unexpected message: {message}")
}

/// Processors of the machine.
pub fn cpus() -> usize {
    3
}

/// Whether the environment is to be ignored.
pub fn is_privileged() -> bool {
    false
}

/// A fixed environment.
pub fn environment(name: &'static CStr) -> Option<&'static CStr> {
    match name.to_bytes() {
        b"PYMALLOC_VERBOSE" => Some(c"1"),
        b"PYMALLOC_CONF" => Some(c"foreign:leak,purge_delay:77"),
        _ => None,
    }
}
