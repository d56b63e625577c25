//! Memory of objects goes back: to other threads when one ends, and at once where an object is huge.
//!
//! Figures are the process's, so that the tests take turns.

#[path = "objects/support.rs"]
#[allow(dead_code, reason = "the tests of objects use the rest")]
mod support;

use pymalloc::gc;
use pymalloc::object::{Gc, Slot, Weak};
use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard};
use support::{Node, self_cycle, start};

static TURN: Mutex<()> = Mutex::new(());

fn take_turn() -> MutexGuard<'static, ()> {
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

const MIB: u64 = 1 << 20;

fn mapped() -> u64 {
    pymalloc::PyMalloc.stats().mapped_bytes
}

/// Makes garbage, live objects of several sizes, and a huge one; leaves some of it to the thread's end.
fn work() {
    let kept: Vec<_> = (0..50_000).map(self_cycle).collect();
    let strings: Vec<Gc<[u8]>> = (0..10_000).map(|n| vec![1; n % 700].into()).collect();
    let huge: Gc<[Gc<Node>]> = kept.iter().cloned().collect();
    assert_eq!((huge.len(), strings.len()), (50_000, 10_000));
    let weak = Weak::with_callback(&kept[0], |_| ());
    kept[1].next.set(Some(kept[0].clone()));
    drop(weak);
}

#[test]
fn a_threads_heap_goes_back_when_it_ends() {
    let _turn = take_turn();
    let run = || std::thread::spawn(work).join().unwrap();
    run();
    let after_one = mapped();
    (0..40).for_each(|_| run());
    let after_all = mapped();
    assert!(
        after_all <= after_one + 24 * MIB,
        "{after_one} and then {after_all}"
    );
}

#[test]
fn what_outlives_its_heap_goes_back_with_the_last_handle() {
    let _turn = take_turn();
    let before = mapped();
    for _ in 0..40 {
        let heap = gc::GcHeap::new();
        heap.set_enabled(false);
        let held: Vec<_> = (0..40_000)
            .map(|name| {
                let (edges, next) = (RefCell::default(), Slot::empty());
                heap.alloc(Node { name, edges, next }).unwrap()
            })
            .collect();
        assert!(heap.arena_bytes() as u64 >= 2 * MIB);
        drop(heap);
        assert!(
            held.iter()
                .enumerate()
                .all(|(at, node)| node.name == at as u32)
        );
    }
    assert!(mapped() <= before + 32 * MIB);
}

#[test]
fn churn_keeps_its_size() {
    let _turn = take_turn();
    start();
    gc::enable();
    let mut window: Vec<Gc<Node>> = Vec::new();
    let mut sizes = Vec::new();
    for round in 0..40 {
        for name in 0..20_000 {
            let cycle = self_cycle(name);
            if name % 10 == 0 {
                window.push(cycle);
            }
        }
        let n = window.len();
        window.drain(..n / 2);
        if round >= 10 {
            sizes.push(mapped());
        }
    }
    gc::collect();
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    assert!(last <= first + 8 * MIB, "{sizes:?}");
}

#[test]
fn what_comes_and_goes_stays_in_few_pools() {
    let _turn = take_turn();
    start();
    gc::enable();
    // A large structure, one object of which is replaced for each hundred that come and go.
    let n = 20_000;
    let mut kept: Vec<_> = (0..n).map(|_| self_cycle(0)).collect();
    let mut random = 1u32;
    for turn in 0..2_000_000 {
        let made = self_cycle(turn);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if turn % 100 == 0 {
            kept[(random >> 8) as usize % n] = made;
        }
    }
    let fresh: Vec<_> = (0..600).map(|_| self_cycle(0)).collect();
    let pools = |objects: &[Gc<Node>]| {
        let pools = objects.iter().map(|object| Gc::id(object) >> 14);
        pools.collect::<std::collections::BTreeSet<_>>().len()
    };
    let (young, all) = (pools(&fresh), pools(&kept));
    assert!(
        young * 4 <= all,
        "600 new objects in {young} of {all} pools"
    );
}

#[test]
fn a_huge_object_goes_back_at_once() {
    let _turn = take_turn();
    start();
    let before = mapped();
    for _ in 0..100 {
        let leaf: Gc<[u8]> = vec![1; 8 << 20].into();
        assert_eq!(leaf[leaf.len() - 1], 1);
        let tracked: Gc<[Option<Gc<Node>>]> = vec![None; 1 << 20].into();
        assert!(tracked.iter().all(Option::is_none));
    }
    assert!(mapped() <= before + 64 * MIB);
}
