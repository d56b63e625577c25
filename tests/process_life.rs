//! The library through the life of a process: before main and after it, fork and exec, threads that
//! end, libraries that come and go, signals. A hang fails with the stacks of every thread.

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, Run, build, build_shared, command, library, run};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Runs one case of the program made of `source` on glibc and on our library, and returns the latter.
fn on_both(program: &str, source: &str, case: &str, times: usize) {
    let program = build(program, &["cases.c", source], &[]);
    for arm in [Arm::Glibc, Arm::Preload] {
        for _ in 0..times {
            let mut command = command(arm, &program);
            command.arg(case);
            if arm == Arm::Glibc && std::env::var_os("PYMALLOC_FORKS").is_none() {
                command.env("PYMALLOC_FORKS", "40"); // the control shows that the test is sound
            }
            succeeds(
                run(command, LIMIT),
                &format!("{case} on {arm:?}"),
                &format!("ok {case}"),
            );
        }
    }
}

fn succeeds(run: Run, what: &str, last_word: &str) {
    let run = run.succeeded(what);
    assert!(
        run.stdout.lines().any(|line| line == last_word),
        "{what}: {run:?}"
    );
}

fn fork_case(case: &str) {
    on_both("life_fork", "life_fork.c", case, 1);
}

fn thread_case(case: &str, times: usize) {
    on_both("life_threads", "life_threads.c", case, times);
}

fn signal_case(case: &str) {
    on_both("life_signals", "life_signals.c", case, 1);
}

// ---- Before main

fn exported() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("exports.txt").lines();
    lines.filter(|line| {
        // Our own names are no first calls of the C library's.
        !line.starts_with('#') && !line.is_empty() && !line.starts_with("pymalloc_")
    })
}

fn first_call() -> PathBuf {
    build("first_call", &["first_call.c"], &["-fno-plt"])
}

#[test]
fn any_export_may_be_the_first_call_before_relocation_ends() {
    for arm in [Arm::Glibc, Arm::Preload] {
        // The C library itself opens nothing there: its loader ends the process.
        for name in exported().filter(|name| *name != "dlopen") {
            let mut command = command(arm, &first_call());
            command.env("FIRST_RESOLVED", name);
            run(command, LIMIT).succeeded(&format!("{name} in an ifunc on {arm:?}"));
        }
    }
}

#[test]
fn any_export_may_be_the_first_call_of_a_constructor() {
    let first = build_shared(
        "first_call.so",
        &["first_call.c"],
        &["-DSHARED", "-fno-plt"],
    );
    let (first, ours) = (first.display(), library().display().to_string());
    for order in [format!("{first}:{ours}"), format!("{ours}:{first}")] {
        for name in exported() {
            let mut command = command(Arm::Preload, &first_call());
            command.env("LD_PRELOAD", &order).env("FIRST_CALL", name);
            run(command, LIMIT).succeeded(&format!("{name} in a constructor, LD_PRELOAD={order}"));
        }
    }
}

#[test]
fn the_loader_may_bind_everything_at_once() {
    let mut command = command(Arm::Preload, &build("last_call", &["last_call.cpp"], &[]));
    command.env("LD_BIND_NOW", "1");
    run(command, LIMIT).succeeded("LD_BIND_NOW");
}

// ---- After main

#[test]
fn memory_is_there_until_the_last_destructor() {
    let last = build("last_call", &["last_call.cpp"], &[]);
    let shared = build_shared("last_call.so", &["last_call.cpp"], &["-DSHARED"]);
    let (shared, ours) = (
        shared.display().to_string(),
        library().display().to_string(),
    );
    let orders = [
        (Arm::Glibc, shared.clone()),
        (Arm::Preload, format!("{ours}:{shared}")),
        (Arm::Preload, format!("{shared}:{ours}")),
    ];
    for (arm, order) in orders {
        let mut command = command(arm, &last);
        command.env("LD_PRELOAD", &order);
        let run = run(command, LIMIT).succeeded(&order);
        let said = |what: &str| {
            run.stdout
                .lines()
                .filter(|line| *line == format!("ok {what}"))
                .count()
        };
        for what in [
            "atexit",
            "on_exit",
            "a static's destructor",
            "the destructor of the executable",
            "atexit of a shared object",
            "the destructor of a shared object",
        ] {
            assert_eq!(said(what), 1, "{what}, LD_PRELOAD={order}: {run:?}");
        }
        assert!(
            run.stdout.contains("stdout is flushed at the end\n"),
            "{run:?}"
        );
    }
}

#[test]
fn a_process_may_exit_while_others_allocate() {
    thread_case("exit_while_others_allocate", 15);
    thread_case("exit_from_a_thread", 10);
    thread_case("main_ends_before_its_threads", 3);
}

#[test]
fn a_process_ends_with_the_last_of_its_own_threads() {
    thread_case("the_last_thread_ends_the_process", 1);
}

// ---- fork, exec

#[test]
fn a_forked_child_allocates_whatever_the_parents_threads_held() {
    fork_case("fork_storm");
}

#[test]
fn several_threads_fork_at_once() {
    fork_case("forks_from_several_threads");
}

#[test]
fn fork_and_malloc_trim_do_not_wait_for_each_other() {
    fork_case("fork_while_others_trim");
}

