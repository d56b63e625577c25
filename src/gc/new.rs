//! Making objects in the thread's heap.

use super::current::{current, existing};
use crate::object::handle::{Unfilled, fixed_class, prepare_slow};
use crate::object::tail::WithItems;
use crate::object::type_info::{Fixed, Kind, TypeInfo};
use crate::object::{Gc, OutOfMemory, Raw, Tail, Trace, Weak};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Ends the process. Does not unwind, so that a value that waits for its slot need not lie in memory.
#[cold]
#[inline(never)]
extern "C" fn no_memory(size: usize, align: usize) -> ! {
    match Layout::from_size_align(size, align) {
        Ok(layout) => std::alloc::handle_alloc_error(layout),
        Err(_) => crate::os::fatal(format_args!("no memory for {size} bytes")),
    }
}

/// The cold continuation of [`Gc::new`]: all of it but the value. Does not unwind.
#[cold]
#[inline(never)]
extern "C" fn new_slow(info: &'static TypeInfo, class: usize, size: usize, align: usize) -> Raw {
    match prepare_slow(&current().heap, info, class, size) {
        Some(object) => object,
        None => no_memory(size, align),
    }
}

impl<T: Trace> Gc<T> {
    /// An object with this value. A collection may run first.
    #[inline]
    pub fn new(value: T) -> Self {
        let slot = match existing().and_then(|known| known.heap.prepare_fast::<T>()) {
            Some(slot) => slot,
            None => {
                let class = const { fixed_class::<T>() };
                let object = new_slow(Fixed::<T>::INFO, class, size_of::<T>(), align_of::<T>());
                Unfilled(object, PhantomData)
            }
        };
        slot.fill(value)
    }

    /// As [`Gc::new`].
    ///
    /// # Errors
    /// The value, when memory is out. (The thread's heap itself is made by whatever needs it first; without
    /// memory for that the process ends.)
    pub fn try_new(value: T) -> Result<Self, T> {
        current().heap.create(value)
    }

    /// An object whose value knows it: `build` gets a weak reference, which is dead until it returns.
    ///
    /// ```
    /// use pymalloc::{impl_trace, object::{Gc, Weak}};
    /// struct Node { me: Weak<Node> }
    /// impl_trace!(struct Node { me });
    /// let node = Gc::new_cyclic(|me: &Weak<Node>| {
    ///     assert!(me.upgrade().is_none());
    ///     Node { me: me.clone() }
    /// });
    /// assert!(Gc::is(&node, &node.me.upgrade().unwrap()));
    /// ```
    pub fn new_cyclic(build: impl FnOnce(&Weak<T>) -> T) -> Self {
        match current().heap.create_cyclic(build) {
            Ok(handle) => handle,
            Err(OutOfMemory) => no_memory(size_of::<T>(), align_of::<T>()),
        }
    }

    /// An immortal object: never counted, never freed, like CPython's `None`.
    pub fn new_immortal(value: T) -> Self {
        let handle = Self::new(value);
        Gc::make_immortal(&handle);
        handle
    }
}

impl<H: Trace, E: Trace> Gc<Tail<H, E>> {
    /// An object of a head and the items an iterator gives.
    pub fn with_items(
        head: H,
        items: impl IntoIterator<Item = E, IntoIter: ExactSizeIterator>,
    ) -> Self {
        let items = items.into_iter();
        match current().heap.create_with_items(head, items.len(), items) {
            // SAFETY: made as this kind, with one count.
            Ok(object) => unsafe { Gc::from_value(object.value().cast()) },
            Err(OutOfMemory) => no_memory(size_of::<H>(), align_of::<H>()),
        }
    }
}

impl<T: Trace> FromIterator<T> for Gc<[T]> {
    /// An object of the items.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::from(Vec::from_iter(items))
    }
}

impl<T: Trace> From<Vec<T>> for Gc<[T]> {
    /// An object with the vector's items.
    fn from(items: Vec<T>) -> Self {
        let made = current()
            .heap
            .create_with_items((), items.len(), items.into_iter());
        match made {
            Ok(object) => Self::of_items(object),
            Err(OutOfMemory) => no_memory(size_of::<T>(), align_of::<T>()),
        }
    }
}

impl<T: Trace> From<T> for Gc<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Trace + Default> Default for Gc<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl Gc<crate::object::Erased> {
    /// A handle to a slice or tail, if the object was made as one: the head's and items' types must fit.
    pub fn downcast_tail<H: Trace, E: Trace>(self) -> Result<Gc<Tail<H, E>>, Self> {
        let wanted = (WithItems::<H, E>::INFO.type_id)();
        if (self.info().type_id)() != wanted {
            return Err(self);
        }
        let value: NonNull<_> = self.into_value().cast();
        // SAFETY: made as this kind; the same count.
        Ok(unsafe { Gc::from_value(value) })
    }
}

/// The raw handle is named here so that the layer's surface is seen to be complete.
const _: fn(&Gc<u8>) -> Raw = Gc::raw;
