//! Debug flags and the texts they print, word for word CPython's (Modules/gcmodule.c 3.11).

use super::collect::Found;
use super::collector::Collector;
use super::find::Candidates;
use crate::object::Gc;
use crate::object::header::{HEADER_BYTES, Raw};
use crate::object::passes::{Selection, for_each_in};
use std::time::Instant;

/// Print statistics of each collection.
pub const STATS: u32 = 1;
/// Print each object found unreachable.
pub const COLLECTABLE: u32 = 2;
/// Print each object that cannot be freed.
pub const UNCOLLECTABLE: u32 = 4;
/// Keep what was found in the garbage list instead of freeing it.
pub const SAVEALL: u32 = 32;
/// What finds leaks: the last three.
pub const LEAK: u32 = COLLECTABLE | UNCOLLECTABLE | SAVEALL;

impl Collector {
    fn debugs(&self, flag: u32) -> bool {
        self.debug.get() & flag != 0
    }

    /// Whether unreachable objects are kept.
    pub fn saves_all(&self) -> bool {
        self.debugs(SAVEALL)
    }

    /// The lines before a collection.
    pub fn say_start(&self, generation: usize) -> Option<Instant> {
        if !self.debugs(STATS) {
            return None;
        }
        let [young, middle, old, frozen] = self.sizes();
        eprintln!("gc: collecting generation {generation}...");
        eprintln!("gc: objects in each generation: {young} {middle} {old}");
        eprintln!("gc: objects in permanent generation: {frozen}");
        Some(Instant::now())
    }

    /// The line after it; and its figures.
    pub fn note(&self, generation: usize, found: Found, started: Option<Instant>) {
        let stats = &self.stats[generation];
        let mut sum = stats.get();
        sum.collections += 1;
        sum.collected += found.collected as u64;
        sum.uncollectable += found.uncollectable as u64;
        stats.set(sum);
        if let Some(started) = started {
            eprintln!(
                "gc: done, {} unreachable, {} uncollectable, {:.4}s elapsed",
                found.collected + found.uncollectable,
                found.uncollectable,
                started.elapsed().as_secs_f64()
            );
        }
    }

    /// One line for each object of the dead set.
    pub fn say_collectable(&self, candidates: &Candidates) {
        if self.debugs(COLLECTABLE) {
            candidates.for_each(|pool| {
                for_each_in(pool, Selection::Dead, |object| {
                    self.say_object("collectable", COLLECTABLE, object);
                });
            });
        }
    }

    /// One line for an object, if the flag is set.
    pub fn say_object(&self, what: &str, flag: u32, object: Raw) {
        if self.debugs(flag) {
            let info = super::find::type_of(object.pool());
            let id = object.addr() - HEADER_BYTES;
            eprintln!("gc: {what} <{} {id:#x}>", (info.name)());
        }
    }

    /// What is left in the garbage list when the heap's owner goes: said with [`UNCOLLECTABLE`], where CPython
    /// warns otherwise, too, but ignores that warning by default.
    pub fn say_garbage_at_shutdown(&self) {
        let garbage = self.garbage.borrow();
        if garbage.is_empty() || self.saves_all() || !self.debugs(UNCOLLECTABLE) {
            return;
        }
        eprintln!("gc: {} uncollectable objects at shutdown", garbage.len());
        let names: Vec<_> = garbage
            .iter()
            .map(|object| format!("<{} {:#x}>", Gc::type_name(object), Gc::id(object)))
            .collect();
        eprintln!("      [{}]", names.join(", "));
    }
}
