//! `PYMALLOC=debug`: CPython's debug hooks, by preload and for the global allocator. Each kind of misuse is
//! named, with where the block was made and freed, and the process aborts.

#[path = "support/child.rs"]
mod child;
#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, Run, build, command, run};
use pymalloc::PyMalloc;
use std::alloc::{GlobalAlloc, Layout};

fn program() -> std::path::PathBuf {
    let sources = ["cases.c", "debug_mode.cpp"];
    build("debug_mode", &sources, &["-Wno-mismatched-new-delete"])
}

fn under(variable: &str, value: &str, case: &str) -> Run {
    let mut command = command(Arm::Preload, &program());
    command.env_remove("PYMALLOC").env_remove("PYMALLOC_CONF");
    command.arg(case).env(variable, value);
    run(command, LIMIT)
}

fn in_debug(case: &str) -> Run {
    under("PYMALLOC", "debug", case)
}

/// The report with every address as `PTR`: what has more digits than a byte or an offset.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        if part.len() - rest.len() > 9 {
            plain += "PTR";
            plain += rest;
        } else {
            plain += "0x";
            plain += part;
        }
    }
    plain
}

#[test]
fn programs_without_errors_run_to_their_end() {
    in_debug("nothing_is_wrong").succeeded("debug");
    let run = under("PYMALLOC_CONF", "checks:on", "twice");
    assert!(run.aborted() && run.stderr.starts_with("pymalloc: double free of 0x"));
}

#[test]
fn an_overflow_is_reported_in_cpythons_words() {
    let run = in_debug("overflow_by_one");
    assert!(run.aborted(), "{run:?}");
    let text = without_addresses(&run.stderr);
    let (report, rest) = text.split_once("\n\n").expect("an empty line");
    let (_, serial) = report
        .split_once("made by call #")
        .expect("a serial number");
    let serial = serial.split(' ').next().expect("a number");
    let expected = format!(
        "Debug memory block at address p=PTR: API 'r'
    10 bytes originally requested
    The 7 pad bytes at p-7 are FORBIDDENBYTE, as expected.
    The 8 pad bytes at tail=PTR are not all FORBIDDENBYTE (0xfd):
        at tail+0: 0x78 *** OUCH
        at tail+1: 0xfd
        at tail+2: 0xfd
        at tail+3: 0xfd
        at tail+4: 0xfd
        at tail+5: 0xfd
        at tail+6: 0xfd
        at tail+7: 0xfd
    The block was made by call #{serial} to debug malloc/realloc.
    Data at p: 61 62 63 64 65 66 67 68 69 00"
    );
    assert_eq!(report, expected);
    let end = "Fatal Python error: _PyMem_DebugRawFree: bad trailing pad byte\n";
    assert!(rest.ends_with(end), "{rest}");
}

#[test]
fn an_underflow_is_reported_in_cpythons_words() {
    let text = without_addresses(&in_debug("underflow_by_one").stderr);
    let expected = "    The 7 pad bytes at p-7 are not all FORBIDDENBYTE (0xfd):
        at p-7: 0xfd
        at p-6: 0xfd
        at p-5: 0xfd
        at p-4: 0xfd
        at p-3: 0xfd
        at p-2: 0xfd
        at p-1: 0x41 *** OUCH
    Because memory is corrupted at the start, the count of bytes requested
       may be bogus, and checking the trailing pad bytes may segfault.
    The 8 pad bytes at tail=PTR are FORBIDDENBYTE, as expected.
";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("Data at p: cd cd cd cd cd cd cd cd ... cd cd cd cd cd cd cd cd\n"));
    assert!(text.ends_with("_PyMem_DebugRawFree: bad leading pad byte\n"));
}

