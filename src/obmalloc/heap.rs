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

use super::address_map::{AddressMap, Owner, class_of, label_of};
use super::arena::Arena;
use super::block::{Block, Chain, for_each_linked};
use super::engine::Engine;
use super::extents::HeapBacking;
use super::geometry::{Geometry, Production};
use super::inbox::{Gate, Receive};
use super::size_class::{ARENA_BYTES, POOL_BYTES, SizeClass};
use super::thread_lists::List;
use crate::os;
use crate::sync::const_unless_loom;
use core::ptr::NonNull;

/// What a heap's lock guards.
pub struct HeapState {
    /// obmalloc, production geometry.
    pub engine: Engine<Production, HeapBacking>,
    map: &'static AddressMap,
}

impl HeapState {
    /// Pools taken since the last call whose memory was fresh.
    pub fn take_fresh(&mut self) -> u64 {
        core::mem::take(&mut self.engine.dirty().fresh)
    }

    /// Purges up to `n_pools` free pools that came free at or before epoch `until`.
    pub fn purge(&mut self, until: u32, n_pools: u64, page: usize) -> u64 {
        // SAFETY: the geometry is production's; the pools named are free.
        unsafe {
            self.engine
                .dirty()
                .purge(until, n_pools, page, |start, len| os::purge(start, len))
        }
    }

    /// Sets the epoch that stamps what comes free.
    pub fn set_epoch(&mut self, epoch: u32) {
        self.engine.dirty().epoch = epoch;
        self.engine.backing_mut().epoch = epoch;
    }
}

impl Receive for HeapState {
    unsafe fn receive(&mut self, block: Block) {
        let Some(class) = class_of(self.map.label(block.addr())) else {
            not_a_block(block)
        };
        // SAFETY: verified by the deliverer; the block is this heap's by the caller's word.
        unsafe { self.engine.free(block, class) }
    }
}

/// A heap that threads share.
pub struct Heap {
    gate: Gate<HeapState>,
}

/// Other heaps a flush may meet before it must deliver early.
const PENDING: usize = 4;

impl Heap {
    const_unless_loom! {
        /// A heap without memory.
        pub fn new(backing: HeapBacking, map: &'static AddressMap) -> Self {
            Self {
                gate: Gate::new(HeapState {
                    engine: Engine::new(backing),
                    map,
                }),
            }
        }
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

    /// Frees the `n` blocks of `class` linked from `first` on, wherever they came from. Returns the
    /// number of this heap's free pools that hold memory.
    ///
    /// # Safety
    /// The blocks are free; each is a block of `class` of some heap, or corruption to be reported.
    pub unsafe fn free_many(&self, class: SizeClass, first: Option<Block>, n: u32) -> u64 {
        let mut pending = [(0usize, Chain::EMPTY); PENDING];
        let dirty_pools = self.gate.enter(|state| {
            // SAFETY: linked and free by the caller's word.
            unsafe {
                for_each_linked(first, n, |block| {
                    verify(state.map, block, class);
                    let home = home_of(block);
                    if home == self.home() {
                        state.engine.free(block, class);
                    } else {
                        collect(&mut pending, home, block);
                    }
                });
            }
            state.engine.dirty().pools()
        });
        for (home, chain) in pending {
            // SAFETY: collected from arenas of the heap at `home`.
            unsafe { deliver(home, chain) };
        }
        dirty_pools
    }

    /// Takes up to `want` blocks of `class` into an empty list.
    ///
    /// # Safety
    /// `want` is at most the list's bound, and the list is this thread's and of `class`.
    pub unsafe fn alloc_into(&self, class: SizeClass, want: u32, list: &List) {
        let chain = self
            .gate
            .enter(|state| state.engine.alloc_many(class, want));
        // SAFETY: just taken; empty and long enough by the caller's word.
        unsafe { list.fill(chain) };
    }

    /// Whether `block` waits free in its pool: a walk, for reports only.
    pub fn has_free(&self, block: Block, class: SizeClass) -> bool {
        // SAFETY: under the lock the pool's chain is consistent.
        self.gate.enter(|_| {
            unsafe { Production::pool_of(block.start(), class).as_ref() }.has_free(block)
        })
    }

    /// Takes one block, past the thread's list. True with it when it reads as zero.
    pub fn alloc_one(&self, class: SizeClass) -> Option<(Block, bool)> {
        self.gate.enter(|state| state.engine.alloc(class))
    }
}

/// Adds a block to the chain of its heap.
///
/// # Safety
/// The block is free and belongs to the heap at `home`.
unsafe fn collect(pending: &mut [(usize, Chain); PENDING], home: usize, block: Block) {
    let place = match pending.iter().position(|(h, _)| *h == home || *h == 0) {
        Some(place) => place,
        None => {
            let (home, chain) = pending[0];
            pending[0].1 = Chain::EMPTY;
            // Only tries the other heap's lock, so holding our own cannot deadlock.
            // SAFETY: collected from arenas of the heap at `home`.
            unsafe { deliver(home, chain) };
            0
        }
    };
    pending[place].0 = home;
    // SAFETY: free by the caller's word.
    unsafe { pending[place].1.push_back(block) };
}

/// # Safety
/// The chain's blocks are free and belong to the heap at `home`.
unsafe fn deliver(home: usize, chain: Chain) {
    if chain.is_empty() {
        return;
    }
    // SAFETY: arenas name heaps, which live for ever.
    unsafe {
        let heap = &*core::ptr::with_exposed_provenance::<Heap>(home);
        heap.gate.deliver(chain);
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
    unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) }
}

