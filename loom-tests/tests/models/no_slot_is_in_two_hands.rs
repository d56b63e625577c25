//! `obmalloc::extents`: a slot that one thread purges cannot be had by another meanwhile, and a slot said
//! to be zero is.
//!
//! Every thread that has a slot writes it, looks whether its own mark is still there, and gives it back
//! dirty. Two hands on one slot are a race on its contents, which loom reports, or a lost mark.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::address_map::{AddressMap, Owner};
use pymalloc_loom_tests::obmalloc::arena::Arena;
use pymalloc_loom_tests::obmalloc::engine::Backing;
use pymalloc_loom_tests::obmalloc::extents::{Extents, HugePages};
use pymalloc_loom_tests::obmalloc::geometry::Production;
use pymalloc_loom_tests::obmalloc::heap_backing::HeapBacking;
use pymalloc_loom_tests::os::{self, Refused};
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

    /// One heap's view; `heap` is the mark it leaves in its slots.
    fn heap(&self, heap: u64) -> Heap {
        Heap {
            backing: HeapBacking::new(self.extents.get(), heap as usize, true),
            map: self.map.get(),
            mark: heap,
        }
    }
}

struct Heap {
    backing: HeapBacking,
    map: &'static AddressMap,
    mark: u64,
}

impl Heap {
    fn obtain(&mut self) -> NonNull<Arena> {
        let memory = self.backing.obtain().expect("the machine has room");
        let slot = os::slot(memory.base);
        if memory.zeroed {
            assert_eq!(slot.read(), 0, "said to be zero");
        }
        slot.write(self.mark);
        // SAFETY: an arena's memory, just handed over.
        unsafe { Arena::init::<Production>(&memory, false) }
    }

    fn release(&mut self, arena: NonNull<Arena>) {
        assert_eq!(os::slot(arena.cast()).read(), self.mark);
        assert_eq!(self.map.owner(arena.addr().get()), Owner::Arena);
        // SAFETY: obtained from this backing, no block in it.
        unsafe { self.backing.release(arena) }
    }

    fn obtain_and_release(&mut self) {
        let arena = self.obtain();
        self.release(arena);
    }
}

/// A dirty slot waits; one thread purges all there is, two others want arenas.
fn purge_against_reuse(refused: Refused) {
    os::refuse(refused);
    let process = Process::new();
    process.heap(1).obtain_and_release();
    let [mut second, mut third] = [process.heap(2), process.heap(3)];
    let extents = process.extents.get();
    let purger = thread::spawn(|| extents.purge(0, u64::MAX));
    let user = thread::spawn(move || second.obtain_and_release());
    third.obtain_and_release();
    purger.join().unwrap();
    user.join().unwrap();
    extents.purge(0, u64::MAX);
    assert_eq!(extents.dirty_pools(), 0);
    // Leaves, and nothing else, are not counted; all arenas are clean.
    assert_eq!(extents.counts().mapped_bytes, 0);
    process.heap(4).obtain_and_release();
}

/// The kernel purges as asked.
#[test]
fn purge_races_with_reuse() {
    explore("extents: purge against two users", Some(3), || {
        purge_against_reuse(Refused::default());
    });
}

/// The kernel refuses to purge: then nothing may be said to be zero.
#[test]
fn a_refused_purge_promises_nothing() {
    explore("extents: refused purge against two users", Some(2), || {
        purge_against_reuse(Refused {
            purge: true,
            ..Refused::default()
        });
    });
}

/// Two purges at once, as `collect` and the purging thread may do, while a slot comes back.
#[test]
fn two_purges_share_the_work() {
    explore("extents: two purges and a release", Some(2), || {
        let process = Process::new();
        let mut heap = process.heap(1);
        let [first, second] = [heap.obtain(), heap.obtain()];
        heap.release(first);
        let extents = process.extents.get();
        let purgers = [(); 2].map(|()| thread::spawn(|| extents.purge(0, u64::MAX)));
        heap.release(second);
        let done: u64 = purgers.map(|purger| purger.join().unwrap()).iter().sum();
        let rest = extents.purge(0, u64::MAX);
        // Each slot was released with the pool of its headers dirty, and purged once.
        assert_eq!(done + rest, 2);
        assert_eq!(extents.dirty_pools(), 0);
    });
}

/// One thread fills a pair ahead, as the purging thread does, while two heaps want arenas.
#[test]
fn a_pair_filled_ahead_is_nobodys_meanwhile() {
    explore("extents: a pair filled ahead", Some(2), || {
        let process = Process::new();
        let extents = process.extents.get();
        extents.set_huge_pages(HugePages::Always);
        extents.fill_ahead(0);
        assert!(!extents.ask_to_fill());
        let (mut heap, mut other) = (process.heap(1), process.heap(2));
        // The second and the third slot are a pair.
        let slots = [(); 3].map(|()| heap.obtain());
        let last = other.obtain();
        assert!(extents.ask_to_fill(), "nothing was filled yet");
        for slot in slots {
            heap.release(slot);
        }
        extents.purge(0, u64::MAX);
        let filler = thread::spawn(|| extents.fill_ahead(0));
        let user = thread::spawn(move || {
            other.obtain_and_release();
            other.release(last);
        });
        heap.obtain_and_release();
        filler.join().unwrap();
        user.join().unwrap();
        extents.purge(0, u64::MAX);
        assert_eq!(extents.dirty_pools(), 0);
        assert_eq!(extents.counts().mapped_bytes, 0);
    });
}
