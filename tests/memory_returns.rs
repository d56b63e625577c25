//! Memory that is free goes back to the system, and the allocator's own share stays small.
//!
//! Each scenario runs in a process of its own, whose other memory comes from the system's allocator. The
//! figure is anonymous resident memory. Deadlines are generous: what they bound is for ever or not.
//!
//! What a thread's lists hold back is its own until it calls again: nobody else may touch them. It is
//! measured here and bounded, not small.

#[path = "support/child.rs"]
mod child;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/rng.rs"]
mod rng;

use memory::{comes_true, mib, resident};
use pymalloc::PyMalloc;
use rng::Rng;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

#[global_allocator]
static GLOBAL: System = System;

const MIB: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(10);

fn alone(test: &str, f: impl FnOnce()) {
    match child::part() {
        None => {
            let output = child::command(test, "alone").output().unwrap();
            child::passed(test, &output);
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
        Some(_) => {
            child::no_core();
            child::watchdog(60);
            child::panics_end_the_process();
            f();
        }
    }
}

/// A block, by address: it may be freed by any thread.
#[derive(Clone, Copy)]
struct Block {
    addr: usize,
    size: usize,
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

impl Block {
    /// A block, every page of it touched.
    fn new(size: usize) -> Self {
        let block = Self::untouched(size);
        let p: *mut u8 = std::ptr::with_exposed_provenance_mut(block.addr);
        for at in (0..size).step_by(4096).chain([size - 1]) {
            // SAFETY: inside the block.
            unsafe { p.add(at).write(1) };
        }
        block
    }

    fn untouched(size: usize) -> Self {
        // SAFETY: the size is not 0.
        let p = unsafe { PyMalloc.alloc(layout(size)) };
        assert!(!p.is_null());
        let addr = p.expose_provenance();
        Self { addr, size }
    }

    fn free(self) {
        let p = std::ptr::with_exposed_provenance_mut(self.addr);
        // SAFETY: from `new`; each is freed once.
        unsafe { PyMalloc.dealloc(p, layout(self.size)) };
    }
}

/// Room for `n` blocks, touched, so that it counts in no difference.
fn room(n: usize) -> Vec<Block> {
    let mut blocks = vec![Block { addr: 1, size: 1 }; n];
    blocks.clear();
    blocks
}

/// Fills `blocks` with mixed sizes, `bytes` in all; as many bytes in blocks up to 512 as in medium ones
/// and in huge ones.
fn fill_mixed(blocks: &mut Vec<Block>, bytes: usize, random: &mut Rng) {
    let mut held = 0;
    while held < bytes {
        let size = match random.below(1000) {
            0 => 300_000 + random.below(700_000),
            1..20 => 513 + random.size(60_000),
            _ => 1 + random.below(512),
        };
        blocks.push(Block::new(size));
        held += size;
    }
}

fn shuffle(blocks: &mut [Block], random: &mut Rng) {
    for at in (1..blocks.len()).rev() {
        blocks.swap(at, random.below(at + 1));
    }
}

/// What may stay of `live` bytes.
fn remainder(live: usize) -> usize {
    live / 20 + 2 * MIB
}

/// Says how far memory fell, and fails unless that is far enough.
fn must_fall(what: &str, base: usize, live: usize, most: usize, limit: Duration) {
    let left = || resident().saturating_sub(base);
    let fell = comes_true(limit, || left() <= most);
    println!("{what}: {} of {} left", mib(left()), mib(live));
    assert!(
        fell,
        "{what}: {} of {} left, at most {}",
        mib(left()),
        mib(live),
        mib(most)
    );
}

/// In a process that starts with it: what is wanted again soon after it was purged raises the allowance.
fn shrinks(test: &str, arrange: impl FnOnce(&mut [Block], &mut Rng)) {
    alone(test, || {
        let mut random = Rng::new(rng::seed(test));
        let mut blocks = room(2_000_000);
        let base = resident();
        fill_mixed(&mut blocks, 256 * MIB, &mut random);
        let live = resident() - base;
        arrange(&mut blocks, &mut random);
        blocks.drain(..).for_each(Block::free);
        // The last flush may come with later calls.
        for size in [16, 64, 256, 512, 4000].repeat(300) {
            let some = [Block::new(size), Block::new(size), Block::new(size)];
            some.into_iter().for_each(Block::free);
        }
        must_fall(test, base, live, remainder(live), Duration::ZERO);
        PyMalloc.collect();
        must_fall("collect", base, live, 2 * MIB, Duration::ZERO);
    });
}

#[test]
fn a_process_with_one_thread_shrinks_when_it_frees_the_oldest_first() {
    let test = "a_process_with_one_thread_shrinks_when_it_frees_the_oldest_first";
    shrinks(test, |_, _| {});
}

#[test]
fn a_process_with_one_thread_shrinks_when_it_frees_the_newest_first() {
    let test = "a_process_with_one_thread_shrinks_when_it_frees_the_newest_first";
    shrinks(test, |blocks, _| blocks.reverse());
}

#[test]
fn a_process_with_one_thread_shrinks_when_it_frees_at_random() {
    let test = "a_process_with_one_thread_shrinks_when_it_frees_at_random";
    shrinks(test, shuffle);
}

/// Lists close while the last blocks come back: none of them is lost.
#[test]
fn a_heap_that_is_drained_has_every_block_back() {
    alone("a_heap_that_is_drained_has_every_block_back", || {
        let mut random = Rng::new(rng::seed("a_heap_that_is_drained_has_every_block_back"));
        let mut blocks = room(400_000);
        let mut left = [0; 8];
        for left in &mut left {
            PyMalloc.collect();
            let before = PyMalloc.stats().block_bytes;
            fill_mixed(&mut blocks, 16 * MIB, &mut random);
            shuffle(&mut blocks, &mut random);
            blocks.drain(..).for_each(Block::free);
            *left = PyMalloc.stats().block_bytes - before;
            PyMalloc.collect();
            assert_eq!(PyMalloc.stats().block_bytes, before);
        }
        // Lists close at the first flush at low water. If none comes, because no list of those that are short by then runs
        // over, they keep what they have.
        left.sort_unstable();
        assert!(left[1] <= 4096, "{left:?} bytes wait in lists");
        assert!(
            left[7] <= 16 * MIB as u64 / 64,
            "{left:?} bytes wait in lists"
        );
    });
}

/// Runs `f` while another thread, which has used the allocator, sleeps.
fn beside_an_idle_thread(f: impl FnOnce()) {
    let (started, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            Block::new(100).free();
            started.wait();
            done.wait();
        });
        started.wait();
        f();
        done.wait();
    });
}

