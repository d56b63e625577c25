//! Objects of a heap that somebody watches: each making and end is told.
//!
//! ```text
//! Gc::new ── cache shows no bin ──► take_slow ─► take_watched ─► observers
//! drop    ── the pool's `die` ────► die_watched ─► observers ─► the slot is freed as ever
//! collection ── pool is watched ──► free_dead ─► observers
//! ```
//!
//! The fast ways ask nothing: they find no bin in the cache, and call what the pool says. So nothing is paid where nobody
//! watches.
//!
//! | [`Watch`] of a heap | cache | a pool's `die` | entered |
//! |---|---|---|---|
//! | off | shows its bins | its type's; watched if it has samples | at first; by [`Heap::look`] when the last watch has ended |
//! | samples | shows none | the same | by [`Heap::look`] |
//! | every | shows none | watched | by [`Heap::look`] |
//!
//! Invariants:
//! * I1 whatever was told to be made by a heap that tells of every object lies in a pool that is watched as long as the
//!   heap does, and so does each sample for its life: its end is told.
//! * I2 an object is told of when its slot is marked as taken: observers may make objects themselves.
//!
//! The heap's thread alone comes here.

use super::header::Raw;
use super::heap::Heap;
use super::passes::{Selection, for_each_in};
use super::pool::PoolRef;
use super::release::{NESTING, die_slow};
use super::tail;
use super::type_info::{TypeInfo, prefix_bytes};
use crate::global::object_watch::{self, Watch};
use crate::obmalloc::size_class::SizeClass;
use core::cell::Cell;
use core::ptr::NonNull;

/// What a pool knows of those who watch.
pub struct PoolWatch {
    /// Whether the end of its objects is told.
    is_on: Cell<bool>,
    /// Its objects that are samples.
    n_samples: Cell<u16>,
}

impl PoolWatch {
    /// Nobody watches.
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a pattern to make descriptors from"
    )]
    pub const NONE: Self = Self {
        is_on: Cell::new(false),
        n_samples: Cell::new(0),
    };

    /// Whether the end of its objects is told.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.is_on.get()
    }
}

impl PoolRef {
    /// Has the end of its objects told, if `every` is, or some are samples.
    fn heed(self, every: bool) {
        let is_on = every || self.watch.n_samples.get() > 0;
        if self.watch.is_on.replace(is_on) == is_on {
            return;
        }
        // SAFETY: a pool in use has a type.
        let info = unsafe { self.info.get().unwrap_unchecked() };
        let die = if is_on { die_watched } else { info.die };
        let index = self.index();
        for behind in 0..usize::from(self.span.get()).max(1) {
            self.arena().pool(index + behind).die.set(Some(die));
        }
    }

    /// Has `more` samples, or so many fewer.
    fn count_samples(self, more: i16) {
        let n = &self.watch.n_samples;
        n.set(n.get().saturating_add_signed(more));
        self.heed(self.arena().heap().watch.get() == Watch::Every);
    }
}

impl Heap {
    /// Looks who watches now.
    #[inline]
    pub fn look(&self) {
        let wanted = object_watch::wanted();
        if wanted != self.watch.get() {
            self.become_watched(wanted);
        }
    }

    #[cold]
    #[inline(never)]
    fn become_watched(&self, wanted: Watch) {
        self.watch.set(wanted);
        self.show_bins(wanted == Watch::Off);
        self.for_each_pool(|pool| pool.heed(wanted == Watch::Every));
    }

    /// A pool was made.
    pub(super) fn watch_new(&self, pool: PoolRef) {
        pool.heed(self.watch.get() == Watch::Every);
    }

    /// As `take`, and told.
    #[inline(never)]
    pub(super) fn take_watched(
        &self,
        info: &'static TypeInfo,
        class: Option<SizeClass>,
        bytes: usize,
    ) -> Option<Raw> {
        let size = asked_bytes(info, bytes);
        if self.watch.get() == Watch::Samples {
            let object = self.take_unwatched(info, class, bytes)?;
            if self.gap.ends_in(class.map_or(size, SizeClass::block_bytes)) {
                self.tell(object, |value| object_watch::tell_sampled(value, size));
            }
            return Some(object);
        }
        if !object_watch::permits(size) {
            return None;
        }
        let object = self.take_unwatched(info, class, bytes);
        match object {
            Some(object) => self.tell(object, |value| object_watch::tell_made(value, size)),
            None => object_watch::withdraw(size),
        }
        object
    }

