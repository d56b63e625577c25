//! `tracemalloc` at work in this process: CPython's TestTracemallocEnabled and TestCAPI, and the regions.
//!
//! The tracer is the process's, so these tests take turns.

use pymalloc::observe::Region;
use pymalloc::observe::tracemalloc::{self, KeyType, MAX_NFRAME, TraceError, Traceback};
use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Tracing, until dropped, by one test at a time.
struct Turn {
    _turn: MutexGuard<'static, ()>,
}

static TURNS: Mutex<()> = Mutex::new(());

impl Turn {
    fn off() -> Self {
        let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        tracemalloc::stop();
        Self { _turn: turn }
    }

    fn start(frames: usize) -> Self {
        let turn = Self::off();
        tracemalloc::start(frames).expect("tracing");
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        tracemalloc::stop();
    }
}

#[inline(never)]
fn allocate(size: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(size))
}

fn traceback_of(block: &[u8]) -> Option<Traceback> {
    tracemalloc::get_block_traceback(block.as_ptr())
}

#[test]
fn get_tracemalloc_memory() {
    let _turn = Turn::start(1);
    let blocks: Vec<_> = (1..200).map(allocate).collect();
    let before = tracemalloc::get_tracemalloc_memory();
    assert!(before > 200 * 16, "{before}");
    tracemalloc::clear_traces();
    drop(blocks);
    assert!(tracemalloc::get_tracemalloc_memory() <= before);
}

#[test]
fn get_block_traceback() {
    let _turn = Turn::start(5);
    let block = allocate(123);
    let traceback = traceback_of(&block).expect("traced");
    assert!((1..=5).contains(&traceback.frames().len()));
    assert!(
        traceback.total_nframe().is_some_and(|total| total >= 3),
        "{traceback:?}"
    );
    assert_eq!(
        tracemalloc::get_block_traceback(&raw const block),
        None,
        "not a block"
    );
}

#[test]
fn a_block_made_again_has_its_new_traceback() {
    let _turn = Turn::start(30);
    let first = allocate(200);
    let (address, before) = (first.as_ptr().addr(), traceback_of(&first).expect("traced"));
    drop(first);
    let again = black_box(|| allocate(200))();
    let after = traceback_of(&again).expect("traced");
    assert!(
        again.as_ptr().addr() != address || after != before,
        "{after:?}"
    );
}

#[test]
fn set_traceback_limit() {
    let _turn = Turn::off();
    assert_eq!(tracemalloc::start(0), Err(TraceError::Frames));
    assert_eq!(tracemalloc::start(MAX_NFRAME + 1), Err(TraceError::Frames));
    let text = TraceError::Frames.to_string();
    assert_eq!(text, "the number of frames must be in range [1; 65535]");
    for limit in [10, 1] {
        tracemalloc::stop();
        tracemalloc::start(limit).expect("tracing");
        let block = allocate(77);
        let traceback = traceback_of(&block).expect("traced");
        assert_eq!(traceback.frames().len(), limit);
        assert_eq!(tracemalloc::get_traceback_limit(), limit);
    }
    tracemalloc::start(7).expect("no effect while tracing");
    assert_eq!(tracemalloc::get_traceback_limit(), 1);
    tracemalloc::stop();
    assert_eq!(
        tracemalloc::get_traceback_limit(),
        1,
        "the last value stays"
    );
}

#[test]
fn get_traces() {
    let _turn = Turn::start(3);
    let block = allocate(4321);
    let expected = traceback_of(&block).expect("traced");
    let snapshot = tracemalloc::take_snapshot().expect("tracing");
    let found: Vec<_> = snapshot
        .traces
        .iter()
        .filter(|trace| trace.size == 4321)
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(*found[0].traceback, expected);
    assert_eq!(found[0].domain, 0);
    tracemalloc::stop();
    assert_eq!(
        tracemalloc::take_snapshot().unwrap_err(),
        TraceError::NotTracing
    );
    let text = TraceError::NotTracing.to_string();
    assert!(text.ends_with("must be tracing memory allocations to take a snapshot"));
}

#[test]
fn get_traces_intern_traceback() {
    let _turn = Turn::start(3);
    let blocks: Vec<_> = [5551, 5552].map(|size| allocate(black_box(size))).into();
    let again: Vec<_> = (0..2).map(|n| allocate(6661 + n)).collect();
    let snapshot = tracemalloc::take_snapshot().expect("tracing");
    let of = |size| {
        snapshot
            .traces
            .iter()
            .find(|trace| trace.size == size)
            .expect("traced")
    };
    assert!(
        Arc::ptr_eq(&of(6661).traceback, &of(6662).traceback),
        "one place, one object"
    );
    drop((blocks, again));
}

