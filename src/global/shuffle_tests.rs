//! A heap that shuffles gives blocks in no order that can be told; no heap writes into free ones.

use super::*;
use crate::obmalloc::block::Block;
use crate::obmalloc::size_class::SizeClass;

const BLOCKS: usize = 3000;

/// A heap of its own, which lives for ever as all heaps do.
fn heap(secret: Option<usize>) -> &'static SharedHeap {
    OPTIONS.load();
    let page = OPTIONS.page();
    let len = size_of::<SharedHeap>().next_multiple_of(page);
    let place = os::map(len, page).expect("memory").cast::<SharedHeap>();
    let backing = HeapBacking::new(&EXTENTS, place.as_ptr().expose_provenance(), true);
    let mut heap = SharedHeap::new(backing, &MAP);
    if let Some(secret) = secret {
        heap.shuffle(secret);
    }
    // SAFETY: mapped just now, and large enough; it stays.
    unsafe {
        place.write(heap);
        place.as_ref()
    }
}

fn take(heap: &SharedHeap, class: SizeClass) -> Vec<Block> {
    let one = |_| heap.alloc_one(class).expect("memory").0;
    (0..BLOCKS).map(one).collect()
}

/// How many blocks lie directly behind the one before.
fn in_order(blocks: &[Block], class: SizeClass) -> usize {
    let behind = |pair: &&[Block]| pair[0].addr() + class.block_bytes() == pair[1].addr();
    blocks.windows(2).filter(behind).count()
}

/// Takes many blocks, frees every second one and takes as many again: each once. How many lay in order.
fn measure(secret: Option<usize>) -> usize {
    let (heap, class) = (heap(secret), SizeClass::small(64));
    let blocks = take(heap, class);
    for block in blocks.iter().step_by(2) {
        // SAFETY: taken above, freed once; cleared, so that only the heap writes something.
        unsafe {
            block.start().write_bytes(0, class.block_bytes());
            heap.free_one(class, *block);
        }
    }
    for block in blocks.iter().step_by(2) {
        // SAFETY: its pool holds other blocks, and so is there; nobody else reads or writes it.
        let bytes = unsafe { core::slice::from_raw_parts(block.start().as_ptr(), 64) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
    let kept = blocks.iter().skip(1).step_by(2);
    let mut all: Vec<usize> = kept.map(|block| block.addr()).collect();
    all.extend(take(heap, class).iter().map(|block| block.addr()));
    let n = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), n, "shuffled: {}", secret.is_some());
    in_order(&blocks, class)
}

#[test]
fn nothing_is_written_into_free_blocks_and_a_shuffled_heap_has_no_order() {
    assert!(measure(None) > BLOCKS * 9 / 10);
    let ordered = measure(Some(0x5EED_1E55));
    assert!(ordered < BLOCKS / 20, "{ordered} of {BLOCKS} in order");
}

/// The order is another for another secret, and for another turn of the same pool.
#[test]
fn the_order_depends_on_the_secret() {
    let class = SizeClass::small(512);
    let order = |secret| {
        let blocks = take(heap(Some(secret)), class);
        let in_pool = |block: &Block| block.addr() % 16384 / class.block_bytes();
        blocks.iter().take(32).map(in_pool).collect::<Vec<_>>()
    };
    assert_ne!(order(1), order(2));
}

/// Another thread's heap frees into the heap a block is from, and every class keeps its promise.
#[test]
fn shuffled_blocks_of_every_class_come_home_from_another_heap() {
    let (one, other) = (heap(Some(7)), heap(Some(7)));
    for class in SizeClass::all() {
        let n = (1 << 20) / class.block_bytes();
        for _ in 0..3 {
            let blocks: Vec<Block> = (0..n)
                .map(|_| one.alloc_one(class).expect("memory").0)
                .collect();
            for block in blocks {
                // SAFETY: taken above, freed once.
                unsafe { other.free_one(class, block) };
            }
        }
        let left = one
            .gate()
            .enter(|state| state.engine.counters().block_bytes);
        assert_eq!(left, 0, "{} bytes", class.block_bytes());
    }
}
