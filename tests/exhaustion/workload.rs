//! A program that uses every way to get and give memory, bears every refusal, and knows what it wrote.

use crate::rng::Rng;
use pymalloc::{Heap, PyMalloc};
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::ptr::NonNull;

/// A value nobody sets.
const ERRNO: i32 = 4242;

fn set_errno(value: i32) {
    // SAFETY: this thread's own integer.
    unsafe { *libc::__errno_location() = value };
}

fn errno() -> i32 {
    // SAFETY: this thread's own integer.
    unsafe { *libc::__errno_location() }
}

#[derive(Clone, Copy)]
struct Live {
    p: NonNull<u8>,
    layout: Layout,
    tag: u8,
}

// SAFETY: a block is memory; whoever holds the value uses it.
unsafe impl Send for Live {}

/// The blocks one thread holds.
#[derive(Default)]
pub struct Book {
    live: Vec<Live>,
    tag: u8,
    /// Requests that were refused.
    pub nulls: usize,
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Offsets that carry a block's pattern: its ends and one in each page, or in every 64th of a giant.
fn written(size: usize) -> impl Iterator<Item = usize> {
    let step = if size > 8 << 20 { 64 * 4096 } else { 4096 };
    (0..size.min(64))
        .chain((0..size).step_by(step))
        .chain(size.saturating_sub(64)..size)
}

impl Live {
    fn fill(&self) {
        for at in written(self.layout.size()) {
            // SAFETY: inside the block.
            unsafe { self.p.add(at).write(self.tag ^ at as u8) };
        }
    }

    /// Checks the bytes below `most`, which are at `p` now.
    fn check(&self, p: NonNull<u8>, most: usize) {
        for at in written(self.layout.size()).filter(|&at| at < most) {
            // SAFETY: inside the block.
            let byte = unsafe { p.add(at).read() };
            assert_eq!(byte, self.tag ^ at as u8, "byte {at} of {:?}", self.layout);
        }
    }
}

impl Book {
    fn enter(&mut self, p: *mut u8, layout: Layout) {
        let Some(p) = NonNull::new(p) else {
            self.nulls += 1;
            return;
        };
        assert_eq!(errno(), ERRNO, "a successful call keeps errno");
        assert!(p.addr().get().is_multiple_of(layout.align()), "{layout:?}");
        self.tag = self.tag.wrapping_add(37);
        let live = Live {
            p,
            layout,
            tag: self.tag,
        };
        live.fill();
        self.live.push(live);
    }

    fn alloc(&mut self, size: usize, align: usize) {
        set_errno(ERRNO);
        // SAFETY: the size is not 0.
        let p = unsafe { PyMalloc.alloc(layout(size, align)) };
        self.enter(p, layout(size, align));
    }

    fn alloc_zeroed(&mut self, size: usize, align: usize) {
        set_errno(ERRNO);
        // SAFETY: the size is not 0.
        let p = unsafe { PyMalloc.alloc_zeroed(layout(size, align)) };
        if !p.is_null() {
            // SAFETY: a live block of `size` bytes.
            let bytes = unsafe { std::slice::from_raw_parts(p, size) };
            assert_eq!(
                bytes.iter().position(|&byte| byte != 0),
                None,
                "zeroed {size} at {align}"
            );
        }
        self.enter(p, layout(size, align));
    }

    fn realloc(&mut self, which: usize, size: usize) {
        if self.live.is_empty() {
            return;
        }
        let old = self.live.swap_remove(which % self.live.len());
        old.check(old.p, usize::MAX);
        set_errno(ERRNO);
        // SAFETY: live, and taken off the list.
        let p = unsafe { PyMalloc.realloc(old.p.as_ptr(), old.layout, size) };
        match NonNull::new(p) {
            Some(p) => {
                old.check(p, size);
                self.enter(p.as_ptr(), layout(size, old.layout.align()));
            }
            None => {
                self.nulls += 1;
                old.check(old.p, usize::MAX);
                self.live.push(old);
            }
        }
    }

    fn free(&mut self, which: usize) {
        if self.live.is_empty() {
            return;
        }
        let old = self.live.swap_remove(which % self.live.len());
        old.check(old.p, usize::MAX);
        set_errno(ERRNO);
        // SAFETY: live, and taken off the list.
        unsafe { PyMalloc.dealloc(old.p.as_ptr(), old.layout) };
        assert_eq!(errno(), ERRNO, "free keeps errno");
    }

