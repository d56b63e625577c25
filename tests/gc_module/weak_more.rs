//! test_weakref.py's other checks: what a weak reference says of itself, errors in callbacks, dictionaries of
//! weak references.

use crate::world::{Instance, count, counter, instance, list, self_list, start, with_del};
use pymalloc::gc;
use pymalloc::object::{Gc, Weak, weak_count};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

#[test]
fn repr_failure_gh99184() {
    start();
    struct Odd;
    pymalloc::impl_trace!(leaf Odd);
    impl fmt::Debug for Odd {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("whoever prints a weak reference does not ask the object");
        }
    }
    let it = Gc::new(Odd);
    assert_eq!(format!("{:?}", Weak::from(&it)), "(Weak)");
}

#[test]
fn shared_ref_without_callback() {
    start();
    let it = instance();
    let first = Weak::from(&it);
    let _watching = Weak::with_callback(&it, |_| ());
    let second = Weak::from(&it);
    assert!(first.ptr_eq(&second) && first.clone().ptr_eq(&second));
    assert_eq!(weak_count(&it), 2);
}

#[test]
fn getweakrefcount() {
    start();
    let it = instance();
    let refs = [Weak::from(&it), Weak::with_callback(&it, |_| ())];
    let more = Weak::with_callback(&it, |_| ());
    assert_eq!(weak_count(&it), 3);
    drop((refs, more));
    assert_eq!(weak_count(&it), 0);
    assert_eq!(weak_count(&Gc::new(1)), 0);
}

#[test]
fn callbacks_protected() {
    start();
    // A callback that runs while a panic unwinds does not disturb it, and its own ends with it.
    gc::set_unraisable_hook(Some(|_| ()));
    let calls = counter();
    let called = calls.clone();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let it = instance();
        let _weak = Weak::with_callback(&it, move |_| {
            count(&called);
        });
        let _held = it;
        std::panic::resume_unwind(Box::new("the program's own"));
    }));
    let payload = unwound.expect_err("it panicked");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the program's own"));
    let it = instance();
    let called = calls.clone();
    let weak = Weak::with_callback(&it, move |_| {
        count(&called);
        std::panic::resume_unwind(Box::new("the callback's"));
    });
    drop(it);
    assert!(!weak.is_alive());
    gc::set_unraisable_hook(None);
    assert!(calls.get() >= 1, "the second one was called for certain");
}

#[test]
fn classes() {
    start();
    // What is always in a cycle dies by a collection only, and the callback gets the weak reference.
    let class = self_list();
    let seen: Rc<RefCell<Vec<usize>>> = Rc::default();
    let ids = seen.clone();
    let weak = Weak::with_callback(&class, move |weak| ids.borrow_mut().push(weak.id()));
    drop(class);
    assert!(weak.is_alive());
    assert_eq!(gc::collect(), 1);
    assert_eq!(
        (weak.is_alive(), seen.borrow().as_slice()),
        (false, [weak.id()].as_slice())
    );
}

#[test]
fn equality() {
    start();
    // The referent's identity is what is compared, and the reference's own when it is dead.
    let (a, b) = (list(), list());
    let (x, y, z) = (Weak::from(&a), Weak::from(&a), Weak::from(&b));
    assert!(x.ptr_eq(&y) && !x.ptr_eq(&z));
    drop((a, b));
    assert_eq!(x.id(), y.id());
    assert_ne!(x.id(), z.id());
}

#[test]
fn callback_attribute() {
    start();
    let it = instance();
    assert!(!Weak::from(&it).has_callback());
    assert!(Weak::with_callback(&it, |_| ()).has_callback());
}

#[test]
fn callback_attribute_after_deletion() {
    start();
    let it = instance();
    let weak = Weak::with_callback(&it, |_| ());
    drop(it);
    assert!(!weak.has_callback());
}

