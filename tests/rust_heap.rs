//! A first-class heap is one value: what is allocated in it goes when it is dropped, all at once.

#[path = "support/child.rs"]
mod child;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/rng.rs"]
mod rng;

use memory::{comes_true, mib, resident};
use pymalloc::{Heap, PyMalloc};
use rng::Rng;
use std::alloc::{Layout, System};
use std::ptr::NonNull;
use std::sync::Barrier;
use std::time::Duration;

// The heaps' memory is all that the allocator under test has.
#[global_allocator]
static GLOBAL: System = System;

const MIB: usize = 1 << 20;

fn alone(test: &str, f: impl FnOnce()) {
    match child::part() {
        None => child::succeeds(test, "alone"),
        Some(_) => {
            child::no_core();
            child::watchdog(50);
            child::panics_end_the_process();
            f();
        }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

/// A block with every page touched.
fn block(heap: &Heap, size: usize) -> NonNull<u8> {
    let p = heap.alloc(layout(size)).unwrap();
    for at in (0..size).step_by(4096).chain([size - 1]) {
        // SAFETY: inside the block.
        unsafe { p.add(at).write(7) };
    }
    p
}

/// Fills a heap with blocks of every tier, or but huge ones, `bytes` in all.
fn fill(heap: &Heap, bytes: usize, with_huge: bool, random: &mut Rng) {
    let mut held = 0;
    while held < bytes {
        let size = match random.below(1000) {
            0 if with_huge => 300_000 + random.below(700_000),
            1..20 => 513 + random.size(60_000),
            _ => 1 + random.below(512),
        };
        block(heap, size);
        held += size;
    }
}

fn drop_frees_all(test: &str, with_huge: bool) {
    alone(test, || {
        let mut random = Rng::new(rng::seed("drop"));
        let before = PyMalloc.stats();
        let base = resident();
        let heap = Heap::new();
        fill(&heap, 128 * MIB, with_huge, &mut random);
        let full = PyMalloc.stats();
        let live = resident() - base;
        assert!(full.mapped_bytes - before.mapped_bytes >= 128 * MIB as u64);
        assert_eq!(full.huge_blocks > before.huge_blocks, with_huge);
        drop(heap);
        let after = PyMalloc.stats();
        let left = resident().saturating_sub(base);
        // The allowance is 5 % of the most that was mapped, which is more than was touched.
        let most = full.mapped_bytes_high as usize / 20 + 2 * MIB;
        assert!(left <= most, "{} of {} left", mib(left), mib(live));
        assert_eq!(after.huge_blocks, before.huge_blocks);
        assert_eq!(after.block_bytes, before.block_bytes);
        let mapped = (after.mapped_bytes - before.mapped_bytes) as usize;
        // A slot counts whole, and a huge block of 300 KB touched a third of it.
        assert!(mapped <= 3 * most, "{} mapped", mib(mapped));
    });
}

#[test]
fn a_drop_frees_all_at_once() {
    drop_frees_all("a_drop_frees_all_at_once", false);
}

#[test]
fn a_drop_frees_all_at_once_and_huge_blocks_too() {
    drop_frees_all("a_drop_frees_all_at_once_and_huge_blocks_too", true);
}

#[test]
fn a_dropped_heap_leaves_an_idle_process_small() {
    alone("a_dropped_heap_leaves_an_idle_process_small", || {
        let (started, done) = (Barrier::new(2), Barrier::new(2));
        let layout = layout(64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: allocated and freed with one layout.
                unsafe {
                    use std::alloc::GlobalAlloc;
                    PyMalloc.dealloc(PyMalloc.alloc(layout), layout);
                }
                started.wait();
                done.wait();
            });
            started.wait();
            // SAFETY: as above.
            unsafe {
                use std::alloc::GlobalAlloc;
                PyMalloc.dealloc(PyMalloc.alloc(layout), layout);
            }
            let base = resident();
            let heap = Heap::new();
            fill(&heap, 64 * MIB, false, &mut Rng::new(1));
            let live = resident() - base;
            drop(heap);
            let most = base + live / 20 + 2 * MIB;
            let fell = comes_true(Duration::from_secs(10), || resident() <= most);
            assert!(fell, "{} of {} left", mib(resident() - base), mib(live));
            done.wait();
        });
    });
}

