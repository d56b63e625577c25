//! [`Value`]: a reference to an object of any kind, and what Python can ask of every object.
//!
//! ```text
//! Value  | kind (8) | handle (8) |──► object
//! ```
//!
//! A Python reference is one word; here the kind stands beside the handle, so that asking for it touches no
//! object. What `getsizeof` says is CPython's number all the same.

use super::atoms::{Bool, Bytes, Float, HEADER_BYTES, Int, NoneType, REFERENCE_BYTES, Str};
use super::dict::Dict;
use super::error::KindError;
use super::hash::hash_at;
use super::instance::Instance;
use super::integer::Integer;
use super::list::List;
use super::set::Set;
use super::tuple::{self, Tuple};
use crate::object::{Erased, Gc, Trace, Visitor};

/// Levels of nesting that comparing, hashing and printing go down (CPython's recursion limit is 1000).
pub const DEEPEST: usize = 500;

/// A reference to an object of one of Python's built-in kinds. Cloning it makes one more reference.
///
/// ```
/// use pymalloc::python::Python;
/// let python = Python::new();
/// let a = python.list(vec![python.int(1), python.str("two")]);
/// let b = a.clone();
/// assert!(a.is(&b));
/// assert_eq!((a.getrefcount(), a.getsizeof()), (3, 72)); // as sys.getrefcount, with its argument
/// assert_eq!(a.to_string(), "[1, 'two']");
/// ```
#[derive(Clone)]
pub enum Value {
    /// `None`.
    None(Gc<NoneType>),
    /// `True` or `False`.
    Bool(Gc<Bool>),
    /// A whole number.
    Int(Gc<Int>),
    /// A floating point number.
    Float(Gc<Float>),
    /// A text.
    Str(Gc<Str>),
    /// A row of bytes.
    Bytes(Gc<Bytes>),
    /// A tuple.
    Tuple(Gc<Tuple>),
    /// A list.
    List(Gc<List>),
    /// A dictionary.
    Dict(Gc<Dict>),
    /// A set.
    Set(Gc<Set>),
    /// An instance of a class.
    Instance(Gc<Instance>),
}
/// Does the same with the handle, whatever its kind.
macro_rules! with_handle {
    ($value:expr, $handle:ident => $result:expr) => {
        match $value {
            Value::None($handle) => $result,
            Value::Bool($handle) => $result,
            Value::Int($handle) => $result,
            Value::Float($handle) => $result,
            Value::Str($handle) => $result,
            Value::Bytes($handle) => $result,
            Value::Tuple($handle) => $result,
            Value::List($handle) => $result,
            Value::Dict($handle) => $result,
            Value::Set($handle) => $result,
            Value::Instance($handle) => $result,
        }
    };
}

// SAFETY: the one handle there is; dropping a value releases it and nothing else.
unsafe impl Trace for Value {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = true;

    #[inline]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        with_handle!(self, handle => handle.trace(visitor));
    }
}

impl Value {
    /// The reference to an object that was made as one of the kinds; `None` for other objects.
    ///
    /// ```
    /// use pymalloc::python::{Python, Value};
    /// let number = Python::new().int(1000);
    /// assert!(Value::of(&number.erased()).is_some_and(|value| value.is(&number)));
    /// ```
    pub fn of(object: &Gc<Erased>) -> Option<Self> {
        fn kind<T: Trace>(object: &Gc<Erased>, make: fn(Gc<T>) -> Value) -> Option<Value> {
            object.clone().downcast::<T>().ok().map(make)
        }
        None.or_else(|| kind(object, Self::List))
            .or_else(|| kind(object, Self::Dict))
            .or_else(|| kind(object, Self::Instance))
            .or_else(|| kind(object, Self::Str))
            .or_else(|| kind(object, Self::Int))
            .or_else(|| kind(object, Self::Float))
            .or_else(|| kind(object, Self::Set))
            .or_else(|| kind(object, Self::Bytes))
            .or_else(|| kind(object, Self::Bool))
            .or_else(|| kind(object, Self::None))
            .or_else(|| object.clone().downcast_tail().ok().map(Self::Tuple))
    }

