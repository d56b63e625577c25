//! Kinds without references to other objects: None, bool, int, float, str, bytes. Never tracked.
//!
//! Sizes are those of CPython 3.11 (Objects/longobject.c, floatobject.c, unicodeobject.c, bytesobject.c): what
//! `sys.getsizeof` says there, not what an object takes here.

use super::integer::Integer;
use crate::impl_trace;

/// CPython's object header: count and type.
pub const HEADER_BYTES: usize = 16;
/// The same with a number of items.
pub const VARIABLE_HEADER_BYTES: usize = 24;
/// What CPython puts before an object that its collector tracks.
pub const GC_HEADER_BYTES: usize = 16;
/// A reference.
pub const REFERENCE_BYTES: usize = 8;

/// The kind of `None`.
#[derive(Debug)]
pub struct NoneType(());
impl_trace!(leaf NoneType);

impl NoneType {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// The kind of `True` and `False`.
#[derive(Debug)]
pub struct Bool(pub(super) bool);
impl_trace!(leaf Bool);

impl Bool {
    /// Whether it is `True`.
    pub fn is_true(&self) -> bool {
        self.0
    }
}

/// A whole number.
#[derive(Debug)]
pub struct Int(pub(super) Integer);
impl_trace!(leaf Int);

impl Int {
    /// The number.
    pub fn value(&self) -> &Integer {
        &self.0
    }

    pub(super) fn size(&self) -> usize {
        VARIABLE_HEADER_BYTES + 4 * self.0.n_digits()
    }
}

/// A floating point number. (CPython's free list of 100 floats shows nowhere: floats are not counted.)
#[derive(Debug)]
pub struct Float(pub(super) f64);

impl_trace!(leaf Float);

impl Float {
    /// The number.
    pub fn value(&self) -> f64 {
        self.0
    }
}

/// A text.
#[derive(Debug)]
pub struct Str {
    text: Box<str>,
    /// Characters.
    length: usize,
    /// The largest character.
    widest: char,
}
impl_trace!(leaf Str);

impl Str {
    pub(super) fn new(text: &str) -> Self {
        Self {
            length: text.chars().count(),
            widest: text.chars().max().unwrap_or('\0'),
            text: text.into(),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Characters it has (Python's `len`).
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// PEP 393 (Objects/unicodeobject.c 3.11: `unicode_sizeof`): ASCII text behind a header of 48 bytes, other
    /// text behind one of 72, with the width of the widest character, and one more character that is 0.
    pub(super) fn size(&self) -> usize {
        match self.widest {
            '\0'..='\x7f' => 48 + self.length + 1,
            ..='\u{ff}' => 72 + self.length + 1,
            ..='\u{ffff}' => 72 + 2 * (self.length + 1),
            _ => 72 + 4 * (self.length + 1),
        }
    }
}

/// A row of bytes.
#[derive(Debug)]
pub struct Bytes(pub(super) Box<[u8]>);
impl_trace!(leaf Bytes);

impl Bytes {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn size(&self) -> usize {
        // Header, number, remembered hash, and one more byte that is 0.
        VARIABLE_HEADER_BYTES + 8 + self.0.len() + 1
    }
}
