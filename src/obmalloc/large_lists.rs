//! What a thread's lists of large blocks may hold together.
//!
//! Of large blocks there are many classes, and in a program that takes one of each length, as one does that reads
//! files, each list would keep the one it was given. So they share an allowance: 64 KiB, or a 1024th of what the heap has
//! out. A list that wants to grow when it is used up has others closed, in turn, until there is enough, and their blocks go
//! home; the only one that is open may hold a block, however long. Where a list may not grow and has no room, blocks come
//! from the heap, and go there, without it.
//!
//! | random blocks of 8 B to 64 KiB, 10,000 live | instructions |
//! |---|---|
//! | all others are closed at once | 1,720 million |
//! | one after the other | 1,250 |
//! | only lists that were not used since they were looked at last | 1,190, and CPython's peak is 0.2 to 1.5 % higher |
//!
//! Invariants:
//! * I1 `bytes` is the sum over the large classes of what their stacks may hold, and `open` names those that may hold
//!   any.

use super::list_bounds::LARGE_FROM;
use super::size_class::SizeClass;
use core::cell::Cell;
use static_assertions::const_assert;

/// The first class of large blocks.
const FIRST: usize = SizeClass::medium(LARGE_FROM).index() + 1;

const_assert!(SizeClass::COUNT - FIRST < u64::BITS as usize);

/// The part of a heap's live bytes that a thread's large lists may hold, and what they may whatever that is.
const PART: u64 = 1024;
const LEAST: u32 = 64 * 1024;

/// See the module.
pub struct LargeLists {
    bytes: Cell<u32>,
    open: Cell<u64>,
    allowance: Cell<u32>,
    /// The list that is looked at next.
    next: Cell<u8>,
}

/// Whether blocks of `class` are large.
#[inline]
pub fn is_large(class: SizeClass) -> bool {
    class.index() >= FIRST
}

impl LargeLists {
    /// None may hold anything.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make lists from"
    )]
    pub const NONE: Self = Self {
        bytes: Cell::new(0),
        open: Cell::new(0),
        allowance: Cell::new(LEAST),
        next: Cell::new(0),
    };

    /// Notes how many bytes of the heap's blocks are out.
    #[inline]
    pub fn note_live(&self, live_bytes: u64) {
        let part = u32::try_from(live_bytes / PART).unwrap_or(u32::MAX);
        self.allowance.set(part.max(LEAST));
    }

    /// Whether the list of a large `class`, which may hold `bound` blocks, may hold twice as many, or one: it is the only
    /// one, or there is allowance for that.
    #[inline]
    pub fn allow(&self, class: SizeClass, bound: usize) -> bool {
        let more = (bound.max(1) * class.block_bytes()) as u32;
        self.bytes.get() + more <= self.allowance.get() || self.others(class) == 0
    }

    #[inline]
    fn others(&self, class: SizeClass) -> u64 {
        self.open.get() & !(1 << (class.index() - FIRST))
    }

    /// Bytes they may hold now.
    pub fn bytes(&self) -> usize {
        self.bytes.get() as usize
    }

    /// Notes that the list of a large `class` may hold `now` blocks, and no longer `before`.
    #[inline]
    pub(super) fn rebound(&self, class: SizeClass, before: usize, now: usize) {
        let bytes = class.block_bytes();
        self.bytes
            .set(self.bytes.get() - (before * bytes) as u32 + (now * bytes) as u32);
        let bit = 1 << (class.index() - FIRST);
        self.open.set(match now {
            0 => self.open.get() & !bit,
            _ => self.open.get() | bit,
        });
    }

    /// Notes that none may hold anything.
    pub(super) fn forget(&self) {
        self.bytes.set(0);
        self.open.set(0);
    }

    /// The next of those that may hold something, but not that of `class`.
    pub fn next(&self, class: SizeClass) -> Option<SizeClass> {
        let others = self.others(class);
        if others == 0 {
            return None;
        }
        let later = others & (u64::MAX << self.next.get());
        let found = if later == 0 { others } else { later }.trailing_zeros();
        self.next.set(found as u8 + 1);
        Some(SizeClass::new(FIRST + found as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(bytes: usize) -> SizeClass {
        SizeClass::of(bytes).expect("a class")
    }

    #[test]
    fn large_is_what_is_above_4_kib() {
        for any in SizeClass::all() {
            assert_eq!(is_large(any), any.block_bytes() > LARGE_FROM);
        }
    }

    #[test]
    fn one_list_may_hold_a_block_of_any_length_and_others_what_is_left() {
        let lists = LargeLists::NONE;
        let (long, short) = (class(256 << 10), class(8192));
        assert!(lists.allow(long, 0), "the only one");
        lists.rebound(long, 0, 1);
        assert!(lists.allow(long, 1), "still the only one");
        assert!(!lists.allow(short, 0));
        lists.note_live(320 << 20);
        assert!(lists.allow(short, 0), "a 1024th of 320 MiB");
        assert!(!lists.allow(short, 16));
        lists.note_live(0);
        lists.rebound(long, 1, 0);
        lists.rebound(class(5000), 0, 1);
        assert!(lists.allow(short, 0), "64 KiB, whatever is out");
        assert!(!lists.allow(short, 8));
    }

    #[test]
    fn each_of_the_others_has_its_turn() {
        let lists = LargeLists::NONE;
        let all: Vec<_> = SizeClass::all().filter(|class| is_large(*class)).collect();
        assert_eq!(lists.next(all[0]), None);
        lists.rebound(all[0], 0, 1);
        assert_eq!(lists.next(all[0]), None, "not itself");
        for class in &all[1..] {
            lists.rebound(*class, 0, 2);
        }
        let last = *all.last().expect("some");
        for _ in 0..3 {
            for class in &all[..all.len() - 1] {
                assert_eq!(lists.next(last), Some(*class));
            }
        }
        lists.forget();
        assert_eq!((lists.next(last), lists.bytes()), (None, 0));
    }
}
