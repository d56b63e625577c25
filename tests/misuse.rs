//! Misuse of the Rust API ends in one line that names the kind and the address, and an abort.
//!
//! The fast path of `dealloc` trusts the layout, so misuse of a block that goes into a thread's list is
//! found when the list goes home: in a flush, at the end of its thread, at the end of the process. What
//! has no list is found at once. Each case runs in a process of its own.
//!
//! Not found at once: a second free after the first went home. It is, when it comes home itself.

#[path = "support/child.rs"]
mod child;

use pymalloc::{Heap, PyMalloc};
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::ptr::NonNull;

/// A small class, a medium one, a mapping that is kept for reuse when freed, and one that is not.
const SMALL: usize = 64;
const MEDIUM: usize = 4096;
const HUGE: usize = 1 << 20;
const GIANT: usize = 40 << 20;

static IN_THE_PROGRAM: [u128; 64] = [0; 64];

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

fn get(size: usize) -> *mut u8 {
    // SAFETY: the size is not 0.
    let p = unsafe { PyMalloc.alloc(layout(size)) };
    assert!(!p.is_null());
    p
}

/// Frees what may not be freed: the callers' point.
fn put(p: *mut u8, size: usize) {
    // SAFETY: violated on purpose; the process ends by it.
    unsafe { PyMalloc.dealloc(p, layout(size)) }
}

fn put_in(heap: &Heap, p: NonNull<u8>, size: usize) {
    // SAFETY: violated on purpose; the process ends by it.
    unsafe { heap.dealloc(p, layout(size)) }
}

/// Sends the lists home, where they are looked at.
fn flush() {
    PyMalloc.collect();
}

/// Blocks of a class that stay live, so that no pool of it comes empty.
fn company(size: usize) {
    for _ in 0..8 {
        get(size);
    }
}

struct Case {
    name: &'static str,
    run: fn(),
    /// What the line says after the address, or before it.
    says: &'static str,
}

const fn case(name: &'static str, says: &'static str, run: fn()) -> Case {
    Case { name, run, says }
}

const NOT_A_BLOCK: &str = "which is not a block of this heap";
const INSIDE: &str = "which points inside a block";
const FOREIGN: &str = "free of foreign pointer 0x";
const TWICE: &str = "double free of 0x";
const OF_A_HEAP: &str = "which belongs to a heap of its own";

const FOREIGN_POINTERS: &[Case] = &[
    case("stack, small, found by a flush", NOT_A_BLOCK, || {
        let mut here = [0u128; 64];
        put(here.as_mut_ptr().cast(), SMALL);
        flush();
    }),
    case(
        "stack, small, found at the end of the process",
        NOT_A_BLOCK,
        || {
            let mut here = [0u128; 64];
            put(here.as_mut_ptr().cast(), SMALL);
            std::process::exit(0);
        },
    ),
    case(
        "stack, small, found at the end of the thread",
        NOT_A_BLOCK,
        || {
            let thread = std::thread::spawn(|| {
                let mine = get(SMALL);
                let here = Box::leak(Box::new([0u128; 64]));
                put(here.as_mut_ptr().cast(), SMALL);
                mine.addr()
            });
            thread.join().unwrap();
        },
    ),
    case("the books of an arena, small", NOT_A_BLOCK, || {
        let arena = get(SMALL).map_addr(|addr| addr & !((1 << 20) - 1));
        put(arena.wrapping_add(8192), SMALL);
        flush();
    }),
    case("an alignment for an address, small", NOT_A_BLOCK, || {
        // What an empty collection points to.
        put(NonNull::<u128>::dangling().as_ptr().cast(), SMALL);
        flush();
    }),
    case("stack, medium", NOT_A_BLOCK, || {
        let mut here = [0u128; 64];
        put(here.as_mut_ptr().cast(), MEDIUM);
        flush();
    }),
    case("stack, huge", FOREIGN, || {
        let mut here = [0u128; 64];
        put(here.as_mut_ptr().cast(), HUGE);
    }),
    case("static data, huge", FOREIGN, || {
        put(IN_THE_PROGRAM.as_ptr().cast_mut().cast(), HUGE);
    }),
    case("another allocator's block, small", NOT_A_BLOCK, || {
        get(SMALL);
        // SAFETY: the size is not 0.
        put(unsafe { std::alloc::System.alloc(layout(SMALL)) }, SMALL);
        flush();
    }),
    case("no address of user space", FOREIGN, || {
        put(std::ptr::without_provenance_mut(usize::MAX << 20), HUGE);
    }),
];

