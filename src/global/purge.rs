//! When free memory goes back to the system.
//!
//! | process | who purges | what |
//! |---|---|---|
//! | one thread | a flush that finds too much | what exceeds the allowance, oldest first |
//! | more threads | a thread of ours, made when first needed | what is older than `purge_delay` |
//!
//! The allowance is the larger of 2 MiB and a 64th of the most memory the process ever had mapped. It
//! doubles when memory purged less than `purge_delay` ago is wanted again, be it pool by pool or by huge pages: as
//! often as it takes to cover what was purged beside what it allowed, or twice what came fresh from the system since,
//! if that is less. So a program that works in waves faster than that keeps its memory from the second one on, and one
//! that wants little of it again keeps little. It halves after ten quiet delays. What lies free beyond it goes at once:
//! slots, and then stored blocks, which are wanted again sooner; but where there are huge pages single slots last, for
//! pairs come back by one page fault each; pools of arenas in use only when more lies free than is used: that splits huge
//! pages, and in a drain most of these arenas come free whole a moment later.
//!
//! A stored block goes besides, with however many threads, when arenas with a quarter of its memory came fresh from the
//! system since it was stored (`huge_store.rs`).
//!
//! Age is counted in epochs: the purging thread advances the epoch every half delay and purges what was
//! stamped two epochs ago; without it the epoch stands still and everything is old enough.

use super::{
    EXTENTS, HUGE, OPTIONS, ROSTER, SharedHeap, guard, options::PurgeThread, slow, thread,
};
use crate::obmalloc::size_class::POOL_BYTES;
use crate::os::{self, Futex};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Pools purged under one hold of a heap's lock: about 12 µs.
const STEP: u64 = 8;
/// Least allowance, in pools: 2 MiB.
const LEAST: u64 = (2 << 20) / POOL_BYTES as u64;

/// After a look of a process with one thread that found nothing to purge, so many flushes look no further, unless they
/// left more than so many pools since: a look adds up what all heaps have out, which costs as much as a flush of a dozen
/// blocks. What may stay for that is little more than that many pools.
const SKIPS: u64 = 7;
const SKIPPED_POOLS: u64 = 4;

/// All Relaxed: figures to decide by; nothing is published through them.
struct Policy {
    epoch: AtomicU32,
    /// Doublings of the allowance.
    shift: AtomicU32,
    /// When a flush last purged, how many pools, and what memory had come from the system ever, in pools.
    purged_at: AtomicU64,
    purged_pools: AtomicU64,
    fresh_then: AtomicU64,
    total_purged: AtomicU64,
    /// Flushes that need not look, unless they leave more free pools than that.
    skips: AtomicU64,
    skipped_up_to: AtomicU64,
    thread: AtomicU8,
    wake: AtomicU32,
}

const ABSENT: u8 = 0;
const RUNNING: u8 = 1;
const ASLEEP: u8 = 2;

static POLICY: Policy = Policy {
    epoch: AtomicU32::new(0),
    shift: AtomicU32::new(0),
    purged_at: AtomicU64::new(0),
    purged_pools: AtomicU64::new(0),
    fresh_then: AtomicU64::new(0),
    total_purged: AtomicU64::new(0),
    skips: AtomicU64::new(0),
    skipped_up_to: AtomicU64::new(0),
    thread: AtomicU8::new(ABSENT),
    wake: AtomicU32::new(0),
};

/// Now, in epochs: what lies free from now on is stamped with it.
#[cfg(feature = "objects")]
pub(super) fn epoch() -> u32 {
    POLICY.epoch.load(Ordering::Relaxed)
}

/// Bytes purged ever.
pub(super) fn purged_bytes() -> u64 {
    POLICY.total_purged.load(Ordering::Relaxed) * POOL_BYTES as u64
}

fn allowance() -> u64 {
    let high = EXTENTS.counts().mapped_bytes_high as u64 / POOL_BYTES as u64;
    let base = LEAST.max(high / 64);
    let shift = POLICY.shift.load(Ordering::Relaxed).min(20);
    (base << shift).min(base.max(high))
}

/// Notes that memory of `size` bytes came fresh from the system.
pub(super) fn note_fresh(fresh: bool, size: usize) {
    if fresh {
        EXTENTS.note_fresh(size / POOL_BYTES);
    }
}

/// Notes that a thread keeps a huge block, which goes by age.
#[inline]
pub(super) fn note_kept() {
    if POLICY.thread.load(Ordering::Relaxed) == ASLEEP {
        wake();
    }
}

/// Notes that a thread has a place to keep one in.
pub(super) fn note_keeper() {
    if wants_thread() {
        summon();
    }
}

/// Looks, after a flush that left `parts` free pools with memory in the heaps it freed into, whether too
/// much lies free.
#[inline]
pub(super) fn poll(parts: u64) {
    let whole = whole_pools();
    if whole + parts > LEAST && !skips(whole + parts) {
        poll_slow(whole, parts, 1);
    }
}

