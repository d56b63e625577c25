//! Objects are blocks to those who watch: of the domain `o`, as CPython's are.
//!
//! ```text
//! object heap ── nobody watches ──► its own fast ways; nothing of this file runs
//!        └ slow call ─► wanted() ─► every object, or one for so many bytes ─► observers of watch, of poisson
//! ```
//!
//! An object's address is its value's, a multiple of 16; its size is that of value and header.
//!
//! A heap looks at what is [`wanted`] when it makes its pools' free slots, in collections, and when its thread begins to
//! watch; while it is watched, whenever it makes or ends an object.

use super::watch::{self, Event, OBJECT, Request};
use super::{event, poisson, thread};
use crate::obmalloc::size_class::ALIGNMENT;
use crate::sync::Ordering;
use core::cell::Cell;
use core::ptr::NonNull;

/// Which of its objects a heap tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Watch {
    /// None.
    Off,
    /// One for so many bytes.
    Samples,
    /// All.
    Every,
}

/// What those who watch now want.
#[inline]
pub(crate) fn wanted() -> Watch {
    // Relaxed: as `watch::is_on`.
    if watch::MODES.load(Ordering::Relaxed) & watch::OBSERVED != 0 {
        Watch::Every
    } else if poisson::interval() != 0 {
        Watch::Samples
    } else {
        Watch::Off
    }
}

/// Whether an object of `size` may be made.
pub(crate) fn permits(size: usize) -> bool {
    watch::JUDGE.permits(&Request::New { size })
}

/// An object that may be made found no memory.
pub(crate) fn withdraw(size: usize) {
    watch::JUDGE.withdraw(&Request::New { size });
}

/// An object was made. Whether it is among the samples, too.
pub(crate) fn tell_made(value: NonNull<u8>, size: usize) -> bool {
    let made = Event::Allocated {
        address: value.addr().get(),
        size,
        align: ALIGNMENT,
        zeroed: false,
        taken: event::has_taken(),
        api: OBJECT,
    };
    watch::tell(&watch::EXACT, &made);
    poisson::interval() != 0 && poisson::consider(value, size, ALIGNMENT, false, OBJECT)
}

/// An object was made that is to be a sample. False when it cannot be.
pub(crate) fn tell_sampled(value: NonNull<u8>, size: usize) -> bool {
    poisson::add(value, size, ALIGNMENT, false, OBJECT)
}

/// An object that was told of ends; its slot is not free yet. Whether it was among the samples.
pub(crate) fn tell_end(value: NonNull<u8>, size: usize) -> bool {
    let was_sampled = watch::is_drawn() && poisson::forget(value);
    let end = Event::Freeing {
        address: value.addr().get(),
        size: Some(size),
        api: OBJECT,
    };
    watch::tell(&watch::EXACT, &end);
    was_sampled
}

/// What is left of a heap's gap between two samples, as a thread's `Countdown` for its lists.
pub(crate) struct Gap {
    /// Bytes.
    left: Cell<usize>,
    /// The interval it was drawn for, in bytes; 0: it was not drawn.
    interval: Cell<usize>,
}

impl Gap {
    /// Not drawn.
    pub const fn new() -> Self {
        Self {
            left: Cell::new(0),
            interval: Cell::new(0),
        }
    }

    /// Counts an object in a slot of `bytes`. True if it is to be a sample.
    pub fn ends_in(&self, bytes: usize) -> bool {
        let interval = poisson::interval();
        if self.interval.get() == interval
            && let Some(left) = self.left.get().checked_sub(bytes)
        {
            self.left.set(left);
            return false;
        }
        self.draw(interval, bytes)
    }

    #[cold]
    fn draw(&self, interval: usize, bytes: usize) -> bool {
        let (Some(thread), true) = (thread::own(), interval != 0) else {
            return false;
        };
        let mut is_due = true;
        if self.interval.replace(interval) != interval {
            let left = poisson::gap(thread, interval).checked_sub(bytes);
            is_due = left.is_none();
            self.left.set(left.unwrap_or(0));
        }
        if is_due {
            self.left.set(poisson::gap(thread, interval));
        }
        is_due
    }
}
