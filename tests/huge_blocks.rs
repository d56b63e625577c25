//! Huge blocks: those asked for zeroed, where others were before, and those that threads keep for their next
//! request.

use pymalloc::PyMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[path = "support/child.rs"]
mod child;
#[path = "support/memory.rs"]
mod memory;

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

/// Whether a page of a block is written to.
type Wanted = fn(usize) -> bool;

const PATTERNS: [(&str, Wanted); 6] = [
    ("none", |_| false),
    ("all", |_| true),
    ("every third", |page| page % 3 == 1),
    ("every second", |page| page.is_multiple_of(2)),
    ("the first hundred", |page| page < 100),
    ("runs of seven", |page| (page / 7).is_multiple_of(2)),
];

/// One test at a time, from nothing stored on.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    PyMalloc.collect();
    guard
}

/// Runs `f` in a process of its own, where nothing that lies free goes back by itself.
fn where_all_stays(test: &str, f: impl FnOnce()) {
    if child::part().is_some() {
        return f();
    }
    let mut command = child::command(test, "alone");
    command.env("PYMALLOC_CONF", "purge_thread:on,purge_delay:1000000");
    child::passed(test, &command.output().unwrap());
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

/// A block of the allocator under test.
struct Block {
    start: *mut u8,
    size: usize,
}

impl Block {
    fn zeroed(size: usize) -> Self {
        // SAFETY: the size is not 0.
        let start = unsafe { PyMalloc.alloc_zeroed(layout(size)) };
        assert!(!start.is_null());
        Self { start, size }
    }

    fn new(size: usize) -> Self {
        // SAFETY: the size is not 0.
        let start = unsafe { PyMalloc.alloc(layout(size)) };
        assert!(!start.is_null());
        Self { start, size }
    }

    fn pages(&self) -> usize {
        self.size.div_ceil(PAGE)
    }

    fn write(&mut self, wanted: Wanted) {
        for page in (0..self.pages()).filter(|&page| wanted(page)) {
            let at = page * PAGE;
            // SAFETY: inside the block, whose last page may be a part of one.
            unsafe {
                self.start
                    .add(at)
                    .write_bytes(0xA5, PAGE.min(self.size - at))
            };
        }
    }

    /// Pages that hold memory.
    fn resident(&self) -> usize {
        let mut pages = vec![0u8; self.pages()];
        // SAFETY: one byte for each page of the block.
        let told = unsafe { libc::mincore(self.start.cast(), self.size, pages.as_mut_ptr()) };
        assert_eq!(told, 0, "{}", std::io::Error::last_os_error());
        pages.iter().filter(|&page| page & 1 == 1).count()
    }

    fn is_zero(&self) -> bool {
        // SAFETY: the block's bytes, which were zeroed or written.
        let bytes = unsafe { std::slice::from_raw_parts(self.start, self.size) };
        bytes.iter().all(|&byte| byte == 0)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { PyMalloc.dealloc(self.start, layout(self.size)) };
    }
}

#[test]
fn a_zeroed_block_is_zero_whatever_was_there() {
    let _alone = alone();
    let sizes = [
        300_000,
        700_001,
        MIB,
        3 * MIB,
        5 * MIB + 1,
        17 * MIB,
        2 * MIB,
    ];
    for (before, wanted) in PATTERNS {
        for (previous, size) in sizes.iter().zip(sizes.iter().skip(1).chain(&sizes[..1])) {
            for size in [*previous, *size] {
                Block::zeroed(*previous).write(wanted);
                let block = Block::zeroed(size);
                assert!(block.is_zero(), "{size} after {previous}, {before} written");
            }
        }
    }
}

#[test]
fn zeroing_takes_no_memory_where_there_was_none() {
    let _alone = alone();
    let every_sixteenth = |page: usize| page.is_multiple_of(16);
    for size in [2 * MIB, 9 * MIB, 16 * MIB] {
        Block::zeroed(size).write(every_sixteenth);
        let mut block = Block::zeroed(size);
        let (resident, touched) = (block.resident(), block.pages().div_ceil(16));
        assert!(
            resident <= touched,
            "{resident} of {touched} pages at {size}"
        );
        block.write(every_sixteenth);
    }
}

#[test]
fn a_longer_block_has_the_pages_of_a_shorter_one() {
    let _alone = alone();
    for (shorter, longer) in [
        (3 * MIB, 5 * MIB),
        (10 * MIB, 14 * MIB),
        (20 * MIB, 21 * MIB),
    ] {
        Block::new(shorter).write(|_| true);
        let block = Block::new(longer);
        // The last of the shorter one's may be a part of a huge page.
        let (least, most) = (shorter / PAGE, (shorter + MIB) / PAGE);
        let resident = block.resident();
        assert!(
            (least..=most).contains(&resident),
            "{resident} pages of {longer} after {shorter}"
        );
        drop(block);
        PyMalloc.collect();
    }
}

#[test]
fn a_longer_zeroed_block_has_no_pages_to_be_cleared() {
    let _alone = alone();
    for (shorter, longer) in [(3 * MIB, 5 * MIB), (10 * MIB, 14 * MIB)] {
        Block::new(shorter).write(|_| true);
        assert_eq!(
            Block::zeroed(longer).resident(),
            0,
            "{longer} after {shorter}"
        );
        PyMalloc.collect();
    }
}

/// What a vector that doubles was given in huge pages stays in them where it moves to.
#[test]
fn a_block_that_doubles_lies_in_huge_pages() {
    let _alone = alone();
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let has_them = setting.is_ok_and(|text| !text.contains("[never]"));
    let before = memory::huge_pages();
    let mut block = Block::new(3 * MIB / 2);
    while block.size < 24 * MIB {
        block.write(|_| true);
        let size = block.size * 2;
        // SAFETY: a live block of this layout, which is forgotten.
        let start = unsafe { PyMalloc.realloc(block.start, layout(block.size), size) };
        assert!(!start.is_null());
        std::mem::forget(std::mem::replace(&mut block, Block { start, size }));
    }
    block.write(|_| true);
    let huge = memory::huge_pages() - before;
    // A machine whose free memory is in pieces may have fewer of them.
    assert_eq!(
        huge >= block.size / 2,
        has_them,
        "{} in huge pages",
        memory::mib(huge)
    );
    let least = |len: usize| (len..len + 2 * MIB).contains(&memory::huge_pages());
    drop(block);
    PyMalloc.collect();
    assert!(memory::comes_true(Duration::from_secs(5), || least(before)));
    // Half of a huge page or more is a whole one, and less is small pages.
    let block = Block::new(3 * MIB + MIB / 2);
    assert_eq!(PyMalloc.usable_size(block.start), Some(4 * MIB));
    drop(block);
    PyMalloc.collect();
    let mut block = Block::new(4 * MIB + MIB / 2);
    block.write(|_| true);
    assert_eq!(block.resident(), block.pages());
    assert_eq!(PyMalloc.usable_size(block.start), Some(block.size));
}

/// A short one would fill the pages of a long one, of which little may be touched, and the next long one is new.
#[test]
fn a_short_block_leaves_a_long_one_its_memory() {
    where_all_stays("a_short_block_leaves_a_long_one_its_memory", || {
        for (short, long) in [(MIB - 5000, MIB + MIB / 8), (6 * MIB, 10 * MIB)] {
            let mut before = None;
            for round in 0..4 {
                let blocks = [short, short, long].map(Block::zeroed);
                let [.., last] = &blocks;
                let at = last.start;
                assert!(
                    before.is_none_or(|before| before == at),
                    "{long} beside {short} moves in round {round}"
                );
                before = Some(at);
            }
            PyMalloc.collect();
        }
    });
}

/// Small blocks, `bytes` in all, every page written.
fn small(bytes: usize) -> impl Iterator<Item = Block> {
    (0..bytes / 512).map(|_| {
        let mut block = Block::new(512);
        block.write(|_| true);
        block
    })
}

#[test]
fn a_freed_block_goes_when_small_ones_take_as_much() {
    where_all_stays("a_freed_block_goes_when_small_ones_take_as_much", || {
        const LARGE: usize = 16 * MIB;
        // Room for them all, which is from the system's allocator.
        let mut blocks = Vec::with_capacity(LARGE / 512);
        let base = memory::resident();
        Block::new(LARGE).write(|_| true);
        let mut most = 0;
        for block in small(LARGE) {
            blocks.push(block);
            if blocks.len().is_multiple_of(512) {
                most = most.max(memory::resident() - base);
            }
        }
        // A quarter of it beside all of it, and what the small ones take besides their bytes.
        let bearable = LARGE + LARGE / 4 + LARGE / 8;
        assert!(most <= bearable, "{} at most", memory::mib(most));
    });
}

#[test]
fn a_block_that_is_freed_and_taken_keeps_its_pages_while_small_ones_grow() {
    let test = "a_block_that_is_freed_and_taken_keeps_its_pages_while_small_ones_grow";
    where_all_stays(test, || {
        let mut blocks = Vec::with_capacity(1 << 16);
        Block::new(3 * MIB).write(|_| true);
        for round in 0..500 {
            blocks.extend(small(20_000));
            let block = Block::new(3 * MIB);
            assert_eq!(block.resident(), block.pages(), "round {round}");
        }
    });
}

/// Page faults of this thread so far.
fn faults() -> i64 {
    // SAFETY: a plain structure, filled by the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_minflt
    }
}

