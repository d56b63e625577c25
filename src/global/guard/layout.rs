//! Where the parts of a guarded block lie: pure arithmetic.
//!
//! ```text
//! base                    offset                          offset + n
//! | tag 80 | filling … | head 16 | the user's n bytes    | tail 8 | serial 8 | apron 32 | slack | guard page
//!   ours, sealed         n, API, 7 pads                    8 pads   call number            above 256 KiB
//! ```
//!
//! From the head on these are the bytes of CPython's debug hooks (3.11, `Objects/obmalloc.c`,
//! `_PyMem_DebugRawAlloc` with `PYMEM_DEBUG_SERIALNO`): 32 bytes more than asked for. The tag is ours.

/// Bytes in front of the head.
pub const TAG_BYTES: usize = 80;
/// Bytes of the head: the request, big-endian, the API's letter, seven pads (CPython: `2*SST`).
pub const HEAD_BYTES: usize = 16;
/// Pads behind the user's bytes, and the call number behind them (CPython: `SST` each).
pub const TAIL_BYTES: usize = 8;
/// Bytes of the call number.
pub const SERIAL_BYTES: usize = 8;

/// Where the user's bytes begin and how many the whole block has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Offset of the user's bytes in the block.
    pub offset: usize,
    /// Bytes of the whole block, guard page not counted.
    pub total: usize,
}

/// Bytes behind them that are looked at, too: strides of a few words do not skip them.
pub const APRON_BYTES: usize = 32;
/// What follows the user's bytes.
pub const BEHIND_BYTES: usize = TAIL_BYTES + SERIAL_BYTES + APRON_BYTES;

/// The layout of a block for `n` bytes at a multiple of `align`, a power of two of at least 16, in a block
/// that begins at one. `None` when the sum is no size.
pub const fn layout(n: usize, align: usize) -> Option<Layout> {
    let offset = (TAG_BYTES + HEAD_BYTES).next_multiple_of(align);
    let Some(end) = offset.checked_add(n) else {
        return None;
    };
    let Some(total) = end.checked_add(BEHIND_BYTES) else {
        return None;
    };
    if total > isize::MAX as usize {
        return None;
    }
    Some(Layout { offset, total })
}

/// The same block moved up against the end of its last page, as far as the alignment lets it: the page
/// behind it can be made inaccessible.
pub const fn against_page_end(layout: Layout, align: usize, page: usize) -> Layout {
    let room = layout.total.next_multiple_of(page);
    let slack = room - layout.total;
    Layout {
        offset: layout.offset + slack / align * align,
        total: layout.total + slack / align * align,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_bytes_are_aligned_and_everything_fits() {
        for n in (0..5000).chain([1 << 20, (1 << 30) + 1]) {
            for log in 4..22 {
                let align = 1 << log;
                let plain = layout(n, align).unwrap();
                let moved = against_page_end(plain, align, 4096);
                for it in [plain, moved] {
                    assert!(it.offset >= TAG_BYTES + HEAD_BYTES);
                    assert_eq!(it.offset % align, 0);
                    assert_eq!(it.total, it.offset + n + BEHIND_BYTES);
                }
                assert!(moved.total <= plain.total.next_multiple_of(4096));
                assert!(moved.total.next_multiple_of(4096) - moved.total < align.min(4096));
            }
        }
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        assert_eq!(layout(usize::MAX, 16), None);
        assert_eq!(layout(isize::MAX as usize - 90, 16), None);
        assert!(layout(isize::MAX as usize - 144, 16).is_some());
    }
}
