//! Objects are blocks to those who watch: counted to the byte, with the place of their making, until they end.

#[path = "support/rng.rs"]
mod rng;

use pymalloc::gc::{self, GcHeap};
use pymalloc::object::{Gc, Slot, Tail, Weak};
use pymalloc::observe::tracemalloc::{self, KeyType};
use pymalloc::observe::{Counts, Region, objgraph};
use pymalloc::{impl_trace, object::Finalize};
use rng::Rng;
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// The process has one tracer.
fn turn() -> MutexGuard<'static, ()> {
    static TURNS: Mutex<()> = Mutex::new(());
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Node {
    words: [u64; 3],
    left: Slot<Node>,
    right: Slot<Node>,
}

impl_trace!(struct Node { words, left, right });

/// Bytes of a node: three words, two references, the header.
const NODE: u64 = 48;

fn node() -> Gc<Node> {
    Gc::new(Node {
        words: [1; 3],
        left: Slot::empty(),
        right: Slot::empty(),
    })
}

/// What a region counts of `f`, by blocks and bytes made, given back, and live.
fn counted(region: &Region, f: impl FnOnce()) -> [(u64, u64); 3] {
    region.reset();
    f();
    let Counts {
        allocated,
        freed,
        live,
        ..
    } = region.counts();
    [allocated, freed, live].map(|sum| (sum.blocks, sum.bytes))
}

#[test]
fn objects_of_all_kinds_are_counted_to_the_byte() {
    let region = Region::new();
    // The thread's heap is made with its first object.
    drop((node(), Gc::new(1u8), Gc::new([0u8; 600])));
    let mut kept = Vec::with_capacity(100);
    let made = counted(&region, || kept.extend((0..100).map(|_| node())));
    assert_eq!(made, [(100, 100 * NODE), (0, 0), (100, 100 * NODE)]);
    let gone = counted(&region, || kept.truncate(40));
    assert_eq!(gone, [(0, 0), (60, 60 * NODE), (0, 0)]);
    let pairs = counted(&region, || {
        (0..1000).for_each(|_| drop(std::hint::black_box(node())));
    });
    assert_eq!(pairs, [(1000, 1000 * NODE), (1000, 1000 * NODE), (0, 0)]);
    // Without references; above 512 bytes, where 16 stand before a value; and an arena of its own.
    for (bytes, f) in [
        (8 + 1, (|| drop(Gc::new(1u8))) as fn()),
        (16 + 600, || drop(Gc::new([0u8; 600]))),
        (16 + 100_000, || drop(Gc::new([0u8; 100_000]))),
        (16 + 2_000_000, || drop(Gc::new([0u8; 2_000_000]))),
    ] {
        // What the heap knows of a size is made with its first object.
        f();
        assert_eq!(counted(&region, f), [(1, bytes), (1, bytes), (0, 0)]);
    }
    // A head and items: their number stands before the header.
    let spam = || {
        let text = Gc::<Tail<u64, u8>>::with_items(7, "spam".bytes());
        assert_eq!(text.items(), b"spam");
    };
    spam();
    let text = counted(&region, spam);
    assert_eq!(text, [(1, 16 + 8 + 4), (1, 16 + 8 + 4), (0, 0)]);
    let unwrap = || assert_eq!(Gc::try_unwrap(Gc::new(5u64)).ok(), Some(5));
    unwrap();
    let unwrapped = counted(&region, unwrap);
    assert_eq!(unwrapped, [(1, 16), (1, 16), (0, 0)]);
}

#[test]
fn what_the_collector_frees_is_given_back() {
    let region = Region::new();
    drop(node());
    gc::collect();
    let rings = counted(&region, || {
        for _ in 0..50 {
            let (a, b) = (node(), node());
            a.left.set(Some(b.clone()));
            b.left.set(Some(a));
        }
    });
    assert_eq!(rings, [(100, 100 * NODE), (0, 0), (100, 100 * NODE)]);
    let (mut found, mut live) = (0, (0, 0));
    let collected = counted(&region, || {
        let kept = node();
        kept.left.set(Some(node()));
        found = gc::collect();
        let counts = region.counts();
        live = (counts.live.blocks, counts.live.bytes);
    });
    assert_eq!((found, live), (100, (2, 2 * NODE)));
    assert_eq!(collected[1], (102, 102 * NODE));
}

/// Dies twice: its finalizer keeps it once.
struct Phoenix {
    ash: Slot<Phoenix>,
}

impl_trace!(struct Phoenix { ash }: finalize);

thread_local! {
    static NEST: RefCell<Option<Gc<Phoenix>>> = const { RefCell::new(None) };
}

impl Finalize for Phoenix {
    fn finalize(this: &Gc<Self>) {
        NEST.with_borrow_mut(|nest| *nest = Some(this.clone()));
    }
}

