//! Bad pointers and bad options, each with the exact line it must produce.

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, Run, build, command, run};

/// How a misuse ended: the address it passed, the block's usable size, and the rest.
struct Struck {
    address: String,
    usable: usize,
    run: Run,
    what: String,
}

fn strike_with(
    arm: Arm,
    options: &[(&str, &str)],
    kind: &str,
    size: usize,
    offset: usize,
) -> Struck {
    let mut command = command(arm, &build("misuse", &["misuse.c"], &[]));
    if arm != Arm::PassThrough {
        command.env_remove("PYMALLOC");
    }
    command
        .env_remove("PYMALLOC_CONF")
        .envs(options.iter().copied());
    command.args([kind, &size.to_string(), &offset.to_string()]);
    let run = run(command, LIMIT);
    let what = format!("misuse {kind} {size} {offset} on {arm:?} {options:?}");
    let mut words = run.stdout.split_whitespace();
    let (Some(address), Some(usable)) = (words.next(), words.next()) else {
        panic!("{what} did not come to its point: {run:?}")
    };
    let (address, usable) = (address.to_owned(), usable.parse().expect("a number"));
    Struck {
        address,
        usable,
        run,
        what,
    }
}

fn strike(kind: &str, size: usize, offset: usize) -> Struck {
    strike_with(Arm::Preload, &[], kind, size, offset)
}

impl Struck {
    /// Our lines on stderr.
    fn lines(&self) -> Vec<&str> {
        self.run
            .stderr
            .lines()
            .filter(|line| line.starts_with("pymalloc: "))
            .collect()
    }

    fn dies_with(&self, line: &str) {
        assert_eq!(self.lines(), [line], "{}: {:?}", self.what, self.run);
        assert!(self.run.aborted(), "{}: {:?}", self.what, self.run);
    }

    /// `pymalloc: {before}0x…{after}(size class N bytes)`; N is the usable size where that is the
    /// class. A huge block, which has no class, may be named by its size alone: `(N bytes)`.
    fn dies_naming_the_class(&self, before: &str, after: &str, size: usize) {
        let [line] = self.lines()[..] else {
            panic!("{}: one line expected: {:?}", self.what, self.run)
        };
        let start = format!("pymalloc: {before}{}{after}(", self.address);
        let number = line
            .strip_prefix(&start)
            .and_then(|rest| rest.strip_suffix(" bytes)"));
        let class = number.and_then(|number| match number.strip_prefix("size class ") {
            Some(class) => class.parse::<usize>().ok(),
            None if size > 256 * 1024 => number.parse().ok(),
            None => None,
        });
        let class = class.unwrap_or_else(|| {
            panic!(
                "{}: {line:?} is not {start:?}size class N bytes)",
                self.what
            )
        });
        assert!(class >= size, "{}: {line}", self.what);
        assert!(
            size > 512 || class == self.usable,
            "{}: usable {}: {line}",
            self.what,
            self.usable
        );
        assert!(self.run.aborted(), "{}: {:?}", self.what, self.run);
    }

    fn is_a_double_free(&self, size: usize) {
        self.dies_naming_the_class("double free of ", " ", size);
    }
}

const MIB: usize = 1 << 20;

#[test]
fn an_immediate_double_free_is_named() {
    for size in [1, 16, 64, 200, 512, 513, 4096, 100_000, MIB, 16 * MIB] {
        strike("double_immediate", size, 0).is_a_double_free(size);
    }
}

/// The block is no longer the last freed one; 2,000 others have long left the thread's list.
#[test]
fn a_delayed_double_free_is_named() {
    for (size, others) in [
        (16, 1),
        (64, 1),
        (64, 10),
        (512, 3),
        (64, 2000),
        (4096, 1),
        (20_000, 50),
        (MIB, 1),
        (MIB, 3),
    ] {
        strike("double_after_another", size, others).is_a_double_free(size);
    }
}

#[test]
fn a_double_free_after_the_arena_went_back_is_ours_to_name() {
    for size in [64, 500, 2000, 100_000] {
        is_refused(&strike("double_after_the_arena_went_back", size, 0));
        is_refused(&strike("double_after_the_arena_went_back", size, 1));
    }
}

