//! The limit of the whole process. Alone in its binary: it is everybody's.

use pymalloc::observe;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

#[test]
fn beyond_its_limit_the_process_is_refused_and_goes_on() {
    let held = observe::stats().mapped_bytes as usize;
    observe::set_memory_limit(held + (8 << 20));
    let mut large: Vec<u8> = Vec::new();
    assert!(large.try_reserve_exact(64 << 20).is_err());
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(1 << 16);
    let refused = (0..1 << 16).any(|_| {
        let mut block = Vec::new();
        let is_refused = block.try_reserve_exact(1000).is_err();
        blocks.push(block);
        is_refused
    });
    assert!(refused && blocks.len() > 5000, "{} blocks", blocks.len());
    assert!(observe::stats().mapped_bytes as usize <= held + (9 << 20));
    assert!(large.try_reserve_exact(8 << 20).is_err());
    observe::set_memory_limit(usize::MAX);
    assert!(large.try_reserve_exact(64 << 20).is_ok());
    drop((large, blocks));
    what_was_freed_does_not_stand_in_the_way();
}

/// A freed block is kept for the next one of its size; one of another size gets its memory all the same.
fn what_was_freed_does_not_stand_in_the_way() {
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(16_000);
    let has = |block: &mut Vec<u8>, bytes| block.try_reserve_exact(bytes).is_ok();
    let held = observe::stats().mapped_bytes as usize;
    observe::set_memory_limit(held + (24 << 20));
    let large = [20, 22].map(|mib| has(&mut Vec::new(), mib << 20));
    let n = (0..16_000).take_while(|_| {
        let mut block = Vec::new();
        let is_had = has(&mut block, 1000);
        blocks.push(block);
        is_had
    });
    let n = n.count();
    // Before anything is said, which takes memory.
    observe::set_memory_limit(usize::MAX);
    assert_eq!((large, n), ([true, true], 16_000));
}
