//! `obmalloc::heap`: a block freed by a thread of another heap goes back to the pool it came from, and
//! serves the home heap's next request with everything ordered that both threads wrote.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::address_map::AddressMap;
use pymalloc_loom_tests::obmalloc::block::Block;
use pymalloc_loom_tests::obmalloc::extents::Extents;
use pymalloc_loom_tests::obmalloc::heap::Heap;
use pymalloc_loom_tests::obmalloc::heap_backing::HeapBacking;
use pymalloc_loom_tests::obmalloc::size_class::SizeClass;
use pymalloc_loom_tests::os;
use std::ptr::NonNull;

struct Process {
    map: Static<AddressMap>,
    extents: Static<Extents>,
}

impl Process {
    fn new() -> Self {
        let map = Static::new(AddressMap::new());
        let extents = Static::new(Extents::new(map.get()));
        Self { map, extents }
    }

    fn heap(&self) -> &'static Heap {
        let place: NonNull<Heap> = os::map(size_of::<Heap>(), 4096).expect("room").cast();
        let backing = HeapBacking::new(self.extents.get(), place.addr().get(), true);
        // SAFETY: fresh memory of the right size and alignment, there as long as the machine is.
        unsafe {
            place.write(Heap::new(backing, self.map.get()));
            place.as_ref()
        }
    }
}

/// Bytes of the heap's blocks that are out, its inbox not looked at.
fn out(heap: &Heap) -> u64 {
    // SAFETY: the other threads were joined.
    unsafe {
        heap.gate()
            .with_held(|state| state.engine.counters().block_bytes)
    }
}

/// A block goes to a thread of another heap, which frees it while the home heap allocates again. The cell
/// stands for the block's bytes.
#[test]
fn a_block_freed_elsewhere_is_used_again() {
    explore("heap: a block there and back", Some(6), || {
        let process = Process::new();
        let (home, away) = (process.heap(), process.heap());
        let class = SizeClass::small(64);
        let bytes = Static::new(UnsafeCell::new(0u32));
        let mailbox = Static::new(AtomicUsize::new(0));
        let (cell, post) = (bytes.get(), mailbox.get());
        let use_block = move || {
            // SAFETY: the block is the caller's; loom reports it if that is not ordered.
            cell.with_mut(|p| unsafe { *p += 1 });
        };
        let other = thread::spawn(move || {
            let received = NonNull::new(std::ptr::with_exposed_provenance_mut(
                post.swap(0, Ordering::Acquire),
            ));
            if let Some(start) = received {
                use_block();
                // SAFETY: a block of `class`, not used any more.
                unsafe { away.free_one(class, Block::new(start)) };
            }
            received.is_some()
        });
        let first = home.alloc_one(class).expect("room").0;
        use_block();
        mailbox.store(first.start().expose_provenance().get(), Ordering::Release);
        let second = home.alloc_one(class).expect("room").0;
        if second == first {
            use_block();
        }
        // SAFETY: this thread's own block.
        unsafe { home.free_one(class, second) };
        let freed = other.join().unwrap();
        assert_eq!(out(home), if freed { 0 } else { 64 });
        assert_eq!(out(away), 0);
    });
}

/// Two threads of two heaps free each other's blocks at the same time: each holds its own lock and only
/// tries the other's.
#[test]
fn two_heaps_exchange_blocks() {
    explore("heap: an exchange", Some(6), || {
        let process = Process::new();
        let heaps = [process.heap(), process.heap()];
        let class = SizeClass::small(64);
        let [mine, yours] = heaps.map(|heap| heap.alloc_one(class).expect("room").0);
        let other = thread::spawn(move || {
            // SAFETY: given to this thread, and not used.
            unsafe { heaps[1].free_one(class, mine) };
        });
        // SAFETY: as above.
        unsafe { heaps[0].free_one(class, yours) };
        other.join().unwrap();
        assert_eq!(heaps.map(out), [0, 0]);
    });
}