#[test]
fn a_double_free_across_threads_is_named() {
    for size in [16, 64, 500, 4096, MIB] {
        strike("double_on_another_thread", size, 0).is_a_double_free(size);
        strike("double_after_another_thread", size, 0).is_a_double_free(size);
    }
}

#[test]
fn every_way_to_free_names_a_double_free() {
    for how in 0..3 {
        strike("double_in_other_words", 80, how).is_a_double_free(80);
        strike("double_in_other_words", MIB, how).is_a_double_free(MIB);
    }
}

#[test]
fn a_crash_reporter_may_fork_while_we_abort() {
    for size in [64, MIB] {
        let struck = strike("double_under_a_crash_reporter", size, 0);
        struck.is_a_double_free(size);
        assert!(struck.run.stdout.contains("reported"), "{:?}", struck.run);
    }
}

/// What is noticed under the lock of a heap leaves it free for the reporter, which allocates.
#[test]
fn a_crash_reporter_may_allocate_whatever_was_locked() {
    const AT_EXIT: usize = 0;
    const ON_ANOTHER_THREAD: usize = 1;
    const WHEN_FULL: usize = 2;
    for (size, how) in [
        (24, AT_EXIT),
        (400, AT_EXIT),
        (30_000, AT_EXIT),
        (24, ON_ANOTHER_THREAD),
        (400, ON_ANOTHER_THREAD),
        (30_000, ON_ANOTHER_THREAD),
        (400, WHEN_FULL),
    ] {
        let struck = strike("interior_under_a_crash_reporter", size, how);
        assert!(struck.run.aborted(), "{}: {:?}", struck.what, struck.run);
        let reports = struck.run.stdout.matches("reported").count();
        assert_eq!(reports, 1, "{}: {:?}", struck.what, struck.run);
        assert_eq!(struck.lines().len(), 1, "{}: {:?}", struck.what, struck.run);
    }
}

#[test]
fn a_free_inside_a_block_is_named() {
    let offsets = [
        (64, 16),
        (64, 48),
        (512, 16),
        (512, 496),
        (4096, 16),
        (4096, 2048),
        (4096, 4080),
        (100_000, 4096),
        (MIB, 16),
        (MIB, 4096),
        (MIB, 16384),
        (MIB, MIB / 2),
    ];
    for (size, offset) in offsets {
        strike("interior", size, offset).dies_naming_the_class(
            "free of ",
            ", which points inside a block ",
            size,
        );
    }
}

/// Only the first arena slot of a block above 1 MiB is in the map (DESIGN section 3), so an address
/// further in may be named by us or refused by glibc; it is not taken in silence.
#[test]
fn a_free_deep_inside_a_huge_block_aborts() {
    for (size, offset) in [
        (5 * MIB, MIB),
        (5 * MIB, 3 * MIB + 4096),
        (64 * MIB, 40 * MIB),
    ] {
        let struck = strike("interior", size, offset);
        assert!(struck.run.aborted(), "{}: {:?}", struck.what, struck.run);
    }
}

#[test]
fn a_misaligned_free_is_named() {
    for (size, offset) in [
        (64, 1),
        (64, 8),
        (64, 15),
        (512, 24),
        (4096, 1),
        (4096, 1000),
        (MIB, 8),
        (MIB, 70_001),
    ] {
        let struck = strike("interior", size, offset);
        struck.dies_with(&format!(
            "pymalloc: free of {}, which is not aligned to 16 bytes",
            struck.address
        ));
    }
}

/// Ends with one of our lines that name `address`, whichever of them fits.
fn is_refused(struck: &Struck) {
    let address = &struck.address;
    let starts = [
        format!("pymalloc: free of {address}, which "),
        format!("pymalloc: double free of {address} "),
    ];
    let known = |line: &str| starts.iter().any(|start| line.starts_with(start));
    let one_known = matches!(struck.lines()[..], [line] if known(line));
    assert!(
        one_known && struck.run.aborted(),
        "{}: {:?}",
        struck.what,
        struck.run
    );
}

/// Which line it gets depends on where the heap keeps its books; that it gets one does not.
#[test]
fn a_free_of_the_heaps_own_books_is_refused() {
    for offset in [0, 64, 4096] {
        is_refused(&strike("own_metadata", 496, offset));
    }
    let struck = strike("own_metadata", 64, 0);
    struck.dies_with(&format!(
        "pymalloc: free of {}, which is not a block of this heap",
        struck.address
    ));
}

