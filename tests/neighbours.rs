//! What a thread frees that another one made does not become its own at once: its neighbours are the other's, and both
//! would write to one cache line (Berger et al., Hoard, 2000: passive false sharing). That holds where a list has no
//! room, so for the first block of a class that a thread has to do with; see the README's limits.

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Of a size that neither the harness nor a new thread asks for.
type Handed = Box<[u8; 424]>;

fn address(block: &Handed) -> usize {
    std::ptr::from_ref(block.as_ref()).addr()
}

#[test]
fn the_first_block_of_a_class_goes_home_if_it_was_handed_over() {
    let handed: Handed = Box::new([1; 424]);
    let neighbour: Handed = Box::new([2; 424]);
    let place = address(&handed);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            drop(handed);
            let own: Vec<Handed> = (0..4).map(|n| Box::new([n; 424])).collect();
            assert!(own.iter().all(|block| address(block) != place));
        });
    });
    assert_eq!(neighbour[0], 2);
}
