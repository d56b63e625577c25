//! Weak references: objects of their own, as in CPython.
//!
//! ```text
//! heap.weak: address -> record (no callback) -> record (newest) -> record -> …
//!                          ^ Weak, Weak            ^ Weak
//! ```
//!
//! A record is an object of the heap that refers to nothing but its callback; a [`Weak`] is a handle to it. So
//! whether a weak reference is itself garbage is the collector's ordinary question, and the answer decides
//! whether its callback may run.
//!
//! Invariants:
//! * I1 a record with a referent is in the referent's list, and the referent has the flag; at most one record
//!   has no callback, and it is the first (CPython 3.11, Objects/weakrefobject.c).
//! * I2 a record without referent is in no list, and stays so.

use super::handle::{Erased, Gc};
use super::header::{Raw, flags};
use super::heap::Heap;
use super::slot::Slot;
use super::trace::{Trace, Visitor};
use super::unraisable::{Context, guarded};
use core::cell::Cell;
use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};
use core::ptr::NonNull;
use std::collections::HashMap;

/// First records of objects with weak references, by the address of the value.
pub type WeakMap = HashMap<usize, NonNull<Record>, BuildHasherDefault<AddrHasher>>;

/// Hashes one address by a multiplication.
#[derive(Default)]
pub struct AddrHasher(u64);

impl Hasher for AddrHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only addresses are hashed");
    }

    fn write_usize(&mut self, addr: usize) {
        self.0 = (addr as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(20);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a weak reference does when its referent dies.
pub trait WeakCallback {
    /// Called once, with the dead weak reference.
    fn referent_died(&self, weak: &Weak<Erased>);
}

/// A weak reference as an object.
pub struct Record {
    referent: Cell<Option<Raw>>,
    next: Cell<Option<NonNull<Record>>>,
    prev: Cell<Option<NonNull<Record>>>,
    callback: Slot<dyn WeakCallback>,
}

// SAFETY: the callback is the only handle it owns; its `Drop` touches the lists, which have no values.
unsafe impl Trace for Record {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.callback.trace(visitor);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        unlink(self);
    }
}

/// A closure as a callback: an object without handles that the collector sees.
struct Closure<F>(Cell<Option<F>>);

// SAFETY: reports nothing.
unsafe impl<F: 'static> Trace for Closure<F> {
    const CYCLIC: bool = false;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, _: &mut V) {}
}

impl<F: FnOnce(&Weak<Erased>)> WeakCallback for Closure<F> {
    fn referent_died(&self, weak: &Weak<Erased>) {
        if let Some(call) = self.0.take() {
            call(weak);
        }
    }
}

/// A handle that does not keep its object alive.
///
/// ```
/// use pymalloc::object::{Gc, Weak};
/// let strong = Gc::new(5);
/// let weak = Weak::from(&strong);
/// assert_eq!(weak.upgrade().as_deref(), Some(&5));
/// let calls = std::rc::Rc::new(std::cell::Cell::new(0));
/// let called = calls.clone();
/// let watched = Weak::with_callback(&strong, move |_| called.set(called.get() + 1));
/// drop(strong);
/// assert!(weak.upgrade().is_none() && watched.upgrade().is_none());
/// assert_eq!(calls.get(), 1);
/// ```
///
/// Clones are one weak reference: a callback runs once, when the referent dies while a clone is left. A weak
/// reference that is itself unreachable never calls back.
pub struct Weak<T: ?Sized> {
    record: Option<Gc<Record>>,
    value: NonNull<T>,
}

impl<T> Weak<T> {
    /// A weak reference to nothing.
    pub const fn new() -> Self {
        Self {
            record: None,
            value: NonNull::dangling(),
        }
    }
}

impl<T: ?Sized> Weak<T> {
    /// A weak reference whose callback, a closure, is called with it when the referent dies.
    ///
    /// What the closure captures counts as used while the weak reference lives; see [`Self::with_object`].
    pub fn with_callback(referent: &Gc<T>, callback: impl FnOnce(&Weak<Erased>) + 'static) -> Self {
        let heap = referent.raw().arena().heap();
        let Ok(callback) = heap.create(Closure(Cell::new(Some(callback)))) else {
            out_of_memory();
        };
        Self::with_object(referent, Gc::unsize(callback, |callback| callback))
    }

    /// A weak reference whose callback is an object, which collections go through like any other.
    pub fn with_object(referent: &Gc<T>, callback: Gc<dyn WeakCallback>) -> Self {
        Self::record(referent, Some(callback))
    }

    fn record(referent: &Gc<T>, callback: Option<Gc<dyn WeakCallback>>) -> Self {
        Self {
            record: Some(record_for(referent.raw(), callback)),
            value: referent.pointer(),
        }
    }

