//! Sizes to classes and back: pure arithmetic, no state.
//!
//! | classes | block bytes | spacing | source |
//! |---|---|---|---|
//! | 0–31 | 16, 32 … 512 | 16 | CPython 3.10+, `Objects/obmalloc.c`: `SMALL_REQUEST_THRESHOLD`, `ALIGNMENT` |
//! | 32–103 | 576, 640 … 262,144 | 8 steps per doubling, at most 12.5 % | ours: CPython asks the raw domain |
//!
//! A class is a pure function of size *and* alignment, because `GlobalAlloc::dealloc` computes it again
//! from the layout. Invariants, tested over the whole domain:
//! * I1 `of(n).block_bytes() >= n`, and the class below is too small for `n`.
//! * I2 `aligned(n, a)` names a class whose block size is a multiple of `a`, so that blocks cut from a
//!   pool aligned to [`POOL_BYTES`] are aligned to `a`, for `a <= MAX_CLASS_ALIGN`.

use static_assertions::const_assert;

/// Alignment of every block, in bytes.
pub const ALIGNMENT: usize = 16;
/// Largest request obmalloc serves, in bytes (CPython: `SMALL_REQUEST_THRESHOLD`).
pub const SMALL_MAX: usize = 512;
/// Largest request served from a run of pools, in bytes.
pub const MEDIUM_MAX: usize = 256 * 1024;
/// Bytes of a pool (CPython 3.10+: `POOL_SIZE`, `POOL_BITS` 14).
pub const POOL_BYTES: usize = 1 << 14;
/// Bytes of an arena (CPython 3.10+: `ARENA_SIZE`, `ARENA_BITS` 20).
pub const ARENA_BYTES: usize = 1 << 20;
/// Pools in an arena that is aligned to a pool (CPython: `MAX_POOLS_IN_ARENA`).
pub const ARENA_POOLS: usize = ARENA_BYTES / POOL_BYTES;
/// Largest alignment a class can give, in bytes.
pub const MAX_CLASS_ALIGN: usize = POOL_BYTES;

/// Index of a block size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Number of obmalloc's classes.
    pub const SMALL: usize = SMALL_MAX / ALIGNMENT;
    /// Number of classes.
    pub const COUNT: usize = Self::SMALL + 72;

    /// All classes, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self::new)
    }

    /// Class `index`, which is below [`Self::COUNT`].
    #[inline]
    pub const fn new(index: usize) -> Self {
        debug_assert!(index < Self::COUNT);
        Self(index as u8)
    }

    /// Class of a request of 1 to [`SMALL_MAX`] bytes (CPython 3.11, `pymalloc_alloc`).
    #[inline]
    pub const fn small(size: usize) -> Self {
        debug_assert!(size >= 1 && size <= SMALL_MAX);
        Self(((size - 1) / ALIGNMENT) as u8)
    }

    /// Class of a request of 1 to [`MEDIUM_MAX`] bytes; `None` above.
    #[inline(always)]
    pub const fn of(size: usize) -> Option<Self> {
        if size <= SMALL_MAX {
            Some(Self::small(size))
        } else if size <= MEDIUM_MAX {
            Some(Self::medium(size))
        } else {
            None
        }
    }

    /// Class of a request above [`SMALL_MAX`] and up to [`MEDIUM_MAX`] bytes.
    #[inline(always)]
    pub const fn medium(size: usize) -> Self {
        debug_assert!(size > SMALL_MAX && size <= MEDIUM_MAX);
        let last = size - 1;
        let log = last.ilog2() as usize;
        let step = (last >> (log - 3)) & 7;
        Self((Self::SMALL + (log - 9) * 8 + step) as u8)
    }

    /// Class of a request of `size` bytes at a multiple of `align` (a power of two); `None` when it
    /// takes a mapping of its own. A request of 0 bytes is one of 1.
    #[inline(always)]
    pub const fn aligned(size: usize, align: usize) -> Option<Self> {
        let size = if size == 0 { 1 } else { size };
        if align <= ALIGNMENT {
            return Self::of(size);
        }
        if align > MAX_CLASS_ALIGN || size > MEDIUM_MAX {
            return None;
        }
        Self::of((size + align - 1) & !(align - 1))
    }

    /// Bytes of a block of this class.
    #[inline]
    pub const fn block_bytes(self) -> usize {
        let index = self.0 as usize;
        if index < Self::SMALL {
            (index + 1) * ALIGNMENT
        } else {
            let above = index - Self::SMALL;
            (9 + above % 8) << (6 + above / 8)
        }
    }

    /// Whether obmalloc's own rules serve this class.
    #[inline]
    pub const fn is_small(self) -> bool {
        (self.0 as usize) < Self::SMALL
    }

    /// This class as an index into tables of [`Self::COUNT`] entries.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Adjacent pools that make one pool of this class: one for small classes; for larger blocks as
    /// many as keep at least eight, or of long ones two, or else one block at a tail waste of 12.5 % at most. Few
    /// where blocks are long: what nobody uses of a run may hold memory of what was there before. By preload no more
    /// for blocks above 32 KiB than hold one.
    pub const fn span(self) -> usize {
        SPANS[self.0 as usize] as usize
    }

    /// Whether a block of this class begins in slot `slot` of its span.
    #[inline]
    pub const fn begins_in(self, slot: usize) -> bool {
        debug_assert!(slot < self.span());
        BEGINS_IN[self.0 as usize] >> slot & 1 == 1
    }
}

