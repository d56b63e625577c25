//! Observers see every call of their thread, with the sizes asked for.

use super::*;
use crate::global::PyMalloc;
use core::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard};

std::thread_local! {
    static SEEN: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
    static IS_NOTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether blocks were taken hangs from what the thread has: it is left out here.
fn note(event: &Event) {
    if IS_NOTED.get() {
        let mut event = *event;
        if let Event::Allocated { taken, .. } = &mut event {
            *taken = false;
        }
        SEEN.with_borrow_mut(|seen| seen.push(event));
    }
}

fn note_all(event: &Event) {
    if IS_NOTED.get() {
        SEEN.with_borrow_mut(|seen| seen.push(*event));
    }
}

/// Runs `f`, whose calls are noted.
fn noted<R>(f: impl FnOnce() -> R) -> R {
    IS_NOTED.set(true);
    let result = f();
    IS_NOTED.set(false);
    result
}

/// The allocator as the tests call it. Their own memory, which is the library's too where that is the process's malloc,
/// is no matter of theirs.
struct Noted;

// SAFETY: [`PyMalloc`], by other names.
unsafe impl GlobalAlloc for Noted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        noted(|| unsafe { PyMalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        noted(|| unsafe { PyMalloc.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on.
        noted(|| unsafe { PyMalloc.realloc(p, layout, size) })
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        noted(|| unsafe { PyMalloc.dealloc(p, layout) })
    }
}

/// As [`note`], and takes memory itself, by the allocator it observes.
fn note_and_allocate(event: &Event) {
    let layout = Layout::new::<[u64; 5]>();
    // SAFETY: freed by the layout it was allocated for.
    unsafe { PyMalloc.dealloc(PyMalloc.alloc(layout), layout) };
    note(event);
}

/// One test at a time: all observers of the process are told of everything.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What `observer` is told on a thread that runs `f`.
fn seen_by(observer: Observer, f: impl FnOnce() + Send) -> Vec<Event> {
    let _alone = alone();
    let watched = || {
        // Room beforehand: where the library is the process's malloc, growing would take blocks between two events.
        SEEN.with_borrow_mut(|seen| seen.reserve(64));
        assert!(observe(observer));
        f();
        forget(observer);
        SEEN.take()
    };
    std::thread::scope(|scope| scope.spawn(watched).join().expect("no panic"))
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

fn allocated(p: *mut u8, size: usize, align: usize, zeroed: bool) -> Event {
    Event::Allocated {
        address: p.addr(),
        size,
        align: align.max(ALIGNMENT),
        zeroed,
        taken: false,
        api: RUST,
    }
}

fn freeing(p: *mut u8, size: usize) -> Event {
    Event::Freeing {
        address: p.addr(),
        size: Some(size),
        api: RUST,
    }
}

fn resized(old: *mut u8, new: *mut u8, size: usize) -> Event {
    Event::Resized {
        old: old.addr(),
        new: new.addr(),
        size,
        api: RUST,
    }
}

#[test]
fn every_tier_is_seen_with_the_size_asked_for() {
    let expected = Mutex::new(Vec::new());
    let seen = seen_by(note, || {
        let sizes = [
            (24, 8),
            (24, 8),
            (500, 16),
            (3000, 8),
            (100, 4096),
            (5000, 64),
        ];
        let huge = [(300_000, 8), (3 << 20, 8), (10, 1 << 20)];
        for (size, align) in sizes.into_iter().chain(huge) {
            let layout = layout(size, align);
            // SAFETY: freed by the layout they were allocated for.
            unsafe {
                let p = Noted.alloc(layout);
                let z = Noted.alloc_zeroed(layout);
                assert!(
                    core::slice::from_raw_parts(z, size)
                        .iter()
                        .all(|byte| *byte == 0)
                );
                Noted.dealloc(p, layout);
                Noted.dealloc(z, layout);
                expected.lock().unwrap().extend([
                    allocated(p, size, align, false),
                    allocated(z, size, align, true),
                    freeing(p, size),
                    freeing(z, size),
                ]);
            }
        }
    });
    assert_eq!(seen, expected.into_inner().unwrap());
}

#[test]
fn a_resize_is_one_event_wherever_the_block_goes() {
    let expected = Mutex::new(Vec::new());
    let seen = seen_by(note, || {
        let mut expected = expected.lock().unwrap();
        let (mut size, mut p) = (40, core::ptr::null_mut::<u8>());
        // Stays, moves within and between tiers, grows and shrinks as a huge block.
        for new_size in [
            40,
            48,
            100,
            4000,
            400_000,
            2 << 20,
            64 << 20,
            1 << 20,
            1000,
            16,
        ] {
            // SAFETY: a live block of `size` bytes, but for the first time.
            unsafe {
                if p.is_null() {
                    p = Noted.alloc(layout(size, 8));
                    expected.push(allocated(p, size, 8, false));
                    p.write_bytes(0x5a, size);
                }
                let new = Noted.realloc(p, layout(size, 8), new_size);
                expected.push(resized(p, new, new_size));
                let kept = size.min(new_size).min(40);
                let bytes = core::slice::from_raw_parts(new, kept);
                assert!(bytes.iter().all(|byte| *byte == 0x5a), "{new_size}");
                (p, size) = (new, new_size);
            }
        }
        // SAFETY: live.
        unsafe { Noted.dealloc(p, layout(size, 8)) };
        expected.push(freeing(p, size));
    });
    assert_eq!(seen, expected.into_inner().unwrap());
}

#[test]
fn what_an_observer_allocates_is_not_observed() {
    let seen = seen_by(note_and_allocate, || {
        let layout = layout(64, 8);
        // SAFETY: freed by the layout it was allocated for.
        unsafe { Noted.dealloc(Noted.alloc(layout), layout) };
    });
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_thread_with_lists_is_watched_from_its_next_slow_call_and_has_lists_again_later() {
    let layout = layout(64, 8);
    let take = move || {
        // SAFETY: not a zero size.
        unsafe { Noted.alloc(layout) }.addr()
    };
    let give = move |addr: usize| {
        // SAFETY: from `take`.
        unsafe { Noted.dealloc(core::ptr::with_exposed_provenance_mut(addr), layout) }
    };
    let class = SizeClass::small(64);
    let held = || {
        let lists = thread::lists();
        (lists.len(class), lists.of(class).bound())
    };
    let seen = seen_by(note, || {
        // `observe` closed this thread's lists.
        give(take());
        assert_eq!(held(), (0, 0));
    });
    assert_eq!(seen.len(), 2);
    let _alone = alone();
    give(take());
    // Where every block is guarded, for the whole life of the process, no list is ever used.
    let has_lists = |(blocks, bound)| (blocks > 0 && bound > 0) != is_guarded();
    assert!(has_lists(held()));
    let other = std::thread::spawn(|| {
        assert!(observe(note));
        forget(note);
    });
    other.join().unwrap();
    assert!(has_lists(held()), "of another thread");
}

#[test]
fn a_watched_threads_blocks_wait_out_of_sight_and_come_back() {
    let layout = layout(64, 8);
    let class = SizeClass::small(64);
    // SAFETY: freed by the layout it was allocated for.
    let pair = move || unsafe { Noted.dealloc(Noted.alloc(layout), layout) };
    // Blocks that the hit paths see, and all that the thread has.
    let held = || match thread::caller() {
        Some(Caller::Live(thread, _)) => (thread.lists.len(class), thread.active().len(class)),
        _ => panic!("a thread with lists"),
    };
    for round in 0..3 {
        let seen = seen_by(note, || {
            (0..500).for_each(|_| pair());
            let (seen, all) = held();
            assert_eq!(seen, 0, "round {round}");
            assert!(all > 0 || is_guarded(), "round {round}");
        });
        assert_eq!(seen.len(), 1000);
    }
    let _alone = alone();
    assert!(observe(note));
    // Its region goes to the next thread from behind.
    std::thread::scope(|scope| scope.spawn(pair).join().expect("no panic"));
    pair();
    forget(note);
    SEEN.take();
    pair();
    let (seen, all) = held();
    assert_eq!(seen, all);
    assert!(all > 0 || is_guarded());
    std::thread::scope(|scope| scope.spawn(pair).join().expect("no panic"));
}

#[test]
fn there_is_room_for_four_observers() {
    fn a(_: &Event) {
        note(&resized(core::ptr::null_mut(), core::ptr::null_mut(), 1));
    }
    fn b(_: &Event) {
        note(&resized(core::ptr::null_mut(), core::ptr::null_mut(), 2));
    }
    fn c(_: &Event) {
        note(&resized(core::ptr::null_mut(), core::ptr::null_mut(), 3));
    }
    fn d(_: &Event) {
        note(&resized(core::ptr::null_mut(), core::ptr::null_mut(), 4));
    }
    let _alone = alone();
    let all: [Observer; 4] = [a, b, c, d];
    assert!(all.into_iter().all(observe));
    assert!(!observe(note));
    all.into_iter().for_each(forget);
    assert!(observe(note));
    forget(note);
    assert_eq!(MODES.load(Ordering::Relaxed) & !GUARDED, 0);
}

#[test]
fn an_event_says_whether_the_thread_took_blocks_from_others() {
    let small = layout(48, 16);
    let seen = seen_by(note_all, || {
        // SAFETY: freed once, by the layouts they were allocated for.
        unsafe {
            // The first fills the list; what the thread itself frees comes back from there.
            for _ in 0..3 {
                Noted.dealloc(Noted.alloc(small), small);
            }
            let huge = layout(3 << 20, 16);
            Noted.dealloc(Noted.alloc(huge), huge);
            Noted.dealloc(Noted.alloc(small), small);
        }
    });
    let taken = |event: &Event| match *event {
        Event::Allocated { taken, .. } => Some(taken),
        _ => None,
    };
    let taken: Vec<bool> = seen.iter().filter_map(taken).collect();
    // Guarded blocks all come from the heap.
    let expected = match is_guarded() {
        true => [true; 5],
        false => [true, false, false, true, false],
    };
    assert_eq!(taken, expected);
}
