//! [`Trace`]: how the collector learns which handles a value owns; and [`impl_trace!`], which writes it.

use super::handle::Gc;
use super::header::Raw;

/// Whoever goes through the handles of an object.
pub trait Visitor {
    /// One handle to `object`.
    fn edge(&mut self, object: Raw);

    /// What comes until [`Visitor::leave`] is called lies in the field `name`. Says nothing to the collector.
    #[inline(always)]
    fn enter(&mut self, _name: &'static str) {}

    /// The field entered last ends.
    #[inline(always)]
    fn leave(&mut self) {}
}

/// A type that may be the value of an object, or part of one.
///
/// [`impl_trace!`](crate::impl_trace) writes it. By hand it is unsafe, because a handle reported twice, or
/// not owned, makes the collector free what is still used.
///
/// # Safety
/// 1. `trace` reports only handles the value owns, each at most once, by calling `trace` on fields. It
///    touches no count, allocates no object and runs no user code. Reporting too few only leaks.
/// 2. `CYCLIC` is false only if `trace` never reports anything.
/// 3. Dropping the value does not look at what its reported handles refer to, directly or through a `Drop`
///    of any part: in a set that is torn down those values may be dropped already.
/// 4. `DROPS_HANDLES_ONLY` is true only if not dropping the value, but releasing each handle that `trace`
///    reports, has the same effect.
pub unsafe trait Trace: Sized + 'static {
    /// Whether a value can own handles. Objects of a type that cannot are never tracked.
    const CYCLIC: bool;

    /// Whether dropping a value does nothing but release its handles: such objects die in bulk.
    const DROPS_HANDLES_ONLY: bool;

    /// What runs once, before an object of this type is torn down; see [`Finalize`].
    const FINALIZER: Option<fn(&Gc<Self>)> = None;

    /// Whether the collector must leave objects of this type, and what they reach, in
    /// [`gc::garbage`](crate::gc::garbage) (CPython: types with the old `tp_del`).
    const UNCOLLECTABLE: bool = false;

    /// How many dead objects are kept for reuse without counting as deallocated and allocated (CPython's
    /// per-type free lists). A full collection forgets them.
    const FREE_LIST: u32 = 0;

    /// Calls `visitor` for each handle the value owns, through the fields' own `trace`.
    fn trace<V: Visitor>(&self, visitor: &mut V);

    /// Bytes the value owns outside itself, such as a vector's buffer.
    fn owned_bytes(&self) -> usize {
        0
    }
}

/// What an object does before it dies: CPython's `__del__`, with its rules (PEP 442).
///
/// It runs at most once per object, on an object that is whole, with everything it refers to whole, too. It
/// may keep the object alive by storing a clone of the handle. A panic in it is reported and ignored.
///
/// ```
/// use pymalloc::{impl_trace, object::{Finalize, Gc}};
/// struct File { name: String }
/// impl_trace!(struct File { name }: finalize);
/// impl Finalize for File {
///     fn finalize(this: &Gc<Self>) {
///         println!("closing {}", this.name);
///     }
/// }
/// drop(Gc::new(File { name: "a".into() })); // prints
/// ```
pub trait Finalize: Sized {
    /// Called with the object that is about to die.
    fn finalize(this: &Gc<Self>);
}

/// A traced type whose own `Drop` keeps to the rules of [`Trace`].
///
/// `impl_trace!(struct Name { … }: trusted_drop)` accepts a type with `Drop` if it implements this.
///
/// # Safety
/// 1. `drop` does not use what the value's handles refer to: it may compare, move and drop handles only.
pub unsafe trait TrustedDrop {}

/// Whether type F, which `field` finds in S, can own handles. Called by [`impl_trace!`](crate::impl_trace).
#[doc(hidden)]
pub const fn field_is_cyclic<S, F: Trace>(_field: fn(&S) -> &F) -> bool {
    F::CYCLIC
}

/// Whether dropping F does nothing but release handles. Called by [`impl_trace!`](crate::impl_trace).
#[doc(hidden)]
pub const fn field_drops_handles_only<S, F: Trace>(_field: fn(&S) -> &F) -> bool {
    F::DROPS_HANDLES_ONLY
}