#[test]
fn subclass_refs_dont_conflate_callbacks() {
    start();
    let it = instance();
    let (first, second) = (counter(), counter());
    let refs = [&first, &second].map(|calls| {
        let called = calls.clone();
        Weak::with_callback(&it, move |_| count(&called))
    });
    assert_ne!(refs[0].id(), refs[1].id());
    drop(it);
    assert_eq!((first.get(), second.get()), (1, 1));
}

#[test]
fn callback_different_classes() {
    start();
    // The owner of the callback and the referent are of two types, and in one dead set.
    let (owner, target, calls) = (instance(), self_list(), counter());
    let callback = crate::world::method(&owner, &calls);
    let weak = Weak::with_object(&Gc::erased(&target), callback);
    owner.weak.borrow_mut().push(weak);
    owner.set(&target);
    owner.set(&owner);
    drop((owner, target));
    assert_eq!(gc::collect(), 4);
    assert_eq!(calls.get(), 0);
}

#[test]
fn gc_during_proxy_creation() {
    // As `gc_during_ref_creation`, with another reference made inside each callback.
    gc::enable();
    gc::set_threshold(1, Some(1), Some(1));
    let it = instance();
    let made: Rc<RefCell<Vec<Weak<Instance>>>> = Rc::default();
    for _ in 0..50 {
        let (other, again, it_too) = (instance(), made.clone(), Weak::from(&it));
        let _watching = Weak::with_callback(&other, move |_| {
            let it = it_too.upgrade().expect("held by the test");
            again.borrow_mut().push(Weak::with_callback(&it, |_| ()));
        });
        other.set(&other);
        drop((other, self_list()));
        gc::collect();
    }
    gc::disable();
    assert_eq!((made.borrow().len(), weak_count(&it)), (50, 50));
}

/// A dictionary of weak references that forgets those that died: WeakValueDictionary.
#[derive(Clone, Default)]
struct WeakValues(Rc<RefCell<BTreeMap<usize, Weak<Instance>>>>);

impl WeakValues {
    fn set(&self, key: usize, value: &Gc<Instance>) {
        let entries = Rc::downgrade(&self.0);
        let weak = Weak::with_callback(value, move |_| {
            let Some(entries) = entries.upgrade() else {
                return;
            };
            drop(entries.borrow_mut().remove(&key));
        });
        self.0.borrow_mut().insert(key, weak);
    }

    fn len(&self) -> usize {
        self.0
            .borrow()
            .values()
            .filter(|weak| weak.is_alive())
            .count()
    }
}

#[test]
fn len_cycles() {
    start();
    let values = WeakValues::default();
    for key in 0..20 {
        let it = instance();
        it.set(&it);
        values.set(key, &it);
    }
    let held = values.0.borrow()[&7].upgrade();
    gc::collect();
    assert_eq!(values.len(), 1);
    drop(held);
    gc::collect();
    assert_eq!((values.len(), values.0.borrow().len()), (0, 0));
}

#[test]
fn len_race() {
    // Whenever collections run, there are never more entries than before, nor less than none.
    for threshold in (1..100).step_by(7) {
        gc::enable();
        gc::set_threshold(threshold, Some(threshold), Some(threshold));
        let values = WeakValues::default();
        const N: usize = 40;
        for key in 0..N {
            let it = instance();
            it.set(&it);
            values.set(key, &it);
        }
        let mut before = values.len();
        assert!(before <= N);
        for _ in 0..N {
            drop(self_list());
            let now = values.len();
            assert!(now <= before);
            before = now;
        }
        gc::disable();
        gc::collect();
        assert_eq!(values.len(), 0);
    }
}

#[test]
fn weak_valued_delitem_from_a_finalizer() {
    start();
    // Cascading deletes: a finalizer removes another entry while its own is being removed.
    let (values, done) = (WeakValues::default(), counter());
    for key in 0..10 {
        let (entries, ran) = (values.clone(), done.clone());
        let it = with_del(move |_| {
            count(&ran);
            drop(entries.0.borrow_mut().remove(&(key + 1)));
        });
        values.set(key, &it);
        it.set(&it);
    }
    gc::collect();
    assert_eq!((done.get(), values.len()), (10, 0));
}
