//! [`Tuple`]: items inside the object, fixed when it is made.

use super::atoms::{GC_HEADER_BYTES, REFERENCE_BYTES, VARIABLE_HEADER_BYTES};
use super::value::Value;
use crate::object::{Gc, Tail, Trace, Visitor};

/// The part of a tuple before its items.
#[derive(Debug)]
pub struct TupleHead(());

// SAFETY: no handles; `Drop` does nothing. CPython keeps 2000 dead tuples of each length to 20 (Include/
// internal/pycore_tuple.h 3.11: `PyTuple_MAXFREELIST`); here of each slot size, which is of each length.
unsafe impl Trace for TupleHead {
    const CYCLIC: bool = false;
    const DROPS_HANDLES_ONLY: bool = true;
    const FREE_LIST: u32 = 2000;

    fn trace<V: Visitor>(&self, _: &mut V) {}
}

/// A tuple: its items lie in the object. The handle's `items()` are they.
pub type Tuple = Tail<TupleHead, Value>;

/// A tuple of items; the caller shares the empty one.
///
/// One that holds nothing a collection would look at is not tracked. CPython 3.11 finds that out at the next
/// collection (`_PyTuple_MaybeUntrack`), here it is known at once, because items never change.
pub fn make(items: Vec<Value>) -> Gc<Tuple> {
    let tracked = items.iter().any(Value::may_be_tracked);
    let tuple = Gc::<Tuple>::with_items(TupleHead(()), items);
    if !tracked {
        Gc::untrack(&tuple);
    }
    tuple
}

pub fn size(tuple: &Gc<Tuple>) -> usize {
    GC_HEADER_BYTES + VARIABLE_HEADER_BYTES + REFERENCE_BYTES * tuple.items().len()
}
