//! Budgets: what is told of memory beyond one, and what is refused.

#[path = "support/preload.rs"]
mod support;

use pymalloc::observe::{Counts, Region, Tag};
use std::alloc::{GlobalAlloc, Layout};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

#[test]
fn what_a_limit_refuses_leaves_everything_as_it_was() {
    let region = Region::new();
    let mut kept: Vec<u8> = Vec::with_capacity(1000);
    kept.extend((0..1000).map(|n| n as u8));
    region.set_limit(Some(5000));
    let mut other: Vec<u8> = Vec::new();
    assert!(other.try_reserve_exact(4001).is_err(), "one byte too many");
    assert_eq!(region.counts().live.bytes, 1000, "nothing was taken");
    assert!(kept.try_reserve_exact(4001).is_err(), "nor grown");
    assert!(kept.iter().enumerate().all(|(n, byte)| *byte == n as u8));
    assert!(other.try_reserve_exact(4000).is_ok(), "what fits is given");
    assert_eq!(region.counts().live.bytes, 5000);
    drop(kept);
    assert!(
        other.try_reserve_exact(5000).is_ok(),
        "what was freed counts no more"
    );
    region.set_limit(None);
    assert!(other.try_reserve_exact(1 << 20).is_ok());
}

#[test]
fn memory_of_a_tag_is_counted_wherever_it_is_freed() {
    let (outer, inner) = (Tag::new("outer"), Tag::new("inner"));
    let (first, second, third) = {
        let _outer = outer.enter();
        let first = vec![1u8; 100];
        let second = {
            let _inner = inner.enter();
            vec![2u8; 200]
        };
        (first, second, vec![3u8; 300])
    };
    let live = |tag: &Tag| tag.region().counts().live;
    assert_eq!((live(&outer).bytes, live(&outer).blocks), (400, 2));
    assert_eq!((live(&inner).bytes, live(&inner).blocks), (200, 1));
    let thread = std::thread::spawn(move || drop((first, second)));
    thread.join().expect("no panic");
    assert_eq!((live(&outer).bytes, live(&inner).bytes), (300, 0));
    drop(third);
    assert_eq!(live(&outer).bytes, 0);
    assert_eq!((outer.name(), inner.name()), ("outer", "inner"));
}

#[test]
fn threads_together_never_pass_a_tags_limit() {
    const LIMIT: u64 = 1 << 20;
    let tag = Tag::new("workers");
    tag.region().set_limit(Some(LIMIT));
    let layout = Layout::from_size_align(1000, 8).expect("a layout");
    let work = || {
        let _in_it = tag.enter();
        let mut blocks = [std::ptr::null_mut::<u8>(); 2000];
        let mut given = 0;
        for round in 0..20_000 {
            let place = &mut blocks[round * 7 % 2000];
            // SAFETY: freed by the layout they were allocated for.
            unsafe {
                if !place.is_null() {
                    GLOBAL.dealloc(*place, layout);
                }
                *place = GLOBAL.alloc(layout);
            }
            given += usize::from(!place.is_null());
        }
        for block in blocks.into_iter().filter(|block| !block.is_null()) {
            // SAFETY: as above.
            unsafe { GLOBAL.dealloc(block, layout) };
        }
        given
    };
    let given: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| thread.join());
        ends.map(|end| end.expect("no panic")).collect()
    });
    let counts = tag.region().counts();
    assert!(counts.peak_bytes <= LIMIT, "{counts:?}");
    assert!(
        counts.peak_bytes > LIMIT - 1000,
        "it was reached: {counts:?}"
    );
    assert_eq!(counts.live.bytes, 0, "nothing is lost");
    assert!(
        given.iter().sum::<usize>() < 4 * 20_000,
        "some were refused"
    );
    // What was promised to requests that failed is free again.
    let _in_it = tag.enter();
    assert!(Vec::<u8>::new().try_reserve_exact(LIMIT as usize).is_ok());
}

#[test]
fn a_budget_is_told_each_time_it_is_exceeded() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let tag = Tag::new("soft");
    tag.region().set_budget(1000, |counts: &Counts| {
        assert!(counts.live.bytes > 1000);
        CALLS.fetch_add(1, Ordering::Relaxed);
    });
    let _in_it = tag.enter();
    for _ in 0..3 {
        let within = vec![0u8; 900];
        let beyond = vec![0u8; 200];
        let still = vec![0u8; 200];
        drop((within, beyond, still));
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), 3);
}

#[test]
fn what_each_thread_did_is_told_apart() {
    let tag = Tag::new("by thread");
    let kept: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let work = |n: usize| {
            let tag = &tag;
            move || {
                let _in_it = tag.enter();
                drop(vec![0u8; 50]);
                vec![0u8; 1000 * n]
            }
        };
        let threads: Vec<_> = (1..4).map(|n| scope.spawn(work(n))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let mut live: Vec<u64> = tag
        .region()
        .threads()
        .iter()
        .map(|counts| counts.live.bytes)
        .collect();
    live.sort_unstable();
    assert_eq!(live, [1000, 2000, 3000]);
    assert!(
        tag.region()
            .threads()
            .iter()
            .all(|counts| counts.freed.bytes == 50)
    );
    drop(kept);
    assert!(
        tag.region()
            .threads()
            .iter()
            .all(|counts| counts.live.bytes == 0)
    );
}

#[test]
fn a_program_gets_no_memory_beyond_its_limit_and_goes_on() {
    let script = concat!(
        "x = []\n",
        "try:\n",
        "    while True: x.append(bytes(1 << 20))\n",
        "except MemoryError: pass\n",
        "n = len(x)\n",
        "y = [str(i) for i in range(1000)]\n",
        "del x\n",
        "print(n, len(bytes(20 << 20)) >> 20, len(y))\n",
    );
    let output = Command::new("python3")
        .args(["-c", script])
        .env("PYTHONMALLOC", "malloc")
        .env("PYMALLOC_CONF", "limit:64M")
        .env("LD_PRELOAD", support::preload_library())
        .output()
        .expect("python3 is installed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let words: Vec<usize> = text
        .split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect();
    assert!((30..62).contains(&words[0]), "{words:?}");
    assert_eq!(words[1..], [20, 1000]);
}