#[test]
fn every_kind_of_misuse_is_named() {
    let kinds = [
        (
            "new_freed_by_free",
            "bad ID: Allocated using API 'm', verified using API 'r'",
        ),
        (
            "array_deleted_as_one",
            "bad ID: Allocated using API 'o', verified using API 'm'",
        ),
        (
            "malloc_deleted",
            "bad ID: Allocated using API 'r', verified using API 'm'",
        ),
        (
            "sized_wrongly",
            "bad size: PTR was allocated for 100 bytes, freed as 200",
        ),
        (
            "aligned_wrongly",
            "bad alignment: PTR was allocated at a multiple of 64, freed at 16",
        ),
        (
            "twice",
            "_PyMem_DebugRawFree: double free of PTR (10 bytes)",
        ),
        (
            "twice_by_realloc",
            "_PyMem_DebugRawRealloc: double free of PTR (10 bytes)",
        ),
        ("twice_huge", "double free of PTR (400000 bytes)"),
        ("twice_after_many", "double free of PTR (10 bytes)"),
        (
            "written_after_free_noticed_at_exit",
            "write to PTR (100 bytes) after free, at byte 99",
        ),
        (
            "written_after_free_noticed_on_reuse",
            "write to PTR (100 bytes) after free, at byte 0",
        ),
        (
            "interior",
            "free of PTR, which is 16 bytes into a block (5000 bytes)",
        ),
        (
            "between_blocks",
            "free of PTR, which is -32 bytes into a block (5000 bytes)",
        ),
        ("overflow_huge", "bad trailing pad byte"),
    ];
    for (case, says) in kinds {
        let run = in_debug(case);
        let text = without_addresses(&run.stderr);
        assert!(
            run.aborted() && text.contains(says),
            "{case}: {}\n{text}",
            run.status
        );
    }
    let faults = [
        (
            "far_overflow_huge_faults",
            "byte 404096 of a live block of 400000 bytes",
        ),
        (
            "use_after_free_huge_faults",
            "byte 3000000 of a freed block of 5000000 bytes",
        ),
    ];
    for (case, says) in faults {
        let text = in_debug(case).stderr;
        assert!(
            text.contains(says) && text.contains("Memory block allocated at"),
            "{case}: {text}"
        );
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(
            in_debug(case).status.signal(),
            Some(libc::SIGSEGV),
            "{case}"
        );
    }
}

#[test]
fn where_a_block_was_made_and_freed_is_said_to_the_line() {
    let text = in_debug("twice").stderr;
    let place = |title: &str| {
        let (_, after) = text
            .split_once(title)
            .unwrap_or_else(|| panic!("no {title}: {text}"));
        let mut lines = after.lines().skip(1).map(str::to_owned);
        (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        )
    };
    let source = include_str!("c/debug_mode.cpp");
    let line_of = |part: &str| {
        source
            .lines()
            .position(|line| line.contains(part))
            .expect("there")
            + 1
    };
    let expected = |name: &str, line: usize| format!("debug_mode.cpp\", line {line}, in {name}");
    let (first, second) = place("Memory block allocated at (most recent call first):");
    assert!(
        first.contains(&expected(
            "made(unsigned long)",
            line_of("return (char *)malloc(n)")
        )),
        "{text}"
    );
    assert!(
        second.contains(&expected("twice()", line_of("CASE(twice) "))),
        "{text}"
    );
    let (first, _) = place("Memory block freed at (most recent call first):");
    assert!(
        first.contains(&expected("unmade(void*)", line_of("free(p); }"))),
        "{text}"
    );
}

#[test]
fn without_frames_the_report_says_how_to_get_them() {
    let mut command = command(Arm::Preload, &program());
    command
        .arg("twice")
        .env("PYMALLOC", "debug")
        .env("PYMALLOC_CONF", "frames:0");
    let text = run(command, LIMIT).stderr;
    let hint = "\n\nEnable tracemalloc to get the memory block allocation traceback\n\nFatal Python error: ";
    assert!(text.contains(hint) && !text.contains("File"), "{text}");
}

fn of(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

/// What a part does, and the end of what is said of it.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the rules are broken on purpose; the process ends by it"
)]
const RUST: [(&str, fn(), &str); 7] = [
    (
        "overflow",
        || unsafe_part(|p| unsafe { p.add(40).write(1) }, 40),
        "bad trailing pad byte",
    ),
    (
        "underflow",
        || unsafe_part(|p| unsafe { p.sub(3).write(1) }, 40),
        "bad leading pad byte",
    ),
    (
        "size",
        || unsafe_part(|_| (), 41),
        "was allocated for 40 bytes, freed as 41",
    ),
    (
        "alignment",
        || unsafe { PyMalloc.dealloc(PyMalloc.alloc(of(100, 64)), of(100, 128)) },
        "was allocated at a multiple of 64, freed at 128",
    ),
    (
        "twice",
        || unsafe {
            let p = PyMalloc.alloc(of(4000, 8));
            PyMalloc.dealloc(p, of(4000, 8));
            PyMalloc.dealloc(p, of(4000, 8));
        },
        "(4000 bytes)",
    ),
    (
        "resized when gone",
        || unsafe {
            let p = PyMalloc.alloc(of(1 << 20, 8));
            PyMalloc.dealloc(p, of(1 << 20, 8));
            PyMalloc.realloc(p, of(1 << 20, 8), 64);
        },
        "(1048576 bytes)",
    ),
    (
        "written after free",
        || unsafe {
            let p = PyMalloc.alloc(of(40, 8));
            PyMalloc.dealloc(p, of(40, 8));
            p.add(7).write(1);
            PyMalloc.collect();
        },
        "after free, at byte 7",
    ),
];

