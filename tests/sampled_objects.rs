//! A sample of objects: right on average, and rid of what ended, by count or by collection.

use pymalloc::object::{Gc, Slot};
use pymalloc::observe::tracemalloc;
use pymalloc::{gc, impl_trace};
use std::collections::HashSet;
use std::hint::black_box;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

struct Node {
    words: [u64; 5],
    next: Slot<Node>,
}

impl_trace!(struct Node { words, next });

fn node() -> Gc<Node> {
    Gc::new(Node {
        words: [1; 5],
        next: Slot::empty(),
    })
}

/// Bytes of one with its header, which are a size class.
const NODE: f64 = 56.0;
const CLASS: f64 = 64.0;

fn traced() -> f64 {
    tracemalloc::get_traced_memory().0 as f64
}

/// How many are kept.
const KEPT: u32 = 200_000;

type Traces = Vec<tracemalloc::Trace>;

/// The traces of objects: those whose blocks are of their size.
fn of_objects(traces: Traces) -> Traces {
    let is_one = |size: u64, count: u64| (size as f64 / count as f64 - NODE).abs() < 1.0;
    let of_nodes = traces.into_iter();
    of_nodes.filter(|t| is_one(t.size, t.count)).collect()
}

/// Checks the sample of so many bytes of objects beside a vector; its traces of objects.
fn check_sample(seen: f64) -> Traces {
    // 11.2 MB and a vector that is seen or not, in 780 samples: five standard deviations.
    let expected = NODE * f64::from(KEPT);
    let vector = 8.0 * 262_144.0;
    let error = (seen - expected - vector / 2.0) / expected;
    assert!(
        error.abs() < 0.18 + vector / 2.0 / expected,
        "{seen} for {expected}"
    );
    let snapshot = tracemalloc::take_snapshot().expect("it traces");
    assert!(snapshot.traces.len() < 1500, "{}", snapshot.traces.len());
    let objects = of_objects(snapshot.traces);
    let n: u64 = objects.iter().map(|trace| trace.count).sum();
    assert!(
        (n as f64 / f64::from(KEPT) - 1.0).abs() < 0.18,
        "{n} objects"
    );
    // Each stands for the bytes between two samples, about.
    let by_one = CLASS * n as f64 / objects.len() as f64;
    assert!((by_one / 16384.0 - 1.0).abs() < 0.2, "{by_one}");
    objects
}

/// Pairs, whose slot is the same each time, are seen, and nothing of them stays.
fn check_pairs() {
    let quiet = traced();
    (0..1_000_000).for_each(|_| drop(black_box(node())));
    assert!(
        (traced() - quiet).abs() < 64.0 * 1024.0,
        "{} {quiet}",
        traced()
    );
    let (_, peak) = tracemalloc::get_traced_memory();
    assert!(peak as f64 > quiet);
}

/// Ends the objects, half of them by count and half by the collector: the sample follows.
fn check_ends(kept: Vec<Gc<Node>>, objects: &Traces, before: f64) {
    for object in kept.iter().step_by(2) {
        object.next.set(Some(object.clone()));
    }
    drop(kept);
    let half = traced() - before;
    let expected = NODE * f64::from(KEPT);
    assert!((half / expected - 0.5).abs() < 0.13, "{half}");
    assert_eq!(gc::collect() as u32, KEPT / 2);
    // None of them; the snapshots and the names in them are blocks that live, and may be in the sample.
    let made: HashSet<_> = objects.iter().map(|trace| &trace.traceback).collect();
    let after = tracemalloc::take_snapshot().expect("it traces");
    let left = of_objects(after.traces);
    let left = left.iter().filter(|trace| made.contains(&trace.traceback));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_sample_of_objects_is_right_on_average_and_forgets_what_ends() {
    drop(node());
    tracemalloc::start_sampled(8, 16 << 10).expect("it starts");
    let before = traced();
    let kept: Vec<_> = (0..KEPT).map(|_| node()).collect();
    let objects = check_sample(traced() - before);
    check_pairs();
    check_ends(kept, &objects, before);
    tracemalloc::stop();
    (0..1000).for_each(|_| drop(node()));
    tracemalloc::start(3).expect("every one");
    let (from, object) = (traced(), node());
    assert_eq!(traced() - from, NODE);
    drop(object);
    assert_eq!(traced(), from);
    tracemalloc::stop();
}
