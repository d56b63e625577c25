//! Blocks above 256 KiB, or aligned beyond a pool: up to 1 MiB an arena slot, above a mapping of their own.
//!
//! ```text
//! | 1 MiB slot: block …                 | … block ends | whatever the kernel puts there |
//!   ^ map slot -> descriptor { base, len }
//! ```
//!
//! A block begins at a multiple of 1 MiB, so no slot has two owners and the first slot alone names it.
//!
//! | state | mapping | its slot | descriptor |
//! |---|---|---|---|
//! | live | `len` bytes, to the end of a huge page if it is one (`huge_pages.rs`) | names it | the user's |
//! | kept | the same | names it | in a thread's place (`kept.rs`) |
//! | stored | kept, with its memory, for the next block it has room for | names it | in the store |
//! | gone | unmapped | says so | on the free list |
//!
//! Invariants:
//! * I1 whoever claims a live descriptor owns the block: of two racing frees one loses
//!   and is reported.
//! * I2 the store is bounded in mappings and in bytes (`huge_store.rs`).
//! * I3 no system call is made under the lock, but the one that gets pages for descriptors.

use super::address_map::{Owner, Slot};
use super::descriptor::Descriptor;
use super::extents::Extents;
use super::huge_pages::Form;
pub use super::huge_store::HugeCounts;
use super::huge_store::State;
use super::kept::Kept;
use super::size_class::{ARENA_BYTES, MEDIUM_MAX, POOL_BYTES};
use crate::os::{self, Lock};
use crate::sync::{AtomicUsize, Ordering, SharedCell, const_unless_loom};
use core::ptr::NonNull;

/// Mappings above which blocks are carved from extents instead: a quarter of the kernel's usual limit.
const MANY_MAPPINGS: usize = 16_384;
/// Largest block that lives in one arena slot. Models have mappings of whole slots, too.
pub(super) const SLOT_MAX: usize = if cfg!(loom) {
    ARENA_BYTES - POOL_BYTES
} else {
    ARENA_BYTES
};

#[path = "huge_resize.rs"]
mod resize;
#[path = "huge_kept.rs"]
mod with_kept;

/// Memory for a block.
struct Memory {
    base: NonNull<u8>,
    len: usize,
    /// Whether it is arena slots instead of a mapping.
    carved: bool,
    zeroed: bool,
}

/// The process's huge blocks.
pub struct Huge {
    extents: &'static Extents,
    lock: Lock,
    state: SharedCell<State>,
    stored_pools: AtomicUsize,
    /// A copy of [`State::due`].
    due: AtomicUsize,
    kept: Kept,
}

impl Huge {
    const_unless_loom! {
        /// No blocks.
        pub fn new(extents: &'static Extents) -> Self {
            Self {
                extents,
                lock: Lock::new(),
                state: SharedCell::new(State::EMPTY),
                stored_pools: AtomicUsize::new(0),
                due: AtomicUsize::new(usize::MAX),
                kept: Kept::new(),
            }
        }
    }

