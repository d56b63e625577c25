//! [`Search`]: shortest chains of references, forwards and backwards; and neighbours of objects.
//!
//! Whoever refers to an object is found by looking at every tracked object. A search looks once for all objects
//! that are equally far away, so it takes as many looks as the chain is long.

use super::Predicate;
use crate::gc;
use crate::object::{Erased, Gc};
use std::collections::{HashMap, HashSet};

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what an object refers to.
    Refs,
    /// To who refers to it.
    Backrefs,
}

/// The neighbours of each object of `level`, in the order of [`gc::get_referents`] or [`gc::get_referrers`].
pub fn neighbours(level: &[Gc<Erased>], direction: Direction) -> Vec<Vec<Gc<Erased>>> {
    let mut found: Vec<Vec<Gc<Erased>>> = level.iter().map(|_| Vec::new()).collect();
    if direction == Direction::Refs {
        for (object, found) in level.iter().zip(&mut found) {
            gc::for_each_referent(object, |target| found.push(target.clone()));
        }
        return found;
    }
    let index_of: HashMap<usize, usize> = (level.iter().enumerate())
        .map(|(index, object)| (Gc::id(object), index))
        .collect();
    // Few: most objects refer to none of the level.
    let mut hits: Vec<usize> = Vec::new();
    gc::for_each_tracked(|source| {
        gc::for_each_referent(source, |target| {
            if let Some(index) = index_of.get(&Gc::id(target))
                && !hits.contains(index)
            {
                hits.push(*index);
            }
        });
        for index in hits.drain(..) {
            found[index].push(source.clone());
        }
    });
    found
}

/// How chains are looked for.
///
/// ```
/// use pymalloc::{impl_trace, object::{Erased, Gc}, observe::objgraph::Search};
/// struct Node { name: &'static str, next: Option<Gc<Node>> }
/// impl_trace!(struct Node { name, next });
/// let node = |name, next: &Option<Gc<Node>>| Some(Gc::new(Node { name, next: next.clone() }));
///
/// let c = node("c", &None);
/// let a = node("a", &node("b", &c));
/// let [first, last] = [a, c].map(|node| Gc::erase(node.unwrap()));
/// let chain = Search::new().backrefs(&last, |object| Gc::is(object, &first));
/// let name = |object: &Gc<Erased>| object.downcast_ref::<Node>().map(|node| node.name);
/// assert_eq!(chain.iter().filter_map(name).collect::<String>(), "abc");
/// ```
pub struct Search {
    max_depth: usize,
    extra_ignore: HashSet<usize>,
}

impl Default for Search {
    fn default() -> Self {
        Self::new()
    }
}

impl Search {
    /// Chains of at most 20 references, through all objects.
    pub fn new() -> Self {
        Self {
            max_depth: 20,
            extra_ignore: HashSet::new(),
        }
    }

    /// Chains of at most so many references.
    pub fn max_depth(mut self, max_depth: usize) -> Self {
        self.max_depth = max_depth;
        self
    }

    /// Chains not through these objects, given by identity.
    pub fn extra_ignore(mut self, ids: impl IntoIterator<Item = usize>) -> Self {
        self.extra_ignore.extend(ids);
        self
    }

    /// A shortest chain from `object` to what `predicate` accepts; `[object]` if there is none. Collects first.
    pub fn refs(
        &self,
        object: &Gc<Erased>,
        predicate: impl Fn(&Gc<Erased>) -> bool,
    ) -> Vec<Gc<Erased>> {
        let mut chain = self.find(object, &predicate, Direction::Refs);
        chain.reverse();
        chain
    }

    /// A shortest chain from what `predicate` accepts to `object`; `[object]` if there is none. Collects first.
    pub fn backrefs(
        &self,
        object: &Gc<Erased>,
        predicate: impl Fn(&Gc<Erased>) -> bool,
    ) -> Vec<Gc<Erased>> {
        self.find(object, &predicate, Direction::Backrefs)
    }

    /// The chain from the match back to `object`.
    fn find(
        &self,
        object: &Gc<Erased>,
        predicate: &dyn Fn(&Gc<Erased>) -> bool,
        direction: Direction,
    ) -> Vec<Gc<Erased>> {
        gc::collect();
        // Where each object was come to from; the first from nowhere.
        let mut parents = HashMap::from([(Gc::id(object), None)]);
        let mut level = vec![object.clone()];
        for depth in 0.. {
            if let Some(found) = level.iter().find(|object| predicate(object)) {
                let next = |object: &Gc<Erased>| parents.get(&Gc::id(object)).cloned().flatten();
                return core::iter::successors(Some(found.clone()), next).collect();
            }
            if depth == self.max_depth || level.is_empty() {
                break;
            }
            let mut next_level = Vec::new();
            for (from, found) in level.iter().zip(neighbours(&level, direction)) {
                for object in found {
                    let id = Gc::id(&object);
                    if !self.extra_ignore.contains(&id) && !parents.contains_key(&id) {
                        parents.insert(id, Some(from.clone()));
                        next_level.push(object);
                    }
                }
            }
            level = next_level;
        }
        vec![object.clone()]
    }
}

/// The object with an identity, if it is tracked.
pub fn at(id: usize) -> Option<Gc<Erased>> {
    at_addrs(&[id].into()).pop()
}

/// The tracked objects with these identities.
pub fn at_addrs(ids: &HashSet<usize>) -> Vec<Gc<Erased>> {
    let mut found = Vec::new();
    gc::for_each_tracked(|object| {
        if ids.contains(&Gc::id(object)) {
            found.push(object.clone());
        }
    });
    found
}

/// Whether an object is in one of the chains.
pub fn in_chains<'a>(chains: &[&[Gc<Erased>]]) -> Predicate<'a> {
    let ids: HashSet<usize> = chains.concat().iter().map(Gc::id).collect();
    Box::new(move |object| ids.contains(&Gc::id(object)))
}
