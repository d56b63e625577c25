//! What a program writes into blocks on their way from one heap to another, and what a heap knows of its arenas.

use super::*;
use crate::obmalloc::engine::Backing;
use crate::obmalloc::extents::Extents;
use crate::obmalloc::size_class::ALIGNMENT;
use crate::os;
use std::panic::{AssertUnwindSafe, catch_unwind};

static MAP: AddressMap = AddressMap::new();
static EXTENTS: Extents = Extents::new(&MAP);

/// A heap that panics instead of ending the process, and blocks of it.
fn heap<const N: usize>() -> (&'static Heap, [Block; N]) {
    let place: NonNull<Heap> = os::map(size_of::<Heap>(), 4096).expect("room").cast();
    let mut backing = HeapBacking::new(&EXTENTS, place.addr().get(), true);
    backing.let_go = || panic!("it is noticed");
    // SAFETY: fresh memory of the right size and alignment, which stays.
    let heap = unsafe {
        place.write(Heap::new(backing, &MAP));
        place.as_ref()
    };
    (
        heap,
        std::array::from_fn(|_| heap.alloc_one(class()).expect("room").0),
    )
}

fn class() -> SizeClass {
    SizeClass::small(64)
}

/// Sends two blocks home from another heap, the second in the first, and calls `meanwhile` with what says where it is.
/// Whether that is noticed.
fn is_noticed(meanwhile: impl FnOnce(&mut i32, [Block; 3])) -> bool {
    let (home, [first, second, live]) = heap();
    let (away, []) = heap();
    let locked = home.gate().lock().lock();
    // SAFETY: blocks of `class` that nobody uses, though `meanwhile` may write to them.
    unsafe {
        away.free_many(class(), &mut [Some(first), Some(second)]);
        meanwhile(first.start().cast().add(4).as_mut(), [first, second, live]);
    }
    drop(locked);
    catch_unwind(AssertUnwindSafe(|| home.gate().settle())).is_err()
}

/// Distance of a block from another one, as a carrier has it.
fn distance(to: Block, from: Block) -> i32 {
    (to.addr() as isize - from.addr() as isize) as i32 / ALIGNMENT as i32
}

#[test]
fn blocks_that_are_left_alone_come_home() {
    assert!(!is_noticed(|said, [first, second, _]| {
        assert_eq!(*said, distance(second, first));
    }));
}

#[test]
fn a_carrier_that_was_written_to_is_noticed() {
    assert!(is_noticed(|said, _| *said = 0), "the carrier itself, twice");
    assert!(is_noticed(|said, _| *said = 1), "inside a block");
    assert!(is_noticed(|said, _| *said = i32::MAX), "nobody's");
    assert!(
        is_noticed(|said, [first, ..]| {
            let (_, [elsewhere]) = heap();
            *said = distance(elsewhere, first);
        }),
        "a block of another heap"
    );
}

/// Bytes of a heap's blocks that are out.
fn live_bytes(heap: &Heap) -> u64 {
    heap.gate()
        .enter(|state| state.engine.counters().block_bytes)
}

/// An arena that a heap gave back is not taken for its own when another one has it.
#[test]
fn a_block_in_an_arena_that_was_given_back_goes_to_who_has_it() {
    const BLOCKS: usize = 4 * ARENA_BYTES / 64;
    let (first, []) = heap();
    let mut blocks = vec![None; BLOCKS];
    assert_eq!(first.alloc_many(class(), &mut blocks), BLOCKS);
    // SAFETY: blocks of `class` that nobody uses.
    unsafe { first.free_many(class(), &mut blocks) };
    assert_eq!(live_bytes(first), 0);

    let slots = |blocks: &[Entry]| -> Vec<usize> {
        let slots = blocks.iter().flatten().map(|b| b.addr() / ARENA_BYTES);
        slots.collect()
    };
    let before = slots(&blocks);
    let (second, []) = heap();
    assert_eq!(second.alloc_many(class(), &mut blocks), BLOCKS);
    let again = slots(&blocks).iter().any(|slot| before.contains(slot));
    assert!(again, "no arena went from one to the other");
    // SAFETY: as above.
    unsafe { first.free_many(class(), &mut blocks) };
    assert_eq!((live_bytes(first), live_bytes(second)), (0, 0));
}

/// A heap, the blocks of three pools of it, those that follow each other on the list in different ones, and the last
/// block of each pool, which is not on the list.
fn scattered() -> (&'static Heap, Vec<Entry>, [Block; 3]) {
    const IN_POOL: usize = POOL_BYTES / 64;
    let (heap, []) = heap();
    let mut blocks = vec![None; 3 * IN_POOL];
    heap.alloc_many(class(), &mut blocks);
    blocks.sort_by_key(|block| block.map(Block::addr));
    let nth = |k: usize| blocks[k % 3 * IN_POOL + k / 3];
    let list = (0..3 * IN_POOL - 3).map(nth).collect();
    let live = [1, 2, 3].map(|k| blocks[k * IN_POOL - 1].expect("filled"));
    (heap, list, live)
}

