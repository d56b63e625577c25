//! Figures of this process's allocator, and what is reported at exit.

use super::summary::{CLASSES, ClassLine, Summary};
use super::{EXTENTS, HUGE, MAP, OPTIONS, ROSTER, SharedHeap, purge, regions, thread};
use crate::obmalloc::address_map::AddressMap;
use crate::obmalloc::engine::Counters;
use crate::obmalloc::extents::ExtentCounts;
use crate::obmalloc::geometry::{Geometry, HEADER_SLOT_BYTES, Production};
use crate::obmalloc::heap::HeapState;
use crate::obmalloc::huge::HugeCounts;
use crate::obmalloc::report::{ClassUse, MapNodes, Statistics};
use crate::obmalloc::size_class::{ARENA_POOLS as ARENA_SLOTS, POOL_BYTES, SizeClass};
use crate::os;
use crate::sync::{AtomicU64, Ordering};
use core::ptr::NonNull;

/// Pools of an arena: all its slots but the one with the books.
const ARENA_POOLS: u32 = ARENA_SLOTS as u32 - 1;

/// Frees of pointers that are not ours.
static FOREIGN: AtomicU64 = AtomicU64::new(0);

/// Counts a foreign free, and says so once if asked to.
pub(super) fn count_foreign(p: NonNull<u8>) {
    // Relaxed: a count.
    if FOREIGN.fetch_add(1, Ordering::Relaxed) == 0 && OPTIONS.verbose() {
        os::say(format_args!(
            "free of foreign pointer {p:p} (said once, counted always)"
        ));
    }
}

/// Pools and blocks of one size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Pools that have a block out.
    pub pools: u64,
    /// Blocks out of their pools: in use, or in a thread's list.
    pub in_use: u64,
    /// Blocks those pools could still give.
    pub available: u64,
}

/// Figures of the whole process at one moment: no heap changes while they are gathered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes readable and writable now: arenas, huge blocks, the allocator's own tables.
    pub mapped_bytes: u64,
    /// The most that ever was.
    pub mapped_bytes_high: u64,
    /// Bytes of pools, runs and huge blocks that have a block out.
    pub active_bytes: u64,
    /// Bytes of the allocator's own books: headers, maps, heaps.
    pub metadata_bytes: u64,
    /// Mapped bytes that are neither active nor metadata: free, and kept for reuse or until their purge.
    pub retained_bytes: u64,
    /// Bytes of blocks that are out, whole blocks, those in threads' lists included.
    pub block_bytes: u64,
    /// Sum over the heaps of the most each ever had out, and of huge blocks likewise: an upper bound.
    pub block_bytes_high: u64,
    /// Arenas of 1 MiB now.
    pub arenas: u64,
    /// Sum over the heaps of the most arenas each ever had.
    pub arenas_high: u64,
    /// Arenas obtained ever.
    pub arenas_total: u64,
    /// Live huge blocks, their bytes, the most bytes, and blocks ever made.
    pub huge_blocks: u64,
    /// Bytes of live huge blocks.
    pub huge_bytes: u64,
    /// The most bytes of huge blocks that ever were.
    pub huge_bytes_high: u64,
    /// Huge blocks ever made.
    pub huge_total: u64,
    /// Threads that have lists now.
    pub threads: u64,
    /// The most there ever were.
    pub threads_high: u64,
    /// Threads that ever had lists.
    pub threads_total: u64,
    /// Heaps.
    pub heaps: u64,
    /// Bytes of free memory that went back to the system, ever.
    pub purged_bytes: u64,
    /// Frees of pointers that are not ours.
    pub foreign_frees: u64,
    /// By size class, 16 bytes to 256 KiB.
    pub classes: [ClassStats; SizeClass::COUNT],
}

/// Every heap's figures in CPython's terms.
pub(super) fn statistics() -> Statistics {
    moment(&mut |_, _| {}).0
}

/// Every heap's figures, and what is mapped and huge, of one moment. `each` sees every heap's state in it; it may
/// neither allocate nor wait.
fn moment(each: &mut dyn FnMut(usize, &mut HeapState)) -> (Statistics, ExtentCounts, HugeCounts) {
    let mut sum = Statistics {
        counters: Counters::default(),
        classes: [ClassUse::default(); SizeClass::COUNT],
        unused_pools: 0,
        misaligned_arenas: 0,
        raw_blocks: 0,
        header_bytes: Production::HEADER_BYTES as u64,
        map: MapNodes {
            root_bytes: AddressMap::ROOT_BYTES as u64,
            mid: 0,
            mid_bytes: 0,
            bot: MAP.n_leaves() as u64,
            bot_bytes: AddressMap::LEAF_BYTES as u64,
        },
    };
    let mut huge = HugeCounts::default();
    let mut extents = ExtentCounts::default();
    at_once(
        0,
        &mut |heap, state| {
            sum.add(&Statistics::gather(&state.engine, 0));
            each(heap, state);
        },
        // What is huge is mapped before and after.
        &mut || HUGE.with_counts(|counts| (huge, extents) = (counts, EXTENTS.counts())),
    );
    let raw_blocks = huge.blocks as u64;
    (Statistics { raw_blocks, ..sum }, extents, huge)
}

