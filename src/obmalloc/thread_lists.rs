//! A thread's short lists of free blocks, one per class: what makes alloc and free a few instructions.
//!
//! A list is a stack of addresses, and a buffer before it. Blocks are taken from the stack and put into the
//! buffer, which is moved on top of the stack when it is full or the stack is empty:
//!
//! ```text
//! lists[0]           no blocks and no room, always: the list of blocks that are not ours
//! lists[class + 1]   | b | b |   | … | 0 | b | b | b |   | … |
//!                          ^put  ^limit           ^take
//!                    buffer          ^ the stack's bottom: null
//! ```
//!
//! A buffer, because an alloc that follows a free would otherwise wait for the free's stores to come back from
//! the store buffer, and the next free for the alloc's: 3.9 ns a pair with one stack, 3.6 with a list of
//! linked blocks, 2.1 with a part to take from and one to put on (measured in one run). A short one, so that a
//! block that was freed a moment ago comes back soon.
//!
//! Only where the calls are inlined, so not in the preload library: whoever calls `malloc` does something
//! between a free and an alloc, and there a buffer is moved every sixteen calls or so for nothing, with a
//! branch mispredicted and a load that waits for narrower stores each time. There `free` puts blocks on top
//! of the stack. A thread's lists have buffers or not ([`Buffers`]); sampling wants them, to see what was freed.
//!
//! | list | `put` | `limit` | a free goes to | no room when |
//! |---|---|---|---|---|
//! | with a buffer | the block put last | the buffer's last place, below the bottom | `put` + 1 | `put == limit` |
//! | without | the bottom | the stack's last place | `take` + 1 | `take == limit` |
//!
//! Addresses instead of links, because an alloc then waits for no block's memory, a free touches none, a
//! block that was never used stays untouched until its user writes to it, and a flush knows all of them.
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
//! * I2 what the table says; `put <= limit` with a buffer, `take <= limit` without.
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
use core::ptr::NonNull;
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

/// Whether a thread's lists have buffers: where in a [`List`] the pointer is that a free moves, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Buffers {
    /// None: frees go on top of the stack.
    Without = core::mem::offset_of!(List, take),
    /// In front of each stack.
    With = core::mem::offset_of!(List, put),
}

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

/// A free place in a list. Pointers, because `Option` would test a reference a second time.
pub struct Room {
    /// The list's pointer to the place below.
    end: *const Cell<*mut Entry>,
    below: *mut Entry,
}

impl Room {
    /// Puts a block there.
    ///
    /// # Safety
    /// 1. The list lives, and nothing was done with it since it was asked for room.
    /// 2. The block is free and of the list's class.
    #[inline(always)]
    pub unsafe fn fill(self, block: Block) {
        // SAFETY: below the limit (1, I2), and so at most the limit when one further.
        unsafe {
            let place = self.below.add(1);
            place.write(Some(block));
            (*self.end).set(place);
        }
    }
}

