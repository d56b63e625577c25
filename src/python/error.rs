//! What the kinds refuse, with CPython's words.

use core::fmt;

/// Why two values cannot be compared, or one not be hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KindError {
    /// A value of this kind cannot be a key: it may change.
    Unhashable(&'static str),
    /// Values that are nested too deeply.
    TooDeep,
}

impl fmt::Display for KindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhashable(kind) => write!(f, "unhashable type: '{kind}'"),
            Self::TooDeep => f.write_str("maximum recursion depth exceeded"),
        }
    }
}

impl core::error::Error for KindError {}
