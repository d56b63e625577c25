//! [`Gc`]: a counted handle to an object that the collector knows.

use super::header::{HEADER_BYTES, IMMORTAL, Raw, flags};
use super::heap::{Heap, take_slow};
use super::passes::decrement;
use super::trace::{Trace, Visitor};
use super::tracking::Generation;
use super::type_info::{Fixed, Kind, TAIL_PREFIX, TypeInfo, slot_class};
use super::weak::Weak;
use crate::obmalloc::size_class::SizeClass;
use core::any::TypeId;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

/// A shared handle to a value in an object heap: one word, counted like `Rc`, and freed with its cycle when
/// only the cycle still refers to it.
///
/// ```
/// use pymalloc::{gc, impl_trace, object::{Gc, Slot}};
/// struct Node { number: u32, next: Slot<Node> }
/// impl_trace!(struct Node { number, next });
///
/// let a = Gc::new(Node { number: 1, next: Slot::empty() });
/// let b = Gc::new(Node { number: 2, next: Slot::new(a.clone()) });
/// a.next.set(Some(b.clone())); // a cycle
/// assert_eq!(a.next.get().map(|next| next.number), Some(2));
/// drop((a, b));
/// assert_eq!(gc::collect(), 2); // both were unreachable
/// ```
///
/// A handle belongs to its thread:
///
/// ```compile_fail,E0277
/// let handle = pymalloc::object::Gc::new(1);
/// std::thread::spawn(move || drop(handle));
/// ```
///
/// and its value cannot borrow anything, because it may live until the thread ends:
///
/// ```compile_fail
/// let local = String::from("a");
/// let handle = pymalloc::object::Gc::new(&local);
/// ```
///
/// Handles compare, hash and print like their values; [`Gc::is`] compares identities.
#[repr(transparent)]
pub struct Gc<T: ?Sized> {
    value: NonNull<T>,
    owns: PhantomData<T>,
}

/// The value of a handle whose type is not known: see [`Gc::erase`].
#[derive(Debug)]
pub struct Erased(());

/// An object cannot be made: the system has no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for an object")
    }
}

impl core::error::Error for OutOfMemory {}

impl Heap {
    /// Counts an allocation of a tracked type, and lets the collector know when there were many. Called with
    /// no slot taken, so a collection may run in it.
    #[inline(always)]
    pub(crate) fn count_allocation(&self) {
        // 2³² allocations without a collection begin anew.
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        if count > self.limit.get() {
            over_limit(self);
        }
    }

    /// As [`Self::count_allocation`], unless an object of the type's free list is used again.
    #[inline(always)]
    pub(crate) fn count_for(&self, info: &'static TypeInfo, class: Option<SizeClass>) {
        if info.cyclic && !(info.free_list > 0 && self.reuse(info, class)) {
            self.count_allocation();
        }
    }

    /// [`Self::prepare`] where it is a matter of a few instructions; `None`, and nothing done, where not.
    #[inline(always)]
    pub(crate) fn prepare_fast<T: Trace>(&self) -> Option<Unfilled<T>> {
        const {
            assert!(
                align_of::<T>() <= TAIL_PREFIX,
                "values aligned above 16 bytes go in a Box"
            );
        }
        if T::FREE_LIST > 0 {
            return None;
        }
        let class = const { slot_class(size_of::<T>(), false) }?;
        let object = self.take_counted(Fixed::<T>::INFO, class)?;
        Some(Unfilled(object, PhantomData))
    }

    /// Counts and takes a slot for a T; `None` when memory is out.
    ///
    /// Nothing here unwinds, so the value that is to go there need not lie in memory meanwhile.
    #[inline(always)]
    pub(crate) fn prepare<T: Trace>(&self) -> Option<Unfilled<T>> {
        self.prepare_fast().or_else(|| {
            let class = const { fixed_class::<T>() };
            let object = prepare_slow(self, Fixed::<T>::INFO, class, size_of::<T>())?;
            Some(Unfilled(object, PhantomData))
        })
    }

    /// Makes an object of `value`; gives the value back when memory is out.
    pub(crate) fn create<T: Trace>(&self, value: T) -> Result<Gc<T>, T> {
        match self.prepare::<T>() {
            Some(slot) => Ok(slot.fill(value)),
            None => Err(value),
        }
    }

    /// Makes an object of what `build` returns, which gets a weak reference to it.
    pub(crate) fn create_cyclic<T: Trace>(
        &self,
        build: impl FnOnce(&Weak<T>) -> T,
    ) -> Result<Gc<T>, OutOfMemory> {
        let Unfilled(object, _) = self.prepare::<T>().ok_or(OutOfMemory)?;
        object.set_count(0);
        object.enter(false);
        let unborn = Unborn(object);
        let value = build(&Weak::to_unborn(object));
        core::mem::forget(unborn);
        let place = object.value().cast::<T>();
        // SAFETY: a slot for T that only weak references know, and those see that the count is 0.
        unsafe { place.write(value) };
        object.set_count(1);
        if T::CYCLIC {
            object.track();
        }
        // SAFETY: the one count.
        Ok(unsafe { Gc::from_value(place) })
    }
}