    /// The name of its kind, as Python writes it; `object` for all instances.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None(_) => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::Tuple(_) => "tuple",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            Self::Set(_) => "set",
            Self::Instance(_) => "object",
        }
    }

    /// Python's `id`: no other object has it while this one lives.
    pub fn id(&self) -> usize {
        with_handle!(self, handle => Gc::id(handle))
    }

    /// Python's `is`.
    pub fn is(&self, other: &Self) -> bool {
        self.id() == other.id()
    }

    /// `sys.getrefcount`: the references there are, and one for the argument, which Python counts and Rust
    /// borrows. For an immortal object the constant of CPython 3.14.
    pub fn getrefcount(&self) -> usize {
        with_handle!(self, handle => Gc::getrefcount(handle))
    }

    /// Whether the object is immortal: `None`, `True`, small ints, …
    pub fn is_immortal(&self) -> bool {
        with_handle!(self, handle => Gc::is_immortal(handle))
    }

    /// `gc.is_tracked`.
    pub fn is_tracked(&self) -> bool {
        with_handle!(self, handle => Gc::is_tracked(handle))
    }

    /// `sys.getsizeof`: CPython 3.11's number on 64 bits. Bytes of the object with its collector header and
    /// the buffer it owns, without what it refers to. Bytes it takes here: [`Gc::size_of`].
    pub fn getsizeof(&self) -> usize {
        match self {
            Self::None(_) => HEADER_BYTES,
            // One digit, also for False.
            Self::Bool(_) => 28,
            Self::Int(int) => int.size(),
            Self::Float(_) => HEADER_BYTES + REFERENCE_BYTES,
            Self::Str(text) => text.size(),
            Self::Bytes(bytes) => bytes.size(),
            Self::Tuple(tuple) => tuple::size(tuple),
            Self::List(list) => list.size(),
            Self::Dict(dict) => dict.size(),
            Self::Set(set) => set.size(),
            Self::Instance(_) => super::instance::SIZE,
        }
    }

    /// The reference without its kind, for the functions of [`gc`](crate::gc).
    pub fn erased(&self) -> Gc<Erased> {
        with_handle!(self, handle => Gc::erased(handle))
    }

    /// Whether a collection may ever have to look at it (CPython, Include/internal/pycore_gc.h 3.11:
    /// `_PyObject_GC_MAY_BE_TRACKED`): containers, but no tuple that is not tracked.
    pub fn may_be_tracked(&self) -> bool {
        match self {
            Self::Tuple(tuple) => Gc::is_tracked(tuple),
            Self::List(_) | Self::Dict(_) | Self::Set(_) | Self::Instance(_) => true,
            _ => false,
        }
    }

    /// Python's `hash`.
    ///
    /// # Errors
    /// For a list, dict or set, also inside a tuple; for a tuple nested too deeply.
    pub fn hash(&self) -> Result<i64, KindError> {
        hash_at(self, 0)
    }

    /// Python's `==` inside containers: the same object, or an equal one.
    ///
    /// # Errors
    /// When they are nested too deeply.
    pub fn equals(&self, other: &Self) -> Result<bool, KindError> {
        equals_at(self, other, 0)
    }
}

/// A number of any of the three kinds.
enum Number<'a> {
    Whole(&'a Integer),
    Small(i64),
    Float(f64),
}

fn number(value: &Value) -> Option<Number<'_>> {
    Some(match value {
        Value::Bool(bool) => Number::Small(i64::from(bool.is_true())),
        Value::Int(int) => Number::Whole(int.value()),
        Value::Float(float) => Number::Float(float.value()),
        _ => return None,
    })
}

/// Whether numbers are equal, exactly.
fn numbers_equal(a: &Number, b: &Number) -> bool {
    let whole = |number: &Number| match number {
        Number::Whole(value) => Some((*value).clone()),
        Number::Small(value) => Some(Integer::from(*value)),
        Number::Float(value) => Integer::from_whole(*value),
    };
    match (a, b) {
        (Number::Float(a), Number::Float(b)) => a == b,
        (Number::Whole(a), Number::Whole(b)) => a == b,
        _ => matches!((whole(a), whole(b)), (Some(a), Some(b)) if a == b),
    }
}

fn all_equal(a: &[Value], b: &[Value], depth: usize) -> Result<bool, KindError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !equals_at(a, b, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub fn equals_at(a: &Value, b: &Value, depth: usize) -> Result<bool, KindError> {
    if a.is(b) {
        return Ok(true);
    }
    if depth > DEEPEST {
        return Err(KindError::TooDeep);
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Ok(numbers_equal(&a, &b));
    }
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Ok(a.as_str() == b.as_str()),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(a.as_bytes() == b.as_bytes()),
        (Value::Tuple(a), Value::Tuple(b)) => all_equal(a.items(), b.items(), depth),
        (Value::List(a), Value::List(b)) => all_equal(&a.to_vec(), &b.to_vec(), depth),
        (Value::Dict(a), Value::Dict(b)) => a.equals_at(b, depth),
        (Value::Set(a), Value::Set(b)) => a.equals(b),
        _ => Ok(false),
    }
}