/// A block that waits in its pool or in a thread's list, but was never given to anyone: taken in
/// silence, it would be given out twice.
#[test]
fn a_free_of_what_was_never_given_out_is_refused() {
    for blocks in [1, 5] {
        is_refused(&strike("never_given_out", 496, blocks));
    }
}

/// Production looks when the list goes home. Until then the address may be handed out, and who writes to it spoils
/// its own block of that size; every other block, and what the heap knows of them, is whole.
#[test]
fn a_free_inside_a_block_that_is_reused_harms_no_other_and_is_named_in_the_end() {
    let mut handed_out = 0;
    for (size, offset) in [
        (64, 16),
        (500, 256),
        (600, 128),
        (4096, 16),
        (4096, 2048),
        (20_000, 4096),
        (100_000, 65_536),
    ] {
        let struck = strike("interior_then_reuse", size, offset);
        is_refused(&struck);
        let went_on = struck.run.stdout.contains("others are whole");
        handed_out += usize::from(struck.run.stdout.contains("handed out"));
        // Where no block begins in those 16 KiB, the free itself is named.
        let named_at_once = offset >= 16_384 && struck.run.stdout.lines().count() == 1;
        assert!(
            went_on || size < 513 || named_at_once,
            "{}: {:?}",
            struck.what,
            struck.run
        );
        let checks = [("PYMALLOC_CONF", "checks:on")];
        let struck = strike_with(Arm::Preload, &checks, "interior_then_reuse", size, offset);
        is_refused(&struck);
        assert!(!struck.run.stdout.contains("whole"), "{:?}", struck.run);
    }
    println!("{handed_out} of 7 were handed out");
}

/// The words around a guarded block, and what is left of them when the block's address is taken out.
fn neighbours(options: &[(&str, &str)]) -> Vec<u64> {
    let struck = strike_with(Arm::Preload, options, "neighbours", 100, 0);
    let hex = |word: &str| {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        u64::from_str_radix(digits, 16).expect("a number")
    };
    let address = hex(&struck.address);
    let line = struck.run.stdout.lines().nth(1).expect("a second line");
    let words: Vec<u64> = line.split(' ').map(hex).collect();
    assert_eq!(words.len(), 3, "{:?}", struck.run);
    let without_address = words.iter().map(|word| word ^ address);
    words.iter().copied().chain(without_address).collect()
}

/// An overflow or an underflow must go through these words, and whoever does not know them is noticed.
#[test]
fn what_lies_beside_a_guarded_block_is_another_in_every_process() {
    let checks = [("PYMALLOC_CONF", "checks:on")];
    let runs: Vec<_> = (0..4).map(|_| neighbours(&checks)).collect();
    for pair in runs.windows(2) {
        for (one, other) in pair[0].iter().zip(&pair[1]) {
            assert!(one != other && *one != 0, "{runs:x?}");
        }
    }
    // CPython's bytes are the same in all processes.
    let debug = [("PYMALLOC", "debug")];
    assert_eq!(neighbours(&debug)[..3], neighbours(&debug)[..3]);
}

/// Production fences the first arenas, guarded modes all of them.
#[test]
fn books_are_behind_a_fence() {
    let modes: [(&[(&str, &str)], usize); 3] = [
        (&[], 20),
        (&[("PYMALLOC_CONF", "checks:on")], 200),
        (&[("PYMALLOC", "debug"), ("PYMALLOC_CONF", "frames:0")], 200),
    ];
    for (options, arenas) in modes {
        let struck = strike_with(Arm::Preload, options, "write_to_books", 400, arenas);
        let signal = std::os::unix::process::ExitStatusExt::signal(&struck.run.status);
        assert_eq!(
            signal,
            Some(libc::SIGSEGV),
            "{}: {:?}",
            struck.what,
            struck.run
        );
    }
}

