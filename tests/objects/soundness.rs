//! The programs that broke other collectors: none may touch a dead value.

use crate::support::{Final, Log, logged, node, self_cycle, start, with_finalizer};
use pymalloc::gc;
use pymalloc::impl_trace;
use pymalloc::object::{Gc, Slot, Weak};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A leaf with a `Drop` that tries to reach a member of the set it dies with.
struct Spy {
    weak: RefCell<Weak<Spied>>,
    log: Log,
}
impl_trace!(leaf Spy);

struct Spied {
    name: String,
    spy: Spy,
    next: Slot<Spied>,
}
impl_trace!(struct Spied { name, spy, next });

impl Drop for Spy {
    fn drop(&mut self) {
        let seen = match self.weak.borrow().upgrade() {
            Some(sibling) => sibling.name.clone(),
            None => "nobody".into(),
        };
        self.log.borrow_mut().push(seen);
    }
}

fn spied(name: &str, log: &Log) -> Gc<Spied> {
    let spy = Spy {
        weak: RefCell::default(),
        log: log.clone(),
    };
    Gc::new(Spied {
        name: name.into(),
        spy,
        next: Slot::empty(),
    })
}

/// bacon_rajan_cc: `Drop` clones a sibling out. gcmodule: `Drop` reads a sibling.
#[test]
fn a_drop_inside_a_dead_set_reaches_no_member() {
    let log = start();
    let (a, b) = (spied("a", &log), spied("b", &log));
    *a.spy.weak.borrow_mut() = Weak::from(&b);
    *b.spy.weak.borrow_mut() = Weak::from(&a);
    a.next.set(Some(b.clone()));
    b.next.set(Some(a.clone()));
    drop((a, b));
    assert_eq!(gc::collect(), 2);
    assert_eq!(logged(&log), ["nobody", "nobody"]);
}

/// The same through a strong handle that tracing does not report: then its target is used from outside.
#[test]
fn what_a_leaf_holds_unreported_stays_alive() {
    let log = start();
    struct Holder(RefCell<Option<Gc<Spied>>>);
    impl_trace!(leaf Holder);
    struct Owner {
        holder: Holder,
        me: Slot<Owner>,
    }
    impl_trace!(struct Owner { holder, me });
    impl Drop for Holder {
        fn drop(&mut self) {
            let held = self.0.take().unwrap();
            held.spy
                .log
                .borrow_mut()
                .push(format!("read {}", held.name));
        }
    }
    let held = spied("held", &log);
    held.next.set(Some(held.clone()));
    let owner = Gc::new(Owner {
        holder: Holder(RefCell::new(Some(held))),
        me: Slot::empty(),
    });
    owner.me.set(Some(owner.clone()));
    drop(owner);
    assert_eq!(gc::collect(), 1, "the owner");
    assert_eq!(logged(&log), ["read held"]);
    assert_eq!(gc::collect(), 1, "what it held");
    assert_eq!(logged(&log), ["nobody"]);
}

/// gc, boa_gc: a finalizer stores a handle where it is found later.
#[test]
fn what_a_finalizer_stores_is_alive_with_all_it_reaches() {
    start();
    let kept: Rc<RefCell<Vec<Gc<Final>>>> = Rc::default();
    let store = kept.clone();
    let first = with_finalizer("first", move |this| store.borrow_mut().push(this.clone()));
    let second = with_finalizer("second", |_| ());
    first.next.set(Some(second.clone()));
    second.next.set(Some(first.clone()));
    drop((first, second));
    assert_eq!(gc::collect(), 0);
    let first = kept.borrow_mut().pop().unwrap();
    let second = first.next.get().unwrap();
    assert_eq!((first.name, second.name), ("first", "second"));
    assert!(Gc::is_finalized(&first) && Gc::is_finalized(&second));
    drop((first, second));
    assert_eq!(gc::collect(), 2, "each is finalized once");
}

/// A finalizer clones a sibling out of the set and lets the rest die.
#[test]
fn a_finalizer_may_take_a_sibling_out() {
    start();
    let kept: Rc<RefCell<Option<Gc<Final>>>> = Rc::default();
    let store = kept.clone();
    let thief = with_finalizer("thief", move |this| *store.borrow_mut() = this.next.take());
    let victim = with_finalizer("victim", |_| ());
    thief.next.set(Some(victim.clone()));
    victim.next.set(Some(thief.clone()));
    drop((thief, victim));
    // The victim refers to the thief, so both live on.
    assert_eq!(gc::collect(), 0);
    let victim = kept.take().unwrap();
    assert_eq!(victim.name, "victim");
    drop(victim);
    assert_eq!(gc::collect(), 0, "no cycle is left: counts free them");
}

