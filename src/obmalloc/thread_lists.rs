//! A thread's short lists of free blocks, one per class: what makes alloc and free a few instructions.
//!
//! A list is a stack of addresses, and a buffer before it. Blocks are taken from the stack and put into the
//! buffer, which is moved on top of the stack when it is full or the stack is empty:
//!
//! ```text
//! lists[0]           no blocks and no room, always: the list of blocks that are not ours
//! lists[class + 1]   | b | b |   | … | 0 | b | b | b |   | … |
//!                            put^     ^limit      ^take
//!                    buffer           ^ the stack's bottom: null, and where the buffer ends
//! ```
//!
//! A buffer, because an alloc that follows a free would otherwise wait for the free's stores to come back from
//! the store buffer, and the next free for the alloc's: 3.9 ns a pair with one stack, 3.6 with a list of
//! linked blocks, 2.1 with a part to take from and one to put on (measured in one run). A short one, so that a
//! block that was freed a moment ago comes back soon.
//! Addresses instead of links, because an alloc then waits for no block's memory, a free touches none, a
//! block that was never used stays untouched until its user writes to it, and a flush knows all of them.
//! The price is 8 bytes of cache for each block that waits: CPython over the preload library takes 1.09 of its
//! built-in allocator's time, where it took 1.03 with lists of linked blocks.
//!
//! | what | then |
//! |---|---|
//! | nothing to take, half a buffer or more put | the buffer moves |
//! | nothing to take, less than that | refill: half a stack from the heap; then the same |
//! | no room in the buffer, but on the stack | the buffer moves |
//! | no room on either | flush: the older half of the stack goes home; then the same |
//!
//! So at least half a stack of allocs or frees lies between two calls of the heap, whatever the order.
//!
//! Invariants:
//! * I1 `take` names the null entry at the bottom of the stack or a block above it; all entries from there
//!   down to the bottom, and from the buffer's start up to `put`, are free blocks of the class.
//! * I2 `put <= limit`, and the buffer ends at `limit`, where the stack's bottom is.
//! * I3 the stack holds at most `bound` blocks, of `MAX_BYTES` together or one; it has room for a full buffer.
//! * I4 a thread without lists has empty ones with no room: "uninitialised" takes the branch that
//!   "exhausted" takes anyway.
//! * I5 only the owning thread touches its lists.
//!
//! Bounds start short and double with use: a thread that allocates a few blocks holds a few blocks. Buffers
//! and stacks lie in a region of the thread, each above the last; one that became too short is left.

use super::address_map::{Label, label_of};
use super::block::Block;
use super::size_class::SizeClass;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use static_assertions::const_assert;

/// Most bytes of blocks a stack may hold, and blocks.
const MAX_BYTES: usize = 32 * 1024;
const MAX_BLOCKS: usize = 255;
/// The same of a new one.
const FIRST_BYTES: usize = 8 * 1024;
const FIRST_BLOCKS: usize = 64;
/// The same of a buffer.
const BUFFER_BYTES: usize = 8 * 1024;
const BUFFER_BLOCKS: usize = 16;

/// A place for one block's address in a stack.
pub type Entry = Option<Block>;

/// The bottom of a stack that is not there.
const BOTTOM: *mut Entry = core::ptr::from_ref(&None).cast_mut();

/// Free blocks of one class: what alloc and free touch.
#[repr(C, align(32))]
pub struct List {
    take: Cell<*mut Entry>,
    put: Cell<*mut Entry>,
    limit: Cell<*mut Entry>,
    /// Blocks the buffer, and the stack, have room for; how many of them the stack may hold now.
    buffer: Cell<u8>,
    capacity: Cell<u8>,
    bound: Cell<u8>,
    /// Whether it was refilled or flushed lately.
    worked: Cell<bool>,
    /// See `parking.rs`.
    parked: Cell<u8>,
}

const_assert!(MAX_BLOCKS <= u8::MAX as usize);

