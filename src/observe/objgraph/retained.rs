//! [`Retained`]: what goes when an object goes; and [`Roots`]: what holds objects from outside.
//!
//! ```text
//! the program ──► roots ──► objects        d dominates o: every way from the program to o leads through d
//! retained(d) = bytes of d and of all that d dominates: what would be freed with it
//! ```
//!
//! Dominators are found by the semi-NCA algorithm (Georgiadis, Linear-Time Algorithms for Dominators and Related
//! Problems, 2005), without recursion. Objects are numbered in the order of a depth-first walk, so a dominator
//! has a lower number than what it dominates, and the program, number 0, dominates all.

use super::Names;
use super::links::Links;
use crate::gc;
use crate::object::{Erased, Gc};
use core::cmp::Reverse;
use core::fmt::{self, Write};
use std::collections::HashSet;

/// Objects that something outside the heap holds: a variable, a static, data that is not traced.
///
/// What in Python are modules and frames, where everything that lives hangs, are handles on the stack and in
/// statics in Rust.
pub struct Roots {
    ids: HashSet<usize>,
}

impl Roots {
    /// The roots as they are now, after a collection. The handles `held` are the question's own: they make no
    /// root of an object.
    pub fn find(held: &[Gc<Erased>]) -> Self {
        gc::collect();
        let links = Links::read(Names::Short, held);
        let ids = links.roots().map(|number| links.ids[number as usize]);
        Self { ids: ids.collect() }
    }

    /// Whether an object was one.
    pub fn contains(&self, object: &Gc<Erased>) -> bool {
        self.ids.contains(&Gc::id(object))
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// What one object, or the objects of one type, hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// The identity of the object; 0 for a type.
    pub id: usize,
    /// The name of its type.
    pub type_name: String,
    /// Objects: 1, or how many of the type.
    pub n_objects: usize,
    /// Their own bytes.
    pub bytes: u64,
    /// Their bytes and those of all that would go with them.
    pub retained_bytes: u64,
}

/// Which objects hold how much of the heap, as it was when this was computed.
///
/// ```
/// use pymalloc::{impl_trace, object::Gc, observe::objgraph::{Retained, Names}};
/// struct Node { text: String, next: Option<Gc<Node>> }
/// impl_trace!(struct Node { text, next });
///
/// let last = Gc::new(Node { text: "x".repeat(1000), next: None });
/// let first = Gc::new(Node { text: String::new(), next: Some(last) });
/// let retained = Retained::compute(Names::Short, &[]);
/// assert_eq!(retained.of(&Gc::erased(&first)), Some(Gc::deep_size_of(&first) as u64));
/// # let _ = (&first.text, &first.next);
/// ```
pub struct Retained {
    links: Links,
    /// Numbers of objects in the walk's order; the program is the first, and has none.
    order: Vec<u32>,
    /// Place in `order` of each object; 0 for what no walk reaches.
    place: Vec<u32>,
    /// Place of the nearest dominator of each place.
    dominators: Vec<u32>,
    /// By place.
    retained: Vec<u64>,
}

/// The walk's number of the program.
const PROGRAM: u32 = 0;

impl Retained {
    /// Collects, and computes what each object of the thread's heap holds. The handles `held` are the question's
    /// own and hold nothing.
    pub fn compute(names: Names, held: &[Gc<Erased>]) -> Self {
        gc::collect();
        let links = Links::read(names, held);
        let (order, place, parents) = walk(&links);
        let dominators = dominators(&links, &order, &place, &parents);
        let mut retained: Vec<u64> = order
            .iter()
            .map(|number| links.bytes.get(*number as usize).copied().unwrap_or(0))
            .collect();
        for at in (1..order.len()).rev() {
            retained[dominators[at] as usize] += retained[at];
        }
        Self {
            links,
            order,
            place,
            dominators,
            retained,
        }
    }

    fn place_of(&self, object: &Gc<Erased>) -> Option<usize> {
        let number = *self.links.numbers.get(&Gc::id(object))?;
        let place = self.place[number as usize];
        (place != PROGRAM).then_some(place as usize)
    }

