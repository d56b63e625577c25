//! What lived at a moment.

use super::filter::AnyFilter;
use super::frame::{Frame, Traceback};
use super::statistics::{
    KeyType, Statistic, StatisticDiff, StatisticsError, descending, format_size,
};
use crate::sync::Arc;
use std::collections::HashMap;
use std::fmt;

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Who gave it out; 0 for this allocator.
    pub domain: u32,
    /// Bytes asked for.
    pub size: u64,
    /// Blocks it stands for: 1, unless only some were seen ([`start_sampled`](super::start_sampled)).
    pub count: u64,
    /// Where.
    pub traceback: Arc<Traceback>,
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = format_size(self.size as i64, false);
        write!(out, "{}: {size}", self.traceback)
    }
}

/// All blocks that are traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The blocks.
    pub traces: Vec<Trace>,
    /// Most frames of a traceback.
    pub traceback_limit: usize,
}

/// Size and count of a group.
type Groups = HashMap<Arc<Traceback>, (u64, u64)>;

impl Snapshot {
    /// A snapshot of these blocks.
    pub fn new(traces: Vec<Trace>, traceback_limit: usize) -> Self {
        Self {
            traces,
            traceback_limit,
        }
    }

    /// The blocks that pass: one inclusive filter, if there is any, and all exclusive ones.
    pub fn filter_traces(&self, filters: &[AnyFilter]) -> Self {
        let passes = |trace: &&Trace| {
            let mut inclusive = filters
                .iter()
                .filter(|filter| filter.is_inclusive())
                .peekable();
            let mut exclusive = filters.iter().filter(|filter| !filter.is_inclusive());
            let pass = |filter: &AnyFilter| filter.passes(trace.domain, &trace.traceback);
            (inclusive.peek().is_none() || inclusive.any(pass)) && exclusive.all(pass)
        };
        Self {
            traces: self.traces.iter().filter(passes).cloned().collect(),
            traceback_limit: self.traceback_limit,
        }
    }

    /// The blocks in groups, the greatest first. `cumulative`: every frame of a traceback gets the block.
    ///
    /// # Errors
    /// [`StatisticsError::CumulativeTraceback`].
    pub fn statistics(
        &self,
        key_type: KeyType,
        cumulative: bool,
    ) -> Result<Vec<Statistic>, StatisticsError> {
        let groups = self.groups(key_type, cumulative)?;
        let statistic = |(traceback, (size, count))| Statistic {
            traceback,
            size,
            count,
        };
        Ok(descending(groups.into_iter().map(statistic).collect()))
    }

    /// The groups of both snapshots and how they differ from `old` to this one, the greatest difference first.
    ///
    /// # Errors
    /// As [`Snapshot::statistics`].
    pub fn compare_to(
        &self,
        old: &Snapshot,
        key_type: KeyType,
        cumulative: bool,
    ) -> Result<Vec<StatisticDiff>, StatisticsError> {
        let mut before = old.groups(key_type, cumulative)?;
        let mut diffs = Vec::new();
        for (traceback, (size, count)) in self.groups(key_type, cumulative)? {
            let (old_size, old_count) = before.remove(&traceback).unwrap_or_default();
            diffs.push(StatisticDiff {
                traceback,
                size,
                size_diff: size as i64 - old_size as i64,
                count,
                count_diff: count as i64 - old_count as i64,
            });
        }
        diffs.extend(
            before
                .into_iter()
                .map(|(traceback, (size, count))| StatisticDiff {
                    traceback,
                    size: 0,
                    size_diff: -(size as i64),
                    count: 0,
                    count_diff: -(count as i64),
                }),
        );
        Ok(descending(diffs))
    }

    fn groups(&self, key_type: KeyType, cumulative: bool) -> Result<Groups, StatisticsError> {
        if cumulative && key_type == KeyType::Traceback {
            return Err(StatisticsError::CumulativeTraceback);
        }
        let mut groups = Groups::new();
        // One traceback per frame, however many blocks it has.
        let mut keys: HashMap<Frame, Arc<Traceback>> = HashMap::new();
        let mut key = |frame: &Frame| {
            let frame = match key_type {
                KeyType::Filename => Frame::new(&frame.filename, 0),
                _ => frame.clone(),
            };
            let made = |frame: &Frame| Arc::new(Traceback::new(vec![frame.clone()], None));
            Arc::clone(keys.entry(frame).or_insert_with_key(made))
        };
        let mut add = |traceback: Arc<Traceback>, trace: &Trace| {
            let (sum, count) = groups.entry(traceback).or_default();
            *sum += trace.size;
            *count += trace.count;
        };
        for trace in &self.traces {
            match key_type {
                KeyType::Traceback => add(Arc::clone(&trace.traceback), trace),
                _ if cumulative => {
                    for frame in trace.traceback.frames() {
                        add(key(frame), trace);
                    }
                }
                _ => {
                    if let Some(frame) = trace.traceback.most_recent() {
                        add(key(frame), trace);
                    }
                }
            }
        }
        Ok(groups)
    }
}
