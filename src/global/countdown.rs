//! Counting what is allocated from hidden lists down to the next sampled block.
//!
//! ```text
//! malloc: nothing to take ──► here: the list itself ──► bytes left >= 0 ──► the block
//!                               │ no block                  └ < 0: the general way (`poisson.rs`): this one is sampled
//!                               └► the general way: refill
//! ```
//!
//! A thread whose lists are hidden frees as ever and reuses its blocks in the same order; an alloc makes one call more. The
//! gaps between samples are exponential, so a block of `n` bytes, its class's, is sampled with the probability
//! 1 - e^(-n/interval), and a thread draws anew after each sample.
//!
//! * **I1** What is left was drawn for the interval named beside it. It is compared when a list is refilled or nothing is
//!   left, as at first, not by each alloc. So who begins to sample draws for his own thread ([`Countdown::forget`]); others
//!   follow soon. While nobody samples, [`UNSAMPLED`] bytes at a time pass.
//! * **I2** Nothing is ever left to a thread whose lists are not hidden.
//!
//! The owning thread alone reads and writes it.

use super::poisson;
use super::thread::{self, Thread};
use crate::obmalloc::address_map::label_of;
use crate::obmalloc::list::Buffers;
use crate::obmalloc::size_class::SizeClass;
use crate::obmalloc::thread_lists::{ListPlace, ThreadLists};
use core::cell::Cell;
use core::ptr::NonNull;

/// Bytes after which a thread looks again whether somebody samples.
const UNSAMPLED: usize = 64 * 1024;

/// What is left of a thread's gap between two samples.
pub(super) struct Countdown {
    /// Bytes.
    left: Cell<usize>,
    /// The interval it was drawn for, in bytes.
    interval: Cell<usize>,
}

impl Countdown {
    /// Nothing is left.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make records from"
    )]
    pub const EMPTY: Self = Self {
        left: Cell::new(0),
        interval: Cell::new(0),
    };

    /// Forgets what is left: the next alloc draws.
    pub fn forget(&self) {
        self.left.set(0);
        self.interval.set(0);
    }

    /// Lets some bytes pass if nobody samples: `lists` are the thread's.
    pub fn pass_unsampled(&self, lists: &ThreadLists) {
        if lists.buffers() == Buffers::Hidden && poisson::interval() == 0 {
            self.left.set(UNSAMPLED);
        }
    }

    /// Counts a block of `thread`, whose countdown this is. True if it is to be sampled.
    pub fn ends_in(&self, thread: &Thread, class: SizeClass) -> bool {
        let interval = poisson::interval();
        if self.interval.replace(interval) != interval {
            self.left.set(poisson::gap(thread, interval));
        }
        if interval == 0 {
            return false;
        }
        let left = self.left.get().checked_sub(class.block_bytes());
        self.left
            .set(left.unwrap_or_else(|| poisson::gap(thread, interval)));
        left.is_none()
    }
}

/// A block of a hidden list of small blocks that is not to be sampled. `None` if there is none, or it is.
#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "the C front's lists may be hidden")
)]
#[inline(always)]
pub(crate) fn small(place: ListPlace) -> Option<NonNull<u8>> {
    take(place, place.small_bytes())
}

/// As [`small`], of a class.
#[cfg_attr(
    not(feature = "preload"),
    allow(dead_code, reason = "the C front's lists may be hidden")
)]
#[inline(always)]
pub(crate) fn of_class(class: SizeClass) -> Option<NonNull<u8>> {
    take(ListPlace::of(label_of(class)), class.block_bytes())
}

#[inline(always)]
fn take(place: ListPlace, bytes: usize) -> Option<NonNull<u8>> {
    let thread = thread::current();
    // Where lists are not hidden nothing is left (I2).
    let left = thread.countdown.left.get().checked_sub(bytes)?;
    let block = thread.lists.pop(place)?;
    thread.countdown.left.set(left);
    // SAFETY: the block is nobody else's yet.
    unsafe { block.unmark() };
    Some(block.start())
}
