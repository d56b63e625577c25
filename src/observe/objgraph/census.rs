//! [`Census`]: how many objects of which type there are, and which they are.

use super::names::Known;
use super::{Names, Predicate};
use crate::gc;
use crate::object::{Erased, Gc};
use core::fmt::{self, Write};
use std::collections::{HashMap, HashSet};

/// Counts objects: all that the thread's collector tracks, or those it is given.
///
/// ```
/// use pymalloc::{impl_trace, object::Gc, observe::objgraph::Census};
/// struct Node { next: Option<Gc<Node>> }
/// impl_trace!(struct Node { next });
///
/// let last = Gc::new(Node { next: None });
/// let first = Gc::new(Node { next: Some(last.clone()) });
/// assert_eq!(Census::new().count("Node"), 2);
/// let with_next = |object: &Gc<_>| !Gc::is(object, &last);
/// assert_eq!(Census::new().filter(with_next).most_common_types(Some(10)), [("Node".to_owned(), 1)]);
/// # let _ = &first.next;
/// ```
#[derive(Default)]
pub struct Census<'a> {
    objects: Option<&'a [Gc<Erased>]>,
    names: Names,
    filter: Option<Predicate<'a>>,
}

impl<'a> Census<'a> {
    /// Of all objects that are tracked: those that may be part of a cycle and are not put aside by
    /// [`gc::freeze`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Of these objects, tracked or not.
    pub fn of(objects: &'a [Gc<Erased>]) -> Self {
        Self {
            objects: Some(objects),
            ..Self::default()
        }
    }

    /// Types are named with their modules.
    pub fn long_names(mut self) -> Self {
        self.names = Names::Long;
        self
    }

    /// Objects for which `filter` is false are left out.
    pub fn filter(mut self, filter: impl Fn(&Gc<Erased>) -> bool + 'a) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Calls `f`, which makes no object, on each object.
    fn each(&self, mut f: impl FnMut(&Gc<Erased>)) {
        let all;
        let objects = match (self.objects, &self.filter) {
            (None, None) => return gc::for_each_tracked(f),
            (Some(objects), _) => objects,
            (None, Some(_)) => {
                // The filter may do anything.
                all = tracked();
                &all
            }
        };
        for object in objects {
            if self.filter.as_ref().is_none_or(|filter| filter(object)) {
                f(object);
            }
        }
    }

    /// Names in the order they were met, and how often.
    pub(super) fn counts(&self) -> Vec<(String, usize)> {
        let mut known = Known::new(self.names);
        let mut counts = Vec::new();
        self.each(|object| {
            let index = known.index(object);
            if index == counts.len() {
                counts.push(0);
            }
            counts[index] += 1;
        });
        known.all.into_iter().zip(counts).collect()
    }

    /// How many objects have a type of this name: the short one, or with a dot or `::` in it the long one.
    pub fn count(&self, type_name: &str) -> usize {
        let mut n = 0;
        self.each_of_type(type_name, |_| n += 1);
        n
    }

    /// The objects with a type of this name, as for [`Self::count`].
    pub fn by_type(&self, type_name: &str) -> Vec<Gc<Erased>> {
        let mut found = Vec::new();
        self.each_of_type(type_name, |object| found.push(object.clone()));
        found
    }

    fn each_of_type(&self, type_name: &str, mut f: impl FnMut(&Gc<Erased>)) {
        let mut known = Known::new(Names::like(type_name));
        self.each(|object| {
            let index = known.index(object);
            if known.all[index] == type_name {
                f(object);
            }
        });
    }

    /// How many objects there are of each type.
    pub fn typestats(&self) -> HashMap<String, usize> {
        self.counts().into_iter().collect()
    }

    /// The types with the most objects, those first; at most `limit`. `None` and, as in Python, 0 stand for
    /// all.
    pub fn most_common_types(&self, limit: Option<usize>) -> Vec<(String, usize)> {
        let mut counts = self.counts();
        counts.sort_by_key(|(_, n)| core::cmp::Reverse(*n));
        truncate(&mut counts, limit);
        counts
    }

    /// Writes [`Self::most_common_types`] as a table; nothing if there are no objects.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show_most_common_types(&self, limit: Option<usize>, out: &mut dyn Write) -> fmt::Result {
        let types = self.most_common_types(limit);
        let width = types.iter().map(|(name, _)| name.chars().count()).max();
        for (name, n) in &types {
            writeln!(out, "{name:width$} {n}", width = width.unwrap_or(0))?;
        }
        Ok(())
    }

    /// Collects, and returns the objects that no tracked object refers to: what variables, statics and leaf
    /// data of the program hold, and what was leaked.
    pub fn leaking(&self) -> Vec<Gc<Erased>> {
        gc::collect();
        let mut objects = Vec::new();
        self.each(|object| objects.push(object.clone()));
        let mut referred = HashSet::new();
        gc::for_each_tracked(|object| {
            gc::for_each_referent(object, |target| {
                referred.insert(Gc::id(target));
            });
        });
        objects.retain(|object| !referred.contains(&Gc::id(object)));
        objects
    }
}

/// All tracked objects.
pub fn tracked() -> Vec<Gc<Erased>> {
    let mut objects = Vec::new();
    gc::for_each_tracked(|object| objects.push(object.clone()));
    objects
}

/// Leaves the first `limit` rows; all for `None` and 0, as Python's `if limit:` does.
pub fn truncate<T>(rows: &mut Vec<T>, limit: Option<usize>) {
    if let Some(limit @ 1..) = limit {
        rows.truncate(limit);
    }
}
