//! Weak references: test_weakref.py, with and without the collector.

use crate::world::{
    Instance, Method, count, counter, instance, list, method, self_list, start, with_del,
};
use pymalloc::gc;
use pymalloc::object::{Gc, Weak, weak_count};
use std::cell::RefCell;
use std::rc::Rc;

#[test]
fn basic_ref() {
    start();
    let it = instance();
    let weak = Weak::from(&it);
    assert!(Gc::is(&weak.upgrade().unwrap(), &it));
    assert_eq!(format!("{weak:?}"), "(Weak)");
    drop(it);
    assert!(weak.upgrade().is_none() && weak.upgrade().is_none());
    assert_eq!(format!("{weak:?}"), "(Weak; dead)");
}

#[test]
fn basic_callback() {
    start();
    let (it, calls) = (instance(), counter());
    let called = calls.clone();
    let weak = Weak::with_callback(&it, move |weak| {
        count(&called);
        assert!(!weak.is_alive());
    });
    assert!(weak.has_callback());
    drop(it);
    assert_eq!(
        (calls.get(), weak.is_alive(), weak.has_callback()),
        (1, false, false)
    );
}

#[test]
fn multiple_callbacks() {
    start();
    let (it, calls) = (instance(), counter());
    let refs = [0, 1].map(|_| {
        let called = calls.clone();
        Weak::with_callback(&it, move |_| count(&called))
    });
    drop(it);
    assert!(refs.iter().all(|weak| !weak.is_alive()));
    assert_eq!(calls.get(), 2);
}

#[test]
fn multiple_selfref_callbacks() {
    start();
    // All are dead before the first callback runs; the newest comes first.
    let it = instance();
    let refs: Rc<RefCell<Vec<Weak<Instance>>>> = Rc::default();
    let order: Rc<RefCell<Vec<usize>>> = Rc::default();
    for index in 0..3 {
        let (all, order) = (refs.clone(), order.clone());
        let weak = Weak::with_callback(&it, move |_| {
            assert!(all.borrow().iter().all(|weak| weak.upgrade().is_none()));
            order.borrow_mut().push(index);
        });
        refs.borrow_mut().push(weak);
    }
    drop(it);
    assert_eq!(*order.borrow(), [2, 1, 0]);
}

#[test]
fn ref_reuse() {
    start();
    let it = instance();
    let (first, second) = (Weak::from(&it), Weak::from(&it));
    assert_eq!(first.id(), second.id());
    let third = Weak::with_callback(&it, |_| ());
    let fourth = Weak::with_callback(&it, |_| ());
    assert!(third.id() != first.id() && third.id() != fourth.id());
    assert_eq!(weak_count(&it), 3);
    drop((first, second));
    assert_eq!(weak_count(&it), 2);
    drop((third, fourth));
    assert_eq!(weak_count(&it), 0);
    let again = Weak::from(&it);
    assert!(Gc::is(&again.upgrade().unwrap(), &it));
}

#[test]
fn a_dropped_weak_reference_never_calls_back() {
    start();
    let (it, calls) = (instance(), counter());
    let called = calls.clone();
    let weak = Weak::with_callback(&it, move |_| count(&called));
    let clone = weak.clone();
    drop(weak);
    drop(clone);
    drop(it);
    assert_eq!(calls.get(), 0);
}

#[test]
fn sf_bug_840829() {
    start();
    // A callback that collects while its referent is being destroyed, also when that is an attribute.
    for nested in [false, true] {
        let it = instance();
        let calls = counter();
        let called = calls.clone();
        let _weak = Weak::with_callback(&it, move |_| {
            count(&called);
            gc::collect();
        });
        if nested {
            let outer = list();
            outer.append(&it);
            drop(it);
            drop(outer);
        } else {
            drop(it);
        }
        assert_eq!(calls.get(), 1);
    }
}

#[test]
fn callback_in_cycle() {
    start();
    // An object with a weak reference to another, and its own method as callback: all of it is garbage.
    let (owner, target, calls) = (instance(), self_list(), counter());
    let weak = Weak::with_object(&Gc::erased(&target), method(&owner, &calls));
    owner.weak.borrow_mut().push(weak);
    owner.set(&target);
    owner.set(&owner);
    drop((owner, target));
    assert_eq!(gc::collect(), 4, "owner, target, method, weak reference");
    assert_eq!(calls.get(), 0);
}