#[test]
fn what_lives_on_was_not_given_back() {
    let region = Region::new();
    drop(Gc::new(Phoenix { ash: Slot::empty() }));
    NEST.take();
    let risen = counted(&region, || drop(Gc::new(Phoenix { ash: Slot::empty() })));
    assert_eq!(risen, [(1, 16), (0, 0), (1, 16)]);
    let gone = counted(&region, || drop(NEST.take()));
    assert_eq!(gone[1], (1, 16));
    let called = Cell::new(false);
    let watch_a_node_die = || {
        let object = node();
        let weak = Weak::from(&object);
        drop(object);
        called.set(weak.upgrade().is_none());
    };
    watch_a_node_die();
    let weak = counted(&region, watch_a_node_die);
    assert!(called.get());
    assert_eq!(weak[2], (0, 0), "{weak:?}");
}

#[test]
fn a_long_list_and_a_broken_build_leave_nothing() {
    let region = Region::new();
    let long_list = || {
        let mut head = node();
        for _ in 0..100_000 {
            let next = node();
            next.left.set(Some(head));
            head = next;
        }
    };
    // Those deep inside wait in a queue, which stays.
    long_list();
    let all = (100_001, 100_001 * NODE);
    assert_eq!(counted(&region, long_list), [all, all, (0, 0)]);
    let broken_builds = || {
        let broken = std::panic::catch_unwind(|| {
            Gc::<Node>::new_cyclic(|_: &Weak<Node>| std::panic::resume_unwind(Box::new(1)))
        });
        let items = (0..9).map(|n| match n {
            5 => std::panic::resume_unwind(Box::new(2)),
            n => Gc::new(n),
        });
        let items = std::panic::AssertUnwindSafe(items);
        let cut = std::panic::catch_unwind(|| Gc::<Tail<u8, Gc<i32>>>::with_items(1, { items }.0));
        assert!(broken.is_err() && cut.is_err());
    };
    broken_builds();
    let left = counted(&region, broken_builds);
    assert_eq!(left[2], (0, 0), "{left:?}");
    assert_eq!(left[0], left[1]);
}

#[test]
fn a_budget_s_callback_may_make_objects() {
    thread_local! {
        static MADE: RefCell<Vec<Gc<Node>>> = const { RefCell::new(Vec::new()) };
    }
    let region = Region::new();
    MADE.with_borrow_mut(|made| made.push(node()));
    region.reset();
    region.set_budget(NODE - 1, |_| {
        MADE.with_borrow_mut(|made| made.extend((0..3000).map(|_| node())));
        gc::collect();
    });
    for n in 0..10 {
        let object = node();
        object.words.iter().for_each(|word| assert_eq!(*word, 1));
        MADE.with_borrow(|made| {
            assert_eq!(made.len(), 1 + 3000 * (n + 1));
            assert!(made.iter().all(|other| !Gc::is(other, &object)));
        });
    }
}

#[test]
fn beyond_a_limit_no_object_is_made() {
    let region = Region::new();
    drop(Gc::new([0u8; 1000]));
    region.reset();
    region.set_limit(Some(10 * 1016));
    let kept: Vec<_> = std::iter::from_fn(|| Gc::try_new([0u8; 1000]).ok()).collect();
    // The vector's own places are counted, too: 4 and 8 words, and 16 that never were.
    assert_eq!(kept.len(), 9);
    drop(kept);
    assert!(Gc::try_new([0u8; 1000]).is_ok());
}

#[test]
fn every_heap_of_the_thread_is_exact_at_once_and_afterwards_as_before() {
    let heaps = [GcHeap::new(), GcHeap::new(), GcHeap::new()];
    let [first, gone, last] = heaps;
    let old: Vec<_> = (0..100).map(|n| first.alloc(n).expect("memory")).collect();
    let more: Vec<_> = (0..100).map(|n| last.alloc(n).expect("memory")).collect();
    drop(gone);
    let use_all = || drop((first.alloc(1i32), last.alloc(2i32), Gc::new(3i32)));
    use_all();
    for round in 0..3 {
        drop(first.alloc(1));
        let region = Region::new();
        let made = counted(&region, use_all);
        assert_eq!(made, [(3, 36), (3, 36), (0, 0)], "round {round}");
    }
    let region = Region::new();
    // Made before: their end is told, as that of any block.
    assert_eq!(counted(&region, || drop((old, more)))[1].0, 202);
}

#[test]
fn threads_that_begin_are_exact() {
    let region = Region::of_process();
    let threads: Vec<_> = (1..=4u64)
        .map(|n| {
            std::thread::spawn(move || {
                let own = Region::new();
                let kept: Vec<_> = (0..n * 100).map(|_| node()).collect();
                let counts = own.counts();
                drop(kept);
                (counts.allocated.bytes, n)
            })
        })
        .collect();
    for thread in threads {
        let (bytes, n) = thread.join().expect("it runs");
        assert!(bytes >= n * 100 * NODE, "{bytes}");
    }
    drop(region);
}

/// A leaf that tells when it goes.
struct Teller(u32, &'static std::thread::LocalKey<RefCell<Vec<u32>>>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.1.with_borrow_mut(|told| told.push(self.0));
    }
}

