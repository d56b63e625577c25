//! What a program writes into blocks on their way from one heap to another.

use super::*;
use crate::obmalloc::extents::Extents;
use crate::os;
use std::panic::{AssertUnwindSafe, catch_unwind};

static MAP: AddressMap = AddressMap::new();
static EXTENTS: Extents = Extents::new(&MAP);

/// A heap that panics instead of ending the process, and blocks of it.
fn heap<const N: usize>() -> (&'static Heap, [Block; N]) {
    let place: NonNull<Heap> = os::map(size_of::<Heap>(), 4096).expect("room").cast();
    let mut backing = HeapBacking::new(&EXTENTS, place.addr().get(), true);
    backing.let_go = || panic!("it is noticed");
    // SAFETY: fresh memory of the right size and alignment, which stays.
    let heap = unsafe {
        place.write(Heap::new(backing, &MAP));
        place.as_ref()
    };
    (
        heap,
        std::array::from_fn(|_| heap.alloc_one(class()).expect("room").0),
    )
}

fn class() -> SizeClass {
    SizeClass::small(64)
}

/// Sends two blocks home from another heap, the second in the first, and calls `meanwhile` with what says where it is.
/// Whether that is noticed.
fn is_noticed(meanwhile: impl FnOnce(&mut i32, [Block; 3])) -> bool {
    let (home, [first, second, live]) = heap();
    let (away, []) = heap();
    let locked = home.gate().lock().lock();
    // SAFETY: blocks of `class` that nobody uses, though `meanwhile` may write to them.
    unsafe {
        away.free_many(class(), &[Some(first), Some(second)]);
        meanwhile(first.start().cast().add(4).as_mut(), [first, second, live]);
    }
    drop(locked);
    catch_unwind(AssertUnwindSafe(|| home.gate().settle())).is_err()
}

/// Distance of a block from another one, as a carrier has it.
fn distance(to: Block, from: Block) -> i32 {
    (to.addr() as isize - from.addr() as isize) as i32 / ALIGNMENT as i32
}

#[test]
fn blocks_that_are_left_alone_come_home() {
    assert!(!is_noticed(|said, [first, second, _]| {
        assert_eq!(*said, distance(second, first));
    }));
}

#[test]
fn a_carrier_that_was_written_to_is_noticed() {
    assert!(is_noticed(|said, _| *said = 0), "the carrier itself, twice");
    assert!(is_noticed(|said, _| *said = 1), "inside a block");
    assert!(is_noticed(|said, _| *said = i32::MAX), "nobody's");
    assert!(
        is_noticed(|said, [first, ..]| {
            let (_, [elsewhere]) = heap();
            *said = distance(elsewhere, first);
        }),
        "a block of another heap"
    );
}
