//! L2: the allocator as values; no mutable statics.
//!
//! ```text
//! size_class   size, alignment -> class            thread_lists, list   a thread's short lists
//! block, pool  used, full, empty                       |  refill: a batch   ^ flush
//! free_bits, free_chain   a pool's free blocks         v                    |   list_bounds, large_lists
//! arena, runs  which arena gives the next pool
//! engine       the rules, one value, no lock  <---  heap, inbox   the lock; blocks of other heaps
//! own_arenas   a heap's arenas by number               |
//! dirty        free pools that hold memory             |
//! geometry     where headers lie                       v
//! cpython      CPython's front, for the replay     extents, slots, huge, kept, address_map, roster: the process's
//! report       CPython's statistics text         kernel: fences; whether a purge clears
//!                                              huge_pages   which huge blocks lie in them
//! ```
//!
//! Reading order: as listed, left column first.

pub mod address_map;
pub mod arena;
pub mod block;
pub mod chain;
pub mod cpython;
mod descriptor;
pub mod dirty;
pub mod engine;
pub mod extents;
mod flush;
mod free_bits;
mod free_chain;
pub mod geometry;
pub mod heap;
pub mod heap_backing;
pub mod heap_errors;
pub mod huge;
mod huge_pages;
mod huge_store;
pub mod inbox;
pub mod kept;
mod kernel;
pub mod large_lists;
pub mod list;
mod list_bounds;
pub mod mix;
mod own_arenas;
pub mod pool;
pub mod report;
pub mod roster;
pub mod runs;
pub mod size_class;
mod slots;
pub mod thread_lists;
