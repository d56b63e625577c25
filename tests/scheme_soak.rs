//! The example `scheme`: programs that make cycles all the time run in memory that does not grow. Alone in its
//! process, whose resident set it measures.

use pymalloc::gc;

#[macro_use]
#[path = "../examples/scheme/memory.rs"]
mod memory;
#[allow(dead_code)]
#[path = "../examples/scheme/interpreter/mod.rs"]
mod interpreter;
#[allow(dead_code)]
#[path = "../examples/scheme/programs.rs"]
mod programs;

use interpreter::Scheme;
use programs::{ACCOUNTS, LOOPS, RINGS, times};

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Pages of this process in memory.
fn resident_pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_is_flat_while_cycles_come_and_go() {
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    thread.spawn(soak).unwrap().join().unwrap();
}

fn soak() {
    let mut scheme = Scheme::default();
    let mut round = || {
        for (program, n) in [(LOOPS, 10_000), (ACCOUNTS, 10_000), (RINGS, 500)] {
            scheme.run(&times(program, n)).unwrap();
        }
        (resident_pages(), gc::get_objects(None).unwrap().len())
    };
    let collected = || {
        gc::get_stats()
            .iter()
            .map(|stats| stats.collected)
            .sum::<u64>()
    };
    for _ in 0..3 {
        round();
    }
    let (before, first) = (collected(), round());
    let rounds: Vec<_> = (0..20).map(|_| round()).collect();
    // Nobody asked for a collection, and millions of objects were collected.
    assert!(
        collected() - before > 1_000_000,
        "{} objects",
        collected() - before
    );
    let most = rounds.iter().map(|(pages, _)| *pages).max().unwrap();
    assert!(most <= first.0 + 512, "from {} to {most} pages", first.0); // 2 MiB
    let most = rounds.iter().map(|(_, objects)| *objects).max().unwrap();
    assert!(most < 20_000, "{most} objects alive");
}
