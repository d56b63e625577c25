//! What the heap knows of a type: sizes, and functions over raw handles.
//!
//! A [`Kind`] says how a Rust type lies in a slot; its [`TypeInfo`] is a constant made from it, with the
//! passes of the collector compiled for this very type. Two copies of one type's constant (rustc may make
//! several) are two kinds of pools, nothing worse: types are compared by their `TypeId`.

use super::handle::Gc;
use super::header::Raw;
use super::passes::{Marker, Releaser, count_pool, mark_object};
use super::pool::PoolRef;
use super::trace::{Trace, Visitor};
use crate::obmalloc::size_class::{SMALL_MAX, SizeClass};
use core::any::TypeId;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, needs_drop};
use static_assertions::const_assert;

/// Bytes before the value of an object of fixed size: its header.
const FIXED_PREFIX: usize = 8;
/// Bytes before the value of an object with items: their number, and the header.
pub const TAIL_PREFIX: usize = 16;

/// What is called with each handle and the fields it lies in.
type OnNamed<'a> = dyn FnMut(&[&'static str], Raw) + 'a;

/// Functions and figures of one type.
#[repr(align(128))]
pub struct TypeInfo {
    /// Its name, as the compiler spells it.
    pub name: fn() -> &'static str,
    /// Its identity.
    pub type_id: fn() -> TypeId,
    /// Whether its objects are tracked.
    pub cyclic: bool,
    /// Whether dropping a value does nothing but release the handles that tracing it reports.
    pub drops_handles_only: bool,
    /// Whether the collector must not tear it down (CPython: a type with `tp_del`).
    pub uncollectable: bool,
    /// Dead objects kept for reuse without counting (CPython: per-type free lists).
    pub free_list: u32,
    /// Bytes of the fixed part, and of one item.
    pub fixed_bytes: usize,
    /// Bytes of one item; 0 for objects of fixed size.
    pub item_bytes: usize,
    /// Lets an object whose count is 0 die.
    pub die: super::pool::Die,
    /// Drops the value, if there is anything to drop, and frees the slot.
    pub tear_down: super::release::TearDown,
    /// Drops the value; `None` when there is nothing to drop.
    pub drop: Option<unsafe fn(Raw)>,
    /// Runs the finalizer.
    pub finalize: Option<unsafe fn(Raw)>,
    /// Counts a pool's candidates: see [`count_pool`].
    pub count: unsafe fn(PoolRef, super::passes::Selection, &mut super::passes::Counter),
    /// Reports the object's handles to a marking pass.
    pub mark: unsafe fn(Raw, &mut Marker),
    /// Releases the object's handles to what outlives the dead set.
    pub release: unsafe fn(Raw, &mut Releaser),
    /// Calls a function on each handle.
    pub visit: unsafe fn(Raw, &mut dyn FnMut(Raw)),
    /// The same with the names of the fields each handle lies in, outermost first.
    pub visit_named: unsafe fn(Raw, &mut OnNamed<'_>),
    /// Bytes the value owns outside its slot.
    pub owned_bytes: unsafe fn(Raw) -> usize,
}

// Keys of bins are addresses of these plus a class's index.
const_assert!(align_of::<TypeInfo>() > SizeClass::COUNT);

/// How a type's objects lie in their slots.
pub trait Kind: 'static {
    /// Bytes of the fixed part.
    const FIXED_BYTES: usize;
    /// Bytes of one item; 0 without items.
    const ITEM_BYTES: usize;
    /// As [`TypeInfo::cyclic`].
    const CYCLIC: bool;
    /// As [`TypeInfo::drops_handles_only`].
    const DROPS_HANDLES_ONLY: bool;
    /// Whether there is anything to drop.
    const NEEDS_DROP: bool;
    /// As [`TypeInfo::uncollectable`].
    const UNCOLLECTABLE: bool = false;
    /// As [`TypeInfo::free_list`].
    const FREE_LIST: u32 = 0;
    /// As [`TypeInfo::finalize`].
    const FINALIZE: Option<unsafe fn(Raw)> = None;
    /// Whether all its objects are small, so that their pools are no runs.
    const IS_SMALL: bool = Self::ITEM_BYTES == 0 && Self::FIXED_BYTES + FIXED_PREFIX <= SMALL_MAX;
    /// What identifies it.
    type Identity: 'static + ?Sized;

    /// Reports each handle the object owns.
    ///
    /// # Safety
    /// 1. The object is of this kind, and its value is whole.
    unsafe fn trace<V: Visitor>(object: Raw, visitor: &mut V);

    /// Drops the value.
    ///
    /// # Safety
    /// 1. As [`Self::trace`]; the value is not used again.
    unsafe fn drop(object: Raw);

