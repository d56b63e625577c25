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
//!
//! While a value is dropped its slot has no bit, so that no collection looks at it; nor is the slot found
//! free, because nobody sweeps a pool while `depth` is not 0.

use super::header::{Raw, flags};
use super::heap::{Heap, bin_of};
use super::pool::PoolRef;
use super::trace::Visitor;
use super::type_info::{Kind, TypeInfo};
use super::unraisable::{Context, guarded};
use super::weak;

/// Values dropped one inside the other, at most.
const NESTING: u32 = 50;
/// Added to the depth while a dead set is torn down: each death takes the slow way, which knows its members.
pub const TEARING: u32 = 1 << 16;

/// Lets an object die.
///
/// # Safety
/// 1. Its count is 0, and no handle to it is left.
#[inline(always)]
pub unsafe fn release(object: Raw) {
    let die = object.piece().die.get();
    // SAFETY: a pool in use knows how its objects die; the object is of its type; duty 1.
    unsafe { die.unwrap_unchecked()(object, object.arena().heap()) };
}

/// [`release`] for objects of one kind.
///
/// # Safety
/// 1. As for [`release`]; `heap` is the object's.
pub unsafe fn die<K: Kind + ?Sized>(object: Raw, heap: &Heap) {
    if K::FINALIZE.is_some() || object.has(flags::WEAK) || heap.depth.get() >= NESTING {
        // SAFETY: duty 1.
        return unsafe { die_slow(object, heap, K::INFO, tear_down::<K>) };
    }
    // SAFETY: whole still.
    let is_empty =
        !K::NEEDS_DROP || (K::DROPS_HANDLES_ONLY && unsafe { !has_handles::<K>(object) });
    // What is not where most die, or has handles, leaves by a call at the end: this function saves no
    // register for it.
    if !object.leave_from(K::CYCLIC) {
        // SAFETY: duty 1.
        return unsafe { leave_and_tear_down::<K>(object, heap) };
    }
    if !is_empty {
        // SAFETY: duty 1.
        return unsafe { tear_down::<K>(object, heap) };
    }
    free(object, heap, pool_of::<K>(object), K::INFO);
}

/// For an object of an older generation.
#[cold]
#[inline(never)]
unsafe fn leave_and_tear_down<K: Kind + ?Sized>(object: Raw, heap: &Heap) {
    object.leave(K::CYCLIC);
    // SAFETY: passed on.
    unsafe { tear_down::<K>(object, heap) };
}

/// The pool of an object of this kind.
#[inline(always)]
fn pool_of<K: Kind + ?Sized>(object: Raw) -> PoolRef {
    if K::IS_SMALL {
        object.piece()
    } else {
        object.pool()
    }
}

/// Drops the value and frees the slot, whose bit is cleared.
#[inline(never)]
unsafe fn tear_down<K: Kind + ?Sized>(object: Raw, heap: &Heap) {
    // Dropped the other way round: the slot is free before the queue is emptied.
    let _nested = Nested::enter(heap);
    let _slot = Slot::<K> {
        object,
        heap,
        kind: core::marker::PhantomData,
    };
    if K::NEEDS_DROP {
        // SAFETY: whole, and nobody's any more.
        unsafe { K::drop(object) };
    }
}

/// A slot whose value is being dropped: freed whatever happens.
struct Slot<'a, K: Kind + ?Sized> {
    object: Raw,
    heap: &'a Heap,
    kind: core::marker::PhantomData<K>,
}

impl<K: Kind + ?Sized> Drop for Slot<'_, K> {
    #[inline(always)]
    fn drop(&mut self) {
        free(self.object, self.heap, pool_of::<K>(self.object), K::INFO);
    }
}

/// Whether the object has any handle to release.
#[inline(always)]
unsafe fn has_handles<K: Kind + ?Sized>(object: Raw) -> bool {
    struct Any(bool);
    impl Visitor for Any {
        #[inline(always)]
        fn edge(&mut self, _: Raw) {
            self.0 = true;
        }
    }
    let mut any = Any(false);
    // SAFETY: passed on.
    unsafe { K::trace(object, &mut any) };
    any.0
}

type TearDown = unsafe fn(Raw, &Heap);

/// A member of a set that dies as a whole, or one with a finalizer or weak references, or too deep.
#[inline(never)]
unsafe fn die_slow(object: Raw, heap: &Heap, info: &'static TypeInfo, tear_down: TearDown) {
    if heap.depth.get() >= TEARING && object.is_dead() {
        return;
    }
    let tracked = object.generation().is_some() || object.has(flags::QUEUED);
    object.clear(flags::QUEUED);
    object.untrack();
    if heap.depth.get() % TEARING >= NESTING && heap.queue.borrow_mut().try_reserve(1).is_ok() {
        if tracked {
            object.set(flags::QUEUED);
        }
        heap.queue.borrow_mut().push(object);
        heap.afterwards.set(true);
        return;
    }
    let nested = Nested::enter(heap);
    // SAFETY: the count is 0 by the caller's word.
    if unsafe { say_goodbye(heap, object, info, tracked) } {
        object.leave(false);
        // SAFETY: as above; nobody resurrected it.
        unsafe { tear_down(object, heap) };
    }
    drop(nested);
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

/// Frees the slot, which has no bit.
#[inline(always)]
fn free(object: Raw, heap: &Heap, pool: PoolRef, info: &'static TypeInfo) {
    if info.cyclic {
        uncount(heap, pool, info);
    }
    heap.free(pool, object);
}

/// Counts a deallocation, unless the object goes on its type's free list.
#[inline(always)]
fn uncount(heap: &Heap, pool: PoolRef, info: &'static TypeInfo) {
    if info.free_list > 0 {
        let kept = &bin_of(pool).kept;
        if kept.get() < info.free_list {
            return kept.set(kept.get() + 1);
        }
    }
    heap.count.set(heap.count.get().saturating_sub(1));
}

/// Frees a slot whose value was moved out.
///
/// # Safety
/// 1. No handle and no weak reference to it is left.
pub unsafe fn free_slot(object: Raw) {
    let pool = object.pool();
    // SAFETY: a pool in use has a type.
    let info = unsafe { pool.info.get().unwrap_unchecked() };
    object.leave(info.cyclic);
    free(object, object.arena().heap(), pool, info);
}

/// One level of dropping; the outermost one empties the queue when it ends, by panic or not.
struct Nested<'a>(&'a Heap);

impl<'a> Nested<'a> {
    #[inline(always)]
    fn enter(heap: &'a Heap) -> Self {
        heap.depth.set(heap.depth.get() + 1);
        Self(heap)
    }
}

impl Drop for Nested<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let depth = self.0.depth.get() - 1;
        self.0.depth.set(depth);
        if self.0.afterwards.get() && depth.is_multiple_of(TEARING) {
            afterwards(self.0);
        }
    }
}

/// What waits for the stack to be flat: queued objects die, last come first; an orphan ends.
#[cold]
#[inline(never)]
fn afterwards(heap: &Heap) {
    if heap.draining.replace(true) {
        return;
    }
    loop {
        let Some(object) = heap.queue.borrow_mut().pop() else {
            break;
        };
        // SAFETY: queued with a count of 0.
        unsafe { release(object) };
    }
    heap.draining.set(false);
    heap.afterwards.set(heap.vacant.get());
    heap.end_if_vacant();
}
