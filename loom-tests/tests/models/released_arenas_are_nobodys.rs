//! `obmalloc::engine` over `obmalloc::extents`: before a released arena can be another heap's, its labels and
//! its owner are gone, so nothing of the old heap is found, and nothing of the new one is wiped out.

use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::address_map::{AddressMap, Owner, label_of};
use pymalloc_loom_tests::obmalloc::engine::Engine;
use pymalloc_loom_tests::obmalloc::extents::Extents;
use pymalloc_loom_tests::obmalloc::geometry::Production;
use pymalloc_loom_tests::obmalloc::heap_backing::HeapBacking;
use pymalloc_loom_tests::obmalloc::size_class::{POOL_BYTES, SizeClass};

type Obmalloc = Engine<Production, HeapBacking>;

struct Process {
    map: Static<AddressMap>,
    extents: Static<Extents>,
}

impl Process {
    fn new() -> Self {
        let map = Static::new(AddressMap::new());
        let extents = Static::new(Extents::new(map.get()));
        Self { map, extents }
    }

    fn engine(&self, home: usize) -> Obmalloc {
        Engine::new(HeapBacking::new(self.extents.get(), home, true))
    }
}

/// Takes a block and looks whether the map knows it as this engine's, then gives everything back.
fn use_an_arena(engine: &mut Obmalloc, map: &AddressMap, class: SizeClass) {
    let (block, _) = engine.alloc(class).expect("the machine has room");
    let addr = block.addr();
    assert_eq!(map.label(addr), label_of(class));
    assert_eq!(map.owner(addr), Owner::Arena);
    // The pool behind it was never carved.
    assert_eq!(map.label(addr + POOL_BYTES), 0);
    // SAFETY: the block came from this engine and is not used.
    unsafe {
        engine.free(block, class);
        assert_eq!(map.label(addr), 0);
        engine.release_all();
    }
}

/// Two heaps pass an arena to and fro while a third thread asks about an address in it.
#[test]
fn two_heaps_use_one_arena_in_turn() {
    explore("release: two heaps and a lookup", Some(2), || {
        let process = Process::new();
        let map = process.map.get();
        let [small, large] = [SizeClass::small(64), SizeClass::small(128)];
        let mut first = process.engine(16);
        let probe = first.alloc(small).expect("room").0.addr();
        // SAFETY: its only block is not used any more.
        unsafe { first.release_all() };
        let mut second = process.engine(32);
        let other = thread::spawn(move || use_an_arena(&mut second, map, large));
        let foreign = thread::spawn(move || {
            let label = map.label(probe);
            assert!([0, label_of(small), label_of(large)].contains(&label));
            assert!(matches!(map.owner(probe), Owner::Nobody | Owner::Arena));
        });
        use_an_arena(&mut first, map, small);
        other.join().unwrap();
        foreign.join().unwrap();
        assert_eq!(map.label(probe), 0);
        assert_eq!(map.owner(probe), Owner::Nobody);
    });
}
