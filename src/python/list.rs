//! [`List`]: items in a buffer that grows as CPython's does (Objects/listobject.c 3.11: `list_resize`).
//!
//! ```text
//! object ──► buffer of A places, n of them used       A: 0, 4, 8, 16, 24, 32, 40, 52, 64, 76, …
//! ```
//!
//! I1  n ≤ A, and A is the buffer's real capacity.
//! I2  No borrow of the buffer is alive while an item is dropped: dropping may run code that looks here.
//! I3  `has_buffer`: CPython's list has a buffer, perhaps one for no item, which popping the last one leaves.

use super::atoms::{GC_HEADER_BYTES, REFERENCE_BYTES, VARIABLE_HEADER_BYTES};
use super::value::Value;
use crate::object::{Gc, Trace, Visitor};
use core::cell::{Cell, RefCell};

/// A list: items, in a buffer of its own.
///
/// ```
/// use pymalloc::python::{List, Python};
/// let python = Python::new();
/// let list = List::display(vec![]);
/// let sizes: Vec<_> = (0..9)
///     .map(|n| {
///         list.append(python.int(n));
///         list.allocated()
///     })
///     .collect();
/// assert_eq!(sizes, [4, 4, 4, 4, 8, 8, 8, 8, 16]);
/// ```
#[derive(Default)]
pub struct List {
    items: RefCell<Vec<Value>>,
    /// I3.
    has_buffer: Cell<bool>,
}

// SAFETY: each item once, unless the buffer is being changed; `Drop` moves and drops handles only. CPython
// keeps 80 dead lists (Include/internal/pycore_list.h 3.11: `PyList_MAXFREELIST`), and traverses from the last
// item to the first.
unsafe impl Trace for List {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;
    const FREE_LIST: u32 = 80;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if let Ok(items) = self.items.try_borrow() {
            items.iter().rev().for_each(|item| item.trace(visitor));
        }
    }

    fn owned_bytes(&self) -> usize {
        self.allocated() * size_of::<Value>()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        drop_last_first(self.items.take());
    }
}

/// CPython drops a list's last item first.
fn drop_last_first(mut items: Vec<Value>) {
    while let Some(item) = items.pop() {
        drop(item);
    }
}

/// Places for a list of n items in a buffer of `allocated`, that is to have m.
const fn places(allocated: usize, n: usize, m: usize) -> usize {
    if allocated >= m && m >= allocated >> 1 {
        return allocated;
    }
    if m == 0 {
        return 0;
    }
    let roomy = (m + (m >> 3) + 6) & !3;
    // A big jump is not made room for again.
    if m > n && m - n > roomy - m {
        return (m + 3) & !3;
    }
    roomy
}

impl List {
    fn of(items: Vec<Value>) -> Self {
        Self {
            has_buffer: Cell::new(items.capacity() > 0),
            items: RefCell::new(items),
        }
    }

    /// A list with room for exactly its items: `[a, b, c]`, slices, `+`, `*` and `copy`.
    pub fn display(items: Vec<Value>) -> Gc<Self> {
        let mut items = items;
        items.shrink_to_fit();
        Gc::new(Self::of(items))
    }

    /// `list(…)` of something that knows its length: room for an even number.
    pub fn from_sized(
        items: impl IntoIterator<Item = Value, IntoIter: ExactSizeIterator>,
    ) -> Gc<Self> {
        let list = Gc::new(Self::default());
        list.extend(items);
        list
    }

    /// `list(…)` of something that does not, such as a generator: room for 8, then as by appending.
    pub fn from_unsized(items: impl IntoIterator<Item = Value>) -> Gc<Self> {
        let list = Gc::new(Self::of(Vec::with_capacity(8)));
        items.into_iter().for_each(|item| list.append(item));
        let n = list.len();
        list.resize(n);
        list
    }

    /// Items there are.
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items there is room for.
    pub fn allocated(&self) -> usize {
        self.items.try_borrow().map_or(0, |items| items.capacity())
    }

    /// The item at an index.
    pub fn get(&self, index: usize) -> Option<Value> {
        self.items.borrow().get(index).cloned()
    }

    /// All items.
    pub fn to_vec(&self) -> Vec<Value> {
        self.items.borrow().clone()
    }

    /// Replaces the item at an index and returns the old one; `None` when there is no such index.
    pub fn set(&self, index: usize, item: Value) -> Option<Value> {
        let mut items = self.items.borrow_mut();
        items
            .get_mut(index)
            .map(|place| core::mem::replace(place, item))
    }

    /// Adds an item at the end.
    pub fn append(&self, item: Value) {
        let n = self.len();
        // With room the buffer is left alone (`_PyList_AppendTakeRef`), even where it could shrink.
        if n == self.allocated() {
            self.resize(n + 1);
        }
        self.items.borrow_mut().push(item);
    }

    /// Adds an item before the one at `index`, or at the end.
    pub fn insert(&self, index: usize, item: Value) {
        let n = self.len();
        self.resize(n + 1);
        self.items.borrow_mut().insert(index.min(n), item);
    }

    /// Takes the last item.
    pub fn pop(&self) -> Option<Value> {
        let item = self.items.borrow_mut().pop()?;
        self.resize(self.len());
        Some(item)
    }

    /// Adds items at the end. An empty list without a buffer gets room for an even number.
    pub fn extend(&self, items: impl IntoIterator<Item = Value, IntoIter: ExactSizeIterator>) {
        let items = items.into_iter();
        let (n, more) = (self.len(), items.len());
        if !self.has_buffer.get() {
            if more > 0 {
                self.set_allocated(more.next_multiple_of(2));
            }
        } else {
            self.resize(n + more);
        }
        // Making items may run code that looks here, so they come one by one.
        items.for_each(|item| self.items.borrow_mut().push(item));
    }

    /// Deletes the items of a range, clamped to those there are (`del items[start:end]`).
    pub fn delete(&self, start: usize, end: usize) {
        let end = end.min(self.len());
        let deleted: Vec<_> = {
            let mut items = self.items.borrow_mut();
            items.drain(start.min(end)..end).collect()
        };
        match self.len() {
            0 => self.clear(),
            n => self.resize(n),
        }
        drop_last_first(deleted);
    }

    /// Deletes all items and the buffer.
    pub fn clear(&self) {
        self.has_buffer.set(false);
        drop_last_first(self.items.take());
    }

    /// Gives the buffer the places that CPython's would have for m items.
    fn resize(&self, m: usize) {
        let (allocated, n) = (self.allocated(), self.len());
        let wanted = places(allocated, n, m);
        if wanted != allocated {
            self.set_allocated(wanted);
        }
    }

    fn set_allocated(&self, places: usize) {
        self.has_buffer.set(true);
        let mut items = self.items.borrow_mut();
        let n = items.len();
        if places > items.capacity() {
            items.reserve_exact(places - n);
        } else {
            items.shrink_to(places);
        }
    }

    pub(super) fn size(&self) -> usize {
        GC_HEADER_BYTES
            + VARIABLE_HEADER_BYTES
            + 2 * REFERENCE_BYTES
            + REFERENCE_BYTES * self.allocated()
    }
}
