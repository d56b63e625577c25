//! pymalloc.
mod global;
pub mod obmalloc;
mod os;
#[cfg(feature = "preload")]
mod shim;
mod sync;

pub use global::{ClassStats, Heap, PyMalloc, Stats};
