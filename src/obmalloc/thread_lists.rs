//! A thread's short lists of free blocks, one per class: what makes alloc and free a few instructions.
//!
//! A list is a stack of addresses: blocks are taken from its top and put there. Or, where somebody samples Rust's
//! calls, it has a buffer before it, which frees go into, and which is moved on top of the stack when it is full or
//! the stack is empty:
//!
//! ```text
//! lists[0]           no blocks and no room, always: the list of blocks that are not ours
//! lists[class + 1]   | b | b |   | … | 0 | b | b | b |   | … |
//!                          ^put  ^limit           ^take
//!                    buffer          ^ the stack's bottom: null
//! ```
//!
//! A buffer shows the sampler what was freed: only slow calls move it. For everybody else it is moved every sixteen
//! calls or so for nothing, and what was freed last, which is in the cache, is not what is taken next. Where C's calls
//! are sampled, the address map shows what was freed, and stacks are *hidden*: allocs look at lists without blocks, and only
//! slow calls at these. A thread's lists are of one kind ([`Buffers`]).
//!
//! An alloc that follows a free waits for the free's stores to come back from the store buffer, and the next
//! free for the alloc's. That takes 2.4 ns a pair if both name the stack's pointer by the same address, and 1.4
//! if the free finds it by an offset that it loads, as [`ThreadLists::room`] does (Zen 4; measured in one run with
//! the buffers, 1.75, and lists of linked blocks, 3.6). C's `free` loads the list's label anyway.
//!
//! | list | `put` | `limit` | a free goes to | no room when |
//! |---|---|---|---|---|
//! | with a buffer | the block put last | the buffer's last place, below the bottom | `put` + 1 | `put == limit` |
//! | without, hidden | the bottom | the stack's last place | `take` + 1 | `take == limit` |
//!
//! Addresses instead of links, because an alloc then waits for no block's memory, a free touches none, a
//! block that was never used stays untouched until its user writes to it, and a flush knows all of them.
//!
//! | what | then |
//! |---|---|
//! | nothing to take, half a buffer or more put | the buffer moves |
//! | nothing to take, less than that | refill: half a stack from the heap; then the same |
//! | no room in the buffer, but on the stack | the buffer moves |
//! | no room on either | flush: the older half of the stack goes home, or all if that was another heap's; then the same |
//!
//! So at least half a stack of allocs or frees lies between two calls of the heap, whatever the order.
//!
//! Invariants:
//! * I1 `take` names the null entry at the bottom of the stack or a block above it; all entries from there down to
//!   the bottom, and from the buffer's start up to `put`, are free blocks of the class.
//! * I2 what the table says; `put <= limit` with a buffer, `take <= limit` without.
//! * I3 the stack holds at most `bound` blocks; it has room for a full buffer.
//! * I4 a thread without lists has empty ones with no room: "uninitialised" takes the branch that
//!   "exhausted" takes anyway.
//! * I5 only the owning thread touches its lists.
//! * I6 `large` knows the bounds of the classes of large blocks.
//!
//! How long a list may get says `list_bounds.rs`; what the lists of large blocks may hold together, `large_lists.rs`. One
//! that gives what is another heap's is sent home whole, so half the length serves as well. Buffers and stacks lie in a
//! region of the thread, each above the last; one that became too short is left. The second and third stack of a class are
//! as long as its list may get, one way and by turns.

use super::address_map::{Label, class_of, label_of};
use super::block::Block;
use super::large_lists::{LargeLists, is_large};
use super::list::{BOTTOM, Buffers, Entry, List, Room, Worked};
pub use super::list_bounds::REGION_ENTRIES;
use super::list_bounds::{FIRST_ENTRY, bounds};
use super::size_class::{ALIGNMENT, SizeClass};
use crate::os;
use core::cell::Cell;
use core::ptr::NonNull;

/// Blocks that a list whose blocks are sent away as another heap's may hold at least: each flush takes that heap's lock.
const SENT_AWAY: usize = 8;

/// Where the list of a label lies among those of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ListPlace(
    /// Bytes from the first list; a label's.
    usize,
);

#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "what the C front reckons once and passes on")
)]
impl ListPlace {
    /// Of the list that is always empty and has no room.
    pub const NONE: Self = Self::of(0);