const TWICE_FREED: &[Case] = &[
    case("twice at once, found by a flush", TWICE, || {
        company(SMALL);
        let p = get(SMALL);
        put(p, SMALL);
        put(p, SMALL);
        flush();
    }),
    case(
        "twice at once, found at the end of the process",
        TWICE,
        || {
            company(SMALL);
            let p = get(SMALL);
            put(p, SMALL);
            put(p, SMALL);
            std::process::exit(0);
        },
    ),
    case(
        "twice at once, found at the end of the thread",
        TWICE,
        || {
            let thread = std::thread::spawn(|| {
                company(SMALL);
                let p = get(SMALL);
                put(p, SMALL);
                put(p, SMALL);
            });
            thread.join().unwrap();
        },
    ),
    case("twice with others between", TWICE, || {
        company(SMALL);
        let (p, q, r) = (get(SMALL), get(SMALL), get(SMALL));
        for block in [p, q, r, p] {
            put(block, SMALL);
        }
        flush();
    }),
    case(
        "twice among many, found when the list overflows",
        "double free",
        || {
            let blocks: Vec<*mut u8> = (0..5000).map(|_| get(SMALL)).collect();
            for &block in &blocks[..1000] {
                put(block, SMALL);
            }
            put(blocks[990], SMALL);
            for &block in &blocks[1000..] {
                put(block, SMALL);
            }
        },
    ),
    case("again after its pool emptied", NOT_A_BLOCK, || {
        let p = get(SMALL);
        put(p, SMALL);
        flush();
        put(p, SMALL);
        flush();
    }),
    case("by two threads", TWICE, || {
        company(SMALL);
        let p = get(SMALL);
        let addr = p.expose_provenance();
        let other = std::thread::spawn(move || {
            get(SMALL);
            put(std::ptr::with_exposed_provenance_mut(addr), SMALL);
        });
        other.join().unwrap();
        put(p, SMALL);
        flush();
    }),
    case("a medium block", TWICE, || {
        company(MEDIUM);
        let p = get(MEDIUM);
        put(p, MEDIUM);
        put(p, MEDIUM);
        flush();
    }),
    case("a huge block whose mapping is kept", TWICE, || {
        let p = get(HUGE);
        put(p, HUGE);
        put(p, HUGE);
    }),
    case("a huge block whose mapping is gone", TWICE, || {
        let p = get(GIANT);
        put(p, GIANT);
        put(p, GIANT);
    }),
    case("a huge block resized after it was freed", TWICE, || {
        let p = get(HUGE);
        put(p, HUGE);
        // SAFETY: violated on purpose; the process ends by it.
        unsafe { PyMalloc.realloc(p, layout(HUGE), 2 * HUGE) };
    }),
];

const WITHIN: &[Case] = &[
    case("inside a small block", INSIDE, || {
        put(get(SMALL).wrapping_add(16), SMALL);
        flush();
    }),
    case("unaligned in a small block", INSIDE, || {
        put(get(SMALL).wrapping_add(8), SMALL);
        flush();
    }),
    case("unaligned, behind a good block of its pool", INSIDE, || {
        let (good, p) = (get(SMALL), get(SMALL));
        put(good, SMALL);
        put(p.wrapping_add(8), SMALL);
        flush();
    }),
    case("inside a medium block", INSIDE, || {
        put(get(MEDIUM).wrapping_add(1024), MEDIUM);
        flush();
    }),
    case("inside a medium block that spans pools", INSIDE, || {
        put(get(200_000).wrapping_add(100_000 / 16 * 16), 200_000);
        flush();
    }),
    case("inside a huge block", INSIDE, || {
        put(get(HUGE).wrapping_add(4096), HUGE)
    }),
    case("far inside a huge block", INSIDE, || {
        put(get(GIANT).wrapping_add(GIANT - 4096), GIANT);
    }),
    case(
        "unaligned in a huge block",
        "which is not aligned to 16 bytes",
        || {
            put(get(HUGE).wrapping_add(1), HUGE);
        },
    ),
    case("a block that was never handed out", NOT_A_BLOCK, || {
        // The last block of the first one's pool: blocks are carved upwards.
        let p = get(512);
        put(p.map_addr(|addr| (addr | 0x3fff) + 1 - 512), 512);
        flush();
    }),
    case("behind the last block of a pool", NOT_A_BLOCK, || {
        // 341 blocks of 48 bytes leave 16 bytes of a pool.
        let p = get(48);
        put(p.map_addr(|addr| (addr & !0x3fff) + 341 * 48), 48);
        flush();
    }),
];