impl List {
    /// No blocks, no room.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make lists from"
    )]
    pub const EMPTY: Self = Self {
        take: Cell::new(BOTTOM),
        put: Cell::new(null_mut()),
        limit: Cell::new(null_mut()),
        buffer: Cell::new(0),
        capacity: Cell::new(0),
        bound: Cell::new(0),
        worked: Cell::new(false),
        parked: Cell::new(0),
    };

    /// Takes the block on top of the stack.
    #[inline(always)]
    pub fn pop(&self) -> Option<Block> {
        let top = self.take.get();
        // SAFETY: an entry of a stack, or the null one at its bottom (I1).
        let block = unsafe { *top }?;
        // SAFETY: not the bottom, since it was not null.
        self.take.set(unsafe { top.sub(1) });
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
        let place = self.put.get();
        // SAFETY: below the limit (2, I2).
        unsafe { place.write(Some(block)) };
        // SAFETY: at most the limit.
        self.put.set(unsafe { place.add(1) });
    }

    /// Whether a block may be pushed.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.put.get() != self.limit.get()
    }

    /// Whether there is no block on the stack.
    pub fn nothing_to_take(&self) -> bool {
        // SAFETY: as in `pop`.
        unsafe { *self.take.get() }.is_none()
    }

    /// Whether it was neither refilled nor flushed since this was last asked.
    pub fn rests(&self) -> bool {
        !self.worked.replace(false)
    }

    /// Blocks its stack may hold now.
    #[inline(always)]
    pub fn bound(&self) -> usize {
        usize::from(self.bound.get())
    }

    /// The blocks on the stack and those in the buffer, oldest first.
    #[inline(always)]
    fn parts(&self) -> (&[Entry], &[Entry]) {
        if self.capacity.get() == 0 {
            return (&[], &[]);
        }
        let (bottom, buffer) = (self.limit.get(), usize::from(self.buffer.get()));
        // SAFETY: above the bottom up to `take`, and in the buffer below `put`, there are blocks (I1).
        unsafe {
            let start = bottom.sub(buffer);
            let n_put = self.put.get().offset_from_unsigned(start);
            let n_take = self.take.get().offset_from_unsigned(bottom);
            (
                core::slice::from_raw_parts(bottom.add(1), n_take),
                core::slice::from_raw_parts(start, n_put),
            )
        }
    }

    /// Moves the buffer on top of the stack, if it holds at least `least` blocks, or one, and there is room for
    /// them. True when it did.
    #[inline(always)]
    pub fn settle(&self, least: usize) -> bool {
        let (stack, buffer) = self.parts();
        let n = buffer.len();
        if n < least.max(1) || stack.len() + n > self.bound() {
            return false;
        }
        let top = self.take.get();
        // SAFETY: the stack has room for `bound` blocks, and lies behind the buffer.
        unsafe {
            top.add(1).copy_from_nonoverlapping(buffer.as_ptr(), n);
            self.take.set(top.add(n));
            self.put.set(self.put.get().sub(n));
        }
        true
    }

    /// Half of what the buffer has room for.
    #[inline(always)]
    pub fn half_buffer(&self) -> usize {
        usize::from(self.buffer.get() / 2)
    }
}

/// Blocks a stack of `class` may hold at most, and at first; blocks its buffer has room for.
const fn bounds(class: SizeClass) -> (usize, usize, usize) {
    let bytes = class.block_bytes();
    (
        clamp(MAX_BYTES / bytes, MAX_BLOCKS),
        clamp(FIRST_BYTES / bytes, FIRST_BLOCKS),
        clamp(BUFFER_BYTES / bytes, BUFFER_BLOCKS),
    )
}

const fn clamp(n: usize, most: usize) -> usize {
    match n {
        0 => 1,
        n if n > most => most,
        n => n,
    }
}

/// Entries of a region: room for every buffer and stack that any list may ever have.
pub const REGION_ENTRIES: usize = {
    let (mut sum, mut index) = (0, 0);
    while index < SizeClass::COUNT {
        let (most, mut bound, buffer) = bounds(SizeClass::new(index));
        loop {
            sum += buffer + 1 + bound;
            if bound == most {
                break;
            }
            bound = clamp(2 * bound, most);
        }
        index += 1;
    }
    sum
};

/// All lists of one thread.
#[repr(C)]
pub struct ThreadLists {
    lists: [List; SizeClass::COUNT + 1],
    region: Cell<Option<NonNull<Entry>>>,
    /// Entries of the region that are part of some list.
    used: Cell<u32>,
}

