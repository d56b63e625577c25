//! The engine that ships, behind the replay's view of an allocator.
//!
//! Arena number k lies at an excess over a multiple of 2 MiB that the recording prescribes; raw blocks
//! come from the test's own allocator.

use crate::support::pymt::ExcessRule;
use crate::support::subject::{ArenaEvent, ClassStatistics, Statistics, Subject};
use pymalloc::obmalloc::cpython::{Arenas, Obmalloc, Raw};
use pymalloc::obmalloc::report::MapNodes;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;

/// The engine, new and empty.
pub struct Shipped(Obmalloc<Reservations, Blocks>);

impl Shipped {
    pub fn new(excess_rule: ExcessRule) -> Self {
        let arenas = Reservations {
            excess_rule,
            next: 0,
            refuse: false,
            live: BTreeMap::new(),
            events: Vec::new(),
        };
        Self(Obmalloc::new(arenas, Blocks(HashMap::new())))
    }
}

/// Bytes reserved for one arena, and the multiple they start at.
const RESERVED: usize = 2 << 20;
const ARENA: usize = 1 << 20;

/// Arenas at the recording's places.
struct Reservations {
    excess_rule: ExcessRule,
    next: u32,
    refuse: bool,
    /// Base of each mapped arena and its ordinal.
    live: BTreeMap<usize, u32>,
    events: Vec<ArenaEvent>,
}

fn reservation() -> Layout {
    Layout::from_size_align(RESERVED, RESERVED).expect("a valid layout")
}

impl Arenas for Reservations {
    fn alloc(&mut self) -> Option<NonNull<u8>> {
        if self.refuse {
            return None;
        }
        let ordinal = self.next;
        let excess = self.excess_rule.excess(ordinal);
        // SAFETY: the layout is not empty; the excess leaves an arena inside the reservation.
        let base = unsafe { NonNull::new(alloc(reservation()))?.add(excess as usize) };
        self.next += 1;
        self.live.insert(base.addr().get(), ordinal);
        self.events.push(ArenaEvent::Obtained { ordinal, excess });
        Some(base)
    }

    fn free(&mut self, base: NonNull<u8>) {
        let ordinal = self
            .live
            .remove(&base.addr().get())
            .expect("an arena that is mapped");
        self.events.push(ArenaEvent::Released { ordinal });
        let excess = base.addr().get() % RESERVED;
        // SAFETY: made by `alloc` above.
        unsafe { dealloc(base.sub(excess).as_ptr(), reservation()) }
    }
}

/// Raw blocks and their sizes.
struct Blocks(HashMap<usize, usize>);

impl Blocks {
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size.max(1), 16).expect("a valid layout")
    }

    fn note(&mut self, block: *mut u8, size: usize) -> Option<NonNull<u8>> {
        let block = NonNull::new(block)?;
        self.0.insert(block.addr().get(), size);
        Some(block)
    }
}

impl Raw for Blocks {
    fn malloc(&mut self, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: never empty.
        self.note(unsafe { alloc(Self::layout(size)) }, size)
    }

    fn calloc(&mut self, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: never empty.
        self.note(unsafe { alloc_zeroed(Self::layout(size)) }, size)
    }

    unsafe fn realloc(&mut self, old: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
        let old_size = self.0.remove(&old.addr().get()).expect("a live raw block");
        // SAFETY: allocated with this layout.
        let new = unsafe { realloc(old.as_ptr(), Self::layout(old_size), size.max(1)) };
        self.note(new, size)
    }

    unsafe fn free(&mut self, block: NonNull<u8>) {
        let size = self
            .0
            .remove(&block.addr().get())
            .expect("a live raw block");
        // SAFETY: allocated with this layout.
        unsafe { dealloc(block.as_ptr(), Self::layout(size)) }
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        let arenas = self.0.arenas();
        for base in std::mem::take(&mut arenas.live).into_keys() {
            let base = base - base % RESERVED;
            // SAFETY: made by `Reservations::alloc`; the engine is not used again.
            unsafe { dealloc(std::ptr::with_exposed_provenance_mut(base), reservation()) }
        }
    }
}

fn address(block: Option<NonNull<u8>>) -> usize {
    block.map_or(0, |block| block.as_ptr().expose_provenance())
}

fn pointer(addr: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(addr)).expect("a block's address")
}

impl Subject for Shipped {
    fn malloc(&mut self, size: usize) -> usize {
        address(self.0.malloc(size))
    }

    fn calloc(&mut self, total: usize) -> usize {
        let block = self.0.calloc(total);
        if let Some(block) = block {
            // SAFETY: a block of `total` bytes, initialised by calloc.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), total) };
            assert!(
                bytes.iter().all(|byte| *byte == 0),
                "calloc({total}) is not zero"
            );
        }
        address(block)
    }

    fn realloc(&mut self, old: usize, size: usize) -> usize {
        if old == 0 {
            return self.malloc(size);
        }
        // SAFETY: a live block by the trait's contract.
        address(unsafe { self.0.realloc(pointer(old), size) })
    }

    fn free(&mut self, addr: usize) {
        // SAFETY: a live block by the trait's contract.
        unsafe { self.0.free(pointer(addr)) }
    }

    fn locate(&self, addr: usize) -> Option<(u32, u32)> {
        self.0.class_of(pointer(addr))?;
        let (base, ordinal) = self.0.arenas_ref().live.range(..=addr).next_back()?;
        let offset = addr - base;
        assert!(offset < ARENA, "a pooled block lies in an arena");
        Some((*ordinal, (offset / 16) as u32))
    }

    fn take_events(&mut self) -> Vec<ArenaEvent> {
        std::mem::take(&mut self.0.arenas().events)
    }

    fn refuse_arenas(&mut self, refuse: bool) {
        self.0.arenas().refuse = refuse;
    }

    fn statistics(&self) -> Statistics {
        let found = self.0.statistics();
        let counters = &found.counters;
        Statistics {
            classes: std::array::from_fn(|class| ClassStatistics {
                pools: found.classes[class].pools,
                blocks_in_use: found.classes[class].in_use,
                available_blocks: found.classes[class].available,
            }),
            arenas_total: counters.arenas_total,
            arenas_reclaimed: counters.arenas_total - counters.arenas_now,
            arenas_highwater: counters.arenas_high,
            arenas_current: counters.arenas_now,
            allocated_bytes: found.allocated_bytes(),
            available_bytes: found.available_bytes(),
            unused_pools: found.unused_pools,
            pool_header_bytes: found.pool_header_bytes(),
            quantization_bytes: found.quantization_bytes(),
            arena_alignment_bytes: found.arena_alignment_bytes(),
            total_bytes: found.total_bytes(),
            allocated_blocks: found.allocated_blocks(),
        }
    }

    fn report(&self, mid_nodes: u64, bot_nodes: u64) -> String {
        let mut statistics = self.0.statistics();
        statistics.map = MapNodes::cpython(mid_nodes, bot_nodes);
        let mut text = String::new();
        statistics
            .write(&mut text)
            .expect("a string takes everything");
        text
    }
}