#[test]
fn what_is_used_again_is_cleared_in_place() {
    let _alone = alone();
    const ROUNDS: usize = 20;
    // Smaller than what lies free before memory goes back.
    for size in [MIB, 3 * MIB / 2] {
        Block::zeroed(size).write(|_| true);
        let before = faults();
        for _ in 0..ROUNDS {
            Block::zeroed(size).write(|_| true);
        }
        let (taken, pages) = (faults() - before, (size / PAGE) as i64);
        assert!(
            taken < pages,
            "{taken} faults in {ROUNDS} rounds of {pages} pages"
        );
    }
}

#[test]
fn what_idle_threads_keep_goes_back() {
    const THREADS: usize = 24;
    let _alone = alone();
    let base = memory::resident();
    let together = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut block = Block::zeroed(MIB);
                block.write(|_| true);
                together.wait();
                drop(block);
                together.wait();
                // Idle, and alive.
                together.wait();
            });
        }
        together.wait();
        let live = memory::resident() - base;
        together.wait();
        let left = || memory::resident().saturating_sub(base);
        let fell = memory::comes_true(Duration::from_secs(20), || left() < 6 * MIB);
        let left = left();
        // Before anything fails: they wait.
        together.wait();
        assert!(live >= THREADS * MIB, "{} live", memory::mib(live));
        assert!(fell, "{} of {} stays", memory::mib(left), memory::mib(live));
    });
}

#[test]
fn a_kept_block_serves_any_size_that_fits() {
    let _alone = alone();
    let mut last: *mut u8 = std::ptr::null_mut();
    for size in [MIB, 300_000, 900_000, MIB] {
        let block = Block::zeroed(size);
        assert!(block.is_zero() && PyMalloc.usable_size(block.start) >= Some(size));
        assert!(last.is_null() || last == block.start, "{size} elsewhere");
        last = block.start;
    }
    assert_eq!(PyMalloc.usable_size(last), None, "freed");
    let huge = PyMalloc.stats().huge_blocks;
    let block = Block::zeroed(MIB);
    assert_eq!(PyMalloc.stats().huge_blocks, huge + 1);
    drop(block);
    assert_eq!(PyMalloc.stats().huge_blocks, huge);
}
