//! Random programs on objects, beside a naive model of what is reachable.
//!
//! The model knows sets of edges and roots. A node may have a finalizer that does nothing, panics, allocates,
//! or stores its object where it is alive again; weak references with callbacks that allocate; collections of
//! any generation, by hand or by themselves. After each collection what is alive is what the model says, and at
//! the end nothing is left.

#[path = "../support/rng.rs"]
mod rng;

mod large;

use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Finalize, Gc, Weak};
use rng::Rng;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a finalizer does.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Act {
    Nothing,
    Panic,
    Allocate,
    Resurrect,
}

#[derive(Default)]
struct Shared {
    /// Nodes whose values were dropped.
    dropped: RefCell<BTreeSet<usize>>,
    finalized: RefCell<Vec<usize>>,
    called_back: RefCell<Vec<usize>>,
    /// Nodes that finalizers brought back.
    back: RefCell<Vec<Gc<Node>>>,
}

/// A leaf whose `Drop` notes the node's death.
struct Grave(usize, Rc<Shared>);
impl_trace!(leaf Grave);

impl Drop for Grave {
    fn drop(&mut self) {
        assert!(
            self.1.dropped.borrow_mut().insert(self.0),
            "node {} dropped twice",
            self.0
        );
    }
}

struct Node {
    id: usize,
    act: Cell<Act>,
    edges: RefCell<Vec<Gc<Node>>>,
    weak: RefCell<Vec<Weak<Node>>>,
    /// Written when made: a node read after its death shows.
    canary: u64,
    grave: Grave,
}
impl_trace!(leaf Act);
impl_trace!(struct Node { id, act, edges, weak, canary, grave }: finalize);

const CANARY: u64 = 0x0123_4567_89ab_cdef;

impl Finalize for Node {
    fn finalize(this: &Gc<Self>) {
        let shared = this.grave.1.clone();
        shared.finalized.borrow_mut().push(this.id);
        for neighbour in this.edges.borrow().iter() {
            assert_eq!(
                neighbour.canary, CANARY,
                "a finalizer sees its neighbours whole"
            );
            assert!(!shared.dropped.borrow().contains(&neighbour.id));
        }
        match this.act.get() {
            Act::Nothing => {}
            Act::Panic => panic!("in a finalizer"),
            Act::Allocate => {
                let garbage: Vec<Gc<[u64]>> = (0..20).map(|n| (0..n * 10).collect()).collect();
                drop(garbage);
                gc::collect();
            }
            Act::Resurrect => shared.back.borrow_mut().push(this.clone()),
        }
    }
}

