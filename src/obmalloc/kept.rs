//! Places where threads keep the huge block they freed last, for their next request.
//!
//! ```text
//! free  --put-->  place of the thread  --take-->  alloc        no lock, one exchange
//!                        |
//!                        +--take_idle, take--> the store       when it lies there for a purge round
//! ```
//!
//! | who | may |
//! |---|---|
//! | the thread a place belongs to | put a block there where none is, and take it |
//! | anybody | take it |
//! | the one thread that purges | take it when it has seen it there before |
//!
//! Invariants:
//! * I1 a block is taken once: it is exchanged for null.
//! * I2 none is overwritten: only the place's thread puts, and only where it found null.
//! * I3 a place belongs to one thread at a time: its bit in `taken` is that thread's.
//! * I4 what is kept is bounded: places times the bytes of a slot.

use super::descriptor::Descriptor;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, const_unless_loom};
use core::ptr::{NonNull, null_mut};

/// Places; threads beyond that keep nothing.
const PLACES: usize = if cfg!(loom) { 2 } else { 64 };

/// A place for one block, in a cache line of its own.
#[repr(align(64))]
pub struct Place {
    block: AtomicPtr<Descriptor>,
    /// What the purging thread saw there last.
    seen: AtomicPtr<Descriptor>,
}

impl Place {
    const_unless_loom! {
        fn new() -> Self {
            Self {
                block: AtomicPtr::new(null_mut()),
                seen: AtomicPtr::new(null_mut()),
            }
        }
    }

    /// Whether there is nothing. Only a hint, but for the place's thread when it is true.
    pub(super) fn is_empty(&self) -> bool {
        self.block.load(Ordering::Relaxed).is_null()
    }

    /// Puts a block where there is none.
    ///
    /// # Safety
    /// The caller is the place's thread, found it empty and owns the descriptor, which is the place's from then on.
    pub(super) unsafe fn put(&self, block: NonNull<Descriptor>) {
        // Release: pairs with `take`, whose caller owns what the descriptor holds.
        self.block.store(block.as_ptr(), Ordering::Release);
    }

    /// Takes the block: the descriptor is the caller's (I1).
    pub(super) fn take(&self) -> Option<NonNull<Descriptor>> {
        let block = NonNull::new(self.block.load(Ordering::Relaxed))?;
        // Acquire: pairs with `put`. Whoever comes too late takes nothing, whatever was put since.
        self.block
            .compare_exchange(
                block.as_ptr(),
                null_mut(),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
            .then_some(block)
    }

    /// Takes the block that was there at the last call, too. For one thread at a time.
    fn take_idle(&self) -> Option<NonNull<Descriptor>> {
        // Relaxed: compared, not followed. One that came back meanwhile is taken, too early and no harm done.
        let now = self.block.load(Ordering::Relaxed);
        let before = self.seen.load(Ordering::Relaxed);
        self.seen.store(now, Ordering::Relaxed);
        if now == before { self.take() } else { None }
    }

    /// Bytes of the block; a figure for reports.
    fn bytes(&self) -> usize {
        let block = NonNull::new(self.block.load(Ordering::Acquire));
        // SAFETY: descriptors live for ever.
        block.map_or(0, |block| unsafe { block.as_ref() }.len())
    }
}

/// All places.
pub(super) struct Kept {
    places: [Place; PLACES],
    /// A bit per place that belongs to a thread.
    taken: AtomicU64,
}

impl Kept {
    const_unless_loom! {
        /// Nobody's places.
        pub fn new() -> Self {
            Self {
                #[cfg(not(loom))]
                places: [const { Place::new() }; PLACES],
                #[cfg(loom)]
                places: core::array::from_fn(|_| Place::new()),
                taken: AtomicU64::new(0),
            }
        }
    }

    /// A place for the calling thread, which gives it back by [`Self::leave`].
    pub fn join(&self) -> Option<&Place> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let index = taken.trailing_ones() as usize;
            let place = self.places.get(index)?;
            // Acquire: pairs with `leave`, so that the place is found as its last thread left it (I2).
            match self.taken.compare_exchange(
                taken,
                taken | 1 << index,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(place),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives a place back, which holds nothing.
    pub fn leave(&self, place: &Place) {
        debug_assert!(place.is_empty());
        if let Some(index) = self.places.iter().position(|p| core::ptr::eq(p, place)) {
            // Release: pairs with `join`.
            self.taken.fetch_and(!(1 << index), Ordering::Release);
        }
    }

    /// Takes all blocks, or those that lie idle, one by one.
    pub fn take_each(&self, only_idle: bool, f: impl FnMut(NonNull<Descriptor>)) {
        let take = if only_idle {
            Place::take_idle
        } else {
            Place::take
        };
        self.places.iter().filter_map(take).for_each(f);
    }

    /// Blocks and bytes that are kept.
    pub fn counts(&self) -> (usize, usize) {
        self.places
            .iter()
            .map(Place::bytes)
            .filter(|&bytes| bytes > 0)
            .fold((0, 0), |(blocks, sum), bytes| (blocks + 1, sum + bytes))
    }

    /// Makes all places nobody's but one, in a child after fork.
    pub fn reset(&self, mine: Option<&Place>) {
        let is_mine = |place: &Place| mine.is_some_and(|mine| core::ptr::eq(place, mine));
        let index = self.places.iter().position(is_mine);
        self.taken
            .store(index.map_or(0, |index| 1 << index), Ordering::Relaxed);
    }
}
