//! Huge blocks that grow or shrink without being copied: where they stand, or with their pages elsewhere.

use super::{Descriptor, Form, Huge, Owner, SLOT_MAX};
use crate::obmalloc::huge_pages::SPARE;
use crate::os;
use core::ptr::NonNull;

impl Huge {
    /// Resizes the block at `p` without copying: in place, else by moving its pages. `None` when that
    /// cannot be had; then the block is as it was.
    ///
    /// # Safety
    /// `p` is a live huge block of this process whose alignment is at most 1 MiB if it may move.
    pub unsafe fn resize(&self, p: NonNull<u8>, size: usize, align: usize) -> Option<NonNull<u8>> {
        let descriptor = self.find(p)?;
        let new_len = size.max(1).checked_next_multiple_of(os::page_size())?;
        // SAFETY: descriptors stay mapped for ever.
        let this = unsafe { descriptor.as_ref() };
        // Claimed while it changes: whoever frees it meanwhile is told that there is no such block.
        if new_len > isize::MAX as usize || !this.claim(p.addr().get()) {
            return None;
        }
        let old_len = this.len();
        // SAFETY: claimed just now.
        let resized = unsafe { self.resize_claimed(descriptor, new_len, align) };
        let (base, len) = resized.unwrap_or((p, old_len));
        if len != old_len {
            self.count_resize(old_len, len);
        }
        this.set_live(base, len);
        resized.map(|(base, _)| base)
    }

    /// Where the block is now and its bytes.
    ///
    /// # Safety
    /// The caller owns the descriptor; otherwise as [`Self::resize`].
    pub(super) unsafe fn resize_claimed(
        &self,
        descriptor: NonNull<Descriptor>,
        new_len: usize,
        align: usize,
    ) -> Option<(NonNull<u8>, usize)> {
        // SAFETY: descriptors stay mapped for ever.
        let this = unsafe { descriptor.as_ref() };
        let (p, old_len) = (this.base(), this.len());
        // SAFETY: the caller's.
        let carved = unsafe { this.with_rest(|rest| rest.carved) };
        if carved && new_len <= SLOT_MAX && old_len <= SLOT_MAX {
            // The whole slot is the block's.
            return Some((p, new_len));
        }
        let fits = new_len <= old_len;
        // A block may hold more than was asked for, from the store, and grow into it; so a little less is no
        // reason to give pages back that it may want again.
        if carved || (fits && new_len * 2 + SPARE >= old_len) {
            return fits.then_some((p, old_len));
        }
        if !fits && !self.extents.has_room(new_len - old_len) {
            return None;
        }
        let form = if fits {
            Form::plain(new_len, align)
        } else {
            Form::new(self.extents, new_len, align, old_len)
        };
        let new_len = form.len;
        // SAFETY: a whole mapping of ours; when shortened, its tail is unused by the caller's word.
        if unsafe { os::grow(p, old_len, new_len) } {
            // SAFETY: it is so long now.
            unsafe { form.ask(p) };
            self.note_resized(old_len, new_len);
            return Some((p, new_len));
        }
        if new_len < old_len {
            return Some((p, old_len));
        }
        let target = os::reserve(new_len, form.align)?;
        let owner = Owner::Huge(descriptor.addr().get());
        // The name goes before the memory, as in `give_back`; it returns if the memory stays.
        self.slot(p).set_owner(Owner::Nobody);
        if !self.extents.cover(target, 1) {
            // SAFETY: reserved just now.
            unsafe { os::unmap(target, new_len) };
            self.slot(p).set_owner(owner);
            return None;
        }
        // SAFETY: `target` was reserved just now; `p` is a whole mapping.
        if !unsafe { os::relocate(p, old_len, new_len, target) } {
            // The reservation may be gone, and its addresses somebody else's by now: better lost than
            // unmapped under them.
            self.slot(p).set_owner(owner);
            return None;
        }
        // SAFETY: moved there just now.
        unsafe { form.ask(target) };
        self.slot(target).set_owner(owner);
        self.note_resized(old_len, new_len);
        Some((target, new_len))
    }

    /// Notes that a mapping changed its length. A block in a slot changes only its own: the slot is mapped.
    fn note_resized(&self, old_len: usize, new_len: usize) {
        self.extents.note_mapped(new_len);
        self.extents.note_unmapped(old_len);
    }

    pub(super) fn count_resize(&self, old_len: usize, new_len: usize) {
        self.with(|state| {
            let counts = &mut state.counts;
            counts.bytes = counts.bytes - old_len + new_len;
            counts.bytes_high = counts.bytes_high.max(counts.bytes);
        });
    }
}
