//! [`Growth`] and [`NewIds`]: what came since the last time.

use super::names::Known;
use super::{Census, Names, census::truncate};
use crate::gc;
use crate::object::Gc;
use core::cmp::Reverse;
use core::fmt::{self, Write};
use std::collections::{HashMap, HashSet};

/// A type that has more objects than ever before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Its name.
    pub name: String,
    /// Objects it has.
    pub count: usize,
    /// How many more than the most that it had when somebody looked.
    pub delta: usize,
}

/// The most objects of each type that were seen.
///
/// ```
/// use pymalloc::{impl_trace, object::{Gc, Slot}, observe::objgraph::{Census, Growth}};
/// struct Node { next: Slot<Node> }
/// impl_trace!(struct Node { next });
///
/// let mut growth = Growth::new();
/// growth.update(&Census::new(), None);
/// let kept: Vec<_> = (0..3).map(|_| Gc::new(Node { next: Slot::empty() })).collect();
/// let mut text = String::new();
/// growth.show(&Census::new(), None, &mut text).unwrap();
/// assert_eq!(text, "Node        3        +3\n");
/// # drop(kept[0].next.take());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Growth {
    peaks: HashMap<String, usize>,
}

impl Growth {
    /// Nothing was seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects, and returns the types with more objects than ever before: those that grew most first, at most
    /// `limit`. `None` and 0 stand for all.
    pub fn update(&mut self, census: &Census, limit: Option<usize>) -> Vec<Grown> {
        gc::collect();
        let mut grown = Vec::new();
        // In the order the types are met, which decides between equals.
        for (name, count) in census.counts() {
            let peak = self.peaks.get(&name).copied().unwrap_or(0);
            if count > peak {
                self.peaks.insert(name.clone(), count);
                let delta = count - peak;
                grown.push(Grown { name, count, delta });
            }
        }
        grown.sort_by_key(|grown| Reverse(grown.delta));
        truncate(&mut grown, limit);
        grown
    }

    /// Writes [`Self::update`] as a table; nothing if nothing grew.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(
        &mut self,
        census: &Census,
        limit: Option<usize>,
        out: &mut dyn Write,
    ) -> fmt::Result {
        write_table(&self.update(census, limit), out)
    }
}

/// Writes what grew, a line each.
pub fn write_table(rows: &[Grown], out: &mut dyn Write) -> fmt::Result {
    let width = rows.iter().map(|row| row.name.chars().count()).max();
    let width = width.unwrap_or(0);
    for Grown { name, count, delta } in rows {
        writeln!(out, "{name:width$}{count:9} {delta:+9}")?;
    }
    Ok(())
}

/// The column by which rows are sorted, from the largest down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Objects there were.
    Old,
    /// Objects there are.
    Current,
    /// Objects that were not there.
    New,
    /// Current less old.
    #[default]
    Deltas,
}

/// One type in the table of [`NewIds`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIdsRow {
    /// Its name.
    pub name: String,
    /// Objects there were.
    pub old: usize,
    /// Objects there are.
    pub current: usize,
    /// Objects that were not there.
    pub new: usize,
}

impl NewIdsRow {
    /// Objects that there are more.
    pub fn delta(&self) -> isize {
        self.current as isize - self.old as isize
    }
}

/// Identities of objects by type.
pub type Ids = HashMap<String, HashSet<usize>>;

/// Which objects are new since the last time.
///
/// An identity is used again when its object is gone: a new object at the place of an old one is not new.
#[derive(Clone, Debug, Default)]
pub struct NewIds {
    names: Names,
    old: Ids,
    current: Ids,
    new: Ids,
}

impl NewIds {
    /// No object is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Types are named so from the next [`Self::update`] on.
    pub fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    /// Collects, and compares the tracked objects with those of the last time. Returns the new ones' identities,
    /// for [`at_addrs`](super::at_addrs).
    pub fn update(&mut self) -> &Ids {
        gc::collect();
        let mut known = Known::new(self.names);
        let mut ids: Vec<HashSet<usize>> = Vec::new();
        gc::for_each_tracked(|object| {
            let index = known.index(object);
            if index == ids.len() {
                ids.push(HashSet::new());
            }
            ids[index].insert(Gc::id(object));
        });
        self.old = core::mem::replace(&mut self.current, known.all.into_iter().zip(ids).collect());
        // A type whose objects are all gone is still a row.
        for name in self.old.keys() {
            self.current.entry(name.clone()).or_default();
        }
        self.old.retain(|_, ids| !ids.is_empty());
        self.current
            .retain(|name, ids| !ids.is_empty() || self.old.contains_key(name));
        let none = HashSet::new();
        let new = self.current.iter().map(|(name, ids)| {
            let old = self.old.get(name).unwrap_or(&none);
            (name.clone(), ids.difference(old).copied().collect())
        });
        self.new = new.collect();
        &self.new
    }

    /// What the last [`Self::update`] returned.
    pub fn last(&self) -> &Ids {
        &self.new
    }

    /// The last comparison, type by type; those of equal figures by descending name.
    pub fn rows(&self, sort_by: SortBy) -> Vec<NewIdsRow> {
        let n = |ids: &Ids, name: &str| ids.get(name).map_or(0, HashSet::len);
        let row = |(name, current): (&String, &HashSet<usize>)| NewIdsRow {
            old: n(&self.old, name),
            new: n(&self.new, name),
            current: current.len(),
            name: name.clone(),
        };
        let mut rows: Vec<_> = self.current.iter().map(row).collect();
        rows.sort_by_cached_key(|row| {
            let figure = match sort_by {
                SortBy::Old => row.old as isize,
                SortBy::Current => row.current as isize,
                SortBy::New => row.new as isize,
                SortBy::Deltas => row.delta(),
            };
            Reverse((figure, row.name.clone()))
        });
        rows
    }

    /// Writes the last comparison as a table: at most `limit` rows, all for `None`, nothing for 0.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&self, limit: Option<usize>, sort_by: SortBy, out: &mut dyn Write) -> fmt::Result {
        let mut rows = self.rows(sort_by);
        rows.truncate(limit.unwrap_or(usize::MAX));
        let Some(width) = rows.iter().map(|row| row.name.chars().count()).max() else {
            return Ok(());
        };
        let line = "=".repeat(width + 13 * 4);
        let titles = ["Type", "Old_ids", "Current_ids", "New_ids", "Count_Deltas"];
        let [name, old, current, new, delta] = titles;
        writeln!(
            out,
            "{line}\n{name:width$}{old:>13}{current:>13}{new:>13}{delta:>13}\n{line}"
        )?;
        for row in &rows {
            let (name, old, current) = (&row.name, row.old, row.current);
            let (new, delta) = (row.new, row.delta());
            writeln!(out, "{name:width$}{old:13}{current:13}{new:+13}{delta:+13}")?;
        }
        writeln!(out, "{line}")
    }
}
