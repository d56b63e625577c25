//! Which huge blocks lie in huge pages.
//!
//! ```text
//! | 2 MiB         | 2 MiB         | 2 MiB         |
//! | block of 3.5 MiB ……………………… end |…|               its mapping ends with a huge page
//! | block of 4.5 MiB …………………………………… end|             its mapping ends there: small pages
//! ```
//!
//! A page fault costs some 1.5 µs for 4 KiB and 170 µs for 2 MiB, so a huge page pays where a block uses a quarter of
//! it; it is had where the block has room for half of one. What it may waste is less than one, and less than half of
//! the block. A vector that doubles is moved by whole entries of the page table, for its mapping begins with a huge
//! page, too.
//!
//! A block that is asked for zeroed has small pages until it grows: often it is a table of which little is touched.

use super::extents::{Extents, HUGE_PAGE};
use super::size_class::ARENA_BYTES;
use crate::os;
use core::ptr::NonNull;

/// Least bytes of a block in huge pages. The preload library comes under programs that did not ask for it, many of
/// them small; a model's address space is too small.
const LEAST: usize = if cfg!(loom) {
    isize::MAX as usize
} else if cfg!(feature = "preload") {
    4 * ARENA_BYTES
} else {
    HUGE_PAGE / 2
};

/// The most bytes by which a mapping is longer than its block.
pub(super) const SPARE: usize = if LEAST < HUGE_PAGE { HUGE_PAGE / 2 } else { 0 };

/// How a block is mapped.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// Bytes of the mapping.
    pub len: usize,
    /// Its alignment.
    pub align: usize,
    /// Whether it wants huge pages.
    huge: bool,
}

impl Form {
    /// For a block of `len` bytes, whole pages, at a multiple of `align`, or of 1 MiB. `before` of them are mapped already.
    pub fn new(extents: &Extents, len: usize, align: usize, before: usize) -> Self {
        let longer = if len % HUGE_PAGE >= HUGE_PAGE / 2 {
            len.next_multiple_of(HUGE_PAGE)
        } else {
            len
        };
        let huge = extents.wants_huge_pages(len >= LEAST)
            && longer >= HUGE_PAGE
            && extents.has_room(longer - before);
        if huge {
            Self {
                len: longer,
                align: align.max(HUGE_PAGE),
                huge,
            }
        } else {
            Self::plain(len, align)
        }
    }

    /// The same in small pages.
    pub fn plain(len: usize, align: usize) -> Self {
        Self {
            len,
            align: align.max(ARENA_BYTES),
            huge: false,
        }
    }

    /// Asks for huge pages, if they are wanted, behind the mapping at `base`.
    ///
    /// # Safety
    /// A mapping of this form begins there.
    pub unsafe fn ask(self, base: NonNull<u8>) {
        if self.huge {
            // SAFETY: mapped by the caller's word.
            unsafe { os::ask_for_huge_pages(base, self.len) };
        }
    }
}