const WRONG_LAYOUT: &[Case] = &[
    case("a small block as a larger small one", NOT_A_BLOCK, || {
        put(get(SMALL), 2 * SMALL);
        flush();
    }),
    case("a small block as a smaller one", NOT_A_BLOCK, || {
        put(get(SMALL), 16);
        flush();
    }),
    case("a small block as a medium one", NOT_A_BLOCK, || {
        put(get(SMALL), MEDIUM);
        flush();
    }),
    case("a small block as a huge one", NOT_A_BLOCK, || {
        put(get(SMALL), HUGE)
    }),
    case("a medium block as a small one", NOT_A_BLOCK, || {
        put(get(MEDIUM), SMALL);
        flush();
    }),
    case("a medium block as a huge one", NOT_A_BLOCK, || {
        put(get(MEDIUM), HUGE)
    }),
    case("a huge block as a small one", NOT_A_BLOCK, || {
        put(get(HUGE), SMALL);
        flush();
    }),
    case("a huge block as a medium one", NOT_A_BLOCK, || {
        put(get(HUGE), MEDIUM);
        flush();
    }),
];

const HEAPS: &[Case] = &[
    case(
        "a heap's small block to the global allocator",
        NOT_A_BLOCK,
        || {
            let heap = Heap::new();
            put(heap.alloc(layout(SMALL)).unwrap().as_ptr(), SMALL);
            flush();
        },
    ),
    case(
        "a heap's medium block to the global allocator",
        NOT_A_BLOCK,
        || {
            let heap = Heap::new();
            put(heap.alloc(layout(MEDIUM)).unwrap().as_ptr(), MEDIUM);
            flush();
        },
    ),
    case("a heap's small block as a huge one", OF_A_HEAP, || {
        let heap = Heap::new();
        put(heap.alloc(layout(SMALL)).unwrap().as_ptr(), HUGE);
    }),
    case(
        "a heap's huge block to the global allocator",
        INSIDE,
        || {
            let heap = Heap::new();
            put(heap.alloc(layout(HUGE)).unwrap().as_ptr(), HUGE);
        },
    ),
    case(
        "the global allocator's block to a heap",
        NOT_A_BLOCK,
        || {
            let heap = Heap::new();
            let _ = heap.alloc(layout(SMALL));
            put_in(&heap, NonNull::new(get(SMALL)).unwrap(), SMALL);
        },
    ),
    case(
        "the global allocator's huge block to a heap",
        NOT_A_BLOCK,
        || {
            let heap = Heap::new();
            put_in(&heap, NonNull::new(get(HUGE)).unwrap(), HUGE);
        },
    ),
    case("a stack pointer to a heap", NOT_A_BLOCK, || {
        let mut here = [0u128; 64];
        put_in(&Heap::new(), NonNull::from(&mut here).cast(), SMALL);
    }),
    case(
        "a stack pointer to a heap as a huge block",
        NOT_A_BLOCK,
        || {
            let mut here = [0u128; 64];
            put_in(&Heap::new(), NonNull::from(&mut here).cast(), HUGE);
        },
    ),
    case("another heap's block", NOT_A_BLOCK, || {
        let (one, other) = (Heap::new(), Heap::new());
        let p = one.alloc(layout(SMALL)).unwrap();
        let _ = other.alloc(layout(SMALL));
        put_in(&other, p, SMALL);
    }),
    case("another heap's huge block", NOT_A_BLOCK, || {
        let (one, other) = (Heap::new(), Heap::new());
        let p = one.alloc(layout(HUGE)).unwrap();
        put_in(&other, p, HUGE);
    }),
    case("inside a heap's block", INSIDE, || {
        let heap = Heap::new();
        let p = heap.alloc(layout(SMALL)).unwrap();
        // SAFETY: inside the block.
        put_in(&heap, unsafe { p.add(16) }, SMALL);
    }),
    case("a heap's block of another class", NOT_A_BLOCK, || {
        let heap = Heap::new();
        put_in(&heap, heap.alloc(layout(SMALL)).unwrap(), 2 * SMALL);
    }),
    case("a heap's block twice", TWICE, || {
        let heap = Heap::new();
        let (_company, p) = (
            heap.alloc(layout(SMALL)),
            heap.alloc(layout(SMALL)).unwrap(),
        );
        put_in(&heap, p, SMALL);
        put_in(&heap, p, SMALL);
    }),
    case("a heap's only block twice", TWICE, || {
        let heap = Heap::new();
        let p = heap.alloc(layout(SMALL)).unwrap();
        put_in(&heap, p, SMALL);
        put_in(&heap, p, SMALL);
    }),
    case("a heap's huge block twice", NOT_A_BLOCK, || {
        let heap = Heap::new();
        let p = heap.alloc(layout(HUGE)).unwrap();
        put_in(&heap, p, HUGE);
        put_in(&heap, p, HUGE);
    }),
    case(
        "a heap's huge block twice, its mapping gone",
        NOT_A_BLOCK,
        || {
            let heap = Heap::new();
            let p = heap.alloc(layout(GIANT)).unwrap();
            put_in(&heap, p, GIANT);
            put_in(&heap, p, GIANT);
        },
    ),
];