/// The index of the class of a T's slots; [`SizeClass::COUNT`] for an arena of its own.
pub(crate) const fn fixed_class<T>() -> usize {
    match slot_class(size_of::<T>(), false) {
        Some(class) => class.index(),
        None => SizeClass::COUNT,
    }
}

/// The cold continuation of [`Heap::prepare_fast`], for `bytes` of value. Does not unwind.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn prepare_slow(
    heap: &Heap,
    info: &'static TypeInfo,
    class: usize,
    bytes: usize,
) -> Option<Raw> {
    heap.count_for(
        info,
        (class < SizeClass::COUNT).then(|| SizeClass::new(class)),
    );
    take_slow(heap, info, class, bytes)
}

/// The allocations exceed the limit. Does not unwind: what user code panics with goes to the hook.
#[cold]
#[inline(never)]
extern "C" fn over_limit(heap: &Heap) {
    (heap.on_limit.get())(heap);
}

/// A slot taken for a T, to be filled at once.
pub(crate) struct Unfilled<T>(pub(crate) Raw, pub(crate) PhantomData<T>);

impl<T: Trace> Unfilled<T> {
    /// The object with its value.
    #[inline(always)]
    pub(crate) fn fill(self, value: T) -> Gc<T> {
        self.0.enter(T::CYCLIC);
        let place = self.0.value().cast::<T>();
        // SAFETY: a slot for T, taken just now with one handle in its header.
        unsafe {
            place.write(value);
            Gc::from_value(place)
        }
    }
}

/// A slot whose value is being made: freed if making it panics.
struct Unborn(Raw);

impl Drop for Unborn {
    fn drop(&mut self) {
        super::weak::clear_silently(self.0);
        // SAFETY: no handle was made, and no weak reference is left.
        unsafe { super::release::free_slot(self.0) };
    }
}

impl<T: ?Sized> Gc<T> {
    /// The handle that one count of the object at `value` stands for.
    ///
    /// # Safety
    /// 1. `value` is the value of a live object, with rights to its arena; the count includes this handle.
    #[inline(always)]
    pub(crate) const unsafe fn from_value(value: NonNull<T>) -> Self {
        let owns = PhantomData;
        Self { value, owns }
    }

    /// The object itself.
    #[inline(always)]
    pub(crate) fn raw(&self) -> Raw {
        // SAFETY: a handle keeps its object's slot taken.
        unsafe { Raw::new(self.value.cast()) }
    }

    /// Where the value is.
    pub(crate) fn pointer(&self) -> NonNull<T> {
        self.value
    }

    /// Gives the handle's count to the caller.
    pub(crate) fn into_value(self) -> NonNull<T> {
        ManuallyDrop::new(self).value
    }

    /// CPython's `id`: the address of the object's header, which no other object has while this one lives.
    pub fn id(this: &Self) -> usize {
        this.raw().addr() - HEADER_BYTES
    }

    /// CPython's `is`: whether both are handles to one object.
    pub fn is<U: ?Sized>(this: &Self, other: &Gc<U>) -> bool {
        this.raw() == other.raw()
    }

    /// Handles there are to the object, this one included; the immortal constant for an immortal object.
    pub fn strong_count(this: &Self) -> usize {
        this.raw().count() as usize
    }

    /// CPython's `sys.getrefcount`: one more than [`Gc::strong_count`], for the argument, which Python counts
    /// and Rust borrows. For an immortal object the constant itself (CPython 3.14).
    pub fn getrefcount(this: &Self) -> usize {
        let count = this.raw().count() as usize;
        count + usize::from(!this.raw().is_immortal())
    }

    /// Makes the object immortal: it is never counted again and never dies, like CPython's `None`.
    pub fn make_immortal(this: &Self) {
        this.raw().set_count(IMMORTAL);
    }

    /// Whether the object is immortal.
    pub fn is_immortal(this: &Self) -> bool {
        this.raw().is_immortal()
    }

    /// CPython's `gc.is_tracked`: whether collections look at the object.
    pub fn is_tracked(this: &Self) -> bool {
        this.raw().generation().is_some()
    }

    /// CPython's `gc.is_finalized`: whether its finalizer ran.
    pub fn is_finalized(this: &Self) -> bool {
        this.raw().has(flags::FINALIZED)
    }

    /// The generation the object is in; `None` when it is not tracked.
    pub fn generation(this: &Self) -> Option<Generation> {
        this.raw().generation()
    }

    /// Takes the object out of its generation: collections do not look at it any more, and what it refers to
    /// counts as used (CPython: `PyObject_GC_UnTrack`, and tuples of atoms).
    pub fn untrack(this: &Self) {
        if this
            .raw()
            .generation()
            .is_some_and(|at| at != Generation::Dead)
        {
            this.raw().untrack();
        }
    }

    /// Puts the object into generation 0, if its type has handles and it is in none.
    pub fn track(this: &Self) {
        if this.info().cyclic && this.raw().generation().is_none() {
            this.raw().track();
            let object = this.raw();
            object.arena().header().card.set(true);
        }
    }

