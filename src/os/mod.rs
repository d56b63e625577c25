//! L1: the only door to the operating system.
//!
//! | family | functions |
//! |---|---|
//! | pages | [`reserve`], [`commit`], [`map`], [`unmap`], [`purge`], [`grow`], [`relocate`], [`label`] |
//! | machine | [`page_size`], [`cpus`], [`now_ms`], [`random`] |
//! | threads | [`Futex`], [`ExitHook`], [`spawn`], [`on_fork`] |
//! | last words | [`fatal`], [`say`], [`Text`] |
//!
//! All lengths are bytes; all addresses are multiples of the page size unless said otherwise. A failed
//! call changes nothing and leaves `errno` as the system set it. Nothing here allocates, and nothing
//! takes a lock of the C library except where the item says so.

mod pages;
mod process;
mod text;
mod threads;

#[cfg(feature = "objects")]
pub use pages::prefetch;
pub use pages::{
    advise_huge_pages, commit, grow, is_mapped, label, map, page_size, purge, relocate, reserve,
    unmap,
};
pub use process::{
    at_exit, cpus, default_symbol, environment, errno, is_definition, is_privileged, keep_errno,
    next_symbol, now_ms, on_fork, pid, set_errno, write_error, write_file,
};
pub use text::{Text, fatal, say};
pub use threads::{ExitHook, Futex, name_thread, nap_ms, spawn};

/// The lock everything above uses.
pub type Lock = crate::sync::Lock<Futex>;
/// Proof that a [`Lock`] is held.
pub type Locked<'a> = crate::sync::Locked<'a, Futex>;
