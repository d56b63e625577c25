//! test_gc.py's cases around classes, dicts and functions, as what they are to a collector: objects that refer
//! to each other in that shape.

use crate::world::{Instance, count, counter, instance, legacy, list, self_list, start, with_del};
use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Erased, Gc, Weak};
use pymalloc::python::{Dict, Python, Value};
use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A class: it refers to its mro, a tuple that begins with the class itself.
fn class_with(base: Option<&Gc<Instance>>) -> Gc<Instance> {
    let made = instance();
    let mro: Vec<_> = [Some(&made), base]
        .into_iter()
        .flatten()
        .map(Gc::erased)
        .collect();
    made.set(&Gc::<[_]>::from(mro));
    made
}

/// An instance: its first attribute is its class.
fn instance_of(class: &Gc<Instance>) -> Gc<Instance> {
    let made = instance();
    made.set(class);
    made
}

#[test]
fn dict() {
    start();
    let python = Python::new();
    let Value::Dict(dict) = python.dict() else {
        unreachable!("made as one");
    };
    Dict::insert(&dict, python.int(1), Value::Dict(dict.clone())).unwrap();
    gc::collect();
    drop(dict);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn class() {
    start();
    // A class is in a cycle with its mro.
    drop(class_with(None));
    assert_eq!((gc::collect(), gc::collect()), (2, 0));
}

#[test]
fn newstyleclass() {
    start();
    let base = class_with(None);
    drop(class_with(Some(&base)));
    assert_eq!((gc::collect(), gc::collect()), (2, 0));
    drop(base);
    assert_eq!(gc::collect(), 2);
}

#[test]
fn newinstance() {
    start();
    // An instance that refers to itself, of a class that is used; then the class goes with the last one.
    let class = class_with(None);
    let a = instance_of(&class);
    a.set(&a);
    drop(a);
    assert_eq!((gc::collect(), gc::collect()), (1, 0));
    let b = instance_of(&class);
    b.set(&b);
    class.set(&b);
    drop((b, class));
    assert_eq!((gc::collect(), gc::collect()), (3, 0));
}

#[test]
fn legacy_finalizer_newclass() {
    start();
    // Beside an object with `tp_del` in a cycle, a class whose cycle is collected.
    let deaths = counter();
    let (a, class) = (legacy(&deaths), class_with(None));
    a.attributes.borrow_mut().push(Gc::erased(&a));
    let id = Gc::id(&a);
    drop((a, class));
    assert_eq!(
        gc::collect(),
        3,
        "class and mro, and one that is not collected"
    );
    let garbage = gc::take_garbage();
    assert_eq!(
        (garbage.len(), Gc::id(&garbage[0]), deaths.get()),
        (1, id, 0)
    );
    let a = garbage.into_iter().next().unwrap();
    let a = a.downcast::<crate::world::Legacy>().unwrap();
    drop(a.attributes.take());
    drop(a);
    assert_eq!(deaths.get(), 1);
}

#[test]
fn function_tp_clear_leaves_consistent_state() {
    start();
    // A weak reference to a function, taken inside another garbage object's finalizer and read when values
    // are dropped: dead then, so nobody sees a function without its contents.
    let taken: Rc<RefCell<Weak<Instance>>> = Rc::default();
    let (store, reads) = (taken.clone(), counter());
    let function = instance();
    let globals = list();
    function.set(&globals);
    globals.append(&function);
    // The function is found through the finalizer's own object only: what a closure holds counts as used.
    let finalized = with_del(move |this| {
        let function = this.attributes.borrow()[0].clone();
        *store.borrow_mut() = Weak::from(&function.downcast::<Instance>().unwrap());
    });
    finalized.set(&function);
    globals.append(&finalized);
    /// Reads the weak reference when it is dropped.
    struct Reader(Rc<RefCell<Weak<Instance>>>, Rc<std::cell::Cell<u32>>);
    impl Drop for Reader {
        fn drop(&mut self) {
            assert!(self.0.borrow().upgrade().is_none());
            count(&self.1);
        }
    }
    pymalloc::impl_trace!(leaf Reader);
    let reader = Gc::new(Reader(taken.clone(), reads.clone()));
    globals.append(&reader);
    drop((function, globals, finalized, reader));
    assert_eq!(gc::collect(), 3);
    assert_eq!(reads.get(), 1);
}

#[test]
fn del_newclass() {
    start();
    gc::enable();
    gc::set_threshold(1, None, None);
    // As `del`, of a class with a base, which goes with it.
    for _ in 0..100 {
        let class = class_with(Some(&class_with(None)));
        let a = with_del(|_| drop((list(), self_list())));
        a.set(&class);
        class.set(&a);
    }
    gc::disable();
    gc::set_threshold(700, None, None);
    for _ in 0..3 {
        gc::collect();
    }
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

/// What has side effects on the cycle it is in whenever it is looked at, by printing, comparing or hashing.
pub struct Hostile {
    attributes: RefCell<Vec<Gc<Erased>>>,
}
impl_trace!(struct Hostile { attributes });

impl Hostile {
    fn boom(&self) -> ! {
        drop(self.attributes.take());
        panic!("the collector looks at no value");
    }
}

impl fmt::Debug for Hostile {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.boom()
    }
}

impl PartialEq for Hostile {
    fn eq(&self, _: &Self) -> bool {
        self.boom()
    }
}

impl Hash for Hostile {
    fn hash<H: Hasher>(&self, _: &mut H) {
        self.boom()
    }
}

/// Two hostile objects that refer to each other are collected, whatever else the first one holds.
pub fn hostile_cycle(more: impl Fn(&Gc<Hostile>)) {
    let [a, b] = [(); 2].map(|()| {
        let attributes = RefCell::default();
        Gc::new(Hostile { attributes })
    });
    a.attributes.borrow_mut().push(Gc::erased(&b));
    b.attributes.borrow_mut().push(Gc::erased(&a));
    more(&a);
    drop((a, b));
    assert_eq!(gc::collect(), 2);
    assert!(gc::garbage().is_empty());
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn boom_new() {
    start();
    hostile_cycle(|_| ());
}

/// As [`boom2`], with more than the one reference that the hostile object holds.
#[test]
fn boom2_new() {
    start();
    hostile_cycle(|hostile| hostile.attributes.borrow_mut().push(Gc::erased(hostile)));
}

#[test]
fn boom2() {
    start();
    // A finalizer that breaks the cycle it is in: both die, and nothing is left in the garbage list.
    let (a, b) = (with_del(|this| drop(this.attributes.take())), instance());
    a.set(&b);
    b.set(&a);
    drop((a, b));
    assert_eq!(
        gc::collect(),
        0,
        "they die by their counts, before the collector's turn"
    );
    assert!(gc::garbage().is_empty());
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

/// Runs `left` in a thread that ends, and returns how often the finalizers in it ran.
fn finalized_at_the_end(left: impl FnOnce(Arc<AtomicU32>) + Send + 'static) -> u32 {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = calls.clone();
    // A panic in the thread is part of one of the tests.
    let _ = std::thread::spawn(move || left(seen)).join();
    calls.load(Relaxed)
}

fn cycle_that_counts(calls: Arc<AtomicU32>) -> Gc<Instance> {
    let made = with_del(move |_| {
        calls.fetch_add(1, Relaxed);
    });
    made.set(&made);
    made
}

#[test]
fn gc_ordinary_module_at_shutdown() {
    // A cycle that something older refers to: it is found when the thread ends.
    let calls = finalized_at_the_end(|calls| {
        gc::disable();
        let module = self_list();
        module.append(&cycle_that_counts(calls));
        gc::collect();
    });
    assert_eq!(calls, 1);
}

#[test]
fn global_del_systemexit() {
    // Also when the thread ends by a panic.
    let calls = finalized_at_the_end(|calls| {
        gc::disable();
        let _held = cycle_that_counts(calls);
        std::panic::resume_unwind(Box::new("the thread is left"));
    });
    assert_eq!(calls, 1);
}

#[test]
fn get_referents_on_capsule() {
    start();
    // A leaf has no referents; an object with a slot that is empty has none either.
    let capsule = Gc::erase(Gc::new(7_u32));
    assert!(!Gc::is_tracked(&capsule));
    assert!(gc::get_referents(&[&capsule]).is_empty());
    assert!(gc::get_referents(&[&Gc::erase(list())]).is_empty());
}

#[test]
fn get_objects_generations() {
    start();
    let it = list();
    for generation in 0..3 {
        for listed in 0..3 {
            let objects = gc::get_objects(Some(listed)).unwrap();
            let is_there = objects.iter().any(|object| Gc::is(object, &it));
            assert_eq!(is_there, listed == generation);
        }
        gc::collect_generation(generation.min(1)).unwrap();
    }
}

#[test]
fn deferred_refcount_frozen() {
    start();
    // Freezing, collecting and unfreezing between handles that come and go.
    let held = self_list();
    gc::freeze();
    let more: Vec<_> = (0..10).map(|_| held.clone()).collect();
    assert_eq!(gc::collect(), 0);
    drop(more);
    gc::unfreeze();
    assert_eq!(Gc::strong_count(&held), 2);
    drop(held);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn incremental_gc_handles_fast_cycle_creation() {
    start();
    gc::enable();
    let kept: Vec<_> = (0..1000).map(|_| list()).collect();
    let mut most = 0;
    for n in 0..200_000 {
        drop(self_list());
        if n % 500 == 0 {
            most = most.max(gc::get_objects(None).unwrap().len());
        }
    }
    gc::disable();
    assert!(most < kept.len() + 2000, "{most} objects at a time");
}

#[test]
fn ast_fini() {
    // An instance that dies last, with its type: the type's memory is there while it dies.
    let calls = finalized_at_the_end(|calls| {
        gc::disable();
        let class = class_with(None);
        let it = cycle_that_counts(calls);
        it.set(&class);
        class.set(&it);
    });
    assert_eq!(calls, 1);
}
