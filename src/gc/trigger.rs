//! When a collection runs by itself: CPython's rule (Modules/gcmodule.c 3.11, `gc_collect_generations`).

use super::collector::{Collector, GENERATIONS};
use crate::object::heap::{Heap, Phase};

/// An allocation exceeded the limit.
#[cold]
#[inline(never)]
pub fn on_limit(heap: &Heap) {
    let collector = Collector::of(heap);
    if collector.deferred.get() {
        collector.scheduled.set(true);
        collector.update_limit();
    } else {
        collector.run_due();
    }
}

impl Collector {
    /// Runs the collection that is due: of the oldest generation whose count exceeds its threshold. The third
    /// one waits besides until a quarter of the long-lived objects is new.
    pub fn run_due(&self) -> usize {
        if !self.enabled.get() || self.heap.phase.get() != Phase::Idle {
            return 0;
        }
        for generation in (0..GENERATIONS).rev() {
            if self.count(generation) <= self.thresholds[generation].get() {
                continue;
            }
            let few = self.long_lived_pending.get() < self.long_lived_total.get() / 4;
            if generation == 2 && few {
                continue;
            }
            return self.run(generation);
        }
        0
    }

    /// The count a threshold is compared with.
    pub fn count(&self, generation: usize) -> u32 {
        match generation {
            0 => self.heap.count.get(),
            older => self.counts[older - 1].get(),
        }
    }

    /// Runs what waits, in deferred mode.
    pub fn poll(&self) -> usize {
        if !self.scheduled.replace(false) {
            return 0;
        }
        let found = self.run_due();
        self.update_limit();
        found
    }
}
