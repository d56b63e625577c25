//! L6: the cyclic garbage collector, with the surface of Python's `gc` module.
//!
//! ```text
//! current    a thread's heap, made with its first object; Gc::new
//! trigger    when a collection runs by itself
//! collect    one collection, phase by phase      find   counting and marking
//! inspect    objects by generation, referrers    debug  flags and their texts
//! collector  the state all of them share
//! ```
//!
//! The collector is CPython's of 3.10 to 3.13 and 3.14.5 (three generations, counts less inner references) on other
//! data: no list links the objects; generations, marks and working counts are tables beside the pools. Its
//! phases, results, thresholds, counts and texts are CPython's; within a phase the order is that of addresses,
//! where CPython's is that of its lists.
//!
//! Everything here is about the calling thread's heap: each thread has its own, and a collection stops no
//! other thread. [`GcHeap`] is one more heap of the thread's.
//!
//! ```
//! use pymalloc::{gc, impl_trace, object::{Gc, Slot}};
//! struct Node { me: Slot<Node> }
//! impl_trace!(struct Node { me });
//!
//! let node = Gc::new(Node { me: Slot::empty() });
//! node.me.set(Some(node.clone()));
//! drop(node);
//! assert_eq!(gc::collect(), 1);
//! assert_eq!(gc::get_threshold(), (700, 10, 10));
//! assert_eq!(gc::collect_generation(3).unwrap_err().to_string(), "invalid generation");
//! ```

mod collect;
mod collector;
mod current;
mod debug;
mod find;
mod heap;
mod inspect;
mod new;
mod trigger;

pub(crate) use inspect::{
    for_each_named_referent, for_each_referent, for_each_tracked, referent_of_weak,
};

pub use collector::{Callback, GenerationStats, Info, When};
pub use debug::{COLLECTABLE, LEAK, SAVEALL, STATS, UNCOLLECTABLE};
pub use heap::GcHeap;

use crate::object::{Erased, Gc, UnraisableHook};
use core::fmt;
use current::current;
use std::rc::Rc;

/// What a function of this module refuses, with CPython's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GcError {
    /// There is no such generation to collect.
    InvalidGeneration,
    /// There is no such generation to list: 3 and above.
    NoSuchGeneration,
    /// A negative generation to list.
    NegativeGeneration,
}

impl fmt::Display for GcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidGeneration => "invalid generation",
            Self::NoSuchGeneration => {
                "generation parameter must be less than the number of available generations (3)"
            }
            Self::NegativeGeneration => "generation parameter cannot be negative",
        })
    }
}

impl core::error::Error for GcError {}

/// Lets collections run by themselves (the default).
pub fn enable() {
    current().set_enabled(true);
}

/// Stops collections from running by themselves; [`collect`] still works.
pub fn disable() {
    current().set_enabled(false);
}

/// Whether collections run by themselves.
pub fn is_enabled() -> bool {
    current().enabled.get()
}

/// Collects all generations. Returns the number of unreachable objects found; 0 inside a collection.
pub fn collect() -> usize {
    current().run(2)
}

/// Collects a generation and all younger ones.
///
/// # Errors
/// When `generation` is not 0, 1 or 2.
pub fn collect_generation(generation: i32) -> Result<usize, GcError> {
    match generation {
        0..=2 => Ok(current().run(generation as usize)),
        _ => Err(GcError::InvalidGeneration),
    }
}

/// In deferred mode allocations run no collection: one that is due waits for [`poll`]. So finalizers and
/// callbacks run where the program says (CPython 3.12 runs them between instructions).
pub fn set_deferred(deferred: bool) {
    current().set_deferred(deferred);
}

/// Runs the collection that waits, if there is one; returns the number of unreachable objects found.
pub fn poll() -> usize {
    current().poll()
}

/// Sets the threshold of generation 0, and those of 1 and 2 where given; 0 for the first stops collections
/// from running by themselves.
pub fn set_threshold(first: u32, second: Option<u32>, third: Option<u32>) {
    current().set_thresholds([Some(first), second, third]);
}

