//! [`Slot`]: a place for a handle that can be set through a shared reference.

use super::handle::Gc;
use super::trace::{Trace, Visitor};
use core::cell::Cell;
use core::fmt;

/// A handle or none, set and read without a borrow flag: a field of an object that refers to another.
///
/// Setting it stores the new handle first and drops the old one last, as CPython does, since dropping may run
/// code that looks here.
///
/// ```
/// use pymalloc::object::{Gc, Slot};
/// let slot = Slot::empty();
/// assert!(slot.get().is_none());
/// slot.set(Some(Gc::new(7)));
/// assert_eq!(slot.get().as_deref(), Some(&7));
/// ```
#[repr(transparent)]
pub struct Slot<T: ?Sized>(Cell<Option<Gc<T>>>);

impl<T: ?Sized> Slot<T> {
    /// A slot with a handle.
    pub const fn new(handle: Gc<T>) -> Self {
        Self(Cell::new(Some(handle)))
    }

    /// A slot without.
    pub const fn empty() -> Self {
        Self(Cell::new(None))
    }

    /// A handle to what it refers to, counted.
    #[inline]
    pub fn get(&self) -> Option<Gc<T>> {
        // SAFETY: nobody changes the cell while its handle is cloned: cloning only counts, on this thread.
        unsafe { &*self.0.as_ptr() }.clone()
    }

    /// Replaces the handle.
    #[inline]
    pub fn set(&self, handle: Option<Gc<T>>) {
        drop(self.0.replace(handle));
    }

    /// Replaces the handle and returns the old one.
    #[inline]
    pub fn replace(&self, handle: Option<Gc<T>>) -> Option<Gc<T>> {
        self.0.replace(handle)
    }

    /// Moves the handle out.
    #[inline]
    pub fn take(&self) -> Option<Gc<T>> {
        self.0.take()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // SAFETY: as for `get`.
        unsafe { &*self.0.as_ptr() }.is_none()
    }
}

impl<T: ?Sized> Default for Slot<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: ?Sized> From<Option<Gc<T>>> for Slot<T> {
    fn from(handle: Option<Gc<T>>) -> Self {
        Self(Cell::new(handle))
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Slot<T> {
    /// The identity only: what a slot refers to may refer back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(handle) => write!(f, "Slot({handle:p})"),
            None => f.write_str("Slot(empty)"),
        }
    }
}

// SAFETY: the one handle it owns, if any.
unsafe impl<T: ?Sized + 'static> Trace for Slot<T> {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = true;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.0.trace(visitor);
    }
}
