//! Pairs of free slots, in a map of addresses that nobody has.

use super::*;
use crate::os;
use core::ptr::NonNull;

const BASE: usize = 0x7f12_3460_0000;
const EPOCH: u32 = 7;
const ALL: usize = ARENA_BYTES / POOL_BYTES;

fn slot(index: usize) -> usize {
    BASE + index * ARENA_BYTES
}

/// No slots. Maps live for ever, and their leaves.
fn none() -> FreeSlots {
    let place: NonNull<AddressMap> = os::map(size_of::<AddressMap>(), 4096).expect("room").cast();
    // SAFETY: fresh memory of the right size and alignment, which stays.
    let map = unsafe {
        place.write(AddressMap::new());
        place.as_ref()
    };
    let base = NonNull::new(core::ptr::without_provenance_mut(BASE)).expect("not null");
    assert!(map.cover(base, 16 * ARENA_BYTES, || os::map(
        AddressMap::LEAF_BYTES,
        4096
    )));
    FreeSlots::new(map)
}

#[test]
fn a_single_slot_is_taken_before_half_of_a_pair() {
    let mut free = none();
    free.push_dirty(slot(5), EPOCH, 9);
    free.push_dirty(slot(2), EPOCH, 10);
    free.push_dirty(slot(3), EPOCH, 11);
    assert_eq!(free.newest_dirty(), Some((slot(5), 9)));
    assert_eq!(free.newest_dirty(), Some((slot(3), 11)));
    assert_eq!(free.oldest_dirty_pair(EPOCH), None, "only a half is left");
    assert_eq!(free.oldest_dirty(EPOCH), Some((slot(2), 10)));
    assert!(!free.has_dirty());
}

#[test]
fn a_pair_is_purged_when_both_halves_are_old() {
    let mut free = none();
    free.push_dirty(slot(2), EPOCH, 10);
    free.push_dirty(slot(3), EPOCH + 1, 11);
    assert_eq!(free.oldest_dirty_pair(EPOCH), None, "one is young");
    assert_eq!(free.oldest_dirty(EPOCH), None, "none is single");
    assert_eq!(free.oldest_dirty_pair(EPOCH + 1), Some((slot(2), 21)));
    assert!(!free.has_dirty());
}

#[test]
fn halves_in_different_states_make_no_pair() {
    let mut free = none();
    free.push_dirty(slot(2), EPOCH, ALL);
    free.push_clean(slot(3), true);
    assert_eq!(free.newest_clean_pair(), None);
    assert_eq!(free.oldest_dirty_pair(EPOCH), None);
    assert_eq!(free.newest_dirty(), Some((slot(2), ALL)));
    free.push_clean(slot(2), false);
    assert_eq!(free.newest_clean_pair(), Some(slot(2)));
    assert_eq!(free.newest_clean(), None);
}

#[test]
fn a_pair_that_lacks_half_of_its_memory_is_thin() {
    let mut free = none();
    free.push_dirty(slot(2), EPOCH, ALL);
    free.push_dirty(slot(3), EPOCH, 0);
    assert_eq!(free.newest_thin_pair(), None, "it has half");
    assert_eq!(free.oldest_dirty_pair(EPOCH), Some((slot(2), ALL)));
    free.push_dirty(slot(2), EPOCH, ALL - 1);
    free.push_dirty(slot(3), EPOCH, 0);
    free.push_dirty(slot(6), EPOCH, 1);
    assert_eq!(free.newest_thin_pair(), None, "a single one goes first");
    assert_eq!(free.newest_dirty(), Some((slot(6), 1)));
    assert_eq!(free.newest_thin_pair(), Some((slot(2), ALL - 1)));
    assert!(!free.has_dirty());
}

#[test]
fn clean_slots_are_taken_singly_first_and_say_whether_they_are_zero() {
    let mut free = none();
    free.push_clean(slot(4), true);
    free.push_clean(slot(6), false);
    free.push_clean(slot(7), true);
    assert_eq!(free.newest_clean(), Some((slot(4), true)));
    assert_eq!(free.newest_clean(), Some((slot(7), true)));
    assert_eq!(free.newest_clean(), Some((slot(6), false)));
    assert_eq!(free.newest_clean(), None);
    free.push_alone(slot(6));
    free.push_alone(slot(7));
    assert_eq!(free.newest_clean_pair(), None, "they were not put together");
    assert_eq!(free.newest_clean(), Some((slot(7), false)));
}
