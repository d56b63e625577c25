//! `obmalloc::address_map`: whoever asks about an address while its range is being covered is told nothing
//! or the truth, never what memory held before it became a leaf.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use pymalloc_loom_tests::model::{Static, explore};
use pymalloc_loom_tests::obmalloc::address_map::{AddressMap, Owner, label_of};
use pymalloc_loom_tests::obmalloc::size_class::{ARENA_BYTES, POOL_BYTES, SizeClass};
use pymalloc_loom_tests::os;
use std::ptr::NonNull;

fn cover(map: &AddressMap, start: NonNull<u8>) {
    let leaf = || os::map(AddressMap::LEAF_BYTES, os::page_size());
    assert!(map.cover(start, ARENA_BYTES, leaf));
}

/// One thread covers a range and enters an arena; another asks about addresses in it.
#[test]
fn lookups_race_with_covering() {
    explore("map: cover against lookup", None, || {
        let map = Static::new(AddressMap::new());
        let shared = map.get();
        let arena = os::reserve(ARENA_BYTES, ARENA_BYTES).expect("free");
        let pool = arena.addr().get() + POOL_BYTES;
        let class = SizeClass::small(64);
        let other = thread::spawn(move || {
            let label = shared.label(pool);
            assert!(label == 0 || label == label_of(class));
            assert!(matches!(shared.owner(pool), Owner::Nobody | Owner::Arena));
            // Misaligned addresses have no label, whatever the state of the map.
            assert_eq!(shared.label(pool + 8), 0);
        });
        cover(&map, arena);
        map.slot(arena.addr().get())
            .expect("covered")
            .set_owner(Owner::Arena);
        // SAFETY: inside the slot.
        map.set_labels(unsafe { arena.add(POOL_BYTES) }, 1, label_of(class));
        other.join().unwrap();
        assert_eq!(map.label(pool), label_of(class));
    });
}

/// One thread labels a pool and passes an address in it on, as a program passes blocks on; the other must find
/// the label.
#[test]
fn a_block_passed_on_has_its_label() {
    explore("map: label before the block", None, || {
        let map = Static::new(AddressMap::new());
        let shared = map.get();
        let mailbox = Static::new(AtomicUsize::new(0));
        let post = mailbox.get();
        let class = SizeClass::small(64);
        let arena = os::reserve(ARENA_BYTES, ARENA_BYTES).expect("free");
        let other = thread::spawn(move || {
            let addr = post.load(Ordering::Acquire);
            if addr != 0 {
                assert_eq!(shared.label(addr), label_of(class));
                assert_eq!(shared.owner(addr), Owner::Arena);
            }
        });
        cover(&map, arena);
        map.slot(arena.addr().get())
            .expect("covered")
            .set_owner(Owner::Arena);
        // SAFETY: inside the slot.
        map.set_labels(unsafe { arena.add(POOL_BYTES) }, 1, label_of(class));
        mailbox.store(arena.addr().get() + POOL_BYTES, Ordering::Release);
        other.join().unwrap();
    });
}

/// One thread writes a huge block's descriptor, here a cell, and names it as a slot's owner; who finds the
/// name finds the descriptor written.
#[test]
fn an_owner_named_is_an_owner_made() {
    explore("map: descriptor before its name", None, || {
        let map = Static::new(AddressMap::new());
        let shared = map.get();
        let descriptor = Static::new(UnsafeCell::new(0u32));
        let cell = descriptor.get();
        let name = Owner::Huge(std::ptr::from_ref(cell).addr());
        let place = os::reserve(ARENA_BYTES, ARENA_BYTES).expect("free");
        cover(&map, place);
        let other = thread::spawn(move || {
            if shared.owner(place.addr().get()) == name {
                // SAFETY: loom reports it if the write is not ordered before it.
                assert_eq!(cell.with(|p| unsafe { *p }), 7);
            }
        });
        // SAFETY: not named yet.
        cell.with_mut(|p| unsafe { *p = 7 });
        map.slot(place.addr().get())
            .expect("covered")
            .set_owner(name);
        other.join().unwrap();
    });
}
