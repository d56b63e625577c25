//! What the fast paths leave: an empty list, a full one, a block that is not for lists.
//!
//! The entries are `extern "C"`, which cannot unwind: callers need no landing pads and call them in tail
//! position.
//!
//! Nothing here is called with a lock held, and nothing here holds one while it calls back.

use super::thread::{self, Caller, Thread};
use super::{EXTENTS, HUGE, MAP, OPTIONS, SharedHeap, options, purge};
use crate::obmalloc::address_map::{Owner, class_of};
use crate::obmalloc::block::Block;
use crate::obmalloc::heap::{Freed, double_free, freed_class, not_a_block};
use crate::obmalloc::size_class::{ALIGNMENT, ARENA_BYTES, SizeClass};
use crate::obmalloc::thread_lists::ThreadLists;
use crate::os;
use core::ptr::{NonNull, null_mut};

/// Slow calls between two looks at the lists that lie idle.
const SWEEP_TICKS: u32 = 64;
/// Blocks below this size are cleared rather than asked for zeroed: clearing costs less than the lock.
const ZERO_FROM_HEAP: usize = 4096;
/// Size from which a refused request is not tried again, in bytes: what 47 bits of addresses hold
/// makes room for one such block at most.
const MOST_RETRIED: usize = 1 << 44;

/// A block of `class` when there is none to take. Null when memory is out.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn alloc(class: SizeClass) -> *mut u8 {
    let list = thread::lists().of(class);
    if list.turn(list.bound() / 2) {
        return start_of(list.pop());
    }
    alloc_from_heap(class)
}

fn start_of(block: Option<Block>) -> *mut u8 {
    block.map_or(null_mut(), |block| block.start().as_ptr())
}

#[cold]
#[inline(never)]
fn alloc_from_heap(class: SizeClass) -> *mut u8 {
    os::keep_errno(|| match thread::caller() {
        None => null_mut(),
        Some(Caller::Late(heap)) => start_of(heap.alloc_one(class).map(|(block, _)| block)),
        Some(Caller::Live(thread, heap)) => {
            // A call back, while the thread started, may have refilled it.
            if thread.lists.of(class).nothing_to_take() {
                refill(&thread.lists, heap, class);
                sweep(thread, heap);
            }
            start_of(thread.lists.of(class).pop())
        }
    })
}

/// Fills half a stack: as many frees as allocs may follow without another call of the heap.
fn refill(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) {
    lists.lengthen(class);
    let n = (lists.of(class).bound() / 2).max(1);
    let n = heap.alloc_many(class, lists.places(class, n));
    // SAFETY: just taken.
    unsafe { lists.fill(class, n) };
}

/// Frees a block of `class` whose list has no room.
///
/// # Safety
/// `p` is a live block of `class`, or corruption to be reported.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn free(p: NonNull<u8>, class: SizeClass) {
    let list = thread::lists().of(class);
    // SAFETY: the caller gives the block up.
    unsafe {
        let block = Block::new(p);
        if !(list.turn(1) && list.push(block)) {
            free_to_heap(block, class);
        }
    }
}

/// # Safety
/// As [`free`].
#[cold]
#[inline(never)]
unsafe fn free_to_heap(block: Block, class: SizeClass) {
    os::keep_errno(|| {
        match thread::caller() {
            // Without a heap there are no blocks: not ours.
            None => foreign(block.start()),
            // SAFETY: verified by the heap.
            Some(Caller::Late(heap)) => unsafe { heap.free_one(class, block) },
            Some(Caller::Live(thread, heap)) => {
                if !thread.lists.lengthen(class) {
                    let freed = flush_older(&thread.lists, heap, class);
                    thread.lists.of(class).turn(1);
                    ebb(thread, heap, freed.live_bytes);
                    purge::poll(freed.dirty_pools);
                }
                // SAFETY: free and of this class.
                let pushed = unsafe { thread.lists.of(class).push(block) };
                debug_assert!(pushed);
                sweep(thread, heap);
            }
        }
    });
}

/// Sends the blocks home that were to be taken next.
fn flush_older(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) -> Freed {
    // SAFETY: blocks from a list are free; they are verified on the way.
    unsafe { heap.free_many(class, lists.take_older(class)) }
}

/// Sends home all blocks of a class.
fn flush(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) {
    if !lists.of(class).nothing_to_take() {
        flush_older(lists, heap, class);
    }
    if lists.of(class).turn(1) {
        flush_older(lists, heap, class);
    }
}

