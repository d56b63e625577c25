//! How long the lists of a thread may get, by class: pure arithmetic, done when this is compiled.
//!
//! Bounds start short and double with use: a thread that allocates a few blocks holds a few blocks. A list that only
//! gives or only takes gains nothing from more than some two hundred of them. One that takes what it gave a moment ago, a
//! refill after it had no room for a free, would have kept it if it were longer: it may hold some two thousand small
//! blocks, which adds nothing to what a program holds, since it wants them again at once. Large blocks are bounded
//! together, too (`large_lists.rs`).

use super::size_class::SizeClass;
use static_assertions::const_assert;

/// What bounds one way are divided by. By preload many programs are small: blocks in lists are a part of theirs that shows.
const SHARE: usize = if cfg!(feature = "preload") { 2 } else { 1 };
/// Most bytes of blocks and blocks that a stack may hold which only gives or only takes.
pub const ONE_WAY_BYTES: usize = 32 * 1024 / SHARE;
pub const ONE_WAY_BLOCKS: usize = 255 / SHARE;
/// The same of one that takes what it gave.
pub const MAX_BYTES: usize = 64 * 1024;
pub const MAX_BLOCKS: usize = 2047;
/// The same of a new one.
const FIRST_BYTES: usize = 8 * 1024 / SHARE;
const FIRST_BLOCKS: usize = 64 / SHARE;
/// The same of a buffer.
const BUFFER_BYTES: usize = 8 * 1024;
pub const BUFFER_BLOCKS: usize = 16;

/// Blocks above this many bytes are large.
pub const LARGE_FROM: usize = 4096;

const_assert!(MAX_BLOCKS <= u16::MAX as usize);

/// What the list of a class may be.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Blocks its stacks have room for, each longer than the last or as long: the first one, one way, at most.
    pub stacks: [u16; 3],
    /// Blocks its buffer has room for.
    pub buffer: u16,
}

/// Those of each class.
const BOUNDS: [Bounds; SizeClass::COUNT] = {
    let mut table = [Bounds {
        stacks: [0; 3],
        buffer: 0,
    }; SizeClass::COUNT];
    let mut index = 0;
    while index < SizeClass::COUNT {
        table[index] = reckoned(SizeClass::new(index));
        index += 1;
    }
    table
};

const fn reckoned(class: SizeClass) -> Bounds {
    let bytes = class.block_bytes();
    let is_large = bytes > LARGE_FROM;
    let most = if is_large { ONE_WAY_BYTES } else { MAX_BYTES } / bytes;
    Bounds {
        stacks: [
            clamp(FIRST_BYTES / bytes, FIRST_BLOCKS),
            clamp(ONE_WAY_BYTES / bytes, ONE_WAY_BLOCKS),
            clamp(most, MAX_BLOCKS),
        ],
        buffer: clamp(BUFFER_BYTES / bytes, BUFFER_BLOCKS),
    }
}

const fn clamp(n: usize, most: usize) -> u16 {
    match n {
        0 => 1,
        n if n > most => most as u16,
        n => n as u16,
    }
}

/// What the list of `class` may be.
#[inline]
pub fn bounds(class: SizeClass) -> Bounds {
    BOUNDS[class.index()]
}

/// The first list's first entry in a region: a list without blocks points one below its buffer.
pub const FIRST_ENTRY: usize = 1;

/// Entries of a region: room for every buffer and stack that any list may ever have.
pub const REGION_ENTRIES: usize = {
    let (mut sum, mut index) = (FIRST_ENTRY, 0);
    while index < SizeClass::COUNT {
        let Bounds { stacks, buffer } = reckoned(SizeClass::new(index));
        let (mut longest, mut k) = (0, 0);
        while k < stacks.len() {
            if stacks[k] > longest {
                longest = stacks[k];
                sum += buffer as usize + 1 + longest as usize;
            }
            k += 1;
        }
        index += 1;
    }
    sum
};