/// Checks that `block` is a block of `class` that is out.
///
/// # Safety
/// None beyond reading the map and, if the map says so, the block's pool.
#[inline]
pub unsafe fn verify(map: &AddressMap, block: Block, class: SizeClass) {
    if map.label(block.addr()) != label_of(class) {
        not_a_block(block);
    }
    // SAFETY: labelled, so in a pool of `class`.
    let pool = unsafe { Production::pool_of(block.start(), class).as_ref() };
    if pool.live() == 0 {
        double_free(block.start(), class);
    }
    let lead = if class.is_small() {
        0
    } else {
        run_offset(block, class)
    };
    if !starts_a_block(block.addr() % POOL_BYTES + lead, class) {
        interior(block.start(), class);
    }
}

/// As [`verify`], for a block of a first-class heap.
///
/// # Safety
/// None beyond reading the map and, if the map says so, the block's pool.
pub unsafe fn verify_in(map: &AddressMap, block: Block, class: SizeClass) {
    if map.owner(block.addr()) != Owner::PrivateArena || block.addr() % ARENA_BYTES < POOL_BYTES {
        not_a_block(block);
    }
    // SAFETY: in an arena, and not in its header slot.
    let pool = unsafe { Production::pool_of(block.start(), class).as_ref() };
    if pool.class() != Some(class) || pool.live() == 0 {
        not_a_block(block);
    }
}

/// Bytes from the start of a run to the slot `block` lies in.
fn run_offset(block: Block, class: SizeClass) -> usize {
    // SAFETY: labelled, so in a pool of `class`.
    unsafe {
        let pool = Production::pool_of(block.start(), class);
        let start = Production::memory(pool).addr().get();
        (block.addr() & !(POOL_BYTES - 1)) - start
    }
}

/// Per class, 2^40 / block bytes rounded up: makes a division a multiplication.
const RECIPROCALS: [u64; SizeClass::COUNT] = {
    let mut table = [0; SizeClass::COUNT];
    let mut index = 0;
    while index < SizeClass::COUNT {
        table[index] = (1u64 << 40) / SizeClass::new(index).block_bytes() as u64 + 1;
        index += 1;
    }
    table
};

/// Whether a block of `class` begins `offset` bytes into its pool. Exact: the error of the reciprocal
/// is below `offset * block bytes / 2^40 < 1 / block bytes`.
#[inline]
pub fn starts_a_block(offset: usize, class: SizeClass) -> bool {
    let k = (offset as u64 * RECIPROCALS[class.index()]) >> 40;
    k as usize * class.block_bytes() == offset
}

#[cold]
#[inline(never)]
fn not_a_block(block: Block) -> ! {
    os::fatal(format_args!(
        "free of {:p}, which is not a block of this heap",
        block.start()
    ))
}

/// Reports a double free and aborts.
#[cold]
#[inline(never)]
pub fn double_free(p: NonNull<u8>, class: SizeClass) -> ! {
    os::fatal(format_args!(
        "double free of {p:p} (size class {} bytes)",
        class.block_bytes()
    ))
}

/// Reports a pointer into the middle of a block and aborts.
#[cold]
#[inline(never)]
pub fn interior(p: NonNull<u8>, class: SizeClass) -> ! {
    let bytes = class.block_bytes();
    os::fatal(format_args!(
        "free of {p:p}, which points inside a block (size class {bytes} bytes)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reciprocal_agrees_with_division_everywhere() {
        for index in 0..SizeClass::COUNT {
            let class = SizeClass::new(index);
            for offset in (0..class.span() * POOL_BYTES).step_by(16) {
                let exact = offset.is_multiple_of(class.block_bytes());
                assert_eq!(
                    starts_a_block(offset, class),
                    exact,
                    "{offset} in {class:?}"
                );
            }
        }
    }
}
