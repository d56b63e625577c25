//! [`Class`] and [`Instance`]: objects with attributes, and a `__del__` that the class may have.

use super::atoms::Str;
use super::table::Table;
use super::value::Value;
use crate::impl_trace;
use crate::object::{Finalize, Gc};
use core::cell::RefCell;

/// CPython 3.11's instance of a class without slots: header, weak references, collector header, and the two
/// words before it. Attributes lie in values beside it, which `getsizeof` does not count.
pub const SIZE: usize = 56;

const NAMES_HASH: &str = "texts can be hashed and compared";

type Finalizer = Box<dyn Fn(&Gc<Instance>)>;

/// A class: a name, and what its instances do before they die.
pub struct Class {
    name: Box<str>,
    finalizer: Option<Finalizer>,
}
// The closure may hold handles: those count as used from outside.
impl_trace!(leaf Class);

impl Class {
    /// A class without `__del__`.
    pub fn new(name: &str) -> Gc<Self> {
        let finalizer = None;
        Gc::new(Self {
            name: name.into(),
            finalizer,
        })
    }

    /// A class whose instances call `finalizer` once, before they die (`__del__`).
    ///
    /// ```
    /// use pymalloc::python::{Class, Instance, Python, Value};
    /// let python = Python::new();
    /// let class = Class::with_finalizer("File", |file| println!("closing {}", Value::Instance(file.clone())));
    /// let file = Instance::new(&class);
    /// file.set(&python.intern("self"), Value::Instance(file.clone())); // a cycle
    /// drop(file);
    /// assert_eq!(pymalloc::gc::collect(), 1); // prints
    /// ```
    pub fn with_finalizer(name: &str, finalizer: impl Fn(&Gc<Instance>) + 'static) -> Gc<Self> {
        let finalizer: Option<Finalizer> = Some(Box::new(finalizer));
        Gc::new(Self {
            name: name.into(),
            finalizer,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has a `__del__`.
    pub fn has_finalizer(&self) -> bool {
        self.finalizer.is_some()
    }
}

/// An instance of a class, with attributes in the order they came.
pub struct Instance {
    class: Gc<Class>,
    attributes: RefCell<Table>,
}
// CPython visits the attributes, then the class (Objects/typeobject.c 3.11: `subtype_traverse`).
impl_trace!(struct Instance { attributes, class }: finalize);

impl Finalize for Instance {
    fn finalize(this: &Gc<Self>) {
        if let Some(finalizer) = &this.class.finalizer {
            finalizer(this);
        }
    }
}

impl Instance {
    /// An instance without attributes.
    pub fn new(class: &Gc<Class>) -> Gc<Self> {
        let attributes = RefCell::default();
        Gc::new(Self {
            class: class.clone(),
            attributes,
        })
    }

    /// Its class.
    pub fn class(&self) -> &Gc<Class> {
        &self.class
    }

    /// The attribute of a name.
    pub fn get(&self, name: &Gc<Str>) -> Option<Value> {
        let found = self.attributes.borrow().get(&Value::Str(name.clone()));
        found.expect(NAMES_HASH)
    }

    /// Sets the attribute of a name.
    pub fn set(&self, name: &Gc<Str>, value: Value) {
        let key = Value::Str(name.clone());
        let hash = key.hash().expect(NAMES_HASH);
        let replaced = self.attributes.borrow_mut().insert(key, hash, value);
        // Dropped when the table is no longer borrowed.
        drop(replaced.expect(NAMES_HASH));
    }

    /// Deletes the attribute of a name, and returns it.
    pub fn delete(&self, name: &Gc<Str>) -> Option<Value> {
        let key = Value::Str(name.clone());
        let removed = self.attributes.borrow_mut().remove(&key);
        removed.expect(NAMES_HASH).map(|(_, value)| value)
    }

    /// Calls `f` on each name, which tracing does not report.
    pub(crate) fn for_each_untraced_key(&self, f: impl FnMut(&Value)) {
        if let Ok(table) = self.attributes.try_borrow() {
            table.for_each_untraced_key(f);
        }
    }

    /// All attributes, in order.
    pub fn attributes(&self) -> Vec<(Value, Value)> {
        let table = self.attributes.borrow();
        let pairs = table.pairs();
        pairs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}
