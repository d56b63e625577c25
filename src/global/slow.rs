//! What the fast paths leave: an empty list, a full one, a block that is not for lists.
//!
//! The entries are `extern "C"`, which cannot unwind: callers need no landing pads and call them in tail
//! position.
//!
//! Nothing here is called with a lock held, and nothing here holds one while it calls back.

use super::misuse::{foreign, misuse, owner_around};
use super::thread::{self, Caller, Thread};
use super::tide::{self, Level};
use super::watch::{self, RUST};
use super::{HUGE, MAP, SharedHeap, behind, guard, huge, large, nothing, purge, reported, sample};
use crate::obmalloc::address_map::{Owner, class_of, label_of};
use crate::obmalloc::block::Block;
use crate::obmalloc::heap::{Freed, not_a_block};
use crate::obmalloc::list::Worked;
use crate::obmalloc::size_class::{ALIGNMENT, SizeClass};
use crate::obmalloc::thread_lists::ThreadLists;
use crate::os;
use core::ptr::{NonNull, null_mut};

/// Slow calls between two looks at the lists that lie idle.
const SWEEP_TICKS: u32 = 64;
/// Blocks below this size are cleared rather than asked for zeroed: clearing costs less than the lock.
pub(super) const ZERO_FROM_HEAP: usize = 4096;

/// A small block for Rust when there is none to take. Null when memory is out.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn alloc(size: usize) -> *mut u8 {
    if watch::is_on_for_rust() {
        return watch::alloc(size, ALIGNMENT, false, RUST);
    }
    alloc_listed(SizeClass::small(size))
}

/// A block of `class` when there is none to take. Null when memory is out.
#[cold]
#[inline(never)]
pub(super) extern "C" fn alloc_listed(class: SizeClass) -> *mut u8 {
    let list = thread::lists().of(class);
    if list.nothing_to_take() && list.settle(list.half_buffer()) {
        return start_of(list.pop());
    }
    alloc_from_heap(class)
}

fn start_of(block: Option<Block>) -> *mut u8 {
    block.map_or(null_mut(), |block| block.start().as_ptr())
}

#[cold]
#[inline(never)]
pub(crate) fn alloc_from_heap(class: SizeClass) -> *mut u8 {
    os::keep_errno(|| match thread::caller() {
        None => null_mut(),
        Some(Caller::Late(heap)) => start_of(reported::one(heap, class).map(|(block, _)| block)),
        Some(Caller::Live(thread, heap)) => {
            behind::open_after_watch(thread, heap);
            let lists = thread.active();
            thread.countdown.pass_unsampled(&thread.lists);
            // A call back, while the thread started, may have refilled it.
            if let Some(block) = lists.of(class).pop() {
                return start_of(Some(block));
            }
            thread.tide.turns();
            let block = refill(lists, heap, class);
            purge::poll_filling();
            sweep(thread, heap);
            start_of(block)
        }
    })
}

/// Fills half a stack, as many frees as allocs may follow without another call of the heap, and takes a block of it. What
/// was freed last comes on top. A list without room is left out.
fn refill(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) -> Option<Block> {
    large::lengthen(lists, heap, class, Worked::Refilled);
    let list = lists.of(class);
    if list.bound() == 0 {
        return reported::one(heap, class).map(|(block, _)| block);
    }
    let n = reported::many(heap, lists, class, (list.bound() / 2).max(1));
    // SAFETY: just taken.
    unsafe { lists.fill(class, n) };
    list.settle(1);
    list.pop()
}

/// Frees a small block of Rust's whose list has no room.
///
/// # Safety
/// `p` is a live block that was allocated for `size` bytes, or corruption to be reported.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn free(p: NonNull<u8>, size: usize) {
    // SAFETY: passed on.
    unsafe {
        if watch::is_on() {
            return watch::free_rust(p, size, ALIGNMENT);
        }
        free_listed(p, SizeClass::small(size));
    }
}

/// Frees a block of `class` whose list has no room.
///
/// # Safety
/// `p` is a live block of `class`, or corruption to be reported.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn free_listed(p: NonNull<u8>, class: SizeClass) {
    let list = thread::lists().of(class);
    // SAFETY: the caller gives the block up.
    unsafe {
        let block = Block::new(p);
        if !(list.makes_room() && list.push(block)) {
            free_to_heap(block, class);
        }
    }
}