#[test]
fn get_traced_memory() {
    let _turn = Turn::start(1);
    tracemalloc::clear_traces();
    let (before, peak_before) = tracemalloc::get_traced_memory();
    let block = allocate(1 << 20);
    let (with, peak) = tracemalloc::get_traced_memory();
    // The harness's own threads allocate a little meanwhile.
    assert!(
        (with - before).abs_diff(1 << 20) <= 65_536,
        "{before} {with}"
    );
    assert!(peak >= with && peak >= peak_before);
    drop(block);
    let (without, peak_after) = tracemalloc::get_traced_memory();
    assert!(without < with && peak_after == peak);
    tracemalloc::clear_traces();
    assert!(tracemalloc::get_traced_memory().0 <= 2048);
    let block = allocate(1 << 20);
    tracemalloc::stop();
    assert_eq!(tracemalloc::get_traced_memory(), (0, 0));
    drop(block);
}

#[test]
fn clear_traces() {
    let _turn = Turn::start(1);
    let block = allocate(123);
    assert!(traceback_of(&block).is_some());
    tracemalloc::clear_traces();
    assert_eq!(traceback_of(&block), None);
    assert!(tracemalloc::is_tracing());
}

#[test]
fn reset_peak() {
    let _turn = Turn::start(1);
    tracemalloc::clear_traces();
    drop(allocate(3 << 20));
    let (_, high) = tracemalloc::get_traced_memory();
    tracemalloc::reset_peak();
    let (size, peak) = tracemalloc::get_traced_memory();
    assert!(peak >= size && peak < high);
    tracemalloc::clear_traces();
    tracemalloc::reset_peak();
    let block = allocate(1 << 20);
    let (size, peak) = tracemalloc::get_traced_memory();
    assert!(size >= 1 << 20 && peak >= size);
    drop(block);
}

#[test]
fn is_tracing() {
    let _turn = Turn::start(1);
    assert!(tracemalloc::is_tracing());
    tracemalloc::stop();
    assert!(!tracemalloc::is_tracing());
    tracemalloc::start(1).expect("tracing");
    assert!(tracemalloc::is_tracing());
}

#[test]
fn snapshot() {
    let _turn = Turn::start(25);
    let blocks: Vec<_> = (0..100).map(|_| allocate(1000)).collect();
    let first = tracemalloc::take_snapshot().expect("tracing");
    let deepest = first
        .traces
        .iter()
        .filter_map(|trace| trace.traceback.total_nframe())
        .max();
    assert!(deepest.is_some_and(|total| total > 10), "{deepest:?}");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("taken");
    first.dump(&path).expect("written");
    let read = tracemalloc::Snapshot::load(&path).expect("a snapshot");
    assert_eq!(read, first);
    drop(blocks);
    let second = tracemalloc::take_snapshot().expect("tracing");
    let diffs = second
        .compare_to(&first, KeyType::Traceback, false)
        .expect("diffs");
    let gone = diffs.iter().find(|diff| diff.size_diff == -100_000);
    assert!(
        gone.is_some_and(|diff| diff.count_diff == -100),
        "{:?}",
        diffs.first()
    );
}

#[test]
fn resized_blocks_keep_one_trace_of_their_new_size() {
    let _turn = Turn::start(1);
    let mut block = allocate(100);
    for size in [200, 2000, 300_000, 3_000_000, 50] {
        if size > block.capacity() {
            block.reserve_exact(size);
        } else {
            block.shrink_to(size);
        }
        let snapshot = tracemalloc::take_snapshot().expect("tracing");
        let n = snapshot
            .traces
            .iter()
            .filter(|trace| trace.size == block.capacity() as u64);
        assert!(n.count() >= 1, "{size}");
        assert!(traceback_of(&block).is_some());
    }
}

#[test]
fn fork() {
    let _turn = Turn::start(1);
    let block = allocate(555);
    // SAFETY: the child allocates and ends; every lock of the allocator is whole after fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let traced = tracemalloc::is_tracing() && traceback_of(&block).is_some();
        let new = allocate(666);
        let status = i32::from(!(traced && traceback_of(&new).is_some()));
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    let mut status = -1;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0, "the child traces");
}

#[test]
fn blocks_of_other_threads_are_traced() {
    let _turn = Turn::start(1);
    let block = std::thread::spawn(|| allocate(7777))
        .join()
        .expect("no panic");
    assert!(traceback_of(&block).is_some());
    let address = block.as_ptr();
    std::thread::spawn(move || drop(block))
        .join()
        .expect("no panic");
    assert_eq!(tracemalloc::get_block_traceback(address), None);
}

