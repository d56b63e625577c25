//! The shipped `sync`, `obmalloc`, two files of `global` and two of `observe`, built for loom.
//!
//! ```text
//! ../../src/sync      atomics, cells and the lock: loom's by `cfg(loom)`, which build.rs sets
//! ../../src/obmalloc  the allocator, every file as it ships
//! ../../src/global    options.rs and registration.rs; the rest is statics and the C library
//! ../../src/observe   recorder/order.rs and recorder/progress.rs
//! os/                 a machine of eight arenas with a strict kernel, instead of Linux
//! model.rs            runs a model and says how many executions it took
//! ../tests/models     the promises, one file each
//! ```
//!
//! Loom runs a model once for each way its threads can interleave and each value a load may return under
//! the memory model, within the bound a model names. What it sees are `sync`'s atomics and cells and what
//! the machine watches; plain memory (headers, links of blocks) it does not see. Where a promise is about
//! plain memory, the model puts one of loom's cells in its place: the bytes of a slot ([`os::Slot`]), the
//! payload of a block.
//!
//! Two things differ from the shipped build, both by `cfg!(loom)` beside the constant: the address map and
//! the extents are small, and the lock sleeps at once instead of spinning first.
//!
//! Loom's limits, to be remembered when reading a green model: a failing compare-and-swap always sees the
//! newest value; a SeqCst fence orders more than C++20's does; a thread's freedom to be preempted is
//! bounded where a model says so.

#[path = "../../src/sync/mod.rs"]
pub mod sync;

pub mod os;

#[path = "../../src/obmalloc/mod.rs"]
pub mod obmalloc;

#[path = "../../src/global/options.rs"]
pub mod options;

#[path = "../../src/global/registration.rs"]
pub mod registration;

#[path = "../../src/observe/recorder/order.rs"]
pub mod order;

#[path = "../../src/observe/recorder/progress.rs"]
pub mod progress;

pub mod model;
