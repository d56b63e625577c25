//! A thread's short lists of free blocks, one per class: what makes alloc and free a few instructions.
//!
//! A list is two stacks of addresses. Blocks are taken from one and put on the other:
//!
//! ```text
//! lists[0]          no blocks and no room, always: the list of blocks that are not ours
//! lists[class + 1]  | 0 | b | b | b |                  take: the entry an alloc gets; 0 at the bottom
//!                             take^
//!                   | 0 | b | b |   |   | … |          put: where a free writes; `limit`: no room
//!                            put^      ^limit
//! ```
//!
//! Two stacks, because an alloc that follows a free would otherwise wait for the free's stores to come
//! back from the store buffer, and the next free for the alloc's: a pair costs 2.1 ns, against 3.6 with one
//! list of linked blocks and 3.9 with one stack (measured in one run). Addresses instead of links, because
//! an alloc then waits for no block's memory, a free touches none, a block that was never used stays
//! untouched until its user writes to it, and a flush knows what it will look at next.
//!
//! | what is empty or full | what happens |
//! |---|---|
//! | nothing to take, half or more on the other stack | the stacks change roles |
//! | nothing to take, less than that | refill: half a stack from the heap |
//! | no room, nothing to take | the stacks change roles |
//! | no room, something to take | flush: what was to be taken, the older blocks, goes home; then the same |
//!
//! So at least half a stack of allocs or frees lies between two calls of the heap, whatever the order.
//!
//! Invariants:
//! * I1 `take` names the null entry at the bottom of its stack or a block above it; all entries between
//!   the bottom and `take`, and between the bottom and `put`, are free blocks of the class.
//! * I2 `put <= limit`, and `limit` is `bound` entries above the first one of its stack.
//! * I3 `bound * block bytes <= MAX_BYTES`, or `bound` is 1; so a list holds at most `2 * bound` blocks.
//! * I4 a thread without lists has empty ones with no room: "uninitialised" takes the branch that
//!   "exhausted" takes anyway.
//! * I5 only the owning thread touches its lists.
//!
//! Bounds start short and double with use: a thread that allocates a few blocks holds a few blocks. The
//! stacks lie in a region of the thread, each pair above the last; a pair that became too short is left.

use super::address_map::{Label, label_of};
use super::block::Block;
use super::size_class::SizeClass;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use static_assertions::const_assert;

/// Most bytes of blocks one stack may hold.
const MAX_BYTES: usize = 32 * 1024;
/// Most blocks one stack may hold.
const MAX_BLOCKS: usize = 255;
/// Bytes a new stack may hold, and blocks.
const FIRST_BYTES: usize = 4 * 1024;
const FIRST_BLOCKS: usize = 64;
/// Blocks a stack may hold after most of what a heap had out came back.
const SHORTEST: usize = 8;

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
    /// Entries between the region's start and the pair of stacks, blocks each stack has room for, and
    /// how many of them may be used now.
    home: Cell<u32>,
    capacity: Cell<u8>,
    bound: Cell<u8>,
    /// Whether it was refilled or flushed lately.
    worked: Cell<bool>,
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
        home: Cell::new(0),
        capacity: Cell::new(0),
        bound: Cell::new(0),
        worked: Cell::new(false),
    };

    /// Takes the block on top of the stack to take from.
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

    /// Whether there is no block on the stack to take from.
    pub fn nothing_to_take(&self) -> bool {
        // SAFETY: as in `pop`.
        unsafe { *self.take.get() }.is_none()
    }

    /// Whether it was neither refilled nor flushed since this was last asked.
    pub fn rests(&self) -> bool {
        !self.worked.replace(false)
    }

    /// Blocks each of its stacks may hold now.
    #[inline(always)]
    pub fn bound(&self) -> usize {
        usize::from(self.bound.get())
    }

    /// Number of blocks on the stack to put on.
    #[inline(always)]
    fn n_put(&self) -> usize {
        // Addresses, because a list without stacks has none to subtract. I2.
        let room = (self.limit.get().addr() - self.put.get().addr()) / size_of::<Entry>();
        self.bound() - room
    }

    /// Lets the stacks change roles, if there is nothing to take and one block at least, or `least`, on the
    /// other. True when they did.
    #[inline(always)]
    pub fn turn(&self, least: usize) -> bool {
        let turns = self.nothing_to_take() && self.n_put() >= least.max(1);
        if turns {
            self.exchange();
        }
        turns
    }

    /// Lets the stacks change roles. There is nothing to take, and the list has stacks.
    #[inline(always)]
    fn exchange(&self) {
        let (bottom, put) = (self.take.get(), self.put.get());
        // SAFETY: the entry below `put` is a block or its stack's bottom; `take` names the bottom of the
        // other stack (I1), which has room for `bound` blocks above it.
        unsafe {
            self.take.set(put.sub(1));
            self.put.set(bottom.add(1));
            self.limit.set(bottom.add(1 + self.bound()));
        }
    }
}