    /// Of a label.
    #[inline(always)]
    pub const fn of(label: Label) -> Self {
        Self(label as usize * size_of::<List>())
    }

    /// Its class, if it has one.
    #[inline(always)]
    pub fn class(self) -> Option<SizeClass> {
        class_of((self.0 / size_of::<List>()) as Label)
    }

    /// Bytes of each block in the list, if they are small ones.
    #[inline(always)]
    pub const fn small_bytes(self) -> usize {
        self.0 / size_of::<List>() * ALIGNMENT
    }
}

/// All lists of one thread.
#[repr(C)]
pub struct ThreadLists {
    lists: [List; SizeClass::COUNT + 1],
    region: Cell<Option<NonNull<Entry>>>,
    /// Entries of the region that are part of some list.
    used: Cell<u32>,
    /// See I6.
    large: LargeLists,
    /// [`Buffers::end`], where `room` looks for it.
    end: Cell<usize>,
    buffers: Cell<Buffers>,
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
        large: LargeLists::NONE,
        end: Cell::new(Buffers::Without.end()),
        buffers: Cell::new(Buffers::Without),
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
        self.end.set(buffers.end());
        self.buffers.set(buffers);
    }

    /// Room for a block in the list at a label, as [`List::room`], without a branch.
    #[inline(always)]
    pub fn room(&self, label: Label) -> Option<Room> {
        let list = self.at(label);
        // SAFETY: the offset of such a field.
        let end = unsafe {
            &*core::ptr::from_ref(list)
                .byte_add(self.end.get())
                .cast::<Cell<*mut Entry>>()
        };
        list.room_at(end)
    }

    /// As [`List::pop`] of the list at a place, which C's `malloc` reckons.
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a call of the C front")
    )]
    #[inline(always)]
    pub fn pop(&self, place: ListPlace) -> Option<Block> {
        let top = self.at_place(place).take.get();
        // SAFETY: an entry of a stack, or the null one at its bottom (I1).
        let block = unsafe { *top }?;
        // SAFETY: not the bottom, since it was not null.
        unsafe { self.move_top(place, -1) };
        Some(block)
    }

    /// As [`Self::push`] for lists without buffers, of the block that `make` gives when there is room. False if there is
    /// none, or no block.
    ///
    /// # Safety
    /// As [`Self::push`].
    #[cfg_attr(
        not(feature = "preload"),
        allow(dead_code, reason = "a call of the C front")
    )]
    #[inline(always)]
    pub unsafe fn push_made(&self, place: ListPlace, make: impl FnOnce() -> Option<Block>) -> bool {
        let list = self.at_place(place);
        let below = list.take.get();
        if below == list.limit.get() {
            return false;
        }
        let Some(block) = make() else { return false };
        // SAFETY: below the limit (I2), and so at most the limit when one further; free by the caller's word.
        unsafe {
            below.add(1).write(Some(block));
            self.move_top(place, 1);
        }
        true
    }

    #[inline(always)]
    fn at_place(&self, place: ListPlace) -> &List {
        // SAFETY: that of a label.
        unsafe { &*self.lists.as_ptr().byte_add(place.0) }
    }

    /// Moves the top of a stack. Where the compiler knows that it was read before, it keeps its address and what it was in
    /// registers, two instructions more than to add to it where it lies.
    ///
    /// # Safety
    /// The top stays between the bottom and the limit.
    #[inline(always)]
    unsafe fn move_top(&self, place: ListPlace, by: isize) {
        let take = &self.at_place(ListPlace(os::forget_origin(place.0))).take;
        // SAFETY: the caller's.
        take.set(unsafe { take.get().offset(by) });
    }

    /// Adds a block to the list at a label; false when there is no room.
    ///
    /// # Safety
    /// The block is free and of the label's class.
    #[inline(always)]
    pub unsafe fn push(&self, label: Label, block: Block) -> bool {
        let Some(room) = self.room(label) else {
            return false;
        };
        // SAFETY: free by the caller's word; nothing lies between.
        unsafe { room.fill(block) };
        true
    }

    /// Their kind.
    #[inline(always)]
    pub fn buffers(&self) -> Buffers {
        self.buffers.get()
    }

    /// Takes the region away; every call takes the slow path from now on. No list holds a block.
    pub fn detach(&self) -> Option<NonNull<Entry>> {
        debug_assert!(SizeClass::all().all(|class| self.is_empty(class)));
        self.forget()
    }

    /// As [`Self::detach`], and the blocks that the lists hold are lost.
    pub fn forget(&self) -> Option<NonNull<Entry>> {
        for class in SizeClass::all() {
            let list = self.of(class);
            list.take.set(BOTTOM);
            list.put.set(BOTTOM);
            list.limit.set(BOTTOM);
            list.buffer.set(0);
            list.capacity.set(0);
            list.bound.set(0);
        }
        self.large.forget();
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

    /// Lets the list grow that is about to be refilled or flushed: its bound doubles, within the limits for `class`.
    /// False when it cannot.
    #[inline]
    pub fn lengthen(&self, class: SizeClass, now: Worked) -> bool {
        let list = self.of(class);
        let [first, one_way, most] = bounds(class).stacks.map(usize::from);
        let may_hold = match (list.worked.replace(now), now) {
            (Worked::Flushed, Worked::Refilled) => most,
            (Worked::SentAway, _) => (2 * first).max(SENT_AWAY).min(one_way),
            _ => one_way,
        };
        let bound = (2 * list.bound()).max(first).min(may_hold);
        bound > list.bound() && self.grow(class, bound)
    }

    /// Lets a list hold more blocks than it may now.
    #[cold]
    fn grow(&self, class: SizeClass, bound: usize) -> bool {
        if bound > usize::from(self.of(class).capacity.get()) {
            let stacks = bounds(class).stacks.map(usize::from);
            let longer = stacks.into_iter().find(|n| *n >= bound);
            if !self.move_to_longer(class, longer.unwrap_or(bound)) {
                return false;
            }
        }
        self.set_bound(class, bound);
        true
    }

    fn set_bound(&self, class: SizeClass, bound: usize) {
        let list = self.of(class);
        if is_large(class) {
            self.large.rebound(class, list.bound(), bound);
        }
        list.set_bound(bound);
    }

    /// Those of large blocks.
    pub fn large(&self) -> &LargeLists {
        &self.large
    }

    /// Leaves a list that holds no block no room on its stack, if it has no buffer, and else no more than for that.
    pub fn close(&self, class: SizeClass) {
        match self.buffers() {
            Buffers::With => self.shorten_to(class, bounds(class).buffer.into()),
            Buffers::Without | Buffers::Hidden => self.shorten_to(class, 0),
        }
    }

    /// Moves the blocks of a list to a longer stack.
    fn move_to_longer(&self, class: SizeClass, capacity: usize) -> bool {
        let (list, used) = (self.of(class), self.used.get() as usize);
        let Some(region) = self.region.get() else {
            return false;
        };
        let room = match self.buffers() {
            Buffers::With => usize::from(bounds(class).buffer),
            Buffers::Without | Buffers::Hidden => 0,
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
            let top = bottom.add(stack.len());
            // Without a buffer, `set_bound` comes next.
            list.take.set(top);
            list.put.set(match room {
                0 => bottom,
                _ => start.add(buffer.len()).sub(1),
            });
            list.limit.set(bottom.sub(1));
        }
        self.used.set(end as u32);
        list.buffer.set(room as u8);
        list.capacity.set(capacity as u16);
        true
    }

    /// Makes the list short, if it holds no block: of `most_bytes` or one block; as it was at first, if that is not said.
    pub fn shorten(&self, class: SizeClass, most_bytes: Option<usize>) {
        let bounds = bounds(class);
        let most = match most_bytes {
            Some(bytes) => bytes / class.block_bytes(),
            None => bounds.stacks[0].into(),
        };
        let least = match self.buffers() {
            Buffers::With => bounds.buffer,
            Buffers::Without | Buffers::Hidden => 1,
        };
        self.shorten_to(class, most.max(least.into()));
    }

    fn shorten_to(&self, class: SizeClass, most: usize) {
        if self.is_empty(class) {
            self.set_bound(class, self.of(class).bound().min(most));
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
        // SAFETY: above the bottom, within the stack, and above its top.
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
}

#[cfg(test)]
#[path = "thread_lists_tests.rs"]
mod tests;
