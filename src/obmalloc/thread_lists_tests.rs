//! Thread lists against plain vectors.

use super::super::list_bounds::{
    BUFFER_BLOCKS, LARGE_FROM, MAX_BLOCKS, MAX_BYTES, ONE_WAY_BLOCKS, ONE_WAY_BYTES,
};
use super::*;

fn block(k: usize) -> Block {
    let p = core::ptr::without_provenance_mut(16 * k);
    // SAFETY: never used as memory here.
    unsafe { Block::new(NonNull::new(p).unwrap()) }
}

fn region() -> Vec<Entry> {
    vec![None; REGION_ENTRIES]
}

/// Lists for as long as the region is.
fn lists_in(region: &mut [Entry], buffers: Buffers) -> ThreadLists {
    let lists = ThreadLists::EMPTY;
    // SAFETY: the caller's, who keeps the region and uses it no more.
    unsafe { lists.attach(NonNull::new(region.as_mut_ptr()).unwrap(), buffers) };
    lists
}

/// Every operation against two vectors.
#[test]
fn stack_and_buffer_behave_as_two_vectors() {
    let mut region = region();
    let lists = lists_in(&mut region, Buffers::With);
    let class = SizeClass::small(48);
    let (mut stack, mut buffer) = (Vec::new(), Vec::new());
    let (mut seed, mut next, mut room) = (7u64, 1, 0);
    for _ in 0..200_000 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        let list = lists.of(class);
        match seed >> 60 {
            0..5 => assert_eq!(list.pop(), stack.pop()),
            5..11 => {
                let has_room = buffer.len() < room;
                assert_eq!(list.room().is_some(), has_room);
                next += 1;
                // SAFETY: a block of no memory, not touched by a list.
                assert_eq!(unsafe { list.push(block(next)) }, has_room);
                if has_room {
                    buffer.push(block(next));
                }
            }
            11 => {
                let n = buffer.len();
                let settles = n >= 5 && stack.len() + n <= list.bound();
                assert_eq!(list.settle(5), settles);
                if settles {
                    stack.append(&mut buffer);
                }
            }
            12 => {
                lists.lengthen(class, Worked::Refilled);
                room = BUFFER_BLOCKS;
            }
            13 if stack.is_empty() => {
                let n = list.bound() / 2;
                for place in lists.places(class, n) {
                    next += 1;
                    *place = Some(block(next));
                    stack.push(block(next));
                }
                // SAFETY: as above.
                unsafe { lists.fill(class, stack.len()) };
            }
            14 => {
                list.worked.set(Worked::Flushed);
                let n = stack.len() / 2;
                let out: Vec<_> = lists.of(class).older(n).iter().flatten().copied().collect();
                assert!(out == stack[..n]);
                lists.of(class).drop_older(n);
                stack.drain(..n);
            }
            15 if next.is_multiple_of(2) => lists.close(class),
            _ => lists.shorten(class, [None, Some(4096), Some(0)][next % 3]),
        }
        assert_eq!(lists.len(class), stack.len() + buffer.len());
    }
    assert!(lists.of(class).capacity.get() > 64 && next > 10_000);
}

#[test]
fn no_list_outgrows_the_region() {
    let mut region = region();
    let lists = lists_in(&mut region, Buffers::With);
    for class in SizeClass::all() {
        while lengthens_by_turns(&lists, class) {}
        let most = match class.block_bytes() {
            bytes if bytes > LARGE_FROM => ONE_WAY_BYTES / bytes,
            bytes => MAX_BYTES / bytes,
        };
        assert_eq!(lists.of(class).bound(), most.clamp(1, MAX_BLOCKS));
    }
    assert_eq!(lists.used.get() as usize, REGION_ENTRIES);
}

/// Whether the list is longer after a free it had no room for and the refill behind that.
fn lengthens_by_turns(lists: &ThreadLists, class: SizeClass) -> bool {
    lists.of(class).worked.set(Worked::Flushed);
    lists.lengthen(class, Worked::Refilled)
}

#[test]
fn only_a_list_that_takes_what_it_gave_gets_long() {
    let mut region = region();
    let lists = lists_in(&mut region, Buffers::Without);
    let class = SizeClass::small(16);
    for way in [Worked::Refilled, Worked::Flushed] {
        while lists.lengthen(class, way) {}
        assert_eq!(lists.of(class).bound(), ONE_WAY_BLOCKS.min(MAX_BLOCKS));
    }
    // The last of them was a flush.
    let mut bound = lists.of(class).bound();
    while lists.lengthen(class, Worked::Refilled) {
        assert!(lists.of(class).bound() > bound);
        bound = lists.of(class).bound();
        assert!(!lists.lengthen(class, Worked::Refilled));
        lists.lengthen(class, Worked::Flushed);
        assert_eq!(
            lists.of(class).bound(),
            bound,
            "a flush does not shorten it"
        );
    }
    assert_eq!(bound, MAX_BLOCKS);
}