#[test]
fn scattered_blocks_come_home() {
    let (heap, mut list, _) = scattered();
    // SAFETY: blocks of `class` that nobody uses.
    unsafe { heap.free_many(class(), &mut list) };
    assert_eq!(live_bytes(heap), 3 * 64);
    let mut again = vec![None; list.len()];
    assert_eq!(heap.alloc_many(class(), &mut again), list.len());
    for blocks in [&mut list, &mut again] {
        blocks.sort_by_key(|block| block.map(Block::addr));
    }
    assert_eq!(list, again);
}

/// A run of neighbours that spans words of bits comes back whole, in whatever order it went.
#[test]
fn a_run_of_neighbours_comes_home() {
    let (heap, []) = heap();
    let mut blocks = vec![None; POOL_BYTES / 64];
    heap.alloc_many(class(), &mut blocks);
    blocks.sort_by_key(|block| block.map(Block::addr));
    for step in [1, 7] {
        // 7 and 155 have no common divisor.
        let mut run: Vec<Entry> = (0..155).map(|k| blocks[30 + k * step % 155]).collect();
        // SAFETY: blocks of `class` that nobody uses.
        let freed = unsafe { heap.free_many(class(), &mut run) };
        assert_eq!(freed.n_own, run.len());
        let mut again = vec![None; run.len()];
        heap.alloc_many(class(), &mut again);
        again.sort_by_key(|block| block.map(Block::addr));
        assert_eq!(again, blocks[30..185], "{step}");
    }
}

#[test]
fn pools_that_scattered_blocks_empty_are_free() {
    let (heap, mut list, live) = scattered();
    let kept = heap.alloc_one(SizeClass::small(512)).expect("room").0;
    let mut last = live.map(Some);
    // SAFETY: blocks of `class` that nobody uses.
    let freed = unsafe {
        [
            heap.free_many(class(), &mut list),
            heap.free_many(class(), &mut last),
        ]
    };
    assert_eq!(freed.map(|freed| freed.live_bytes), [3 * 64 + 512, 512]);
    assert_eq!(freed.map(|freed| freed.dirty_pools), [0, 3]);
    // SAFETY: nobody uses it.
    unsafe { heap.free_one(SizeClass::small(512), kept) };
}

#[test]
fn a_block_of_another_heap_among_scattered_ones_goes_there() {
    let (other, theirs) = heap::<4>();
    let (heap, mut list, _) = scattered();
    list.insert(list.len() / 2, Some(theirs[0]));
    let locked = other.gate().lock().lock();
    // SAFETY: blocks of `class` that nobody uses.
    let freed = unsafe { heap.free_many(class(), &mut list) };
    assert_eq!(freed.n_own, list.len() - 1);
    assert_eq!(live_bytes(heap), 3 * 64);
    let bytes = |state: &mut HeapState| state.engine.counters().block_bytes;
    // SAFETY: the lock is held.
    let untouched = unsafe { other.gate().with_held(bytes) };
    assert_eq!(untouched, 4 * 64);
    drop(locked);
    other.gate().settle();
    assert_eq!(live_bytes(other), 3 * 64);
}

/// Whether a block is noticed that `wrong` makes of the heap, a block that was freed, and one that is out, in the midst of
/// scattered ones.
fn is_noticed_among_scattered(wrong: impl FnOnce(&Heap, Block, Block) -> Block) -> bool {
    let (heap, mut list, [live, ..]) = scattered();
    let first = list[0].expect("filled");
    list.insert(list.len() / 2, Some(wrong(heap, first, live)));
    // SAFETY: blocks of `class` that nobody uses, and one that is none: it panics.
    catch_unwind(AssertUnwindSafe(|| unsafe {
        heap.free_many(class(), &mut list)
    }))
    .is_err()
}

#[test]
fn a_wrong_block_among_scattered_ones_is_noticed() {
    // SAFETY: inside the arena; nobody uses it.
    let behind = |block: Block, n: usize| unsafe { Block::new(block.start().add(n)) };
    let books = |block: Block| {
        // SAFETY: as above.
        let arena = unsafe { Block::new(block.start().sub(block.addr() % ARENA_BYTES)) };
        behind(arena, UNUSED)
    };
    let other = SizeClass::small(32);
    assert!(!is_noticed_among_scattered(|_, _, live| live));
    assert!(is_noticed_among_scattered(|_, freed, _| freed));
    assert!(is_noticed_among_scattered(|_, _, live| behind(live, 16)));
    assert!(is_noticed_among_scattered(|_, _, live| behind(live, 8)));
    assert!(is_noticed_among_scattered(|_, freed, _| books(freed)));
    let (_, [elsewhere]) = heap();
    assert!(is_noticed_among_scattered(|_, _, _| behind(elsewhere, 8)));
    assert!(is_noticed_among_scattered(|heap, _, _| {
        let blocks = [(); 2].map(|()| heap.alloc_one(other).expect("room").0);
        // The pool is neither full nor has it one block out.
        blocks[0]
    }));
}