/// Runs every case in a child, or, in such a child, the one it was started for.
fn each_ends_in_one_line(test: &str, cases: &[Case]) {
    if let Some(part) = child::part() {
        child::no_core();
        child::watchdog(20);
        let case = cases.iter().find(|case| case.name == part).unwrap();
        (case.run)();
        std::process::exit(0);
    }
    let mut failures = Vec::new();
    for case in cases {
        let output = child::command(test, case.name).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let aborted =
            std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(libc::SIGABRT);
        let one_line = said.starts_with("pymalloc: ") && said.lines().count() == 1;
        if !aborted || !one_line || !said.contains(case.says) {
            let (name, says) = (case.name, case.says);
            let status = output.status;
            failures.push(format!(
                "{name}: {status}, said {said:?}, expected {says:?}"
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn a_foreign_pointer_is_reported() {
    each_ends_in_one_line("a_foreign_pointer_is_reported", FOREIGN_POINTERS);
}

#[test]
fn a_second_free_is_reported() {
    each_ends_in_one_line("a_second_free_is_reported", TWICE_FREED);
}

#[test]
fn a_pointer_into_a_block_or_between_blocks_is_reported() {
    each_ends_in_one_line(
        "a_pointer_into_a_block_or_between_blocks_is_reported",
        WITHIN,
    );
}

#[test]
fn a_layout_of_another_class_is_reported() {
    each_ends_in_one_line("a_layout_of_another_class_is_reported", WRONG_LAYOUT);
}

#[test]
fn a_block_given_to_the_wrong_heap_is_reported() {
    each_ends_in_one_line("a_block_given_to_the_wrong_heap_is_reported", HEAPS);
}

/// What a program may run for SIGABRT: it allocates, and says by its status that it came to its end.
extern "C" fn report(_: i32) {
    for size in (1..600).chain([4096, 100_000, HUGE]) {
        put(get(size), size);
    }
    PyMalloc.collect();
    // SAFETY: ends the process.
    unsafe { libc::_exit(7) }
}

#[test]
fn a_handler_of_the_abort_may_allocate() {
    const TEST: &str = "a_handler_of_the_abort_may_allocate";
    if child::part().is_none() {
        let output = child::command(TEST, "flush").output().expect("runs");
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        return;
    }
    child::watchdog(20);
    let handler: extern "C" fn(i32) = report;
    // SAFETY: the handler makes system calls and allocates.
    unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
    company(SMALL);
    // Noticed when the list goes home, under the heap's lock.
    put(get(SMALL).wrapping_add(16), SMALL);
    flush();
}

/// The allocator keeps nothing of its own in a free block of a pool.
#[test]
fn what_is_written_to_a_freed_block_harms_no_other() {
    for size in [16, SMALL, 4096] {
        let blocks: Vec<*mut u8> = (0..2000).map(|_| get(size)).collect();
        // SAFETY: blocks of `size` bytes.
        let fill = |p: *mut u8, byte| unsafe { p.write_bytes(byte, size) };
        for (k, p) in blocks.iter().enumerate() {
            fill(*p, k as u8);
        }
        for p in blocks.iter().step_by(2) {
            put(*p, size);
            // The misuse: the pool has blocks out, so its memory is there.
            fill(*p, 0xff);
        }
        let kept = || blocks.iter().enumerate().skip(1).step_by(2);
        let mut seen: HashSet<_> = kept().map(|(_, p)| *p).collect();
        for _ in 0..4000 {
            let p = get(size);
            assert!(seen.insert(p), "two owners of {p:p}");
            fill(p, 0xaa);
        }
        for (k, p) in kept() {
            // SAFETY: a block of `size` bytes that was never freed.
            let bytes = unsafe { std::slice::from_raw_parts(*p, size) };
            assert!(bytes.iter().all(|byte| *byte == k as u8), "{p:p} changed");
        }
    }
}

/// The allocator writes into blocks on their way between threads. What is left of that, and of a program's
/// own bytes over part of it, must not look as if the block were on its way.
#[test]
fn a_block_of_which_a_program_writes_one_byte_is_not_taken_for_freed() {
    if child::part().is_none() {
        return child::succeeds(
            "a_block_of_which_a_program_writes_one_byte_is_not_taken_for_freed",
            "child",
        );
    }
    for value in 0..=u8::MAX {
        let blocks: Vec<usize> = (0..1000)
            .map(|_| {
                let p = get(16);
                // SAFETY: a block of 16 bytes.
                unsafe { p.add(8).write(value) };
                p.expose_provenance()
            })
            .collect();
        let free = move || {
            for addr in blocks {
                // SAFETY: a live block of that layout.
                unsafe {
                    PyMalloc.dealloc(std::ptr::with_exposed_provenance_mut(addr), layout(16))
                };
            }
        };
        std::thread::spawn(free).join().unwrap();
    }
}
