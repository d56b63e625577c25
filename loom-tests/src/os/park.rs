//! Sleeping without spurious wake-ups: a lost one is a deadlock, which loom reports.

use super::pages::machine;
use crate::sync::{AtomicU32, Ordering, Park};
use loom::sync::{Condvar, Mutex};
use std::sync::Arc;

/// The model's futex. The kernel's promise is that comparing the word and going to sleep are one step for
/// those who wake; a mutex per word keeps it. Like the kernel's own lock, the mutex orders a sleeper behind
/// its waker.
pub struct Futex;

/// Where the sleepers on one word wait.
#[derive(Default)]
pub struct Bed {
    lock: Mutex<()>,
    sleepers: Condvar,
}

/// The bed of a word, made when first asked for.
fn bed(word: &AtomicU32) -> Arc<Bed> {
    let address = std::ptr::from_ref(word).addr();
    machine()
        .beds
        .borrow_mut()
        .entry(address)
        .or_default()
        .clone()
}

impl Park for Futex {
    fn wait(word: &AtomicU32, expected: u32) {
        let bed = bed(word);
        let locked = bed.lock.lock().expect("no thread panicked here");
        // Relaxed: a waker changed the word before it took the mutex.
        if word.load(Ordering::Relaxed) == expected {
            drop(bed.sleepers.wait(locked).expect("no thread panicked here"));
        }
    }

    fn wake_one(word: &AtomicU32) {
        let bed = bed(word);
        let _locked = bed.lock.lock().expect("no thread panicked here");
        bed.sleepers.notify_one();
    }

    fn thread_id() -> usize {
        // Loom's number of the thread, which only its `Debug` shows.
        let name = format!("{:?}", loom::thread::current().id());
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        1 + digits.parse::<usize>().expect("a loom thread has a number")
    }
}