/// Whether a flush that left so many pools free looks no further. See [`SKIPS`].
#[inline]
fn skips(dirty: u64) -> bool {
    let left = POLICY.skips.load(Ordering::Relaxed);
    let skips = left > 0 && dirty <= POLICY.skipped_up_to.load(Ordering::Relaxed);
    POLICY
        .skips
        .store(left.saturating_sub(1), Ordering::Relaxed);
    skips
}

/// Nothing is too much yet, of so many free pools.
fn note_in_vain(dirty: u64) {
    POLICY.skips.store(SKIPS, Ordering::Relaxed);
    POLICY
        .skipped_up_to
        .store(dirty + SKIPPED_POOLS, Ordering::Relaxed);
}

/// As [`poll`], but a half of what is too much is kept until the next look: for whoever freed much at once, and
/// is likely to want much again.
#[cfg(feature = "objects")]
pub(super) fn poll_for_half() {
    let whole = whole_pools();
    if whole > LEAST {
        poll_slow(whole, 0, 2);
    }
}

/// Pools with memory in free slots and stored blocks.
fn whole_pools() -> u64 {
    EXTENTS.dirty_pools() as u64 + HUGE.stored_pools() as u64
}

/// Purges the `share`th part of what is too much.
#[cold]
fn poll_slow(whole: u64, parts: u64, share: u64) {
    if wants_thread() {
        return summon();
    }
    let (allowed, dirty) = (allowance(), whole + parts);
    if dirty <= allowed {
        return note_in_vain(dirty);
    }
    let most = if dirty > used() { dirty } else { whole };
    if most <= allowed {
        return note_in_vain(dirty);
    }
    let excess = (most - allowed).div_ceil(share);
    if is_wave(allowed) {
        return;
    }
    let until = POLICY.epoch.load(Ordering::Relaxed);
    let mut done = count(if EXTENTS.has_huge_pages() {
        EXTENTS.purge_pairs(until, excess)
    } else {
        EXTENTS.purge(until, excess)
    });
    done += count(HUGE.purge(until, excess.saturating_sub(done)));
    done += count(EXTENTS.purge(until, excess.saturating_sub(done)));
    // More heaps than one if there were more threads once.
    for heap in ROSTER.heaps() {
        done += count(purge_heap(heap, until, excess.saturating_sub(done)));
    }
    // Whole slots go, and pairs of them: more than the excess.
    POLICY.purged_pools.fetch_add(done, Ordering::Relaxed);
}

/// Pools' worth of blocks that are out. Not what is mapped: arenas stay so when their pools are purged.
fn used() -> u64 {
    let in_pools: u64 = ROSTER
        .heaps()
        .map(|heap| {
            heap.gate()
                .enter(|state| state.engine.counters().block_bytes)
        })
        .sum();
    (in_pools + HUGE.counts().bytes as u64) / POOL_BYTES as u64
}

/// Whether what was purged a moment ago was wanted again; then the allowance is wider now. If not, notes that
/// pools are purged now.
fn is_wave(allowed: u64) -> bool {
    let now = os::now_ms();
    let delay = u64::from(OPTIONS.purge_delay());
    let since = now.saturating_sub(POLICY.purged_at.load(Ordering::Relaxed));
    let purged = POLICY.purged_pools.load(Ordering::Relaxed);
    let fresh_now = EXTENTS.fresh_pools();
    let fresh = fresh_now.saturating_sub(POLICY.fresh_then.swap(fresh_now, Ordering::Relaxed));
    if since < delay && purged > 0 && fresh * 2 >= purged.min(allowed) {
        POLICY.purged_pools.store(0, Ordering::Relaxed);
        widen(allowed + purged.min(2 * fresh));
        return true;
    }
    if since > 10 * delay {
        let shift = POLICY.shift.load(Ordering::Relaxed);
        POLICY
            .shift
            .store(shift.saturating_sub(1), Ordering::Relaxed);
        POLICY.purged_pools.store(0, Ordering::Relaxed);
    }
    POLICY.purged_at.store(now, Ordering::Relaxed);
    false
}

/// Doubles the allowance until it covers `wanted` pools, at least once.
fn widen(wanted: u64) {
    loop {
        let before = allowance();
        POLICY.shift.fetch_add(1, Ordering::Relaxed);
        let now = allowance();
        // Capped by the peak, it may have stopped growing.
        if now >= wanted || now == before {
            return;
        }
    }
}

fn count(n_pools: u64) -> u64 {
    POLICY.total_purged.fetch_add(n_pools, Ordering::Relaxed);
    n_pools
}

/// Purges up to `n_pools` free pools of a heap that came free at or before epoch `until`, in steps.
fn purge_heap(heap: &SharedHeap, until: u32, n_pools: u64) -> u64 {
    let mut done = 0;
    while done < n_pools {
        let step = STEP.min(n_pools - done);
        let n = heap
            .gate()
            .enter(|state| state.purge(until, step, OPTIONS.page()));
        done += n;
        if n < step {
            break;
        }
    }
    done
}

