//! The objects a recorded program makes, and the operations it performs on them.

use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Finalize, Gc, Trace, Visitor, Weak};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// What a node owns, in the order it was appended.
enum Item {
    Node(Gc<Node>),
    Weak(Weak<Node>),
}
impl_trace!(
    enum Item {
        Node(node),
        Weak(weak),
    }
);

/// A Python list's items: traced and dropped from the last to the first.
#[derive(Default)]
pub struct Items(RefCell<Vec<Item>>);

// SAFETY: each item, once; its `Drop` moves and drops handles only.
unsafe impl Trace for Items {
    const CYCLIC: bool = true;
    const DROPS_HANDLES_ONLY: bool = false;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if let Ok(items) = self.0.try_borrow() {
            items.iter().rev().for_each(|item| item.trace(visitor));
        }
    }
}

impl Items {
    fn clear(&self) {
        let mut items = self.0.take();
        while let Some(item) = items.pop() {
            drop(item);
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What outlives every node of a program: its log and the survivors.
#[derive(Default)]
pub struct Outside {
    pub events: RefCell<Vec<String>>,
    survivors: RefCell<Vec<Gc<Node>>>,
}

/// A node: `kind` says what its finalizer does.
pub struct Node {
    id: u64,
    kind: u64,
    items: Items,
    outside: Rc<Outside>,
}
impl_trace!(struct Node { id, kind, items, outside }: finalize);

impl Finalize for Node {
    fn finalize(this: &Gc<Self>) {
        let name = ["", "fin", "res", "sui"][this.kind as usize];
        if this.kind == 0 {
            return;
        }
        let event = format!("{name}{}", this.id);
        this.outside.events.borrow_mut().push(event);
        match this.kind {
            2 => this.outside.survivors.borrow_mut().push(this.clone()),
            3 => this.items.clear(),
            _ => {}
        }
    }
}

/// A program's state.
#[derive(Default)]
pub struct World {
    roots: HashMap<u64, Gc<Node>>,
    weak: BTreeMap<u64, Weak<Node>>,
    /// Tags of weak references, by their identity.
    tags: HashMap<usize, u64>,
    pub outside: Rc<Outside>,
}

impl World {
    fn node(&self, id: u64) -> Gc<Node> {
        self.roots
            .get(&id)
            .expect("operations name nodes with a root reference")
            .clone()
    }

    fn new_weak(&mut self, node: u64, tag: u64) -> Weak<Node> {
        let outside = self.outside.clone();
        let weak = Weak::with_callback(&self.node(node), move |_| {
            outside.events.borrow_mut().push(format!("cb{tag}"));
        });
        self.tags.insert(weak.id(), tag);
        weak
    }

    pub fn new_node(&mut self, id: u64, kind: u64) {
        let (items, outside) = (Items::default(), self.outside.clone());
        let node = Gc::new(Node {
            id,
            kind,
            items,
            outside,
        });
        self.roots.insert(id, node);
    }

    pub fn edge(&self, from: u64, to: u64) {
        let item = Item::Node(self.node(to));
        self.node(from).items.0.borrow_mut().push(item);
    }

    pub fn unedge(&self, from: u64) {
        let node = self.node(from);
        let item = node.items.0.borrow_mut().pop();
        drop(item);
    }

    pub fn drop_root(&mut self, id: u64) {
        drop(self.roots.remove(&id));
    }

    pub fn weak_outside(&mut self, node: u64, tag: u64) {
        let weak = self.new_weak(node, tag);
        self.weak.insert(tag, weak);
    }

    pub fn weak_inside(&mut self, owner: u64, node: u64, tag: u64) {
        let weak = self.new_weak(node, tag);
        self.node(owner).items.0.borrow_mut().push(Item::Weak(weak));
    }

    pub fn drop_weak(&mut self, tag: u64) {
        drop(self.weak.remove(&tag));
    }

    pub fn probe(&self) -> Vec<u64> {
        let alive = self.weak.iter().filter(|(_, weak)| weak.is_alive());
        alive.map(|(tag, _)| *tag).collect()
    }

    pub fn drop_survivors(&self) {
        let mut survivors = self.outside.survivors.take();
        while let Some(node) = survivors.pop() {
            drop(node);
        }
    }

    /// Ids of the objects in each generation, sorted; 1000 and more are weak references.
    pub fn generations(&self) -> [Vec<u64>; 3] {
        [0, 1, 2].map(|generation| {
            let objects = gc::get_objects(Some(generation)).expect("a generation");
            let id_of = |object: &Gc<Erased>| match object.downcast_ref::<Node>() {
                Some(node) => node.id,
                None => 1000 + self.tags[&Gc::id(object)],
            };
            let mut ids: Vec<_> = objects.iter().map(id_of).collect();
            ids.sort_unstable();
            ids
        })
    }

    /// Whether the node is of the kind that resurrects itself, and did.
    pub fn resurrected(&self, id: u64, seen: &[String]) -> bool {
        seen.contains(&format!("res{id}"))
    }

    /// Drops everything and collects what is left.
    pub fn end(mut self) {
        self.weak.clear();
        let mut ids: Vec<_> = self.roots.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().for_each(|id| self.drop_root(id));
        for _ in 0..10 {
            gc::collect();
            self.drop_survivors();
        }
        gc::collect();
    }
}
