//! The short way of the usual events: what is usual is asked once, and then there are a few bytes to write.
//!
//! ```text
//! told ─► log ─► below `simple_to`? ─► stack at hand? ─► order kept? ─► bytes ─► how far it is
//!                 └──────────────────────┴────────────────┴─────────┴► as any other event
//! ```

use super::super::recording::encode::simple::Ready;
use super::body::{Body, Simple};
use super::log::Log;
use super::progress::Done;
use super::{observe, observe_slow, own_log};
use crate::global::watch::{self, Event, Short, Told};
use crate::obmalloc::size_class::ALIGNMENT;
use crate::os::Call;
use core::ptr::NonNull;

/// More frames than one: the stack is walked.
const WALKED: usize = 2;

/// The way of a recording with so many frames.
pub fn way(frames: usize) -> &'static Short {
    const fn of<const FRAMES: usize>() -> Short {
        Short {
            allocated: note_allocated::<FRAMES, false>,
            zeroed: note_allocated::<FRAMES, true>,
            freed: note_freed,
            resized: note_resized::<FRAMES>,
        }
    }
    match frames {
        0 => const { &of::<0>() },
        1 => const { &of::<1>() },
        _ => const { &of::<WALKED>() },
    }
}

/// Has a block that was made written simply, with its stack. False if nothing was done.
#[inline(always)]
fn simply<const FRAMES: usize>(
    told: &Told,
    call: Call,
    write: impl FnOnce(&mut Body, &Log, Done, Option<Ready>) -> bool,
) -> bool {
    if FRAMES < WALKED
        && let Some((log, done)) = simple_log(told)
        // SAFETY: this thread's, and simple; the call is that of the caller's caller, which has not returned.
        && let Some(stack) = unsafe { log.stack_at_hand::<FRAMES>(call) }
        // SAFETY: this thread's, and simple.
        && unsafe { log.with(|body| write(body, log, done, stack)) }
    {
        told.observing.set(false);
        return true;
    }
    false
}

extern "C" fn note_allocated<const FRAMES: usize, const ZEROED: bool>(
    told: &Told,
    p: NonNull<u8>,
    size: usize,
    call: Call,
) -> NonNull<u8> {
    let block = Simple {
        p,
        size,
        zeroed: ZEROED,
        taken: told.taken.get(),
    };
    if simply::<FRAMES>(told, call, |body, log, done, stack| {
        body.simply_allocated(log, done, &block, stack)
    }) {
        return p;
    }
    note_allocated_slow::<ZEROED>(told, p, size, call)
}

#[cold]
#[inline(never)]
extern "C" fn note_allocated_slow<const ZEROED: bool>(
    told: &Told,
    p: NonNull<u8>,
    size: usize,
    call: Call,
) -> NonNull<u8> {
    let event = Event::Allocated {
        address: p.addr().get(),
        size,
        align: ALIGNMENT,
        zeroed: ZEROED,
        taken: told.taken.replace(false),
        api: watch::RUST,
    };
    note_slow(told, &event, call);
    given_on(p)
}

extern "C" fn note_freed(told: &Told, p: NonNull<u8>) {
    if let Some((log, done)) = simple_log(told)
        // SAFETY: this thread's, and simple.
        && unsafe { log.with(|body| body.simply_freed(log, done, p)) }
    {
        return told.observing.set(false);
    }
    note_freed_slow(told, p);
}

#[cold]
#[inline(never)]
extern "C" fn note_freed_slow(told: &Told, p: NonNull<u8>) {
    observe(&Event::Freeing {
        address: p.addr().get(),
        size: None,
        api: watch::RUST,
    });
    told.observing.set(false);
}

extern "C" fn note_resized<const FRAMES: usize>(
    told: &Told,
    old: NonNull<u8>,
    new: NonNull<u8>,
    size: usize,
    call: Call,
) -> NonNull<u8> {
    let block = Simple {
        p: new,
        size,
        zeroed: false,
        taken: told.taken.get(),
    };
    if simply::<FRAMES>(told, call, |body, log, done, stack| {
        body.simply_resized(log, done, old, &block, stack)
    }) {
        return new;
    }
    note_resized_slow(told, old, new, size, call)
}

#[cold]
#[inline(never)]
extern "C" fn note_resized_slow(
    told: &Told,
    old: NonNull<u8>,
    new: NonNull<u8>,
    size: usize,
    call: Call,
) -> NonNull<u8> {
    let event = Event::Resized {
        old: old.addr().get(),
        new: new.addr().get(),
        size,
        api: watch::RUST,
    };
    note_slow(told, &event, call);
    given_on(new)
}

/// The block, so that the compiler does not know it: it would keep it where these functions are called, and so not call
/// them last.
#[inline(always)]
fn given_on(p: NonNull<u8>) -> NonNull<u8> {
    core::hint::black_box(p)
}

fn note_slow(told: &Told, event: &Event, call: Call) {
    match own_log() {
        // SAFETY: open, and this thread's.
        Some(log) => unsafe { log.with(|body| body.event(log, event, Some(call))) },
        None => observe_slow(event),
    }
    told.observing.set(false);
}

/// What a thread has in its place, if it is a log that takes the next event simply: open, when it took the last one.
#[inline(always)]
fn simple_log(told: &Told) -> Option<(&'static Log, Done)> {
    // SAFETY: only `write` fills the place, with a log, which stays; wiped memory is one, too.
    let log = unsafe { told.log.get()?.cast::<Log>().as_ref() };
    Some((log, log.progress.simply()?))
}
