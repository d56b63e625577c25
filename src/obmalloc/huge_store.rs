//! What the lock of [`super::huge::Huge`] guards: spare descriptors, the store of recent mappings, counts.
//!
//! A stored mapping keeps its memory. It serves the next block that fills at least a quarter of it, so that a
//! loop over blocks of a few MiB does not enter the kernel, nor one over vectors that grow to such a size:
//! each doubling of theirs is in place. It goes when the store is full or when it is purged.

use super::descriptor::Descriptor;
use crate::os;
use core::ptr::NonNull;

/// Most mappings and bytes the store holds.
const STORE_SLOTS: usize = 32;
const STORE_BYTES: usize = 64 << 20;
/// Bytes of a chunk of descriptors.
const CHUNK: usize = 64 * 1024;

/// Counts of huge blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct HugeCounts {
    /// Live blocks and their bytes.
    pub blocks: usize,
    /// Bytes of live blocks.
    pub bytes: usize,
    /// The most bytes that ever were.
    pub bytes_high: usize,
    /// Blocks ever made.
    pub total: usize,
    /// Bytes of stored mappings.
    pub stored_bytes: usize,
}

pub(super) struct State {
    free: Option<NonNull<Descriptor>>,
    chunk: Option<NonNull<u8>>,
    chunk_left: usize,
    store: [Option<NonNull<Descriptor>>; STORE_SLOTS],
    pub counts: HugeCounts,
    /// Now, in purge epochs.
    pub epoch: u32,
}

// SAFETY: the pointers are to memory the state owns.
unsafe impl Send for State {}

impl State {
    /// Nothing.
    pub const EMPTY: Self = Self {
        free: None,
        chunk: None,
        chunk_left: 0,
        store: [None; STORE_SLOTS],
        counts: HugeCounts {
            blocks: 0,
            bytes: 0,
            bytes_high: 0,
            total: 0,
            stored_bytes: 0,
        },
        epoch: 0,
    };

    /// A spare descriptor; `None` when there is no memory for more.
    pub fn descriptor(&mut self) -> Option<NonNull<Descriptor>> {
        if let Some(descriptor) = self.free {
            // SAFETY: on the free list, so made and ours.
            self.free = unsafe { descriptor.as_ref().with_rest(|rest| rest.next) };
            return Some(descriptor);
        }
        if self.chunk_left < size_of::<Descriptor>() {
            self.chunk = Some(os::map(CHUNK, os::page_size())?);
            self.chunk_left = CHUNK;
        }
        let start = self.chunk?;
        self.chunk_left -= size_of::<Descriptor>();
        // SAFETY: inside the chunk.
        self.chunk = Some(unsafe { start.add(size_of::<Descriptor>()) });
        let descriptor = start.cast();
        // SAFETY: inside the chunk, known to nobody.
        unsafe { descriptor.write(Descriptor::new()) };
        Some(descriptor)
    }

    /// Takes a descriptor back whose owner gives it up.
    pub fn give_descriptor(&mut self, descriptor: NonNull<Descriptor>) {
        // SAFETY: the caller owns it and gives it up.
        unsafe { descriptor.as_ref().with_rest(|rest| rest.next = self.free) };
        self.free = Some(descriptor);
    }

    /// Counts a block of `len` bytes that becomes live.
    pub fn count_in(&mut self, len: usize) {
        let counts = &mut self.counts;
        counts.blocks += 1;
        counts.total += 1;
        counts.bytes += len;
        counts.bytes_high = counts.bytes_high.max(counts.bytes);
    }

    /// The place of the stored mapping that `fits`, the one with the least `key`.
    fn take_place(
        &mut self,
        fits: impl Fn(&Descriptor) -> bool,
        key: impl Fn(&Descriptor) -> usize,
    ) -> Option<NonNull<Descriptor>> {
        let mut best: Option<(usize, usize)> = None;
        for (index, place) in self.store.iter().enumerate() {
            let Some(stored) = place else { continue };
            // SAFETY: stored descriptors are ours under the lock.
            let stored = unsafe { stored.as_ref() };
            if fits(stored) && best.is_none_or(|(_, least)| key(stored) < least) {
                best = Some((index, key(stored)));
            }
        }
        let stored = self.store[best?.0].take()?;
        // SAFETY: as above.
        self.counts.stored_bytes -= unsafe { stored.as_ref() }.len();
        Some(stored)
    }

    /// The smallest stored mapping that holds `len` bytes and not more than four times as many.
    pub fn take_stored(&mut self, len: usize, align: usize) -> Option<NonNull<Descriptor>> {
        self.take_place(
            |stored| {
                let aligned = stored.base().addr().get().is_multiple_of(align);
                stored.len() >= len && stored.len() / 4 <= len && aligned
            },
            |stored| stored.len(),
        )
    }

    /// The mapping stored longest ago, if that was at or before epoch `until`.
    pub fn oldest(&mut self, until: u32) -> Option<NonNull<Descriptor>> {
        // SAFETY: stored, so ours under the lock.
        let epoch = |stored: &Descriptor| unsafe { stored.with_rest(|rest| rest.epoch) };
        let age = |stored: &Descriptor| until.wrapping_sub(epoch(stored)) as i32;
        self.take_place(
            |stored| age(stored) >= 0,
            |stored| usize::MAX - age(stored) as usize,
        )
    }

    /// Keeps a mapping and returns what must go for it: another, or itself.
    pub fn store(&mut self, descriptor: NonNull<Descriptor>) -> Option<NonNull<Descriptor>> {
        // SAFETY: no longer live, so ours.
        let this = unsafe { descriptor.as_ref() };
        // SAFETY: as above.
        unsafe { this.with_rest(|rest| rest.epoch = self.epoch) };
        let len = this.len();
        let too_much = |state: &Self| state.counts.stored_bytes + len > STORE_BYTES;
        if len > STORE_BYTES / 2 {
            return Some(descriptor);
        }
        let full = self.store.iter().all(Option::is_some);
        let out = if full || too_much(self) {
            self.oldest(self.epoch)
        } else {
            None
        };
        let keep = if too_much(self) {
            out
        } else {
            Some(descriptor)
        };
        let goes = if too_much(self) {
            Some(descriptor)
        } else {
            out
        };
        if let (Some(keep), Some(place)) = (keep, self.store.iter_mut().find(|p| p.is_none())) {
            // SAFETY: ours.
            self.counts.stored_bytes += unsafe { keep.as_ref() }.len();
            *place = Some(keep);
        }
        goes
    }
}
