//! Objects with items: [`Tail`], a head followed by a number of items fixed when it is made; and `Gc<[T]>`.
//!
//! ```text
//! | number (8) | header (8) | head H | item | item | …
//!                           ^ value, at a multiple of 16
//! ```
//!
//! A `Gc<[T]>` is the same with an empty head; its handle carries the number, too, and is two words.

use super::handle::{Gc, OutOfMemory};
use super::header::Raw;
use super::heap::{Heap, take_slow};
use super::trace::{Trace, Visitor};
use super::type_info::{Kind, TAIL_PREFIX, slot_class};
use crate::obmalloc::size_class::SizeClass;
use core::marker::PhantomData;
use core::mem::needs_drop;
use core::ops::Deref;
use core::ptr::NonNull;

/// A value of H and items of E behind it, in one object; its handle is one word.
///
/// ```
/// use pymalloc::object::{Gc, Tail};
/// let name = Gc::<Tail<u64, u8>>::with_items(7, "spam".bytes());
/// assert_eq!(name.head, 7);
/// assert_eq!(name.items(), b"spam");
/// ```
///
/// It exists inside objects only.
#[repr(C)]
pub struct Tail<H, E> {
    /// The part of fixed size.
    pub head: H,
    items: [E; 0],
}

/// Tails as objects: what lies in the slot.
pub struct WithItems<H, E>(PhantomData<(H, E)>);

const fn items_offset<H, E>() -> usize {
    core::mem::offset_of!(Tail<H, E>, items)
}

/// The number of items of the object whose value is at `value`, which has some.
pub fn length(value: NonNull<u8>) -> usize {
    // SAFETY: an object with items has their number before its header.
    unsafe { value.cast::<usize>().sub(2).read() }
}

/// The items of such an object.
///
/// # Safety
/// 1. A whole object of this kind, alive for 'a.
unsafe fn items<'a, H, E>(value: NonNull<u8>) -> &'a [E] {
    // SAFETY: duty 1: so many items were written behind the head.
    unsafe {
        let first = value.add(items_offset::<H, E>()).cast::<E>();
        core::slice::from_raw_parts(first.as_ptr(), length(value))
    }
}

impl<H: Trace, E: Trace> Kind for WithItems<H, E> {
    const FIXED_BYTES: usize = items_offset::<H, E>();
    const ITEM_BYTES: usize = if size_of::<E>() == 0 {
        1
    } else {
        size_of::<E>()
    };
    const CYCLIC: bool = H::CYCLIC || E::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = H::DROPS_HANDLES_ONLY && E::DROPS_HANDLES_ONLY;
    const NEEDS_DROP: bool = needs_drop::<H>() || needs_drop::<E>();
    const FREE_LIST: u32 = H::FREE_LIST;
    type Identity = Tail<H, E>;

    #[inline]
    unsafe fn trace<V: Visitor>(object: Raw, visitor: &mut V) {
        // SAFETY: a whole object of this kind (duty 1).
        unsafe {
            object.value().cast::<H>().as_ref().trace(visitor);
            if E::CYCLIC {
                // CPython: tuples and lists are traversed from the last item to the first.
                for item in items::<H, E>(object.value()).iter().rev() {
                    item.trace(visitor);
                }
            }
        }
    }

    unsafe fn drop(object: Raw) {
        let value = object.value();
        // SAFETY: a whole object that nobody uses again (duty 1). CPython drops the last item first.
        unsafe {
            for index in (0..length(value)).rev() {
                let first = value.add(items_offset::<H, E>()).cast::<E>();
                first.add(index).drop_in_place();
            }
            value.cast::<H>().drop_in_place();
        }
    }

    unsafe fn owned_bytes(object: Raw) -> usize {
        // SAFETY: a whole object of this kind (duty 1).
        unsafe {
            let head = object.value().cast::<H>().as_ref().owned_bytes();
            let items = items::<H, E>(object.value()).iter();
            head + items.map(Trace::owned_bytes).sum::<usize>()
        }
    }
}

/// Items being written: dropped again if making them panics.
struct Partial<E> {
    first: NonNull<E>,
    n: usize,
    object: Raw,
}

impl<E> Drop for Partial<E> {
    fn drop(&mut self) {
        // SAFETY: the first `n` items were written; the slot is nobody's.
        unsafe {
            core::ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.n).drop_in_place();
            self.object.value().cast::<usize>().sub(2).write(self.n);
            self.object.set_count(0);
            super::release::free_slot(self.object);
        }
    }
}

impl Heap {
    /// Makes an object of a head and items. At most `n` items are taken from `items`; there are as many as it
    /// gives.
    pub(crate) fn create_with_items<H: Trace, E: Trace>(
        &self,
        head: H,
        n: usize,
        items: impl Iterator<Item = E>,
    ) -> Result<Raw, OutOfMemory> {
        const {
            assert!(
                align_of::<Tail<H, E>>() <= TAIL_PREFIX,
                "values aligned above 16 bytes go in a Box"
            );
        }
        let info = WithItems::<H, E>::INFO;
        let bytes = size_of::<E>().checked_mul(n).ok_or(OutOfMemory)?;
        let bytes = bytes
            .checked_add(items_offset::<H, E>())
            .ok_or(OutOfMemory)?;
        let class = slot_class(bytes, true);
        self.count_for(info, class);
        let taken = match class {
            Some(class) => self.take(info, class, bytes),
            None => take_slow(self, info, SizeClass::COUNT, bytes),
        };
        let object = taken.ok_or(OutOfMemory)?;
        // Not tracked while it is not whole: making items may run a collection.
        object.enter(false);
        // SAFETY: the slot holds the head and `n` items; the number lies in its prefix.
        unsafe {
            let first = object.value().add(items_offset::<H, E>()).cast::<E>();
            let mut partial = Partial {
                first,
                n: 0,
                object,
            };
            for item in items.take(n) {
                first.add(partial.n).write(item);
                partial.n += 1;
            }
            object.value().cast::<usize>().sub(2).write(partial.n);
            object.value().cast::<H>().write(head);
            core::mem::forget(partial);
        }
        if info.cyclic {
            object.track();
        }
        Ok(object)
    }
}

impl<H: Trace, E: Trace> Gc<Tail<H, E>> {
    /// The items.
    pub fn items(&self) -> &[E] {
        // SAFETY: a whole object of this kind, alive as long as its handle.
        unsafe { items::<H, E>(self.raw().value()) }
    }
}

impl<T: Trace> Gc<[T]> {
    /// The handle to an object with items and no head.
    pub(crate) fn of_items(object: Raw) -> Self {
        let n = length(object.value());
        let first = object.value().cast::<T>();
        // SAFETY: the handle that making the object counted; so many items begin at its value.
        unsafe { Gc::from_value(NonNull::slice_from_raw_parts(first, n)) }
    }

    /// The same object as a [`Tail`], in a handle of one word.
    pub fn into_thin(self) -> Gc<Tail<(), T>> {
        // SAFETY: slices are made as tails with an empty head, and items at the value.
        unsafe { Gc::from_value(self.into_value().cast()) }
    }
}

impl<T: Trace> From<Gc<Tail<(), T>>> for Gc<[T]> {
    fn from(thin: Gc<Tail<(), T>>) -> Self {
        // SAFETY: the count goes from one handle to the other.
        Self::of_items(unsafe { Raw::new(thin.into_value().cast()) })
    }
}

impl<H, E> Deref for Tail<H, E> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.head
    }
}