/// Blocks a stack of `class` may hold at most, and at first.
const fn bounds(class: SizeClass) -> (usize, usize) {
    let bytes = class.block_bytes();
    let most = clamp(MAX_BYTES / bytes, MAX_BLOCKS);
    (most, clamp(FIRST_BYTES / bytes, FIRST_BLOCKS))
}

const fn clamp(n: usize, most: usize) -> usize {
    match n {
        0 => 1,
        n if n > most => most,
        n => n,
    }
}

/// Entries of a pair of stacks for `capacity` blocks each: a bottom and the blocks, twice.
const fn pair_entries(capacity: usize) -> usize {
    2 * (capacity + 1)
}

/// Entries of a region: room for every pair that any list may ever have.
pub const REGION_ENTRIES: usize = {
    let (mut sum, mut index) = (0, 0);
    while index < SizeClass::COUNT {
        let (most, mut bound) = bounds(SizeClass::new(index));
        loop {
            sum += pair_entries(bound);
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
    /// Entries of the region that are part of some pair.
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
            list.capacity.set(0);
            list.bound.set(0);
        }
        self.region.take()
    }

    /// The bottoms of the stack to take from and of the stack to put on.
    fn bottoms(&self, list: &List) -> Option<(*mut Entry, *mut Entry)> {
        let capacity = usize::from(list.capacity.get());
        if capacity == 0 {
            return None;
        }
        let region = self.region.get()?.as_ptr();
        // SAFETY: the pair lies in the region.
        let (first, second) = unsafe {
            let first = region.add(list.home.get() as usize);
            (first, first.add(capacity + 1))
        };
        // A stack's `put` is above its own bottom, and at most at the next one.
        Some(if list.put.get() > second {
            (first, second)
        } else {
            (second, first)
        })
    }

    /// The blocks of a class: those to be taken and those put back, oldest first.
    fn stacks(&self, class: SizeClass) -> (&[Entry], &[Entry]) {
        let list = self.of(class);
        let Some((take, put)) = self.bottoms(list) else {
            return (&[], &[]);
        };
        // SAFETY: from the bottom up to `take`, and below `put`, there are blocks (I1).
        unsafe {
            let n_take = list.take.get().offset_from_unsigned(take);
            (
                core::slice::from_raw_parts(take.add(1), n_take),
                core::slice::from_raw_parts(put.add(1), list.n_put()),
            )
        }
    }

    /// Number of blocks of a class.
    pub fn len(&self, class: SizeClass) -> usize {
        let (take, put) = self.stacks(class);
        take.len() + put.len()
    }

    /// Whether there is no block of a class.
    pub fn is_empty(&self, class: SizeClass) -> bool {
        self.len(class) == 0
    }

    /// Lets the list grow: its bound doubles, within the limits for `class`. False when it cannot.
    pub fn lengthen(&self, class: SizeClass) -> bool {
        let list = self.of(class);
        list.worked.set(true);
        let (most, first) = bounds(class);
        let bound = clamp((2 * list.bound()).max(first), most);
        if bound == list.bound() {
            return false;
        }
        if bound <= usize::from(list.capacity.get()) {
            list.bound.set(bound as u8);
            if let Some((_, put)) = self.bottoms(list) {
                // SAFETY: within the stack.
                list.limit.set(unsafe { put.add(1 + bound) });
            }
            return true;
        }
        self.move_to_longer(class, bound)
    }

    /// Moves the blocks of a list to a longer pair of stacks.
    fn move_to_longer(&self, class: SizeClass, bound: usize) -> bool {
        let (list, used) = (self.of(class), self.used.get() as usize);
        let Some(region) = self.region.get() else {
            return false;
        };
        debug_assert!(used + pair_entries(bound) <= REGION_ENTRIES);
        let (old_take, old_put) = self.stacks(class);
        // SAFETY: the region has room for every pair a list may have, and this one is new; both stacks
        // hold what the shorter ones held.
        unsafe {
            let take = region.add(used).as_ptr();
            let put = take.add(bound + 1);
            take.write(None);
            put.write(None);
            take.add(1)
                .copy_from_nonoverlapping(old_take.as_ptr(), old_take.len());
            put.add(1)
                .copy_from_nonoverlapping(old_put.as_ptr(), old_put.len());
            list.take.set(take.add(old_take.len()));
            list.put.set(put.add(1 + old_put.len()));
            list.limit.set(put.add(1 + bound));
        }
        list.home.set(used as u32);
        self.used.set((used + pair_entries(bound)) as u32);
        list.capacity.set(bound as u8);
        list.bound.set(bound as u8);
        true
    }

    /// Makes the list as short as can be, if it holds no block.
    pub fn shorten(&self, class: SizeClass) {
        let (list, (_, first)) = (self.of(class), bounds(class));
        let least = first.min(SHORTEST);
        if list.bound() <= least || !self.is_empty(class) {
            return;
        }
        list.bound.set(least as u8);
        list.exchange();
    }

    /// Room for `n` blocks on the stack to take from, which is empty; `n` is at most the bound. The last
    /// place is the one that is taken from first. Empty if there is no such room.
    #[allow(
        clippy::mut_from_ref,
        reason = "free entries that nobody else reaches (I5)"
    )]
    pub fn places(&self, class: SizeClass, n: usize) -> &mut [Entry] {
        let list = self.of(class);
        debug_assert!(n <= list.bound() && self.stacks(class).0.is_empty());
        match self.bottoms(list) {
            // SAFETY: above the bottom, within the stack, and above `take`.
            Some((take, _)) => unsafe { core::slice::from_raw_parts_mut(take.add(1), n) },
            None => &mut [],
        }
    }

    /// Notes that the first `n` of [`Self::places`] are filled.
    ///
    /// # Safety
    /// They hold free blocks of `class`.
    pub unsafe fn fill(&self, class: SizeClass, n: usize) {
        let list = self.of(class);
        if let Some((take, _)) = self.bottoms(list) {
            // SAFETY: within the stack.
            list.take.set(unsafe { take.add(n) });
        }
    }

    /// Takes out the blocks that were to be taken, all of them. They stay readable until the next block is
    /// put into the list.
    pub fn take_older(&self, class: SizeClass) -> &[Entry] {
        let list = self.of(class);
        list.worked.set(true);
        let (blocks, _) = self.stacks(class);
        if let Some((take, _)) = self.bottoms(list) {
            list.take.set(take);
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(k: usize) -> Block {
        let p = core::ptr::without_provenance_mut(16 * k);
        // SAFETY: never used as memory here.
        unsafe { Block::new(NonNull::new(p).unwrap()) }
    }

    /// Every operation against two plain vectors.
    #[test]
    fn two_stacks_behave_as_two_vectors() {
        let mut region = vec![None; REGION_ENTRIES];
        let lists = ThreadLists::EMPTY;
        // SAFETY: the region outlives the lists.
        unsafe { lists.attach(NonNull::new(region.as_mut_ptr()).unwrap()) };
        let class = SizeClass::small(48);
        let (mut take, mut put) = (Vec::new(), Vec::new());
        let (mut seed, mut next) = (7u64, 1);
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let list = lists.of(class);
            match seed >> 60 {
                0..5 => assert_eq!(list.pop(), take.pop()),
                5..11 => {
                    let has_room = put.len() < list.bound();
                    assert_eq!(list.has_room(), has_room);
                    next += 1;
                    // SAFETY: a block of no memory, not touched by a list.
                    assert_eq!(unsafe { list.push(block(next)) }, has_room);
                    if has_room {
                        put.push(block(next));
                    }
                }
                11 => {
                    let least = list.bound() / 2;
                    let turns = take.is_empty() && !put.is_empty() && put.len() >= least;
                    assert_eq!(list.turn(least), turns);
                    if turns {
                        core::mem::swap(&mut take, &mut put);
                    }
                }
                12 => {
                    lists.lengthen(class);
                }
                13 if take.is_empty() => {
                    let n = list.bound() / 2;
                    for place in lists.places(class, n) {
                        next += 1;
                        *place = Some(block(next));
                        take.push(block(next));
                    }
                    // SAFETY: as above.
                    unsafe { lists.fill(class, take.len()) };
                }
                14 => {
                    let out: Vec<_> = lists.take_older(class).iter().flatten().copied().collect();
                    assert!(out == take);
                    take.clear();
                }
                _ => lists.shorten(class),
            }
            assert_eq!(lists.len(class), take.len() + put.len());
        }
        assert!(lists.of(class).bound() > 64 && next > 10_000);
    }

    #[test]
    fn no_list_outgrows_the_region() {
        let mut region = vec![None; REGION_ENTRIES];
        let lists = ThreadLists::EMPTY;
        // SAFETY: the region outlives the lists.
        unsafe { lists.attach(NonNull::new(region.as_mut_ptr()).unwrap()) };
        for class in SizeClass::all() {
            while lists.lengthen(class) {}
            let most = MAX_BYTES / class.block_bytes();
            assert_eq!(lists.of(class).bound(), most.clamp(1, MAX_BLOCKS));
        }
        assert_eq!(lists.used.get() as usize, REGION_ENTRIES);
    }
}
