//! A list grows: that of large blocks, as far as all of these may (`large_lists.rs`).
//!
//! Called from slow calls only, by the thread whose lists they are.

use super::{SharedHeap, slow};
use crate::obmalloc::large_lists::is_large;
use crate::obmalloc::list::Worked;
use crate::obmalloc::size_class::SizeClass;
use crate::obmalloc::thread_lists::ThreadLists;

/// Lets a list grow that is about to be refilled or flushed.
#[inline]
pub(super) fn lengthen(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass, now: Worked) {
    if !is_large(class) || may_grow(lists, heap, class) {
        lists.lengthen(class, now);
    } else {
        lists.of(class).note(now);
    }
}

/// Whether the list of a large class may grow: others make way for it, in turn, until it may.
fn may_grow(lists: &ThreadLists, heap: &SharedHeap, class: SizeClass) -> bool {
    let (large, bound) = (lists.large(), lists.of(class).bound());
    while !large.allow(class, bound)
        && let Some(other) = large.next(class)
    {
        slow::flush(lists, heap, other);
        lists.close(other);
        // Lists with buffers keep room for those: closing more of them brings no more.
        if lists.of(other).bound() > 0 {
            break;
        }
    }
    large.allow(class, bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::global::thread;
    use core::ptr::NonNull;

    fn make_and_free(bytes: usize) {
        let p = NonNull::new(slow::alloc_general(bytes, 16)).expect("memory");
        // SAFETY: just made, with these numbers.
        unsafe { slow::free_general(p, bytes, 16) };
    }

    fn held(class: SizeClass) -> usize {
        thread::lists().len(class)
    }

    fn in_a_thread(test: fn()) {
        std::thread::spawn(test).join().expect("it passes");
    }

    #[test]
    fn one_block_of_each_length_is_not_kept() {
        in_a_thread(|| {
            let large: Vec<_> = SizeClass::all().filter(|class| is_large(*class)).collect();
            for class in large.iter().cycle().take(3 * large.len()) {
                make_and_free(class.block_bytes());
                let kept: usize = large.iter().map(|c| held(*c) * c.block_bytes()).sum();
                let others = kept - held(*class) * class.block_bytes();
                assert!(others <= 64 << 10, "{others} beside {class:?}");
            }
            let rounds = large.iter().map(|class| held(*class));
            assert!(rounds.sum::<usize>() > 0, "what is used is kept");
        });
    }

    #[test]
    fn the_longest_block_is_kept_and_makes_others_go() {
        in_a_thread(|| {
            let [long, short] = [256 << 10, 8192].map(|n| SizeClass::of(n).expect("a class"));
            make_and_free(8192);
            assert!(held(short) > 0);
            make_and_free(256 << 10);
            assert_eq!((held(long), held(short)), (1, 0));
            make_and_free(8192);
            assert!(held(short) > 0 && held(long) == 0);
        });
    }
    #[test]
    fn beside_much_more_is_kept() {
        in_a_thread(|| {
            let make = || NonNull::new(slow::alloc_general(200 << 10, 16)).expect("memory");
            // SAFETY: made with these numbers, and not used any more.
            let free = |p| unsafe { slow::free_general(p, 200 << 10, 16) };
            // A 1024th of them is more than 140 KiB; two that are freed are one more than the list may hold.
            let mut blocks: Vec<_> = (0..800).map(|_| make()).collect();
            blocks.drain(..2).for_each(free);
            let both = [60 << 10, 80 << 10].map(|n| {
                make_and_free(n);
                SizeClass::of(n).expect("a class")
            });
            assert_eq!(both.map(held), [1, 1]);
            blocks.into_iter().for_each(free);
        });
    }
}
