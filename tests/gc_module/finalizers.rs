//! test_finalization.py: each class alone, in a cycle with itself, and in chains.

use crate::world::{Instance, start, with_del};
use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Finalize, Gc, Weak};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Simple,
    Suicidal,
    Resurrecting,
}
use Kind::{Resurrecting, Simple, Suicidal};

/// Calls by member, and who survived.
#[derive(Default)]
struct Seen {
    calls: RefCell<Vec<usize>>,
    survivors: RefCell<Vec<Gc<Instance>>>,
}

fn member(index: usize, kind: Kind, seen: &Rc<Seen>) -> Gc<Instance> {
    let seen = seen.clone();
    with_del(move |this| {
        // What it refers to is whole.
        assert!(
            this.attributes
                .borrow()
                .iter()
                .all(|object| Gc::strong_count(object) >= 1)
        );
        seen.calls.borrow_mut().push(index);
        match kind {
            Simple => {}
            Suicidal => drop(this.attributes.take()),
            Resurrecting => seen.survivors.borrow_mut().push(this.clone()),
        }
    })
}

/// Drops a ring of members and collects; calls in any order, survivors, whether weak references are dead.
fn ring(kinds: &[Kind]) {
    start();
    let seen = Rc::new(Seen::default());
    let members: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| member(index, *kind, &seen))
        .collect();
    let weak: Vec<_> = members.iter().map(Weak::from).collect();
    for (index, one) in members.iter().enumerate() {
        one.set(&members[(index + 1) % members.len()]);
    }
    drop(members);
    gc::collect();
    let called = || {
        let mut calls = seen.calls.borrow().clone();
        calls.sort_unstable();
        calls
    };
    let all: Vec<_> = (0..kinds.len()).collect();
    assert_eq!(called(), all, "each once");
    assert!(weak.iter().all(|weak| !weak.is_alive()));
    let n_resurrecting = kinds.iter().filter(|kind| **kind == Resurrecting).count();
    assert_eq!(seen.survivors.borrow().len(), n_resurrecting);
    drop(seen.survivors.take());
    drop(weak);
    gc::collect();
    assert_eq!(called(), all, "and never again");
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn simple() {
    start();
    let seen = Rc::new(Seen::default());
    let it = member(0, Simple, &seen);
    let weak = Weak::from(&it);
    drop(it);
    assert_eq!((seen.calls.borrow().len(), weak.is_alive()), (1, false));
}

#[test]
fn simple_resurrect() {
    start();
    let seen = Rc::new(Seen::default());
    let it = member(0, Resurrecting, &seen);
    let weak = Weak::from(&it);
    drop(it);
    // It died by its count: its weak reference is alive still.
    assert_eq!((seen.survivors.borrow().len(), weak.is_alive()), (1, true));
    drop(seen.survivors.take());
    assert_eq!((seen.calls.borrow().len(), weak.is_alive()), (1, false));
}

#[test]
fn non_gc() {
    start();
    struct NonGc(Rc<Cell<u32>>);
    impl_trace!(struct NonGc(calls): finalize);
    impl Finalize for NonGc {
        fn finalize(this: &Gc<Self>) {
            this.0.set(this.0.get() + 1);
        }
    }
    let calls = Rc::new(Cell::new(0));
    let it = Gc::new(NonGc(calls.clone()));
    let weak = Weak::from(&it);
    assert!(!Gc::is_tracked(&it));
    drop(it);
    assert_eq!((calls.get(), weak.is_alive()), (1, false));
}

#[test]
fn non_gc_resurrect() {
    start();
    /// Without handles, and so without the flag.
    struct NonGc {
        calls: Rc<Cell<u32>>,
        kept: Rc<RefCell<Vec<Gc<NonGc>>>>,
    }
    impl_trace!(struct NonGc { calls, kept }: finalize);
    impl Finalize for NonGc {
        fn finalize(this: &Gc<Self>) {
            this.calls.set(this.calls.get() + 1);
            if this.calls.get() < 3 {
                this.kept.borrow_mut().push(this.clone());
            }
        }
    }
    let (calls, kept) = (Rc::new(Cell::new(0)), Rc::default());
    let it = Gc::new(NonGc {
        calls: calls.clone(),
        kept,
    });
    assert!(!Gc::is_tracked(&it));
    let kept = it.kept.clone();
    drop(it);
    assert_eq!(calls.get(), 1);
    for calls_then in [2, 3] {
        // The list lets go before the object dies, because dying changes the list.
        let again = kept.borrow_mut().pop();
        drop(again);
        assert_eq!(calls.get(), calls_then, "called again each time");
    }
}

#[test]
fn self_cycle_simple() {
    ring(&[Simple]);
}

#[test]
fn self_cycle_simple_resurrect() {
    ring(&[Resurrecting]);
}

#[test]
fn self_cycle_simple_suicide() {
    ring(&[Suicidal]);
}

#[test]
fn homogenous() {
    ring(&[Simple; 3]);
}

#[test]
fn homogenous_resurrect() {
    ring(&[Resurrecting; 3]);
}

#[test]
fn homogenous_suicidal() {
    ring(&[Suicidal; 3]);
}

#[test]
fn heterogenous_suicidal_one() {
    ring(&[Suicidal, Simple, Suicidal, Simple]);
}

#[test]
fn heterogenous_suicidal_two() {
    ring(&[Suicidal, Suicidal, Simple, Simple]);
}

#[test]
fn heterogenous_resurrect_one() {
    ring(&[Resurrecting, Simple, Resurrecting, Simple]);
}

#[test]
fn heterogenous_resurrect_two() {
    let three = [Resurrecting, Simple, Suicidal];
    ring(&[three, three].concat());
}

#[test]
fn heterogenous_resurrect_three() {
    ring(&[
        Resurrecting,
        Resurrecting,
        Simple,
        Simple,
        Suicidal,
        Suicidal,
    ]);
}

#[test]
fn rings_of_every_composition() {
    // An interpreter has time for those of two.
    for n in 1..=if cfg!(miri) { 2 } else { 5u32 } {
        for code in 0..3usize.pow(n) {
            let kind = |place: u32| [Simple, Suicidal, Resurrecting][code / 3usize.pow(place) % 3];
            ring(&(0..n).map(kind).collect::<Vec<_>>());
        }
    }
}

#[test]
fn legacy() {
    start();
    let deaths = Rc::new(Cell::new(0));
    let it = crate::world::legacy(&deaths);
    let weak = Weak::from(&it);
    drop(it);
    assert_eq!((deaths.get(), weak.is_alive()), (1, false));
}

#[test]
fn legacy_self_cycle() {
    start();
    let deaths = Rc::new(Cell::new(0));
    let it = crate::world::legacy(&deaths);
    let weak = Weak::from(&it);
    let attribute = Gc::erased(&it);
    it.attributes.borrow_mut().push(attribute);
    drop(it);
    assert_eq!(gc::collect(), 1, "found, and left alone");
    assert_eq!((deaths.get(), weak.is_alive()), (0, true));
    let garbage = gc::take_garbage();
    assert_eq!(garbage.len(), 1);
    // Freed once the cycle is broken.
    let it = garbage[0].downcast_ref::<crate::world::Legacy>();
    drop(it.expect("the one").attributes.take());
    drop(garbage);
    assert_eq!((deaths.get(), weak.is_alive()), (1, false));
}