    /// A weak reference to an object that is being built.
    pub(crate) fn to_unborn(object: Raw) -> Weak<T>
    where
        T: Sized,
    {
        Self {
            record: Some(record_for(object, None)),
            value: object.value().cast(),
        }
    }

    fn referent(&self) -> Option<Raw> {
        self.record.as_ref()?.referent.get()
    }

    /// A handle to the referent; `None` when it is dead, dying, or not yet built.
    pub fn upgrade(&self) -> Option<Gc<T>> {
        let object = self.referent()?;
        if object.count() == 0 {
            return None;
        }
        object.increment();
        // SAFETY: alive, and counted just now.
        Some(unsafe { Gc::from_value(self.value) })
    }

    /// Whether the referent is alive.
    pub fn is_alive(&self) -> bool {
        self.referent().is_some_and(|object| object.count() > 0)
    }

    /// What tells weak references apart: clones have the same. 0 for one that was never to anything.
    pub fn id(&self) -> usize {
        self.record.as_ref().map_or(0, Gc::id)
    }

    /// Whether both are to the same object, or to none.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.referent() == other.referent()
    }

    /// The weak reference as the object it is, for [`gc`](crate::gc)'s lists.
    pub fn as_object(&self) -> Option<Gc<Erased>> {
        self.record.as_ref().map(Gc::erased)
    }

    /// CPython's `__callback__`: whether it has a callback that was not called yet.
    pub fn has_callback(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| !record.callback.is_empty())
    }
}

/// CPython's `weakref.getweakrefcount`: weak references to the object, clones counted once.
pub fn weak_count<T: ?Sized>(object: &Gc<T>) -> usize {
    let mut next = first_record(object.raw());
    let mut n = 0;
    while let Some(record) = next {
        n += 1;
        // SAFETY: records in a list are live (I1).
        next = unsafe { record.as_ref() }.next.get();
    }
    n
}

#[cold]
pub fn out_of_memory() -> ! {
    std::alloc::handle_alloc_error(core::alloc::Layout::new::<Record>())
}

fn first_record(object: Raw) -> Option<NonNull<Record>> {
    if !object.has(flags::WEAK) {
        return None;
    }
    let heap = object.arena().heap();
    heap.weak.borrow().get(&object.addr()).copied()
}

/// The object's record without callback, if there is one, or a new record.
fn record_for(object: Raw, callback: Option<Gc<dyn WeakCallback>>) -> Gc<Record> {
    if let (None, Some(plain)) = (&callback, plain_record(object)) {
        return plain;
    }
    let heap = object.arena().heap();
    let is_plain = callback.is_none();
    let made = heap.create(Record {
        referent: Cell::new(None),
        next: Cell::new(None),
        prev: Cell::new(None),
        callback: Slot::from(callback),
    });
    let Ok(made) = made else { out_of_memory() };
    // Making it may have run a collection, and that may have made one.
    if let (true, Some(plain)) = (is_plain, plain_record(object)) {
        return plain;
    }
    link(heap, object, &made, is_plain);
    made
}

fn plain_record(object: Raw) -> Option<Gc<Record>> {
    let first = first_record(object)?;
    // SAFETY: records in a list are live (I1).
    let record = unsafe { first.as_ref() };
    if !record.callback.is_empty() {
        return None;
    }
    // SAFETY: the record is the value of an object; its address comes from a handle.
    let raw = unsafe { Raw::new(first.cast()) };
    if raw.count() == 0 {
        return None;
    }
    raw.increment();
    // SAFETY: counted just now.
    Some(unsafe { Gc::from_value(first) })
}

/// Enters a record: in front, or behind the one without callback.
fn link(heap: &Heap, object: Raw, record: &Gc<Record>, is_plain: bool) {
    let first = first_record(object);
    let place = record.pointer();
    record.referent.set(Some(object));
    // SAFETY: records in a list are live (I1).
    let plain_first = first.filter(|first| unsafe { first.as_ref() }.callback.is_empty());
    match plain_first {
        Some(first) if !is_plain => {
            // SAFETY: as above.
            let before = unsafe { first.as_ref() };
            let next = before.next.replace(Some(place));
            set_links(record, Some(first), next);
        }
        _ => {
            set_links(record, None, first);
            heap.weak.borrow_mut().insert(object.addr(), place);
            object.set(flags::WEAK);
        }
    }
}

fn set_links(record: &Gc<Record>, prev: Option<NonNull<Record>>, next: Option<NonNull<Record>>) {
    record.prev.set(prev);
    record.next.set(next);
    if let Some(next) = next {
        // SAFETY: records in a list are live (I1).
        unsafe { next.as_ref() }.prev.set(Some(record.pointer()));
    }
}

