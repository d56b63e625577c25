//! L0: the only door to atomics, cells and locks.
//!
//! Everything above imports these names; nothing else in the crate names `core::sync`, `spin` or
//! `loom`. Built for users atomics and cells are `core`'s, the lock is made of them, and `spin` says how a thread
//! waits a moment; built by `loom-tests/` (which includes this very folder by path and sets `cfg(loom)`) they are
//! loom's, so a model runs the file that ships.

mod cell;
mod lock;

pub use cell::SharedCell;
pub use lock::{Lock, Locked, Park};

#[cfg(not(loom))]
pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
/// Shared ownership, for layers that allocate.
#[cfg(not(loom))]
pub use std::sync::Arc;

#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Tells the processor (or loom's scheduler) that this thread is waiting for another.
///
/// This is all that `spin` is here for. Whoever waits in `malloc` may be a signal handler, and may never be woken in a
/// child after fork: its `Mutex` does not say who holds it, which fork asks (`lock.rs`, I3), and its `Once` cannot be
/// given up or asked for by the thread that is at it. What is made once is put in its place by one exchange instead,
/// and who comes second takes what is there.
pub fn spin_hint() {
    #[cfg(not(loom))]
    <spin::relax::Spin as spin::relax::RelaxStrategy>::relax();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Asks the processor for the cache line at `p`, which need not be mapped.
#[inline(always)]
pub fn prefetch(p: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a hint; it neither faults nor reads for the program.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(any(not(target_arch = "x86_64"), loom))]
    let _ = p;
}

/// Declares functions that are `const` in a shipped build and plain under loom, whose atomics have no
/// const constructor.
macro_rules! const_unless_loom {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block)*) => {
        $(
            #[cfg(not(loom))]
            $(#[$meta])* $vis const fn $name($($arg: $ty),*) -> $ret $body
            #[cfg(loom)]
            $(#[$meta])* $vis fn $name($($arg: $ty),*) -> $ret $body
        )*
    };
}
pub(crate) use const_unless_loom;