#[test]
fn an_arena_of_runs_is_not_known() {
    let [mut shared, mut private] = [true, false].map(|is| HeapBacking::new(&EXTENTS, 0, is));
    let first =
        NonNull::without_provenance((5 * ARENA_BYTES + POOL_BYTES).try_into().expect("> 0"));
    let run = SizeClass::of(8192).expect("there is one");
    for (class, known) in [(Some(class()), true), (None, true), (Some(run), false)] {
        shared.label(first, 1, class);
        private.label(first, 1, class);
        assert_eq!(shared.knows(first.addr().get()), known, "{class:?}");
        assert!(!private.knows(first.addr().get()), "nobody asks it");
    }
}

/// Frees the blocks of one of the heap's pools, and gives back what lies free. The lengths given back, in pools.
fn purged(heap: &Heap, pool: &mut [Entry]) -> Vec<usize> {
    // SAFETY: blocks of `class` that nobody uses.
    unsafe { heap.free_many(class(), pool) };
    let mut spans = Vec::new();
    heap.gate().enter(|state| {
        // SAFETY: production's geometry, under its lock.
        unsafe {
            state.engine.dirty().purge(0, 99, 4096, |_, len| {
                spans.push(len / POOL_BYTES);
                true
            })
        }
    });
    spans
}

/// In a drain pools come free one by one between those that were given back: what adjoins goes by one call.
#[test]
fn pools_beside_purged_ones_go_with_them_in_one_call() {
    const IN_POOL: usize = POOL_BYTES / 64;
    let (heap, []) = heap();
    let mut blocks = vec![None; 5 * IN_POOL];
    assert_eq!(heap.alloc_many(class(), &mut blocks), blocks.len());
    blocks.sort_by_key(|entry| entry.map(Block::addr));
    let pools: Vec<_> = blocks.chunks_mut(IN_POOL).collect();
    let [first, second, third, fourth, _] = pools.try_into().expect("five");
    assert_eq!(purged(heap, third), [1]);
    assert_eq!(
        purged(heap, second),
        [1],
        "the one behind is free, but not its last"
    );
    // SAFETY: as above.
    unsafe { heap.free_many(class(), first) };
    assert_eq!(purged(heap, fourth), [4], "two, and two between them");
}

/// Bytes of a heap's blocks that are out, its inbox not looked at, while nobody uses it.
fn live_bytes_behind_the_inbox(heap: &Heap) -> u64 {
    // SAFETY: nobody uses it.
    unsafe {
        heap.gate()
            .with_held(|state| state.engine.counters().block_bytes)
    }
}

#[test]
fn who_frees_others_blocks_puts_them_back_and_writes_nothing_into_them() {
    let (home, blocks) = heap::<100>();
    let (away, []) = heap();
    let bytes = |block: &Block| block.start().cast::<[u8; 64]>();
    for block in &blocks[1..] {
        // SAFETY: a block of 64 bytes that nobody else uses.
        unsafe { bytes(block).write([0xA5; 64]) };
    }
    let mut list: Vec<Entry> = blocks[1..].iter().copied().map(Some).collect();
    // SAFETY: blocks of `class` that nobody uses.
    let freed = unsafe { away.free_many(class(), &mut list) };
    assert_eq!(freed.n_own, 0);
    assert_eq!(live_bytes_behind_the_inbox(home), 64);
    for block in &blocks[1..] {
        // SAFETY: the pool is there as long as its first block is out; nobody has the others.
        assert_eq!(unsafe { bytes(block).read() }, [0xA5; 64]);
    }
}

/// Heaps in use, and others, more than are asked for all that is left: each gets its blocks, in whatever order they lie.
#[test]
fn blocks_of_many_heaps_go_home() {
    const HEAPS: usize = 9;
    const EACH: usize = 40;
    let heaps: [_; HEAPS] = std::array::from_fn(|_| heap::<EACH>());
    for step in [1, 7, 41, 77] {
        // 360 has no common divisor with any of the steps but 1.
        let all: Vec<Block> = heaps.iter().flat_map(|(_, blocks)| *blocks).collect();
        let mut list: Vec<Entry> = (0..all.len())
            .map(|k| Some(all[k * step % all.len()]))
            .collect();
        let busy = [1, 2, 7].map(|k: usize| heaps[k].0);
        let held = busy.map(|heap| heap.gate().lock().lock());
        // SAFETY: blocks of `class` that nobody uses.
        let freed = unsafe { heaps[0].0.free_many(class(), &mut list) };
        assert_eq!(freed.n_own, EACH);
        for (heap, _) in &heaps {
            let is_busy = busy.iter().any(|other| other.home() == heap.home());
            let left = if is_busy { EACH * 64 } else { 0 };
            assert_eq!(live_bytes_behind_the_inbox(heap), left as u64, "{step}");
        }
        drop(held);
        for (heap, blocks) in &heaps {
            assert_eq!(live_bytes(heap), 0, "{step}");
            let mut again = vec![None; EACH];
            assert_eq!(heap.alloc_many(class(), &mut again), EACH);
            assert!(blocks.iter().all(|block| again.contains(&Some(*block))));
        }
    }
}
