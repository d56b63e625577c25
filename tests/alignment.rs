//! Every block is aligned as asked, whatever its size, and stays so when it is resized.

#[path = "support/rng.rs"]
mod rng;

use pymalloc::{Heap, PyMalloc};
use std::alloc::{GlobalAlloc, Layout, System};

// Blocks under test only: the test's own come from elsewhere.
#[global_allocator]
static GLOBAL: System = System;

/// Largest alignment asked for, in bytes.
const LARGEST_ALIGN: usize = 4 << 20;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn aligns() -> impl Iterator<Item = usize> {
    (0..=LARGEST_ALIGN.ilog2()).map(|log| 1 << log)
}

/// Small sizes by `step`, then one below, at and above every edge of a class, a tier and a slot.
fn sizes(step: usize) -> Vec<usize> {
    let classes = (0..72).map(|index| (9 + index % 8) << (6 + index / 8));
    let slots = (1..=4).map(|n| n << 20);
    let edges = classes.chain(slots).flat_map(|edge| edge - 1..=edge + 1);
    (1..=4096).step_by(step).chain(edges).collect()
}

/// Writes the first and the last byte of a block, which must be there and aligned.
fn check(p: *mut u8, layout: Layout) {
    assert!(!p.is_null(), "{layout:?}");
    assert!(
        p.addr().is_multiple_of(layout.align()),
        "{p:p} for {layout:?}"
    );
    // SAFETY: a live block of this layout.
    unsafe {
        p.write(1);
        p.add(layout.size() - 1).write(2);
    }
}

/// Two blocks of a layout at once, so that not only the first of a pool is seen.
fn two_blocks(layout: Layout) {
    // SAFETY: sizes are not 0; both blocks are freed once.
    unsafe {
        let (p, q) = (PyMalloc.alloc(layout), PyMalloc.alloc_zeroed(layout));
        check(p, layout);
        assert_eq!(q.add(layout.size() / 2).read(), 0, "{layout:?}");
        check(q, layout);
        assert!(p.addr().abs_diff(q.addr()) >= layout.size(), "{layout:?}");
        assert!(PyMalloc.usable_size(p) >= Some(layout.size()), "{layout:?}");
        PyMalloc.dealloc(p, layout);
        PyMalloc.dealloc(q, layout);
    }
}

#[test]
fn every_small_size_has_every_small_alignment() {
    for size in 1..=4096 {
        for align in aligns().take_while(|&align| align <= 4096) {
            two_blocks(layout(size, align));
        }
    }
}

#[test]
fn every_edge_has_every_alignment() {
    for size in sizes(97) {
        for align in aligns() {
            two_blocks(layout(size, align));
        }
    }
}

#[test]
fn every_block_is_aligned_to_16() {
    for size in sizes(1) {
        let layout = layout(size, 1);
        // SAFETY: the size is not 0; freed once.
        unsafe {
            let p = PyMalloc.alloc(layout);
            assert!(p.addr().is_multiple_of(16), "{size}: {p:p}");
            PyMalloc.dealloc(p, layout);
        }
    }
}

#[test]
fn many_blocks_at_once_are_aligned_and_apart() {
    for align in aligns() {
        for size in [1, 24, align - align / 2, align, align + 1, 3 * align] {
            let n = (16 << 20) / size.max(align).max(1 << 16);
            let layout = layout(size, align);
            // SAFETY: the size is not 0; freed once.
            let mut blocks: Vec<*mut u8> =
                (0..n).map(|_| unsafe { PyMalloc.alloc(layout) }).collect();
            blocks.iter().for_each(|&p| check(p, layout));
            blocks.sort();
            for pair in blocks.windows(2) {
                assert!(pair[0].addr() + size <= pair[1].addr(), "{layout:?}");
            }
            for p in blocks {
                // SAFETY: from above.
                unsafe { PyMalloc.dealloc(p, layout) };
            }
        }
    }
}

#[test]
fn resizing_keeps_alignment_and_data() {
    let mut random = rng::Rng::new(rng::seed("resizing"));
    for align in aligns() {
        let mut size = 1 + random.below(100);
        let mut written = size.min(5000);
        // SAFETY: sizes are not 0, offsets inside the block, the block freed once.
        unsafe {
            let mut p = PyMalloc.alloc(layout(size, align));
            (0..written).for_each(|at| p.add(at).write(at as u8));
            for _ in 0..120 {
                let new_size = random.size(3 << 20);
                p = PyMalloc.realloc(p, layout(size, align), new_size);
                assert!(
                    p.addr().is_multiple_of(align),
                    "{size} to {new_size} at {align}"
                );
                written = written.min(new_size);
                let changed = (0..written).find(|&at| p.add(at).read() != at as u8);
                assert_eq!(changed, None, "{size} to {new_size} at {align}");
                (written..new_size.min(5000)).for_each(|at| p.add(at).write(at as u8));
                (size, written) = (new_size, new_size.min(5000));
            }
            PyMalloc.dealloc(p, layout(size, align));
        }
    }
}

#[test]
fn a_heap_aligns_as_well() {
    let heap = Heap::new();
    for size in sizes(211) {
        for align in aligns() {
            let layout = layout(size, align);
            let p = heap.alloc(layout).unwrap();
            check(p.as_ptr(), layout);
            // SAFETY: from above.
            unsafe { heap.dealloc(p, layout) };
        }
    }
}

#[test]
fn impossible_sizes_and_alignments_give_null_and_the_heap_goes_on() {
    let most = isize::MAX as usize;
    for align in [1, 16, 4096, 1 << 20, 1 << 30] {
        for size in [
            most & !(align - 1),
            (most / 2) & !(align - 1),
            1 << 47,
            (1 << 47) - (1 << 20),
        ] {
            let layout = layout(size, align);
            // SAFETY: the size is not 0.
            unsafe {
                assert!(PyMalloc.alloc(layout).is_null(), "{layout:?}");
                assert!(PyMalloc.alloc_zeroed(layout).is_null(), "{layout:?}");
            }
            assert!(Heap::new().alloc(layout).is_none(), "{layout:?}");
            // SAFETY: a failed resize leaves the block as it was.
            unsafe {
                for old in [64, 4096, 1 << 20] {
                    let old = Layout::from_size_align(old, align).unwrap();
                    let p = PyMalloc.alloc(old);
                    check(p, old);
                    assert!(PyMalloc.realloc(p, old, size).is_null(), "{layout:?}");
                    assert_eq!(p.add(old.size() - 1).read(), 2);
                    PyMalloc.dealloc(p, old);
                }
            }
        }
    }
    // An alignment nothing is aligned to: as large as all memory.
    let layout = layout(1, 1 << 62);
    // SAFETY: the size is not 0.
    assert!(unsafe { PyMalloc.alloc(layout) }.is_null());
    two_blocks(Layout::new::<u64>());
}