impl ThreadLists {
    /// Lists without blocks and without room (I4).
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make lists from"
    )]
    pub const EMPTY: Self = Self {
        lists: [const { List::EMPTY }; SizeClass::COUNT + 1],
        region: Cell::new(None),
        used: Cell::new(0),
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

    /// Lets the lists grow into a region of [`REGION_ENTRIES`].
    ///
    /// # Safety
    /// The region is this thread's alone until [`Self::detach`].
    pub unsafe fn attach(&self, region: NonNull<Entry>) {
        self.region.set(Some(region));
        self.used.set(0);
    }

    /// Takes the region away; every call takes the slow path from now on.
    pub fn detach(&self) -> Option<NonNull<Entry>> {
        for class in SizeClass::all() {
            debug_assert!(self.is_empty(class));
            let list = self.of(class);
            list.take.set(BOTTOM);
            list.put.set(null_mut());
            list.limit.set(null_mut());
            list.buffer.set(0);
            list.capacity.set(0);
            list.bound.set(0);
        }
        self.region.take()
    }

    /// Number of blocks of a class.
    pub fn len(&self, class: SizeClass) -> usize {
        let (stack, buffer) = self.of(class).parts();
        stack.len() + buffer.len()
    }

    /// Whether there is no block of a class.
    pub fn is_empty(&self, class: SizeClass) -> bool {
        self.len(class) == 0
    }

    /// Lets the list grow: its bound doubles, within the limits for `class`. False when it cannot.
    pub fn lengthen(&self, class: SizeClass) -> bool {
        let list = self.of(class);
        list.worked.set(true);
        let (most, first, _) = bounds(class);
        let bound = clamp((2 * list.bound()).max(first), most);
        if bound == list.bound() {
            return false;
        }
        if bound > usize::from(list.capacity.get()) && !self.move_to_longer(class, bound) {
            return false;
        }
        list.bound.set(bound as u8);
        true
    }

    /// Moves the blocks of a list to a longer stack.
    fn move_to_longer(&self, class: SizeClass, capacity: usize) -> bool {
        let (list, used) = (self.of(class), self.used.get() as usize);
        let Some(region) = self.region.get() else {
            return false;
        };
        let (_, _, room) = bounds(class);
        let end = used + room + 1 + capacity;
        debug_assert!(end <= REGION_ENTRIES);
        let (stack, buffer) = list.parts();
        // SAFETY: the region has room for all that a list may ever have, and this part is new; both parts hold
        // what the shorter ones held.
        unsafe {
            let start = region.add(used).as_ptr();
            let bottom = start.add(room);
            bottom.write(None);
            start.copy_from_nonoverlapping(buffer.as_ptr(), buffer.len());
            bottom
                .add(1)
                .copy_from_nonoverlapping(stack.as_ptr(), stack.len());
            list.take.set(bottom.add(stack.len()));
            list.put.set(start.add(buffer.len()));
            list.limit.set(bottom);
        }
        self.used.set(end as u32);
        list.buffer.set(room as u8);
        list.capacity.set(capacity as u8);
        true
    }

    /// Makes the list as short as can be, if it holds no block: a stack no longer than the buffer.
    pub fn shorten(&self, class: SizeClass) {
        if self.is_empty(class) {
            let list = self.of(class);
            list.bound.set(list.bound.get().min(list.buffer.get()));
        }
    }

    /// Room for `n` blocks on the stack, which is empty; `n` is at most the bound. The last place is the one
    /// that is taken from first. Empty if there is no such room.
    #[allow(
        clippy::mut_from_ref,
        reason = "free entries that nobody else reaches (I5)"
    )]
    pub fn places(&self, class: SizeClass, n: usize) -> &mut [Entry] {
        let list = self.of(class);
        debug_assert!(n <= list.bound() && list.nothing_to_take());
        if list.capacity.get() == 0 {
            return &mut [];
        }
        // SAFETY: above the bottom, within the stack, and above `take`.
        unsafe { core::slice::from_raw_parts_mut(list.limit.get().add(1), n) }
    }

    /// Notes that the first `n` of [`Self::places`] are filled.
    ///
    /// # Safety
    /// They hold free blocks of `class`.
    pub unsafe fn fill(&self, class: SizeClass, n: usize) {
        if n > 0 {
            let list = self.of(class);
            // SAFETY: within the stack.
            list.take.set(unsafe { list.limit.get().add(n) });
        }
    }

    /// The `n` oldest blocks on the stack, or all if there are fewer.
    pub fn older(&self, class: SizeClass, n: usize) -> &[Entry] {
        let (stack, _) = self.of(class).parts();
        &stack[..n.min(stack.len())]
    }

    /// Takes the `n` oldest blocks off the stack, which are [`Self::older`].
    pub fn drop_older(&self, class: SizeClass, n: usize) {
        let list = self.of(class);
        list.worked.set(true);
        let (stack, _) = list.parts();
        if n == 0 || n > stack.len() {
            return;
        }
        let bottom = list.limit.get();
        // SAFETY: all within the stack.
        unsafe {
            bottom.add(1).copy_from(bottom.add(1 + n), stack.len() - n);
            list.take.set(list.take.get().sub(n));
        }
    }
}

#[path = "parking.rs"]
mod parking;

#[cfg(test)]
#[path = "thread_lists_tests.rs"]
mod tests;
