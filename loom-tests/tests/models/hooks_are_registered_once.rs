//! `global::registration`: one thread registers the hook, and whoever is given the key is given the right one.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::registration::Registration;

const KEY: u32 = 42;

/// As `exit::thread_hook`: true for who registered.
fn ask(hook: &Registration) -> bool {
    match hook.key() {
        Some(key) => {
            assert_eq!(key, KEY);
            false
        }
        None if hook.is_new() && hook.claim() => {
            // Registering may call back for memory, and so ask again.
            assert!(!hook.is_new() && !hook.claim() && hook.key().is_none());
            hook.finish(Some(KEY));
            true
        }
        None => false,
    }
}

/// Three threads need the hook at once.
#[test]
fn one_of_three_threads_registers() {
    explore("registration: three first calls", Some(3), || {
        let hook = Static::new(Registration::new());
        let shared = hook.get();
        let others = [(); 2].map(|()| thread::spawn(|| ask(shared)));
        let mine = ask(&hook);
        let theirs = others.map(|other| other.join().unwrap());
        let n_registered = usize::from(mine) + theirs.iter().filter(|did| **did).count();
        assert_eq!(n_registered, 1);
        assert_eq!(hook.key(), Some(KEY));
    });
}
