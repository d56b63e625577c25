//! What the lock of [`super::huge::Huge`] guards: spare descriptors, the store of recent blocks, counts.
//!
//! A stored block keeps its memory. It serves the next block that fills at least a quarter of it, so that a
//! loop over blocks of a few MiB does not enter the kernel, nor one over vectors that grow to such a size:
//! each doubling of theirs is in place. Of all that fit the one with the fewest bytes to spare serves, lest a short block
//! fill the pages of a long one of which little is touched. Or it grows to serve one up to twice as long, whose pages then
//! are not all fresh: moving a page's entry costs a tenth of a fault. It goes when the store is full or when it is purged.
//! So does a mapping that lay idle while slots with a quarter of its bytes came fresh from the system: a program that
//! frees a large block and grows by small ones has both only for that long.
//!
//! | place | holds | serves |
//! |---|---|---|
//! | `recent` | the block freed last, mapping or slot | in one look, what fits as well as it can |
//! | `store` | mappings freed before | what fits better |

use super::descriptor::Descriptor;
use super::huge::SLOT_MAX;
use super::huge_pages::SPARE;
use super::size_class::ARENA_BYTES;
use crate::os;
use core::ptr::NonNull;

/// Most mappings and bytes the store holds.
const STORE_SLOTS: usize = 32;
const STORE_BYTES: usize = 64 << 20;
/// Least slots that came fresh since a mapping was stored when it goes for that: more than a pair and what lay in front
/// of it, which come at once.
const LEAST_FRESH: usize = 4;
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
    recent: Option<NonNull<Descriptor>>,
    store: [Option<NonNull<Descriptor>>; STORE_SLOTS],
    pub counts: HugeCounts,
    /// No mapping is outgrown before so many slots came fresh.
    pub due: usize,
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
        recent: None,
        store: [None; STORE_SLOTS],
        counts: HugeCounts {
            blocks: 0,
            bytes: 0,
            bytes_high: 0,
            total: 0,
            stored_bytes: 0,
        },
        due: usize::MAX,
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

    /// Counts a block of `len` bytes that is live no more.
    pub fn count_out(&mut self, len: usize) {
        self.counts.blocks -= 1;
        self.counts.bytes -= len;
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

    /// A stored block that holds `len` bytes and not more than four times as many, the one that has the fewest to spare
    /// and of such the one freed last; and the bytes it has for its next user. No mapping if there are `slots` for it.
    pub fn take_stored(
        &mut self,
        len: usize,
        align: usize,
        slots: bool,
    ) -> Option<(NonNull<Descriptor>, usize)> {
        // SAFETY: stored, so ours under the lock.
        let room = |stored: &Descriptor| unsafe { room_for(stored, len, align, slots) };
        // SAFETY: descriptors stay mapped for ever.
        let recent = self.recent.map(|recent| unsafe { recent.as_ref() });
        let recent = recent.and_then(room);
        if recent.is_none_or(|most| most > len) {
            let fewer = |len| recent.is_none_or(|most| len < most);
            let fits = |stored: &Descriptor| room(stored).is_some_and(fewer);
            if let Some(stored) = self.take_place(fits, Descriptor::len) {
                // SAFETY: as above.
                return Some((stored, unsafe { stored.as_ref() }.len()));
            }
        }
        let len = recent?;
        Some((self.take_recent()?, len))
    }

    /// The longest stored mapping shorter than `len`, if it has half of that.
    pub fn take_shorter(&mut self, len: usize) -> Option<NonNull<Descriptor>> {
        let fits = |stored: &Descriptor| {
            // SAFETY: stored, so ours under the lock.
            let carved = unsafe { stored.with_rest(|rest| rest.carved) };
            !carved && stored.len() < len && stored.len() >= len / 2
        };
        // SAFETY: descriptors stay mapped for ever.
        let recent = self.recent.map(|recent| unsafe { recent.as_ref() });
        if recent.is_some_and(fits) {
            return self.take_recent();
        }
        self.take_place(fits, |stored| len - stored.len())
    }

    /// The mapping that is longest in the store, if that was at or before epoch `until`.
    fn oldest_place(&mut self, until: u32) -> Option<NonNull<Descriptor>> {
        // SAFETY: stored, so ours under the lock.
        let age = |stored: &Descriptor| unsafe { age_of(stored, until) };
        self.take_place(
            |stored| age(stored) >= 0,
            |stored| usize::MAX - age(stored) as usize,
        )
    }

    /// The block stored longest ago, if that was at or before epoch `until`.
    pub fn oldest(&mut self, until: u32) -> Option<NonNull<Descriptor>> {
        // The recent one is the newest of all.
        self.oldest_place(until).or_else(|| {
            // SAFETY: stored, so ours under the lock.
            let is_old = unsafe { age_of(self.recent?.as_ref(), until) } >= 0;
            is_old.then(|| self.take_recent()).flatten()
        })
    }

    /// A mapping that is outgrown, now that so many slots came fresh ever, and brings [`Self::due`] up to date.
    pub fn outgrown(&mut self, fresh: usize) -> Option<NonNull<Descriptor>> {
        // SAFETY: stored, so ours under the lock.
        let due = |stored: &Descriptor| unsafe { due_of(stored) };
        // SAFETY: descriptors stay mapped for ever.
        let recent = self.recent.map(|recent| due(unsafe { recent.as_ref() }));
        let out = match recent {
            Some(recent) if recent <= fresh => self.take_recent(),
            _ => self.take_place(|stored| due(stored) <= fresh, due),
        };
        let left = self.recent.iter().chain(self.store.iter().flatten());
        // SAFETY: as above.
        let left = left.map(|stored| due(unsafe { stored.as_ref() }));
        self.due = left.min().unwrap_or(usize::MAX);
        out
    }

    fn take_recent(&mut self) -> Option<NonNull<Descriptor>> {
        let recent = self.recent.take()?;
        // SAFETY: descriptors stay mapped for ever.
        self.counts.stored_bytes -= unsafe { recent.as_ref() }.len();
        Some(recent)
    }

    /// Keeps a block and returns what must go for it: another, or itself. So many slots came `fresh` ever.
    pub fn store(
        &mut self,
        descriptor: NonNull<Descriptor>,
        fresh: usize,
    ) -> Option<NonNull<Descriptor>> {
        // SAFETY: no longer live, so ours.
        let this = unsafe { descriptor.as_ref() };
        if this.len() > STORE_BYTES / 2 {
            return Some(descriptor);
        }
        // SAFETY: as above.
        unsafe {
            this.with_rest(|rest| (rest.epoch, rest.fresh) = (self.epoch, fresh));
            self.due = self.due.min(due_of(this));
        }
        let before = self.take_recent();
        self.counts.stored_bytes += this.len();
        self.recent = Some(descriptor);
        self.put_in_place(before?)
    }

    /// Finds a place for what was recent and returns what must go for it: another, or itself.
    fn put_in_place(&mut self, before: NonNull<Descriptor>) -> Option<NonNull<Descriptor>> {
        // SAFETY: no longer live, so ours under the lock.
        let (len, carved) = unsafe {
            let before = before.as_ref();
            (before.len(), before.with_rest(|rest| rest.carved))
        };
        if carved {
            return Some(before);
        }
        let too_much = |state: &Self| state.counts.stored_bytes + len > STORE_BYTES;
        let full = self.store.iter().all(Option::is_some);
        let out = if full || too_much(self) {
            self.oldest_place(self.epoch)
        } else {
            None
        };
        let (keep, goes) = if too_much(self) {
            (out, Some(before))
        } else {
            (Some(before), out)
        };
        if let (Some(keep), Some(place)) = (keep, self.store.iter_mut().find(|p| p.is_none())) {
            // SAFETY: descriptors stay mapped for ever.
            self.counts.stored_bytes += unsafe { keep.as_ref() }.len();
            *place = Some(keep);
        }
        goes
    }
}

