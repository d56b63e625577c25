//! Objects like a Python list and a Python instance with `__del__`.

use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Finalize, Gc, Trace, Visitor, Weak, WeakCallback};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A list: any objects.
pub struct List(pub RefCell<Vec<Gc<Erased>>>);
impl_trace!(struct List(items));

pub fn list() -> Gc<List> {
    Gc::new(List(RefCell::default()))
}

impl List {
    pub fn append<T: ?Sized>(&self, object: &Gc<T>) {
        self.0.borrow_mut().push(Gc::erased(object));
    }
}

/// A list that contains itself.
pub fn self_list() -> Gc<List> {
    let made = list();
    made.append(&made);
    made
}

type Act = dyn Fn(&Gc<Instance>);

/// What `__del__` does. What the closure captures counts as used.
pub struct Del(Option<Box<Act>>);
impl_trace!(leaf Del);

/// An instance: attributes by position, and perhaps `__del__`.
pub struct Instance {
    pub attributes: RefCell<Vec<Gc<Erased>>>,
    pub weak: RefCell<Vec<Weak<Erased>>>,
    del: Del,
}
impl_trace!(struct Instance { attributes, weak, del }: finalize);

impl Finalize for Instance {
    fn finalize(this: &Gc<Self>) {
        if let Some(del) = &this.del.0 {
            del(this);
        }
    }
}

impl Instance {
    pub fn set<T: ?Sized>(&self, object: &Gc<T>) {
        self.attributes.borrow_mut().push(Gc::erased(object));
    }
}

pub fn instance() -> Gc<Instance> {
    let (attributes, weak) = Default::default();
    Gc::new(Instance {
        attributes,
        weak,
        del: Del(None),
    })
}

pub fn with_del(del: impl Fn(&Gc<Instance>) + 'static) -> Gc<Instance> {
    let (attributes, weak) = Default::default();
    Gc::new(Instance {
        attributes,
        weak,
        del: Del(Some(Box::new(del))),
    })
}

/// An instance whose type has the old `tp_del`: the collector leaves it alone.
pub struct Legacy {
    pub attributes: RefCell<Vec<Gc<Erased>>>,
    pub deaths: Rc<Cell<u32>>,
}

// SAFETY: the attributes are all it owns; its `Drop` counts, and looks at none of them.
unsafe impl Trace for Legacy {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;
    const UNCOLLECTABLE: bool = true;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.attributes.trace(visitor);
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        self.deaths.set(self.deaths.get() + 1);
    }
}

pub fn legacy(deaths: &Rc<Cell<u32>>) -> Gc<Legacy> {
    let attributes = RefCell::default();
    Gc::new(Legacy {
        attributes,
        deaths: deaths.clone(),
    })
}

/// A callback that is an object: a method of its owner, which it refers to.
pub struct Method {
    pub owner: RefCell<Vec<Gc<Erased>>>,
    pub calls: Rc<Cell<u32>>,
}
impl_trace!(struct Method { owner, calls });

impl WeakCallback for Method {
    fn referent_died(&self, weak: &Weak<Erased>) {
        assert!(!weak.is_alive());
        self.calls.set(self.calls.get() + 1);
    }
}

/// A bound method of `owner`, as a callback.
pub fn method<T: ?Sized>(owner: &Gc<T>, calls: &Rc<Cell<u32>>) -> Gc<dyn WeakCallback> {
    let owner = RefCell::new(vec![Gc::erased(owner)]);
    Gc::unsize(
        Gc::new(Method {
            owner,
            calls: calls.clone(),
        }),
        |method| method,
    )
}

/// A counter for closures.
pub fn counter() -> Rc<Cell<u32>> {
    Rc::default()
}

/// Counts one call.
pub fn count(counter: &Rc<Cell<u32>>) {
    counter.set(counter.get() + 1);
}

/// No collection by itself, as in CPython's GCTests.
pub fn start() {
    gc::disable();
    gc::collect();
}