/// Frees everything beside an idle thread, and sleeps.
#[test]
fn an_idle_process_shrinks_without_a_call() {
    let test = "an_idle_process_shrinks_without_a_call";
    alone(test, || {
        let mut random = Rng::new(rng::seed(test));
        let mut blocks = room(2_000_000);
        beside_an_idle_thread(|| {
            let base = resident();
            fill_mixed(&mut blocks, 256 * MIB, &mut random);
            let live = resident() - base;
            shuffle(&mut blocks, &mut random);
            blocks.drain(..).for_each(Block::free);
            must_fall(test, base, live, remainder(live), DEADLINE);
            PyMalloc.collect();
            must_fall("collect", base, live, 2 * MIB, DEADLINE);
        });
    });
}

#[test]
fn idle_threads_keep_little() {
    alone("idle_threads_keep_little", || {
        const THREADS: usize = 8;
        let (full, empty, done) = (
            Barrier::new(THREADS + 1),
            Barrier::new(THREADS + 1),
            Barrier::new(THREADS + 1),
        );
        let rooms: Vec<Mutex<Vec<Block>>> =
            (0..THREADS).map(|_| Mutex::new(room(100_000))).collect();
        let base = resident();
        std::thread::scope(|scope| {
            for blocks in &rooms {
                let (full, empty, done) = (&full, &empty, &done);
                scope.spawn(move || {
                    let mut blocks = blocks.lock().unwrap();
                    for index in 0..100_000 {
                        blocks.push(Block::new([32, 64, 160, 400][index % 4]));
                    }
                    full.wait();
                    blocks.drain(..).for_each(Block::free);
                    empty.wait();
                    done.wait();
                });
            }
            full.wait();
            let live = resident() - base;
            empty.wait();
            must_fall("idle threads", base, live, remainder(live), DEADLINE);
            done.wait();
        });
    });
}

