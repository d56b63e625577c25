//! A heap: one engine behind a gate, shared by the threads that are assigned to it.
//!
//! ```text
//! thread list --flush--> own blocks: engine, under the lock
//!                        others':    one chain per heap --deliver--> that heap's inbox
//! thread list <--refill-- engine, under the lock
//! ```
//!
//! Every block is verified on its way home: its pool must serve the class it comes as, it must begin
//! where a block begins, and its pool must have a block out. What fails is corruption: one line, abort.
//! The header of a pool is looked at under its own heap's lock only; what the deliverer checks is the label.
//! What is found wrong there changed nothing yet, and the lock is free again when the process ends.

use super::address_map::{AddressMap, Owner, class_of, label_of};
use super::arena::Arena;
use super::block::Block;
use super::engine::Engine;
use super::flush;
use super::free_bits::Shuffle;
use super::geometry::{Geometry, Production, UNUSED};
use super::heap_backing::HeapBacking;
use super::heap_errors::wrong_pool;
pub use super::heap_errors::{
    Wrong, class_around, double_free, freed_class, interior, not_a_block, not_out,
};
use super::inbox::{Gate, Receive};
use super::list::Entry;
use super::pool::Pool;
use super::size_class::{ARENA_BYTES, POOL_BYTES, SizeClass};
use crate::sync::const_unless_loom;
use core::ptr::NonNull;

/// What a heap's lock guards.
pub struct HeapState {
    /// obmalloc, production geometry.
    pub engine: Engine<Production, HeapBacking>,
    pub(super) map: &'static AddressMap,
}

impl HeapState {
    /// Purges up to `n_pools` free pools that came free at or before epoch `until`.
    pub fn purge(&mut self, until: u32, n_pools: u64, page: usize) -> u64 {
        let kernel = &self.engine.backing().extents.kernel;
        // SAFETY: the geometry is production's; the pools named are free.
        unsafe {
            self.engine
                .dirty()
                .purge(until, n_pools, page, |start, len| kernel.purge(start, len))
        }
    }

    /// Ends the process with what is wrong. The thread holds this heap's lock, and nothing was changed under it.
    #[cold]
    #[inline(never)]
    pub(super) fn ends_with(&self, wrong: Wrong) -> ! {
        wrong.fatal(self.engine.backing().let_go)
    }

    /// Checks that `block` lies in a pool of `class`.
    #[inline(always)]
    pub(super) fn verify_pool(&self, block: Block, class: SizeClass) {
        if self.map.lookup(block.addr()) != Some(label_of(class)) {
            self.ends_with(wrong_pool(self.map, block, class));
        }
    }

    /// Sets the epoch that stamps what comes free.
    pub fn set_epoch(&mut self, epoch: u32) {
        self.engine.dirty().epoch = epoch;
        self.engine.backing_mut().epoch = epoch;
    }
}

impl Receive for HeapState {
    fn verify(&self, carrier: NonNull<u8>) {
        if class_of(self.map.label(carrier.addr().get())).is_none() {
            self.ends_with(Wrong::NoBlock(carrier));
        }
    }

    unsafe fn receive(&mut self, blocks: &[Entry]) {
        let mut rest = blocks;
        while let Some(Some(block)) = rest.first().copied() {
            let Some(class) = class_of(self.map.label(block.addr())) else {
                self.ends_with(Wrong::NoBlock(block.start()))
            };
            // SAFETY: labelled, so in a pool of `class` of an arena, and this heap's once that is verified.
            unsafe {
                // Its carrier lay in free memory.
                if home_of(block) != self.engine.backing().home() {
                    self.ends_with(Wrong::NoBlock(block.start()));
                }
                let pool = Production::pool_of(block.start(), class);
                let n = self.engine.put(pool, class, rest);
                if n == 0 {
                    self.ends_with(not_out(pool, block, class));
                }
                self.engine.count_freed(class, n as u32);
                rest = &rest[n..];
            }
        }
    }
}

/// A heap that threads share.
pub struct Heap {
    gate: Gate<HeapState>,
    /// The order its blocks are taken in, if not by address; then they come and go one by one. Never changes.
    shuffle: Option<Shuffle>,
}

/// How things stand after a flush.
#[derive(Clone, Copy, Debug)]
pub struct Freed {
    /// How many of the blocks were the heap's own.
    pub n_own: usize,
    /// Free pools that hold memory, in the heap and in others that got some of the blocks.
    pub dirty_pools: u64,
    /// Bytes of the heap's blocks that are out, those in lists among them.
    pub live_bytes: u64,
}

impl Heap {
    const_unless_loom! {
        /// A heap without memory.
        pub fn new(backing: HeapBacking, map: &'static AddressMap) -> Self {
            Self {
                gate: Gate::new(HeapState {
                    engine: Engine::new(backing),
                    map,
                }),
                shuffle: None,
            }
        }
    }

    /// The same heap, before anybody uses it: its blocks are taken in an order nobody can guess.
    pub fn shuffle(&mut self, secret: usize) {
        self.shuffle = Some(Shuffle::new(secret as u64));
    }

    /// Its lock and what it guards.
    #[inline]
    pub fn gate(&self) -> &Gate<HeapState> {
        &self.gate
    }

