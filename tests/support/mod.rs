//! What replays share, in reading order.

/// The recordings.
pub mod pymt;

/// An allocator seen from outside.
pub mod subject;

/// The text of its statistics.
pub mod report;

/// The naive oracle.
pub mod model;

/// Compares an allocator with a recording.
pub mod replay;

/// Compares two allocators on random programs.
pub mod random;
