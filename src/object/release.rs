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
pub(super) const NESTING: u32 = 50;
/// Added to the depth while a dead set is torn down: each death takes the slow way, which knows its members.
pub const TEARING: u32 = 1 << 16;

/// Gives up a handle of an object whose count is not above one.
///
/// # Safety
/// 1. The handle is not used again.
#[inline(always)]
pub unsafe fn give_up(object: Raw) {
    let piece = object.piece();
    // SAFETY: a pool in use knows how its objects die; the object is of its type; duty 1.
    unsafe { piece.die.get().unwrap_unchecked()(object, piece) };
}

/// [`give_up`] for objects of one kind; `piece` is where the object begins.
///
/// What is not young, has flags, or has anything to drop leaves by a call at the end: this function saves no
/// register for it.
///
/// # Safety
/// 1. As for [`give_up`].
pub unsafe fn die<K: Kind + ?Sized>(object: Raw, piece: PoolRef) {
    // One comparison for: the last handle, no weak reference, never finalized, not immortal.
    if K::FINALIZE.is_some() || object.word() != piece.header.get() {
        // SAFETY: duty 1.
        return unsafe { die_flagged::<K>(object) };
    }
    // A member of a dead set is not young. Its value is not looked at: it may be dropped.
    let Some((place, without)) = object.place(K::CYCLIC) else {
        // SAFETY: duty 1; no flag is set.
        return unsafe { die_whole::<K>(object) };
    };
    // SAFETY: whole still.
    let is_empty =
        !K::NEEDS_DROP || (K::DROPS_HANDLES_ONLY && unsafe { !has_handles::<K>(object) });
    if !is_empty {
        // SAFETY: duty 1; no flag is set.
        return unsafe { die_whole::<K>(object) };
    }
    place.set(without);
    let heap = object.arena().heap();
    let pool = if K::IS_SMALL {
        piece
    } else {
        piece.first_of_run()
    };
    if K::CYCLIC && !uncount(heap, pool, K::INFO) {
        return free_uncounted(object, heap, pool);
    }
    heap.free(pool, object);
}

/// For an object with flags, and for a handle that was not the last.
#[inline(never)]
unsafe fn die_flagged<K: Kind + ?Sized>(object: Raw) {
    if object.count() == 1 {
        object.set_count(0);
        // SAFETY: the last handle is gone.
        unsafe { die_slow(object, object.arena().heap(), K::INFO, tear_down::<K>) };
    }
}

/// For an object without flags that has something to drop, or is not where most die.
#[inline(never)]
unsafe fn die_whole<K: Kind + ?Sized>(object: Raw) {
    let heap = object.arena().heap();
    object.set_count(0);
    if heap.depth.get() >= NESTING {
        // SAFETY: the last handle is gone.
        return unsafe { die_slow(object, heap, K::INFO, tear_down::<K>) };
    }
    object.leave(K::CYCLIC);
    // SAFETY: the last handle is gone, and the bit with it.
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
///
/// # Safety
/// 1. The object is of kind K, whole, and no handle to it is left.
#[inline(never)]
pub(super) unsafe fn tear_down<K: Kind + ?Sized>(object: Raw, heap: &Heap) {
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

/// Drops the value of an object in a heap, and frees its slot.
pub(super) type TearDown = unsafe fn(Raw, &Heap);

/// A member of a set that dies as a whole, or one with a finalizer or weak references, or too deep.
///
/// # Safety
/// 1. The last handle to the object, which is of the type `info`, is gone, and its count is 0.
#[inline(never)]
pub(super) unsafe fn die_slow(
    object: Raw,
    heap: &Heap,
    info: &'static TypeInfo,
    tear_down: TearDown,
) {
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
    if info.cyclic && !uncount(heap, pool, info) {
        heap.count.set(0);
    }
    heap.free(pool, object);
}

/// Counts a deallocation, unless the object goes on its type's free list. False if the count was 0 already:
/// the caller sets it to that again.
#[inline(always)]
fn uncount(heap: &Heap, pool: PoolRef, info: &'static TypeInfo) -> bool {
    if info.free_list > 0 {
        let kept = &bin_of(pool).kept;
        if kept.get() < info.free_list {
            kept.set(kept.get() + 1);
            return true;
        }
    }
    let count = heap.count.get().wrapping_sub(1);
    heap.count.set(count);
    count as i32 >= 0
}

/// For deallocations beyond the count: large structures that die by their handles.
#[inline(never)]
fn free_uncounted(object: Raw, heap: &Heap, pool: PoolRef) {
    heap.count.set(0);
    heap.free(pool, object);
}

/// Frees a slot whose value was moved out.
///
/// # Safety
/// 1. No handle and no weak reference to it is left.
pub unsafe fn free_slot(object: Raw) {
    let pool = object.pool();
    // SAFETY: a pool in use has a type.
    let info = unsafe { pool.info.get().unwrap_unchecked() };
    if pool.watch.is_on() {
        super::watched::tell_end(object, pool, info);
    }
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
        object.set_count(1);
        // SAFETY: queued when its last handle was gone; this one stands for it.
        unsafe { give_up(object) };
    }
    heap.draining.set(false);
    heap.afterwards.set(heap.vacant.get());
    heap.end_if_vacant();
}
