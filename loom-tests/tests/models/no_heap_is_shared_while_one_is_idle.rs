//! `obmalloc::roster`: each thread gets a heap of its own while there are any, whoever walks the roster
//! sees heaps completely made, and the counts come out even.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::roster::Roster;

/// What its maker writes into a heap.
const MADE: u32 = 7;

struct Heap {
    contents: UnsafeCell<u32>,
    users: AtomicU32,
}

impl Heap {
    fn blank() -> Static<Self> {
        Static::new(Self {
            contents: UnsafeCell::new(0),
            users: AtomicU32::new(0),
        })
    }

    fn contents(&self) -> u32 {
        // SAFETY: the read ends here; loom reports it if the write is not ordered before it.
        self.contents.with(|p| unsafe { *p })
    }
}

struct Process {
    roster: Roster<Heap>,
    memory: [Static<Heap>; 2],
    n_made: std::sync::atomic::AtomicUsize,
}

impl Process {
    fn new() -> Static<Self> {
        Static::new(Self {
            roster: Roster::new(),
            memory: [Heap::blank(), Heap::blank()],
            n_made: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    fn make(&self) -> Option<&'static Heap> {
        let index = self
            .n_made
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let heap = self.memory[index].get();
        // SAFETY: nobody else has it yet.
        heap.contents.with_mut(|p| unsafe { *p = MADE });
        Some(heap)
    }

    /// A thread's life; at most `others` more may use its heap meanwhile.
    fn live(&self, most: usize, others: u32) {
        let heap = self.roster.join(most, 1, || self.make()).expect("made");
        assert_eq!(heap.contents(), MADE);
        // Relaxed: only counts.
        assert!(heap.users.fetch_add(1, Ordering::Relaxed) <= others);
        thread::yield_now();
        heap.users.fetch_sub(1, Ordering::Relaxed);
        self.roster.leave(heap);
    }
}

/// Two threads and two heaps at most: each has one for itself, though heaps are used again, while a
/// third walks the roster.
#[test]
fn two_threads_have_a_heap_each() {
    explore("roster: two lives and a walk", Some(4), || {
        let process = Process::new();
        let shared = process.get();
        let others = [(); 2].map(|()| thread::spawn(|| shared.live(2, 0)));
        for heap in process.roster.heaps() {
            assert_eq!(heap.contents(), MADE);
        }
        others.into_iter().for_each(|other| other.join().unwrap());
        let threads = process.roster.threads();
        assert_eq!((threads.now, threads.total), (0, 2));
        assert!(threads.high <= 2);
    });
}

/// Three threads and two heaps: no heap has three users, and none is left over.
#[test]
fn three_threads_spread_over_two_heaps() {
    explore("roster: three lives", Some(2), || {
        let process = Process::new();
        let shared = process.get();
        let others = [(); 2].map(|()| thread::spawn(|| shared.live(2, 1)));
        shared.live(2, 1);
        others.into_iter().for_each(|other| other.join().unwrap());
        let threads = process.roster.threads();
        assert_eq!((threads.now, threads.total), (0, 3));
        // All left: the next thread gets the first heap again, alone.
        let heap = process.roster.join(2, 1, || unreachable!("one is idle"));
        assert!(std::ptr::eq(heap.expect("idle"), process.memory[0].get()));
    });
}