#[test]
fn a_list_that_gives_away_what_is_anothers_stays_short() {
    let mut region = region();
    let lists = lists_in(&mut region, Buffers::Without);
    for class in SizeClass::all() {
        let [first, one_way, _] = bounds(class).stacks.map(usize::from);
        lists.lengthen(class, Worked::Flushed);
        for _ in 0..9 {
            lists.of(class).note(Worked::SentAway);
            lists.lengthen(class, Worked::Flushed);
        }
        assert_eq!(
            lists.of(class).bound(),
            one_way.min((2 * first).max(SENT_AWAY))
        );
    }
}

#[test]
fn what_the_lists_of_large_blocks_may_hold_is_the_sum_of_their_bounds() {
    let mut region = region();
    let lists = lists_in(&mut region, Buffers::Without);
    let large = || SizeClass::all().filter(|class| class.block_bytes() > LARGE_FROM);
    let sum = || -> usize {
        let bytes = |class: SizeClass| lists.of(class).bound() * class.block_bytes();
        large().map(bytes).sum()
    };
    let mut most = 0;
    for (n, class) in SizeClass::all().enumerate() {
        for _ in 0..n % 4 {
            lists.lengthen(class, Worked::Refilled);
        }
        assert_eq!(lists.large().bytes(), sum());
        most = most.max(sum());
    }
    assert!(most > MAX_BYTES);
    for class in large() {
        lists.close(class);
        assert!(lists.of(class).room().is_none());
        assert_eq!(lists.large().bytes(), sum());
    }
    assert_eq!(lists.large().bytes(), 0);
    let class = SizeClass::aligned(8192, 1).expect("there is one");
    lists.lengthen(class, Worked::Refilled);
    assert_eq!(
        lists.large().bytes(),
        lists.of(class).bound() * class.block_bytes()
    );
    lists.detach();
    assert_eq!(lists.large().bytes(), 0);
}

#[test]
fn a_list_without_a_buffer_is_one_stack() {
    let mut region = region();
    let lists = lists_in(&mut region, Buffers::Hidden);
    let class = SizeClass::small(48);
    let list = lists.of(class);
    let (mut stack, mut seed) = (Vec::new(), 7u64);
    for next in 1..100_000 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        match seed >> 60 {
            0..4 => assert_eq!(list.pop(), stack.pop()),
            4..7 => assert_eq!(lists.pop(ListPlace::of(label_of(class))), stack.pop()),
            7..10 => {
                let has_room = stack.len() < list.bound();
                // SAFETY: as below.
                let pushed = unsafe {
                    lists.push_made(ListPlace::of(label_of(class)), || Some(block(next)))
                };
                assert_eq!(pushed, has_room);
                if has_room {
                    stack.push(block(next));
                }
                // SAFETY: nothing is pushed.
                assert!(!unsafe { lists.push_made(ListPlace::of(label_of(class)), || None) });
            }
            10..13 => {
                let has_room = stack.len() < list.bound();
                // SAFETY: a block of no memory, not touched by a list.
                let pushed = unsafe { lists.push(label_of(class), block(next)) };
                assert_eq!(pushed, has_room);
                if has_room {
                    stack.push(block(next));
                }
            }
            13 => {
                lists.lengthen(class, Worked::Refilled);
            }
            14 => {
                list.worked.set(Worked::Flushed);
                let n = stack.len() / 2;
                let out: Vec<_> = lists.of(class).older(n).iter().flatten().copied().collect();
                assert!(out == stack[..n]);
                lists.of(class).drop_older(n);
                stack.drain(..n);
            }
            _ if stack.is_empty() => {
                let n = list.bound() / 2;
                for (k, place) in lists.places(class, n).iter_mut().enumerate() {
                    *place = Some(block(next + k));
                    stack.push(block(next + k));
                }
                // SAFETY: as above.
                unsafe { lists.fill(class, n) };
            }
            _ => lists.close(class),
        }
        assert_eq!(lists.len(class), stack.len());
    }
    lists.of(class).drop_older(usize::MAX);
    assert!(list.capacity.get() > 32);
}
