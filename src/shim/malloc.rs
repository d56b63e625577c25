//! malloc, free and what is made of them.
//!
//! A free block carries a mark (`obmalloc/block.rs`). Whatever hands a block out clears it, so a block that
//! carries it at `free` is freed for the second time, by whichever thread. Both are one store in a cache
//! line that is at hand.

mod zeroed;

pub use zeroed::calloc;
pub(super) use zeroed::calloc_otherwise;

use super::called;
use crate::global::watch::{self, MALLOC, Resize};
use crate::global::{
    self, MAP, at_once, countdown, huge, lists, next_malloc, put_on_list, shortly, shown, slow,
};
use crate::obmalloc::address_map::{Label, class_of, label_of};
use crate::obmalloc::block::Block;
use crate::obmalloc::heap::double_free;
use crate::obmalloc::size_class::{ALIGNMENT, MEDIUM_MAX, SMALL_MAX, SizeClass, resize_stays};
use crate::obmalloc::thread_lists::ListPlace;
use crate::os;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

/// A block on its way to the user: without its mark.
#[inline(always)]
fn hand_out(block: Block) -> *mut c_void {
    // SAFETY: the block is ours until this function returns it.
    unsafe { block.unmark() };
    block.start().as_ptr().cast()
}

/// Null with ENOMEM, or the block.
#[inline]
pub(super) fn or_enomem(p: *mut u8) -> *mut c_void {
    if p.is_null() {
        os::set_errno(libc::ENOMEM);
    }
    p.cast()
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    malloc_for::<MALLOC>(size)
}

/// `malloc` for an API: whoever watches wants to know which. The hit path is the same for all.
#[inline(always)]
pub(super) fn malloc_for<const API: u8>(size: usize) -> *mut c_void {
    if size <= SMALL_MAX {
        // Size 0 gives label 0, whose list is always empty.
        let place = ListPlace::of(size.div_ceil(ALIGNMENT) as Label);
        if let Some(block) = shown().pop(place) {
            return hand_out(block);
        }
        return malloc_slow::<API>(size, place);
    }
    malloc_large::<API>(size)
}

// The continuations are `extern "C"`, which cannot unwind: so they are called in tail position, and the
// functions above need no frame.

#[inline(never)]
extern "C" fn malloc_large<const API: u8>(size: usize) -> *mut c_void {
    if size > MEDIUM_MAX {
        return called::malloc::<API>(size, ListPlace::NONE);
    }
    let class = SizeClass::medium(size);
    match shown().pop(ListPlace::of(label_of(class))) {
        Some(block) => hand_out(block),
        None => malloc_medium_slow::<API>(size, class),
    }
}

#[cold]
#[inline(never)]
extern "C" fn malloc_medium_slow<const API: u8>(size: usize, class: SizeClass) -> *mut c_void {
    if global::serves_plainly() {
        return alloc_plainly(class);
    }
    match countdown::of_class(class) {
        Some(p) => p.as_ptr().cast(),
        None => called::malloc::<API>(size, ListPlace::of(label_of(class))),
    }
}

#[cold]
#[inline(never)]
extern "C" fn malloc_slow<const API: u8>(size: usize, place: ListPlace) -> *mut c_void {
    if global::serves_plainly()
        && let Some(class) = place.class()
    {
        return alloc_plainly(class);
    }
    match countdown::small(place) {
        Some(p) => p.as_ptr().cast(),
        None => called::malloc::<API>(size, place),
    }
}

/// A block of `class` from the heap, when that is all there is to do. Null with ENOMEM.
#[inline(always)]
fn alloc_plainly(class: SizeClass) -> *mut c_void {
    let p = slow::alloc_from_heap(class);
    if let Some(block) = NonNull::new(p) {
        // SAFETY: as `hand_out`.
        unsafe { Block::new(block).unmark() };
    }
    or_enomem(p)
}

#[cold]
#[inline(never)]
pub(super) extern "C" fn malloc_otherwise<const API: u8>(size: usize) -> *mut c_void {
    alloc(size, ALIGNMENT, API)
}