impl List {
    /// No blocks, no room.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make lists from"
    )]
    pub const EMPTY: Self = Self {
        take: Cell::new(BOTTOM),
        put: Cell::new(BOTTOM),
        limit: Cell::new(BOTTOM),
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
        let Some(room) = self.room() else {
            return false;
        };
        // SAFETY: free by the caller's word; nothing lies between.
        unsafe { room.fill(block) };
        true
    }

    /// Room for one block.
    #[inline(always)]
    pub fn room(&self) -> Option<Room> {
        // In a Rust program all lists have buffers, or no room.
        if self.has_buffer() || cfg!(not(feature = "preload")) {
            self.room_at(&self.put)
        } else {
            self.room_at(&self.take)
        }
    }

    #[inline(always)]
    fn room_at(&self, end: &Cell<*mut Entry>) -> Option<Room> {
        let below = end.get();
        (below != self.limit.get()).then_some(Room { end, below })
    }

    /// Whether there is room, perhaps after moving the buffer.
    pub fn makes_room(&self) -> bool {
        self.room().is_some() || self.settle(1)
    }

    fn has_buffer(&self) -> bool {
        self.buffer.get() > 0
    }

    /// The null entry below the stack.
    #[inline(always)]
    fn bottom(&self) -> *mut Entry {
        if self.has_buffer() {
            // SAFETY: behind the buffer's last place (I2).
            unsafe { self.limit.get().add(1) }
        } else {
            self.put.get()
        }
    }

    fn set_bound(&self, bound: usize) {
        debug_assert!(bound <= usize::from(self.capacity.get()));
        self.bound.set(bound as u8);
        if !self.has_buffer() {
            // SAFETY: within the stack, which has room for `capacity` blocks.
            self.limit.set(unsafe { self.bottom().add(bound) });
        }
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
        let (bottom, buffer) = (self.bottom(), usize::from(self.buffer.get()));
        // SAFETY: above the bottom up to `take`, and in the buffer below `put`, there are blocks (I1).
        unsafe {
            let start = bottom.sub(buffer);
            let n_put = match buffer {
                0 => 0,
                _ => self.put.get().add(1).offset_from_unsigned(start),
            };
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

/// Blocks a stack of `class` may hold at most, at first, and when it is short; as many as the last has a buffer
/// room for.
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

/// The first list's first entry in a region: a list without blocks points one below its buffer.
const FIRST_ENTRY: usize = 1;

/// Entries of a region: room for every buffer and stack that any list may ever have.
pub const REGION_ENTRIES: usize = {
    let (mut sum, mut index) = (FIRST_ENTRY, 0);
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
    /// A [`Buffers`], where `room` looks for it.
    buffers: Cell<usize>,
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
        buffers: Cell::new(Buffers::Without as usize),
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
    pub unsafe fn attach(&self, region: NonNull<Entry>, buffers: Buffers) {
        self.region.set(Some(region));
        self.used.set(FIRST_ENTRY as u32);
        self.buffers.set(buffers as usize);
    }

    /// Room for a block in the list at a label, as [`List::room`], by fewer instructions.
    #[inline(always)]
    pub fn room(&self, label: Label) -> Option<Room> {
        let list = self.at(label);
        // SAFETY: `Buffers` are offsets of such fields.
        let end = unsafe {
            &*core::ptr::from_ref(list)
                .byte_add(self.buffers.get())
                .cast::<Cell<*mut Entry>>()
        };
        list.room_at(end)
    }

    fn buffers(&self) -> Buffers {
        if self.buffers.get() == Buffers::With as usize {
            Buffers::With
        } else {
            Buffers::Without
        }
    }

    /// Takes the region away, and says whether there were buffers; every call takes the slow path from now on.
    pub fn detach(&self) -> Option<(NonNull<Entry>, Buffers)> {
        for class in SizeClass::all() {
            debug_assert!(self.is_empty(class));
            let list = self.of(class);
            list.take.set(BOTTOM);
            list.put.set(BOTTOM);
            list.limit.set(BOTTOM);
            list.buffer.set(0);
            list.capacity.set(0);
            list.bound.set(0);
        }
        self.region.take().map(|region| (region, self.buffers()))
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
        list.set_bound(bound);
        true
    }

    /// Moves the blocks of a list to a longer stack.
    fn move_to_longer(&self, class: SizeClass, capacity: usize) -> bool {
        let (list, used) = (self.of(class), self.used.get() as usize);
        let Some(region) = self.region.get() else {
            return false;
        };
        let room = match self.buffers() {
            Buffers::With => bounds(class).2,
            Buffers::Without => 0,
        };
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
            // Without a buffer, `put` is the bottom, and `set_bound` comes next.
            list.put.set(match room {
                0 => bottom,
                _ => start.add(buffer.len()).sub(1),
            });
            list.limit.set(bottom.sub(1));
        }
        self.used.set(end as u32);
        list.buffer.set(room as u8);
        list.capacity.set(capacity as u8);
        true
    }

    /// Makes the list short, if it holds no block: a stack no longer than a buffer.
    pub fn shorten(&self, class: SizeClass) {
        if self.is_empty(class) {
            let (list, (_, _, short)) = (self.of(class), bounds(class));
            list.set_bound(list.bound().min(short));
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
        unsafe { core::slice::from_raw_parts_mut(list.bottom().add(1), n) }
    }

    /// Notes that the first `n` of [`Self::places`] are filled.
    ///
    /// # Safety
    /// They hold free blocks of `class`.
    pub unsafe fn fill(&self, class: SizeClass, n: usize) {
        if n > 0 {
            let list = self.of(class);
            // SAFETY: within the stack.
            list.take.set(unsafe { list.bottom().add(n) });
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
        let bottom = list.bottom();
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