/// Sends this thread's lists home and gives all free memory back, now. Returns the bytes purged.
pub(crate) fn collect() -> u64 {
    thread::if_live(slow::flush_all);
    if OPTIONS.is_guarded() {
        guard::drain();
    }
    let until = POLICY.epoch.load(Ordering::Relaxed);
    let mut done = 0;
    for heap in ROSTER.heaps() {
        done += count(purge_heap(heap, until, u64::MAX));
    }
    HUGE.recall(false);
    // Blocks in slots first, which then are free slots.
    done += count(HUGE.purge(until, u64::MAX));
    done += count(EXTENTS.purge(until, u64::MAX));
    done * POOL_BYTES as u64
}

/// Gives back what is kept for later, when the system or the limit refuses memory: guarded blocks that wait, stored
/// blocks, free slots. True if that may have made room.
#[cold]
pub(super) fn make_way() -> bool {
    let waited = OPTIONS.is_guarded();
    if waited {
        guard::drain();
    }
    let until = POLICY.epoch.load(Ordering::Relaxed);
    HUGE.recall(false);
    let stored = count(HUGE.purge(until, u64::MAX));
    waited || stored + count(EXTENTS.purge(until, u64::MAX)) > 0
}

fn wants_thread() -> bool {
    match OPTIONS.purge_thread() {
        PurgeThread::On => true,
        PurgeThread::Off => false,
        PurgeThread::Auto => ROSTER.threads().now > 1,
    }
}

/// After a refill: has huge pages filled, if they are wanted and there is a thread that does so; gives stored blocks back
/// that small ones have outgrown.
#[inline]
pub(super) fn poll_filling() {
    if HUGE.may_be_outgrown() {
        give_outgrown();
    }
    if EXTENTS.ask_to_fill() {
        match POLICY.thread.load(Ordering::Relaxed) {
            ABSENT => summon(),
            _ => wake(),
        }
    }
}

#[cold]
fn give_outgrown() {
    count(HUGE.purge_outgrown());
}

/// When a thread has started: from the second one on, huge pages are filled by the one that purges.
pub(super) fn note_thread() {
    if wants_thread() {
        EXTENTS.fill_elsewhere();
    }
}

fn wake() {
    POLICY.wake.fetch_add(1, Ordering::Relaxed);
    <Futex as crate::sync::Park>::wake_one(&POLICY.wake);
}

/// Makes or wakes the purging thread. No lock is held here.
fn summon() {
    match POLICY.thread.load(Ordering::Relaxed) {
        RUNNING => {}
        ASLEEP => wake(),
        _ => {
            let claimed = POLICY
                .thread
                .compare_exchange(ABSENT, RUNNING, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            if claimed && !os::spawn(run) {
                POLICY.thread.store(ABSENT, Ordering::Relaxed);
                EXTENTS.fill_at_once();
            }
        }
    }
}

/// The purging thread, which fills huge pages, too: see [`os::spawn`] for what it may not do.
extern "C" fn run(_: *mut core::ffi::c_void) -> i32 {
    os::name_thread(c"pymalloc-purge");
    let (mut idle_rounds, mut last_round) = (0, os::now_ms());
    loop {
        let word = POLICY.wake.load(Ordering::Relaxed);
        // After the word: whoever changes it meanwhile asks for what comes now.
        EXTENTS.fill_ahead(POLICY.epoch.load(Ordering::Relaxed));
        let half = u64::from(OPTIONS.purge_delay() / 2).max(1);
        let since = os::now_ms().saturating_sub(last_round);
        if since >= half {
            idle_rounds = if round() { 0 } else { idle_rounds + 1 };
            last_round = os::now_ms();
        }
        if idle_rounds >= 4 {
            POLICY.thread.store(ASLEEP, Ordering::Relaxed);
            // A wake-up that comes between is found at the latest after this long.
            Futex::wait_for(&POLICY.wake, word, 5000);
            POLICY.thread.store(RUNNING, Ordering::Relaxed);
            (idle_rounds, last_round) = (0, os::now_ms());
        } else {
            Futex::wait_for(&POLICY.wake, word, half.saturating_sub(since).max(1));
        }
    }
}

/// One look at everything; true when something is left to look at.
fn round() -> bool {
    let epoch = POLICY.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let until = epoch.wrapping_sub(2);
    let mut left = 0;
    for heap in ROSTER.heaps() {
        count(purge_heap(heap, until, u64::MAX));
        left += heap.gate().enter(|state| {
            state.set_epoch(epoch);
            state.engine.dirty().pools()
        });
    }
    HUGE.set_epoch(epoch);
    HUGE.recall(true);
    count(EXTENTS.purge(until, u64::MAX));
    count(HUGE.purge(until, u64::MAX));
    left + whole_pools() + HUGE.kept_pools() > 0
}

/// In a child after fork: the purging thread is not there.
///
/// # Safety
/// No other thread exists.
pub(super) unsafe fn reset_after_fork() {
    POLICY.thread.store(ABSENT, Ordering::Relaxed);
    EXTENTS.fill_at_once();
}
