//! Who sees every call, at no cost to anybody when nobody looks.
//!
//! ```text
//! hit paths ── no block, no room ──► slow entries ── MODES != 0 ──► here ──► lists out of their sight, heap, huge
//!                                                                     └────► observers
//! ```
//!
//! A watched thread's lists stay empty and without room, so every call of its takes the slow path, and the
//! slow path asks one flag. Its blocks wait in lists that only the slow path reaches (`behind.rs`). (Calls that reach no list ask it too: Rust's `realloc`, C's `realloc`.)
//!
//! | state of a thread | its lists | left by |
//! |---|---|---|
//! | unwatched | in use | its next slow call after a watch began: they go home and are closed |
//! | watched | out of sight | its first slow call after the last watch ended: they come back |
//!
//! Invariants:
//! * I1 while [`MODES`] is 0 nothing of this file runs. It begins as [`UNREAD`], so the first call of the
//!   process comes here, reads the options and goes on as they say.
//! * I2 an observer learns of a block after it was made and before its user has it, and of its end before the
//!   memory can be anybody else's: events about one address come in an order that is possible.
//! * I3 no lock is held while an observer runs, and what it allocates itself is not observed.
//!
//! What begins while the process runs is exact at once for the calling thread and for new threads, and for
//! the others once their present lists are used up.

pub(crate) use super::event::*;
use super::guard::{self, Claim};
pub(crate) use super::modes::*;
use super::thread::{self, Caller};
use super::{MAP, at_once, behind, modes, nothing, poisson, sample, slow};
use crate::obmalloc::address_map::class_of;
use crate::obmalloc::block::Block;
use crate::obmalloc::list::List;
use crate::obmalloc::size_class::{ALIGNMENT, MEDIUM_MAX, SizeClass};
use crate::os;
use crate::sync::{AtomicU32, Ordering};
use core::ptr::{NonNull, null_mut};

/// Counts watches, so that a thread knows whether its lists were closed for this one.
pub(super) static WATCH: AtomicU32 = AtomicU32::new(1);

/// Those of every call.
pub(super) static EXACT: Observers = Observers::new();
/// Who may refuse a request.
pub(super) static JUDGE: JudgeSlot = JudgeSlot::new();

/// Asks `judge` before every request from now on. It does so only while somebody observes every call.
pub(crate) fn set_judge(judge: Judge) {
    JUDGE.set(judge);
    modes::add(JUDGED);
}

/// A sampled block, if it is this call's turn and nothing else is on. It reads as zero.
#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "a question of the C front")
)]
pub(crate) fn sampled(size: usize, align: usize) -> Option<NonNull<u8>> {
    let samples = !is_exact() && modes::has(SAMPLED);
    samples.then(|| sample::alloc(size, align)).flatten()
}

/// Begins to tell `observer` of every call. False when there are too many observers.
pub(crate) fn observe(observer: Observer) -> bool {
    begin(observer, OBSERVED | MANY)
}

/// As [`observe`], by one who has a short way for the usual calls: it is taken while nobody else observes. Only one
/// observer has such a way.
pub(crate) fn observe_shortly(observer: Observer, short: &'static Short) -> bool {
    #[cfg(feature = "preload")]
    super::shortly::set(short);
    #[cfg(not(feature = "preload"))]
    let _ = short;
    begin(observer, OBSERVED | SHORT)
}

fn begin(observer: Observer, as_modes: u8) -> bool {
    let found = EXACT.add(observer);
    if found {
        // Threads whose lists have lengthened since an earlier watch close them again.
        WATCH.fetch_add(1, Ordering::Relaxed);
        modes::add(as_modes);
        enter();
        tell_heaps();
    }
    found
}

/// Begins to tell `observer` of samples, one for every `interval` bytes on average: see `poisson.rs`. False when
/// others sample at another interval, and where every block is guarded.
pub(crate) fn observe_samples(observer: Observer, interval: usize) -> bool {
    // Reads the options, if nobody did.
    let _ = is_on();
    let begins = !is_guarded() && poisson::start(observer, interval);
    if begins {
        modes::add(DRAWN);
        tell_heaps();
    }
    begins
}

/// Tells `observer` no more. Other threads may be about to call it: what it needs must stay.
pub(crate) fn forget(observer: Observer) {
    if EXACT.remove(observer) {
        modes::remove(OBSERVED | MANY | SHORT);
    }
    // The mode stays: lists may be parked.
    poisson::stop(observer);
}

/// Before a list goes home: it may be parked.
#[inline]
pub(super) fn before_flush(list: &List, class: SizeClass) {
    if is_drawn() {
        poisson::before_flush(list, class);
    }
}

/// Bytes that a sample of such a block stands for, at most: its class's.
pub(crate) fn charged(size: usize, align: usize) -> usize {
    poisson::charged(size, align)
}

