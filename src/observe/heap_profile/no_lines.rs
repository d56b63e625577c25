//! Without the feature `symbols`, and in the preload library, which allocates nothing behind a program's back: profiles
//! have the names of functions, and pprof finds the lines.

use super::draft::Draft;

/// There is no naming thread.
pub fn begin() {}

/// Nor is this one.
pub fn is_here() -> bool {
    false
}

/// The draft as it is.
pub fn named(draft: Draft) -> Draft {
    draft
}