/// # Safety
/// As [`free_listed`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn free_to_heap(block: Block, class: SizeClass) {
    os::keep_errno(|| {
        match thread::caller() {
            // Without a heap there are no blocks: not ours.
            None => foreign(block.start()),
            Some(Caller::Late(heap)) => {
                // SAFETY: verified by the heap.
                let _ = unsafe { heap.free_one(class, block) };
            }
            // The lists stay closed (`behind.rs`, I2).
            // SAFETY: the caller gives the block up; verified by the heap.
            Some(_) if watch::is_guarded() => unsafe { give(block.start(), Some(class)) },
            Some(Caller::Live(thread, heap)) => {
                behind::open_after_watch(thread, heap);
                let lists = thread.active();
                let list = lists.of(class);
                let level = thread.tide.level();
                if level == Level::Flood || (level == Level::Ebb && list.bound() == 0) {
                    large::lengthen(lists, heap, class, Worked::Flushed);
                }
                // Room there is in a new list, or when the longer stack takes the buffer.
                if level != Level::Low && list.bound() > 0 && !list.makes_room() {
                    let freed = make_room(lists, heap, class);
                    purge::poll(tide::ebb(thread, heap, freed));
                }
                // SAFETY: free and of this class; verified by the heap.
                unsafe {
                    // At low water, which it may have become just now, no list has room. Neighbours of another heap's
                    // block may be in use there: not what this thread should get next.
                    if list.bound() == 0
                        || heap.is_from_elsewhere(&MAP, block, class)
                        || !list.push(block)
                    {
                        let freed = heap.free_one(class, block);
                        lists.large().note_live(freed.live_bytes);
                        purge::poll(tide::ebb(thread, heap, freed));
                    }
                }
                sweep(thread, heap);
            }
        }
    });
}

/// Sends the older half of a stack home, and all of it if that is not room enough for the buffer, or nothing of that half
/// was this heap's: others' blocks are not what this thread should get next.
fn make_room(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) -> Freed {
    let half = lists.of(class).bound().div_ceil(2);
    let freed = flush_older(lists, heap, class, half);
    if freed.n_own == 0 {
        lists.of(class).note(Worked::SentAway);
    } else if lists.of(class).makes_room() {
        return freed;
    }
    let freed = flush_older(lists, heap, class, usize::MAX);
    lists.of(class).settle(1);
    freed
}

/// Sends the `n` oldest blocks home.
fn flush_older(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass, n: usize) -> Freed {
    let list = lists.of(class);
    // SAFETY: blocks from a list are free; they are verified on the way.
    let freed = unsafe { heap.free_many(class, list.older(n)) };
    lists.large().note_live(freed.live_bytes);
    list.drop_older(n);
    freed
}

/// Sends home all blocks of a class.
pub(super) fn flush(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) {
    let list = lists.of(class);
    watch::before_flush(list, class);
    while !list.nothing_to_take() || list.settle(1) {
        flush_older(lists, heap, class, usize::MAX);
    }
}

/// Sends home what a thread holds.
pub(super) fn flush_all(thread: &Thread, heap: &SharedHeap) {
    for class in SizeClass::all() {
        flush(thread.active(), heap, class);
    }
}

/// Now and then, empties a list that nobody refilled or flushed since the last time round.
fn sweep(thread: &Thread, heap: &SharedHeap) {
    let tick = thread.ticks.get().wrapping_add(1);
    thread.ticks.set(tick);
    if !tick.is_multiple_of(SWEEP_TICKS) {
        return;
    }
    let class = SizeClass::new((tick / SWEEP_TICKS) as usize % SizeClass::COUNT);
    if thread.active().of(class).rests() {
        flush(thread.active(), heap, class);
    }
}

/// A block of at least `size` bytes at a multiple of `align`, by any tier. Null when memory is out.
#[inline(never)]
pub(crate) extern "C" fn alloc_general(size: usize, align: usize) -> *mut u8 {
    match SizeClass::aligned(size, align) {
        Some(class) => match thread::lists().of(class).pop() {
            Some(block) => block.start().as_ptr(),
            None if watch::is_on_for_rust() => alloc_watched(size, align),
            None => alloc_listed(class),
        },
        None if watch::is_on_for_rust() => alloc_watched(size, align),
        None => huge::alloc(size, align, false).map_or(null_mut(), |(p, _)| p.as_ptr()),
    }
}

/// Of two arguments only and never inlined, so that who calls it last needs no frame for it.
#[cold]
#[inline(never)]
extern "C" fn alloc_watched(size: usize, align: usize) -> *mut u8 {
    watch::alloc(size, align, false, RUST)
}

