//! What the interpreter needs of a memory manager, on counted handles with a cyclic collector.
//!
//! `benches/src/bin/scheme` gives the same interpreter other ones.

/// A shared reference.
pub type Ref<T> = pymalloc::object::Gc<T>;
/// A shared reference to what refers to no object that could refer back.
pub type Leaf<T> = std::rc::Rc<T>;

/// An object.
pub fn new<T: pymalloc::object::Trace>(value: T) -> Ref<T> {
    Ref::new(value)
}

/// Whether both are one object.
pub fn same<T>(a: &Ref<T>, b: &Ref<T>) -> bool {
    Ref::is(a, b)
}

/// A type of objects, and the list of its fields for the collector.
macro_rules! traced {
    ($item:item $($list:tt)*) => {
        $item
        pymalloc::impl_trace!($($list)*);
    };
}