/// The model, and the objects it speaks of.
struct World {
    rng: Rng,
    shared: Rc<Shared>,
    roots: BTreeMap<usize, Gc<Node>>,
    edges: BTreeMap<usize, Vec<usize>>,
    acts: BTreeMap<usize, Act>,
    finalized: BTreeSet<usize>,
    /// Weak references held here, by number, and what they refer to.
    weak: BTreeMap<usize, (Weak<Node>, usize)>,
    next: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            shared: Rc::default(),
            roots: BTreeMap::new(),
            edges: BTreeMap::new(),
            acts: BTreeMap::new(),
            finalized: BTreeSet::new(),
            weak: BTreeMap::new(),
            next: 0,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        (self.rng.next() % n as u64) as usize
    }

    fn any_root(&mut self) -> Option<Gc<Node>> {
        let n = self.roots.len();
        let at = if n == 0 { return None } else { self.below(n) };
        self.roots.values().nth(at).cloned()
    }

    fn make(&mut self) {
        let id = self.next;
        self.next += 1;
        let act = match self.below(8) {
            0 => Act::Panic,
            1 => Act::Allocate,
            2 => Act::Resurrect,
            _ => Act::Nothing,
        };
        let node = Gc::new(Node {
            id,
            act: Cell::new(act),
            edges: RefCell::default(),
            weak: RefCell::default(),
            canary: CANARY,
            grave: Grave(id, self.shared.clone()),
        });
        self.roots.insert(id, node);
        self.edges.insert(id, Vec::new());
        self.acts.insert(id, act);
    }

    fn link(&mut self) {
        let (Some(from), Some(to)) = (self.any_root(), self.any_root()) else {
            return;
        };
        from.edges.borrow_mut().push(to.clone());
        self.edges.entry(from.id).or_default().push(to.id);
    }

    fn unlink(&mut self) {
        let Some(from) = self.any_root() else { return };
        let removed = from.edges.borrow_mut().pop();
        self.edges.entry(from.id).or_default().pop();
        drop(removed);
    }

    fn watch(&mut self) {
        let Some(node) = self.any_root() else { return };
        let (shared, id) = (self.shared.clone(), node.id);
        let weak = Weak::with_callback(&node, move |_| {
            shared.called_back.borrow_mut().push(id);
            drop((0..10).map(|n| Gc::new([n; 4])).collect::<Vec<_>>());
        });
        match self.any_root() {
            Some(owner) if self.below(3) == 0 => owner.weak.borrow_mut().push(weak),
            _ => {
                let number = self.next;
                self.next += 1;
                self.weak.insert(number, (weak, id));
            }
        }
    }

    /// Everything reachable from `start`.
    fn reach(&self, start: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut left: Vec<usize> = start.collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = left.pop() {
            if seen.insert(id) {
                left.extend(&self.edges[&id]);
            }
        }
        seen
    }

    /// After a full collection: exactly what is reachable, from roots or through finalizers, is not dropped.
    fn check(&mut self) {
        gc::collect();
        let back: Vec<_> = self
            .shared
            .back
            .borrow()
            .iter()
            .map(|node| node.id)
            .collect();
        let roots = self.roots.keys().copied().chain(back);
        let alive = self.reach(roots);
        let dropped = self.shared.dropped.borrow().clone();
        for id in self.edges.keys() {
            assert_ne!(alive.contains(id), dropped.contains(id), "node {id}");
        }
        for node in self.roots.values() {
            let edges: Vec<_> = node.edges.borrow().iter().map(|to| to.id).collect();
            assert_eq!(edges, self.edges[&node.id]);
            assert!(node.edges.borrow().iter().all(|to| to.canary == CANARY));
        }
        for (weak, id) in self.weak.values() {
            // Cleared when its referent dies; also if a collection found it dead and a finalizer brought it back.
            assert!(!weak.is_alive() || alive.contains(id));
            assert!(weak.is_alive() || dropped.contains(id) || self.was_finalized(*id));
        }
        let mut seen = BTreeSet::new();
        for id in self.shared.finalized.borrow().iter() {
            assert!(seen.insert(*id), "node {id} finalized twice");
        }
        assert!(
            dropped.iter().all(|id| seen.contains(id)),
            "dropped without its finalizer"
        );
        self.finalized = seen;
    }

    fn was_finalized(&self, id: usize) -> bool {
        self.shared.finalized.borrow().contains(&id)
    }

    fn step(&mut self) {
        match self.below(100) {
            0..=24 => self.make(),
            25..=59 => self.link(),
            60..=66 => self.unlink(),
            67..=86 => {
                let Some(node) = self.any_root() else { return };
                let handle = self.roots.remove(&node.id);
                drop((node, handle));
            }
            87..=93 => self.watch(),
            94 => {
                let n = self.weak.len();
                if n > 0 {
                    let at = self.below(n);
                    let number = *self.weak.keys().nth(at).expect("below its length");
                    drop(self.weak.remove(&number));
                }
            }
            95 => drop(self.shared.back.take()),
            96 | 97 => {
                let generation = self.below(3) as i32;
                gc::collect_generation(generation).expect("a generation");
            }
            98 => {
                gc::freeze();
                gc::unfreeze();
            }
            _ => self.check(),
        }
    }
}

fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.check();
    world.roots.clear();
    for _ in 0..50 {
        drop(world.shared.back.take());
        gc::collect();
    }
    world.weak.clear();
    gc::collect();
    let (dropped, made) = (world.shared.dropped.borrow().len(), world.edges.len());
    assert_eq!(dropped, made, "everything dies");
    assert_eq!(gc::get_objects(None).expect("all").len(), 0);
}

fn programs(first: u64, n: u64, automatic: bool) {
    let quiet = |_: &std::panic::PanicHookInfo<'_>| ();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>().copied();
        if text == Some("in a finalizer") {
            quiet(info)
        } else {
            hook(info)
        }
    }));
    gc::set_unraisable_hook(Some(|unraisable| {
        let text = unraisable.payload.downcast_ref::<&str>().copied();
        assert_eq!(text, Some("in a finalizer"), "{}", unraisable.context);
    }));
    if automatic {
        gc::set_threshold(7, Some(3), Some(3));
    } else {
        gc::disable();
    }
    for seed in first..first + n {
        println!("seed {seed}");
        run(seed, 400);
    }
}

/// Programs each test runs; `PYMALLOC_GC_PROGRAMS` sets another number.
fn n_programs() -> u64 {
    let set = std::env::var("PYMALLOC_GC_PROGRAMS").ok();
    set.map_or(300, |text| text.parse().expect("a number"))
}

#[test]
fn random_graphs_are_collected_as_the_model_says() {
    programs(1, n_programs(), false);
}

#[test]
fn and_with_collections_that_run_by_themselves() {
    programs(1_000_000, n_programs(), true);
}