/// The books of an arena come first in it, behind the last block of the one before: what is handed out in the
/// middle of that block must not reach them.
#[test]
fn a_free_inside_the_last_block_of_an_arena_harms_no_books_and_is_named_in_the_end() {
    let mut handed_out = 0;
    for (size, back) in [
        (40, 16),
        (500, 16),
        (512, 256),
        (600, 16),
        (2048, 16),
        (6144, 16),
        (18_432, 16),
        (20_000, 16_384),
        (36_864, 32_768),
        (100_000, 65_536),
        (147_456, 16),
        (147_456, 131_088),
        (262_144, 262_128),
    ] {
        let struck = strike("interior_at_an_arenas_end", size, back);
        is_refused(&struck);
        let met = struck.run.stdout.contains("handed out");
        handed_out += usize::from(met);
        // Either the free itself is named, or the program goes on unharmed until the list goes home.
        let named_at_once = struck.run.stdout.lines().count() == 1;
        assert!(met || named_at_once, "{}: {:?}", struck.what, struck.run);
    }
    println!("{handed_out} of 13 were handed out");
    assert!(handed_out > 0, "nothing was tried");
}

const FOREIGN: [(&str, usize, usize); 6] = [
    ("foreign_static", 0, 0),
    ("foreign_static", 0, 64),
    ("foreign_static", 0, 8),
    ("foreign_stack", 0, 64),
    ("foreign_stack", 0, 72),
    ("foreign_mapping", 65536, 256),
];

/// glibc's own words: "free(): invalid pointer" and its like. The control arm says the same.
#[test]
fn a_foreign_pointer_is_left_to_glibc() {
    for arm in [Arm::Glibc, Arm::Preload, Arm::PassThrough] {
        for options in [&[][..], &[("PYMALLOC_CONF", "foreign:forward")]] {
            for (kind, size, offset) in FOREIGN {
                let struck = strike_with(arm, options, kind, size, offset);
                let words = ["free(): ", "munmap_chunk(): ", "double free or corruption"];
                let glibc_speaks = words.iter().any(|word| struck.run.stderr.contains(word));
                assert!(
                    struck.run.aborted() && glibc_speaks,
                    "{}: {:?}",
                    struck.what,
                    struck.run
                );
                assert_eq!(struck.lines(), [""; 0], "{}", struck.what);
            }
        }
    }
}

#[test]
fn a_foreign_pointer_aborts_on_demand() {
    let numbers = [
        0x10,
        0x1000,
        0xdead_beef,
        0x7fff_ffff_f000,
        0x8000_0000_0000,
        1 << 62,
        usize::MAX,
        usize::MAX - 15,
    ];
    let numbers = numbers.map(|number| ("foreign_number", number, 0));
    for (kind, size, offset) in FOREIGN.into_iter().chain(numbers) {
        let struck = strike_with(
            Arm::Preload,
            &[("PYMALLOC_CONF", "foreign:abort")],
            kind,
            size,
            offset,
        );
        struck.dies_with(&format!(
            "pymalloc: free of foreign pointer {}",
            struck.address
        ));
        let struck = strike_with(
            Arm::Preload,
            &[("PYMALLOC_CONF", "foreign:leak")],
            kind,
            size,
            offset,
        );
        assert!(
            struck.run.status.success() && struck.run.stderr.is_empty(),
            "{}: {:?}",
            struck.what,
            struck.run
        );
    }
}

#[test]
fn a_block_of_glibcs_own_is_freed_and_resized_by_glibc() {
    for arm in [Arm::Glibc, Arm::Preload, Arm::PassThrough] {
        for size in [1, 24, 500, 5000, 300_000] {
            for how in [0, 1] {
                let struck = strike_with(arm, &[], "foreign_block_of_glibc", size, how);
                assert!(
                    struck.run.status.success(),
                    "{}: {:?}",
                    struck.what,
                    struck.run
                );
                assert!(
                    struck.run.stderr.is_empty(),
                    "{}: {:?}",
                    struck.what,
                    struck.run
                );
            }
        }
    }
    let abort = [("PYMALLOC_CONF", "foreign:abort")];
    let struck = strike_with(Arm::Preload, &abort, "foreign_block_of_glibc", 100, 2);
    struck.dies_with(&format!(
        "pymalloc: free of foreign pointer {}",
        struck.address
    ));
}

/// A harmless program under `options`: it succeeds, and our lines on stderr are these.
fn says(options: &[(&str, &str)], lines: &[&str]) {
    let struck = strike_with(Arm::Preload, options, "nothing", 100, 0);
    assert!(
        struck.run.status.success(),
        "{}: {:?}",
        struck.what,
        struck.run
    );
    assert_eq!(
        struck.run.stderr.lines().collect::<Vec<_>>(),
        lines,
        "{}",
        struck.what
    );
}

