//! What a handle promises.

use crate::support::{node, self_cycle, start};
use pymalloc::gc;
use pymalloc::object::{Gc, Slot, Tail, Weak};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::rc::Rc;

#[test]
fn the_count_goes_up_and_down_and_the_value_is_dropped_at_zero() {
    start();
    let value = Rc::new(5);
    let first = Gc::new(value.clone());
    assert_eq!((Gc::strong_count(&first), Gc::getrefcount(&first)), (1, 2));
    let second = first.clone();
    assert_eq!(Gc::strong_count(&first), 2);
    drop(first);
    assert_eq!(
        (Gc::strong_count(&second), Rc::strong_count(&value)),
        (1, 2)
    );
    drop(second);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn the_id_of_a_dead_object_is_used_again() {
    start();
    let first = Gc::new(1u64);
    let id = Gc::id(&first);
    drop(first);
    assert_eq!(Gc::id(&Gc::new(2u64)), id);
}

#[test]
fn values_of_any_size_and_alignment_up_to_16_lie_where_they_may() {
    start();
    fn check<const N: usize>() {
        // An interpreter takes half an hour for the bytes of fifty.
        let n = if cfg!(miri) { 2 } else { 50 };
        let made: Vec<_> = (0..n).map(|i| Gc::new([i as u8; N])).collect();
        for (i, object) in made.iter().enumerate() {
            assert_eq!(Gc::id(object) % 16, 8, "values begin at multiples of 16");
            assert!(object.iter().all(|byte| *byte == i as u8));
        }
    }
    check::<0>();
    check::<1>();
    check::<8>();
    check::<9>();
    check::<504>();
    check::<505>();
    check::<4096>();
    check::<16384>();
    check::<100_000>();
    check::<262_128>();
    check::<262_129>();
    check::<300_000>();
    let wide = Gc::new(1u128);
    assert_eq!(&raw const *wide as usize % 16, 0);
}

#[test]
fn items_lie_behind_a_head_and_in_slices() {
    start();
    for n in [0, 1, 2, 3, 31, 63, 64, 1000, 40_000] {
        let slice: Gc<[u64]> = (0..n).collect();
        assert_eq!(slice.len() as u64, n);
        assert!(slice.iter().copied().eq(0..n));
        let thin = slice.clone().into_thin();
        assert_eq!(thin.items(), &*slice);
        let tail = Gc::<Tail<String, u8>>::with_items(n.to_string(), vec![7; n as usize]);
        assert_eq!(
            (tail.head.as_str(), tail.items().len() as u64),
            (&*n.to_string(), n)
        );
    }
    let nodes: Gc<[Gc<_>]> = vec![self_cycle(1), node(2)].into();
    assert!(Gc::is_tracked(&nodes));
    assert_eq!((nodes[0].name, nodes[1].name), (1, 2));
    drop(nodes);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn a_panic_while_items_are_made_drops_those_that_were() {
    start();
    let value = Rc::new(());
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let items = (0..10).map(|i| {
            if i < 5 {
                value.clone()
            } else {
                panic!("enough")
            }
        });
        Gc::<Tail<(), Rc<()>>>::with_items((), items)
    }));
    assert!(made.is_err());
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn trait_objects_share_the_object() {
    start();
    let value = Rc::new(3);
    let number = Gc::new(value.clone());
    let shown: Gc<dyn Display> = Gc::unsize(number.clone(), |number| number);
    assert_eq!(shown.to_string(), "3");
    assert!(Gc::is(&shown, &number));
    assert_eq!(Gc::strong_count(&number), 2);
    drop(number);
    drop(shown);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_view_of_another_place_is_refused() {
    start();
    let pair = Gc::new((1u64, 2u64));
    let handle = pair.clone();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Gc::unsize(handle, |pair| &pair.1 as &dyn Display)
    }));
    assert!(refused.is_err());
    assert_eq!(Gc::strong_count(&pair), 1);
}

#[test]
fn immortal_objects_are_not_counted() {
    start();
    let none = Gc::new_immortal("None");
    let before = Gc::strong_count(&none);
    let clones: Vec<_> = (0..100).map(|_| none.clone()).collect();
    assert_eq!(Gc::strong_count(&none), before);
    drop(clones);
    assert_eq!((Gc::getrefcount(&none), *none), (3 << 30, "None"));
    // An immortal container keeps what it refers to.
    let holder = node(1);
    holder.next.set(Some(self_cycle(2)));
    Gc::make_immortal(&holder);
    drop(holder);
    assert_eq!(gc::collect(), 0);
}