/// Per class, the slots of its span in which a block begins.
const BEGINS_IN: [u16; SizeClass::COUNT] = {
    let mut table = [0; SizeClass::COUNT];
    let mut index = 0;
    while index < SizeClass::COUNT {
        let class = SizeClass(index as u8);
        let mut end = class.block_bytes();
        while end <= class.span() * POOL_BYTES {
            table[index] |= 1 << ((end - class.block_bytes()) / POOL_BYTES);
            end += class.block_bytes();
        }
        index += 1;
    }
    table
};

const_assert!(MAX_SPAN <= u16::BITS as usize);

/// Blocks above this many bytes are long.
const LONG: usize = 8192;
/// Runs of blocks above this many bytes hold one. There are many such classes, a program has one or two blocks of most of
/// them, and by preload it is the program's memory that shows: the rest of a longer run waits for its own class, where
/// pools of one that holds nothing serve any. Of shorter blocks a tail of pools nobody uses would be too large a part.
const SHORT_RUNS_FROM: usize = if cfg!(feature = "preload") {
    2 * POOL_BYTES
} else {
    MEDIUM_MAX
};

/// Most pools one run spans.
pub const MAX_SPAN: usize = MEDIUM_MAX / POOL_BYTES;

const SPANS: [u8; SizeClass::COUNT] = {
    let mut spans = [1u8; SizeClass::COUNT];
    let mut index = SizeClass::SMALL;
    while index < SizeClass::COUNT {
        spans[index] = span_for(SizeClass(index as u8).block_bytes());
        index += 1;
    }
    spans
};

const fn span_for(block_bytes: usize) -> u8 {
    if block_bytes > SHORT_RUNS_FROM {
        return block_bytes.div_ceil(POOL_BYTES) as u8;
    }
    let mut least = if block_bytes > LONG { 2 } else { 8 };
    loop {
        let mut span = 1;
        while span <= MAX_SPAN {
            let bytes = span * POOL_BYTES;
            if bytes / block_bytes >= least && (bytes % block_bytes) * 8 <= bytes {
                return span as u8;
            }
            span += 1;
        }
        least /= 2;
        assert!(least > 0, "every class fits a run");
    }
}

/// Per class, 2^40 / block bytes rounded up: makes a division a multiplication.
const RECIPROCALS: [u64; SizeClass::COUNT] = {
    let mut table = [0; SizeClass::COUNT];
    let mut index = 0;
    while index < SizeClass::COUNT {
        table[index] = (1u64 << 40) / SizeClass::new(index).block_bytes() as u64 + 1;
        index += 1;
    }
    table
};

/// Number of the block of `class` that holds the byte `offset` bytes behind the first block of its pool.
/// Exact: the error of the reciprocal is below `offset * block bytes / 2^40 < 1 / block bytes`.
#[inline(always)]
pub fn block_number(offset: usize, class: SizeClass) -> u32 {
    ((offset as u64 * RECIPROCALS[class.index()]) >> 40) as u32
}

/// Number of the block of `class` that begins there; `None` where none begins.
pub fn block_index(offset: usize, class: SizeClass) -> Option<u32> {
    let k = block_number(offset, class);
    (k as usize * class.block_bytes() == offset).then_some(k)
}