const UNKNOWN_KEY: &str = "pymalloc: PYMALLOC_CONF: unknown key \"xyz\" \
    (accepted: checks, deepbind, foreign, frames, limit, mismatch, purge_delay, purge_thread, sample, thp, verbose, zero_realloc, zero_size)";
const BAD_VALUE: &str =
    "pymalloc: PYMALLOC_CONF: bad value \"x\" for foreign (accepted: forward, abort, leak)";

#[test]
fn options_that_are_known_are_taken_in_silence() {
    for conf in ["", "foreign:forward", "foreign:abort", "foreign:leak"] {
        says(&[("PYMALLOC_CONF", conf)], &[]);
    }
    for mode in ["", "pymalloc"] {
        says(&[("PYMALLOC", mode)], &[]);
    }
}

#[test]
fn an_unknown_key_is_named_with_those_accepted() {
    for conf in [
        "xyz:1",
        "xyz:",
        "xyz",
        "foreign:leak,xyz:3",
        "xyz:3,foreign:leak",
    ] {
        says(&[("PYMALLOC_CONF", conf)], &[UNKNOWN_KEY]);
    }
    says(
        &[("PYMALLOC_CONF", "xyz:1,foreign:x")],
        &[UNKNOWN_KEY, BAD_VALUE],
    );
}

#[test]
fn a_bad_value_is_named_with_those_accepted() {
    says(&[("PYMALLOC_CONF", "foreign:x")], &[BAD_VALUE]);
    let empty = BAD_VALUE.replace("\"x\"", "\"\"");
    says(&[("PYMALLOC_CONF", "foreign:")], &[&empty]);
    says(&[("PYMALLOC_CONF", "foreign")], &[&empty]);
}

/// A bad entry spoils no other.
#[test]
fn the_options_beside_a_bad_one_hold() {
    let struck = strike_with(
        Arm::Preload,
        &[("PYMALLOC_CONF", "xyz:1,foreign:abort")],
        "foreign_static",
        0,
        0,
    );
    let foreign = format!("pymalloc: free of foreign pointer {}", struck.address);
    assert_eq!(struck.lines(), [UNKNOWN_KEY, &foreign], "{:?}", struck.run);
    assert!(struck.run.aborted(), "{:?}", struck.run);
}

#[test]
fn an_unknown_mode_is_named_with_those_accepted() {
    for mode in ["x", "PYMALLOC", "pymalloc ", "debugs"] {
        let line = format!(
            "pymalloc: PYMALLOC: unknown mode \"{mode}\" (accepted: pymalloc, debug, malloc, serve:ADDRESS)"
        );
        says(&[("PYMALLOC", mode)], &[&line]);
    }
}

/// However long an option is, its line ends, says what is accepted, and is followed by the next.
#[test]
fn a_long_option_is_cut_in_its_line_and_spoils_no_other() {
    let (long, cut) = ("y".repeat(600), "y".repeat(48));
    let key = UNKNOWN_KEY.replace("xyz", &format!("{cut}..."));
    let value = BAD_VALUE.replace("\"x\"", &format!("\"{cut}...\""));
    let conf = format!("{long}:1,foreign:{long},xyz:1");
    says(&[("PYMALLOC_CONF", &conf)], &[&key, &value, UNKNOWN_KEY]);
    let mode = format!(
        "pymalloc: PYMALLOC: unknown mode \"{cut}...\" (accepted: pymalloc, debug, malloc, serve:ADDRESS)"
    );
    says(&[("PYMALLOC", &long)], &[&mode]);
}

/// Numbers are digits: no sign, no blank, no unit.
#[test]
fn a_number_is_nothing_but_digits() {
    for value in ["+250", "-1", " 250", "250ms", "4294967296", ""] {
        let line = format!(
            "pymalloc: PYMALLOC_CONF: bad value \"{value}\" for purge_delay \
             (accepted: milliseconds, 0 to 4294967295)"
        );
        let conf = format!("purge_delay:{value}");
        says(&[("PYMALLOC_CONF", &conf)], &[&line]);
    }
    for value in ["0", "250", "4294967295", "00250"] {
        says(&[("PYMALLOC_CONF", &format!("purge_delay:{value}"))], &[]);
    }
}