/// Makes this thread a watched one. It may be its first call: what is refused then leaves no errno.
fn enter() {
    os::keep_errno(|| {
        if let Some(Caller::Live(thread, heap)) = thread::caller() {
            let watch = WATCH.load(Ordering::Relaxed);
            if thread.watch.replace(watch) != watch {
                behind::close(thread, heap);
            }
        }
    });
}

/// A block, for an API. Null when memory is out.
pub(crate) fn alloc(size: usize, align: usize, zeroed: bool, api: u8) -> *mut u8 {
    if !is_exact() {
        return poisson::alloc(size, align, zeroed, api);
    }
    let made = match at_once::take(size, align, zeroed) {
        Some((_, p, taken)) => Some((p, taken)),
        None => alloc_judged(size, align, zeroed, api),
    };
    let Some((p, taken)) = made else {
        return null_mut();
    };
    // One place for both: whoever walks the stack sees it.
    tell(
        &EXACT,
        &Event::Allocated {
            address: p.addr().get(),
            size,
            align: align.max(ALIGNMENT),
            zeroed,
            taken,
            api,
        },
    );
    p.as_ptr()
}

/// A block of which observers are to be told, and whether it was taken from what threads share.
#[inline(never)]
fn alloc_judged(size: usize, align: usize, zeroed: bool, api: u8) -> Option<(NonNull<u8>, bool)> {
    enter();
    if !JUDGE.permits(&Request::New { size }) {
        return None;
    }
    let Some(p) = made(size, align, zeroed, api) else {
        JUDGE.withdraw(&Request::New { size });
        return None;
    };
    let taken = has_taken();
    if is_drawn() {
        poisson::consider(p, size, align, zeroed, api);
    }
    Some((p, taken))
}

/// A block without the mark that the C front leaves in free ones.
fn made(size: usize, align: usize, zeroed: bool, api: u8) -> Option<NonNull<u8>> {
    if size == 0
        && align <= ALIGNMENT
        && let Some(p) = nothing::alloc()
    {
        note_taken();
        return Some(p);
    }
    if is_guarded() {
        note_taken();
        return guard::alloc(size, align, zeroed, api);
    }
    let class = SizeClass::aligned(size, align)
        .filter(|class| !zeroed || class.block_bytes() < slow::ZERO_FROM_HEAP);
    let (p, is_zero) = match class {
        Some(class) => (NonNull::new(behind::alloc(class))?, false),
        None => {
            note_taken();
            slow::take(size, align)?
        }
    };
    // SAFETY: a block of at least `size` and at least 16 bytes, nobody else's yet.
    unsafe {
        if zeroed && !is_zero {
            p.write_bytes(0, size);
        }
        if class.is_some() || class_of(MAP.label(p.addr().get())).is_some() {
            Block::new(p).unmark();
        }
    }
    Some(p)
}

/// Says that a block which another library took by `malloc` was made for an API.
///
/// # Safety
/// `p` is null or a live block that its user does not have yet.
#[cfg(feature = "preload")]
pub(crate) unsafe fn adopt(p: *mut u8, api: u8) {
    if let Some(p) = NonNull::new(p).filter(|_| is_on() && is_guarded()) {
        // SAFETY: passed on.
        unsafe { guard::adopt(p, api) }
    }
}

/// Frees a block of Rust's.
///
/// # Safety
/// `p` is a live block that was allocated for `size` bytes at a multiple of `align`, or corruption to be reported.
pub(crate) unsafe fn free_rust(p: NonNull<u8>, size: usize, align: usize) {
    let class = SizeClass::aligned(size, align);
    // SAFETY: passed on.
    if unsafe { at_once::free(p, class, Some(size), RUST, None) } {
        return;
    }
    if !is_exact() {
        // SAFETY: passed on.
        return poisson::free(p, class, || unsafe {
            match class {
                Some(class) => slow::free_listed(p, class),
                None => slow::free_unknown(p),
            }
        });
    }
    enter();
    tell_of_free(p, Some(size), RUST);
    let claim = Claim {
        size: Some(size),
        align: Some(align),
        api: RUST,
        function: guard::FREE,
    };
    // SAFETY: passed on.
    unsafe {
        if !(is_guarded() && guard::free(p, &claim)) {
            behind::free(p, class);
        }
    }
}

/// Tells of a free, to whoever knows of the block.
fn tell_of_free(p: NonNull<u8>, size: Option<usize>, api: u8) {
    let address = p.addr().get();
    if is_drawn() {
        poisson::forget(p);
    }
    tell(&EXACT, &Event::Freeing { address, size, api });
}

/// Frees a block of the C front by `give`, when not every call is watched.
#[cfg(feature = "preload")]
pub(crate) fn free_drawn(p: NonNull<u8>, give: impl FnOnce()) {
    poisson::free(p, class_of(MAP.label(p.addr().get())), give);
}

