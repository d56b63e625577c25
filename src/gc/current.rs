//! A thread's heap: made with its first object, ended with the thread, or when its last object is gone.

use super::collector::Collector;
use crate::global::object_memory;
use crate::object::heap::Heap;
use core::ptr::NonNull;

/// The thread's collector.
#[inline(always)]
pub fn current<'a>() -> &'a Collector {
    existing().unwrap_or_else(|| first())
}

/// The thread's collector, if it has one already.
#[inline(always)]
pub fn existing<'a>() -> Option<&'a Collector> {
    let collector = NonNull::new(object_memory::current().cast::<Collector>())?;
    // SAFETY: set by `first`, and reset before the collector is dropped.
    Some(unsafe { collector.as_ref() })
}

/// Does not unwind.
#[cold]
#[inline(never)]
extern "C" fn first<'a>() -> &'a Collector {
    let collector = NonNull::from(Box::leak(Collector::new()));
    Collector::settle(collector);
    object_memory::set_current(collector.as_ptr().cast());
    // SAFETY: leaked just now.
    let collector = unsafe { collector.as_ref() };
    if !object_memory::at_thread_exit(end_current) {
        // Made by a destructor of another local, after ours ran: nobody will end it but its last object.
        collector.heap.orphan.set(true);
    }
    collector
}

/// The thread ends.
fn end_current() {
    let collector = object_memory::current().cast::<Collector>();
    if let Some(collector) = NonNull::new(collector) {
        end(collector);
        object_memory::set_current(core::ptr::null_mut());
    }
}

/// Lets go of a heap: garbage is collected, and what is still used lives on until its last handle goes.
pub fn end(collector: NonNull<Collector>) {
    // SAFETY: leaked by whoever made it, and dropped once, below or by `end_orphan`.
    let this = unsafe { collector.as_ref() };
    this.shut_down();
    this.heap.orphan.set(true);
    this.heap.give_back_all();
    this.heap.end_if_vacant();
}

/// An orphan's last object is gone.
pub fn end_orphan(heap: &Heap) {
    let upper = heap.upper.get();
    // Not by way of a reference, which has no right to the whole of it.
    let collector = upper.expect("heaps are made with their collector");
    let collector = collector.cast::<Collector>();
    if object_memory::current() == collector.as_ptr().cast() {
        object_memory::set_current(core::ptr::null_mut());
    }
    // SAFETY: whole still.
    unsafe { collector.as_ref() }.leave();
    // SAFETY: no object and no thread refers to it any more; its caller does not touch it again.
    drop(unsafe { Box::from_raw(collector.as_ptr()) });
}
