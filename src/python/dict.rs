//! [`Dict`]: a [`Table`] as an object, tracked once it holds what a collection would look at.

use super::atoms::{GC_HEADER_BYTES, HEADER_BYTES, REFERENCE_BYTES};
use super::error::KindError;
use super::table::Table;
use super::value::{Value, equals_at};
use crate::object::{Gc, Trace, Visitor};
use core::cell::RefCell;

/// A dictionary, in the order its keys came.
///
/// ```
/// use pymalloc::python::{Dict, Python};
/// let python = Python::new();
/// let dict = Dict::new();
/// Dict::insert(&dict, python.str("spam"), python.int(1)).unwrap();
/// assert_eq!(dict.get(&python.str("spam")).unwrap().unwrap().to_string(), "1");
/// assert!(dict.get(&python.list(vec![])).is_err()); // unhashable type: 'list'
/// ```
#[derive(Default)]
pub struct Dict(RefCell<Table>);

// SAFETY: the table's handles; no `Drop` of its own. CPython keeps 80 dead dictionaries (Include/internal/
// pycore_dict_state.h 3.11: `PyDict_MAXFREELIST`).
unsafe impl Trace for Dict {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;
    const FREE_LIST: u32 = 80;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.0.trace(visitor);
    }

    fn owned_bytes(&self) -> usize {
        self.0.owned_bytes()
    }
}

impl Dict {
    /// An empty dictionary, not tracked yet (CPython up to 3.13: `MAINTAIN_TRACKING`).
    pub fn new() -> Gc<Self> {
        let dict = Gc::new(Self::default());
        Gc::untrack(&dict);
        dict
    }

    /// Pairs there are.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key cannot be hashed or compared.
    pub fn get(&self, key: &Value) -> Result<Option<Value>, KindError> {
        self.0.borrow().get(key)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// When the key cannot be hashed or compared.
    pub fn insert(this: &Gc<Self>, key: Value, value: Value) -> Result<(), KindError> {
        // A key that cannot be hashed is dropped here, while the table is not borrowed.
        let hash = key.hash()?;
        if key.may_be_tracked() || value.may_be_tracked() {
            Gc::track(this);
        }
        // What is replaced is dropped when the table is no longer borrowed.
        let replaced = this.0.borrow_mut().insert(key, hash, value)?;
        drop(replaced);
        Ok(())
    }

    /// Takes the value of a key out.
    ///
    /// # Errors
    /// When the key cannot be hashed or compared.
    pub fn remove(&self, key: &Value) -> Result<Option<Value>, KindError> {
        let removed = self.0.borrow_mut().remove(key)?;
        Ok(removed.map(|(_, value)| value))
    }

    /// Deletes all pairs, in order.
    pub fn clear(&self) {
        let table = self.0.take();
        drop(table);
    }

    /// Calls `f` on each key that tracing does not report: all of them while they are texts.
    pub(crate) fn for_each_untraced_key(&self, f: impl FnMut(&Value)) {
        if let Ok(table) = self.0.try_borrow() {
            table.for_each_untraced_key(f);
        }
    }

    /// All pairs, in order.
    pub fn to_vec(&self) -> Vec<(Value, Value)> {
        let table = self.0.borrow();
        let pairs = table.pairs();
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Whether both have equal values for equal keys.
    pub(super) fn equals_at(&self, other: &Self, depth: usize) -> Result<bool, KindError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (key, value) in self.to_vec() {
            match other.get(&key)? {
                Some(found) if equals_at(&value, &found, depth + 1)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(super) fn size(&self) -> usize {
        // Header, pairs, version, keys, values.
        GC_HEADER_BYTES + HEADER_BYTES + 4 * REFERENCE_BYTES + self.0.borrow().size()
    }
}