/// Calls `f` on the number and the state of every heap from `index` on, and then `last`, while all of them are
/// locked: what they say is of one moment. Nothing may be allocated meanwhile.
fn at_once(index: usize, f: &mut dyn FnMut(usize, &mut HeapState), last: &mut dyn FnMut()) {
    match ROSTER.get(index) {
        Some(heap) => heap.gate().enter(|state| {
            f(index, state);
            at_once(index + 1, f, last);
        }),
        None => last(),
    }
}

/// One arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// Its first byte's address.
    pub address: usize,
    /// Number of its heap.
    pub heap: usize,
    /// Pools of 16 KiB that have a block out.
    pub pools_in_use: u32,
    /// Pools that have none.
    pub pools_free: u32,
    /// Those of them that hold memory all the same, until they are used again or purged.
    pub pools_dirty: u32,
}

/// One heap: of a thread, or of several where there are more threads than heaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapStats {
    /// Its number.
    pub heap: usize,
    /// Threads that allocate from it.
    pub threads: u32,
    /// The system's number of the one that began last; 0 if there is none. While there is only one, what the heap
    /// has out is what that thread, and its predecessors there, allocated, whoever frees it.
    pub thread: u32,
    /// Arenas now, and the most there were.
    pub arenas: u64,
    /// The most arenas that there were.
    pub arenas_high: u64,
    /// Bytes of its blocks that are out, whoever has them; those in threads' lists included.
    pub block_bytes: u64,
    /// The most that ever were.
    pub block_bytes_high: u64,
}

/// What the calling thread holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// Number of the heap it allocates from.
    pub heap: usize,
    /// Free blocks in its lists.
    pub listed_blocks: u64,
    /// Their bytes.
    pub listed_bytes: u64,
}

/// Gathers into `rows`, as far as it has room, and says how many rows there are.
fn gather<T>(rows: &mut Vec<T>, mut from: impl FnMut(&mut dyn FnMut(T))) -> usize {
    let mut n = 0;
    from(&mut |row| {
        n += 1;
        if rows.len() < rows.capacity() {
            rows.push(row);
        }
    });
    n
}

/// Rows of one moment; the room for them is made before.
fn rows<T>(mut from: impl FnMut(&mut dyn FnMut(T))) -> Vec<T> {
    let mut room = 64;
    loop {
        let mut rows = Vec::with_capacity(room);
        let n = gather(&mut rows, &mut from);
        if n <= rows.capacity() {
            return rows;
        }
        room = n + n / 8 + 8;
    }
}

impl ArenaStats {
    /// Calls `f` on each arena of a heap.
    pub(super) fn of_each(heap: usize, state: &HeapState, mut f: impl FnMut(Self)) {
        state.engine.for_each_arena(|arena| {
            f(Self {
                address: arena.base().addr().get(),
                heap,
                pools_in_use: ARENA_POOLS - arena.available(),
                pools_free: arena.available(),
                pools_dirty: arena.dirty().count_ones(),
            });
        });
    }
}

impl HeapStats {
    /// A heap's figures, but for its threads.
    pub(super) fn of(heap: usize, state: &HeapState) -> Self {
        let counters = state.engine.counters();
        Self {
            heap,
            threads: 0,
            thread: 0,
            arenas: counters.arenas_now,
            arenas_high: counters.arenas_high,
            block_bytes: counters.block_bytes,
            block_bytes_high: counters.block_bytes_high,
        }
    }
}

/// Every arena.
pub(crate) fn arenas() -> Vec<ArenaStats> {
    rows(|row| {
        let each = &mut |heap, state: &mut HeapState| ArenaStats::of_each(heap, state, &mut *row);
        at_once(0, each, &mut || {});
    })
}

/// Every heap.
pub(crate) fn heaps() -> Vec<HeapStats> {
    let mut heaps = rows(|row| {
        let each = &mut |heap, state: &mut HeapState| row(HeapStats::of(heap, state));
        at_once(0, each, &mut || {});
    });
    for heap in &mut heaps {
        (heap.threads, heap.thread) = ROSTER.users(heap.heap);
    }
    heaps
}

