//! Figures of this process's allocator, and what is reported at exit.

use super::summary::{CLASSES, ClassLine, Summary};
use super::{EXTENTS, HUGE, MAP, OPTIONS, ROSTER, purge};
use crate::obmalloc::address_map::AddressMap;
use crate::obmalloc::engine::Counters;
use crate::obmalloc::geometry::{Geometry, Production};
use crate::obmalloc::report::{ClassUse, MapNodes, Statistics};
use crate::obmalloc::size_class::SizeClass;
use crate::os;
use crate::sync::{AtomicU64, Ordering};
use core::ptr::NonNull;

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

/// Figures of the whole process, taken heap by heap: each heap's are consistent in themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes readable and writable now: arenas, huge blocks, the allocator's own tables.
    pub mapped_bytes: u64,
    /// The most that ever was.
    pub mapped_bytes_high: u64,
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
    let mut sum = Statistics {
        counters: Counters::default(),
        classes: [ClassUse::default(); SizeClass::COUNT],
        unused_pools: 0,
        misaligned_arenas: 0,
        raw_blocks: HUGE.counts().blocks as u64,
        header_bytes: Production::HEADER_BYTES as u64,
        map: MapNodes {
            root_bytes: AddressMap::ROOT_BYTES as u64,
            mid: 0,
            mid_bytes: 0,
            bot: MAP.n_leaves() as u64,
            bot_bytes: AddressMap::LEAF_BYTES as u64,
        },
    };
    for heap in ROSTER.heaps() {
        heap.gate()
            .enter(|state| sum.add(&Statistics::gather(&state.engine, 0)));
    }
    sum
}

impl Stats {
    /// The figures now.
    pub(super) fn now() -> Self {
        let sum = statistics();
        let (extents, huge, threads) = (EXTENTS.counts(), HUGE.counts(), ROSTER.threads());
        let mut classes = [ClassStats::default(); SizeClass::COUNT];
        for (index, (to, from)) in classes.iter_mut().zip(&sum.classes).enumerate() {
            *to = ClassStats {
                block_bytes: SizeClass::new(index).block_bytes(),
                pools: from.pools,
                in_use: from.in_use,
                available: from.available,
            };
        }
        Self {
            mapped_bytes: extents.mapped_bytes as u64,
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
            heaps: ROSTER.heaps().count() as u64,
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
    if os::is_privileged() {
        return;
    }
    if os::environment(c"PYMALLOCSTATS").is_some_and(|value| !value.to_bytes().is_empty()) {
        print_report();
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
