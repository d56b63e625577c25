//! [`Trace`] for what the standard library has: cells, containers, and leaves.

use super::trace::{Trace, Visitor};
use core::cell::{Cell, OnceCell, RefCell};
use core::hash::Hash;
use core::marker::PhantomData;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};

macro_rules! leaves {
    ($($type:ty),* $(,)?) => { $(crate::impl_trace!(leaf $type);)* };
}

leaves!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    Box<str>,
    &'static str,
    std::ffi::CString,
    std::ffi::OsString,
    std::path::PathBuf,
    std::time::Duration,
    std::time::Instant,
    std::time::SystemTime,
    std::any::TypeId,
    core::num::NonZeroU32,
    core::num::NonZeroU64,
    core::num::NonZeroUsize,
);

// SAFETY: a leaf.
unsafe impl Trace for String {
    const CYCLIC: bool = false;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, _: &mut V) {}

    fn owned_bytes(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: shared with whoever else has a clone, so nothing in it is owned; what it refers to counts as used.
unsafe impl<T: ?Sized + 'static> Trace for std::rc::Rc<T> {
    const CYCLIC: bool = false;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, _: &mut V) {}
}

// SAFETY: as for `Rc`; what it refers to may be shared with other threads.
unsafe impl<T: ?Sized + 'static> Trace for crate::sync::Arc<T> {
    const CYCLIC: bool = false;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, _: &mut V) {}
}

// SAFETY: owns nothing.
unsafe impl<T: ?Sized + 'static> Trace for PhantomData<T> {
    const CYCLIC: bool = false;
    const DROPS_HANDLES_ONLY: bool = true;

    fn trace<V: Visitor>(&self, _: &mut V) {}
}

// SAFETY: the value, if there is one.
unsafe impl<T: Trace> Trace for Option<T> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if let Some(value) = self {
            value.trace(visitor);
        }
    }

    fn owned_bytes(&self) -> usize {
        self.as_ref().map_or(0, Trace::owned_bytes)
    }
}

// SAFETY: whichever value there is.
unsafe impl<T: Trace, E: Trace> Trace for Result<T, E> {
    const CYCLIC: bool = T::CYCLIC || E::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY && E::DROPS_HANDLES_ONLY;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        match self {
            Ok(value) => value.trace(visitor),
            Err(error) => error.trace(visitor),
        }
    }
}

// SAFETY: the contents. Tracing runs no user code, so nobody changes the cell meanwhile.
unsafe impl<T: Trace> Trace for Cell<T> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        // SAFETY: as above: the reference ends before anything else runs.
        unsafe { &*self.as_ptr() }.trace(visitor);
    }
}

// SAFETY: the contents; none while they are borrowed mutably, which reports too few and so only leaks.
unsafe impl<T: Trace> Trace for RefCell<T> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY;

    #[inline]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if let Ok(value) = self.try_borrow() {
            value.trace(visitor);
        }
    }

    fn owned_bytes(&self) -> usize {
        self.try_borrow().map_or(0, |value| value.owned_bytes())
    }
}

// SAFETY: the contents, if there are any.
unsafe impl<T: Trace> Trace for OnceCell<T> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if let Some(value) = self.get() {
            value.trace(visitor);
        }
    }
}

// SAFETY: the one value it owns.
unsafe impl<T: Trace> Trace for Box<T> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        (**self).trace(visitor);
    }

    fn owned_bytes(&self) -> usize {
        size_of::<T>() + (**self).owned_bytes()
    }
}

/// Traces each item, if items can have handles at all.
#[inline]
fn trace_all<'a, T: Trace, V: Visitor>(items: impl IntoIterator<Item = &'a T>, visitor: &mut V) {
    if T::CYCLIC {
        items.into_iter().for_each(|item| item.trace(visitor));
    }
}

