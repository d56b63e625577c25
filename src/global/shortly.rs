//! The usual call of a watched thread where one observer is all there is to tell, and has a short way: the recorder.
//!
//! ```text
//! malloc ── no block ──► here: a block of the hidden lists ──► the observer's way, which gives the block on
//! free ──── no room ───► here: into the hidden lists ────────► the observer's way
//!                         └ anything unusual: false or `None`, and nothing was done; `at_once.rs` and `watch.rs` go on
//! ```
//!
//! Where samples are drawn, likewise: the free of a block whose neighbour is sampled, and the resizing of blocks.
//!
//! Each function that tells ends with the call of the observer's, so none of the registers has to be kept. Of a block that is
//! given up the observer is told after it is back in the hidden lists. That is no sooner than before anybody else could have it: only
//! this thread takes from them, and what a signal handler of its takes before the observer has ended is not told.

use super::event::{Short, Told};
use super::put::put_on_list;
use super::{MAP, modes, poisson, slow, thread};
use crate::obmalloc::address_map::{Label, class_of, label_of};
use crate::obmalloc::block::Block;
use crate::obmalloc::size_class::{ALIGNMENT, SMALL_MAX, SizeClass, resize_stays};
use crate::obmalloc::thread_lists::{ListPlace, ThreadLists};
use crate::os::Call;
use crate::sync::{AtomicPtr, Ordering};
use core::ptr::NonNull;

/// Who has a short way: nobody at first. Read while [`modes::SHORT`] is on.
static WAY: AtomicPtr<Short> = AtomicPtr::new(core::ptr::from_ref(Short::NOBODYS).cast_mut());

/// Takes that way from now on, where it is on.
pub(super) fn set(short: &'static Short) {
    // Release: publishes what it was prepared with.
    WAY.store(core::ptr::from_ref(short).cast_mut(), Ordering::Release);
}

/// What a watched thread has.
struct Watched {
    told: &'static Told,
    lists: &'static ThreadLists,
    short: &'static Short,
}

/// The calling thread's, if this way is its. Its lists are closed while there are some behind them, so they need not be
/// closed for this watch.
#[inline(always)]
fn watched() -> Option<Watched> {
    if !modes::is_shortly_observed() {
        return None;
    }
    let thread = thread::current();
    let lists = thread.behind.get()?;
    // Acquire: pairs with `set`.
    let short = WAY.load(Ordering::Acquire);
    // SAFETY: a way that stays.
    let short = unsafe { &*short };
    let told = &thread.told;
    // What the observer's own calls are made of is not told.
    (!told.observing.get()).then_some(Watched { told, lists, short })
}

/// The list with blocks for `size` bytes; the empty one for no bytes, and if there is none.
#[inline(always)]
fn place_for(size: usize) -> ListPlace {
    // Label 0, of no bytes, has an empty list.
    ListPlace::of(match size <= SMALL_MAX {
        true => size.div_ceil(ALIGNMENT) as Label,
        false => SizeClass::of(size).map_or(0, label_of),
    })
}

/// Takes a block. `None` if there is none.
#[inline(always)]
fn take(lists: &ThreadLists, place: ListPlace) -> Option<NonNull<u8>> {
    let block = lists.pop(place)?;
    // SAFETY: a block that is nobody else's yet.
    unsafe { block.unmark() };
    Some(block.start())
}

/// The label of a block that is no free one, if there is room in its list.
#[inline(always)]
fn label_with_room(lists: &ThreadLists, p: NonNull<u8>) -> Option<Label> {
    let label = MAP.label(p.addr().get());
    // Label 0 has no room.
    lists.room(label)?;
    // SAFETY: labelled, and 16-aligned.
    let block = unsafe { Block::new(p) };
    // SAFETY: a block has room for a mark.
    (!unsafe { block.is_marked(MAP.secret()) }).then_some(label)
}