    /// Bytes that would be freed if everything let go of the object; `None` for an object that was not there,
    /// or that nothing reached.
    pub fn of(&self, object: &Gc<Erased>) -> Option<u64> {
        Some(self.retained[self.place_of(object)?])
    }

    /// The identity of the object through which all ways from the program to this one lead, and which is
    /// nearest to it; `None` if there is no such object.
    pub fn dominator(&self, object: &Gc<Erased>) -> Option<usize> {
        let dominator = self.dominators[self.place_of(object)?];
        (dominator != PROGRAM).then(|| self.links.ids[self.order[dominator as usize] as usize])
    }

    /// Bytes of all objects that are reached.
    pub fn total_bytes(&self) -> u64 {
        self.retained[PROGRAM as usize]
    }

    /// The objects that hold most, at most `limit`.
    pub fn largest(&self, limit: usize) -> Vec<Holding> {
        let mut places: Vec<usize> = (1..self.order.len()).collect();
        places.sort_by_key(|place| (Reverse(self.retained[*place]), *place));
        places.truncate(limit);
        let row = |place: usize| {
            let number = self.order[place] as usize;
            Holding {
                id: self.links.ids[number],
                type_name: self.links.type_names[self.links.types[number] as usize].clone(),
                n_objects: 1,
                bytes: self.links.bytes[number],
                retained_bytes: self.retained[place],
            }
        };
        places.into_iter().map(row).collect()
    }

    /// What the objects of each type hold together: what would be freed if all of them went. Those that hold
    /// most first. Takes one walk over the heap per type.
    pub fn by_type(&self) -> Vec<Holding> {
        let mut rows: Vec<_> = self
            .links
            .type_names
            .iter()
            .enumerate()
            .map(|(kind, name)| {
                let of_kind = |number: &&u32| self.links.types[**number as usize] as usize == kind;
                let objects: Vec<_> = self.order[1..].iter().filter(of_kind).collect();
                Holding {
                    id: 0,
                    type_name: name.clone(),
                    n_objects: objects.len(),
                    bytes: objects
                        .iter()
                        .map(|number| self.links.bytes[**number as usize])
                        .sum(),
                    retained_bytes: self.total_bytes() - self.bytes_without(kind),
                }
            })
            .collect();
        rows.retain(|row| row.n_objects > 0);
        rows.sort_by_key(|row| Reverse((row.retained_bytes, row.bytes)));
        rows
    }

    /// Bytes that are reached without going through objects of a type.
    fn bytes_without(&self, kind: usize) -> u64 {
        let is_other = |number: &u32| self.links.types[*number as usize] as usize != kind;
        let mut seen = vec![false; self.links.len()];
        let mut left: Vec<u32> = self.links.roots().filter(is_other).collect();
        let mut bytes = 0;
        while let Some(number) = left.pop() {
            if !core::mem::replace(&mut seen[number as usize], true) {
                bytes += self.links.bytes[number as usize];
                left.extend(self.links.targets(number).iter().copied().filter(is_other));
            }
        }
        bytes
    }

    /// Writes [`Self::by_type`] as a table of at most `limit` rows.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show_by_type(&self, limit: Option<usize>, out: &mut dyn Write) -> fmt::Result {
        let mut rows = self.by_type();
        super::census::truncate(&mut rows, limit);
        let width = rows.iter().map(|row| row.type_name.chars().count()).max();
        let width = width.unwrap_or(0).max(4);
        let titles = ("Type", "Objects", "Bytes", "Retained");
        let (name, objects, bytes, retained) = titles;
        writeln!(out, "{name:width$}{objects:>13}{bytes:>13}{retained:>13}")?;
        for row in &rows {
            let (name, objects) = (&row.type_name, row.n_objects);
            let (bytes, retained) = (row.bytes, row.retained_bytes);
            writeln!(out, "{name:width$}{objects:13}{bytes:13}{retained:13}")?;
        }
        Ok(())
    }
}

