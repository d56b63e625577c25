//! GCTests.

use crate::world::{
    Instance, count, counter, instance, legacy, list, method, self_list, start, with_del,
};
use pymalloc::gc::{self, GcError};
use pymalloc::object::{Gc, Generation, Weak};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

fn in_child(test: &str) -> String {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("PYMALLOC_GC_CHILD", "1")
        .output()
        .expect("a child");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_child() -> bool {
    std::env::var_os("PYMALLOC_GC_CHILD").is_some()
}

#[test]
fn list_() {
    start();
    drop(self_list());
    assert_eq!((gc::collect(), gc::collect()), (1, 0));
}

#[test]
fn tuple() {
    start();
    let inner = list();
    let tuple: Gc<[Gc<_>]> = vec![inner.clone()].into();
    inner.append(&tuple);
    drop((tuple, inner));
    assert_eq!(gc::collect(), 2);
}

#[test]
fn instance_() {
    start();
    let a = instance();
    a.set(&a);
    drop(a);
    assert_eq!((gc::collect(), gc::collect()), (1, 0));
}

#[test]
fn method_() {
    start();
    // An instance that holds its own bound method.
    let a = instance();
    a.set(&method(&a, &counter()));
    drop(a);
    assert_eq!((gc::collect(), gc::collect()), (2, 0));
}

#[test]
fn legacy_finalizer() {
    start();
    let deaths = counter();
    let a = legacy(&deaths);
    a.attributes.borrow_mut().push(Gc::erased(&a));
    let id = Gc::id(&a);
    let b = self_list();
    drop((a, b));
    assert_eq!(gc::collect(), 2, "one collected, one not");
    assert_eq!(deaths.get(), 0);
    let garbage = gc::take_garbage();
    assert_eq!(garbage.iter().map(Gc::id).collect::<Vec<_>>(), [id]);
    // Breaking the cycle by hand frees it.
    let a = garbage
        .into_iter()
        .next()
        .unwrap()
        .downcast::<crate::world::Legacy>()
        .unwrap();
    drop(a.attributes.take());
    drop(a);
    assert_eq!(deaths.get(), 1);
    assert!(gc::garbage().is_empty());
}

#[test]
fn what_a_legacy_object_reaches_is_kept_too() {
    start();
    let a = legacy(&counter());
    let reached = list();
    let weak = Weak::from(&reached);
    a.attributes
        .borrow_mut()
        .extend([Gc::erased(&a), Gc::erase(reached)]);
    drop(a);
    assert_eq!(gc::collect(), 2, "the object and the list");
    assert_eq!(gc::get_stats()[2].uncollectable, 2);
    assert!(weak.is_alive());
    assert_eq!(
        gc::take_garbage().len(),
        1,
        "only the object itself is listed"
    );
}

#[test]
fn function() {
    start();
    // A function and its globals.
    let (function, globals) = (instance(), list());
    function.set(&globals);
    globals.append(&function);
    drop((function, globals));
    assert_eq!(gc::collect(), 2);
}

#[test]
fn frame() {
    start();
    let frame = instance();
    frame.set(&frame);
    drop(frame);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn saveall() {
    start();
    assert_eq!(gc::garbage().len(), 0);
    let cycle = self_list();
    let id = Gc::id(&cycle);
    drop(cycle);
    gc::set_debug(gc::get_debug() | gc::SAVEALL);
    assert_eq!(gc::collect(), 1);
    gc::set_debug(0);
    let garbage = gc::garbage();
    assert_eq!((garbage.len(), Gc::id(&garbage[0])), (1, id));
    let saved = garbage[0].downcast_ref::<crate::world::List>().unwrap();
    assert_eq!(saved.0.borrow().len(), 1, "it is not cleared");
    drop((garbage, gc::take_garbage()));
    assert_eq!(gc::collect(), 1);
}

#[test]
fn del() {
    start();
    gc::enable();
    gc::set_threshold(1, None, None);
    // `__del__` allocates.
    drop(with_del(|_| drop((list(), self_list()))));
    for _ in 0..100 {
        let a = with_del(|_| drop((list(), self_list())));
        a.set(&a);
    }
    gc::disable();
    gc::set_threshold(700, None, None);
    gc::collect();
    gc::collect();
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn get_count() {
    start();
    gc::collect();
    let (young, middle, old) = gc::get_count();
    assert!(young < 5);
    assert_eq!((middle, old), (0, 0));
    let made = list();
    assert_eq!(gc::get_count().0, young + 1);
    drop(made);
    assert_eq!(gc::get_count().0, young);
    // Leaves are not counted.
    let leaves: Vec<_> = (0..10).map(Gc::new).collect();
    assert_eq!(gc::get_count().0, young);
    drop(leaves);
}

#[test]
fn collect_generations() {
    start();
    gc::collect();
    let _made = list();
    let counts = || {
        let (_, middle, old) = gc::get_count();
        (middle, old)
    };
    gc::collect_generation(0).unwrap();
    assert_eq!(counts(), (1, 0));
    gc::collect_generation(1).unwrap();
    assert_eq!(counts(), (0, 1));
    gc::collect_generation(2).unwrap();
    assert_eq!(counts(), (0, 0));
}

#[test]
fn trashcan() {
    start();
    gc::enable();
    let calls = Rc::new(Cell::new(0u32));
    for _ in 0..2 {
        for n in 1..150 {
            let mut nest = list();
            for _ in 0..n {
                let calls = calls.clone();
                let ouch = with_del(move |_| {
                    calls.set(calls.get() + 1);
                    if calls.get().is_multiple_of(17) {
                        gc::collect();
                    }
                });
                ouch.set(&nest);
                nest = list();
                nest.append(&ouch);
            }
        }
    }
    gc::disable();
    gc::collect();
    assert_eq!(calls.get(), 2 * (1..150).sum::<u32>());
}

#[test]
fn trashcan_threads() {
    const NESTING: u32 = 60;
    let run = || {
        let counts = (counter(), counter());
        for _ in 0..400 {
            let mut nest = list();
            for _ in 0..NESTING {
                count(&counts.0);
                let ended = counts.1.clone();
                let inner = with_del(move |_| {
                    std::thread::yield_now();
                    count(&ended);
                });
                inner.set(&nest);
                nest = list();
                nest.append(&inner);
            }
        }
        (counts.0.get(), counts.1.get())
    };
    let threads = [(); 2].map(|()| std::thread::spawn(run));
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (400 * NESTING, 400 * NESTING));
    }
}

#[test]
fn boom() {
    start();
    crate::classes::hostile_cycle(|_| ());
}

#[test]
fn get_referents() {
    start();
    let (a, b, c) = (list(), list(), list());
    a.append(&b);
    a.append(&c);
    a.append(&b);
    let ids = |of: &[&Gc<_>]| gc::get_referents(of).iter().map(Gc::id).collect::<Vec<_>>();
    let (a, b, c) = (Gc::erase(a), Gc::erase(b), Gc::erase(c));
    assert_eq!(ids(&[&a]), [Gc::id(&b), Gc::id(&c), Gc::id(&b)]);
    assert_eq!(ids(&[&b, &a]).len(), 3);
    assert!(ids(&[&Gc::erase(Gc::new(4u32))]).is_empty());
}

#[test]
fn get_referrers() {
    start();
    let (a, b, target) = (list(), list(), list());
    a.append(&target);
    b.append(&a);
    let target = Gc::erase(target);
    let found = gc::get_referrers(&[&target]);
    assert_eq!(found.iter().map(Gc::id).collect::<Vec<_>>(), [Gc::id(&a)]);
}

#[test]
fn is_tracked() {
    start();
    assert!(!Gc::is_tracked(&Gc::new(1)) && !Gc::is_tracked(&Gc::new(String::new())));
    assert!(Gc::is_tracked(&list()) && Gc::is_tracked(&instance()));
    let tuple: Gc<[u8]> = vec![1].into();
    assert!(!Gc::is_tracked(&tuple));
    let made = list();
    Gc::untrack(&made);
    assert!(!Gc::is_tracked(&made));
    Gc::track(&made);
    assert_eq!(Gc::generation(&made), Some(Generation::Young));
    let atom = Gc::new(1);
    Gc::track(&atom);
    assert!(!Gc::is_tracked(&atom), "it has nothing to trace");
}

#[test]
fn is_finalized() {
    start();
    assert!(!Gc::is_finalized(&Gc::new(3)));
    let kept: Rc<RefCell<Vec<Gc<Instance>>>> = Rc::default();
    let store = kept.clone();
    let lazarus = with_del(move |this| store.borrow_mut().push(this.clone()));
    assert!(!Gc::is_finalized(&lazarus));
    drop(lazarus);
    let lazarus = kept.borrow_mut().pop().unwrap();
    assert!(Gc::is_finalized(&lazarus));
}

#[test]
fn bug1055820b() {
    start();
    // Callbacks on two members of a dead cycle read both weak references.
    let (a, b) = (instance(), instance());
    a.set(&b);
    b.set(&a);
    let seen: Rc<RefCell<Vec<bool>>> = Rc::default();
    let refs: Rc<RefCell<Vec<Weak<Instance>>>> = Rc::default();
    for object in [&a, &b] {
        let (seen, all) = (seen.clone(), refs.clone());
        let weak = Weak::with_callback(object, move |_| {
            let mut seen = seen.borrow_mut();
            seen.extend(all.borrow().iter().map(|weak| weak.upgrade().is_some()));
        });
        refs.borrow_mut().push(weak);
    }
    drop((a, b));
    assert_eq!(gc::collect(), 2);
    assert_eq!(*seen.borrow(), [false; 4]);
}

#[test]
fn bug21435() {
    start();
    // A finalizer changes its own attributes in a cycle of two.
    let (a, b) = (
        with_del(|this| drop(this.attributes.take())),
        with_del(|_| ()),
    );
    a.set(&b);
    b.set(&a);
    drop((a, b));
    gc::collect();
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn garbage_at_shutdown() {
    if is_child() {
        let run = || {
            gc::set_debug(gc::UNCOLLECTABLE);
            let a = legacy(&counter());
            a.attributes.borrow_mut().push(Gc::erased(&a));
            drop(a);
            gc::collect();
        };
        std::thread::spawn(run).join().unwrap();
        return;
    }
    let said = in_child("gc_tests::garbage_at_shutdown");
    assert!(
        said.contains("gc: uncollectable <gc_module::world::Legacy 0x"),
        "{said}"
    );
    assert!(
        said.contains("gc: 1 uncollectable objects at shutdown\n"),
        "{said}"
    );
}

#[test]
fn gc_main_module_at_shutdown() {
    // `__del__` in a cycle that is left runs when the thread ends.
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let seen = calls.clone();
    let run = move || {
        gc::disable();
        let a = with_del(move |_| {
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        a.set(&a);
    };
    std::thread::spawn(run).join().unwrap();
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn get_stats() {
    start();
    let before = gc::get_stats();
    gc::collect_generation(0).unwrap();
    let between = gc::get_stats();
    assert_eq!(between[0].collections, before[0].collections + 1);
    assert_eq!(between[1..], before[1..]);
    gc::collect();
    let after = gc::get_stats();
    assert_eq!(after[2].collections, between[2].collections + 1);
    assert_eq!(after[..2], between[..2]);
}

#[test]
fn gc_debug_stats() {
    if is_child() {
        start();
        gc::set_debug(gc::STATS | gc::COLLECTABLE);
        drop(self_list());
        gc::collect();
        gc::set_debug(0);
        gc::collect();
        return;
    }
    let said = in_child("gc_tests::gc_debug_stats");
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("gc: "))
        .collect();
    assert_eq!(lines.len(), 5, "{said}");
    assert_eq!(lines[0], "gc: collecting generation 2...");
    assert_eq!(lines[1], "gc: objects in each generation: 1 0 0");
    assert_eq!(lines[2], "gc: objects in permanent generation: 0");
    assert!(lines[3].starts_with("gc: collectable <gc_module::world::List 0x"));
    let done = "gc: done, 1 unreachable, 0 uncollectable, 0.";
    assert!(
        lines[4].starts_with(done) && lines[4].ends_with("s elapsed"),
        "{}",
        lines[4]
    );
}

#[test]
fn freeze() {
    start();
    let cycle = self_list();
    gc::freeze();
    assert_eq!(
        (gc::get_freeze_count(), gc::get_objects(None).unwrap().len()),
        (1, 0)
    );
    assert_eq!(Gc::generation(&cycle), Some(Generation::Frozen));
    drop(cycle);
    assert_eq!(gc::collect(), 0);
    gc::unfreeze();
    assert_eq!(gc::get_freeze_count(), 0);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn get_objects() {
    start();
    gc::collect();
    let made = list();
    let is_in = |generation| {
        let objects = gc::get_objects(Some(generation)).unwrap();
        objects.iter().any(|object| Gc::is(object, &made))
    };
    assert!(is_in(0) && !is_in(1) && !is_in(2));
    gc::collect_generation(0).unwrap();
    assert!(!is_in(0) && is_in(1) && !is_in(2));
    gc::collect_generation(1).unwrap();
    assert!(!is_in(0) && !is_in(1) && is_in(2));
    gc::collect();
    assert!(!is_in(0) && !is_in(1) && is_in(2));
}

#[test]
fn get_objects_arguments() {
    start();
    let _made = list();
    assert_eq!(
        gc::get_objects(None).unwrap().len(),
        gc::get_objects(Some(-1)).unwrap().len()
    );
    let refused = |generation| gc::get_objects(Some(generation)).unwrap_err();
    assert_eq!(refused(1000), GcError::NoSuchGeneration);
    assert_eq!(
        refused(3).to_string(),
        "generation parameter must be less than the number of available generations (3)"
    );
    assert_eq!(
        refused(-1000).to_string(),
        "generation parameter cannot be negative"
    );
    for generation in [-1, 3] {
        let refused = gc::collect_generation(generation).unwrap_err();
        assert_eq!(refused.to_string(), "invalid generation");
    }
}

type Kept = Rc<RefCell<Vec<Gc<Instance>>>>;

fn lazarus(kept: &Kept, calls: &Rc<Cell<u32>>) -> Gc<Instance> {
    let (kept, calls) = (kept.clone(), calls.clone());
    let made = with_del(move |this| {
        count(&calls);
        kept.borrow_mut().push(this.clone());
    });
    made.set(&made);
    made
}

#[test]
fn resurrection_only_happens_once_per_object() {
    start();
    let (kept, calls) = (Kept::default(), counter());
    drop(lazarus(&kept, &calls));
    assert_eq!(gc::collect(), 0);
    assert_eq!((calls.get(), kept.borrow().len()), (1, 1));
    drop(kept.take());
    assert_eq!(gc::collect(), 1);
    assert_eq!((calls.get(), kept.borrow().len()), (1, 0));
}

#[test]
fn resurrection_is_transitive() {
    start();
    let (kept, calls) = (Kept::default(), counter());
    let it = lazarus(&kept, &calls);
    let cargo = list();
    it.set(&cargo);
    let id = Gc::id(&cargo);
    drop((it, cargo));
    assert_eq!(gc::collect(), 0);
    let it = kept.borrow_mut().pop().unwrap();
    assert_eq!(Gc::id(&it.attributes.borrow()[1]), id);
}

#[test]
fn resurrection_does_not_block_cleanup_of_other_objects() {
    start();
    let plain = || (0..100).for_each(|_| drop(self_list()));
    let collected = || gc::get_stats()[2].collected;
    let (kept, calls) = (Kept::default(), counter());
    let before = collected();
    plain();
    assert_eq!((gc::collect(), collected() - before), (100, 100));
    drop(lazarus(&kept, &calls));
    assert_eq!((gc::collect(), collected() - before), (0, 100));
    plain();
    drop(lazarus(&kept, &calls));
    assert_eq!((gc::collect(), collected() - before), (100, 200));
    drop(kept.take());
    assert_eq!((gc::collect(), collected() - before), (2, 202));
}

#[test]
fn trash_weakref_clear() {
    start();
    // A container without traverse (what it holds counts as used) hides an object that holds a weak reference
    // to another; all of it is garbage.
    struct Hides(#[allow(dead_code)] RefCell<Option<Gc<Instance>>>);
    pymalloc::impl_trace!(leaf Hides);
    let calls = counter();
    let (hidden, cycle) = (instance(), self_list());
    let called = calls.clone();
    let weak = Weak::with_callback(&Gc::erased(&cycle), move |_| count(&called));
    hidden.weak.borrow_mut().push(weak);
    cycle.append(&Gc::new(Hides(RefCell::new(Some(hidden)))));
    drop(cycle);
    // The weak reference is used from "outside", as far as anybody can tell: so it calls back, once, unlike in
    // CPython, whose collector may tear down what it found reachable only through the container.
    gc::collect();
    assert!(calls.get() <= 1);
    gc::collect();
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn get_objects_during_gc() {
    start();
    let sizes: Rc<RefCell<Vec<(usize, usize)>>> = Rc::default();
    let seen = sizes.clone();
    let it = with_del(move |this| {
        let objects = gc::get_objects(None).unwrap().len();
        let referrers = gc::get_referrers(&[&Gc::erased(this)]).len();
        seen.borrow_mut().push((objects, referrers));
    });
    it.set(&it);
    drop(it);
    assert_eq!(gc::collect(), 1);
    assert_eq!(*sizes.borrow(), [(0, 0)]);
}

#[test]
fn traverse_frozen_objects() {
    start();
    let frozen = list();
    gc::freeze();
    let cycle = self_list();
    cycle.append(&frozen);
    drop(cycle);
    assert_eq!(gc::collect(), 1);
    assert_eq!(Gc::strong_count(&frozen), 1);
    gc::unfreeze();
}

#[test]
fn a_cycle_across_two_pools_is_found_through_a_clean_one() {
    start();
    // Cards decide whether an old collection runs, never who is a candidate.
    let a = instance();
    let fill: Vec<_> = (0..1000).map(|_| instance()).collect();
    let b = instance();
    a.set(&b);
    b.set(&a);
    for _ in 0..3 {
        gc::collect();
    }
    drop(a);
    assert_eq!(gc::collect(), 0);
    drop(b);
    drop(fill);
    assert_eq!(gc::collect(), 2);
}
