//! Groups of traces and how they differ.

use super::frame::Traceback;
use crate::sync::Arc;
use std::cmp::{Ordering, Reverse};
use std::fmt;

/// By what traces are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// All stored frames.
    Traceback,
    /// The line of the most recent frame.
    Lineno,
    /// The file of the most recent frame.
    Filename,
}

/// Why there are no statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatisticsError {
    /// Every frame of a traceback gets the traceback's size: that has a meaning for lines and files only.
    CumulativeTraceback,
}

impl fmt::Display for StatisticsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("cumulative mode cannot be used with key type \"traceback\"")
    }
}

impl std::error::Error for StatisticsError {}

/// Blocks of one group. Ordered by size, count, traceback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// What the blocks have in common; of one frame unless grouped by traceback.
    pub traceback: Arc<Traceback>,
    /// Bytes.
    pub size: u64,
    /// Blocks.
    pub count: u64,
}

impl Ord for Statistic {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |of: &Self| (of.size, of.count);
        let by_traceback = || self.traceback.cmp(&other.traceback);
        key(self).cmp(&key(other)).then_with(by_traceback)
    }
}

impl PartialOrd for Statistic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = format_size(self.size as i64, false);
        write!(out, "{}: size={size}, count={}", self.traceback, self.count)?;
        average(out, self.size, self.count)
    }
}

/// How a group differs between two snapshots. Ordered by |size_diff|, size, |count_diff|, count, traceback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticDiff {
    /// What the blocks have in common.
    pub traceback: Arc<Traceback>,
    /// Bytes in the newer snapshot.
    pub size: u64,
    /// Bytes more than in the older one.
    pub size_diff: i64,
    /// Blocks in the newer snapshot.
    pub count: u64,
    /// Blocks more than in the older one.
    pub count_diff: i64,
}

impl Ord for StatisticDiff {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |of: &Self| {
            let (size, count) = (of.size_diff.unsigned_abs(), of.count_diff.unsigned_abs());
            (size, of.size, count, of.count)
        };
        let by_traceback = || self.traceback.cmp(&other.traceback);
        key(self).cmp(&key(other)).then_with(by_traceback)
    }
}

impl PartialOrd for StatisticDiff {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for StatisticDiff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}: size={} ({}), count={} ({:+})",
            self.traceback,
            format_size(self.size as i64, false),
            format_size(self.size_diff, true),
            self.count,
            self.count_diff
        )?;
        average(out, self.size, self.count)
    }
}

fn average(out: &mut fmt::Formatter<'_>, size: u64, count: u64) -> fmt::Result {
    match size.checked_div(count) {
        Some(average) => write!(out, ", average={}", format_size(average as i64, false)),
        None => Ok(()),
    }
}

/// A number of bytes as CPython's `tracemalloc._format_size` (3.11) writes it.
pub fn format_size(size: i64, sign: bool) -> String {
    let mut value = size as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value.abs() < 100.0 && unit != "B" {
            return match sign {
                true => format!("{value:+.1} {unit}"),
                false => format!("{value:.1} {unit}"),
            };
        }
        if value.abs() < 10.0 * 1024.0 || unit == "TiB" {
            return match sign {
                true => format!("{value:+.0} {unit}"),
                false => format!("{value:.0} {unit}"),
            };
        }
        value /= 1024.0;
    }
    String::new()
}

/// Sorts the greatest first.
pub(super) fn descending<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_by(|left, right| Reverse(left).cmp(&Reverse(right)));
    all
}
