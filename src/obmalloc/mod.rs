//! L2: the allocator as values; no mutable statics.
pub mod address_map;
pub mod arena;
pub mod block;
pub mod cpython;
mod descriptor;
pub mod dirty;
pub mod engine;
pub mod extents;
pub mod geometry;
pub mod heap;
pub mod huge;
pub mod inbox;
pub mod pool;
pub mod report;
pub mod roster;
pub mod runs;
pub mod size_class;
pub mod thread_lists;
