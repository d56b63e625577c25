//! The map and its window, of addresses that nobody has.

use super::*;
use std::sync::{Mutex, PoisonError};

fn leaf() -> Option<NonNull<u8>> {
    let layout = std::alloc::Layout::new::<Leaf>();
    // SAFETY: not of size 0. Leaves live for ever.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
}

fn at(addr: usize) -> NonNull<u8> {
    NonNull::new(core::ptr::without_provenance_mut(addr)).expect("not null")
}

/// Maps live for ever, and their leaves: they are kept here, where nothing is lost.
static MAPS: Mutex<Vec<&AddressMap>> = Mutex::new(Vec::new());

/// A map that covers 64 MiB from each of these addresses on.
fn map_of(starts: &[usize]) -> &'static AddressMap {
    let map: &AddressMap = Box::leak(Box::new(AddressMap::new()));
    MAPS.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(map);
    for start in starts {
        assert!(map.cover(at(*start), 64 << 20, leaf));
    }
    map
}

const HIGH: usize = 0x7f12_3450_0000;
/// What the window answers; beyond it, and where there is none, nothing.
fn in_window(label: Label) -> Option<Label> {
    cfg!(feature = "preload").then_some(label)
}

#[test]
fn the_window_reaches_three_gibibytes_down_and_one_up() {
    let class = label_of(SizeClass::small(64));
    // As the kernel gives addresses, as it does without a bound on stacks, and as valgrind does.
    for first in [HIGH, 0x2aaa_aaa0_0000, 0x400_0000] {
        let (below, above) = (
            first.saturating_sub(3 << 30).max(ARENA_BYTES),
            first + (1 << 30),
        );
        let far = first + (6 << 30);
        let map = map_of(&[first, below, above, far]);
        for start in [first, below, above, far] {
            let block = start + POOL_BYTES + 64;
            assert_eq!(map.open_list_anywhere(block), Some(0));
            map.set_labels(at(start + POOL_BYTES), 1, class);
            assert_eq!(map.open_list_anywhere(block), Some(class));
            assert_eq!(map.label(block), class);
            let expected = in_window(class).filter(|_| start != far);
            assert_eq!(map.open_list(block), expected, "{start:#x} of {first:#x}");
            for misaligned in [block + 8, block + 1, block ^ 1 << 63] {
                assert_eq!(map.open_list(misaligned).unwrap_or(0), 0);
                assert_eq!(map.open_list_anywhere(misaligned).unwrap_or(0), 0);
            }
        }
    }
}

#[test]
fn a_map_of_nothing_has_no_lists() {
    let map = map_of(&[]);
    for addr in [0, 16, POOL_BYTES, HIGH, usize::MAX - 15] {
        assert_eq!(map.open_list(addr).unwrap_or(0), 0);
        assert_eq!(map.open_list_anywhere(addr), None);
    }
}

#[test]
fn a_diverted_pool_keeps_its_label_and_has_no_list() {
    let class = label_of(SizeClass::small(64));
    let (first, far) = (HIGH, HIGH - (8 << 30));
    let map = map_of(&[first, far]);
    for start in [first, far] {
        let (block, next) = (start + POOL_BYTES, start + 2 * POOL_BYTES);
        map.set_labels(at(block), 1, class);
        map.set_labels(at(next), 1, class);
        for diverted in [true, false, true] {
            map.divert(block + 64, diverted);
            let open = if diverted { 0 } else { class };
            assert_eq!(map.label(block), class);
            assert_eq!(map.open_list_anywhere(block), Some(open));
            assert_eq!(map.open_list_anywhere(next), Some(class));
            if start == first {
                assert_eq!(map.open_list(block), in_window(open));
                assert_eq!(map.open_list(next), in_window(class));
            }
        }
        // The pool's next user.
        map.set_labels(at(block), 1, 0);
        map.set_labels(at(block), 1, class);
        assert_eq!(map.open_list_anywhere(block), Some(class));
    }
}