    /// Tells of an object just taken by `by`, which says whether it is a sample.
    fn tell(&self, object: Raw, by: impl FnOnce(NonNull<u8>) -> bool) {
        // I2.
        object.enter(false);
        if by(object.value()) {
            object.pool().count_samples(1);
        }
        object.leave(false);
    }

    /// A heap of the calling thread: it looks when the thread begins to watch.
    pub fn join_siblings(&self, newest: Option<NonNull<Heap>>) {
        self.siblings[0].set(newest);
        if let Some(newest) = newest {
            // SAFETY: heaps leave their siblings before they go.
            unsafe { newest.as_ref() }.siblings[1].set(Some(NonNull::from(self)));
        }
    }

    /// Takes it from among its siblings. The one made before it, if it was the newest.
    pub fn leave_siblings(&self) -> Option<Option<NonNull<Heap>>> {
        let [older, newer] = self.siblings.each_ref().map(Cell::take);
        if let Some(older) = older {
            // SAFETY: heaps leave their siblings before they go.
            unsafe { older.as_ref() }.siblings[1].set(newer);
        }
        match newer {
            Some(newer) => {
                // SAFETY: as above.
                unsafe { newer.as_ref() }.siblings[0].set(older);
                None
            }
            None => Some(older),
        }
    }

    /// Looks, as all heaps of the thread made before it.
    pub fn look_with_older(&self) {
        self.look();
        let mut next = self.siblings[0].get();
        while let Some(heap) = next {
            // SAFETY: heaps leave their siblings before they go.
            let heap = unsafe { heap.as_ref() };
            heap.look();
            next = heap.siblings[0].get();
        }
    }
}

/// Bytes asked for, for `bytes` of value: those of value and header.
fn asked_bytes(info: &'static TypeInfo, bytes: usize) -> usize {
    bytes + prefix_bytes(bytes, info.item_bytes > 0)
}

/// Bytes of an object's value.
fn value_bytes(object: Raw, info: &'static TypeInfo) -> usize {
    match info.item_bytes {
        0 => info.fixed_bytes,
        bytes => bytes * tail::length(object.value()) + info.fixed_bytes,
    }
}

/// Tells of the end of an object in a watched pool.
pub fn tell_end(object: Raw, pool: PoolRef, info: &'static TypeInfo) {
    let size = asked_bytes(info, value_bytes(object, info));
    if object_watch::tell_end(object.value(), size) {
        pool.count_samples(-1);
    }
}

/// Tells of the end of a watched pool's dead objects.
#[cold]
#[inline(never)]
pub fn tell_of_dead(pool: PoolRef, info: &'static TypeInfo) {
    for_each_in(pool, Selection::Dead, |object| tell_end(object, pool, info));
}

/// As `release::die`, for objects of a watched pool, whatever their kind.
///
/// # Safety
/// 1. As for `release::give_up`.
unsafe fn die_watched(object: Raw, piece: PoolRef) {
    let heap = object.arena().heap();
    heap.look();
    let pool = piece.first_of_run();
    // SAFETY: a pool in use has a type.
    let info = unsafe { pool.info.get().unwrap_unchecked() };
    if !pool.watch.is_on() {
        // SAFETY: the type's own way, with the same duty.
        return unsafe { (info.die)(object, piece) };
    }
    let is_plain = info.finalize.is_none() && object.word() == piece.header.get();
    if !is_plain && object.count() != 1 {
        return;
    }
    object.set_count(0);
    if !is_plain || heap.depth.get() >= NESTING {
        // SAFETY: the last handle is gone.
        return unsafe { die_slow(object, heap, info, tear_down_watched) };
    }
    object.leave(info.cyclic);
    // SAFETY: the last handle is gone, and the bit with it.
    unsafe { tear_down_watched(object, heap) };
}

/// # Safety
/// 1. As for `release::tear_down`.
unsafe fn tear_down_watched(object: Raw, heap: &Heap) {
    let pool = object.pool();
    // SAFETY: a pool in use has a type.
    let info = unsafe { pool.info.get().unwrap_unchecked() };
    if pool.watch.is_on() {
        tell_end(object, pool, info);
    }
    // SAFETY: passed on.
    unsafe { (info.tear_down)(object, heap) };
}
