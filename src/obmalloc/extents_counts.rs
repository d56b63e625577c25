//! How much memory is mapped, and how much may be.

use super::{ExtentCounts, Extents};
use crate::sync::Ordering;

impl Extents {
    /// Counts for reports.
    pub fn counts(&self) -> ExtentCounts {
        ExtentCounts {
            mapped_bytes: self.mapped.load(Ordering::Relaxed),
            mapped_bytes_high: self.mapped_high.load(Ordering::Relaxed),
        }
    }

    /// Notes that `n` pools' worth of memory came from the system: pools taken that held none, huge pages, huge blocks.
    pub fn note_fresh(&self, n: usize) {
        self.fresh_pools.fetch_add(n, Ordering::Relaxed);
    }

    /// Pools' worth of memory that came from the system ever.
    pub fn fresh_pools(&self) -> u64 {
        self.fresh_pools.load(Ordering::Relaxed) as u64
    }

    pub(super) fn note_fresh_slots(&self, n: usize) {
        self.fresh_slots.fetch_add(n, Ordering::Relaxed);
    }

    /// Slots without memory that were obtained ever.
    #[inline]
    pub fn fresh_slots(&self) -> usize {
        self.fresh_slots.load(Ordering::Relaxed)
    }

    /// Refuses memory for blocks beyond `bytes` of mapped memory from now on.
    pub fn set_limit(&self, bytes: usize) {
        // Relaxed: a bound that two threads at once may pass by what each of them asks for.
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Whether `len` bytes more may be mapped.
    pub fn has_room(&self, len: usize) -> bool {
        let mapped = self.mapped.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        mapped.checked_add(len).is_some_and(|sum| sum <= limit)
    }

    /// Notes that `len` bytes more are mapped.
    pub fn note_mapped(&self, len: usize) {
        let now = self.mapped.fetch_add(len, Ordering::Relaxed) + len;
        self.mapped_high.fetch_max(now, Ordering::Relaxed);
    }

    /// Notes that `len` bytes were given back.
    pub fn note_unmapped(&self, len: usize) {
        self.mapped.fetch_sub(len, Ordering::Relaxed);
    }
}