#[test]
fn track_and_untrack() {
    const DOMAIN: u32 = 5;
    let _turn = Turn::start(1);
    let sizes = || {
        let snapshot = tracemalloc::take_snapshot().expect("tracing");
        let own = snapshot
            .traces
            .into_iter()
            .filter(|trace| trace.domain == DOMAIN);
        own.map(|trace| trace.size).collect::<Vec<_>>()
    };
    tracemalloc::track(DOMAIN, 0xdead, 123).expect("tracing");
    assert_eq!(sizes(), [123]);
    tracemalloc::track(DOMAIN, 0xdead, 321).expect("tracing");
    assert_eq!(sizes(), [321], "replaced");
    // test_pymem_alloc0: a block of no bytes is one.
    tracemalloc::track(DOMAIN, 0xbeef, 0).expect("tracing");
    let mut both = sizes();
    both.sort_unstable();
    assert_eq!(both, [0, 321]);
    tracemalloc::untrack(DOMAIN, 0xbeef).expect("tracing");
    tracemalloc::untrack(DOMAIN, 0xdead).expect("tracing");
    tracemalloc::untrack(DOMAIN, 0xdead).expect("again, harmless");
    assert_eq!(sizes(), [0; 0]);
    tracemalloc::stop();
    assert_eq!(
        tracemalloc::track(DOMAIN, 0xdead, 1),
        Err(TraceError::NotTracing)
    );
    assert_eq!(
        tracemalloc::untrack(DOMAIN, 0xdead),
        Err(TraceError::NotTracing)
    );
}

#[test]
fn tracing_that_stops_while_others_allocate_is_harmless() {
    let _turn = Turn::off();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20_000).for_each(|n| drop(allocate(1 + n % 700))));
        }
        for _ in 0..50 {
            tracemalloc::start(8).expect("tracing");
            let _ = tracemalloc::take_snapshot().expect("tracing");
            tracemalloc::stop();
        }
    });
    assert_eq!(tracemalloc::get_traced_memory(), (0, 0));
}

#[test]
fn regions_of_threads_that_run_side_by_side_are_their_own() {
    let _turn = Turn::off();
    std::thread::scope(|scope| {
        for n in 1..5usize {
            scope.spawn(move || {
                for _ in 0..200 {
                    let region = Region::new();
                    let blocks = [n, 10 * n, 1000 * n].map(|size| {
                        let mut block = allocate(size);
                        block.reserve_exact(size + 16);
                        block
                    });
                    let bytes = (1011 * n + 48) as u64;
                    let counts = region.counts();
                    assert_eq!(
                        (counts.allocated.blocks, counts.allocated.bytes),
                        (3, bytes)
                    );
                    assert_eq!((counts.live.blocks, counts.live.bytes), (3, bytes));
                    assert_eq!((counts.freed.blocks, counts.resizes), (0, 3));
                    drop(blocks);
                    let counts = region.counts();
                    assert_eq!((counts.freed.blocks, counts.freed.bytes), (3, bytes));
                    assert_eq!((counts.live.blocks, counts.peak_bytes), (0, bytes));
                    region.reset();
                    assert_eq!(region.counts(), Default::default());
                }
            });
        }
    });
}

#[test]
fn a_region_knows_its_blocks_wherever_they_die() {
    let _turn = Turn::off();
    let before = allocate(77);
    let region = Region::new();
    let block = allocate(1000);
    drop(before);
    let counts = region.counts();
    assert_eq!(
        (counts.freed.blocks, counts.freed.bytes),
        (1, 77),
        "a block from before"
    );
    assert_eq!((counts.live.blocks, counts.live.bytes), (1, 1000));
    let all = Region::of_process();
    std::thread::spawn(move || drop(block))
        .join()
        .expect("no panic");
    assert!(all.counts().freed.bytes >= 1000);
    let counts = region.counts();
    assert!(
        counts.live.bytes < 1000,
        "another thread freed it: {counts:?}"
    );
}

#[test]
fn a_budget_is_told_each_time_it_comes_to_be_exceeded() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    static BYTES: AtomicU64 = AtomicU64::new(0);
    let _turn = Turn::off();
    let region = Region::new();
    region.set_budget(1000, |counts| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.store(counts.live.bytes, Ordering::Relaxed);
        // What it allocates is nobody's.
        drop(allocate(5000));
    });
    let told = || (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let within = allocate(1000);
    assert_eq!(told(), (0, 0));
    let beyond = allocate(1);
    assert_eq!(told(), (1, 1001));
    let more = allocate(100);
    assert_eq!(told(), (1, 1001), "once while it is exceeded");
    drop((beyond, more));
    let again = allocate(2);
    assert_eq!(told(), (2, 1002));
    assert_eq!(region.counts().allocated.blocks, 4);
    drop((within, again));
}
