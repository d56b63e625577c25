//! Programs that open libraries with RTLD_DEEPBIND: a block may be freed by whoever has it, and all else about `dlopen` is
//! as without us.
#![cfg(all(target_arch = "x86_64", target_env = "gnu"))]

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, Run, build, build_shared, command, library, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Puts what was built to `place`, whole or not at all.
fn put(built: &Path, place: &Path) {
    let part = place.with_extension(format!("{}", std::process::id()));
    fs::copy(built, &part).expect("a library can be copied");
    fs::rename(part, place).expect("a file can be renamed within a folder");
}

/// The folder that `deepbind.c` speaks of.
fn folder() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let deep = build_shared("libdeep.so", &["deepbind.c"], &["-DDEEP"]);
        let runpath = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/near";
        let caller = build_shared("libcaller.so", &["deepbind.c"], &["-DCALLER", runpath]);
        let folder = deep.with_file_name("deep");
        fs::create_dir_all(folder.join("near")).expect("folders for the libraries");
        put(&deep, &folder.join("libdeep.so"));
        put(&deep, &folder.join("near/libneighbour.so"));
        put(&caller, &folder.join("libcaller.so"));
        fs::write(folder.join("no_library"), "no library\n").expect("a file");
        folder
    });
    made.clone()
}

fn program() -> PathBuf {
    // -rdynamic: libraries find the program's own deep_choice.
    build("deepbind", &["cases.c", "deepbind.c"], &["-rdynamic"])
}

fn program_with_malloc() -> PathBuf {
    let flags = ["-rdynamic", "-DOWN_MALLOC"];
    build("deepbind_own", &["deepbind.c"], &flags)
}

/// One case of a program, with options.
fn told(program: &Path, arm: Arm, case: &str, options: &[(&str, &str)]) -> Command {
    let mut command = command(arm, program);
    command.arg(case).env("DEEP", folder());
    command.envs(options.iter().copied());
    command
}

fn succeeds(command: Command, case: &str) -> Run {
    let what = format!("{command:?}");
    let run = run(command, LIMIT).succeeded(&what);
    let said = run.stdout.lines().any(|line| line == format!("ok {case}"));
    assert!(said, "{what}: {run:?}");
    run
}

const KEEP: (&str, &str) = ("PYMALLOC_CONF", "deepbind:keep");

#[test]
fn a_deepbound_library_and_the_program_free_each_others_blocks() {
    let case = "the_library_and_the_program_free_each_others_blocks";
    for arm in [Arm::Glibc, Arm::Preload, Arm::PassThrough] {
        succeeds(told(&program(), arm, case, &[]), case);
    }
    // That the flag matters: where it stays, a block of ours comes to the C library's free.
    let kept = run(told(&program(), Arm::Preload, case, &[KEEP]), LIMIT);
    assert!(!kept.status.success(), "{kept:?}");
}

#[test]
fn blocks_are_exchanged_whoever_watches() {
    let case = "the_library_and_the_program_free_each_others_blocks";
    for options in [
        [("PYMALLOC", "debug")],
        [("PYMALLOC_CONF", "checks:on")],
        [("PYMALLOC_CONF", "sample:3,deepbind:clear")],
    ] {
        succeeds(told(&program(), Arm::Preload, case, &options), case);
    }
}

#[test]
fn the_flag_is_cleared_where_this_library_serves_the_process() {
    let case = "the_flag_is_as_expected";
    let cleared = [("DEEP_FLAG", "cleared")];
    succeeds(told(&program(), Arm::Preload, case, &cleared), case);
}

#[test]
fn the_flag_stays_where_it_is_asked_for_or_another_malloc_serves() {
    let case = "the_flag_is_as_expected";
    let kept = ("DEEP_FLAG", "kept");
    for (program, arm, option) in [
        (program(), Arm::Glibc, kept),
        (program(), Arm::Preload, KEEP),
        (program(), Arm::PassThrough, kept),
        (program_with_malloc(), Arm::Glibc, kept),
        (program_with_malloc(), Arm::Preload, kept),
    ] {
        succeeds(told(&program, arm, case, &[kept, option]), case);
    }
}

#[test]
fn without_the_flag_nothing_is_changed() {
    let case = "without_the_flag_the_programs_own_is_found";
    for arm in [Arm::Glibc, Arm::Preload, Arm::PassThrough] {
        succeeds(told(&program(), arm, case, &[]), case);
    }
}

#[test]
fn the_calling_librarys_runpath_and_origin_are_found() {
    let case = "the_callers_runpath_and_origin_are_found";
    for options in [&[][..], &[KEEP]] {
        for arm in [Arm::Glibc, Arm::Preload, Arm::PassThrough] {
            succeeds(told(&program(), arm, case, options), case);
        }
    }
}

#[test]
fn no_name_is_the_program_itself() {
    for arm in [Arm::Glibc, Arm::Preload] {
        succeeds(
            told(&program(), arm, "no_name_is_the_program", &[]),
            "no_name_is_the_program",
        );
    }
}

#[test]
fn errors_are_told_in_the_same_words() {
    let words = |arm, options: &[_]| {
        let command = told(&program(), arm, "errors_are_told", options);
        succeeds(command, "errors_are_told").stdout
    };
    let without = words(Arm::Glibc, &[]);
    assert_eq!(without.lines().count(), 10, "{without}");
    assert_eq!(words(Arm::Preload, &[]), without);
    assert_eq!(words(Arm::Preload, &[KEEP]), without);
}

#[test]
fn a_constructor_before_ours_may_open() {
    let early = build_shared("libearly.so", &["deepbind.c"], &["-DEARLY"]);
    let (early, ours) = (early.display(), library().display().to_string());
    let case = "an_early_constructor_may_open";
    let mut command = told(&program(), Arm::Glibc, case, &[]);
    command.env("LD_PRELOAD", early.to_string());
    succeeds(command, case);
    for order in [format!("{early}:{ours}"), format!("{ours}:{early}")] {
        let mut command = told(&program(), Arm::Preload, case, &[("PYMALLOC_VERBOSE", "1")]);
        command.env("LD_PRELOAD", &order);
        let run = succeeds(command, case);
        assert_eq!(said(&run).len(), 1, "LD_PRELOAD={order}: {run:?}");
    }
}

#[test]
fn several_threads_may_open_at_once() {
    for arm in [Arm::Glibc, Arm::Preload] {
        succeeds(
            told(&program(), arm, "threads_open_at_once", &[]),
            "threads_open_at_once",
        );
    }
}

/// What was said of the flag.
fn said(run: &Run) -> Vec<&str> {
    let lines = run.stderr.lines();
    lines
        .filter(|line| line.starts_with("pymalloc: RTLD_DEEPBIND is cleared"))
        .collect()
}

#[test]
fn it_is_said_once_and_of_which_library_by_those_who_want_to_know() {
    let case = "the_flag_is_as_expected";
    for (arm, flag, option, times) in [
        (Arm::Preload, "cleared", ("PYMALLOC_VERBOSE", "1"), 1),
        (Arm::Preload, "cleared", ("PYMALLOC_VERBOSE", "0"), 0),
        (Arm::PassThrough, "kept", ("PYMALLOC_VERBOSE", "1"), 0),
    ] {
        let command = told(&program(), arm, case, &[("DEEP_FLAG", flag), option]);
        let run = succeeds(command, case);
        assert_eq!(said(&run).len(), times, "{option:?}: {run:?}");
        let named = said(&run).iter().all(|line| line.ends_with(": libdeep.so"));
        assert!(named, "{run:?}");
    }
}
