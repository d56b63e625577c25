//! [`GcHeap`]: one more object heap, beside the thread's own.

use super::collector::Collector;
use super::current::end;
use crate::object::{Gc, OutOfMemory, Trace};
use core::ptr::NonNull;

/// An object heap of its own: objects of different heaps are collected apart.
///
/// A cycle that leads through two heaps is never found: each sees the other's handles as used from outside.
/// Handles may outlive the heap; its memory goes back when the last of them is gone.
///
/// ```
/// use pymalloc::gc::GcHeap;
/// let heap = GcHeap::new();
/// let number = heap.alloc(7).expect("memory");
/// drop(heap);
/// assert_eq!(*number, 7);
/// ```
pub struct GcHeap {
    collector: NonNull<Collector>,
}

impl Default for GcHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl GcHeap {
    /// A heap without objects.
    pub fn new() -> Self {
        let collector = NonNull::from(Box::leak(Collector::new()));
        Collector::settle(collector);
        Self { collector }
    }

    fn collector(&self) -> &Collector {
        // SAFETY: leaked by `new`, and let go of by `drop` only.
        unsafe { self.collector.as_ref() }
    }

    /// An object in this heap.
    ///
    /// # Errors
    /// When memory is out; the value is dropped.
    pub fn alloc<T: Trace>(&self, value: T) -> Result<Gc<T>, OutOfMemory> {
        self.collector().heap.create(value).map_err(|_| OutOfMemory)
    }

    /// Collects all generations of this heap.
    pub fn collect(&self) -> usize {
        self.collector().run(2)
    }

    /// Lets collections of this heap run by themselves, or not.
    pub fn set_enabled(&self, enabled: bool) {
        self.collector().set_enabled(enabled);
    }

    /// Bytes of the arenas it holds.
    pub fn arena_bytes(&self) -> usize {
        self.collector().heap.arenas().count() * crate::obmalloc::size_class::ARENA_BYTES
    }
}

impl Drop for GcHeap {
    fn drop(&mut self) {
        end(self.collector);
    }
}

impl Collector {
    /// Lets collections run by themselves, or not.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.set(enabled);
        self.update_limit();
    }

    /// Lets collections that run by themselves wait for `poll`, or not.
    pub fn set_deferred(&self, deferred: bool) {
        self.deferred.set(deferred);
        self.scheduled.set(false);
        self.update_limit();
    }

    /// Sets the thresholds that are given.
    pub fn set_thresholds(&self, thresholds: [Option<u32>; 3]) {
        for (known, new) in self.thresholds.iter().zip(thresholds) {
            known.set(new.unwrap_or(known.get()));
        }
        self.update_limit();
    }

    /// The collection when the heap's owner goes: without callbacks, as in CPython, and without the garbage
    /// list's holding on to anything.
    pub fn shut_down(&self) {
        use crate::object::heap::Phase;
        if self.heap.phase.get() != Phase::Idle {
            return;
        }
        self.callbacks.take();
        self.notes.take();
        self.enabled.set(false);
        self.say_garbage_at_shutdown();
        drop(self.garbage.take());
        self.debug.set(0);
        self.must_look.set(true);
        self.heap.phase.set(Phase::Collecting);
        self.update_limit();
        let (_, candidates) = self.collect_main(2);
        self.finish(candidates);
    }
}