#[cold]
#[inline(never)]
extern "C" fn alloc_watched(size: usize, align: usize, api: u8) -> *mut c_void {
    if let Some(p) = watch::sampled(size, align) {
        return p.as_ptr().cast();
    }
    if watch::is_on() {
        return or_enomem(watch::alloc(size, align, false, api));
    }
    alloc_unwatched(size, align)
}

/// `size` bytes at a multiple of `align`, by whoever serves this process. Null with ENOMEM.
#[inline]
pub(super) fn alloc(size: usize, align: usize, api: u8) -> *mut c_void {
    if global::passes_through() {
        return next_malloc::alloc(size, align).cast();
    }
    if watch::is_on_or_samples() {
        return alloc_watched(size, align, api);
    }
    alloc_unwatched(size, align)
}

/// As [`alloc`], when nobody watches.
#[inline]
fn alloc_unwatched(size: usize, align: usize) -> *mut c_void {
    if size == 0 && align <= ALIGNMENT {
        let p = slow::alloc_nothing();
        if !p.is_null() {
            return p.cast();
        }
    }
    let p = slow::alloc_general(size, align);
    if let Some(block) = NonNull::new(p).filter(|p| MAP.label(p.addr().get()) != 0) {
        // SAFETY: as `hand_out`.
        unsafe { Block::new(block).unmark() };
    }
    or_enomem(p)
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(p: *mut c_void) {
    // SAFETY: passed on.
    unsafe { free_for::<MALLOC>(p, UNSAID, UNSAID) }
}

/// A size or alignment that the caller did not say.
pub(super) const UNSAID: usize = usize::MAX;

/// `free` for an API, with the size and alignment that were asked for, as far as they are said.
///
/// # Safety
/// As `free`.
#[inline(always)]
pub(super) unsafe fn free_for<const API: u8>(p: *mut c_void, size: usize, align: usize) {
    // Null, misaligned pointers, and what lies far from our first memory.
    let Some(label) = MAP.open_list(p.addr()) else {
        return free_elsewhere::<API>(p, size, align);
    };
    let place = ListPlace::of(label);
    // SAFETY: the list of this address; the lists of C's calls have no buffers; the caller gives the block up.
    if !unsafe { put_on_list(lists(), place, p.cast(), || ()) } {
        free_slow::<API>(p, size, align, place);
    }
}

#[inline(never)]
extern "C" fn free_elsewhere<const API: u8>(p: *mut c_void, size: usize, align: usize) {
    let place = ListPlace::of(MAP.open_list_anywhere(p.addr()).unwrap_or(0));
    // SAFETY: as in `free_for`.
    if !unsafe { put_on_list(lists(), place, p.cast(), || ()) } {
        free_slow::<API>(p, size, align, place);
    }
}

#[cold]
#[inline(never)]
extern "C" fn free_slow<const API: u8>(
    p: *mut c_void,
    size: usize,
    align: usize,
    place: ListPlace,
) {
    let Some(start) = NonNull::new(p.cast::<u8>()) else {
        return;
    };
    if global::serves_plainly()
        && let Some(class) = place.class()
    {
        // SAFETY: the class of this address's list; the caller gives the block up.
        return unsafe { free_plainly(start, class) };
    }
    // SAFETY: the list of this address; the caller gives the block up.
    if unsafe { shortly::free(p.cast(), place) } {
        return;
    }
    // SAFETY: the caller gives the block up.
    if !unsafe { shortly::free_unsampled(start) } {
        free_otherwise::<API>(p, size, align);
    }
}

#[cold]
#[inline(never)]
extern "C" fn free_otherwise<const API: u8>(p: *mut c_void, size: usize, align: usize) {
    let Some(start) = NonNull::new(p.cast::<u8>()) else {
        return;
    };
    let said = |n: usize| (n != UNSAID).then_some(n);
    // SAFETY: the caller gives the block up.
    if unsafe { free_observed(start, said(size), API) } {
        return;
    }
    // C++'s plain `delete` says that the alignment was the default one; C's `free` says nothing.
    let align = said(align).or((API != MALLOC).then_some(ALIGNMENT));
    // SAFETY: the caller gives the block up.
    unsafe {
        if watch::is_on() {
            return free_watched(start, said(size), align, API);
        }
        free_unwatched(start);
    }
}

/// Frees a block of `class` whose list has no room, when that is all there is to do.
///
/// # Safety
/// As `free`; the address has the label of `class`.
#[inline(always)]
unsafe fn free_plainly(start: NonNull<u8>, class: SizeClass) {
    // SAFETY: the caller's; the mark is written to a block that is free from here on.
    unsafe {
        mark(start, class);
        slow::free_to_heap(Block::new(start), class);
    }
}

/// Frees a block that observers are told of, if that is all there is to do. False if nothing was done.
///
/// # Safety
/// As `free`.
#[inline(always)]
unsafe fn free_observed(start: NonNull<u8>, size: Option<usize>, api: u8) -> bool {
    let class = class_of(MAP.label(start.addr().get()));
    // SAFETY: passed on.
    unsafe { at_once::free(start, class, size, api, Some(MAP.secret())) }
}

/// # Safety
/// As `free`.
#[cold]
#[inline(never)]
unsafe fn free_watched(start: NonNull<u8>, size: Option<usize>, align: Option<usize>, api: u8) {
    // SAFETY: passed on.
    unsafe {
        if !watch::is_exact() {
            watch::free_drawn(start, || free_unwatched(start));
        } else if !watch::freeing(start, size, align, api) {
            free_told(start);
        }
    }
}

/// # Safety
/// As `free`.
unsafe fn free_unwatched(start: NonNull<u8>) {
    // SAFETY: passed on.
    unsafe {
        if let Some(class) = marked(start) {
            slow::free_listed(start, class);
        }
    }
}

/// Frees a block that observers of every call were told of.
///
/// # Safety
/// As `free`.
unsafe fn free_told(start: NonNull<u8>) {
    // SAFETY: passed on.
    unsafe {
        if let Some(class) = marked(start) {
            watch::free_told(start, class);
        }
    }
}

/// Marks a block as free; its class. One without a class is freed here.
///
/// # Safety
/// As `free`.
#[inline]
unsafe fn marked(start: NonNull<u8>) -> Option<SizeClass> {
    let Some(class) = class_of(MAP.label(start.addr().get())) else {
        // SAFETY: the caller gives the block up.
        unsafe { slow::free_unknown(start) };
        return None;
    };
    // SAFETY: labelled; the caller gives the block up.
    unsafe { mark(start, class) };
    Some(class)
}

/// Marks a block of `class` as free; one that is marked was freed before.
///
/// # Safety
/// A block of `class` begins at `start`, and nobody uses it.
#[inline(always)]
unsafe fn mark(start: NonNull<u8>, class: SizeClass) {
    // SAFETY: a free block has room for a mark.
    unsafe {
        let block = Block::new(start);
        if block.is_marked(MAP.secret()) {
            double_free(start, class);
        }
        block.mark(MAP.secret());
    }
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
    let Some(old) = NonNull::new(p.cast::<u8>()) else {
        // SAFETY: no conditions.
        return unsafe { malloc(size) };
    };
    // SAFETY: a live block by the caller's word.
    unsafe {
        if watch::is_on() && !shortly::stays_untold(old) {
            return called::realloc(old, size);
        }
        realloc_unwatched(old, size)
    }
}

/// # Safety
/// As `realloc`, of a live block.
#[inline(always)]
unsafe fn realloc_unwatched(old: NonNull<u8>, size: usize) -> *mut c_void {
    let p = old.as_ptr().cast();
    // SAFETY: a live block by the caller's word.
    unsafe {
        let Some(class) = class_of(MAP.label(old.addr().get())) else {
            return realloc_unlisted(old, size);
        };
        if size == 0 {
            return realloc_to_nothing(old);
        }
        if resize_stays(size, class.block_bytes()) {
            return p;
        }
        move_block(old, class.block_bytes(), size)
    }
}

/// As `realloc`, likewise.
///
/// # Safety
/// As `realloc`, of a live block.
#[cold]
#[inline(never)]
pub(super) unsafe extern "C" fn realloc_otherwise(old: NonNull<u8>, size: usize) -> *mut c_void {
    // SAFETY: a live block by the caller's word.
    unsafe {
        if !watch::is_exact() {
            let new = realloc_unwatched(old, size);
            // Elsewhere it passed `malloc` and `free`, or `resize_huge`.
            if new.addr() == old.addr().get() && MAP.label(new.addr()) != 0 {
                watch::resized_drawn(old, old, size);
            }
            return new;
        }
        let held = slow::usable_unknown(old);
        if held.is_none() && (slow::is_foreign(old) || !watch::is_guarded()) {
            return realloc_unlisted(old, size);
        }
        if size == 0 {
            return realloc_to_nothing(old);
        }
        let class = class_of(MAP.label(old.addr().get()));
        let to = Resize {
            held: held.unwrap_or(0),
            held_is_exact: false,
            size,
            align: ALIGNMENT,
            stays: class.is_some_and(|class| resize_stays(size, class.block_bytes())),
            api: MALLOC,
        };
        or_enomem(watch::resize_by(old, &to, |old| free_told(old)))
    }
}

/// glibc frees and gives null; C23 leaves it open; an option decides.
unsafe fn realloc_to_nothing(old: NonNull<u8>) -> *mut c_void {
    // SAFETY: a live block by the caller's word.
    unsafe {
        if global::zero_realloc_allocates() {
            return move_block(old, 0, 1);
        }
        free(old.as_ptr().cast());
    }
    null_mut()
}

/// Size from which a block that grows moves to a place with room to grow on: an arena slot, of which only the
/// pages that are used hold memory. A buffer that grows by eighths is copied some twenty times less on
/// its way to 1 MiB.
const ROOMY: usize = 64 * 1024;

/// Takes the new block before it frees the old one, as CPython does.
unsafe fn move_block(old: NonNull<u8>, old_bytes: usize, size: usize) -> *mut c_void {
    // SAFETY: both blocks hold the copied bytes and are disjoint; the old one is given up.
    unsafe {
        let grows = size > old_bytes && (ROOMY..=MEDIUM_MAX).contains(&size);
        let roomy: *mut c_void = if grows && watch::at_most_draws() {
            huge::alloc_block(size, ALIGNMENT).cast()
        } else {
            null_mut()
        };
        let new = if roomy.is_null() { malloc(size) } else { roomy };
        if let Some(roomy) = NonNull::new(roomy.cast()) {
            watch::resized_drawn(old, roomy, size);
        }
        if !new.is_null() {
            new.cast::<u8>()
                .copy_from_nonoverlapping(old.as_ptr(), old_bytes.min(size));
            free(old.as_ptr().cast());
        }
        new
    }
}

#[cold]
#[inline(never)]
unsafe extern "C" fn realloc_unlisted(old: NonNull<u8>, size: usize) -> *mut c_void {
    // SAFETY: a live block by the caller's word.
    unsafe {
        let Some(bytes) = slow::usable_unknown(old) else {
            if slow::is_foreign(old) {
                return next_malloc::realloc(old, size).cast();
            }
            // Not foreign and not a block: `free` knows how to say what is wrong.
            slow::free_unknown(old);
            return or_enomem(null_mut());
        };
        if size == 0 {
            return realloc_to_nothing(old);
        }
        let stays = size > MEDIUM_MAX || (size >= ROOMY && size >= bytes / 2);
        if stays && let Some(p) = slow::resize_huge(old, size, ALIGNMENT) {
            watch::resized_drawn(old, p, size);
            return p.as_ptr().cast();
        }
        if size > isize::MAX as usize {
            return or_enomem(null_mut());
        }
        move_block(old, bytes, size)
    }
}