/// Epochs from when a block was stored to `until`.
///
/// # Safety
/// The caller owns the descriptor.
unsafe fn age_of(stored: &Descriptor, until: u32) -> i32 {
    // SAFETY: the caller's.
    until.wrapping_sub(unsafe { stored.with_rest(|rest| rest.epoch) }) as i32
}

/// The slots that came fresh ever when a stored block is outgrown. One in slots goes to the extents soon enough.
///
/// # Safety
/// The caller owns the descriptor.
unsafe fn due_of(stored: &Descriptor) -> usize {
    let share = (stored.len() / 4).div_ceil(ARENA_BYTES);
    // SAFETY: the caller's.
    match unsafe { stored.with_rest(|rest| (rest.carved, rest.fresh)) } {
        (true, _) => usize::MAX,
        (false, fresh) => fresh + share.max(LEAST_FRESH),
    }
}

/// The bytes a stored block has for a user who wants `len`: its own, if these are enough and not more than four
/// times as many; in a slot, which has room for all that live in one, `len`. No mapping has room if there are `slots`.
///
/// # Safety
/// The caller owns the descriptor.
unsafe fn room_for(stored: &Descriptor, len: usize, align: usize, slots: bool) -> Option<usize> {
    if !stored.base().addr().get().is_multiple_of(align) {
        return None;
    }
    // SAFETY: the caller's.
    if unsafe { stored.with_rest(|rest| rest.carved) } && stored.len() <= SLOT_MAX {
        return (len <= SLOT_MAX).then_some(len);
    }
    let most = len.saturating_mul(4).saturating_add(SPARE);
    (!slots && (len..=most).contains(&stored.len())).then(|| stored.len())
}