#[test]
fn erased_handles_come_back_as_what_they_were() {
    start();
    let erased = Gc::erase(Gc::new(5u32));
    assert_eq!(erased.downcast_ref::<u32>(), Some(&5));
    assert_eq!(erased.downcast_ref::<i32>(), None);
    let erased = erased.downcast::<i32>().unwrap_err();
    assert_eq!(*erased.downcast::<u32>().unwrap(), 5);
    let tail = Gc::erase(Gc::<Tail<u8, u16>>::with_items(1, [2, 3]));
    assert!(tail.clone().downcast_tail::<u8, u8>().is_err());
    assert_eq!(tail.downcast_tail::<u8, u16>().unwrap().items(), [2, 3]);
}

#[test]
fn the_only_handle_gives_the_value_back() {
    start();
    let handle = Gc::new(String::from("a"));
    let weak = Weak::from(&handle);
    let other = handle.clone();
    let handle = Gc::try_unwrap(handle).unwrap_err();
    drop(other);
    assert_eq!(Gc::try_unwrap(handle).unwrap(), "a");
    assert!(!weak.is_alive());
}

#[test]
fn handles_compare_hash_and_print_like_values() {
    start();
    let (a, b) = (Gc::new(1), Gc::new(1));
    assert!(a == b && !Gc::is(&a, &b) && a <= b);
    assert_eq!(format!("{a:?} {a}"), "1 1");
    let map: HashMap<_, _> = [(a, "one")].into();
    assert_eq!(map[&b], "one");
}

#[test]
fn standard_containers_are_traced() {
    start();
    type Held = RefCell<HashMap<String, Option<Box<(Vec<Slot<crate::support::Node>>, u8)>>>>;
    let held: Gc<Held> = Gc::new(RefCell::default());
    let inner = self_cycle(1);
    let entry = Some(Box::new((vec![Slot::new(inner)], 0)));
    held.borrow_mut().insert("a".into(), entry);
    assert_eq!(gc::collect(), 0);
    // While it is borrowed mutably nothing in it is seen, and so nothing is freed.
    let borrowed = held.borrow_mut();
    assert_eq!(gc::collect(), 0);
    drop(borrowed);
    drop(held);
    assert_eq!(gc::collect(), 1);
}

#[test]
fn sizes_are_shallow_and_deep() {
    start();
    let a = node(1);
    let one = Gc::size_of(&a);
    assert_eq!(one, 8 + size_of::<crate::support::Node>());
    let b = node(2);
    a.next.set(Some(b.clone()));
    b.next.set(Some(a.clone()));
    a.edges.borrow_mut().push(b.clone());
    let buffer = a.edges.borrow().capacity() * 8;
    assert_eq!(Gc::deep_size_of(&a), 2 * one + buffer);
    a.next.set(None);
}

#[test]
fn a_million_handles_are_counted_exactly() {
    start();
    // Work bytes count modulo 256: 256, 512 and 65,536 inner references must not look like none.
    for n in [255, 256, 257, 512, 65_536] {
        let target = node(0);
        let holder = node(1);
        for _ in 0..n {
            holder.edges.borrow_mut().push(target.clone());
        }
        target.next.set(Some(holder.clone()));
        drop(holder);
        assert_eq!(gc::collect(), 0, "{n}");
        let outside = (0..256).map(|_| target.clone()).collect::<Vec<_>>();
        drop(target);
        assert_eq!(gc::collect(), 0, "{n} and 256 from outside");
        drop(outside);
        assert_eq!(gc::collect(), 2, "{n}");
    }
}

#[test]
fn handles_outlive_their_heap_and_their_thread_local() {
    let heap = gc::GcHeap::new();
    let kept = heap.alloc(String::from("kept")).unwrap();
    drop(heap);
    assert_eq!(*kept, "kept");
    drop(kept);
    struct Late(RefCell<Vec<Gc<String>>>);
    impl Drop for Late {
        fn drop(&mut self) {
            let kept = self.0.get_mut();
            assert_eq!(*kept[0], "late");
            kept.push(Gc::new(String::from("later")));
            kept.clear();
        }
    }
    std::thread_local! { static LATE: Late = const { Late(RefCell::new(Vec::new())) }; }
    let thread = std::thread::spawn(|| {
        LATE.with(|late| late.0.borrow_mut().push(Gc::new(String::from("late"))));
    });
    thread.join().unwrap();
    // The other order of destructors: the heap's first object comes before the local.
    let thread = std::thread::spawn(|| {
        let first = Gc::new(String::from("late"));
        LATE.with(|late| late.0.borrow_mut().push(first));
    });
    thread.join().unwrap();
}