#[test]
fn a_weak_reference_made_in_a_finalizer_is_dead_afterwards() {
    start();
    let kept: Rc<RefCell<Weak<Final>>> = Rc::default();
    let store = kept.clone();
    let it = with_finalizer("it", move |this| *store.borrow_mut() = Weak::from(this));
    it.next.set(Some(it.clone()));
    drop(it);
    assert_eq!(gc::collect(), 1);
    assert!(kept.borrow().upgrade().is_none());
    // And when it dies by its count.
    let store = kept.clone();
    drop(with_finalizer("it", move |this| {
        *store.borrow_mut() = Weak::from(this)
    }));
    assert!(kept.borrow().upgrade().is_none());
}

#[test]
fn collecting_while_collecting_finds_nothing() {
    start();
    let found = Rc::new(Cell::new(99));
    let inner = found.clone();
    let it = with_finalizer("it", move |_| {
        drop(self_cycle(1));
        inner.set(gc::collect());
    });
    it.next.set(Some(it.clone()));
    drop(it);
    assert_eq!((gc::collect(), found.get()), (1, 0));
    assert_eq!(gc::collect(), 1, "what the finalizer left");
}

#[test]
fn a_collection_during_a_drop_by_count_sees_no_half_dropped_value() {
    start();
    struct Collects(Slot<crate::support::Node>);
    impl_trace!(struct Collects(slot): trusted_drop);
    // SAFETY: its `Drop` only runs a collection.
    unsafe impl pymalloc::object::TrustedDrop for Collects {}
    impl Drop for Collects {
        fn drop(&mut self) {
            assert!(gc::collect() <= 1);
        }
    }
    let holders: Vec<_> = (0..10)
        .map(|i| Gc::new(Collects(Slot::new(self_cycle(i)))))
        .collect();
    drop(holders);
    gc::collect();
    assert_eq!(gc::get_objects(None).unwrap().len(), 0);
}

#[test]
fn panics_in_finalizers_and_callbacks_stop_nothing() {
    start();
    std::thread_local! { static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) }; }
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    gc::set_unraisable_hook(Some(|unraisable| {
        SEEN.with_borrow_mut(|seen| seen.push(unraisable.context.clone()));
    }));
    let it = with_finalizer("it", |_| panic!("in a finalizer"));
    let _weak = Weak::with_callback(&it, |_| panic!("in a callback"));
    it.next.set(Some(it.clone()));
    drop(it);
    assert_eq!(gc::collect(), 1);
    drop(with_finalizer("it", |_| panic!("in a finalizer")));
    std::panic::set_hook(quiet);
    let seen = SEEN.take();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0], "weak reference callback");
    assert!(seen[1].starts_with("finalizer of ") && seen[2].starts_with("finalizer of "));
    gc::set_unraisable_hook(None);
}

/// dumpster and others: the stack overflows. Here 10 million nodes on 256 KiB.
#[test]
fn depth_is_no_limit() {
    fn run() {
        gc::disable();
        const DEPTH: u32 = if cfg!(debug_assertions) {
            500_000
        } else {
            10_000_000
        };
        let build = || {
            let first = node(0);
            let mut last = first.clone();
            for name in 1..DEPTH {
                let next = node(name);
                last.next.set(Some(next.clone()));
                last = next;
            }
            (first, last)
        };
        // By count, from the front.
        let (first, last) = build();
        drop(last);
        drop(first);
        assert_eq!(gc::get_objects(None).unwrap().len(), 0);
        // As one cycle.
        let (first, last) = build();
        last.next.set(Some(first.clone()));
        drop(last);
        assert_eq!(gc::collect(), 0, "marking goes as deep");
        drop(first);
        assert_eq!(gc::collect(), DEPTH as usize);
    }
    let thread = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(run)
        .unwrap();
    thread.join().unwrap();
}

/// What a finalizer makes is young, however many pools it takes, and found by the next young collection.
#[test]
fn garbage_made_inside_a_collection_is_young() {
    start();
    let it = with_finalizer("it", |_| (0..5_000).for_each(|name| drop(self_cycle(name))));
    it.next.set(Some(it.clone()));
    drop(it);
    // A pool of the type exists already.
    let _kept = node(0);
    assert_eq!(gc::collect(), 1);
    assert_eq!(gc::collect_generation(0).unwrap(), 5_000);
}

/// What is resurrected although it had to wait for a flat stack is tracked, as it was.
#[test]
fn what_comes_back_from_the_queue_is_tracked() {
    start();
    let kept: Rc<RefCell<Vec<Gc<Final>>>> = Rc::default();
    let store = kept.clone();
    let inner = with_finalizer("inner", move |this| store.borrow_mut().push(this.clone()));
    inner.next.set(Some(inner.clone()));
    inner.next.set(None);
    let mut nest = inner;
    for _ in 0..200 {
        let outer = with_finalizer("outer", |_| ());
        outer.next.set(Some(nest));
        nest = outer;
    }
    drop(nest);
    let inner = kept.borrow_mut().pop().unwrap();
    assert!(Gc::is_tracked(&inner) && Gc::is_finalized(&inner));
    inner.next.set(Some(inner.clone()));
    drop(inner);
    assert_eq!(gc::collect(), 1);
}
