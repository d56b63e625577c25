//! Random programs of allocations do what a naive oracle says: blocks are disjoint, aligned, large enough,
//! zero where promised, and keep their contents; statistics agree with what the program holds.
//!
//! Each program runs in a process of its own. One that fails is made smaller and printed as a line that
//! can be pasted into [`REPLAY`]. `PYMALLOC_SEED` repeats a run.

#[path = "support/child.rs"]
mod child;
#[path = "oracle/program.rs"]
mod program;
#[path = "support/rng.rs"]
mod rng;
#[path = "oracle/run.rs"]
mod run;

use program::{Op, THREADS, generate, parse, shrink, text};
use pymalloc::{Heap, PyMalloc};
use run::{Held, Shared, Subject, clear_mail, run};
use std::alloc::{GlobalAlloc, Layout};
use std::io::Write;
use std::process::{Output, Stdio};
use std::ptr::NonNull;

#[global_allocator]
static GLOBAL: PyMalloc = PyMalloc;

/// Programs that failed once, with the kind they failed for; [`kept_programs_pass`] runs them.
const REPLAY: &[(&str, &str)] = &[
    (
        "global",
        "a 1 1; z 4097 1; r 0 8388608; r 1 1; c; z 262145 4096; f 0; f 0; f 0; s",
    ),
    ("heap", "a 1 1; a 262145 2097152; f 1; c; a 512 16; s"),
    (
        "threads",
        "a 3000000 1; p 0 1; 1 r 0 6000000; 1 p 0 2; 2 f 0; 3 z 3000000 1; c",
    ),
];