/// Compiles only for types with a trusted drop. Called by [`impl_trace!`](crate::impl_trace).
#[doc(hidden)]
#[inline]
pub const fn require_trusted_drop<T: TrustedDrop>() {}

/// Writes [`Trace`] for a type from its fields.
///
/// ```
/// use pymalloc::{impl_trace, object::{Gc, Slot, Weak}};
/// use std::cell::RefCell;
///
/// struct Node { name: String, next: Slot<Node>, others: RefCell<Vec<Gc<Node>>>, up: RefCell<Weak<Node>> }
/// impl_trace!(struct Node { name, next, others, up });
///
/// struct Pair<A, B>(A, B);
/// impl_trace!(struct Pair<A, B>(a, b));
///
/// enum Tree { Leaf, Named(String), Fork { left: Gc<Tree>, right: Gc<Tree> } }
/// impl_trace!(enum Tree { Leaf, Named(name), Fork { left, right } });
///
/// struct Point { x: f32, y: f32 }
/// impl_trace!(leaf Point); // no handles in it
/// # let _ = (Pair(1, 2).0, Tree::Named(String::new()), Point { x: 0.0, y: 0.0 }.x, Tree::Leaf);
/// # let _ = |p: Point| p.y;
/// ```
///
/// After the fields may stand options: `: finalize` (the type implements [`Finalize`]), `: trusted_drop` (it
/// implements [`TrustedDrop`]), `: recursive` (it contains itself through a `Box` or `Vec`, so that the
/// compiler cannot work out from the fields whether it has handles: it is taken to have some).
///
/// A forgotten field does not compile:
///
/// ```compile_fail,E0027
/// use pymalloc::{impl_trace, object::Gc};
/// struct Node { name: String, next: Option<Gc<Node>> }
/// impl_trace!(struct Node { name });
/// ```
///
/// nor does a forgotten variant,
///
/// ```compile_fail,E0004
/// use pymalloc::{impl_trace, object::Gc};
/// enum Tree { Leaf, Fork(Gc<Tree>, Gc<Tree>) }
/// impl_trace!(enum Tree { Leaf });
/// ```
///
/// nor a field whose type cannot be traced,
///
/// ```compile_fail,E0277
/// use pymalloc::impl_trace;
/// struct Opaque;
/// struct Node { opaque: Opaque }
/// impl_trace!(struct Node { opaque });
/// ```
///
/// nor a `Drop` of the type's own, which could look at a sibling that is dead already (use [`Finalize`]):
///
/// ```compile_fail,E0119
/// use pymalloc::{impl_trace, object::Gc};
/// struct Node { next: Option<Gc<Node>> }
/// impl_trace!(struct Node { next });
/// impl Drop for Node {
///     fn drop(&mut self) {}
/// }
/// ```
///
/// [`Finalize`]: crate::object::Finalize
/// [`TrustedDrop`]: crate::object::TrustedDrop
/// [`Trace`]: crate::object::Trace
#[macro_export]
macro_rules! impl_trace {
    (leaf $type:ty) => {
        // SAFETY: reports nothing; what it owns unreported counts as used from outside.
        unsafe impl $crate::object::Trace for $type {
            const CYCLIC: bool = false;
            const DROPS_HANDLES_ONLY: bool = !::core::mem::needs_drop::<$type>();
            #[inline]
            fn trace<V: $crate::object::Visitor>(&self, _: &mut V) {}
        }
    };
    (struct $name:ident $(<$($param:ident),*>)? { $($field:ident),* $(,)? } $(: $($option:ident),+)?) => {
        $crate::impl_trace!(@impl $name [$($($param)*)?] [$($($option)+)?] { (Self { $($field),* }) $($field)*; });
    };
    (struct $name:ident $(<$($param:ident),*>)? ( $($field:ident),* $(,)? ) $(: $($option:ident),+)?) => {
        $crate::impl_trace!(@impl $name [$($($param)*)?] [$($($option)+)?] { (Self($($field),*)) $($field)*; });
    };
    (enum $name:ident $(<$($param:ident),*>)? {
        $($variant:ident $(($($item:ident),* $(,)?))? $({$($field:ident),* $(,)?})?),* $(,)?
    } $(: $($option:ident),+)?) => {
        $crate::impl_trace!(@impl $name [$($($param)*)?] [$($($option)+)?] {
            $((Self::$variant $(($($item),*))? $({$($field),*})?) $($($item)*)? $($($field)*)?;)*
        });
    };
    (@impl $name:ident [$($param:ident)*] [$($option:ident)*] { $($pattern:tt $($field:ident)*;)* }) => {
        #[allow(unused_variables, unused_parens, unreachable_patterns)]
        // SAFETY: each field is reported by its own type, once; the constants are those of the fields; no
        // `Drop` of its own (checked below), or a trusted one.
        unsafe impl<$($param: $crate::object::Trace),*> $crate::object::Trace for $name<$($param),*> {
            const CYCLIC: bool = $crate::impl_trace!(@cyclic [$($option)*]
                $($($crate::object::field_is_cyclic(|this: &Self| match this {
                    $pattern => $field,
                    _ => ::core::unreachable!(),
                }) ||)*)* false);
            const DROPS_HANDLES_ONLY: bool = $crate::impl_trace!(@drops [$($option)*]
                $($($crate::object::field_drops_handles_only(|this: &Self| match this {
                    $pattern => $field,
                    _ => ::core::unreachable!(),
                }) &&)*)* true);
            const FINALIZER: ::core::option::Option<fn(&$crate::object::Gc<Self>)> =
                $crate::impl_trace!(@finalizer $($option)*);
            #[inline]
            fn trace<V: $crate::object::Visitor>(&self, visitor: &mut V) {
                $crate::impl_trace!(@require $($option)*);
                match self {
                    $($pattern => { $(
                        $crate::object::Visitor::enter(visitor, ::core::stringify!($field));
                        $crate::object::Trace::trace($field, visitor);
                        $crate::object::Visitor::leave(visitor);
                    )* })*
                }
            }
            fn owned_bytes(&self) -> usize {
                match self {
                    $($pattern => 0 $(+ $crate::object::Trace::owned_bytes($field))*,)*
                }
            }
        }
        $crate::impl_trace!(@no_drop [$($option)*] $name [$($param)*]);
    };
    (@cyclic [recursive $($rest:ident)*] $($value:tt)*) => { true };
    (@cyclic [$first:ident $($rest:ident)*] $($value:tt)*) => { $crate::impl_trace!(@cyclic [$($rest)*] $($value)*) };
    (@cyclic [] $($value:tt)*) => { $($value)* };
    (@drops [recursive $($rest:ident)*] $($value:tt)*) => { false };
    (@drops [trusted_drop $($rest:ident)*] $($value:tt)*) => { false };
    (@drops [$first:ident $($rest:ident)*] $($value:tt)*) => { $crate::impl_trace!(@drops [$($rest)*] $($value)*) };
    (@drops [] $($value:tt)*) => { $($value)* };
    (@finalizer finalize $($rest:ident)*) => {
        ::core::option::Option::Some(<Self as $crate::object::Finalize>::finalize)
    };
    (@finalizer $first:ident $($rest:ident)*) => { $crate::impl_trace!(@finalizer $($rest)*) };
    (@finalizer) => { ::core::option::Option::None };
    (@require trusted_drop $($rest:ident)*) => { $crate::object::require_trusted_drop::<Self>() };
    (@require $first:ident $($rest:ident)*) => { $crate::impl_trace!(@require $($rest)*) };
    (@require) => {};
    (@no_drop [trusted_drop $($rest:ident)*] $($type:tt)*) => {};
    (@no_drop [$first:ident $($rest:ident)*] $($type:tt)*) => { $crate::impl_trace!(@no_drop [$($rest)*] $($type)*); };
    (@no_drop [] $name:ident [$($param:ident)*]) => {
        const _: () = {
            // Two implementations for one type, if it has a `Drop`.
            #[allow(dead_code)]
            trait HasNoDropOfItsOwn {}
            #[allow(drop_bounds)]
            impl<Any: ::core::ops::Drop + ?Sized> HasNoDropOfItsOwn for Any {}
            impl<$($param: $crate::object::Trace),*> HasNoDropOfItsOwn for $name<$($param),*> {}
        };
    };
}
