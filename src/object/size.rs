//! How large objects are.

use super::handle::Gc;
use super::header::{HEADER_BYTES, Raw};
use super::tail::length;
use super::type_info::TypeInfo;
use std::collections::HashSet;

fn type_of(object: Raw) -> &'static TypeInfo {
    let info = object.pool().info.get();
    info.expect("a pool with objects has a type")
}

/// Bytes of an object: header, value, and what the value owns outside.
fn size_of_object(object: Raw) -> usize {
    let info = type_of(object);
    let items = match info.item_bytes {
        0 => 0,
        bytes => size_of::<usize>() + length(object.value()) * bytes,
    };
    // SAFETY: a live object of this type is whole.
    let owned = unsafe { (info.owned_bytes)(object) };
    HEADER_BYTES + info.fixed_bytes + items + owned
}

impl<T: ?Sized> Gc<T> {
    /// Bytes of this object alone: its header, its value, and buffers the value owns, but not the objects it
    /// refers to (what CPython's `sys.getsizeof` counts).
    ///
    /// ```
    /// use pymalloc::object::Gc;
    /// assert_eq!(Gc::size_of(&Gc::new(1u64)), 16);
    /// assert_eq!(Gc::size_of(&Gc::new(Vec::<u64>::with_capacity(10))), 8 + 24 + 80);
    /// ```
    pub fn size_of(this: &Self) -> usize {
        size_of_object(this.raw())
    }

    /// Bytes of this object and of everything it refers to, directly or not, each once.
    pub fn deep_size_of(this: &Self) -> usize {
        let mut seen = HashSet::from([this.raw().addr()]);
        let mut left = vec![this.raw()];
        let mut bytes = 0;
        while let Some(object) = left.pop() {
            bytes += size_of_object(object);
            let mut visit = |target: Raw| {
                if seen.insert(target.addr()) {
                    left.push(target);
                }
            };
            // SAFETY: what a live object refers to is whole.
            unsafe { (type_of(object).visit)(object, &mut visit) };
        }
        bytes
    }
}
