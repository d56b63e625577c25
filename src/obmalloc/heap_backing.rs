//! Where a heap's arenas come from: slots of the extents, named as its own.

use super::address_map::{Owner, label_of};
use super::arena::{Arena, ArenaMemory};
use super::engine::Backing;
use super::extents::{Extents, Pair, SlotMemory, at};
use super::geometry::UNUSED;
use super::own_arenas::OwnArenas;
use super::size_class::{ARENA_BYTES, SizeClass};
use super::slots::FENCED;
use crate::sync::Ordering;
use core::ptr::NonNull;

/// A heap's view of the extents: arenas named as its own.
pub struct HeapBacking {
    pub(super) extents: &'static Extents,
    /// Written into each arena (see [`Arena::home`]).
    home: usize,
    /// Whether its blocks may enter thread lists.
    shared: bool,
    /// Now, in purge epochs; stamps the arenas it gives back.
    pub epoch: u32,
    /// Whether it obtains an arena only when permitted, once each.
    pub holds_back: bool,
    /// Whether it may obtain the next one all the same.
    pub is_permitted: bool,
    /// Frees the locks that the calling thread holds, and forgets its lists: before the process ends with what was
    /// found wrong under the heap's lock, since what the program runs for SIGABRT may allocate.
    pub let_go: fn(),
    /// Arenas it has, and the most it had.
    arenas: u32,
    arenas_high: u32,
    /// What it knows without a look of those with small pools; nothing, unless it is shared.
    own: OwnArenas,
}

impl HeapBacking {
    /// A view for the heap at `home`; `shared` when its blocks may enter thread lists.
    pub const fn new(extents: &'static Extents, home: usize, shared: bool) -> Self {
        Self {
            extents,
            home,
            shared,
            epoch: 0,
            holds_back: false,
            is_permitted: false,
            let_go: || (),
            arenas: 0,
            arenas_high: 0,
            own: OwnArenas::NONE,
        }
    }

    /// The number written into its arenas.
    #[inline]
    pub fn home(&self) -> usize {
        self.home
    }

    /// Whether `addr` lies in an arena with small pools that is known to be the heap's; if not, it may be so all the same.
    #[inline(always)]
    pub fn knows(&self, addr: usize) -> bool {
        self.own.has(addr)
    }

    /// Whether the heap was ever large: what huge pages may waste is little beside that.
    fn is_large(&self) -> bool {
        self.shared && self.arenas_high as usize * ARENA_BYTES >= self.extents.large()
    }
}

impl Backing for HeapBacking {
    fn obtain(&mut self) -> Option<ArenaMemory> {
        if self.holds_back && !self.is_permitted {
            return None;
        }
        let pair = Pair {
            epoch: self.epoch,
            is_large: self.is_large(),
        };
        let SlotMemory { base, zeroed, huge } = self.extents.obtain(self.shared.then_some(pair))?;
        // Used up by this one; a refusal of the system uses up nothing.
        self.is_permitted = false;
        self.arenas += 1;
        self.arenas_high = self.arenas_high.max(self.arenas);
        // A fence would split a huge page, which a dirty slot may be part of, too.
        let may_be_huge = huge || self.extents.wants_huge_pages(pair.is_large);
        // SAFETY: an arena's pools begin behind its first 16 KiB.
        let fenced = !may_be_huge && unsafe { self.extents.kernel.build_fence(base) };
        let owner = if self.shared {
            Owner::Arena
        } else {
            Owner::PrivateArena
        };
        let slot = self.extents.slot(base.addr().get());
        slot.set_owner(owner);
        // Relaxed: the arena's heap reads it again, before anybody else writes it.
        slot.note
            .store(if fenced { FENCED } else { 0 }, Ordering::Relaxed);
        Some(ArenaMemory {
            base,
            // SAFETY: inside the arena's header slot, at a multiple of its alignment.
            descriptor: unsafe { base.add(UNUSED) }.cast(),
            home: self.home,
            zeroed,
        })
    }

    unsafe fn release(&mut self, arena: NonNull<Arena>) {
        self.arenas -= 1;
        // SAFETY: ours until it is released below.
        let addr = unsafe { arena.as_ref() }.base().addr().get();
        let slot = self.extents.slot(addr);
        slot.set_owner(Owner::Nobody);
        self.own.remove(addr);
        // SAFETY: it has a fence; no block is live, by the caller's word.
        unsafe {
            let fenced = slot.note.swap(0, Ordering::Relaxed) == FENCED;
            if fenced && !self.extents.kernel.remove_fence(at(addr)) {
                // The kernel promises no memory for a page: what it has of ours makes room for others.
                self.extents.give_up(at(addr), ARENA_BYTES);
                return;
            }
        }
        // SAFETY: still ours until it is in the queue. One more for the page of headers.
        let n_pools = unsafe { arena.as_ref() }.dirty().count_ones() as usize + 1;
        self.extents.release(addr, self.epoch, n_pools);
    }

    fn took_pools(&mut self, n_fresh: usize) {
        self.extents.note_fresh(n_fresh);
    }

    fn label(&mut self, first: NonNull<u8>, span: usize, class: Option<SizeClass>) {
        // The blocks of a heap that is not shared enter no list: nobody asks for their labels, and no flush for its arenas.
        if !self.shared {
            return;
        }
        let addr = first.addr().get();
        match class {
            Some(class) if class.is_small() => self.own.add(addr),
            // Its arena is one of runs, perhaps by now.
            Some(_) => self.own.remove(addr),
            None => {}
        }
        self.extents
            .map()
            .set_labels(first, span, class.map_or(0, label_of));
    }
}
