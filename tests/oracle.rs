//! Random programs of allocations do what a naive oracle says: blocks are disjoint, aligned, large enough,
//! zero where promised, and keep their contents; statistics agree with what the program holds.
//!
//! Each program runs in a process of its own. One that fails is made smaller and printed as a line that
//! can be pasted into [`REPLAY`]. `PYMALLOC_SEED` repeats a run.

#[path = "oracle/bytes.rs"]
mod bytes;
#[path = "support/child.rs"]
mod child;
#[path = "oracle/program.rs"]
mod program;
#[path = "support/rng.rs"]
mod rng;
#[path = "oracle/run.rs"]
mod run;
#[path = "oracle/subjects.rs"]
mod subjects;

use program::{Op, THREADS, generate, parse, shrink, text};
use pymalloc::PyMalloc;
use run::{Held, Shared, Subject, run};
use std::alloc::{GlobalAlloc, Layout};
use std::io::Write;
use std::process::{Output, Stdio};
use subjects::{Global, KINDS, execute};

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

fn programs_pass(kind: &str, n: usize, length: usize) {
    let seed = rng::seed(kind);
    let threads = if kind.contains("threads") { THREADS } else { 1 };
    for index in 0..child::repetitions(n) as u64 {
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
    // Guarded blocks are copied and cleared, 12 MiB a round.
    let rounds = child::repetitions(if subjects::is_guarded() { 150 } else { 3000 });
    let grow_and_free = || {
        for round in 0..rounds {
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
    for kind in KINDS {
        let threads = if kind.contains("threads") { THREADS } else { 1 };
        let program = generate(2, 2000, threads, kind == "threads");
        let bytes = bytes::encode(kind, &program);
        assert_eq!(bytes::decode(&bytes), (kind, program.clone()));
        // Cut off anywhere, what is left of the bytes is a beginning of the program.
        let (_, part) = bytes::decode(&bytes[..bytes.len() / 2]);
        assert_eq!(part, program[..part.len()]);
    }
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
