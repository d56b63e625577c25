//! Pairs of slots that one huge page fills.
//!
//! | [`Filling`] | a slot of a large heap | left by |
//! |---|---|---|
//! | at once | its pair is filled by whoever wants it, without the lock | `fill_elsewhere`, `fill_ahead` |
//! | ahead | a dirty slot, or else one without a huge page | the use of the last dirty slot |
//! | wanted, asked | the same | the next `fill_ahead` |
//!
//! A pair that is being filled is in no list (I2 of the extents). The one thread that fills ahead puts both
//! slots into the queue, where they are purged by age like all others.

use super::{
    ARENA_BYTES, Extents, Filling, HUGE_PAGE, HugePages, LARGE, LARGE_ALONE, POOL_BYTES, State, at,
};
use crate::os;
use crate::sync::Ordering;

impl Extents {
    /// Decides about huge pages for slots that are carved from now on.
    pub fn set_huge_pages(&self, choice: HugePages) {
        // Relaxed: a wish, made before the first extent.
        self.huge_pages.store(choice as u8, Ordering::Relaxed);
    }

    /// Fences the books of up to `most` arenas: blocks are guarded. No huge page is asked for that a fence would
    /// split.
    pub fn guard_books(&self, most: usize) {
        self.kernel.guard(most);
        let wanted = self.huge_pages.load(Ordering::Relaxed);
        if wanted == HugePages::WhenLarge as u8 {
            self.set_huge_pages(HugePages::Never);
        }
    }

    /// Notes that there is one more heap that threads share.
    pub fn note_heap(&self) {
        // Relaxed: a figure to decide by.
        self.heaps.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of arenas from which on a heap is large.
    pub fn large(&self) -> usize {
        match self.heaps.load(Ordering::Relaxed) {
            0 | 1 => LARGE_ALONE,
            _ => LARGE,
        }
    }

    /// Whether slots carved now are to be backed by huge pages.
    pub fn wants_huge_pages(&self, is_large: bool) -> bool {
        let choice = self.huge_pages.load(Ordering::Relaxed);
        let wanted =
            choice == HugePages::Always as u8 || (choice == HugePages::WhenLarge as u8 && is_large);
        // Where pages are larger, huge ones are too large.
        wanted && os::page_size() == 4096
    }

    /// Notes that a pair is wanted; false if there is no thread that fills one ahead.
    pub(super) fn leave_to_filler(&self) -> bool {
        self.change_filling(Filling::Ahead, Filling::Wanted);
        !self.fills_at_once()
    }

    /// Whether whoever wants a slot fills its pair.
    pub(super) fn fills_at_once(&self) -> bool {
        // Relaxed, as all of them: a request, on which nothing depends.
        self.filling.load(Ordering::Relaxed) == Filling::AtOnce as u8
    }

    /// Leaves the filling to a thread, from now on.
    pub fn fill_elsewhere(&self) {
        self.change_filling(Filling::AtOnce, Filling::Ahead);
    }

    /// True for one caller, who is to tell the thread that [`Self::fill_ahead`] has something to do.
    #[inline]
    pub fn ask_to_fill(&self) -> bool {
        self.filling.load(Ordering::Relaxed) == Filling::Wanted as u8
            && self.change_filling(Filling::Wanted, Filling::Asked)
    }

    fn change_filling(&self, from: Filling, to: Filling) -> bool {
        self.filling
            .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Fills a pair if one is wanted, and says that the calling thread does so from now on. Its slots come free in
    /// `epoch`.
    pub fn fill_ahead(&self, epoch: u32) {
        let before = self.filling.swap(Filling::Ahead as u8, Ordering::Relaxed);
        if before == Filling::AtOnce as u8 || before == Filling::Ahead as u8 {
            return;
        }
        let Some(base) = self.with(|state| self.take_pair(state)) else {
            return;
        };
        self.fill(base);
        for addr in [base + ARENA_BYTES, base] {
            self.release(addr, epoch, ARENA_BYTES / POOL_BYTES);
        }
    }

    /// There is no thread that fills: in a child after fork, or when none could be made.
    pub fn fill_at_once(&self) {
        self.filling.store(Filling::AtOnce as u8, Ordering::Relaxed);
    }

    /// Takes two slots without memory that make a huge page: the first one.
    pub(super) fn take_pair(&self, state: &mut State) -> Option<usize> {
        if !self.has_room(HUGE_PAGE) {
            return None;
        }
        if let Some(base) = state.free.newest_clean_pair() {
            self.note_mapped(HUGE_PAGE);
            self.note_fresh_slots(HUGE_PAGE / ARENA_BYTES);
            return Some(base);
        }
        if !state.bump.is_multiple_of(HUGE_PAGE) && state.end - state.bump > HUGE_PAGE {
            // One slot for somebody else, so that a pair begins.
            let single = self.carve(state, 1)?;
            state.free.push_clean(single.addr().get(), true);
            self.note_unmapped(ARENA_BYTES);
        }
        if !state.bump.is_multiple_of(HUGE_PAGE) || state.end - state.bump < HUGE_PAGE {
            return None;
        }
        let base = self.carve(state, HUGE_PAGE / ARENA_BYTES)?;
        Some(base.addr().get())
    }

    /// Whether pairs may be huge pages.
    pub fn has_huge_pages(&self) -> bool {
        self.n_filled.load(Ordering::Relaxed) > 0
    }

    /// Fills a pair that is in no list.
    pub(super) fn fill(&self, base: usize) {
        // SAFETY: committed, and nobody uses it.
        unsafe {
            // What a thin pair has is in the way of a huge page.
            self.kernel.purge(at(base), HUGE_PAGE);
            os::fill_huge_page(at(base), HUGE_PAGE);
        }
        self.n_filled.fetch_add(1, Ordering::Relaxed);
        self.note_fresh(HUGE_PAGE / POOL_BYTES);
    }
}
