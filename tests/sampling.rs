//! `sample:N`: about one of N allocations of C lies against an inaccessible page, and misuse of it is named.

#[path = "c/harness.rs"]
mod harness;
#[path = "support/preload.rs"]
mod support;

use harness::{Arm, LIMIT, Run, build, command, run};
use std::os::unix::process::ExitStatusExt;

fn sampled(case: &str) -> Run {
    let program = build("sampled", &["cases.c", "sampled.c"], &[]);
    let mut command = command(Arm::Preload, &program);
    command.env_remove("PYMALLOC").arg(case);
    command.env("PYMALLOC_CONF", "sample:1000");
    run(command, LIMIT)
}

#[test]
fn a_program_without_errors_runs_to_its_end() {
    sampled("nothing_is_wrong").succeeded("sample:1000");
}

#[test]
fn misuse_of_a_sampled_block_is_named_with_its_place() {
    let cases = [
        (
            "overflow",
            libc::SIGABRT,
            "write to 0x",
            "which is byte 40 of a live block of 40 bytes (sampled)",
        ),
        (
            "far_overflow",
            libc::SIGSEGV,
            "access to 0x",
            "which is byte 60 of a live block of 40 bytes (sampled)",
        ),
        (
            "use_after_free",
            libc::SIGSEGV,
            "access to 0x",
            "which is byte 5 of a freed block of 40 bytes (sampled)",
        ),
    ];
    for (case, signal, begins, ends) in cases {
        let run = sampled(case);
        assert_eq!(run.status.signal(), Some(signal), "{case}: {run:?}");
        let first = run.stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(&format!("pymalloc: {begins}")),
            "{case}: {run:?}"
        );
        assert!(first.ends_with(ends), "{case}: {run:?}");
        let made = "Memory block allocated at (most recent call first):\n  File \"";
        assert!(
            run.stderr.contains(made) && run.stderr.contains("in made\n"),
            "{case}: {run:?}"
        );
        let freed = run.stderr.contains("Memory block freed at");
        assert_eq!(freed, case == "use_after_free", "{case}: {run:?}");
    }
}

#[test]
fn without_the_option_no_block_is_sampled() {
    // An overflow within the class's rounding and its neighbours harms nobody else here.
    let program = build("sampled", &["cases.c", "sampled.c"], &[]);
    let mut command = command(Arm::Preload, &program);
    command
        .env_remove("PYMALLOC")
        .env_remove("PYMALLOC_CONF")
        .arg("far_overflow");
    run(command, LIMIT).succeeded("without the option");
}
