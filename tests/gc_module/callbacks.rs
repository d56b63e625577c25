//! GCCallbackTests.

use crate::world::{counter, legacy, self_list, start};
use pymalloc::gc::{self, When};
use pymalloc::object::Gc;
use std::cell::RefCell;
use std::rc::Rc;

type Seen = Rc<RefCell<Vec<(u8, When, usize, usize, usize)>>>;

/// Two callbacks that note what they are told.
fn watch() -> (Seen, [gc::Callback; 2]) {
    let seen = Seen::default();
    let callbacks = [1, 2].map(|which| {
        let seen = seen.clone();
        gc::add_callback(move |when, info| {
            let note = (
                which,
                when,
                info.generation,
                info.collected,
                info.uncollectable,
            );
            seen.borrow_mut().push(note);
        })
    });
    (seen, callbacks)
}

#[test]
fn collect() {
    start();
    let (seen, callbacks) = watch();
    gc::collect();
    let notes = seen.take();
    let order: Vec<_> = notes.iter().map(|note| (note.0, note.1)).collect();
    assert_eq!(
        order,
        [
            (1, When::Start),
            (2, When::Start),
            (1, When::Stop),
            (2, When::Stop)
        ]
    );
    for callback in &callbacks {
        assert!(gc::remove_callback(callback) && !gc::remove_callback(callback));
    }
    gc::collect();
    assert!(seen.borrow().is_empty());
}

#[test]
fn collect_generation() {
    start();
    let (seen, _callbacks) = watch();
    gc::collect_generation(2).unwrap();
    assert!(seen.borrow().iter().all(|note| note.2 == 2));
    seen.take();
    gc::collect_generation(0).unwrap();
    assert!(seen.borrow().iter().all(|note| note.2 == 0));
}

#[test]
fn collect_garbage() {
    start();
    let (seen, _callbacks) = watch();
    let deaths = counter();
    for _ in 0..2 {
        let (a, b) = (legacy(&deaths), legacy(&deaths));
        a.attributes.borrow_mut().push(Gc::erased(&b));
        b.attributes.borrow_mut().push(Gc::erased(&a));
    }
    drop(self_list());
    assert_eq!(gc::collect(), 5);
    let stop = seen.take()[2];
    assert_eq!((stop.1, stop.3, stop.4), (When::Stop, 1, 4));
    assert_eq!(gc::garbage().len(), 4);
    // Breaking the cycles lets them die.
    for object in gc::take_garbage() {
        let object = object.downcast::<crate::world::Legacy>().unwrap();
        object.attributes.take();
    }
    assert_eq!(deaths.get(), 4);
    gc::collect();
    let stop = seen.take()[2];
    assert_eq!((stop.3, stop.4), (0, 0));
}

#[test]
fn a_callback_that_panics_stops_nothing() {
    start();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    gc::set_unraisable_hook(Some(|_| ()));
    gc::add_callback(|_, _| panic!("in a callback"));
    drop(self_list());
    assert_eq!(gc::collect(), 1);
    std::panic::set_hook(quiet);
}
