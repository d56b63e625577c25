//! CPython's memory allocator, obmalloc, as a thread-safe global allocator for Rust and, built with the
//! feature `preload`, as a library that any dynamically linked program can be started under.
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;
//!
//! let words: Vec<String> = "memory that goes down again".split(' ').map(str::to_owned).collect();
//! assert_eq!(words.len(), 5);
//! ```
//!
//! # Layers
//!
//! Each imports only what stands above it here; `tests/layers.rs` holds the list and checks it.
//!
//! | folder | layer | what |
//! |---|---|---|
//! | `sync` | L0 | the only door to atomics, cells and locks: core's and the kernel's, or loom's |
//! | `os` | L1 | the only door to the system: pages, threads, fork, messages |
//! | [`obmalloc`] | L2 | the allocator as values: size → class → pool → block; arenas, runs, huge blocks, heaps |
//! | `global` | L3 | this process's one allocator: [`PyMalloc`], thread lists, options, purging, fork |
//! | `shim` | L4 | the C and C++ symbols, with feature `preload` |
//! | `object` | L5 | counted handles to objects, weak references, tracing, with feature `objects` |
//! | `gc` | L6 | the cyclic collector and Python's `gc` module, with feature `objects` |
//! | `python` | L7 | Python's built-in kinds: int, str, list, dict and the rest, with feature `objects` |
//! | [`observe`] | L8 | seeing memory: recordings, statistics, traces, the graph of objects |
//!
//! # The life of one block
//!
//! `alloc` computes the class from the layout, at compile time if it can, and pops the thread's list of
//! that class. If the list is empty it is refilled with a batch from the thread's heap, under the heap's
//! lock: obmalloc's rule gives each block, from the class's first used pool, else from a pool of the
//! fullest arena, else from a new arena, else there is no memory and the answer is null.
//!
//! `dealloc` puts the block on top of the list's stack. If the
//! stack is full, its older half goes home: the blocks of this heap by obmalloc's rule under its lock, those
//! of others to the inbox of their heap. Each is checked on the way. A pool whose last block came back
//! returns to its arena, and an arena whose last pool came back to the address space it was cut from; what
//! lies free too long, or is too much, goes back to the system.
//!
//! Above 512 bytes pools span several slots; above 256 KiB a block is an arena slot or a mapping of its
//! own, grown in place or by moving its pages.

#[cfg(feature = "objects")]
pub mod gc;
mod global;
#[cfg(feature = "objects")]
pub mod object;
pub mod obmalloc;
pub mod observe;
mod os;
#[cfg(feature = "objects")]
pub mod python;
#[cfg(feature = "preload")]
mod shim;
mod sync;

pub use global::{ClassStats, Heap, PyMalloc, Stats};