/// As [`alloc_general`], and zero. Memory known to be zero is not cleared again.
#[inline(never)]
pub(crate) extern "C" fn alloc_zeroed(size: usize, align: usize) -> *mut u8 {
    // Clearing a block that was used a moment ago costs less than the page faults of a fresh one.
    let Some(block) =
        SizeClass::aligned(size, align).and_then(|class| thread::lists().of(class).pop())
    else {
        return alloc_zeroed_unlisted(size, align);
    };
    let p = block.start().as_ptr();
    // SAFETY: a block of at least `size` bytes, just handed out.
    unsafe { p.write_bytes(0, size) };
    p
}

/// As [`alloc_zeroed`], where there is none to take.
#[inline(never)]
pub(crate) extern "C" fn alloc_zeroed_unlisted(size: usize, align: usize) -> *mut u8 {
    if watch::is_on_for_rust() {
        return watch::alloc(size, align, true, RUST);
    }
    let (p, zeroed) = match SizeClass::aligned(size, align) {
        Some(class) if class.block_bytes() < ZERO_FROM_HEAP => (alloc_listed(class), false),
        _ => take(size, align).map_or((null_mut(), true), |(p, zeroed)| (p.as_ptr(), zeroed)),
    };
    // SAFETY: a block of at least `size` bytes, just handed out.
    unsafe {
        if let Some(start) = NonNull::new(p).filter(|_| !zeroed)
            && !os::keep_errno(|| HUGE.clear(start, size))
        {
            p.write_bytes(0, size);
        }
    }
    p
}

/// A block past the lists, for a caller who wants zeros or does not mind. True with it when it reads as zero.
pub(super) fn take(size: usize, align: usize) -> Option<(NonNull<u8>, bool)> {
    let Some(class) = SizeClass::aligned(size, align) else {
        return huge::alloc(size, align, true);
    };
    os::keep_errno(|| {
        let (block, zeroed) = reported::one(thread::caller()?.heap(), class)?;
        Some((block.start(), zeroed))
    })
}

/// Frees a block of `class`, or one without a class, past the lists.
///
/// # Safety
/// `p` is a live block of `class`, or corruption to be reported.
pub(super) unsafe fn give(p: NonNull<u8>, class: Option<SizeClass>) {
    // SAFETY: the caller gives the block up; verified by the heap.
    unsafe {
        let (Some(class), Some(caller)) = (class, thread::caller()) else {
            return free_unknown(p);
        };
        let block = Block::new(p);
        os::keep_errno(|| {
            let freed = caller.heap().free_one(class, block);
            purge::poll(freed.dirty_pools);
        });
    }
}

/// Frees a block that was allocated for `size` bytes at a multiple of `align`.
///
/// # Safety
/// `p` came from [`alloc_general`] with these numbers, or is corruption to be reported.
#[inline(never)]
pub(crate) unsafe extern "C" fn free_general(p: NonNull<u8>, size: usize, align: usize) {
    // SAFETY: the caller gives the block up; corruption is found when the list is flushed.
    unsafe {
        match SizeClass::aligned(size, align) {
            Some(class) if thread::lists().push(label_of(class), Block::new(p)) => {}
            _ if watch::is_on() => watch::free_rust(p, size, align),
            Some(class) => free_listed(p, class),
            None => free_unknown(p),
        }
    }
}

/// Frees what has no list: null's neighbours, huge blocks, foreign pointers, errors.
///
/// # Safety
/// If a live block of ours begins at `p`, it is not used any more.
#[cold]
#[inline(never)]
pub(crate) unsafe fn free_unknown(p: NonNull<u8>) {
    if nothing::free(p) || sample::free(p) {
        return;
    }
    os::keep_errno(|| {
        // SAFETY: passed on.
        if unsafe { huge::free(p) } {
            return;
        }
        let class = class_of(MAP.label(p.addr().get()));
        match (class, owner_around(p)) {
            // A block that has a list: its layout said that it was a huge one.
            (Some(_), _) => not_a_block(p),
            (None, Owner::Nobody) => foreign(p),
            (None, owner) => misuse(p, owner),
        }
    });
}

/// A block of no bytes; null when there is no place for one, or 16 bytes are wanted instead.
#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "Rust asks for none")
)]
pub(crate) fn alloc_nothing() -> *mut u8 {
    nothing::alloc().map_or(null_mut(), NonNull::as_ptr)
}

