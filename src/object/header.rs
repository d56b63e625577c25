//! The eight bytes before every value, and the raw handle that reaches them.
//!
//! ```text
//! value - 8: | count (32) | flags (12), type (20) | value, at a multiple of 16 …
//! ```
//!
//! | count | meaning |
//! |---|---|
//! | 0 | no handle: being built, dying, or a member of a set that is torn down |
//! | 1 to 2³¹−1 | so many handles |
//! | sign bit set | immortal: never written again (CPython 3.12, PEP 683, does the same) |
//!
//! Invariants:
//! * I1 a [`Raw`] points to the value of a slot that is taken; its pointer has the rights of the whole arena.
//! * I2 the header is written by the heap's own thread only.

use super::arena::{ARENA_MASK, Arena, GRANULE};
use super::pool::PoolRef;
use core::cell::Cell;
use core::ptr::NonNull;
use static_assertions::const_assert_eq;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 8;

/// The value an immortal object's count has: 3 × 2³⁰ (CPython 3.14, `_Py_IMMORTAL_INITIAL_REFCNT`).
pub const IMMORTAL: u32 = 3 << 30;

/// Flags in the low bits of the second word.
pub mod flags {
    /// Its finalizer ran.
    pub const FINALIZED: u32 = 1;
    /// It has weak references.
    pub const WEAK: u32 = 2;
    /// Was tracked, and waits for its turn to die.
    pub const QUEUED: u32 = 4;
    /// The type's index begins at this bit.
    pub const TYPE_SHIFT: u32 = 12;
    /// Types a heap may have.
    pub const TYPES: usize = 1 << 20;
}

/// Count, flags and type of one object.
#[repr(C)]
pub struct Header {
    count: Cell<u32>,
    meta: Cell<u32>,
}

const_assert_eq!(size_of::<Header>(), HEADER_BYTES);

/// A raw handle: the address of an object's value. Copying it counts nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Raw(NonNull<u8>);

impl Raw {
    /// The object whose value is at `value`.
    ///
    /// # Safety
    /// 1. The slot is taken, and stays so while the result is used (I1).
    #[inline(always)]
    pub(crate) const unsafe fn new(value: NonNull<u8>) -> Self {
        Self(value)
    }

    /// Where its value is.
    #[inline(always)]
    pub(crate) fn value(self) -> NonNull<u8> {
        self.0
    }

    /// The address of the value, to compare and to sort by.
    #[inline(always)]
    pub(crate) fn addr(self) -> usize {
        self.0.addr().get()
    }

    /// The arena it lies in.
    #[inline(always)]
    pub(crate) fn arena(self) -> Arena {
        // SAFETY: values lie in the first MiB of an arena (I1), whose tables come before them.
        unsafe {
            let base = self.0.as_ptr().map_addr(|addr| addr & !ARENA_MASK);
            Arena::new(NonNull::new_unchecked(base))
        }
    }

    /// Its granule: the index of 16 bytes in the arena.
    #[inline(always)]
    pub(crate) fn granule(self) -> usize {
        (self.addr() & ARENA_MASK) / GRANULE
    }

    /// The descriptor of the 16 KiB it begins in: its pool, or a part of its run.
    #[inline(always)]
    pub(crate) fn piece(self) -> PoolRef {
        self.arena().piece_of(self.granule())
    }

    /// The descriptor of its pool.
    #[inline(always)]
    pub(crate) fn pool(self) -> PoolRef {
        self.arena().pool_of(self.granule())
    }

    /// Count, flags and type as one word: that of [`new_header`] if there is one handle and no flag.
    #[inline(always)]
    pub(crate) fn word(self) -> u64 {
        // SAFETY: every taken slot has its header before the value (I1); nobody holds it mutably.
        unsafe { self.0.cast::<u64>().sub(1).read() }
    }

    #[inline(always)]
    fn header<'a>(self) -> &'a Header {
        // SAFETY: every taken slot has its header before the value (I1); nobody holds it mutably.
        unsafe { self.0.cast::<Header>().sub(1).as_ref() }
    }

    /// Handles to it; see the table above.
    #[inline(always)]
    pub(crate) fn count(self) -> u32 {
        self.header().count.get()
    }

    /// Sets the count.
    #[inline(always)]
    pub(crate) fn set_count(self, count: u32) {
        self.header().count.set(count);
    }

    /// Whether it is immortal.
    #[inline(always)]
    pub(crate) fn is_immortal(self) -> bool {
        (self.count() as i32) < 0
    }

    /// One handle more. Aborts when there are 2³¹.
    #[inline(always)]
    pub(crate) fn increment(self) {
        let more = self.count().wrapping_add(1);
        if (more as i32) <= 0 {
            return increment_slow(more);
        }
        self.set_count(more);
    }

    /// Index of its type in the heap's table.
    #[inline(always)]
    pub(crate) fn type_index(self) -> usize {
        (self.header().meta.get() >> flags::TYPE_SHIFT) as usize
    }

    /// Whether one of `flags` is set.
    #[inline(always)]
    pub(crate) fn has(self, flags: u32) -> bool {
        self.header().meta.get() & flags != 0
    }

    /// Sets flags.
    pub(crate) fn set(self, flags: u32) {
        let meta = &self.header().meta;
        meta.set(meta.get() | flags);
    }

    /// Clears flags.
    pub(crate) fn clear(self, flags: u32) {
        let meta = &self.header().meta;
        meta.set(meta.get() & !flags);
    }

    /// Writes the whole header of a slot just taken.
    #[inline(always)]
    pub(crate) fn write_header(self, word: u64) {
        // SAFETY: the eight bytes before the value belong to the slot (I1).
        unsafe { self.0.cast::<u64>().sub(1).write(word) };
    }
}

/// The header of a new object of type `index` with one handle, as one word.
pub const fn new_header(index: usize) -> u64 {
    (index as u64) << (32 + flags::TYPE_SHIFT) | 1
}

/// An immortal object stays as it is; a count that would become negative ends the process.
#[cold]
#[inline(never)]
fn increment_slow(more: u32) {
    if more == 1 << 31 {
        crate::os::fatal(format_args!("object reference count overflow"));
    }
}
