//! What the runner and the workers share, and, with feature `worker`, the workers themselves.
//!
//! Read in this order: [`catalogue`] (which workloads and allocators there are), [`outcome`] (what a
//! worker tells the runner), [`ops`] and [`script`] (the file forms of recorded programs), then [`worker`] (how a
//! workload is measured) and [`workload`] (the workloads). The design as a whole is the module text
//! of `main.rs`.

pub mod catalogue;
#[cfg(feature = "gc")]
pub mod gc_work;
pub mod ops;
pub mod outcome;
pub mod script;
#[cfg(feature = "worker")]
pub mod worker;
#[cfg(feature = "worker")]
pub mod workload;
