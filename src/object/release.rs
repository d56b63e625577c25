//! The death of an object whose last handle is gone.
//!
//! ```text
//! count 0 -> untracked -> finalizer (once; may resurrect) -> weak references cleared, their callbacks run
//!         -> value dropped, which releases handles in turn -> slot free
//! ```
//!
//! The order is CPython's (`subtype_dealloc`, 3.11). Dropping nests: an object inside 50 others waits in a queue
//! until the stack is flat (CPython 3.11: `PyTrash_UNWIND_LEVEL`), so that a structure of any depth dies on
//! any stack.

use super::header::{Raw, flags};
use super::heap::{Heap, Phase, bin_of};
use super::type_info::TypeInfo;
use super::unraisable::{Context, guarded};
use super::weak;

/// Values dropped one inside the other, at most.
const NESTING: u32 = 50;

/// Lets an object die.
///
/// # Safety
/// 1. Its count is 0, and no handle to it is left.
#[inline]
pub unsafe fn release(object: Raw) {
    let heap = object.arena().heap();
    let pool = object.pool();
    // SAFETY: a pool in use has a type.
    let info = unsafe { pool.info.get().unwrap_unchecked() };
    if heap.phase.get() == Phase::TearingDown && object.is_dead() {
        // Its set dies as a whole.
        return;
    }
    if object.has(flags::WEAK) || info.finalize.is_some() || heap.depth.get() >= NESTING {
        // SAFETY: duty 1.
        return unsafe { release_slow(heap, object, info) };
    }
    // SAFETY: duty 1.
    unsafe { tear_down(heap, object, info) };
}

/// With a finalizer or weak references, or too deep.
#[inline(never)]
unsafe fn release_slow(heap: &Heap, object: Raw, info: &'static TypeInfo) {
    let generation = object.generation();
    object.untrack();
    if heap.depth.get() >= NESTING && heap.queue.borrow_mut().try_reserve(1).is_ok() {
        object.set(flags::QUEUED);
        heap.queue.borrow_mut().push(object);
        return;
    }
    let tracked = generation.is_some();
    let nested = Nested::enter(heap);
    // SAFETY: the count is 0 by the caller's word.
    let gone = unsafe { say_goodbye(heap, object, info, tracked) };
    drop(nested);
    if gone {
        // SAFETY: as above; nobody resurrected it.
        unsafe { tear_down(heap, object, info) };
    }
}

/// Runs the finalizer and clears weak references. False when the object lives on.
unsafe fn say_goodbye(heap: &Heap, object: Raw, info: &'static TypeInfo, tracked: bool) -> bool {
    if let Some(finalize) = info.finalize
        && !object.has(flags::FINALIZED)
    {
        // CPython: an object without the collector's header has no flag, and is finalized each time.
        if info.cyclic {
            object.set(flags::FINALIZED);
        }
        object.set_count(1);
        if tracked {
            object.track();
        }
        // SAFETY: an object of this type, alive with the count of 1.
        guarded(heap, Context::Finalizer(info), || unsafe {
            finalize(object)
        });
        let left = object.count().wrapping_sub(1);
        if object.is_immortal() || left != 0 {
            if !object.is_immortal() {
                object.set_count(left);
            }
            return false;
        }
        object.set_count(0);
        object.untrack();
    }
    if object.has(flags::WEAK) {
        weak::die(object);
        weak::clear_silently(object);
    }
    true
}

/// Drops the value and frees the slot.
#[inline]
unsafe fn tear_down(heap: &Heap, object: Raw, info: &'static TypeInfo) {
    if let Some(drop_value) = info.drop {
        object.untrack();
        let slot = Slot {
            object,
            nested: Nested::enter(heap),
            info,
        };
        // SAFETY: whole, and nobody's any more.
        unsafe { drop_value(object) };
        drop(slot);
    } else {
        free(heap, object, info);
    }
}

/// Clears the bit and frees the slot.
#[inline]
fn free(heap: &Heap, object: Raw, info: &'static TypeInfo) {
    object.leave();
    let pool = object.pool();
    if info.cyclic {
        uncount(heap, info, bin_of(pool));
    }
    heap.free(pool, object);
}

/// Frees a slot whose value was moved out.
///
/// # Safety
/// 1. No handle and no weak reference to it is left.
pub unsafe fn free_slot(object: Raw) {
    // SAFETY: a pool in use has a type.
    let info = unsafe { object.pool().info.get().unwrap_unchecked() };
    free(object.arena().heap(), object, info);
}

/// Counts a deallocation, unless the object goes on its type's free list.
#[inline]
fn uncount(heap: &Heap, info: &'static TypeInfo, bin: &super::pool::Bin) {
    if info.free_list > 0 && bin.kept.get() < info.free_list {
        bin.kept.set(bin.kept.get() + 1);
    } else {
        heap.count.set(heap.count.get().saturating_sub(1));
    }
}

/// One level of dropping; the outermost one empties the queue when it ends, by panic or not.
struct Nested<'a>(&'a Heap);

impl<'a> Nested<'a> {
    #[inline]
    fn enter(heap: &'a Heap) -> Self {
        heap.depth.set(heap.depth.get() + 1);
        Self(heap)
    }
}

impl Drop for Nested<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = self.0.depth.get() - 1;
        self.0.depth.set(depth);
        if depth == 0 && !self.0.queue.borrow().is_empty() {
            drain(self.0);
        }
        self.0.end_if_vacant();
    }
}

/// A slot whose value is being dropped: freed whatever happens, and before the queue is emptied.
struct Slot<'a> {
    object: Raw,
    info: &'static TypeInfo,
    nested: Nested<'a>,
}

impl Drop for Slot<'_> {
    #[inline]
    fn drop(&mut self) {
        free(self.nested.0, self.object, self.info);
    }
}

/// Lets queued objects die, last come first.
#[cold]
fn drain(heap: &Heap) {
    if heap.draining.replace(true) {
        return;
    }
    loop {
        let Some(object) = heap.queue.borrow_mut().pop() else {
            break;
        };
        object.clear(flags::QUEUED);
        // SAFETY: queued objects are taken slots of this heap.
        let info = unsafe { object.pool().info.get().unwrap_unchecked() };
        // SAFETY: queued with a count of 0.
        unsafe { release_slow(heap, object, info) };
    }
    heap.draining.set(false);
}