/// The calling thread, if it has lists.
pub(crate) fn own_thread() -> Option<ThreadStats> {
    let mut found = None;
    thread::if_live(|thread, heap| {
        let mut stats = ThreadStats {
            heap: ROSTER.number_of(heap).unwrap_or(0),
            ..ThreadStats::default()
        };
        for class in SizeClass::all() {
            let n = thread.active().len(class) as u64;
            stats.listed_blocks += n;
            stats.listed_bytes += n * class.block_bytes() as u64;
        }
        found = Some(stats);
    });
    found
}

impl Stats {
    /// The figures now.
    pub(super) fn now() -> Self {
        Self::now_with(&mut |_, _| {})
    }

    /// The figures now; `each` sees every heap's state in the same moment. It may neither allocate nor wait.
    pub(super) fn now_with(each: &mut dyn FnMut(usize, &mut HeapState)) -> Self {
        let (sum, extents, huge) = moment(each);
        let threads = ROSTER.threads();
        let mut classes = [ClassStats::default(); SizeClass::COUNT];
        for (index, (to, from)) in classes.iter_mut().zip(&sum.classes).enumerate() {
            *to = ClassStats {
                block_bytes: SizeClass::new(index).block_bytes(),
                pools: from.pools,
                in_use: from.in_use,
                available: from.available,
            };
        }
        let heaps = ROSTER.heaps().count();
        let pools = sum.counters.arenas_now * u64::from(ARENA_POOLS) - sum.unused_pools;
        let active = pools * POOL_BYTES as u64 + huge.bytes as u64;
        let books = (heaps * size_of::<SharedHeap>() + regions::bytes(threads.high)) as u64
            + sum.counters.arenas_now * HEADER_SLOT_BYTES as u64;
        let mapped = extents.mapped_bytes as u64;
        Self {
            mapped_bytes: mapped,
            active_bytes: active,
            metadata_bytes: books + (MAP.n_leaves() * AddressMap::LEAF_BYTES) as u64,
            retained_bytes: mapped.saturating_sub(active + books),
            mapped_bytes_high: extents.mapped_bytes_high as u64,
            block_bytes: sum.counters.block_bytes + huge.bytes as u64,
            block_bytes_high: sum.counters.block_bytes_high + huge.bytes_high as u64,
            arenas: sum.counters.arenas_now,
            arenas_high: sum.counters.arenas_high,
            arenas_total: sum.counters.arenas_total,
            huge_blocks: huge.blocks as u64,
            huge_bytes: huge.bytes as u64,
            huge_bytes_high: huge.bytes_high as u64,
            huge_total: huge.total as u64,
            threads: threads.now,
            threads_high: threads.high,
            threads_total: threads.total,
            heaps: heaps as u64,
            purged_bytes: purge::purged_bytes(),
            foreign_frees: FOREIGN.load(Ordering::Relaxed),
            classes,
        }
    }
}

impl Stats {
    fn summary(&self) -> Summary {
        let mut classes = [ClassLine::EMPTY; CLASSES];
        for (to, from) in classes.iter_mut().zip(&self.classes) {
            *to = ClassLine {
                block_bytes: from.block_bytes as u32,
                pools: from.pools,
                in_use: from.in_use,
                available: from.available,
            };
        }
        Summary {
            pid: os::pid(),
            mapped_bytes: self.mapped_bytes,
            mapped_peak_bytes: self.mapped_bytes_high,
            block_bytes: self.block_bytes,
            block_peak_bytes: self.block_bytes_high,
            arenas_now: self.arenas,
            arenas_peak: self.arenas_high,
            arenas_total: self.arenas_total,
            arenas_reclaimed: self.arenas_total - self.arenas,
            huge_now: self.huge_blocks,
            huge_bytes: self.huge_bytes,
            huge_peak_bytes: self.huge_bytes_high,
            huge_total: self.huge_total,
            threads_now: self.threads,
            threads_peak: self.threads_high,
            threads_total: self.threads_total,
            heaps: self.heaps,
            purged_bytes: self.purged_bytes,
            foreign_frees: self.foreign_frees,
            classes,
        }
    }
}

/// Writes what the environment asked for.
pub(super) fn report_at_exit() {
    if OPTIONS.reports() {
        print_report();
    }
    if os::is_privileged() {
        return;
    }
    if let Some(path) = os::environment(c"PYMALLOC_STATS_FILE") {
        let mut text = os::Text::<16384>::new();
        let _ = Stats::now().summary().write(&mut text);
        if !os::write_file(path, text.as_bytes()) {
            os::say(format_args!(
                "PYMALLOC_STATS_FILE: cannot write the summary"
            ));
        }
    }
}

/// Writes CPython's report to standard error.
pub(crate) fn print_report() {
    let mut text = os::Text::<8192>::new();
    let _ = statistics().write(&mut text);
    os::write_error(text.as_bytes());
}
