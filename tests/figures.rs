//! The allocator's figures are of one moment, whatever other threads do.

use pymalloc::observe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Heaps are had one by one, and other threads would have some of them.
static ALONE: Mutex<()> = Mutex::new(());

fn check() {
    let stats = observe::stats();
    let in_classes: u64 = stats
        .classes
        .iter()
        .map(|class| class.in_use * class.block_bytes as u64)
        .sum();
    assert_eq!(in_classes + stats.huge_bytes, stats.block_bytes);
    assert!(stats.block_bytes <= stats.active_bytes, "{stats:?}");
    // What is mapped, and what is huge, too, is of the moment in which the heaps stand still.
    assert!(
        stats.active_bytes + stats.retained_bytes <= stats.mapped_bytes,
        "{stats:?}"
    );
    assert!(stats.mapped_bytes <= stats.mapped_bytes_high, "{stats:?}");
    assert!(stats.block_bytes <= stats.block_bytes_high, "{stats:?}");
    let arenas = observe::arenas();
    let heaps = observe::heaps();
    assert!(
        heaps
            .iter()
            .all(|heap| heap.block_bytes <= heap.block_bytes_high)
    );
    assert!(
        arenas
            .iter()
            .all(|arena| arena.pools_in_use + arena.pools_free == 63)
    );
    assert!(
        arenas
            .iter()
            .all(|arena| arena.pools_dirty <= arena.pools_free)
    );
    assert!(arenas.iter().all(|arena| arena.heap < heaps.len()));
    let distinct: std::collections::HashSet<_> = arenas.iter().map(|arena| arena.address).collect();
    assert_eq!(distinct.len(), arenas.len());
}

#[test]
fn figures_agree_while_threads_allocate_and_free_each_others_blocks() {
    let _alone = ALONE.lock();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<Vec<u8>>>(4);
        let over = &over;
        for seed in 1..3usize {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut size = seed;
                while !over.load(Ordering::Relaxed) {
                    let blocks = (0..200).map(|_| {
                        size = (size * 1_103_515_245 + 12_345) & 0xffff;
                        // One in a hundred has a mapping of its own.
                        let large = if size % 100 == 0 { 600_000 } else { 0 };
                        vec![0u8; size % 3000 + 1 + large]
                    });
                    if sender.send(blocks.collect()).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        scope.spawn(move || receiver.into_iter().for_each(drop));
        for _ in 0..200 {
            check();
        }
        over.store(true, Ordering::Relaxed);
    });
    check();
    let heaps = observe::heaps();
    let threads: u32 = heaps.iter().map(|heap| heap.threads).sum();
    assert!(threads >= 1, "{heaps:?}");
    let own = observe::thread().expect("this thread has lists");
    // SAFETY: no conditions.
    let number = unsafe { libc::gettid() }.cast_unsigned();
    assert_eq!(heaps[own.heap].thread, number, "{heaps:?}");
    assert!(
        heaps
            .iter()
            .all(|heap| (heap.threads == 0) == (heap.thread == 0))
    );
    assert!(own.heap < heaps.len() && own.listed_bytes >= 16 * own.listed_blocks);
}

/// What a thread frees that others made goes home whole, each time it has no room for more.
#[test]
fn a_thread_keeps_nothing_of_what_others_made() {
    let _alone = ALONE.lock();
    let blocks: Vec<Box<[u64; 9]>> = (0..20_000).map(|n| Box::new([n; 9])).collect();
    let home = observe::thread().expect("it has blocks").heap;
    let listed = || observe::thread().map_or(0, |thread| thread.listed_blocks);
    let freeing = std::thread::spawn(move || {
        let before = listed();
        let mut seen = (0, u64::MAX);
        for (n, block) in blocks.into_iter().enumerate() {
            drop(block);
            if n >= 10_000 {
                let now = listed().saturating_sub(before);
                seen = (seen.0.max(now), seen.1.min(now));
            }
        }
        (observe::thread().expect("it has lists").heap, seen)
    });
    let (away, (most, least)) = freeing.join().expect("it frees");
    assert_ne!(home, away, "the thread has a heap of its own");
    assert!(most >= 32 && least <= 1, "{least} to {most} blocks");
}