/// One thread makes 128 MiB of blocks and sleeps; another frees all but one in 4096 and sleeps, too.
#[test]
fn memory_freed_by_another_thread_returns() {
    alone("memory_freed_by_another_thread_returns", || {
        const BLOCKS: usize = 128 * MIB / 256;
        let blocks = Mutex::new(room(BLOCKS));
        let (made, done) = (Barrier::new(2), Barrier::new(2));
        let base = resident();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                blocks
                    .lock()
                    .unwrap()
                    .extend((0..BLOCKS).map(|_| Block::new(256)));
                made.wait();
                done.wait();
            });
            made.wait();
            let live = resident() - base;
            let mut kept = 0;
            for (index, block) in blocks.lock().unwrap().drain(..).enumerate() {
                match index % 4096 {
                    // Its pool stays, and its arena's headers.
                    0 => kept += 16 * 1024 + 4096,
                    _ => block.free(),
                }
            }
            must_fall(
                "another thread",
                base,
                live,
                remainder(live) + kept,
                DEADLINE,
            );
            done.wait();
        });
    });
}

#[test]
fn thread_churn_is_flat() {
    alone("thread_churn_is_flat", || {
        let left = Mutex::new(room(10_000));
        let mut random = Rng::new(rng::seed("churn"));
        let churn = |n: usize, random: &mut Rng| {
            for _ in 0..n / 4 {
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        let (left, seed) = (&left, random.next());
                        scope.spawn(move || {
                            let mut random = Rng::new(seed);
                            let own: Vec<Block> =
                                (0..200).map(|_| Block::new(random.size(20_000))).collect();
                            // Leaves some to the next, and frees what it finds.
                            let found: Vec<Block> = left.lock().unwrap().drain(..).collect();
                            left.lock().unwrap().extend(&own[..20]);
                            found
                                .iter()
                                .chain(&own[20..])
                                .for_each(|block| block.free());
                        });
                    }
                });
            }
        };
        churn(400, &mut random);
        let early = resident();
        churn(1600, &mut random);
        println!(
            "churn: {} after 400 threads, {} after 2,000",
            mib(early),
            mib(resident())
        );
        let most = early + 3 * MIB;
        assert!(
            comes_true(DEADLINE, || resident() <= most),
            "{}, at most {}",
            mib(resident()),
            mib(most)
        );
        let threads = PyMalloc.stats();
        assert!(
            threads.threads_total >= 2000 && threads.threads < 10,
            "{threads:?}"
        );
    });
}

#[test]
fn a_live_thread_costs_little() {
    alone("a_live_thread_costs_little", || {
        const THREADS: usize = 2000;
        let (ready, used, done) = (
            Barrier::new(THREADS + 1),
            Barrier::new(THREADS + 1),
            Barrier::new(THREADS + 1),
        );
        let (start, end) = (Barrier::new(THREADS + 1), &done);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let (ready, used, start) = (&ready, &used, &start);
                let thread = std::thread::Builder::new().stack_size(64 * 1024);
                let run = move || {
                    ready.wait();
                    start.wait();
                    let blocks = [16, 48, 200, 500].map(Block::new);
                    used.wait();
                    end.wait();
                    blocks.into_iter().for_each(Block::free);
                };
                thread.spawn_scoped(scope, run).unwrap();
            }
            ready.wait();
            let base = resident();
            start.wait();
            used.wait();
            let each = resident().saturating_sub(base) / THREADS;
            println!("live threads: {each} bytes each");
            end.wait();
            assert!(each <= 32 * 1024, "{each} bytes each");
        });
    });
}