#[test]
fn callback_reachable_one_way() {
    start();
    // The callback's owner reaches the referent, but not the other way round.
    let (owner, target, calls) = (instance(), instance(), counter());
    owner.set(&owner);
    owner.set(&target);
    target.set(&target);
    let weak = Weak::with_object(&Gc::erased(&target), method(&owner, &calls));
    owner.weak.borrow_mut().push(weak);
    drop((owner, target));
    gc::collect();
    assert_eq!(calls.get(), 0);
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn callback_in_cycle_resurrection() {
    start();
    // A trash weak reference does not call; one from outside does, once.
    let (owner, calls, outside) = (instance(), counter(), counter());
    owner.set(&owner);
    let weak = Weak::with_object(&Gc::erased(&owner), method(&owner, &calls));
    owner.weak.borrow_mut().push(weak);
    let called = outside.clone();
    let seen = Weak::with_callback(&owner, move |_| count(&called));
    drop(owner);
    gc::collect();
    assert_eq!((calls.get(), outside.get(), seen.is_alive()), (0, 1, false));
    assert_eq!(gc::collect(), 0);
    assert_eq!(outside.get(), 1);
}

#[test]
fn callbacks_on_callback() {
    start();
    // Weak references to a callback object.
    let (owner, target, calls) = (instance(), self_list(), counter());
    let callback = Gc::new(Method {
        owner: RefCell::new(vec![Gc::erased(&owner)]),
        calls: calls.clone(),
    });
    let (inside, outside) = (counter(), counter());
    let called = outside.clone();
    let external = Weak::with_callback(&callback, move |_| count(&called));
    let called = inside.clone();
    let internal = Weak::with_callback(&Gc::erased(&callback), move |_| count(&called));
    owner.weak.borrow_mut().push(internal);
    let weak = Weak::with_object(
        &Gc::erased(&target),
        Gc::unsize(callback, |callback| callback),
    );
    owner.weak.borrow_mut().push(weak);
    owner.set(&target);
    owner.set(&owner);
    drop((owner, target));
    gc::collect();
    assert_eq!((calls.get(), inside.get(), outside.get()), (0, 0, 1));
    assert!(!external.is_alive());
}

#[test]
fn gc_during_ref_creation() {
    gc::enable();
    gc::set_threshold(1, Some(1), Some(1));
    let it = instance();
    let mut refs = Vec::new();
    for _ in 0..100 {
        drop(self_list());
        refs.push(Weak::from(&it));
        refs.push(Weak::with_callback(&it, |_| ()));
    }
    assert_eq!(weak_count(&it), 101);
    assert!(refs.iter().all(Weak::is_alive));
}

#[test]
fn ref_created_during_del() {
    start();
    let kept: Rc<RefCell<Weak<Instance>>> = Rc::default();
    let store = kept.clone();
    drop(with_del(move |this| *store.borrow_mut() = Weak::from(this)));
    assert!(!kept.borrow().is_alive());
}

#[test]
fn trashcan_16602() {
    start();
    // A chain of a hundred objects; each callback reads the neighbours' weak references.
    let refs: Rc<RefCell<Vec<Weak<Instance>>>> = Rc::default();
    let mut last = instance();
    for _ in 0..100 {
        let next = instance();
        next.set(&last);
        let all = refs.clone();
        let weak = Weak::with_callback(&last, move |_| {
            for weak in all.borrow().iter() {
                if let Some(alive) = weak.upgrade() {
                    assert!(
                        Gc::strong_count(&alive) >= 2,
                        "an object with count 0 came back"
                    );
                }
            }
        });
        refs.borrow_mut().push(weak);
        last = next;
    }
    drop(last);
    assert!(refs.borrow().iter().all(|weak| !weak.is_alive()));
}

#[test]
fn callback_gcs() {
    start();
    let it = with_del(|_| ());
    let _weak = Weak::with_callback(&it, |_| {
        gc::collect();
    });
    it.set(&it);
    drop(it);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn subclass_refs_with_cycle() {
    start();
    // A weak reference that owns its referent.
    let (it, calls) = (instance(), counter());
    let called = calls.clone();
    let weak = Weak::with_callback(&Gc::erased(&it), move |_| count(&called));
    it.weak.borrow_mut().push(weak);
    it.set(&it);
    drop(it);
    assert_eq!(gc::collect(), 2);
    assert_eq!(calls.get(), 0);
}