#[test]
fn heaps_travel_between_threads_with_their_values() {
    let makers: Vec<_> = (0..8u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let heap = Heap::new();
                let mut random = Rng::new(seed);
                let mut values: Vec<(usize, u64)> = Vec::new();
                for _ in 0..20_000 {
                    let value = random.next();
                    let place: *mut u64 = heap.alloc_value(value).unwrap();
                    values.push((place.expose_provenance(), value));
                }
                (heap, values)
            })
        })
        .collect();
    for maker in makers {
        let (heap, values) = maker.join().unwrap();
        for (index, &(addr, value)) in values.iter().enumerate() {
            let place: *mut u64 = std::ptr::with_exposed_provenance_mut(addr);
            // SAFETY: a live value of the heap; every third is freed early, once.
            unsafe {
                assert_eq!(place.read(), value);
                if index % 3 == 0 {
                    heap.dealloc(NonNull::new_unchecked(place.cast()), Layout::new::<u64>());
                }
            }
        }
        assert!(heap.block_bytes() >= 13_333 * 16);
        // Dropped by a third thread.
        std::thread::spawn(move || drop(heap)).join().unwrap();
    }
}

#[test]
fn heaps_work_side_by_side() {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut random = Rng::new(seed);
                for _ in 0..30 {
                    let heap = Heap::new();
                    let strings: Vec<&mut [u8; 100]> = (0..500u32)
                        .map(|n| heap.alloc_value([n as u8; 100]).unwrap())
                        .collect();
                    fill(&heap, 100_000, true, &mut random);
                    for (n, string) in strings.iter().enumerate() {
                        assert!(string.iter().all(|&byte| byte == n as u8));
                    }
                }
            });
        }
    });
}

#[test]
fn what_is_freed_early_is_used_again() {
    alone("what_is_freed_early_is_used_again", || {
        let heap = Heap::new();
        let round = || {
            for size in [16, 100, 512, 2000, 30_000, 200_000, 300_000, 3 * MIB].repeat(4) {
                let p = block(&heap, size);
                // SAFETY: freed once, with its layout.
                unsafe { heap.dealloc(p, layout(size)) };
            }
        };
        (0..20).for_each(|_| round());
        assert_eq!(heap.block_bytes(), 0);
        let base = resident();
        (0..200).for_each(|_| round());
        assert_eq!(heap.block_bytes(), 0);
        let grown = resident().saturating_sub(base);
        assert!(grown <= 4 * MIB, "{} more", mib(grown));
        assert_eq!(PyMalloc.stats().huge_blocks, 0);
    });
}

#[test]
fn huge_blocks_of_a_heap_go_with_it() {
    alone("huge_blocks_of_a_heap_go_with_it", || {
        let heap = Heap::new();
        let blocks: Vec<NonNull<u8>> = (0..20).map(|_| block(&heap, MIB)).collect();
        assert_eq!(PyMalloc.stats().huge_blocks, 20);
        // From the middle of the chain, and both ends.
        for index in [10, 0, 19, 5] {
            // SAFETY: freed once, with its layout.
            unsafe { heap.dealloc(blocks[index], layout(MIB)) };
        }
        assert_eq!(PyMalloc.stats().huge_blocks, 16);
        drop(heap);
        assert_eq!(PyMalloc.stats().huge_blocks, 0);
        assert_eq!(PyMalloc.stats().huge_bytes, 0);
    });
}

#[test]
fn ten_thousand_heaps_leave_nothing() {
    alone("ten_thousand_heaps_leave_nothing", || {
        let mut random = Rng::new(rng::seed("heaps"));
        let mut some = |n: usize| {
            for _ in 0..n {
                let heap = Heap::new();
                for size in [16, 64, 500, 1 + random.below(20_000)] {
                    block(&heap, size);
                }
                if random.one_in(100) {
                    block(&heap, 400_000);
                }
            }
        };
        some(500);
        let (base, addresses) = (resident(), memory::address_space());
        some(9500);
        let grown = resident().saturating_sub(base);
        assert!(grown <= 2 * MIB, "{} more", mib(grown));
        let grown = memory::address_space().saturating_sub(addresses);
        assert!(grown <= 8 * MIB, "{} more addresses", mib(grown));
    });
}

#[test]
fn a_live_heap_costs_little() {
    alone("a_live_heap_costs_little", || {
        let mut heaps = Vec::with_capacity(1000);
        let base = resident();
        for _ in 0..1000 {
            let heap = Heap::new();
            let _ = [16, 48, 200, 500].map(|size| block(&heap, size));
            heaps.push(heap);
        }
        let each = (resident() - base) / 1000;
        assert!(each <= 32 * 1024, "{each} bytes each");
        drop(heaps);
    });
}

#[test]
fn a_heaps_blocks_are_its_own() {
    let heap = Heap::new();
    for size in [16, 500, 5000] {
        let p = heap.alloc(layout(size)).unwrap();
        // The global allocator does not take them for its own.
        assert_eq!(PyMalloc.usable_size(p.as_ptr()), None, "{size}");
    }
    assert_eq!(heap.block_bytes(), 16 + 512 + 5120);
    assert_eq!(Heap::new().block_bytes(), 0);
}