#[test]
fn medium_blocks_share_mappings() {
    alone("medium_blocks_share_mappings", || {
        let mut random = Rng::new(rng::seed("medium"));
        let mut blocks = room(20_000);
        for _ in 0..20_000 {
            blocks.push(Block::untouched(513 + random.below(100_000)));
        }
        let full = memory::mappings();
        shuffle(&mut blocks, &mut random);
        blocks.drain(..10_000).for_each(Block::free);
        PyMalloc.collect();
        let half = memory::mappings();
        println!("medium: {full} mappings, {half} with every second block freed");
        assert!(full < 200 && half < 200, "{full} mappings, then {half}");
    });
}

fn few_mappings(test: &str, n: usize, size: usize) {
    alone(test, || {
        let mut blocks = room(n);
        blocks.extend((0..n).map(|_| Block::untouched(size)));
        let full = memory::mappings();
        blocks.iter().step_by(2).for_each(|block| block.free());
        let half = memory::mappings();
        println!("{n} blocks of {size}: {full} mappings, {half} with every second block freed");
        assert!(
            full < 20_000 && half < 20_000,
            "{full} mappings, then {half}"
        );
        blocks
            .iter()
            .skip(1)
            .step_by(2)
            .for_each(|block| block.free());
        PyMalloc.collect();
        let none = memory::mappings();
        // An extent of 4 GiB is two or three mappings.
        let most = 200 + 3 * ((n * size.next_multiple_of(1 << 20)) >> 32);
        assert!(none < most, "{none} mappings when all are freed");
    });
}

#[test]
fn huge_blocks_stay_below_the_kernels_number_of_mappings() {
    few_mappings(
        "huge_blocks_stay_below_the_kernels_number_of_mappings",
        200_000,
        300_000,
    );
}

#[test]
fn larger_huge_blocks_stay_below_the_kernels_number_of_mappings() {
    let test = "larger_huge_blocks_stay_below_the_kernels_number_of_mappings";
    few_mappings(test, 200_000, 1_500_000);
}

/// Addresses that come and go with 5,000 blocks, when 20,000 are live.
fn churn_takes_few_addresses(test: &str, size: usize) {
    alone(test, || {
        let mut blocks = room(20_000);
        blocks.extend((0..20_000).map(|_| Block::untouched(size)));
        let churn = || (0..5000).for_each(|_| Block::untouched(size).free());
        churn();
        let base = memory::address_space();
        churn();
        let grown = memory::address_space().saturating_sub(base);
        println!(
            "addresses: {} more after 5,000 blocks of {size}",
            mib(grown)
        );
        assert!(grown <= 128 * MIB, "{} more", mib(grown));
    });
}

#[test]
fn many_huge_blocks_reuse_their_addresses() {
    churn_takes_few_addresses("many_huge_blocks_reuse_their_addresses", 300_000);
}

#[test]
#[ignore = "beyond 16,384 mappings, blocks above 1 MiB take new addresses each time: runs of slots are not reused"]
fn many_larger_huge_blocks_reuse_their_addresses() {
    churn_takes_few_addresses("many_larger_huge_blocks_reuse_their_addresses", 1_500_000);
}

/// Of a large heap the kernel is asked for huge pages, once each, and it keeps none of them that go back.
#[test]
fn a_large_heap_lies_in_huge_pages() {
    alone("a_large_heap_lies_in_huge_pages", || {
        let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        let has_them = setting.is_ok_and(|text| !text.contains("[never]"));
        let layout = Layout::from_size_align(1000, 16).unwrap();
        // SAFETY: the size is not 0.
        let blocks: Vec<_> = (0..64_000)
            .map(|_| unsafe { PyMalloc.alloc_zeroed(layout) })
            .collect();
        let huge = memory::huge_pages();
        assert_eq!(huge >= 16 * MIB, has_them, "{} in huge pages", mib(huge));
        // The kernel was asked to fill them so, not to make such pages again of what will be purged.
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut flags = maps.lines().filter(|line| line.starts_with("VmFlags:"));
        assert!(!flags.any(|line| line.split(' ').any(|flag| flag == "hg")));
        for p in blocks {
            // SAFETY: allocated above with this layout.
            unsafe { PyMalloc.dealloc(p, layout) };
        }
        PyMalloc.collect();
        let huge = memory::huge_pages();
        assert!(huge <= 4 * MIB, "{} in huge pages", mib(huge));
    });
}
