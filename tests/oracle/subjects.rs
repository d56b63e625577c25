//! The allocators a program runs on, and whole programs on them: what the tests and the fuzz target share.

use crate::program::{Op, THREADS};
use crate::run::{Held, Shared, Subject, clear_mail, run};
use pymalloc::{Heap, PyMalloc};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::OnceLock;

/// The process's allocator.
pub struct Global;

impl Subject for Global {
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: programs ask for at least one byte.
        unsafe { PyMalloc.alloc(layout) }
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<*mut u8> {
        // SAFETY: programs ask for at least one byte.
        Some(unsafe { PyMalloc.alloc_zeroed(layout) })
    }

    unsafe fn free(&mut self, p: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { PyMalloc.dealloc(p, layout) }
    }

    unsafe fn realloc(&mut self, p: *mut u8, layout: Layout, size: usize) -> Option<*mut u8> {
        // SAFETY: passed on.
        Some(unsafe { PyMalloc.realloc(p, layout, size) })
    }

    fn usable(&self, p: *mut u8, layout: Layout) -> Result<usize, String> {
        let good = PyMalloc.good_size(layout);
        let usable = PyMalloc.usable_size(p).ok_or("not a block of ours")?;
        // A mapping that is reused or rounded may be longer.
        let longer = usable > good && good >= 4096;
        // A guarded block holds what was asked for, and a pad behind it.
        let exact = usable == layout.size() && is_guarded();
        match usable == good || longer || exact {
            true => Ok(usable),
            false => Err(format!("usable size {usable}, good size {good}")),
        }
    }

    const COLLECT_FREES: bool = false;

    fn collect(&mut self) {
        PyMalloc.collect();
    }

    fn check(&self, held: &Held) -> Result<(), String> {
        let stats = PyMalloc.stats();
        let sums = [
            ("block bytes", stats.block_bytes as usize, held.bytes),
            ("mapped bytes", stats.mapped_bytes as usize, held.bytes),
            (
                "most block bytes",
                stats.block_bytes_high as usize,
                stats.block_bytes as usize,
            ),
            (
                "most mapped bytes",
                stats.mapped_bytes_high as usize,
                stats.mapped_bytes as usize,
            ),
        ];
        for (what, found, least) in sums {
            // Other threads change the figures while they are summed.
            if found < least && held.alone {
                return Err(format!("{what}: {found}, at least {least}"));
            }
        }
        Ok(())
    }
}

/// Whether the options of this process have every block guarded.
pub fn is_guarded() -> bool {
    static GUARDED: OnceLock<bool> = OnceLock::new();
    *GUARDED.get_or_init(|| {
        let says = |name, what| std::env::var(name).is_ok_and(|value| value.contains(what));
        says("PYMALLOC_CONF", "checks:on") || says("PYMALLOC", "debug")
    })
}

/// A heap of its own.
pub struct Own(Heap);

impl Subject for Own {
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        self.0
            .alloc(layout)
            .map_or(std::ptr::null_mut(), NonNull::as_ptr)
    }

    fn alloc_zeroed(&mut self, _: Layout) -> Option<*mut u8> {
        None
    }

    unsafe fn free(&mut self, p: *mut u8, layout: Layout) {
        // SAFETY: passed on; a live block is not null.
        unsafe { self.0.dealloc(NonNull::new_unchecked(p), layout) }
    }

    unsafe fn realloc(&mut self, _: *mut u8, _: Layout, _: usize) -> Option<*mut u8> {
        None
    }

    fn usable(&self, _: *mut u8, layout: Layout) -> Result<usize, String> {
        Ok(layout.size())
    }

    const COLLECT_FREES: bool = true;

    fn collect(&mut self) {
        self.0 = Heap::new();
    }

    fn check(&self, held: &Held) -> Result<(), String> {
        let found = self.0.block_bytes() as usize;
        match found >= held.pooled_bytes {
            true => Ok(()),
            false => Err(format!(
                "block bytes: {found}, at least {}",
                held.pooled_bytes
            )),
        }
    }
}

/// The kinds of runs: what serves a program, and how many threads run it.
pub const KINDS: [&str; 4] = ["global", "heap", "threads", "heaps of threads"];

/// Runs a program on one thread or on all of its threads, and looks whether everything came back.
///
/// # Errors
/// What the oracle did not expect.
pub fn execute(kind: &str, program: &[Op]) -> Result<(), String> {
    let shared = Shared::default();
    PyMalloc.collect();
    let before = PyMalloc.stats();
    match kind {
        "global" => run(Global, &shared, 0, program)?,
        "heap" => run(Own(Heap::new()), &shared, 0, program)?,
        _ => {
            let threads = |thread| {
                let shared = &shared;
                move || match kind {
                    "threads" => run(Global, shared, thread, program),
                    _ => run(Own(Heap::new()), shared, thread, program),
                }
            };
            std::thread::scope(|scope| {
                let running: Vec<_> = (0..THREADS)
                    .map(|thread| scope.spawn(threads(thread)))
                    .collect();
                running
                    .into_iter()
                    .try_for_each(|thread| thread.join().unwrap())
            })?;
            clear_mail(&mut Global, &shared)?;
        }
    }
    drop(shared);
    PyMalloc.collect();
    let after = PyMalloc.stats();
    let grown = after.block_bytes.saturating_sub(before.block_bytes);
    // What the test's own bookkeeping may have left.
    if grown > 64 * 1024 || after.huge_blocks > before.huge_blocks {
        return Err(format!(
            "everything is freed, and {grown} bytes and {} huge blocks more are out",
            after.huge_blocks - before.huge_blocks
        ));
    }
    Ok(())
}