#[test]
fn the_first_malloc_may_race_the_first_fork() {
    fork_case("fork_before_anything_else");
}

#[test]
fn a_child_may_make_threads_and_end_by_its_last() {
    fork_case("a_child_makes_threads_of_its_own");
}

#[test]
fn children_that_run_no_fork_handler_live() {
    fork_case("children_without_fork_handlers");
}

#[test]
fn vfork_and_posix_spawn_work_among_allocating_threads() {
    fork_case("vfork_and_posix_spawn");
}

#[test]
fn exec_starts_afresh() {
    fork_case("exec_again_and_again");
}

#[test]
fn the_fork_handlers_of_others_may_allocate() {
    fork_case("fork_handlers_of_others_allocate");
}

// ---- Threads

#[test]
fn destructors_of_thread_keys_allocate_in_any_round() {
    thread_case("destructors_of_64_keys_allocate_in_all_rounds", 2);
    thread_case("a_thread_that_only_frees_and_only_at_its_end", 1);
}

#[test]
fn short_threads_leave_nothing_behind() {
    thread_case("short_threads_leave_nothing_behind", 1);
}

#[test]
fn many_threads_live_at_once() {
    thread_case("many_threads_live_at_once", 1);
}

#[test]
fn memory_of_ended_threads_comes_back() {
    thread_case("memory_of_ended_threads_comes_back", 1);
}

// ---- Libraries

/// A folder with 40 copies of plug.c's library: the loader takes each for a library of its own.
fn plugs() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let plug = build_shared("plug.so", &["plug.c"], &[]);
        let folder = plug.with_file_name("plugs");
        fs::create_dir_all(&folder).expect("a folder for the plugs");
        for i in 0..40 {
            let part = folder.join(format!("{i}.{}", std::process::id()));
            fs::copy(&plug, &part).expect("a plug can be copied");
            let whole = folder.join(format!("plug{i}.so"));
            fs::rename(part, whole).expect("a plug can be renamed");
        }
        folder
    });
    made.clone()
}

fn life_dl() -> PathBuf {
    build("life_dl", &["cases.c", "life_dl.c"], &[])
}

fn library_case(case: &str, options: &[(&str, &str)]) {
    for arm in [Arm::Glibc, Arm::Preload] {
        let mut command = command(arm, &life_dl());
        command.arg(case).env("PLUGS", plugs());
        command.envs(options.iter().copied());
        succeeds(
            run(command, LIMIT),
            &format!("{case} on {arm:?}"),
            &format!("ok {case}"),
        );
    }
}

#[test]
fn libraries_that_allocate_come_and_go() {
    library_case("libraries_with_tls_come_and_go", &[]);
    library_case("several_threads_open_and_close", &[]);
}

#[test]
fn a_deepbound_library_gives_blocks_that_we_can_free() {
    library_case(
        "deepbound_blocks_are_freed_by_whom_they_belong_to",
        &[("PYMALLOC_CONF", "deepbind:keep")],
    );
}

#[test]
fn the_library_may_be_opened_late() {
    for global in [false, true] {
        let mut command = command(Arm::Glibc, &life_dl());
        command
            .arg("the_library_is_opened_late")
            .env("PLUGS", plugs())
            .env("LATE_LIBRARY", library());
        if global {
            command.env("LATE_GLOBAL", "1");
        }
        run(command, LIMIT).succeeded("the library opened late");
    }
}

#[test]
fn an_executable_with_its_own_malloc_keeps_it() {
    let program = build("own_malloc", &["own_malloc.cpp"], &[]);
    for arm in [Arm::Glibc, Arm::Preload] {
        succeeds(
            run(command(arm, &program), LIMIT),
            &format!("own_malloc on {arm:?}"),
            "ok",
        );
    }
    let mut command = command(Arm::Preload, &program);
    command.env("PYMALLOC_VERBOSE", "1");
    let run = run(command, LIMIT).succeeded("own_malloc");
    let said = run
        .stderr
        .lines()
        .any(|line| line.starts_with("pymalloc: "));
    assert!(
        said,
        "PYMALLOC_VERBOSE=1 does not say that the library stands aside: {run:?}"
    );
}

// ---- Signals

#[test]
fn signals_may_interrupt_allocation() {
    signal_case("signals_interrupt_allocation");
}

#[test]
fn a_handler_that_interrupts_malloc_may_fork() {
    signal_case("a_handler_forks_in_a_process_of_one_thread");
    signal_case("a_handler_forks_among_threads");
}

#[test]
fn handlers_of_several_threads_may_fork_at_once() {
    signal_case("handlers_fork_in_several_threads_at_once");
}

#[test]
fn cancellation_never_strikes_inside_malloc() {
    signal_case("cancellation_never_strikes_inside_malloc");
}

#[test]
fn a_cancelled_report_leaves_no_lock() {
    signal_case("a_cancelled_report_leaves_no_lock");
}

// ---- The watchdog itself

#[test]
fn a_hang_fails_with_stacks() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & sleep 1000"]);
    let limit = std::time::Duration::from_millis(300);
    let hang = std::thread::spawn(move || run(command, limit)).join();
    let message = *hang
        .expect_err("the watchdog strikes")
        .downcast::<String>()
        .expect("a message");
    assert!(
        message.contains("hangs for ") && message.matches("=== process").count() >= 2,
        "{message}"
    );
}