/// Takes a record out of its referent's list.
fn unlink(record: &Record) {
    let Some(object) = record.referent.take() else {
        return;
    };
    let (prev, next) = (record.prev.take(), record.next.take());
    if let Some(next) = next {
        // SAFETY: records in a list are live (I1).
        unsafe { next.as_ref() }.prev.set(prev);
    }
    let weak = &object.arena().heap().weak;
    match (prev, next) {
        // SAFETY: as above.
        (Some(prev), _) => unsafe { prev.as_ref() }.next.set(next),
        (None, Some(next)) => {
            weak.borrow_mut().insert(object.addr(), next);
        }
        (None, None) => {
            weak.borrow_mut().remove(&object.addr());
            object.clear(flags::WEAK);
        }
    }
}

/// Clears the weak reference that `object` is, if it is one: its callback never runs.
pub fn clear_record(object: Raw) {
    if let Some(record) = as_record(object) {
        unlink(record);
    }
}

/// Whether the object is a weak reference: its record.
fn as_record<'a>(object: Raw) -> Option<&'a Record> {
    let info = object.pool().info.get()?;
    // SAFETY: an object made as a record, and alive while the caller looks.
    is_record_type(info).then(|| unsafe { object.value().cast::<Record>().as_ref() })
}

/// What a weak reference refers to, if it is not dead; `None` when the object is no weak reference.
pub fn referent_of(object: Raw) -> Option<Option<Raw>> {
    as_record(object).map(|record| record.referent.get())
}

/// Whether `info` is the type of weak references.
pub fn is_record_type(info: &super::type_info::TypeInfo) -> bool {
    (info.type_id)() == core::any::TypeId::of::<Record>()
}

/// Records that were cleared and whose callbacks are to be called, linked by `next`; each is held by a count.
#[derive(Default)]
pub struct Callbacks {
    first: Option<NonNull<Record>>,
    last: Option<NonNull<Record>>,
}

/// Clears all weak references to `object`. Those with a callback that `may_call` allows are queued, in the
/// list's order.
pub fn clear(object: Raw, queue: &mut Callbacks, may_call: impl Fn(Raw) -> bool) {
    let mut next = first_record(object);
    if next.is_none() {
        return;
    }
    object
        .arena()
        .heap()
        .weak
        .borrow_mut()
        .remove(&object.addr());
    object.clear(flags::WEAK);
    while let Some(place) = next {
        // SAFETY: records in a list are live (I1).
        let record = unsafe { place.as_ref() };
        next = record.next.take();
        record.prev.set(None);
        record.referent.set(None);
        // SAFETY: the value of an object.
        let raw = unsafe { Raw::new(place.cast()) };
        if record.callback.is_empty() || raw.count() == 0 || !may_call(raw) {
            continue;
        }
        raw.increment();
        match queue.last.replace(place) {
            // SAFETY: queued records are held.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(place)),
            None => queue.first = Some(place),
        }
    }
}

impl Callbacks {
    /// Calls each once, and calls `after` with each weak reference that is still used.
    /// Returns how many were used by nobody else any more.
    pub fn run(self, heap: &Heap, mut after: impl FnMut(Raw)) -> usize {
        let mut next = self.first;
        let mut n_freed = 0;
        while let Some(place) = next {
            // SAFETY: a queued record is held by a count, which this handle takes over.
            let record = unsafe { Gc::from_value(place) };
            next = record.next.take();
            let object = record.raw();
            let weak = Weak {
                record: Some(record),
                value: NonNull::<Erased>::dangling(),
            };
            call(heap, &weak);
            if object.count() == 1 {
                n_freed += 1;
            } else {
                after(object);
            }
        }
        n_freed
    }
}

fn call(heap: &Heap, weak: &Weak<Erased>) {
    let callback = weak
        .record
        .as_ref()
        .and_then(|record| record.callback.take());
    if let Some(callback) = callback {
        guarded(heap, Context::WeakCallback, || {
            callback.referent_died(weak);
            drop(callback);
        });
    }
}

/// Clears the weak references of an object that dies by its count, and calls back.
pub fn die(object: Raw) {
    let mut queue = Callbacks::default();
    clear(object, &mut queue, |_| true);
    let _ = queue.run(object.arena().heap(), |_| ());
}

/// Clears weak references without calling back.
pub fn clear_silently(object: Raw) {
    clear(object, &mut Callbacks::default(), |_| false);
}

impl<T: ?Sized> From<&Gc<T>> for Weak<T> {
    fn from(referent: &Gc<T>) -> Self {
        Self::record(referent, None)
    }
}

impl<T> Default for Weak<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        Self {
            record: self.record.clone(),
            value: self.value,
        }
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_alive() {
            "(Weak)"
        } else {
            "(Weak; dead)"
        })
    }
}

// SAFETY: the handle to the record, reported once; the referent is not owned.
unsafe impl<T: ?Sized + 'static> Trace for Weak<T> {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = true;

    #[inline]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.record.trace(visitor);
    }
}