/// The process's allocator.
struct Global;

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
        match usable == good || (usable > good && good >= 4096) {
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

/// A heap of its own.
struct Own(Heap);

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

/// Runs a program on one thread or on all of its threads, and looks whether everything came back.
fn execute(kind: &str, program: &[Op]) -> Result<(), String> {
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

const CHILD: &str = "child_runs_the_program_it_is_given";

/// Runs a program in a process of its own.
fn in_child(kind: &str, program: &str) -> Output {
    let mut child = child::command(CHILD, kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A child that died early leaves a broken pipe.
    let _ = input.write_all(program.as_bytes());
    drop(input);
    child.wait_with_output().unwrap()
}

#[test]
fn child_runs_the_program_it_is_given() {
    let Some(kind) = child::part() else { return };
    child::no_core();
    child::watchdog(60);
    let program = std::io::read_to_string(std::io::stdin()).unwrap();
    if let Err(problem) = execute(&kind, &parse(&program)) {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

fn failure(kind: &str, program: &str) -> Option<String> {
    let output = in_child(kind, program);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then(|| format!("{}: {said}", output.status))
}

fn programs_pass(kind: &str, n: u64, length: usize) {
    let seed = rng::seed(kind);
    let threads = if kind.contains("threads") { THREADS } else { 1 };
    for index in 0..n {
        let program = generate(
            seed.wrapping_add(index << 32),
            length,
            threads,
            kind == "threads",
        );
        let Some(problem) = failure(kind, &text(&program)) else {
            continue;
        };
        // With threads the same program fails now and then only.
        let tries = if threads > 1 { 8 } else { 1 };
        let least = shrink(&program, 300, |smaller| {
            (0..tries).any(|_| failure(kind, &text(smaller)).is_some())
        });
        let again = failure(kind, &text(&least)).unwrap_or_default();
        panic!(
            "PYMALLOC_SEED={seed}, program {index}: {problem}\n\
             shrunk to {} calls ({again}); paste into REPLAY:\n    (\"{kind}\", \"{}\"),",
            least.len(),
            text(&least)
        );
    }
}

#[test]
fn the_global_allocator_does_what_the_oracle_says() {
    programs_pass("global", 10, 4000);
}

#[test]
fn a_heap_does_what_the_oracle_says() {
    programs_pass("heap", 6, 4000);
}

#[test]
fn blocks_passed_between_threads_do_what_the_oracle_says() {
    programs_pass("threads", 8, 8000);
}

#[test]
fn heaps_of_several_threads_do_what_the_oracle_says() {
    programs_pass("heaps of threads", 3, 8000);
}

/// Resizing moves a huge block's pages away, and another thread may get the addresses at once.
#[test]
fn huge_blocks_that_move_leave_nothing_of_theirs_behind() {
    const PART: &str = "race";
    if child::part().is_none() {
        return child::succeeds("huge_blocks_that_move_leave_nothing_of_theirs_behind", PART);
    }
    child::no_core();
    child::watchdog(60);
    let layout = |size| Layout::from_size_align(size, 1).unwrap();
    let grow_and_free = || {
        for round in 0..3000 {
            // SAFETY: each block is used as it was allocated.
            unsafe {
                let p = PyMalloc.alloc(layout(1 << 20));
                let q = PyMalloc.alloc(layout(1 << 20));
                p.write(round as u8);
                let p = PyMalloc.realloc(p, layout(1 << 20), 5 << 20);
                assert!(!p.is_null() && p.read() == round as u8);
                assert!(PyMalloc.usable_size(p) >= Some(5 << 20));
                assert!(PyMalloc.usable_size(q) >= Some(1 << 20));
                PyMalloc.dealloc(q, layout(1 << 20));
                PyMalloc.dealloc(p, layout(5 << 20));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(grow_and_free);
        }
    });
}

#[test]
fn kept_programs_pass() {
    for (kind, program) in REPLAY {
        assert_eq!(failure(kind, program), None, "{kind}: {program}");
    }
}

#[test]
fn a_program_survives_being_written_and_read() {
    let program = generate(1, 2000, THREADS, true);
    assert_eq!(parse(&text(&program)), program);
}

/// An allocator with one fault.
struct Faulty {
    fault: &'static str,
    last: Option<(usize, Layout)>,
}

impl Subject for Faulty {
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        let p = Global.alloc(layout);
        let last = self.last.replace((p.expose_provenance(), layout));
        let give = |addr| std::ptr::with_exposed_provenance_mut(addr);
        match (self.fault, last) {
            // Hands the block it handed out before once more.
            ("overlap", Some((addr, last))) if layout.size() < 16 && last.size() >= 16 => {
                give(addr)
            }
            ("misaligned", _) if layout.align() == 32 => p.wrapping_add(16),
            ("null", _) if layout.size() == 3000 => std::ptr::null_mut(),
            _ => p,
        }
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<*mut u8> {
        match self.fault {
            "not zero" => {
                let p = Global.alloc(layout);
                // SAFETY: the last byte of a live block.
                unsafe { p.add(layout.size() - 1).write(1) };
                Some(p)
            }
            _ => Global.alloc_zeroed(layout),
        }
    }

    unsafe fn free(&mut self, p: *mut u8, layout: Layout) {
        if self.fault == "none" {
            // SAFETY: passed on.
            unsafe { Global.free(p, layout) }
        }
    }

    unsafe fn realloc(&mut self, p: *mut u8, layout: Layout, size: usize) -> Option<*mut u8> {
        // The block may be a faulty one, so it is copied and never freed.
        // SAFETY: both hold the bytes that are copied; then a byte both layouts hold.
        unsafe {
            let old = p;
            let p = Global.alloc(Layout::from_size_align(size, layout.align()).ok()?);
            p.copy_from(old, size.min(layout.size()));
            if self.fault == "not copied" && size > 40 && layout.size() > 40 {
                p.add(40).write(0);
            }
            Some(p)
        }
    }

    fn usable(&self, _: *mut u8, layout: Layout) -> Result<usize, String> {
        Ok(layout.size() - usize::from(self.fault == "small" && layout.size() == 5))
    }

    const COLLECT_FREES: bool = false;

    fn collect(&mut self) {}

    fn check(&self, held: &Held) -> Result<(), String> {
        match self.fault == "statistics" && held.bytes > 1000 {
            true => Err("too little".to_owned()),
            false => Ok(()),
        }
    }
}

#[test]
fn every_fault_is_found_and_shrinks_to_a_few_calls() {
    let faults = [
        ("overlap", "overlaps", 2),
        ("misaligned", "not aligned", 1),
        ("null", "null", 1),
        ("not zero", "not zero", 1),
        ("not copied", "changed", 2),
        ("small", "usable", 1),
        ("statistics", "too little", 2),
    ];
    let attempt = |fault, program: &[Op]| {
        let subject = Faulty { fault, last: None };
        run(subject, &Shared::default(), 0, program).err()
    };
    // Some faults need a size or an alignment that random programs meet rarely.
    let mut program = generate(7, 1500, 1, false);
    program.extend(parse(
        "a 5 1; a 7 32; a 3000 1; z 100 1; s; r 0 100; r 0 50",
    ));
    assert_eq!(attempt("none", &program), None);
    for (fault, says, most) in faults {
        let least = shrink(&program, 2000, |smaller| attempt(fault, smaller).is_some());
        let problem = attempt(fault, &least).unwrap();
        assert!(problem.contains(says), "{fault}: {problem}");
        assert!(least.len() <= most, "{fault}: {}", text(&least));
    }
}