/// Frees a block of `class` that the C front told of.
///
/// # Safety
/// `p` is a live block of `class`, or corruption to be reported.
#[cfg(feature = "preload")]
pub(crate) unsafe fn free_told(p: NonNull<u8>, class: SizeClass) {
    // SAFETY: passed on.
    unsafe { behind::free(p, Some(class)) }
}

/// Notes that a block was resized without a list, when not every call is watched.
#[cfg(feature = "preload")]
pub(crate) fn resized_drawn(old: NonNull<u8>, new: NonNull<u8>, size: usize) {
    if is_drawn() && !is_exact() {
        poisson::resized(old, new, size, ALIGNMENT);
    }
}

/// Notes that the C front is about to free what may be a block of ours, with the size and alignment that the
/// caller said. True when nothing is left to do.
///
/// # Safety
/// If a live block of ours begins at `p`, it is not used any more.
#[cfg(feature = "preload")]
pub(crate) unsafe fn freeing(
    p: NonNull<u8>,
    size: Option<usize>,
    align: Option<usize>,
    api: u8,
) -> bool {
    enter();
    let known = !is_guarded() && class_of(MAP.label(p.addr().get())).is_some();
    if known || slow::usable_unknown(p).is_some() {
        tell_of_free(p, size, api);
    }
    let claim = Claim {
        size,
        align,
        api,
        function: guard::FREE,
    };
    // SAFETY: passed on.
    is_guarded() && unsafe { guard::free(p, &claim) }
}

/// As `slow::resize`; `stays` says that the block's class does.
///
/// # Safety
/// As `slow::resize`.
pub(crate) unsafe fn resize_rust(
    p: NonNull<u8>,
    size: usize,
    align: usize,
    new_size: usize,
    stays: bool,
) -> *mut u8 {
    if !is_exact() {
        // SAFETY: passed on.
        return unsafe { poisson::resize(p, size, align, new_size, stays) };
    }
    let class = SizeClass::aligned(size, align);
    let resize = Resize {
        held: size,
        held_is_exact: true,
        size: new_size,
        align,
        stays,
        api: RUST,
    };
    // SAFETY: passed on.
    unsafe { resize_by(p, &resize, |old| behind::free(old, class)) }
}

/// Resizes a block; `give` frees one. Null when memory is out; then the block is as it was.
///
/// # Safety
/// `p` is a live block of `held` bytes that `give` frees.
pub(crate) unsafe fn resize_by(
    p: NonNull<u8>,
    to: &Resize,
    give: impl FnOnce(NonNull<u8>),
) -> *mut u8 {
    enter();
    let request = Request::Resized {
        old: p.addr().get(),
        size: to.size,
    };
    if !JUDGE.permits(&request) {
        return null_mut();
    }
    // SAFETY: passed on.
    let new = unsafe { resize_permitted(p, to, give) };
    if new.is_null() {
        JUDGE.withdraw(&request);
    }
    new
}

/// # Safety
/// As [`resize_by`].
unsafe fn resize_permitted(p: NonNull<u8>, to: &Resize, give: impl FnOnce(NonNull<u8>)) -> *mut u8 {
    let tell_of = |new: NonNull<u8>| {
        if is_drawn() {
            poisson::resized(p, new, to.size, to.align);
        }
        let event = Event::Resized {
            old: p.addr().get(),
            new: new.addr().get(),
            size: to.size,
            api: to.api,
        };
        tell(&EXACT, &event);
        new.as_ptr()
    };
    let claim = Claim {
        size: to.held_is_exact.then_some(to.held),
        align: to.held_is_exact.then_some(to.align),
        api: to.api,
        function: guard::REALLOC,
    };
    if is_guarded() {
        // SAFETY: a live block by the caller's word.
        if let Some(new) = unsafe { guard::resize(p, to.size, to.align, &claim, tell_of) } {
            return new;
        }
    }
    if to.stays {
        return tell_of(p);
    }
    if to.size > MEDIUM_MAX || SizeClass::aligned(to.size, to.align).is_none() {
        // SAFETY: a live block by the caller's word; refused unless it is a huge one.
        if let Some(new) = unsafe { slow::resize_huge(p, to.size, to.align) } {
            return tell_of(new);
        }
    }
    if slow::usable_unknown(p).is_none() {
        // Not a live block: `free` knows how to say what is wrong. Copying from it might fault.
        give(p);
        return null_mut();
    }
    let Some(new) = made(to.size, to.align, false, to.api) else {
        return null_mut();
    };
    // SAFETY: both blocks hold the copied bytes and are disjoint.
    unsafe { new.copy_from_nonoverlapping(p, to.held.min(to.size)) };
    let new = tell_of(new);
    give(p);
    new
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
