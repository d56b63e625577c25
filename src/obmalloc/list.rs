//! One list of a thread: a stack of addresses, with a buffer before it or not. What it is for, and its invariants, says
//! `thread_lists.rs`.

use super::block::Block;
use core::cell::Cell;

/// What stands between a stack and the calls that would use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buffers {
    /// Nothing: frees go on top of the stack.
    Without,
    /// A buffer in front of each stack, which frees go into.
    With,
    /// Nothing for frees, but allocs are shown lists without blocks: each takes the slow path, and is counted there.
    Hidden,
}

impl Buffers {
    /// Where in a [`List`] the pointer is that a free moves, in bytes.
    pub(super) const fn end(self) -> usize {
        match self {
            Self::Without | Self::Hidden => core::mem::offset_of!(List, take),
            Self::With => core::mem::offset_of!(List, put),
        }
    }
}

/// What its thread's calls did with a list last, since somebody asked whether it rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worked {
    /// Nothing.
    Not,
    /// It was filled from the heap.
    Refilled,
    /// It had no room for a block that was freed, while it might grow.
    Flushed,
    /// As `Flushed`, and what it held was another heap's.
    SentAway,
}

/// A place for one block's address in a stack.
pub type Entry = Option<Block>;

/// The address in a place; 0 where there is none.
#[inline(always)]
pub(super) fn addr_of(entry: &Entry) -> usize {
    entry.map_or(0, Block::addr)
}

/// The bottom of a stack that is not there.
pub(super) const BOTTOM: *mut Entry = core::ptr::from_ref(&None).cast_mut();

/// Free blocks of one class: what alloc and free touch.
#[repr(C, align(32))]
pub struct List {
    pub(super) take: Cell<*mut Entry>,
    pub(super) put: Cell<*mut Entry>,
    pub(super) limit: Cell<*mut Entry>,
    /// Blocks the stack has room for, and how many of them it may hold now.
    pub(super) capacity: Cell<u16>,
    pub(super) bound: Cell<u16>,
    /// Blocks the buffer has room for.
    pub(super) buffer: Cell<u8>,
    pub(super) worked: Cell<Worked>,
    /// See `parking.rs`.
    pub(super) parked: Cell<u16>,
}

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
        worked: Cell::new(Worked::Not),
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
        if self.has_buffer() {
            self.room_at(&self.put)
        } else {
            self.room_at(&self.take)
        }
    }

    #[inline(always)]
    pub(super) fn room_at(&self, end: &Cell<*mut Entry>) -> Option<Room> {
        let below = end.get();
        (below != self.limit.get()).then_some(Room { end, below })
    }

    /// Whether there is room, perhaps after moving the buffer.
    pub fn makes_room(&self) -> bool {
        self.room().is_some() || self.settle(1)
    }

    pub(super) fn has_buffer(&self) -> bool {
        self.buffer.get() > 0
    }

    /// The null entry below the stack.
    #[inline(always)]
    pub(super) fn bottom(&self) -> *mut Entry {
        if self.has_buffer() {
            // SAFETY: behind the buffer's last place (I2).
            unsafe { self.limit.get().add(1) }
        } else {
            self.put.get()
        }
    }

    pub(super) fn set_bound(&self, bound: usize) {
        debug_assert!(bound <= usize::from(self.capacity.get()));
        self.bound.set(bound as u16);
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

    /// Notes what was done with it.
    pub fn note(&self, now: Worked) {
        self.worked.set(now);
    }

    /// Whether it was neither refilled nor flushed since this was last asked.
    pub fn rests(&self) -> bool {
        self.worked.replace(Worked::Not) == Worked::Not
    }

    /// Blocks its stack may hold now.
    #[inline(always)]
    pub fn bound(&self) -> usize {
        usize::from(self.bound.get())
    }

    /// The blocks on the stack and those in the buffer, oldest first.
    #[inline(always)]
    pub(super) fn parts(&self) -> (&[Entry], &[Entry]) {
        if self.capacity.get() == 0 {
            return (&[], &[]);
        }
        let (bottom, buffer) = (self.bottom(), usize::from(self.buffer.get()));
        // SAFETY: above the bottom up to the top, and in the buffer below `put`, there are blocks (I1).
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

    /// The `n` oldest blocks on the stack, or all if there are fewer: in what order is nobody else's matter.
    #[allow(
        clippy::mut_from_ref,
        reason = "entries of one thread, which looks at them by one call at a time"
    )]
    pub fn older(&self, n: usize) -> &mut [Entry] {
        let (stack, _) = self.parts();
        let n = n.min(stack.len());
        if n == 0 {
            return &mut [];
        }
        // SAFETY: above the bottom, and of the stack; nobody else reaches it (`thread_lists.rs`, I5).
        unsafe { core::slice::from_raw_parts_mut(self.bottom().add(1), n) }
    }

    /// Takes the `n` oldest blocks off the stack, which are [`Self::older`].
    pub fn drop_older(&self, n: usize) {
        let (stack, _) = self.parts();
        let n = n.min(stack.len());
        if n == 0 {
            return;
        }
        let bottom = self.bottom();
        // SAFETY: all within the stack.
        unsafe {
            bottom.add(1).copy_from(bottom.add(1 + n), stack.len() - n);
            self.take.set(self.take.get().sub(n));
        }
    }

    /// Moves the buffer on top of the stack, if it holds at least `least` blocks, or one, and there is room for
    /// them. True when it did.
    #[inline(always)]
    pub fn settle(&self, least: usize) -> bool {
        if !self.has_buffer() {
            return false;
        }
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

#[path = "parking.rs"]
mod parking;
