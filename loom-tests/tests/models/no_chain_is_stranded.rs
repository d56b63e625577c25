//! `obmalloc::inbox::Gate`: blocks delivered while somebody else holds the lock arrive, once each, with
//! everything their last users wrote; and when all calls have returned, none is left waiting.

use loom::cell::UnsafeCell;
use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::block::Block;
use pymalloc_loom_tests::obmalloc::chain::Chain;
use pymalloc_loom_tests::obmalloc::inbox::{Gate, Receive};
use pymalloc_loom_tests::obmalloc::list::Entry;
use std::cell::Cell;
use std::ptr::NonNull;

/// A block: room for what a carrier holds, and what its user wrote.
#[repr(C, align(16))]
struct Item {
    carrier: Cell<[usize; 3]>,
    index: usize,
    payload: UnsafeCell<u32>,
}

const ITEMS: usize = 3;
/// What a user leaves in a block.
const WRITTEN: u32 = 0xDD;

struct Items([Item; ITEMS]);

// SAFETY: a carrier's words are touched by who holds the block; the payload loom watches; the rest is constant.
unsafe impl Sync for Items {}

impl Items {
    fn new() -> Static<Self> {
        Static::new(Self(std::array::from_fn(|index| Item {
            carrier: Cell::default(),
            index,
            payload: UnsafeCell::new(0),
        })))
    }

    fn block(&'static self, index: usize) -> Block {
        let start = NonNull::from(&self.0[index]).cast::<u8>();
        start.as_ptr().expose_provenance();
        // SAFETY: room for what a carrier holds, in a cell.
        unsafe { Block::new(start) }
    }

    /// Uses the blocks from `first` to `last` for the last time and chains them, two to a carrier.
    fn used(&'static self, first: usize, last: usize) -> Chain {
        let mut chain = Chain::EMPTY;
        for index in first..=last {
            // SAFETY: the block is this thread's.
            self.0[index].payload.with_mut(|p| unsafe { *p = WRITTEN });
            // SAFETY: free from here on, and long enough for one distance.
            unsafe { chain.push(self.block(index), 1) };
        }
        chain
    }
}

/// A heap that counts.
#[derive(Default)]
struct Counts([u32; ITEMS]);

impl Receive for Counts {
    fn verify(&self, carrier: NonNull<u8>) {
        assert!(carrier.addr().get().is_multiple_of(align_of::<Item>()));
    }

    unsafe fn receive(&mut self, blocks: &[Entry]) {
        for block in blocks.iter().flatten() {
            // SAFETY: all blocks of the model are items.
            let item = unsafe { block.start().cast::<Item>().as_ref() };
            self.0[item.index] += 1;
            // The heap may hand the block out again: reads what its user wrote, and writes.
            // SAFETY: free, so the heap's.
            item.payload.with_mut(|p| unsafe {
                assert_eq!(*p, WRITTEN);
                *p = 0;
            });
        }
    }
}

type Home = Gate<Counts>;

fn home() -> Static<Home> {
    Static::new(Gate::new(Counts::default()))
}

/// What has arrived, without looking at the inbox.
fn arrived(home: &Home) -> [u32; ITEMS] {
    // SAFETY: the other threads were joined.
    unsafe { home.with_held(|counts| counts.0) }
}

fn deliver(home: &Home, chain: Chain) {
    // SAFETY: the model's blocks are free and this home's.
    unsafe { home.deliver(chain) }
}

/// Two threads deliver, one of them a chain of two, while the owner comes and goes.
#[test]
fn two_deliverers_meet_the_owner() {
    explore("inbox: two deliverers, one owner", Some(4), || {
        let (items, home) = (Items::new(), home());
        let (shared, gate) = (items.get(), home.get());
        let others = [(0, 1), (2, 2)]
            .map(|(first, last)| thread::spawn(move || deliver(gate, shared.used(first, last))));
        gate.enter(|_| ());
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(arrived(&home), [1; ITEMS]);
    });
}

/// One thread delivers twice while the owner works twice: a chain may arrive between any two steps.
#[test]
fn a_deliverer_meets_a_busy_owner() {
    explore("inbox: one deliverer, a busy owner", Some(5), || {
        let (items, home) = (Items::new(), home());
        let (shared, gate) = (items.get(), home.get());
        let other = thread::spawn(|| {
            deliver(gate, shared.used(0, 0));
            deliver(gate, shared.used(1, 2));
        });
        gate.enter(|_| ());
        gate.try_enter(|_| ());
        other.join().unwrap();
        assert_eq!(arrived(&home), [1; ITEMS]);
    });
}

/// Whoever enters after a delivery finds the blocks already received.
#[test]
fn who_enters_finds_what_was_delivered() {
    explore("inbox: delivered before entered", Some(5), || {
        let (items, home) = (Items::new(), home());
        let (shared, gate) = (items.get(), home.get());
        let other = thread::spawn(|| gate.enter(|_| ()));
        deliver(gate, shared.used(0, 0));
        let seen = gate.enter(|counts| counts.0);
        assert_eq!(seen, [1, 0, 0]);
        other.join().unwrap();
    });
}

/// Fork takes a heap's lock past the gate and frees it in the parent; meanwhile a chain arrives.
#[test]
fn fork_leaves_no_chain_behind() {
    explore("inbox: a deliverer and a fork", None, || {
        let (items, home) = (Items::new(), home());
        let (shared, gate) = (items.get(), home.get());
        let other = thread::spawn(|| deliver(gate, shared.used(0, 2)));
        std::mem::forget(gate.lock().lock());
        // SAFETY: taken by this thread just now.
        unsafe { gate.lock().unlock() };
        gate.settle();
        other.join().unwrap();
        assert_eq!(arrived(&home), [1; ITEMS]);
    });
}
