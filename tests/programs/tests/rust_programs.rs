//! Real programs make the same under `PyMalloc` as under the system's allocator, with one thread and
//! with eight.

use std::io::Write as _;
use std::process::{Command, Output};

const WITH_PYMALLOC: &str = env!("CARGO_BIN_EXE_with_pymalloc");
const WITH_SYSTEM: &str = env!("CARGO_BIN_EXE_with_system");

fn output_of(binary: &str, arguments: &[&str]) -> Output {
    Command::new(binary)
        .args(arguments)
        .output()
        .expect("the binary starts")
}

/// The lines of a run of all programs in one process.
fn lines_of(binary: &str, threads: &str) -> Vec<String> {
    let output = output_of(binary, &[threads]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{binary} {threads}: {}\n{errors}",
        output.status
    );
    String::from_utf8(output.stdout)
        .expect("the lines are text")
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_program_makes_the_same_under_both_allocators_with_any_number_of_threads() {
    let expected = lines_of(WITH_SYSTEM, "1");
    assert_eq!(
        expected.len(),
        pymalloc_programs::names().count(),
        "{expected:?}"
    );
    assert_eq!(
        lines_of(WITH_SYSTEM, "8"),
        expected,
        "the programs themselves depend on threads"
    );
    for threads in ["1", "8"] {
        assert_eq!(
            lines_of(WITH_PYMALLOC, threads),
            expected,
            "with {threads} threads"
        );
    }
    for line in expected {
        writeln!(std::io::stderr(), "{line}: identical with 1 and 8 threads")
            .expect("stderr is open");
    }
}

#[test]
fn a_single_program_can_be_chosen() {
    let output = output_of(WITH_PYMALLOC, &["2", "index"]);
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        line.starts_with("index ") && line.lines().count() == 1,
        "{line}"
    );
}

#[test]
fn wrong_arguments_are_refused() {
    for (arguments, message) in [
        (&[][..], "usage: "),
        (&["0"], "usage: "),
        (&["1", "nonsense"], "unknown program nonsense\n"),
    ] {
        let output = output_of(WITH_PYMALLOC, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.starts_with(message), "{arguments:?}: {errors}");
    }
}