impl_trace!(leaf Teller);

struct Link {
    teller: Teller,
    next: Slot<Link>,
    other: Slot<Link>,
}

impl_trace!(struct Link { teller, next, other });

thread_local! {
    static TOLD: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

fn order_of_deaths() -> Vec<u32> {
    let link = |n, next| {
        Gc::new(Link {
            teller: Teller(n, &TOLD),
            next: Slot::from(next),
            other: Slot::empty(),
        })
    };
    let mut head = link(0, None);
    for n in 1..300 {
        let side = link(1000 + n, None);
        let next = link(n, Some(head));
        next.other.set(Some(side));
        head = next;
    }
    drop(head);
    TOLD.take()
}

#[test]
fn objects_die_in_the_same_order_when_watched() {
    let unwatched = order_of_deaths();
    let region = Region::new();
    assert_eq!(order_of_deaths(), unwatched);
    drop(region);
    assert_eq!(order_of_deaths(), unwatched);
    assert_eq!(unwatched.len(), 599);
}

#[inline(never)]
fn plant(n: usize) -> Vec<Gc<Node>> {
    (0..n).map(|_| node()).collect()
}

#[test]
fn tracemalloc_sees_a_graph_its_makers_and_what_came_and_went() {
    let _turn = turn();
    drop(node());
    let unknown = node();
    tracemalloc::start(20).expect("tracing");
    let kept = plant(1);
    let root = &kept[0];
    let before = tracemalloc::take_snapshot().expect("tracing");
    assert!(tracemalloc::get_object_traceback(&unknown).is_none());
    let made = tracemalloc::get_object_traceback(root).expect("traced");
    assert_eq!(
        tracemalloc::get_block_traceback(&raw const **root),
        Some(made.clone())
    );
    let objects = plant(1000);
    root.left.set(Some(objects[500].clone()));
    let other = node();
    let elsewhere = tracemalloc::get_object_traceback(&other).expect("traced");
    assert_ne!(elsewhere, made);
    // objgraph knows what there is, tracemalloc where it was made.
    let found = objgraph::at(Gc::id(&objects[500])).expect("it lives");
    let of_found = tracemalloc::get_object_traceback(&found).expect("traced");
    let of_another = tracemalloc::get_object_traceback(&objects[7]);
    assert_eq!(Some(&of_found), of_another.as_ref());
    let more = || {
        let now = tracemalloc::take_snapshot().expect("tracing");
        let diff = now.compare_to(&before, KeyType::Traceback, false);
        let diff = diff.expect("statistics");
        let here = diff.iter();
        let mut here = here.filter(|row| row.traceback.frames() == of_found.frames());
        let row = here.next().expect("one of them lives still");
        (row.size_diff, row.count_diff)
    };
    assert_eq!(more(), (1000 * NODE as i64, 1000));
    drop((objects, found));
    assert_eq!(more(), (NODE as i64, 1));
    // A ring that only the collector finds.
    let ring = node();
    ring.left.set(Some(ring.clone()));
    let address = Gc::id(&ring) + 8;
    drop(ring);
    let is_traced = || {
        let p = std::ptr::without_provenance::<u8>(address);
        tracemalloc::get_block_traceback(p).is_some()
    };
    assert!(is_traced());
    gc::collect();
    assert!(!is_traced());
    tracemalloc::stop();
    drop((other, kept, unknown));
    assert!(tracemalloc::get_object_traceback(&node()).is_none());
}

#[test]
fn random_lives_are_followed_to_the_last_object() {
    let mut rng = Rng::new(rng::seed("random lives"));
    let region = Region::new();
    drop(node());
    region.reset();
    let mut roots: Vec<Option<Gc<Node>>> = vec![None; 64];
    region.reset();
    for step in 0..20_000 {
        let at = rng.below(64);
        match rng.below(10) {
            0..4 => roots[at] = Some(node()),
            4 => roots[at] = None,
            5..8 => {
                let target = roots[rng.below(64)].clone();
                if let Some(root) = &roots[at] {
                    let slot = if rng.below(2) == 0 {
                        &root.left
                    } else {
                        &root.right
                    };
                    slot.set(target);
                }
            }
            8 => roots[at] = roots[at].take().and_then(|root| root.left.get()),
            _ if rng.below(50) == 0 => {
                gc::collect();
                // The oracle: what can be reached.
                let mut seen = std::collections::HashSet::new();
                let mut todo: Vec<_> = roots.iter().flatten().cloned().collect();
                while let Some(object) = todo.pop() {
                    if seen.insert(Gc::id(&object)) {
                        todo.extend(object.left.get().into_iter().chain(object.right.get()));
                    }
                }
                let n = seen.len() as u64;
                drop((seen, todo));
                let live = region.counts().live;
                assert_eq!((live.blocks, live.bytes), (n, n * NODE), "step {step}");
            }
            _ => {}
        }
    }
    roots.clear();
    gc::collect();
    assert_eq!(region.counts().live.blocks, 0);
}