/// Sends home what a thread holds.
pub(super) fn flush_all(thread: &Thread, heap: &SharedHeap) {
    for class in SizeClass::all() {
        flush(&thread.lists, heap, class);
    }
}

/// Empties and shortens the lists when half of what the heap had out has come back: a block that waits in
/// a list keeps its pool from being given back, and where most is freed there are many such pools.
fn ebb(thread: &Thread, heap: &SharedHeap, live_bytes: u64) {
    /// Below this much, in bytes, there is little to win.
    const LITTLE: u64 = 4096;
    let most = thread.most_live.get();
    if live_bytes >= most {
        thread.most_live.set(live_bytes);
    } else if live_bytes < most / 2 && most > LITTLE {
        flush_all(thread, heap);
        for class in SizeClass::all() {
            thread.lists.shorten(class);
        }
        thread.most_live.set(live_bytes);
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
    if thread.lists.of(class).rests() {
        flush(&thread.lists, heap, class);
    }
}

/// A block of at least `size` bytes at a multiple of `align`, by any tier. Null when memory is out.
#[inline(never)]
pub(crate) extern "C" fn alloc_general(size: usize, align: usize) -> *mut u8 {
    match SizeClass::aligned(size, align) {
        Some(class) => match thread::lists().of(class).pop() {
            Some(block) => block.start().as_ptr(),
            None => alloc(class),
        },
        None => alloc_huge(size, align).map_or(null_mut(), |(p, _)| p.as_ptr()),
    }
}

/// A block with a mapping of its own, whatever its size. Null when memory is out.
pub(super) fn alloc_huge_block(size: usize, align: usize) -> *mut u8 {
    alloc_huge(size, align).map_or(null_mut(), |(p, _)| p.as_ptr())
}

#[cold]
fn alloc_huge(size: usize, align: usize) -> Option<(NonNull<u8>, bool)> {
    os::keep_errno(|| {
        thread::caller()?;
        let made = HUGE.alloc(size, align).or_else(|| {
            // Out of address space, unless nobody has that much.
            (size < MOST_RETRIED && EXTENTS.retreat())
                .then(|| HUGE.alloc(size, align))
                .flatten()
        });
        purge::note_fresh(made.is_some_and(|(_, zeroed)| zeroed), size);
        made
    })
}

/// As [`alloc_general`], and zero. Memory known to be zero is not cleared again.
#[inline(never)]
pub(crate) extern "C" fn alloc_zeroed(size: usize, align: usize) -> *mut u8 {
    let (p, zeroed) = match SizeClass::aligned(size, align) {
        Some(class) if class.block_bytes() < ZERO_FROM_HEAP => (alloc_general(size, align), false),
        // Clearing a block that was used a moment ago costs less than the page faults of a fresh one.
        Some(class) => match thread::lists().of(class).pop() {
            Some(block) => (block.start().as_ptr(), false),
            None => {
                let taken = os::keep_errno(|| thread::caller()?.heap().alloc_one(class));
                taken.map_or((null_mut(), true), |(block, zeroed)| {
                    (block.start().as_ptr(), zeroed)
                })
            }
        },
        None => alloc_huge(size, align).map_or((null_mut(), true), |(p, z)| (p.as_ptr(), z)),
    };
    if !p.is_null() && !zeroed {
        // SAFETY: a block of at least `size` bytes, just handed out.
        unsafe { p.write_bytes(0, size) };
    }
    p
}

/// Frees a block that was allocated for `size` bytes at a multiple of `align`.
///
/// # Safety
/// `p` came from [`alloc_general`] with these numbers, or is corruption to be reported.
#[inline(never)]
pub(crate) unsafe extern "C" fn free_general(p: NonNull<u8>, size: usize, align: usize) {
    match SizeClass::aligned(size, align) {
        Some(class) => {
            // SAFETY: the caller gives the block up; corruption is found when the list is flushed.
            unsafe {
                if !thread::lists().of(class).push(Block::new(p)) {
                    free(p, class);
                }
            }
        }
        // SAFETY: passed on.
        None => unsafe { free_unknown(p) },
    }
}

/// Frees what has no list: null's neighbours, huge blocks, foreign pointers, errors.
///
/// # Safety
/// If a live block of ours begins at `p`, it is not used any more.
#[cold]
#[inline(never)]
pub(crate) unsafe fn free_unknown(p: NonNull<u8>) {
    os::keep_errno(|| {
        // SAFETY: passed on.
        if unsafe { HUGE.free(p) } {
            purge::poll(0);
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

/// Who owns the address, looking back from inside a large block.
fn owner_around(p: NonNull<u8>) -> Owner {
    /// How far inside a huge block a wrong pointer is still recognised, in slots.
    const BACK: usize = 64;
    let addr = p.addr().get();
    for back in 0..BACK {
        let Some(slot) = addr.checked_sub(back * ARENA_BYTES) else {
            break;
        };
        match MAP.owner(slot) {
            Owner::Nobody | Owner::Gone(_) => {}
            Owner::Huge(descriptor) => {
                let (base, len, _) = HUGE.describe(descriptor);
                let inside = addr.wrapping_sub(base) < len;
                return if inside {
                    Owner::Huge(descriptor)
                } else {
                    Owner::Nobody
                };
            }
            arena if back == 0 => return arena,
            _ => break,
        }
    }
    Owner::Nobody
}

/// Reports a pointer into our memory that is not a live block, and aborts.
#[cold]
fn misuse(p: NonNull<u8>, owner: Owner) -> ! {
    let addr = p.addr().get();
    if !addr.is_multiple_of(ALIGNMENT) {
        os::fatal(format_args!(
            "free of {p:p}, which is not aligned to {ALIGNMENT} bytes"
        ));
    }
    match owner {
        Owner::Huge(descriptor) => {
            let (base, bytes, live) = HUGE.describe(descriptor);
            if base == addr && !live {
                os::fatal(format_args!("double free of {p:p} ({bytes} bytes)"));
            }
            os::fatal(format_args!(
                "free of {p:p}, which points inside a block ({bytes} bytes)"
            ))
        }
        Owner::Freed(bytes) if addr.is_multiple_of(ARENA_BYTES) => {
            os::fatal(format_args!("double free of {p:p} ({bytes} bytes)"))
        }
        Owner::PrivateArena => os::fatal(format_args!(
            "free of {p:p}, which belongs to a heap of its own"
        )),
        Owner::Arena => {
            if let Some(class) = freed_class(p) {
                double_free(p, class);
            }
            not_a_block(p)
        }
        _ => not_a_block(p),
    }
}

/// A free of what is not ours, as the options say.
#[cold]
fn foreign(p: NonNull<u8>) {
    // Where a huge block of ours was, somebody else's may be now; but nobody's is where nothing is.
    if let Owner::Gone(bytes) = MAP.owner(p.addr().get())
        && !os::is_mapped(p)
    {
        os::fatal(format_args!("double free of {p:p} ({bytes} bytes)"));
    }
    super::stats::count_foreign(p);
    match OPTIONS.foreign() {
        options::Foreign::Leak => {}
        options::Foreign::Forward if super::next_malloc::free(p) => {}
        _ => os::fatal(format_args!("free of foreign pointer {p:p}")),
    }
}

/// Bytes a block of ours holds; `None` for a pointer that is not one.
pub(crate) fn usable_unknown(p: NonNull<u8>) -> Option<usize> {
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
}

/// Resizes a huge block without copying. `None` when it cannot be had; the block is as it was.
///
/// # Safety
/// `p` is a live huge block.
pub(crate) unsafe fn resize_huge(p: NonNull<u8>, size: usize, align: usize) -> Option<NonNull<u8>> {
    // SAFETY: passed on.
    os::keep_errno(|| unsafe { HUGE.resize(p, size, align) })
}

/// Checks every block in this thread's lists, by sending it home, and aborts on the first that is none.
pub(super) fn verify_lists() {
    thread::if_live(|thread, heap| {
        // Whoever ends the process in a signal handler may have interrupted the holder.
        if !heap.gate().lock().is_mine() {
            flush_all(thread, heap);
        }
    });
}

/// Sends this thread's lists home and gives all free memory back to the system, now.
pub(super) fn collect() -> u64 {
    thread::if_live(flush_all);
    purge::everything()
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
    unsafe { move_block(p, size, new_size, align) }
}

/// # Safety
/// As [`resize`].
unsafe fn move_block(p: NonNull<u8>, size: usize, new_size: usize, align: usize) -> *mut u8 {
    let new = alloc_general(new_size, align);
    if !new.is_null() {
        // SAFETY: both blocks hold the copied bytes and are disjoint; the old one is given up.
        unsafe {
            new.copy_from_nonoverlapping(p.as_ptr(), size.min(new_size));
            free_general(p, size, align);
        }
    }
    new
}