/// The thresholds.
pub fn get_threshold() -> (u32, u32, u32) {
    let [first, second, third] = &current().thresholds;
    (first.get(), second.get(), third.get())
}

/// Allocations less deallocations since the last collection, collections of generation 0 since the last one
/// of 1, and of 1 since the last one of 2.
pub fn get_count() -> (u32, u32, u32) {
    let current = current();
    (current.count(0), current.count(1), current.count(2))
}

/// Figures by generation.
pub fn get_stats() -> [GenerationStats; 3] {
    current().stats.each_ref().map(core::cell::Cell::get)
}

/// Adds a callback that is called before and after each collection.
pub fn add_callback(callback: impl Fn(When, &Info) + 'static) -> Callback {
    let callback: Callback = Rc::new(callback);
    current().callbacks.borrow_mut().push(callback.clone());
    callback
}

/// Removes a callback that [`add_callback`] returned. False if it is not there.
pub fn remove_callback(callback: &Callback) -> bool {
    let found = {
        let callbacks = &mut current().callbacks.borrow_mut();
        let at = callbacks
            .iter()
            .position(|known| Rc::ptr_eq(known, callback));
        at.map(|at| callbacks.remove(at))
    };
    found.is_some()
}

/// Objects that were found unreachable and could not be freed; with [`SAVEALL`] all that were found.
pub fn garbage() -> Vec<Gc<Erased>> {
    current().garbage.borrow().clone()
}

/// Takes all objects out of the garbage list.
pub fn take_garbage() -> Vec<Gc<Erased>> {
    current().garbage.take()
}

/// Tracked objects of one generation, or of all three. Objects put aside by [`freeze`] are not among them.
///
/// # Errors
/// When there is no such generation.
pub fn get_objects(generation: Option<i32>) -> Result<Vec<Gc<Erased>>, GcError> {
    let generation = match generation {
        None | Some(-1) => None,
        Some(generation @ 0..=2) => Some(generation as usize),
        Some(3..) => return Err(GcError::NoSuchGeneration),
        Some(_) => return Err(GcError::NegativeGeneration),
    };
    Ok(current().objects(generation))
}

/// Tracked objects that refer to one of `objects` directly.
pub fn get_referrers(objects: &[&Gc<Erased>]) -> Vec<Gc<Erased>> {
    let targets: Vec<_> = objects.iter().map(|object| object.raw()).collect();
    current().referrers(&targets)
}

/// What `objects` refer to directly, in the order it is traced, as often as it is.
pub fn get_referents(objects: &[&Gc<Erased>]) -> Vec<Gc<Erased>> {
    let mut found = Vec::new();
    objects
        .iter()
        .for_each(|object| inspect::referents(object, &mut found));
    found
}

/// Puts all tracked objects aside: no collection looks at them, and what they refer to counts as used.
pub fn freeze() {
    current().freeze();
}

/// Moves the objects put aside to generation 2.
pub fn unfreeze() {
    current().unfreeze();
}

/// How many objects are put aside.
pub fn get_freeze_count() -> usize {
    current().sizes()[3]
}

/// Sets the debug flags, a sum of [`STATS`], [`COLLECTABLE`], [`UNCOLLECTABLE`] and [`SAVEALL`].
pub fn set_debug(flags: u32) {
    current().debug.set(flags);
}

/// The debug flags.
pub fn get_debug() -> u32 {
    current().debug.get()
}

/// What a layer above keeps about the thread's heap, as long as there is one; made when it is first asked for.
/// There is one layer above, with one type.
pub(crate) fn notes<T: Default + 'static>() -> Rc<T> {
    let mut notes = current().notes.borrow_mut();
    let kept = notes.take().and_then(|kept| kept.downcast::<T>().ok());
    let kept = kept.unwrap_or_default();
    *notes = Some(kept.clone());
    kept
}

/// Sets what is called with panics in finalizers and callbacks, and returns the one before; `None` stands for
/// one line on standard error.
pub fn set_unraisable_hook(hook: Option<UnraisableHook>) -> Option<UnraisableHook> {
    current().heap.hook.replace(hook)
}
