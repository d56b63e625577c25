//! `obmalloc::huge`: a block is freed once, whoever tries; addresses that come and go are never confused;
//! and a lookup from another thread reads a descriptor or nothing.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::address_map::{AddressMap, Owner};
use pymalloc_loom_tests::obmalloc::arena::Arena;
use pymalloc_loom_tests::obmalloc::engine::Backing;
use pymalloc_loom_tests::obmalloc::extents::Extents;
use pymalloc_loom_tests::obmalloc::geometry::Production;
use pymalloc_loom_tests::obmalloc::heap_backing::HeapBacking;
use pymalloc_loom_tests::obmalloc::huge::Huge;
use pymalloc_loom_tests::obmalloc::size_class::ARENA_BYTES;
use pymalloc_loom_tests::os::{self, Refused};
use std::ptr::NonNull;

/// Bytes of a block that shares its slot's fate with arenas.
const PART_OF_A_SLOT: usize = 300 * 1024;

struct Process {
    map: Static<AddressMap>,
    huge: Static<Huge>,
    extents: Static<Extents>,
}

impl Process {
    fn new() -> Self {
        let map = Static::new(AddressMap::new());
        let extents = Static::new(Extents::new(map.get()));
        let huge = Static::new(Huge::new(extents.get()));
        Self { map, huge, extents }
    }
}

/// A block as its user has it: with the user's mark in it.
#[derive(Clone, Copy)]
struct Mine {
    start: NonNull<u8>,
    mark: u64,
}

// SAFETY: an address and a number; the contents are watched by loom.
unsafe impl Send for Mine {}

fn alloc(huge: &Huge, slots: usize, mark: u64) -> Mine {
    let (start, zeroed) = huge.alloc(slots * ARENA_BYTES, 16, false).expect("room");
    if zeroed {
        assert_eq!(os::slot(start).read(), 0, "said to be zero");
    }
    os::slot(start).write(mark);
    Mine { start, mark }
}

impl Mine {
    /// The last use of the block, and its free.
    fn free(self, huge: &Huge) -> bool {
        assert_eq!(os::slot(self.start).read(), self.mark);
        self.free_again(huge)
    }

    /// A free by somebody who does not look.
    fn free_again(self, huge: &Huge) -> bool {
        // SAFETY: the model uses the block no more.
        unsafe { huge.free(self.start) }
    }
}

/// Two threads free the same block: one of them is told that there is none.
#[test]
fn of_two_frees_one_wins() {
    explore("huge: two frees", None, || {
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || block.free_again(huge));
        let won = block.free_again(huge);
        assert_ne!(won, other.join().unwrap());
        let counts = huge.counts();
        assert_eq!((counts.blocks, counts.bytes), (0, 0));
        assert_eq!(counts.stored_bytes, ARENA_BYTES);
        assert!(process.huge.usable_bytes(block.start).is_none());
    });
}

/// A block is freed, given back to the system, and its descriptor serves a block elsewhere, while a second
/// free of the old one is under way: that one may win over the first, never over the new block.
#[test]
fn a_late_free_never_hits_the_next_block() {
    explore("huge: a late free and the next block", Some(4), || {
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || block.free_again(huge));
        let won = block.free_again(huge);
        huge.purge(0, u64::MAX);
        // Two slots long, and the first free ones: keeps the next block away from the old address.
        os::reserve(ARENA_BYTES, ARENA_BYTES).expect("room");
        let next = alloc(huge, 2, 2);
        assert_ne!(won, other.join().unwrap());
        if next.start != block.start {
            assert_eq!(huge.usable_bytes(next.start), Some(2 * ARENA_BYTES));
            assert!(next.free(huge));
        }
    });
}

/// As above, but the next block has the old one's address and descriptor: then nobody can tell a late free
/// from a right one, and whichever free wins must find block and descriptor as their maker left them.
#[test]
fn a_late_free_finds_a_block_completely_made() {
    explore("huge: a late free and the same address", Some(3), || {
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || {
            let won = block.free_again(huge);
            assert!(huge.counts().blocks <= 1, "freed before it was counted");
            won
        });
        let won = block.free_again(huge);
        huge.purge(0, u64::MAX);
        let next = huge.alloc(ARENA_BYTES, 16, false).expect("room").0;
        let lost = other.join().unwrap() == won;
        assert_eq!(huge.counts().blocks, usize::from(!lost));
        assert_eq!(huge.usable_bytes(next).is_some(), !lost);
    });
}

/// The same for a late `resize`, which reads the descriptor before it takes any lock.
#[test]
fn a_late_resize_finds_a_block_completely_made() {
    explore("huge: a late resize and the same address", None, || {
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || {
            // SAFETY: gone, live or live again; to the same size, so nothing of it is touched.
            unsafe { huge.resize(block.start, ARENA_BYTES, 16) };
        });
        if block.free_again(huge) {
            huge.purge(0, u64::MAX);
            huge.alloc(ARENA_BYTES, 16, false).expect("room");
        }
        other.join().unwrap();
        assert_eq!(huge.counts().blocks, 1);
    });
}

/// A block is given back to the system while another thread maps one: that one has the old address, perhaps
/// the old descriptor, and nothing else of the old block.
#[test]
fn a_block_given_back_leaves_its_address_clean() {
    explore("huge: give back against alloc", Some(3), || {
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || {
            let block = alloc(huge, 2, 2);
            assert_eq!(huge.usable_bytes(block.start), Some(2 * ARENA_BYTES));
            assert!(block.free(huge));
        });
        assert!(block.free(huge));
        huge.purge(0, u64::MAX);
        other.join().unwrap();
        huge.purge(0, u64::MAX);
        let counts = huge.counts();
        assert_eq!((counts.blocks, counts.stored_bytes), (0, 0));
        assert_eq!(process.extents.counts().mapped_bytes, 0);
    });
}

