//! A heap that hides its links gives blocks in no order that can be told, and leaves nothing legible in free ones.

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
        heap.hide_links(secret);
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

/// Free blocks whose first word would be four indices of a pool, one at least not 0.
fn legible(blocks: &[Block], class: SizeClass) -> usize {
    let capacity = 16384 / class.block_bytes() as u64;
    let is_node = |block: &&Block| {
        // SAFETY: its pool holds other blocks, and so is there; nobody writes it.
        let word = unsafe { block.links() };
        word != 0 && (0..4).all(|lane| word >> (16 * lane) & 0xffff < capacity)
    };
    blocks.iter().filter(is_node).count()
}

/// Takes many blocks, frees every second one and takes as many again; what the two measures above say.
fn measure(secret: Option<usize>) -> (usize, usize) {
    let (heap, class) = (heap(secret), SizeClass::small(64));
    let blocks = take(heap, class);
    let ordered = in_order(&blocks, class);
    let mut distinct: Vec<usize> = blocks.iter().map(|block| block.addr()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), BLOCKS);
    let freed: Vec<Block> = blocks.iter().step_by(2).copied().collect();
    for block in &freed {
        // SAFETY: taken above, freed once; cleared, so that only the heap writes something.
        unsafe {
            block.start().write_bytes(0, class.block_bytes());
            heap.free_one(class, *block);
        }
    }
    let legible = legible(&freed, class);
    // What was freed comes back, each block once, and nothing else does.
    let again = take(heap, class);
    let mut back: Vec<usize> = again[..freed.len()].iter().map(|b| b.addr()).collect();
    let mut gone: Vec<usize> = freed.iter().map(|block| block.addr()).collect();
    back.sort_unstable();
    gone.sort_unstable();
    assert_eq!(back, gone, "hidden: {}", secret.is_some());
    (ordered, legible)
}

#[test]
fn hidden_links_show_nothing_and_pools_are_carved_in_no_order() {
    let (ordered, legible) = measure(None);
    assert!(ordered > BLOCKS * 9 / 10 && legible > BLOCKS / 10);
    let (ordered, legible) = measure(Some(0x5EED_1E55));
    assert!(ordered < BLOCKS / 20, "{ordered} of {BLOCKS} in order");
    assert!(legible < BLOCKS / 100, "{legible} nodes can be read");
}

/// The order is another for another secret, and for another turn of the same pool.
#[test]
fn the_order_of_carving_depends_on_the_secret() {
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
fn hidden_blocks_of_every_class_come_home_from_another_heap() {
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
