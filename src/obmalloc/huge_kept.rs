//! Blocks that threads keep (`kept.rs`): a pair of one thread's alloc and free without the lock.
//!
//! A kept block is claimed, so its address is no live block's; the counts of the state, which need the lock, have
//! it as live, and what reads them takes it off.

use super::{ARENA_BYTES, Huge, HugeCounts, POOL_BYTES, SLOT_MAX, State};
use crate::obmalloc::kept::Place;
use crate::os;
use core::ptr::NonNull;

impl Huge {
    /// A place for the calling thread to keep a block in.
    pub fn join(&'static self) -> Option<&'static Place> {
        self.kept.join()
    }

    /// Takes the place back; its block is stored.
    pub fn leave(&self, place: &Place) {
        if let Some(descriptor) = place.take() {
            // SAFETY: taken, so ours.
            unsafe { self.put_away(descriptor) };
        }
        self.kept.leave(place);
    }

    /// The block kept in the calling thread's place, if it may serve such a request.
    pub fn alloc_kept(&self, place: &Place, size: usize, align: usize) -> Option<NonNull<u8>> {
        if size > SLOT_MAX || align > ARENA_BYTES {
            return None;
        }
        let descriptor = place.take()?;
        // SAFETY: descriptors stay mapped for ever; taken, so ours until it is live.
        let this = unsafe { descriptor.as_ref() };
        let (base, old_len) = (this.base(), this.len());
        let len = size.max(1).next_multiple_of(os::page_size());
        if len != old_len {
            self.count_resize(old_len, len);
        }
        this.set_live(base, len);
        Some(base)
    }

    /// Frees the block at `p` into the calling thread's place. False when it is not for that, or none: nothing was
    /// done.
    ///
    /// # Safety
    /// As [`Self::free`]; the place is the calling thread's.
    pub unsafe fn keep(&self, place: &Place, p: NonNull<u8>) -> bool {
        if !place.is_empty() {
            return false;
        }
        let Some(descriptor) = self.claim(p) else {
            return false;
        };
        // SAFETY: descriptors stay mapped for ever; claimed, so ours.
        unsafe {
            let this = descriptor.as_ref();
            if this.len() <= SLOT_MAX && this.with_rest(|rest| rest.carved) {
                place.put(descriptor);
            } else {
                self.put_away(descriptor);
            }
        }
        true
    }

    /// Stores what threads keep; only what lay idle since the last call if `only_idle`, which one thread may ask for
    /// at a time.
    pub fn recall(&self, only_idle: bool) {
        self.kept.take_each(only_idle, |descriptor| {
            // SAFETY: taken, so ours.
            unsafe { self.put_away(descriptor) };
        });
    }

    /// Pools' worth of memory that threads keep.
    pub fn kept_pools(&self) -> u64 {
        (self.kept.counts().1 / POOL_BYTES) as u64
    }

    /// Makes all places nobody's but one, in a child after fork.
    pub fn forget_others(&self, mine: Option<&Place>) {
        self.kept.reset(mine);
    }

    /// Counts for reports, with what is kept not counted as live.
    pub(super) fn counts_of(&self, state: &State) -> HugeCounts {
        let (blocks, bytes) = self.kept.counts();
        let HugeCounts {
            blocks: all,
            bytes: most,
            ..
        } = state.counts;
        HugeCounts {
            // A figure: a thread may take its block at this moment.
            blocks: all.saturating_sub(blocks),
            bytes: most.saturating_sub(bytes),
            ..state.counts
        }
    }
}