/// A block is moved by one thread and freed by another: either it moves and the free is told that there is
/// no block, or it is freed and does not move.
#[test]
fn a_free_during_a_move_loses() {
    explore("huge: free against move", None, || {
        os::refuse(Refused {
            grow: true,
            ..Refused::default()
        });
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || block.free_again(huge));
        // SAFETY: the block is live, or gone by the other thread's error.
        let moved = unsafe { huge.resize(block.start, 2 * ARENA_BYTES, 16) };
        assert_ne!(moved.is_some(), other.join().unwrap());
        assert_eq!(huge.counts().blocks, usize::from(moved.is_some()));
    });
}

/// A block moves while another thread maps: the kernel gives the old address to that thread's block at
/// once, and it must stay that block's.
#[test]
fn a_moving_block_leaves_its_address_clean() {
    explore("huge: move against alloc", Some(3), || {
        os::refuse(Refused {
            grow: true,
            ..Refused::default()
        });
        let process = Process::new();
        let huge = process.huge.get();
        let block = alloc(huge, 1, 1);
        let other = thread::spawn(move || {
            let block = alloc(huge, 1, 2);
            assert_eq!(huge.usable_bytes(block.start), Some(ARENA_BYTES));
            assert!(block.free(huge));
        });
        // SAFETY: a live huge block of this thread.
        let moved = unsafe { huge.resize(block.start, 2 * ARENA_BYTES, 16) };
        let moved = Mine {
            start: moved.expect("room"),
            mark: block.mark,
        };
        assert_eq!(huge.usable_bytes(moved.start), Some(2 * ARENA_BYTES));
        other.join().unwrap();
        assert!(moved.free(huge));
    });
}

/// A block is made and given back while another thread asks about an address behind it: a foreign mapping
/// may begin where a block that fills no whole slot ends.
#[test]
fn a_neighbour_may_ask_at_any_time() {
    explore("huge: lookups against alloc, free, purge", Some(5), || {
        let process = Process::new();
        let (huge, map) = (process.huge.get(), process.map.get());
        let place = os::reserve(ARENA_BYTES, ARENA_BYTES).expect("free");
        // SAFETY: reserved just now; only the address is wanted.
        unsafe { os::unmap(place, ARENA_BYTES) };
        // Covered before, so that only the owner's name publishes the descriptor.
        assert!(process.extents.cover(place, ARENA_BYTES));
        let neighbour = Mine {
            // SAFETY: inside the slot.
            start: unsafe { place.add(ARENA_BYTES / 2) },
            mark: 0,
        };
        let other = thread::spawn(move || {
            assert!(huge.usable_bytes(neighbour.start).is_none());
            assert!(!neighbour.free_again(huge));
            if let Owner::Huge(descriptor) = map.owner(neighbour.start.addr().get()) {
                let (base, len, _) = huge.describe(descriptor);
                assert!(base == 0 || base == place.addr().get());
                assert!(len <= ARENA_BYTES);
            }
        });
        let block = alloc(huge, 1, 1);
        assert!(block.free(huge));
        huge.purge(0, u64::MAX);
        other.join().unwrap();
        assert_eq!(map.owner(place.addr().get()), Owner::Gone(ARENA_BYTES));
    });
}

/// A stored block is wanted by two: one gets it, the other a new one.
#[test]
fn a_stored_block_is_had_once() {
    explore("huge: two allocs of one stored block", Some(4), || {
        let process = Process::new();
        let huge = process.huge.get();
        assert!(alloc(huge, 1, 1).free(huge));
        let other = thread::spawn(move || alloc(huge, 1, 2).free(huge));
        assert!(alloc(huge, 1, 3).free(huge));
        assert!(other.join().unwrap());
        assert_eq!(huge.counts().blocks, 0);
    });
}

/// Blocks that fill no whole slot take slots from the extents, as arenas do, when none is stored: a slot that goes from a block to
/// an arena and back belongs to one of them at a time, and what it is mapped for comes out even.
#[test]
fn a_slot_serves_blocks_and_arenas_in_turn() {
    explore("huge: a block and an arena in one slot", Some(3), || {
        let process = Process::new();
        let (huge, map, extents) = (process.huge.get(), process.map.get(), process.extents.get());
        let other = thread::spawn(move || {
            let mut backing = HeapBacking::new(extents, 16, true);
            let memory = backing.obtain().expect("room");
            let slot = os::slot(memory.base);
            slot.write(2);
            // SAFETY: an arena's memory, just handed over, and given back unused.
            let arena = unsafe { Arena::init::<Production>(&memory, false) };
            assert_eq!(map.owner(arena.addr().get()), Owner::Arena);
            assert_eq!(slot.read(), 2);
            // SAFETY: as above.
            unsafe { backing.release(arena) };
        });
        let (start, _) = huge.alloc(PART_OF_A_SLOT, 16, false).expect("room");
        let block = Mine { start, mark: 1 };
        os::slot(start).write(block.mark);
        // SAFETY: a live block of this thread.
        let resized = unsafe { huge.resize(start, 2 * PART_OF_A_SLOT, 16) };
        assert_eq!(resized, Some(start));
        assert!(block.free(huge));
        // Out of the store, to the extents.
        huge.purge(0, u64::MAX);
        other.join().unwrap();
        extents.purge(0, u64::MAX);
        assert_eq!(extents.counts().mapped_bytes, 0);
    });
}