/// A block of which the observer was told, of the list for `size` bytes. `None` if it cannot be had at once.
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "where the place of a call is known")
)]
#[inline(always)]
pub(crate) fn alloc(size: usize, place: ListPlace, call: Call) -> Option<NonNull<u8>> {
    let Watched { told, lists, short } = watched()?;
    let p = take(lists, place)?;
    told.observing.set(true);
    Some((short.allocated)(told, p, size, call))
}

/// As [`alloc`], of a block that reads as zero. `None` also where that is known of fresh memory.
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "where the place of a call is known")
)]
#[inline(always)]
pub(crate) fn alloc_zeroed(bytes: usize, call: Call) -> Option<NonNull<u8>> {
    let Watched { told, lists, short } = watched()?;
    if bytes >= slow::ZERO_FROM_HEAP {
        return None;
    }
    let p = take(lists, place_for(bytes))?;
    // SAFETY: a block of at least so many bytes that is nobody else's yet.
    unsafe { p.write_bytes(0, bytes) };
    told.observing.set(true);
    Some((short.zeroed)(told, p, bytes, call))
}

/// Frees a block that has a list, and tells the observer. False if nothing was done.
///
/// # Safety
/// The list is that of the address's label, or none. If a live block of ours begins at `p`, it is not used any more.
#[inline(always)]
pub(crate) unsafe fn free(p: *mut u8, place: ListPlace) -> bool {
    let Some(Watched { told, lists, short }) = watched() else {
        return false;
    };
    // SAFETY: the list of this address; hidden lists have no buffers; the caller gives the block up.
    let is_put = unsafe { put_on_list(lists, place, p, || told.observing.set(true)) };
    if is_put {
        // SAFETY: what was put on a list is a block.
        (short.freed)(told, unsafe { NonNull::new_unchecked(p) });
    }
    is_put
}

/// Resizes a block that has a list, by the rules of C's `realloc`, and tells the observer. `None` if nothing was done.
///
/// # Safety
/// If a live block of ours begins at `old`, it is not used any more once there is a new one.
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "where the place of a call is known")
)]
#[inline(always)]
pub(crate) unsafe fn resize(old: NonNull<u8>, size: usize, call: Call) -> Option<NonNull<u8>> {
    let Watched { told, lists, short } = watched()?;
    let label = label_with_room(lists, old)?;
    let held = class_of(label)?.block_bytes();
    if size == 0 {
        return None;
    }
    if resize_stays(size, held) {
        told.observing.set(true);
        return Some((short.resized)(told, old, old, size, call));
    }
    let new = take(lists, place_for(size))?;
    // SAFETY: both blocks hold the bytes, and are disjoint.
    unsafe { new.copy_from_nonoverlapping(old, held.min(size)) };
    told.observing.set(true);
    // SAFETY: its label's list; hidden lists have no buffers; the old block is not used any more. It is put there: there
    // was room, taking makes none less, and the copy wrote to the new block only.
    unsafe { put_on_list(lists, ListPlace::of(label), old.as_ptr(), || ()) };
    Some((short.resized)(told, old, new, size, call))
}

/// Frees a block that has a list and is no sampled one, where nobody observes every call. False if nothing was done.
///
/// # Safety
/// If a live block of ours begins at `p`, it is not used any more.
#[inline(always)]
pub(crate) unsafe fn free_unsampled(p: NonNull<u8>) -> bool {
    if !modes::only_draws() || !poisson::is_unsampled(p.addr().get()) {
        return false;
    }
    let place = ListPlace::of(MAP.label(p.addr().get()));
    // SAFETY: the list of this address; the lists of C's calls have no buffers; the caller gives the block up.
    unsafe { put_on_list(thread::lists(), place, p.as_ptr(), || ()) }
}

/// Whether a block that keeps its place is no sampled one, where nobody observes every call: then nobody is to be told.
#[inline(always)]
pub(crate) fn stays_untold(p: NonNull<u8>) -> bool {
    modes::only_draws() && poisson::is_unsampled(p.addr().get())
}
