//! `sync::Lock`: one thread at a time is inside, sees what the last one did, and nobody sleeps for ever.
//!
//! A waiter that nobody wakes leaves the execution without a runnable thread: loom reports a deadlock.
//! `Lock::reset`, which a child calls after fork, has no model: it runs when no other thread exists.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::os::Lock;
use pymalloc_loom_tests::sync::SharedCell;

struct Counter {
    lock: Lock,
    value: SharedCell<u32>,
}

impl Counter {
    fn new() -> Static<Self> {
        Static::new(Self {
            lock: Lock::new(),
            value: SharedCell::new(0),
        })
    }

    fn add(&self) {
        let _locked = self.lock.lock();
        assert!(self.lock.is_mine());
        // SAFETY: the lock is held; loom reports it if that excludes nobody.
        unsafe { self.value.with_mut(|value| *value += 1) }
    }

    fn value(&self) -> u32 {
        let _locked = self.lock.lock();
        // SAFETY: as `add`.
        unsafe { self.value.with_mut(|value| *value) }
    }
}

/// Two threads, twice each: taking the lock again races with waking the other.
#[test]
fn two_threads_take_turns() {
    explore("lock: two threads, twice", Some(5), || {
        let counter = Counter::new();
        let shared = counter.get();
        let other = thread::spawn(|| {
            shared.add();
            shared.add();
        });
        shared.add();
        shared.add();
        other.join().unwrap();
        assert_eq!(counter.value(), 4);
        assert!(!counter.lock.is_mine());
    });
}

/// Three threads: two may sleep at once, and one wake-up must lead to the next.
#[test]
fn two_sleepers_are_both_woken() {
    explore("lock: three threads", Some(4), || {
        let counter = Counter::new();
        let shared = counter.get();
        let others = [(); 2].map(|()| thread::spawn(|| shared.add()));
        shared.add();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(counter.value(), 3);
    });
}

/// A thread that only tries sees what the last holder did, too, and leaves nothing behind.
#[test]
fn trying_never_waits_and_excludes_as_well() {
    explore("lock: try against lock", None, || {
        let counter = Counter::new();
        let shared = counter.get();
        let other = thread::spawn(|| {
            if let Some(_locked) = shared.lock.try_lock() {
                // SAFETY: the lock is held.
                unsafe { shared.value.with_mut(|value| *value += 10) }
            }
        });
        shared.add();
        shared.add();
        other.join().unwrap();
        assert!(matches!(counter.value(), 2 | 12));
    });
}
