//! L7: Python's built-in kinds, as objects of the collector's.
//!
//! ```text
//! Python ── the shared objects: None, True, False, −5 … 256, characters to U+00FF, empty and one-byte bytes,
//!   │       the empty tuple, interned texts
//!   └ makes Value ──► Int Float Str Bytes        never tracked
//!                     Tuple List Dict Set        tracked as in CPython 3.11
//!                     Instance ──► Class
//! ```
//!
//! Identity, counts, growth, sizes, hashes of numbers and the order of sets are CPython 3.11's; each kind's file
//! names its source. What follows from a *thread's* heap follows for these: values stay on their thread.
//!
//! | file | what |
//! |---|---|
//! | `value`, `hash`, `show`, `error` | what every value can be asked |
//! | `integer` | whole numbers of any size |
//! | `atoms` | None, bool, int, float, str, bytes |
//! | `tuple`, `list`, `table`, `dict`, `set`, `instance` | what refers to other objects |

mod atoms;
mod dict;
mod error;
mod hash;
mod instance;
mod integer;
mod list;
#[cfg(feature = "serde")]
mod serde_impls;
mod set;
mod show;
mod table;
mod tuple;
mod value;

pub use atoms::{Bool, Bytes, Float, Int, NoneType, Str};
pub use dict::Dict;
pub use error::KindError;
pub use instance::{Class, Instance};
pub use integer::{Integer, NotDecimal};
pub use list::List;
pub use set::Set;
pub use tuple::{Tuple, TupleHead};
pub use value::Value;

use crate::object::{Gc, Weak};
use core::cell::RefCell;
use std::collections::HashMap;

/// The small ints that are shared: −5 to 256 (CPython, Include/internal/pycore_global_objects.h 3.11:
/// `_PY_NSMALLNEGINTS`, `_PY_NSMALLPOSINTS`).
const FIRST_SMALL: i64 = -5;
const LAST_SMALL: i64 = 256;
/// Interned texts below which the dead ones are not looked for.
const FEWEST_INTERNED: usize = 64;

/// The objects that exist once, and the making of values, which may turn out to be one of them.
///
/// Make one for a thread and keep it: the shared objects are immortal, about 780 of them, so each `Python`
/// costs some 50 KiB until the process ends.
///
/// ```
/// use pymalloc::python::Python;
/// let python = Python::new();
/// assert!(python.int(256).is(&python.int(256)));
/// assert!(!python.int(257).is(&python.int(257)));
/// assert!(python.str("é").is(&python.str("é")));
/// assert!(!python.str("spam").is(&python.str("spam")));
/// ```
pub struct Python {
    none: Gc<NoneType>,
    bools: [Gc<Bool>; 2],
    small_ints: Vec<Gc<Int>>,
    /// The empty text, and those of one character to U+00FF.
    empty_str: Gc<Str>,
    latin_1: Vec<Gc<Str>>,
    empty_bytes: Gc<Bytes>,
    one_byte: Vec<Gc<Bytes>>,
    empty_tuple: Gc<Tuple>,
    interned: RefCell<Interned>,
}

/// Interned texts; being here keeps none alive.
#[derive(Default)]
struct Interned {
    texts: HashMap<Box<str>, Weak<Str>>,
    /// Texts at which the dead ones are thrown out.
    sweep_at: usize,
}

impl Default for Python {
    fn default() -> Self {
        Self::new()
    }
}

impl Python {
    /// The shared objects, in the thread's heap.
    pub fn new() -> Self {
        let empty_tuple = tuple::make(Vec::new());
        Gc::make_immortal(&empty_tuple);
        let one_character = |c: u8| {
            let mut buffer = [0; 2];
            Gc::new_immortal(Str::new(char::from(c).encode_utf8(&mut buffer)))
        };
        let one_byte = |byte| Gc::new_immortal(Bytes(Box::new([byte])));
        let small = |n| Gc::new_immortal(Int(Integer::from(n)));
        Self {
            none: Gc::new_immortal(NoneType::new()),
            bools: [false, true].map(|bool| Gc::new_immortal(Bool(bool))),
            small_ints: (FIRST_SMALL..=LAST_SMALL).map(small).collect(),
            empty_str: Gc::new_immortal(Str::new("")),
            latin_1: (0..=u8::MAX).map(one_character).collect(),
            empty_bytes: Gc::new_immortal(Bytes(Box::new([]))),
            one_byte: (0..=u8::MAX).map(one_byte).collect(),
            empty_tuple,
            interned: RefCell::default(),
        }
    }

    /// `None`.
    pub fn none(&self) -> Value {
        Value::None(self.none.clone())
    }

    /// `True` or `False`.
    pub fn bool(&self, value: bool) -> Value {
        Value::Bool(self.bools[usize::from(value)].clone())
    }

    /// A whole number: the shared object from −5 to 256, else a new one.
    pub fn int(&self, value: impl Into<Integer>) -> Value {
        let value = value.into();
        Value::Int(match value.to_i64() {
            Some(small @ FIRST_SMALL..=LAST_SMALL) => {
                self.small_ints[(small - FIRST_SMALL) as usize].clone()
            }
            _ => Gc::new(Int(value)),
        })
    }

    /// A floating point number: always a new object.
    pub fn float(&self, value: f64) -> Value {
        Value::Float(Gc::new(Float(value)))
    }

    /// A text: a shared object if it has no character, or one to U+00FF; else a new one.
    pub fn str(&self, text: &str) -> Value {
        Value::Str(self.text(text))
    }

    fn text(&self, text: &str) -> Gc<Str> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (None, _) => self.empty_str.clone(),
            (Some(c @ '\0'..='\u{ff}'), None) => self.latin_1[c as usize].clone(),
            _ => Gc::new(Str::new(text)),
        }
    }

    /// `sys.intern`: the one object for a text, as long as it is used.
    pub fn intern(&self, text: &str) -> Gc<Str> {
        let mut interned = self.interned.borrow_mut();
        if let Some(known) = interned.texts.get(text).and_then(Weak::upgrade) {
            return known;
        }
        let new = self.text(text);
        if interned.texts.len() >= interned.sweep_at {
            interned.texts.retain(|_, text| text.is_alive());
            interned.sweep_at = (interned.texts.len() * 2).max(FEWEST_INTERNED);
        }
        interned.texts.insert(text.into(), Weak::from(&new));
        new
    }

    /// A row of bytes: a shared object if it has none or one, else a new one.
    pub fn bytes(&self, bytes: &[u8]) -> Value {
        Value::Bytes(match bytes {
            [] => self.empty_bytes.clone(),
            [byte] => self.one_byte[usize::from(*byte)].clone(),
            _ => Gc::new(Bytes(bytes.into())),
        })
    }

    /// A tuple: the shared one if there are no items, else a new one.
    pub fn tuple(&self, items: Vec<Value>) -> Value {
        Value::Tuple(if items.is_empty() {
            self.empty_tuple.clone()
        } else {
            tuple::make(items)
        })
    }

    /// A new list with room for its items only, as a display makes one.
    pub fn list(&self, items: Vec<Value>) -> Value {
        Value::List(List::display(items))
    }

    /// A new empty dictionary.
    pub fn dict(&self) -> Value {
        Value::Dict(Dict::new())
    }

    /// A new empty set.
    pub fn set(&self) -> Value {
        Value::Set(Set::new())
    }

    /// A new instance of a class.
    pub fn instance(&self, class: &Gc<Class>) -> Value {
        Value::Instance(Instance::new(class))
    }
}