/// Whether a block of `block_bytes` keeps its place when resized to `size` bytes: it fits and shrinks
/// by less than a quarter (CPython 3.11, `pymalloc_realloc`: `4 * nbytes > 3 * size`).
#[inline]
pub const fn resize_stays(size: usize, block_bytes: usize) -> bool {
    size <= block_bytes && 4 * size > 3 * block_bytes
}

const_assert!(SizeClass::medium(MEDIUM_MAX).0 as usize == SizeClass::COUNT - 1);
const_assert!(SizeClass::new(SizeClass::COUNT - 1).block_bytes() == MEDIUM_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 1..=MEDIUM_MAX {
            let class = SizeClass::of(size).unwrap();
            assert!(class.block_bytes() >= size, "{size}");
            if class.index() > 0 {
                assert!(
                    SizeClass::new(class.index() - 1).block_bytes() < size,
                    "{size}"
                );
            }
        }
        assert_eq!(SizeClass::of(MEDIUM_MAX + 1), None);
    }

    #[test]
    fn every_alignment_up_to_a_pool_divides_its_block() {
        for size in (0..=MEDIUM_MAX).step_by(7) {
            for log in 0..=14 {
                let align = 1 << log;
                if let Some(class) = SizeClass::aligned(size, align) {
                    assert!(class.block_bytes() >= size);
                    if align > ALIGNMENT {
                        assert_eq!(class.block_bytes() % align, 0, "{size} at {align}");
                    }
                } else {
                    assert!(size + align > MEDIUM_MAX);
                }
            }
        }
    }

    #[test]
    fn a_class_wastes_at_most_an_eighth_of_its_block_and_of_its_run_or_less_than_a_pool() {
        for index in SizeClass::SMALL..SizeClass::COUNT {
            let class = SizeClass::new(index);
            let below = SizeClass::new(index - 1).block_bytes();
            assert!((class.block_bytes() - below) * 8 <= class.block_bytes() + 64);
            let run = class.span() * POOL_BYTES;
            let waste = run % class.block_bytes();
            if class.block_bytes() > SHORT_RUNS_FROM {
                assert!(waste < POOL_BYTES);
            } else {
                assert!(waste * 8 <= run);
            }
        }
    }

    #[test]
    fn blocks_begin_in_the_slots_that_say_so() {
        for class in SizeClass::all() {
            let n = class.span() * POOL_BYTES / class.block_bytes();
            for slot in 0..class.span() {
                let begins = (0..n).any(|k| k * class.block_bytes() / POOL_BYTES == slot);
                assert_eq!(class.begins_in(slot), begins, "{slot} of {class:?}");
            }
        }
    }

    /// What a free in the middle of a block may have handed out, as far as the lists take it: it begins in a
    /// slot in which a block begins, and it is as long as one.
    #[test]
    fn no_place_in_a_slot_where_blocks_begin_reaches_a_slot_beyond_the_span() {
        for class in SizeClass::all().filter(|class| !class.is_small()) {
            for slot in (0..class.span()).filter(|slot| class.begins_in(*slot)) {
                let last_place = (slot + 1) * POOL_BYTES - ALIGNMENT;
                let end = last_place + class.block_bytes();
                assert!(end < (class.span() + 1) * POOL_BYTES, "{class:?}");
            }
        }
    }

    #[test]
    fn the_reciprocal_agrees_with_division_everywhere() {
        for class in SizeClass::all() {
            for offset in (0..class.span() * POOL_BYTES).step_by(16) {
                let begins = offset.is_multiple_of(class.block_bytes());
                assert_eq!(
                    block_index(offset, class),
                    begins.then_some((offset / class.block_bytes()) as u32),
                    "{offset} in {class:?}"
                );
            }
        }
    }

    #[test]
    fn resize_thresholds_are_cpythons() {
        // spec: S=16 stays for n>=13; S=32 for n>=25; S=64 for n>=49; S=512 for n>=385.
        for (block, least) in [(16, 13), (32, 25), (64, 49), (512, 385)] {
            assert!(resize_stays(least, block) && !resize_stays(least - 1, block));
            assert!(resize_stays(block, block) && !resize_stays(block + 1, block));
        }
    }
}