    /// What the heap knows of the object's type.
    pub(crate) fn info(&self) -> &'static TypeInfo {
        let info = self.raw().pool().info.get();
        info.expect("a pool with objects has a type")
    }

    /// The name of the type the object was made with.
    pub fn type_name(this: &Self) -> &'static str {
        (this.info().name)()
    }

    /// The handle without its type, for lists of any objects.
    pub fn erase(this: Self) -> Gc<Erased> {
        // SAFETY: the same object and count. `Erased` has no bytes, so any value is one.
        unsafe { Gc::from_value(this.into_value().cast()) }
    }

    /// The handle without its type, counted anew.
    pub fn erased(this: &Self) -> Gc<Erased> {
        Gc::erase(this.clone())
    }

    /// The same handle, seen as another type: a trait object, or a slice of an array.
    ///
    /// ```
    /// use pymalloc::object::Gc;
    /// let number = Gc::new(5u32);
    /// let shown: Gc<dyn std::fmt::Display> = Gc::unsize(number, |number| number);
    /// assert_eq!(shown.to_string(), "5");
    /// ```
    ///
    /// # Panics
    /// When `view` returns something that does not begin where the value does.
    pub fn unsize<U: ?Sized + 'static>(this: Self, view: for<'a> fn(&'a T) -> &'a U) -> Gc<U> {
        let seen: *const U = view(&this);
        assert!(
            core::ptr::addr_eq(seen, this.value.as_ptr()),
            "a handle refers to a whole object"
        );
        let metadata_of = seen.cast_mut();
        // The address stays the handle's own, with its rights; the rest is what `view` returned.
        let whole = with_address_of(metadata_of, this.into_value().cast());
        // SAFETY: the same object and count. What `view` returned is valid as long as the value it was given,
        // whose lifetime it could not know, and so as long as the object.
        unsafe { Gc::from_value(whole) }
    }
}

/// `wide` with the data pointer `thin`, which has the same address.
fn with_address_of<U: ?Sized>(mut wide: *mut U, thin: NonNull<u8>) -> NonNull<U> {
    // SAFETY: a pointer to any type begins with its data pointer, which is written with the same address. The
    // result is not null, for `thin` is not.
    unsafe {
        (&raw mut wide).cast::<*mut u8>().write(thin.as_ptr());
        NonNull::new_unchecked(wide)
    }
}

impl<T: Trace> Gc<T> {
    /// Moves the value out, if this is the only handle; weak references die without calling back.
    ///
    /// # Errors
    /// The handle itself, if there are others.
    pub fn try_unwrap(this: Self) -> Result<T, Self> {
        let object = this.raw();
        if object.count() != 1 {
            return Err(this);
        }
        super::weak::clear_silently(object);
        let place = this.into_value();
        // SAFETY: the only handle is gone, so the value is ours, and moved out once; then the slot is freed
        // without it.
        unsafe {
            let value = place.read();
            object.set_count(0);
            super::release::free_slot(object);
            Ok(value)
        }
    }
}

impl Gc<Erased> {
    /// The handle with its type back.
    ///
    /// # Errors
    /// The handle itself, if the object was made as another type.
    pub fn downcast<T: Trace>(self) -> Result<Gc<T>, Self> {
        if (self.info().type_id)() != TypeId::of::<T>() {
            return Err(self);
        }
        // SAFETY: the object was made as a T; the same count.
        Ok(unsafe { Gc::from_value(self.into_value().cast()) })
    }

    /// The value, if the object was made as a T.
    pub fn downcast_ref<T: Trace>(&self) -> Option<&T> {
        // SAFETY: the object was made as a T, and lives as long as this handle.
        ((self.info().type_id)() == TypeId::of::<T>())
            .then(|| unsafe { self.raw().value().cast::<T>().as_ref() })
    }
}

impl<T: ?Sized> Deref for Gc<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a handle keeps its object alive. The only handles to a value already dropped are inside a
        // set that is torn down, and nobody reaches those: no traced type has a `Drop` that could look, and
        // everything else that had one was counted as a reference from outside.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Clone for Gc<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        self.raw().increment();
        // SAFETY: counted just now.
        unsafe { Self::from_value(self.value) }
    }
}

impl<T: ?Sized> Drop for Gc<T> {
    #[inline(always)]
    fn drop(&mut self) {
        decrement(self.raw());
    }
}

// SAFETY: one handle, reported once; dropping it releases it and nothing else.
unsafe impl<T: ?Sized + 'static> Trace for Gc<T> {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = true;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        visitor.edge(self.raw());
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized> fmt::Pointer for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.value, f)
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Gc<T> {
    fn eq(&self, other: &Self) -> bool {
        T::eq(self, other)
    }
}

impl<T: ?Sized + Eq> Eq for Gc<T> {}

impl<T: ?Sized + PartialOrd> PartialOrd for Gc<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        T::partial_cmp(self, other)
    }
}

impl<T: ?Sized + Ord> Ord for Gc<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        T::cmp(self, other)
    }
}

impl<T: ?Sized + Hash> Hash for Gc<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        T::hash(self, state);
    }
}
