//! Memory may run out at any moment: a collection completes without it, or keeps for the next one what it
//! cannot decide; objects that cannot be made are errors.
//!
//! The process's allocator refuses everything to a thread that says so.

use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Finalize, Gc, Slot, Trace, Visitor, Weak, WeakCallback};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

thread_local! {
    static REFUSES: Cell<bool> = const { Cell::new(false) };
    static REFUSED: Cell<u32> = const { Cell::new(0) };
}

struct Scarce;

// SAFETY: the system's allocator, or null.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSES.get() {
            REFUSED.set(REFUSED.get() + 1);
            return std::ptr::null_mut();
        }
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static GLOBAL: Scarce = Scarce;

/// Runs `f` while this thread gets no memory; with it, how often it asked for some.
fn without_memory<R>(f: impl FnOnce() -> R) -> (R, u32) {
    REFUSED.set(0);
    REFUSES.set(true);
    let result = f();
    REFUSES.set(false);
    (result, REFUSED.get())
}

struct Node {
    finalized: Cell<u32>,
    next: Slot<Node>,
    others: RefCell<Vec<Gc<Erased>>>,
    weak: RefCell<Weak<Node>>,
}
impl_trace!(struct Node { finalized, next, others, weak }: finalize);

impl Finalize for Node {
    fn finalize(this: &Gc<Self>) {
        this.finalized.set(this.finalized.get() + 1);
    }
}

fn node() -> Gc<Node> {
    try_node().expect("memory")
}

fn try_node() -> Option<Gc<Node>> {
    let made = Gc::try_new(Node {
        finalized: Cell::new(0),
        next: Slot::empty(),
        others: RefCell::default(),
        weak: RefCell::new(Weak::new()),
    });
    made.ok()
}

fn ring(n: usize) -> Gc<Node> {
    let first = node();
    let mut last = first.clone();
    for _ in 1..n {
        let next = node();
        last.next.set(Some(next.clone()));
        last = next;
    }
    last.next.set(Some(first.clone()));
    first
}

/// An object that the collector must leave alone.
struct Legacy {
    me: Slot<Legacy>,
}

// SAFETY: the slot is all it owns.
unsafe impl Trace for Legacy {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = true;
    const UNCOLLECTABLE: bool = true;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.me.trace(visitor);
    }
}

/// A callback that counts.
struct Called(Cell<u32>);
impl_trace!(leaf Called);

impl WeakCallback for Called {
    fn referent_died(&self, weak: &Weak<Erased>) {
        assert!(!weak.is_alive());
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_collection_completes_without_memory() {
    gc::disable();
    let kept = ring(1000);
    let called = Gc::new(Called(Cell::new(0)));
    let dead = ring(20_000);
    let callback: Gc<dyn WeakCallback> = Gc::unsize(called.clone(), |called| called);
    let weak = Weak::with_object(&dead, callback);
    *dead.weak.borrow_mut() = Weak::from(&dead);
    drop(dead);
    let (found, _) = without_memory(gc::collect);
    assert_eq!(found, 20_001, "the ring, and its own weak reference");
    assert_eq!((called.0.get(), weak.is_alive()), (1, false));
    assert_eq!(without_memory(gc::collect).0, 0);
    let after = kept.next.get().expect("a ring");
    assert_eq!((after.finalized.get(), gc::get_count().0), (0, 0));
}

#[test]
fn many_handles_are_decided_about_when_there_is_memory() {
    gc::disable();
    // More handles than a work byte tells apart, all of them from inside: without memory for a list of such
    // objects they are kept, with it they are found.
    let (hub, alive) = (node(), node());
    let handles: Vec<_> = (0..1024).map(|_| Gc::erased(&hub)).collect();
    hub.others.borrow_mut().extend(handles);
    alive
        .others
        .borrow_mut()
        .extend((0..1024).map(|_| Gc::erased(&alive)));
    assert_eq!(Gc::strong_count(&hub), 1025);
    let weak = Weak::from(&hub);
    drop(hub);
    let (found, refused) = without_memory(gc::collect);
    assert!(refused > 0, "it did ask");
    assert_eq!(found, 0);
    let hub = weak.upgrade().expect("kept");
    assert_eq!((Gc::strong_count(&hub), hub.finalized.get()), (1025, 0));
    drop(hub);
    assert_eq!(
        gc::collect(),
        1,
        "the next collection looks again, though nothing changed"
    );
    assert!(!weak.is_alive());
    assert_eq!(Gc::strong_count(&alive), 1025);
}

#[test]
fn what_cannot_be_listed_stays_alive_and_is_found_again() {
    gc::disable();
    let legacy = Gc::new(Legacy { me: Slot::empty() });
    legacy.me.set(Some(legacy.clone()));
    drop(legacy);
    assert_eq!(without_memory(gc::collect).0, 1, "uncollectable");
    assert!(gc::garbage().is_empty());
    assert_eq!(gc::get_objects(None).expect("all").len(), 1);
    assert_eq!(gc::collect(), 1);
    assert_eq!(gc::take_garbage().len(), 1);

    gc::set_debug(gc::SAVEALL);
    drop(ring(3));
    assert_eq!(without_memory(gc::collect).0, 4, "and the one from above");
    gc::set_debug(0);
    assert!(gc::garbage().is_empty());
    assert_eq!(gc::collect(), 4);
}

#[test]
fn no_memory_when_clearing() {
    gc::disable();
    // test_weakref.py: weak references are cleared by a death by count, too.
    let it = node();
    let called = Gc::new(Called(Cell::new(0)));
    let refs: Vec<_> = (0..100)
        .map(|_| {
            let callback: Gc<dyn WeakCallback> = Gc::unsize(called.clone(), |called| called);
            Weak::with_object(&it, callback)
        })
        .collect();
    without_memory(|| drop(it));
    assert!(refs.iter().all(|weak| !weak.is_alive()));
    assert_eq!(called.0.get(), 100);
}

#[test]
fn a_deep_structure_dies_without_memory_for_a_queue() {
    // Where the queue of deaths cannot grow, deaths nest; both end.
    let run = || {
        gc::disable();
        let first = ring(2000);
        let second = first.next.take();
        without_memory(|| drop((first, second)));
        assert_eq!(gc::get_objects(None).expect("all").len(), 0);
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run);
    thread.expect("a thread").join().expect("the test itself");
}

#[test]
fn a_collection_by_itself_completes_without_memory() {
    // Automatic ones run inside `try_new`, which then makes its object or says that it cannot.
    gc::enable();
    gc::set_threshold(700, Some(10), Some(10));
    // The first object of a kind needs a place in the heap's books.
    drop(try_node());
    let (made, _) = without_memory(|| {
        let mut made = 0;
        for _ in 0..20_000 {
            let Some(it) = try_node() else { break };
            it.next.set(Some(it.clone()));
            made += 1;
        }
        made
    });
    assert_eq!(made, 20_000, "collections made room in the arena there was");
    assert!(gc::get_stats()[0].collections > 20);
    gc::disable();
    gc::collect();
    assert_eq!(gc::get_objects(None).expect("all").len(), 0);
}

#[test]
fn an_object_that_cannot_be_made_gives_its_value_back() {
    // The thread's heap is there.
    gc::disable();
    // The first of its kind: the heap's books cannot grow.
    let (refused, _) = without_memory(|| Gc::try_new([7_u8; 100]));
    assert_eq!(refused.expect_err("no memory"), [7; 100]);
    assert_eq!(*Gc::try_new([7_u8; 100]).expect("memory again"), [7; 100]);
}