/// Bytes a block of ours holds; `None` for a pointer that is not one.
pub(crate) fn usable_unknown(p: NonNull<u8>) -> Option<usize> {
    if let Some(live) = nothing::is_live(p) {
        return live.then_some(0);
    }
    if let Some(bytes) = sample::usable_bytes(p) {
        return (bytes > 0).then_some(bytes);
    }
    if watch::is_on() && watch::is_guarded() {
        return guard::usable_bytes(p);
    }
    match class_of(MAP.label(p.addr().get())) {
        Some(class) => Some(class.block_bytes()),
        None => HUGE.usable_bytes(p),
    }
}

/// Whether the address lies outside all our memory.
#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "a question of C's realloc")
)]
pub(crate) fn is_foreign(p: NonNull<u8>) -> bool {
    owner_around(p) == Owner::Nobody
        && nothing::is_live(p).is_none()
        && sample::usable_bytes(p).is_none()
}

/// Resizes a huge block without copying. `None` when it cannot be had; the block is as it was.
///
/// # Safety
/// `p` is a live huge block.
pub(crate) unsafe fn resize_huge(p: NonNull<u8>, size: usize, align: usize) -> Option<NonNull<u8>> {
    os::keep_errno(|| {
        let before = HUGE.usable_bytes(p)?;
        // SAFETY: passed on.
        let resized = unsafe { HUGE.resize(p, size, align) };
        purge::note_fresh(
            resized.is_some() && size > before,
            size.saturating_sub(before),
        );
        resized
    })
}

/// Resizes a Rust block: in place while class or tier stay the same, else by moving it.
///
/// # Safety
/// `p` is a live block of `size` bytes at a multiple of `align`; `new_size` rounded up to the alignment is a valid size.
#[inline(never)]
pub(crate) unsafe extern "C" fn resize(
    p: NonNull<u8>,
    size: usize,
    align: usize,
    new_size: usize,
) -> *mut u8 {
    let (old, new) = (
        SizeClass::aligned(size, align),
        SizeClass::aligned(new_size, align),
    );
    if watch::is_on() {
        let stays = old == new && old.is_some();
        // SAFETY: passed on.
        return unsafe { watch::resize_rust(p, size, align, new_size, stays) };
    }
    if old == new {
        let Some(_) = old else {
            // SAFETY: a live huge block by the caller's word.
            if let Some(p) = unsafe { resize_huge(p, new_size, align) } {
                return p.as_ptr();
            }
            if HUGE.usable_bytes(p).is_none() {
                // Not a live block: `free` knows how to say what is wrong. Copying from it might fault.
                // SAFETY: as the caller promises.
                unsafe { free_unknown(p) };
                return null_mut();
            }
            // SAFETY: as the caller promises.
            return unsafe { move_block(p, size, new_size, align) };
        };
        return p.as_ptr();
    }
    // SAFETY: as the caller promises.
    unsafe {
        match (old, new) {
            (Some(old), Some(new)) => move_listed(p, size, old, new_size, new),
            _ => move_block(p, size, new_size, align),
        }
    }
}

/// As [`move_block`], from one class to another: what a vector does that grows.
///
/// # Safety
/// As [`resize`]; `p` is of class `old`, and `to` bytes fit `new`.
#[inline(always)]
unsafe fn move_listed(
    p: NonNull<u8>,
    size: usize,
    old: SizeClass,
    to: usize,
    new: SizeClass,
) -> *mut u8 {
    let lists = thread::lists();
    let start = match lists.of(new).pop() {
        Some(block) => block.start().as_ptr(),
        None => alloc_listed(new),
    };
    if !start.is_null() {
        // SAFETY: both blocks hold the copied bytes and are disjoint; the old one is given up.
        unsafe {
            start.copy_from_nonoverlapping(p.as_ptr(), size.min(to));
            if !thread::lists().push(label_of(old), Block::new(p)) {
                free_listed(p, old);
            }
        }
    }
    start
}

/// # Safety
/// As [`resize`].
pub(super) unsafe fn move_block(p: NonNull<u8>, size: usize, to: usize, align: usize) -> *mut u8 {
    let new = alloc_general(to, align);
    if !new.is_null() {
        // SAFETY: both blocks hold the copied bytes and are disjoint; the old one is given up.
        unsafe {
            new.copy_from_nonoverlapping(p.as_ptr(), size.min(to));
            free_general(p, size, align);
        }
    }
    new
}
