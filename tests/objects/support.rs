//! A node with any number of references, and a log of what happened.

use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Finalize, Gc, Slot};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What finalizers and callbacks write.
pub type Log = Rc<RefCell<Vec<String>>>;

/// Starts a test: no collection by itself, nothing of an earlier test on this thread.
pub fn start() -> Log {
    gc::disable();
    gc::collect();
    Log::default()
}

/// Takes what was logged.
pub fn logged(log: &Log) -> Vec<String> {
    log.take()
}

/// A node without finalizer.
pub struct Node {
    pub name: u32,
    pub edges: RefCell<Vec<Gc<Node>>>,
    pub next: Slot<Node>,
}
impl_trace!(struct Node { name, edges, next });

pub fn node(name: u32) -> Gc<Node> {
    Gc::new(Node {
        name,
        edges: RefCell::default(),
        next: Slot::empty(),
    })
}

/// A node that refers to itself.
pub fn self_cycle(name: u32) -> Gc<Node> {
    let made = node(name);
    made.next.set(Some(made.clone()));
    made
}

/// A node whose finalizer calls a closure, and counts its calls.
pub struct Final {
    pub name: &'static str,
    pub next: Slot<Final>,
    pub others: RefCell<Vec<Gc<Final>>>,
    pub calls: Rc<Cell<u32>>,
    action: Action,
}
impl_trace!(struct Final { name, next, others, calls, action }: finalize);

/// What a finalizer does; what it captures counts as used.
pub struct Action(Box<Act>);
type Act = dyn Fn(&Gc<Final>);
impl_trace!(leaf Action);

impl Finalize for Final {
    fn finalize(this: &Gc<Self>) {
        this.calls.set(this.calls.get() + 1);
        (this.action.0)(this);
    }
}

pub fn with_finalizer(name: &'static str, action: impl Fn(&Gc<Final>) + 'static) -> Gc<Final> {
    Gc::new(Final {
        name,
        next: Slot::empty(),
        others: RefCell::default(),
        calls: Rc::default(),
        action: Action(Box::new(action)),
    })
}