/// A depth-first walk from the program: order, place of each object, place of each place's parent.
fn walk(links: &Links) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let mut place = vec![PROGRAM; links.len()];
    // The program has no number.
    let (mut order, mut parents) = (vec![u32::MAX], vec![PROGRAM]);
    for root in links.roots() {
        let mut left = vec![(root, PROGRAM)];
        while let Some((number, parent)) = left.pop() {
            if place[number as usize] != PROGRAM {
                continue;
            }
            let at = order.len() as u32;
            place[number as usize] = at;
            order.push(number);
            parents.push(parent);
            let targets = links.targets(number).iter().rev();
            left.extend(
                targets
                    .filter(|target| place[**target as usize] == PROGRAM)
                    .map(|target| (*target, at)),
            );
        }
    }
    (order, place, parents)
}

/// Who refers to each place, by place.
struct Sources {
    first: Vec<usize>,
    sources: Vec<u32>,
}

impl Sources {
    fn new(links: &Links, order: &[u32], place: &[u32]) -> Self {
        let n = order.len();
        let roots = || {
            links
                .roots()
                .map(|number| (PROGRAM, place[number as usize]))
        };
        let inner = || {
            let places = 1..n as u32;
            places.flat_map(|at| {
                let targets = links.targets(order[at as usize]).iter();
                targets.map(move |target| (at, place[*target as usize]))
            })
        };
        let mut first = vec![0; n + 1];
        for (_, target) in roots().chain(inner()) {
            first[target as usize + 1] += 1;
        }
        for at in 0..n {
            first[at + 1] += first[at];
        }
        let mut free = first.clone();
        let mut sources = vec![0; first[n]];
        for (source, target) in roots().chain(inner()) {
            sources[free[target as usize]] = source;
            free[target as usize] += 1;
        }
        Self { first, sources }
    }

    fn of(&self, at: usize) -> &[u32] {
        &self.sources[self.first[at]..self.first[at + 1]]
    }
}

/// The nearest dominator of each place.
fn dominators(links: &Links, order: &[u32], place: &[u32], parents: &[u32]) -> Vec<u32> {
    let n = order.len();
    let sources = Sources::new(links, order, place);
    let mut forest = Forest {
        ancestors: parents.to_vec(),
        labels: (0..n as u32).collect(),
        semi: (0..n as u32).collect(),
        path: Vec::new(),
    };
    for at in (1..n).rev() {
        let nearest = sources.of(at).iter();
        let nearest = nearest.map(|source| forest.lowest(*source, at as u32));
        forest.semi[at] = nearest.min().unwrap_or(PROGRAM);
    }
    let mut dominators = parents.to_vec();
    for at in 1..n {
        while dominators[at] > forest.semi[at] {
            dominators[at] = dominators[dominators[at] as usize];
        }
    }
    dominators
}

/// Places above a limit, linked to their parents, with paths that become shorter as they are walked.
struct Forest {
    ancestors: Vec<u32>,
    /// The place with the lowest semidominator on the walked part of the way up.
    labels: Vec<u32>,
    semi: Vec<u32>,
    path: Vec<u32>,
}

impl Forest {
    /// The lowest semidominator on the way from `from` up to what is not above `limit`.
    fn lowest(&mut self, from: u32, limit: u32) -> u32 {
        if from <= limit {
            return self.semi[from as usize];
        }
        let mut top = from;
        while self.ancestors[top as usize] > limit {
            self.path.push(top);
            top = self.ancestors[top as usize];
        }
        while let Some(at) = self.path.pop() {
            let above = self.ancestors[at as usize] as usize;
            let (label, other) = (self.labels[at as usize], self.labels[above]);
            if self.semi[other as usize] < self.semi[label as usize] {
                self.labels[at as usize] = other;
            }
            self.ancestors[at as usize] = self.ancestors[above];
        }
        self.semi[self.labels[from as usize] as usize]
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, n) = (&self.type_name, self.n_objects);
        let (bytes, retained) = (self.bytes, self.retained_bytes);
        write!(f, "{name} ({n}): {bytes} bytes, retains {retained}")
    }
}
