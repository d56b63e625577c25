//! `obmalloc::kept`, under `huge`: a block that a thread keeps is taken once, by that thread or by whoever
//! gives memory back, and a place passes from one thread to the next as it is.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::address_map::AddressMap;
use pymalloc_loom_tests::obmalloc::extents::Extents;
use pymalloc_loom_tests::obmalloc::huge::Huge;
use pymalloc_loom_tests::obmalloc::kept::Place;
use pymalloc_loom_tests::os;
use std::ptr::NonNull;

/// Bytes of a block that lives in a slot.
const SIZE: usize = 300 * 1024;

struct Process {
    _map: Static<AddressMap>,
    _extents: Static<Extents>,
    huge: Static<Huge>,
}

impl Process {
    fn new() -> Self {
        let map = Static::new(AddressMap::new());
        let extents = Static::new(Extents::new(map.get()));
        let huge = Static::new(Huge::new(extents.get()));
        Self {
            _map: map,
            _extents: extents,
            huge,
        }
    }
}

fn alloc(huge: &Huge, place: &Place, mark: u64) -> NonNull<u8> {
    let start = huge
        .alloc_kept(place, SIZE, 16)
        .unwrap_or_else(|| huge.alloc(SIZE, 16, false).expect("room").0);
    os::slot(start).write(mark);
    start
}

/// The last use of the block, and its free into the place or past it.
fn free(huge: &Huge, place: &Place, start: NonNull<u8>, mark: u64) {
    assert_eq!(os::slot(start).read(), mark);
    // SAFETY: the model uses the block no more; the place is this thread's.
    unsafe { assert!(huge.keep(place, start) || huge.free(start)) };
}

/// A block that another thread frees, too.
struct Again(NonNull<u8>);

// SAFETY: an address.
unsafe impl Send for Again {}

impl Again {
    fn free(self, huge: &Huge) -> bool {
        // SAFETY: an error of the model's program; the descriptor decides who is told.
        unsafe { huge.free(self.0) }
    }
}

/// Allocates and frees twice as a thread does that has joined and leaves.
fn pairs(huge: &'static Huge, mark: u64) {
    let place = huge.join().expect("a place");
    for _ in 0..2 {
        let start = alloc(huge, place, mark);
        free(huge, place, start, mark);
    }
    huge.leave(place);
}

/// A thread frees and allocates while another takes what threads keep and gives it back to the system.
#[test]
fn a_kept_block_is_had_once() {
    explore("kept: a pair against a purge", Some(4), || {
        let process = Process::new();
        let huge = process.huge.get();
        let purger = thread::spawn(move || {
            huge.recall(false);
            huge.purge(0, u64::MAX);
        });
        pairs(huge, 1);
        purger.join().unwrap();
        assert_eq!(huge.counts().blocks, 0);
    });
}

/// As above, with the purge that leaves alone what it did not see before.
#[test]
fn an_idle_block_is_had_once() {
    explore("kept: a pair against two purge rounds", Some(3), || {
        let process = Process::new();
        let huge = process.huge.get();
        let place = huge.join().expect("a place");
        let start = alloc(huge, place, 1);
        free(huge, place, start, 1);
        huge.recall(true);
        let purger = thread::spawn(move || huge.recall(true));
        let start = alloc(huge, place, 2);
        free(huge, place, start, 2);
        purger.join().unwrap();
        huge.leave(place);
        let counts = huge.counts();
        assert_eq!((counts.blocks, counts.bytes), (0, 0));
    });
}

/// Two threads free the same block, one of them into its place: one is told that there is none.
#[test]
fn of_two_frees_one_keeps() {
    explore("kept: two frees", None, || {
        let process = Process::new();
        let huge = process.huge.get();
        let place = huge.join().expect("a place");
        let start = alloc(huge, place, 1);
        let again = Again(start);
        let other = thread::spawn(move || again.free(huge));
        // SAFETY: as above.
        let kept = unsafe { huge.keep(place, start) };
        assert_ne!(kept, other.join().unwrap());
        assert_eq!(huge.counts().blocks, 0);
        huge.leave(place);
    });
}

/// Threads that come and go have places of their own, and find them empty.
#[test]
fn a_place_has_one_thread() {
    explore("kept: two threads join and leave", Some(3), || {
        let process = Process::new();
        let huge = process.huge.get();
        let other = thread::spawn(move || pairs(huge, 1));
        pairs(huge, 2);
        other.join().unwrap();
        // More than there are places, had those been kept.
        pairs(huge, 3);
        assert_eq!(huge.counts().blocks, 0);
    });
}

/// Of two blocks a thread keeps the first, also while that one may be taken from it.
#[test]
fn of_two_blocks_one_is_kept() {
    explore("kept: two blocks against a purge", Some(2), || {
        let process = Process::new();
        let huge = process.huge.get();
        let place = huge.join().expect("a place");
        let blocks = [1, 2].map(|mark| (alloc(huge, place, mark), mark));
        let purger = thread::spawn(move || huge.recall(false));
        for (start, mark) in blocks {
            free(huge, place, start, mark);
        }
        purger.join().unwrap();
        huge.leave(place);
        assert_eq!(huge.counts().blocks, 0);
    });
}
