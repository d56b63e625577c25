//! L1: the only door to the operating system.
//!
//! | family | functions |
//! |---|---|
//! | pages | [`reserve`], [`commit`], [`map`], [`unmap`], [`purge`], [`grow`], [`relocate`], [`label`] |
//! | machine | [`page_size`], [`cpus`], [`now_ms`], [`random`] |
//! | threads | [`Futex`], [`ExitHook`], [`spawn`], [`spawn_apart`], [`on_fork`] |
//! | files | [`File`], [`remove_file`], [`mapping_at`] |
//! | sockets | [`Listener`], [`Connection`] |
//! | library | `forget_read_only` |
//! | registers | [`forget_origin`] |
//! | stack | [`registers`], [`stack_word`], [`return_addresses`] |
//! | last words | [`symbols`], [`fatal`], [`say`], [`Text`], [`Errors`], [`on_fault`] |
//!
//! All lengths are bytes; all addresses are multiples of the page size unless said otherwise. A failed
//! call changes nothing and leaves `errno` as the system set it. Nothing here allocates, and nothing
//! takes a lock of the C library except where the item says so.

mod errors;
mod fault;
mod files;
#[cfg(feature = "preload")]
mod image;
mod pages;
mod process;
mod registers;
mod sockets;
mod stack;
mod symbols;
mod text;
mod threads;

pub use errors::{Errors, abort};
pub use fault::{Fault, on_fault};
pub use files::{File, FileId, mapping_at, parent_pid, remove_file, unix_ms, wipe_on_fork};
#[cfg(feature = "preload")]
pub use image::forget_read_only;
pub use pages::{
    ask_for_huge_pages, commit, fill_huge_page, grow, is_mapped, label, map, page_size, protect,
    purge, refuse_huge_pages, relocate, reserve, resident, unmap,
};
#[cfg(not(feature = "preload"))]
pub use process::is_in_executable;
pub use process::{
    at_exit, cpus, default_symbol, environment, errno, executable_path, is_definition,
    is_privileged, keep_errno, most_mappings, next_symbol, now_ms, on_fork, pid, secret, set_errno,
    working_folder, write_error, write_file,
};
pub use registers::{Call, Registers, forget_origin, registers, stack_word};
pub use sockets::{Connection, Listener, place_of_socket};
pub use stack::return_addresses;
#[cfg(feature = "preload")]
pub use stack::unwinder_symbol;
pub use symbols::{MOST as MOST_SYMBOLS, Symbol, symbols};
pub use text::{Text, fatal, fatal_after, say};
#[cfg(all(feature = "symbols", not(feature = "preload")))]
pub use threads::without_signals;
pub use threads::{
    ExitHook, Futex, close_files, kernel_thread_id, name_thread, nap_ms, spawn, spawn_apart,
    thread_id,
};

/// Whether an interpreter without these calls runs the program (Miri): the layers above the allocator then take
/// their memory from std.
#[cfg(feature = "objects")]
pub const IS_INTERPRETED: bool = cfg!(miri);

/// Numbers of errors that others give a meaning.
pub const ADDRESS_IN_USE: i32 = libc::EADDRINUSE;
/// A file is there already.
pub const FILE_EXISTS: i32 = libc::EEXIST;
/// No memory.
pub const NO_MEMORY: i32 = libc::ENOMEM;
/// A path that the system cannot take.
pub const NAME_TOO_LONG: i32 = libc::ENAMETOOLONG;

/// The lock everything above uses.
pub type Lock = crate::sync::Lock<Futex>;
/// Proof that a [`Lock`] is held.
pub type Locked<'a> = crate::sync::Locked<'a, Futex>;
