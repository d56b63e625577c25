//! `global::options::Store`: whoever has called `load` finds the options in force.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::options::{Foreign, Store};
use pymalloc_loom_tests::os;

fn load_and_look(options: &Store) {
    options.load();
    // What `os::environment` of the models says.
    assert!(options.verbose());
    assert_eq!(options.foreign(), Foreign::Leak);
    assert_eq!(options.purge_delay(), 77);
    assert_eq!(options.max_heaps(), 4 * os::cpus());
}

/// Two threads make their first calls at the same time.
#[test]
fn two_first_calls_find_the_options() {
    explore("options: two first calls", None, || {
        let options = Static::new(Store::new());
        let shared = options.get();
        let other = thread::spawn(|| load_and_look(shared));
        load_and_look(&options);
        other.join().unwrap();
    });
}