    fn free_all(&mut self) {
        while !self.live.is_empty() {
            self.free(usize::MAX);
        }
    }

    /// A few blocks of every tier, for another thread to free.
    fn few(&mut self) {
        for size in [1, 100, 512, 3000, 100_000, 300_000] {
            (0..4).for_each(|_| self.alloc(size, 16));
        }
    }

    /// Every tier, every call.
    fn mixed(&mut self, random: &mut Rng) {
        for _ in 0..300 {
            let size = 1 + random.below(512);
            match random.below(4) {
                0 => self.alloc_zeroed(size, 8),
                1 => self.realloc(random.below(1000), size),
                2 if random.one_in(2) => self.free(random.below(1000)),
                _ => self.alloc(size, 16),
            }
        }
        for size in [600, 5000, 20_000, 70_000, 262_144] {
            self.alloc(size, 16);
            self.alloc_zeroed(size, 4096);
            self.realloc(random.below(1000), size);
        }
        for size in [262_145, 600_000] {
            self.alloc(size, 1);
            self.alloc_zeroed(size, 64);
            // Grows what was made last; shrinks it again.
            self.realloc(self.live.len().wrapping_sub(1), 2 * size);
            self.realloc(self.live.len().wrapping_sub(1), size - size / 3);
        }
        // Beyond what is kept for reuse.
        self.alloc(40 << 20, 1);
        self.realloc(self.live.len().wrapping_sub(1), 70 << 20);
        self.alloc(100, 1 << 20);
        self.alloc_zeroed(600_000, 4 << 20);
        let half = self.live.len() / 2;
        for _ in 0..half {
            self.free(random.below(1000));
        }
        // What comes back must be clean.
        for size in [64, 3000, 8192, 100_000, 200_000, 300_000, 600_000] {
            self.alloc_zeroed(size, 16);
        }
    }
}

fn a_heap() -> usize {
    let heap = Heap::new();
    let mut nulls = 0;
    let mut blocks = Vec::new();
    for size in [16, 300, 512, 4000, 100_000, 300_000, 700_000].repeat(5) {
        match heap.alloc(layout(size, 16)) {
            Some(p) => {
                let live = Live {
                    p,
                    layout: layout(size, 16),
                    tag: size as u8,
                };
                live.fill();
                blocks.push(live);
            }
            None => nulls += 1,
        }
    }
    for (index, live) in blocks.iter().enumerate() {
        live.check(live.p, usize::MAX);
        if index % 2 == 0 {
            // SAFETY: a live block of the heap.
            unsafe { heap.dealloc(live.p, live.layout) };
        }
    }
    nulls
}

/// A thread's part: its own blocks, and those of the thread that made it.
extern "C" fn thread(value: *mut c_void) -> *mut c_void {
    // SAFETY: what `with_threads` passed, until it is joined.
    let book = unsafe { &mut *value.cast::<Book>() };
    let mut own = Book::default();
    own.mixed(&mut Rng::new(book.live.len() as u64));
    book.free_all();
    own.free_all();
    book.nulls += own.nulls;
    std::ptr::null_mut()
}

fn with_threads() -> usize {
    let mut books = [Book::default(), Book::default()];
    let mut threads = Vec::new();
    for book in &mut books {
        book.few();
        let (mut handle, value) = (0, std::ptr::from_mut(book).cast::<c_void>());
        // Straight from the C library: std wants a signal stack for each thread, and panics without.
        // SAFETY: the book lives until the thread is joined.
        let made = unsafe { libc::pthread_create(&mut handle, std::ptr::null(), thread, value) };
        if made == 0 {
            threads.push(handle);
        } else {
            thread(value);
        }
    }
    for handle in threads {
        // SAFETY: made above.
        unsafe { libc::pthread_join(handle, std::ptr::null_mut()) };
    }
    books.iter().map(|book| book.nulls).sum()
}

/// The whole program. How many requests were refused.
pub fn run(seed: u64) -> usize {
    let mut random = Rng::new(seed);
    let mut book = Book::default();
    book.mixed(&mut random);
    book.nulls += a_heap();
    PyMalloc.collect();
    book.mixed(&mut random);
    book.nulls += with_threads();
    assert!(PyMalloc.stats().block_bytes > 0 || book.live.is_empty());
    book.free_all();
    PyMalloc.collect();
    book.nulls
}

/// Once more every tier, when nothing is refused: nothing may fail then.
pub fn again() {
    let mut book = Book::default();
    book.mixed(&mut Rng::new(2));
    book.nulls += a_heap();
    book.free_all();
    assert_eq!(book.nulls, 0, "refused afterwards");
}

/// Fills memory with blocks of `size` until a request is refused, frees them, and gets as many again.
/// Bytes that were had. The blocks hold each other's addresses, since there is no memory for a list.
pub fn fill_up(size: usize) -> usize {
    let layout = layout(size, 16);
    let mut most = 0;
    for round in 0..3 {
        let (mut last, mut n) = (std::ptr::null_mut::<u8>(), 0);
        loop {
            // SAFETY: the size is not 0.
            let p = unsafe {
                match round {
                    2 => PyMalloc.alloc_zeroed(layout),
                    _ => PyMalloc.alloc(layout),
                }
            };
            if p.is_null() {
                break;
            }
            // SAFETY: a live block of at least 32 bytes.
            unsafe {
                let end = p.add(size / 8 * 8 - 8).cast::<usize>();
                assert!(round != 2 || end.read() == 0);
                p.cast::<*mut u8>().write(last);
                end.write(!p.addr());
            }
            (last, n) = (p, n + 1);
        }
        while !last.is_null() {
            // SAFETY: a live block, with what was written above; freed once.
            unsafe {
                let p = last;
                assert_eq!(p.add(size / 8 * 8 - 8).cast::<usize>().read(), !p.addr());
                last = p.cast::<*mut u8>().read();
                PyMalloc.dealloc(p, layout);
            }
        }
        let had = n * size;
        // What was freed a moment ago waits in the quarantine of guarded blocks, and may be lost to them when the
        // system refuses to make it accessible again.
        let share = if crate::child::is_guarded() { 1 } else { 9 };
        assert!(
            had >= most / 10 * share,
            "round {round}: {had} bytes, {most} before"
        );
        most = most.max(had);
    }
    PyMalloc.collect();
    most
}

/// Writes to blocks of every tier, gives all memory back, and asks for zeroed blocks in the same places.
pub fn dirty_then_zeroed() {
    let sizes = [16, 400, 4096, 70_000, 300_000, 1 << 20, 5 << 20];
    for zeroed in [false, true] {
        for size in sizes {
            let layout = layout(size, 16);
            let n = ((8 << 20) / size).clamp(2, 2000);
            // SAFETY: the size is not 0; each block is freed once by its layout.
            unsafe {
                let blocks: Vec<_> = (0..n)
                    .map(|_| match zeroed {
                        true => PyMalloc.alloc_zeroed(layout),
                        false => PyMalloc.alloc(layout),
                    })
                    .collect();
                for p in &blocks {
                    assert!(!p.is_null());
                    let bytes = std::slice::from_raw_parts_mut(*p, size);
                    assert!(!zeroed || bytes.iter().all(|byte| *byte == 0), "{size}");
                    bytes.fill(0xA5);
                }
                blocks.into_iter().for_each(|p| PyMalloc.dealloc(p, layout));
            }
        }
        PyMalloc.collect();
    }
}

/// Makes `n` blocks of `size`, frees every second one, makes as many again, and frees all; each holds what was
/// written at its ends. How many were refused.
pub fn every_second(n: usize, size: usize) -> usize {
    let mut nulls = 0;
    let layout = layout(size, 16);
    let mut slots: Vec<Option<NonNull<u8>>> = vec![None; n];
    let check = |p: NonNull<u8>, index: usize| {
        // SAFETY: a live block of `size` bytes.
        unsafe { assert_eq!(p.cast::<usize>().read(), index, "block {index}") };
    };
    for round in 0..2 {
        for (index, slot) in slots
            .iter_mut()
            .enumerate()
            .filter(|(_, slot)| slot.is_none())
        {
            // SAFETY: the size is not 0.
            *slot = NonNull::new(unsafe { PyMalloc.alloc(layout) });
            match slot {
                // SAFETY: a live block of `size` bytes.
                Some(p) => unsafe { p.cast::<usize>().write(index) },
                None => nulls += 1,
            }
        }
        for (index, slot) in slots
            .iter_mut()
            .enumerate()
            .skip(1 - round)
            .step_by(2 - round)
        {
            if let Some(p) = slot.take() {
                check(p, index);
                // SAFETY: live, and taken off the list.
                unsafe { PyMalloc.dealloc(p.as_ptr(), layout) };
            }
        }
    }
    PyMalloc.collect();
    nulls
}