    /// The number written into its arenas.
    #[inline]
    pub fn home(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Frees blocks of `class`, wherever they came from. What stands in their places afterwards is undefined.
    ///
    /// # Safety
    /// Each entry is a free block of `class` of some heap, or corruption to be reported.
    pub unsafe fn free_many(&self, class: SizeClass, blocks: &mut [Entry]) -> Freed {
        let (mut freed, n_others) = self.gate.enter(|state| {
            // SAFETY: the caller's.
            let sorted = unsafe { flush::sort_out(state, class, blocks) };
            let freed = Freed {
                n_own: sorted.n_own,
                dirty_pools: state.engine.dirty().pools(),
                live_bytes: state.engine.counters().block_bytes,
            };
            (freed, sorted.n_others)
        });
        if n_others > 0 {
            // SAFETY: verified by `sort_out`.
            freed.dirty_pools += unsafe { flush::send_home(class, &mut blocks[..n_others]) };
        }
        freed
    }

    /// Whether a block is another heap's.
    ///
    /// # Safety
    /// It is a free block of `class` of some heap, or corruption to be reported.
    pub unsafe fn is_from_elsewhere(
        &self,
        map: &AddressMap,
        block: Block,
        class: SizeClass,
    ) -> bool {
        // SAFETY: labelled, so in an arena.
        map.lookup(block.addr()) == Some(label_of(class))
            && unsafe { home_of(block) } != self.home()
    }

    /// Frees one block, wherever it came from.
    ///
    /// # Safety
    /// As [`Self::free_many`].
    pub unsafe fn free_one(&self, class: SizeClass, block: Block) -> Freed {
        // SAFETY: the caller's.
        unsafe {
            match self.shuffle {
                None => self.free_many(class, &mut [Some(block)]),
                Some(_) => self.free_at_home(class, block),
            }
        }
    }

    /// Frees a block into its heap, whose lock it waits for: an inbox would have it lie about with a link.
    ///
    /// # Safety
    /// As [`Self::free_many`].
    #[cold]
    #[inline(never)]
    unsafe fn free_at_home(&self, class: SizeClass, block: Block) -> Freed {
        self.gate.enter(|state| state.verify_pool(block, class));
        // SAFETY: labelled, so in an arena; arenas name heaps, which live for ever.
        let home = unsafe { &*core::ptr::with_exposed_provenance::<Heap>(home_of(block)) };
        home.gate.enter(|state| {
            // SAFETY: free by the caller's word, and this heap's.
            unsafe {
                if !state.engine.free(block, class) {
                    let pool = Production::pool_of(block.start(), class);
                    state.ends_with(not_out(pool, block, class));
                }
            }
            Freed {
                n_own: usize::from(home.home() == self.home()),
                dirty_pools: state.engine.dirty().pools(),
                live_bytes: state.engine.counters().block_bytes,
            }
        })
    }

    /// Fills `places` with blocks of `class`, the last place with the one to be used first. Returns their
    /// number; the filled places are the first ones.
    pub fn alloc_many(&self, class: SizeClass, places: &mut [Entry]) -> usize {
        let n = self
            .gate
            .enter(|state| state.engine.alloc_many(class, places));
        if n < places.len() {
            places.copy_within(places.len() - n.., 0);
        }
        n
    }

    /// Takes one block, past the thread's list. True with it when it reads as zero.
    pub fn alloc_one(&self, class: SizeClass) -> Option<(Block, bool)> {
        self.gate.enter(|state| match self.shuffle {
            None => state.engine.alloc(class),
            Some(shuffle) => state.engine.alloc_shuffled(class, shuffle),
        })
    }
}

/// The heap named by a block's arena.
///
/// # Safety
/// `block` is a block of some arena, not yet back in its engine.
#[inline]
pub unsafe fn home_of(block: Block) -> usize {
    // SAFETY: while a block is out, its arena is mapped and its home constant.
    unsafe { arena_of(block.start()).as_ref().home() }
}

/// The arena descriptor of an address in an arena of ours.
#[inline]
pub fn arena_of(p: NonNull<u8>) -> NonNull<Arena> {
    let addr = p.addr().get() & !(ARENA_BYTES - 1);
    // SAFETY: callers pass addresses inside arenas, which are not at 0.
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr + UNUSED)) }
}

/// Checks that `block` lies in a pool of `class` of the first-class heap whose arenas name `home`.
///
/// # Safety
/// None beyond reading the map and, if the map says so, the block's arena.
pub unsafe fn verify_in(
    map: &AddressMap,
    block: Block,
    class: SizeClass,
    home: usize,
) -> NonNull<Pool> {
    if map.owner(block.addr()) != Owner::PrivateArena || block.addr() % ARENA_BYTES < POOL_BYTES {
        not_a_block(block.start());
    }
    // SAFETY: in an arena.
    if unsafe { home_of(block) } != home {
        not_a_block(block.start());
    }
    // SAFETY: in an arena, and not in its header slot.
    unsafe {
        let pool = Production::pool_of(block.start(), class);
        if pool.as_ref().class() != Some(class) {
            not_a_block(block.start());
        }
        pool
    }
}

#[cfg(not(loom))]
#[cfg(test)]
#[path = "heap_tests.rs"]
mod tests;