    /// Bytes the value owns outside its slot.
    ///
    /// # Safety
    /// 1. As [`Self::trace`].
    unsafe fn owned_bytes(object: Raw) -> usize;

    /// The constant made from all this.
    const INFO: &'static TypeInfo = &TypeInfo {
        name: core::any::type_name::<Self::Identity>,
        type_id: TypeId::of::<Self::Identity>,
        cyclic: Self::CYCLIC,
        drops_handles_only: Self::DROPS_HANDLES_ONLY,
        uncollectable: Self::UNCOLLECTABLE,
        free_list: Self::FREE_LIST,
        fixed_bytes: Self::FIXED_BYTES,
        item_bytes: Self::ITEM_BYTES,
        die: super::release::die::<Self>,
        tear_down: super::release::tear_down::<Self>,
        drop: if Self::NEEDS_DROP {
            Some(Self::drop)
        } else {
            None
        },
        finalize: Self::FINALIZE,
        count: count_pool::<Self>,
        mark: mark_object::<Self>,
        release: Self::trace::<Releaser>,
        visit: visit::<Self>,
        visit_named: visit_named::<Self>,
        owned_bytes: Self::owned_bytes,
    };
}

/// A visitor that calls a function.
struct Call<'a>(&'a mut dyn FnMut(Raw));

impl Visitor for Call<'_> {
    fn edge(&mut self, object: Raw) {
        (self.0)(object);
    }
}

unsafe fn visit<K: Kind + ?Sized>(object: Raw, call: &mut dyn FnMut(Raw)) {
    // SAFETY: passed on.
    unsafe { K::trace(object, &mut Call(call)) };
}

/// A visitor that remembers in which fields it is.
struct CallNamed<'a, 'b> {
    fields: Vec<&'static str>,
    call: &'a mut OnNamed<'b>,
}

impl Visitor for CallNamed<'_, '_> {
    fn edge(&mut self, object: Raw) {
        (self.call)(&self.fields, object);
    }

    fn enter(&mut self, name: &'static str) {
        self.fields.push(name);
    }

    fn leave(&mut self) {
        self.fields.pop();
    }
}

unsafe fn visit_named<K: Kind + ?Sized>(object: Raw, call: &mut OnNamed<'_>) {
    let fields = Vec::new();
    // SAFETY: passed on.
    unsafe { K::trace(object, &mut CallNamed { fields, call }) };
}

/// The class of a slot for `bytes` of value with room for items or without; `None` when it takes an arena of
/// its own.
pub const fn slot_class(bytes: usize, has_items: bool) -> Option<SizeClass> {
    match bytes.checked_add(prefix_bytes(bytes, has_items)) {
        Some(bytes) => SizeClass::of(bytes),
        None => None,
    }
}

/// Bytes before `bytes` of value in their slot.
pub const fn prefix_bytes(bytes: usize, has_items: bool) -> usize {
    // Blocks above the small ones may fill their run, so the eight bytes before the first header count.
    if has_items || bytes + FIXED_PREFIX > SMALL_MAX {
        TAIL_PREFIX
    } else {
        FIXED_PREFIX
    }
}

/// Objects that are one value of a traced type.
pub struct Fixed<T>(PhantomData<T>);

impl<T: Trace> Kind for Fixed<T> {
    const FIXED_BYTES: usize = size_of::<T>();
    const ITEM_BYTES: usize = 0;
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY;
    const NEEDS_DROP: bool = needs_drop::<T>();
    const UNCOLLECTABLE: bool = T::UNCOLLECTABLE;
    const FREE_LIST: u32 = T::FREE_LIST;
    const FINALIZE: Option<unsafe fn(Raw)> = match T::FINALIZER {
        Some(_) => Some(finalize::<T>),
        None => None,
    };
    type Identity = T;

    #[inline]
    unsafe fn trace<V: Visitor>(object: Raw, visitor: &mut V) {
        // SAFETY: a whole value of T (duty 1); only shared references to it exist.
        unsafe { object.value().cast::<T>().as_ref() }.trace(visitor);
    }

    unsafe fn drop(object: Raw) {
        // SAFETY: a whole value of T that nobody uses again (duty 1).
        unsafe { object.value().cast::<T>().drop_in_place() };
    }

    unsafe fn owned_bytes(object: Raw) -> usize {
        // SAFETY: as for `trace`.
        unsafe { object.value().cast::<T>().as_ref() }.owned_bytes()
    }
}

/// Runs the finalizer of T on an object that the caller keeps alive.
unsafe fn finalize<T: Trace>(object: Raw) {
    // SAFETY: an object of T; the handle counts nothing, and so is never dropped.
    let handle = ManuallyDrop::new(unsafe { Gc::<T>::from_value(object.value().cast()) });
    if let Some(finalizer) = T::FINALIZER {
        finalizer(&handle);
    }
}