    /// The lock: for fork.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let _locked = self.lock.lock();
        // SAFETY: the lock is held.
        unsafe { self.state.with_mut(f) }
    }

    /// Counts for reports.
    pub fn counts(&self) -> HugeCounts {
        self.with(|state| self.counts_of(state))
    }

    /// Calls `f` with the counts, while they stay as they are.
    pub fn with_counts<R>(&self, f: impl FnOnce(HugeCounts) -> R) -> R {
        self.with(|state| f(self.counts_of(state)))
    }

    /// Pools' worth of memory in stored mappings.
    pub fn stored_pools(&self) -> usize {
        // Relaxed: a figure to decide by, exact in the long run.
        self.stored_pools.load(Ordering::Relaxed)
    }

    /// Whether so many slots came fresh from the system that a stored mapping is perhaps outgrown.
    #[inline]
    pub fn may_be_outgrown(&self) -> bool {
        // Relaxed: as above.
        self.due.load(Ordering::Relaxed) <= self.extents.fresh_slots()
    }

    /// Runs `f` under the lock and keeps the figures read without it.
    fn with_store<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        self.with(|state| {
            let result = f(state);
            self.stored_pools
                .store(state.counts.stored_bytes / POOL_BYTES, Ordering::Relaxed);
            self.due.store(state.due, Ordering::Relaxed);
            result
        })
    }

    /// A block of at least `size` bytes at a multiple of `align`. True with it when it reads as zero. A caller who has it
    /// `zeroed` gets none with the pages of a shorter block, which would have to be cleared.
    pub fn alloc(&self, size: usize, align: usize, zeroed: bool) -> Option<(NonNull<u8>, bool)> {
        let len = size.max(1).checked_next_multiple_of(os::page_size())?;
        if len > isize::MAX as usize {
            return None;
        }
        // What lies free in slots serves what fits into one, and the mappings what does not.
        let slots = len <= SLOT_MAX && align <= ARENA_BYTES && self.extents.dirty_pools() > 0;
        let stored = self.with_store(|state| {
            let (stored, len) = state.take_stored(len, align, slots)?;
            state.count_in(len);
            Some((stored, len))
        });
        if let Some((stored, len)) = stored {
            // SAFETY: descriptors stay mapped for ever; out of the store, so ours until it is live.
            let this = unsafe { stored.as_ref() };
            let base = this.base();
            this.set_live(base, len);
            return Some((base, false));
        }
        if !zeroed && let Some(base) = self.grow_stored(len, align) {
            return Some((base, false));
        }
        let descriptor = self.with(State::descriptor)?;
        let Some(Memory {
            base,
            len,
            carved,
            zeroed,
        }) = self.memory(len, align, zeroed)
        else {
            self.with(|state| state.give_descriptor(descriptor));
            return None;
        };
        // SAFETY: off the free list, so made, and nobody else's.
        let this = unsafe { descriptor.as_ref() };
        // SAFETY: as above.
        unsafe { this.with_rest(|rest| rest.carved = carved) };
        self.slot(base)
            .set_owner(Owner::Huge(descriptor.as_ptr().expose_provenance()));
        self.with(|state| state.count_in(len));
        this.set_live(base, len);
        Some((base, zeroed))
    }

    /// A block made of a shorter stored one: its pages stay or move, and only what it lacks is fresh.
    fn grow_stored(&self, len: usize, align: usize) -> Option<NonNull<u8>> {
        if len <= SLOT_MAX || align > ARENA_BYTES {
            return None;
        }
        let stored = self.with_store(|state| state.take_shorter(len))?;
        // SAFETY: descriptors stay mapped for ever; out of the store, so ours, and its memory unused.
        unsafe {
            let this = stored.as_ref();
            if let Some((base, len)) = self.resize_claimed(stored, len, align) {
                self.with(|state| state.count_in(len));
                this.set_live(base, len);
                return Some(base);
            }
            self.give_back(stored);
        }
        None
    }

    fn slot(&self, base: NonNull<u8>) -> &'static Slot {
        self.extents
            .map()
            .slot(base.addr().get())
            .expect("covered when it was mapped")
    }

    /// New memory. Up to 1 MiB it is an arena slot, which costs no system call when one lies free; above
    /// it is a mapping of its own, unless there are too many already.
    fn memory(&self, len: usize, align: usize, zeroed: bool) -> Option<Memory> {
        if len <= SLOT_MAX && align <= ARENA_BYTES {
            let (base, zeroed) = self.extents.obtain_slot()?;
            return Some(Memory {
                base,
                len,
                carved: true,
                zeroed,
            });
        }
        let form = if zeroed {
            Form::plain(len, align)
        } else {
            Form::new(self.extents, len, align, 0)
        };
        let few = self.with(|state| state.counts.blocks) < MANY_MAPPINGS;
        if few
            && self.extents.has_room(form.len)
            && let Some(base) = os::map(form.len, form.align)
        {
            if self.extents.cover(base, 1) {
                // SAFETY: mapped just now.
                unsafe { form.ask(base) };
                self.extents.note_mapped(form.len);
                return Some(Memory {
                    base,
                    len: form.len,
                    carved: false,
                    zeroed: true,
                });
            }
            // SAFETY: mapped just now, known to nobody.
            unsafe { os::unmap(base, form.len) };
        }
        if align > ARENA_BYTES {
            return None;
        }
        let n_slots = len.div_ceil(ARENA_BYTES);
        let base = self.extents.carve_many(n_slots)?;
        Some(Memory {
            base,
            len: n_slots * ARENA_BYTES,
            carved: true,
            zeroed: true,
        })
    }

    /// The descriptor of the live block that begins at `p`.
    fn find(&self, p: NonNull<u8>) -> Option<NonNull<Descriptor>> {
        let Owner::Huge(addr) = self.extents.map().owner(p.addr().get()) else {
            return None;
        };
        let descriptor = NonNull::new(core::ptr::with_exposed_provenance_mut::<Descriptor>(addr))?;
        // SAFETY: descriptors stay mapped for ever; a stale one is compared, not followed.
        let this = unsafe { descriptor.as_ref() };
        this.is_live_at(p.addr().get()).then_some(descriptor)
    }

    /// Bytes the block at `p` holds; `None` when no live block begins there.
    pub fn usable_bytes(&self, p: NonNull<u8>) -> Option<usize> {
        // SAFETY: as `find`.
        self.find(p)
            .map(|descriptor| unsafe { descriptor.as_ref() }.len())
    }

    /// Makes a huge block's memory read as zero, as `Kernel::zero` does. False when it is
    /// no huge one, or that cannot be done: then it reads as anything.
    ///
    /// # Safety
    /// `p` is a block of at least `size` bytes that nobody uses yet.
    pub unsafe fn clear(&self, p: NonNull<u8>, size: usize) -> bool {
        let len = size.next_multiple_of(os::page_size());
        // SAFETY: larger than any class, so whole pages of a slot or a mapping; unused.
        size > MEDIUM_MAX && unsafe { self.extents.kernel.zero(p, len) }
    }

    /// What is known of the block of `descriptor`, live or stored: base, bytes, whether live.
    pub fn describe(&self, descriptor: usize) -> (usize, usize, bool) {
        // SAFETY: descriptors stay mapped for ever; a stale one gives figures for a report.
        let this = unsafe { &*core::ptr::with_exposed_provenance::<Descriptor>(descriptor) };
        let (base, is_live) = this.place();
        (base, this.len(), is_live)
    }

    /// Frees the block at `p`; false when no live block begins there.
    ///
    /// # Safety
    /// If a live block begins at `p`, it is not used any more.
    pub unsafe fn free(&self, p: NonNull<u8>) -> bool {
        let Some(descriptor) = self.claim(p) else {
            return false;
        };
        // SAFETY: claimed, so ours.
        unsafe { self.put_away(descriptor) };
        true
    }

    /// Stores a block that counts as live.
    ///
    /// # Safety
    /// The caller owns the descriptor, which is not live.
    unsafe fn put_away(&self, descriptor: NonNull<Descriptor>) {
        // SAFETY: descriptors stay mapped for ever.
        let len = unsafe { descriptor.as_ref() }.len();
        let out = self.with_store(|state| {
            state.count_out(len);
            state.store(descriptor, self.extents.fresh_slots())
        });
        if let Some(out) = out {
            // SAFETY: neither live nor stored.
            unsafe { self.give_back(out) };
        }
    }

    /// As [`Self::free`], when the kernel refuses to make pages of the block accessible again: nobody gets them any
    /// more, but their memory is not lost.
    ///
    /// # Safety
    /// As [`Self::free`].
    pub unsafe fn give_up(&self, p: NonNull<u8>) -> bool {
        let Some(descriptor) = self.claim(p) else {
            return false;
        };
        // SAFETY: descriptors stay mapped for ever; this one was claimed just now.
        unsafe {
            let this = descriptor.as_ref();
            let mut len = this.len();
            self.with(|state| state.count_out(len));
            if this.with_rest(|rest| rest.carved) {
                len = len.next_multiple_of(ARENA_BYTES);
            }
            self.slot(p).set_owner(Owner::Gone(len));
            self.extents.give_up(p, len);
        }
        self.with(|state| state.give_descriptor(descriptor));
        true
    }

    /// Takes the live block that begins at `p` from whoever else frees it now; `None` when there is none.
    fn claim(&self, p: NonNull<u8>) -> Option<NonNull<Descriptor>> {
        let descriptor = self.find(p)?;
        // SAFETY: descriptors stay mapped for ever.
        let this = unsafe { descriptor.as_ref() };
        this.claim(p.addr().get()).then_some(descriptor)
    }

    /// # Safety
    /// The descriptor is neither live nor stored.
    unsafe fn give_back(&self, descriptor: NonNull<Descriptor>) {
        // SAFETY: ours by the caller's word, and its memory unused.
        unsafe {
            let this = descriptor.as_ref();
            let (base, len) = (this.base(), this.len());
            // The name goes before the memory: the kernel may give the address to others at once.
            let carved = this.with_rest(|rest| rest.carved);
            let freed = if carved {
                Owner::Freed(len)
            } else {
                Owner::Gone(len)
            };
            self.slot(base).set_owner(freed);
            if carved && len <= SLOT_MAX {
                let epoch = self.with(|state| state.epoch);
                self.extents
                    .release(base.addr().get(), epoch, len.div_ceil(POOL_BYTES));
            } else if carved {
                let zeroed = self.extents.kernel.purge(base, len);
                for offset in (0..len).step_by(ARENA_BYTES) {
                    self.extents.put_clean(base.addr().get() + offset, zeroed);
                }
            } else {
                self.extents.give_up(base, len);
            }
        }
        self.with(|state| state.give_descriptor(descriptor));
    }

    /// Gives back blocks stored at or before epoch `until`, oldest first, until `n_pools` pools' worth of mappings
    /// are done or none is left: mappings to the system, slots to the extents. Returns the number of pools' worth
    /// unmapped.
    pub fn purge(&self, until: u32, n_pools: u64) -> u64 {
        let mut done = 0;
        while done < n_pools {
            let Some(stored) = self.with_store(|state| state.oldest(until)) else {
                break;
            };
            // SAFETY: neither live nor stored any more, so ours.
            unsafe {
                let this = stored.as_ref();
                if !this.with_rest(|rest| rest.carved) {
                    done += (this.len() / POOL_BYTES) as u64;
                }
                self.give_back(stored);
            }
        }
        done
    }

    /// Gives back a stored mapping that is outgrown, if there is one. Returns its pools' worth.
    pub fn purge_outgrown(&self) -> u64 {
        let fresh = self.extents.fresh_slots();
        let Some(stored) = self.with_store(|state| state.outgrown(fresh)) else {
            return 0;
        };
        // SAFETY: neither live nor stored any more, so ours.
        unsafe {
            let n_pools = stored.as_ref().len() / POOL_BYTES;
            self.give_back(stored);
            n_pools as u64
        }
    }

    /// Sets the epoch that stamps stored mappings.
    pub fn set_epoch(&self, epoch: u32) {
        self.with(|state| state.epoch = epoch);
    }
}