fn owned_by_all<'a, T: Trace>(items: impl IntoIterator<Item = &'a T>) -> usize {
    items.into_iter().map(Trace::owned_bytes).sum()
}

macro_rules! sequences {
    ($($(#[$bound:ident])? $type:ident $bytes:expr;)*) => { $(
        // SAFETY: each item it owns, once.
        unsafe impl<T: Trace $(+ $bound)?> Trace for $type<T> {
            const CYCLIC: bool = T::CYCLIC;
            const DROPS_HANDLES_ONLY: bool = false;

            #[inline]
            fn trace<V: Visitor>(&self, visitor: &mut V) {
                trace_all(self.iter(), visitor);
            }

            fn owned_bytes(&self) -> usize {
                let bytes: fn(&Self) -> usize = $bytes;
                bytes(self) + owned_by_all(self.iter())
            }
        }
    )* };
}

sequences! {
    Vec |items| items.capacity() * size_of::<T>();
    VecDeque |items| items.capacity() * size_of::<T>();
    BTreeSet |items| items.len() * size_of::<T>();
    BinaryHeap |items| items.capacity() * size_of::<T>();
}

// SAFETY: each item it owns, once.
unsafe impl<T: Trace> Trace for Box<[T]> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        trace_all(self.iter(), visitor);
    }

    fn owned_bytes(&self) -> usize {
        size_of_val(&**self) + owned_by_all(self.iter())
    }
}

// SAFETY: each item, once.
unsafe impl<T: Trace, const N: usize> Trace for [T; N] {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = T::DROPS_HANDLES_ONLY;

    #[inline]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        trace_all(self.iter(), visitor);
    }

    fn owned_bytes(&self) -> usize {
        owned_by_all(self.iter())
    }
}

// SAFETY: each item it owns, once.
unsafe impl<T: Trace + Eq + Hash, S: 'static> Trace for HashSet<T, S> {
    const CYCLIC: bool = T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        trace_all(self.iter(), visitor);
    }

    fn owned_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + owned_by_all(self.iter())
    }
}

// SAFETY: each key and value it owns, once.
unsafe impl<K: Trace, T: Trace, S: 'static> Trace for HashMap<K, T, S> {
    const CYCLIC: bool = K::CYCLIC || T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        trace_all(self.keys(), visitor);
        trace_all(self.values(), visitor);
    }

    fn owned_bytes(&self) -> usize {
        let table = self.capacity() * size_of::<(K, T)>();
        table + owned_by_all(self.keys()) + owned_by_all(self.values())
    }
}

// SAFETY: each key and value it owns, once.
unsafe impl<K: Trace, T: Trace> Trace for BTreeMap<K, T> {
    const CYCLIC: bool = K::CYCLIC || T::CYCLIC;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        trace_all(self.keys(), visitor);
        trace_all(self.values(), visitor);
    }

    fn owned_bytes(&self) -> usize {
        let table = self.len() * size_of::<(K, T)>();
        table + owned_by_all(self.keys()) + owned_by_all(self.values())
    }
}

macro_rules! tuples {
    ($(($($param:ident)+))*) => { $(
        // SAFETY: each field, once.
        unsafe impl<$($param: Trace),+> Trace for ($($param,)+) {
            const CYCLIC: bool = $($param::CYCLIC)||+;
            const DROPS_HANDLES_ONLY: bool = $($param::DROPS_HANDLES_ONLY)&&+;

            #[inline]
            #[allow(non_snake_case)]
            fn trace<Vis: Visitor>(&self, visitor: &mut Vis) {
                let ($($param,)+) = self;
                $($param.trace(visitor);)+
            }

            #[allow(non_snake_case)]
            fn owned_bytes(&self) -> usize {
                let ($($param,)+) = self;
                0 $(+ $param.owned_bytes())+
            }
        }
    )* };
}

tuples!((A)(A B)(A B C)(A B C D)(A B C D E)(A B C D E F)(A B C D E F G)(A B C D E F G H));