fn unsafe_part(damage: fn(*mut u8), freed_as: usize) {
    // SAFETY: violated on purpose; the process ends by it.
    unsafe {
        let p = PyMalloc.alloc(of(40, 8));
        damage(p);
        PyMalloc.dealloc(p, of(freed_as, 8));
    }
}

#[test]
fn the_global_allocator_has_the_same_hooks() {
    if let Some(part) = child::part() {
        child::no_core();
        child::watchdog(60);
        let (_, run, _) = RUST
            .iter()
            .find(|(name, ..)| *name == part)
            .expect("a part");
        return run();
    }
    for (part, _, says) in RUST {
        let mut command = child::command("the_global_allocator_has_the_same_hooks", part);
        let said = child::last_words(
            part,
            &command.env("PYMALLOC", "debug").output().expect("runs"),
        );
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("Fatal Python error: _PyMem_DebugRaw"),
            "{part}: {said}"
        );
        assert!(last.ends_with(says), "{part}: {said}");
        assert!(
            said.contains("Memory block allocated at (most recent call first):"),
            "{said}"
        );
    }
}

/// `delete` is the library's, and what it gets was made by `malloc`: by an operator linked into the program.
fn with_own_new(mode: (&str, &str), mismatch: &str, case: &str) -> Run {
    let flags = ["-Wno-mismatched-new-delete"];
    let program = build("own_new", &["cases.c", "own_new.cpp"], &flags);
    let mut command = command(Arm::Preload, &program);
    command.env_remove("PYMALLOC").env_remove("PYMALLOC_CONF");
    command.arg(case).env(mode.0, mode.1);
    let conf = match mode {
        ("PYMALLOC_CONF", conf) => format!("{conf},{mismatch}"),
        _ => mismatch.to_owned(),
    };
    command.env("PYMALLOC_CONF", conf);
    run(command, LIMIT)
}

const GUARDS: [(&str, &str); 2] = [("PYMALLOC", "debug"), ("PYMALLOC_CONF", "checks:on")];

#[test]
fn an_operator_new_of_the_programs_own_is_a_mismatch_unless_told_otherwise() {
    for mode in GUARDS {
        for default in ["", "mismatch:on"] {
            let run = with_own_new(mode, default, "one_block");
            let says = "bad ID: Allocated using API 'r', verified using API 'm'\n";
            assert!(run.aborted() && run.stderr.contains(says), "{run:?}");
        }
        let run = with_own_new(mode, "mismatch:off", "everything");
        assert_eq!(run.succeeded("mismatch:off").stderr, "");
    }
}

#[test]
fn whoever_may_free_a_block_everything_else_is_looked_at() {
    let words = |debug, checks| [(GUARDS[0], debug), (GUARDS[1], checks)];
    let cases = [
        (
            "overflow",
            words("bad trailing pad byte", "overflow of PTR (10 bytes)"),
        ),
        (
            "underflow",
            words("bad leading pad byte", "underflow of PTR (10 bytes)"),
        ),
        ("twice", words("double free of PTR", "double free of PTR")),
        (
            "inside",
            words("16 bytes into a block", "16 bytes into a block"),
        ),
        (
            "written_after_free",
            words("after free, at byte 99", "after free, at byte 99"),
        ),
        // By one API: it says what it asked for.
        (
            "sized_wrongly",
            words("100 bytes, freed as 200", "100 bytes, freed as 200"),
        ),
    ];
    for (case, modes) in cases {
        for (mode, says) in modes {
            let run = with_own_new(mode, "mismatch:off", case);
            let text = without_addresses(&run.stderr);
            assert!(run.aborted() && text.contains(says), "{case}: {run:?}");
        }
    }
}
