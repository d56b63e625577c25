//! A thread's short lists of free blocks, one per class: what makes alloc and free a few instructions.
//!
//! ```text
//! lists[0]         empty and without room, always: the list of blocks that are not ours
//! lists[class + 1] head -> block -> block …     room: how many more may be pushed
//! ```
//!
//! Invariants:
//! * I1 `room` + number of blocks in the list == `bound`.
//! * I2 `bound * block bytes <= MAX_BYTES`, or `bound` is 1.
//! * I3 a thread without lists has empty ones with no room: "uninitialised" takes the branch that
//!   "exhausted" takes anyway.
//! * I4 only the owning thread touches its lists.
//!
//! Bounds start short and double with use: a thread that allocates a few blocks holds a few blocks.

use super::address_map::{Label, label_of};
use super::block::{Block, Chain};
use super::size_class::SizeClass;
use core::cell::Cell;

/// Most bytes one list may hold.
const MAX_BYTES: usize = 32 * 1024;
/// Most blocks one list may hold.
const MAX_BLOCKS: u32 = 256;
/// Bytes a new list may hold.
const FIRST_BYTES: usize = 1024;

/// Free blocks of one class.
#[repr(C)]
pub struct List {
    head: Cell<Option<Block>>,
    room: Cell<u32>,
    bound: Cell<u16>,
    /// Whether it was refilled or flushed lately.
    worked: Cell<bool>,
}

impl List {
    /// No blocks, no room.
    pub const EMPTY: Self = Self {
        head: Cell::new(None),
        room: Cell::new(0),
        bound: Cell::new(0),
        worked: Cell::new(false),
    };

    /// Takes the block that was pushed last.
    #[inline(always)]
    pub fn pop(&self) -> Option<Block> {
        let block = self.head.get()?;
        // SAFETY: blocks in a list are free and linked.
        self.head.set(unsafe { block.link() });
        self.room.set(self.room.get().wrapping_add(1));
        Some(block)
    }

    /// Adds a block; false when there is no room.
    ///
    /// # Safety
    /// The block is free and of this list's class.
    #[inline(always)]
    pub unsafe fn push(&self, block: Block) -> bool {
        if !self.has_room() {
            return false;
        }
        // SAFETY: free by the caller's word; there is room.
        unsafe { self.push_into_room(block) };
        true
    }

    /// As [`Self::push`], where [`Self::has_room`] was true.
    ///
    /// # Safety
    /// 1. The block is free and of this list's class.
    /// 2. The list has room.
    #[inline(always)]
    pub unsafe fn push_into_room(&self, block: Block) {
        debug_assert!(self.has_room());
        self.room.set(self.room.get().wrapping_sub(1));
        // SAFETY: 1.
        unsafe { block.set_link(self.head.get()) };
        self.head.set(Some(block));
    }

    /// Whether a block may be pushed.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.room.get() != 0
    }

    /// Number of blocks.
    pub fn len(&self) -> u32 {
        self.bound().wrapping_sub(self.room.get())
    }

    /// Whether it holds no block.
    pub fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// The block that was pushed last.
    pub fn first(&self) -> Option<Block> {
        self.head.get()
    }

    /// Whether it holds as many blocks as it may.
    pub fn is_full(&self) -> bool {
        self.room.get() == 0
    }

    /// Whether it was neither refilled nor flushed since this was last asked.
    pub fn rests(&self) -> bool {
        !self.worked.replace(false)
    }

    /// Most blocks it may hold now.
    pub fn bound(&self) -> u32 {
        u32::from(self.bound.get())
    }

    /// A block that was pushed while it was in the list already, if there is one: such a list is a loop,
    /// so its last block has a link.
    pub fn twice(&self) -> Option<Block> {
        let mut next = self.head.get();
        for _ in 0..self.len() {
            // SAFETY: blocks in a list are free and linked.
            next = unsafe { next?.link() };
        }
        self.entry_of_loop(next?)
    }

    /// The block of a loop that the list's head leads to; one of the loop is `inside`.
    #[cold]
    fn entry_of_loop(&self, inside: Block) -> Option<Block> {
        // SAFETY: blocks in a list are free and linked.
        let next = |block: Block| unsafe { block.link() };
        let mut start = self.head.get()?;
        loop {
            let mut other = inside;
            loop {
                if other == start {
                    return Some(start);
                }
                other = next(other)?;
                if other == inside {
                    break;
                }
            }
            start = next(start)?;
        }
    }

    /// Lets the list grow: its bound doubles, within the limits for `class`.
    pub fn lengthen(&self, class: SizeClass) {
        let most = ((MAX_BYTES / class.block_bytes()) as u32).clamp(1, MAX_BLOCKS);
        let first = ((FIRST_BYTES / class.block_bytes()) as u32).clamp(1, 16);
        let bound = (self.bound() * 2).clamp(first, most);
        self.room.set(self.room.get() + (bound - self.bound()));
        self.bound.set(bound as u16);
        self.worked.set(true);
    }

    /// Puts a chain into the list, the chain's first block on top.
    ///
    /// # Safety
    /// The list is empty, the chain's blocks are free and of its class, and fit its bound.
    pub unsafe fn fill(&self, chain: Chain) {
        debug_assert!(self.is_empty() && chain.len() <= self.bound());
        let Some((first, last)) = chain.ends() else {
            return;
        };
        // SAFETY: free by the caller's word.
        unsafe { last.set_link(None) };
        self.head.set(Some(first));
        self.room.set(self.bound() - chain.len());
    }

    /// Takes all blocks out: the first and their number, linked.
    pub fn take_all(&self) -> (Option<Block>, u32) {
        let all = (self.head.take(), self.len());
        self.room.set(self.bound());
        all
    }

    /// Takes the room away: every free takes the slow path from now on.
    pub fn close(&self) {
        debug_assert!(self.is_empty());
        self.room.set(0);
        self.bound.set(0);
    }
}

/// All lists of one thread.
#[repr(C)]
pub struct ThreadLists {
    lists: [List; SizeClass::COUNT + 1],
}

impl ThreadLists {
    /// Lists without blocks and without room (I3).
    pub const EMPTY: Self = Self {
        lists: [const { List::EMPTY }; SizeClass::COUNT + 1],
    };

    /// The list of a class.
    #[inline(always)]
    pub fn of(&self, class: SizeClass) -> &List {
        self.at(label_of(class))
    }

    /// The list at a label.
    #[inline(always)]
    pub fn at(&self, label: Label) -> &List {
        debug_assert!((label as usize) < self.lists.len());
        // SAFETY: labels are 0 or a class's index and 1 (`label_of`), so at most `COUNT`.
        unsafe { self.lists.get_unchecked(label as usize) }
    }
}
