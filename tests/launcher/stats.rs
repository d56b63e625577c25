//! `--stats`: the report, the reasons for its absence, and the demonstration.

use crate::fixture::{file, folder, pymalloc, run, text};
use crate::support;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The stand-in library's numbers as the report shows them.
const TABLES: &str = "
                         at exit         peak     in total
  mapped                 1.0 KiB      2.0 KiB
  in blocks              3.0 KiB      4.0 KiB
  in huge blocks        10.0 KiB     11.0 KiB
  huge blocks               9216                     12288
  arenas                    5120         6144         7168
  arenas reclaimed                                    8192
  threads                  13312        14336        15360
  heaps                                              16384
  purged                                          17.0 KiB
  foreign frees                                      18432
  class block bytes    pools     in use  available bytes in use
      0          16        3        128       2900      2.0 KiB
     40        1280        2          7         19      8.8 KiB
";

/// Runs the probe with `--stats`; the report's first line without the process id, and what follows the
/// line with the times, which differ from run to run.
#[track_caller]
fn report(mut command: Command) -> (String, String) {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    let (first, rest) = stderr.split_once('\n').expect("a report");
    let (times, rest) = rest.split_once('\n').expect("two lines");
    assert!(times.starts_with("  time "), "{stderr}");
    assert!(
        times.ends_with("iB (waited-for children included)"),
        "{stderr}"
    );
    let (start, end) = first.split_once(" (process ").expect("a process id");
    let (_, end) = end.split_once(')').unwrap();
    (format!("{start}{end}"), format!("\n{rest}"))
}

#[test]
fn the_summary_is_shown_after_the_programs_own_output() {
    let probe = file("probe");
    let (first, rest) = report(run(true, &probe, &["exit", "3"]));
    assert_eq!(
        first,
        format!("pymalloc: {} ended with status 3", probe.display())
    );
    assert_eq!(rest, TABLES);
    let output = run(true, Path::new("sh"), &["-c", "echo out; echo err >&2"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "out\n");
    assert!(text(&output.stderr).starts_with("err\npymalloc: sh (process "));
}

#[test]
fn a_program_that_executes_another_is_summed_up_at_the_end_of_that() {
    let exec = format!("exec {} exit 4", file("probe").display());
    let (first, rest) = report(run(true, Path::new("sh"), &["-c", &exec]));
    assert_eq!(
        (first.as_str(), rest.as_str()),
        ("pymalloc: sh ended with status 4", TABLES)
    );
}

#[test]
fn without_a_summary_the_report_says_why() {
    let own = "the program has its own malloc, so ours passed every call on to it";
    let none = "the program wrote none: it ended by _exit, executed a program that ignores LD_PRELOAD, brings its own malloc, or changed its user or root";
    let killed = "SIGSEGV ended the program before it could write one";
    for (program, words, ended, why) in [
        ("probe", ["_exit", "5"], "ended with status 5", none),
        ("probe", ["raise", "11"], "was killed by SIGSEGV", killed),
        ("own_malloc", ["_exit", "5"], "ended with status 5", own),
    ] {
        let program = file(program);
        let (first, rest) = report(run(true, &program, &words));
        assert_eq!(first, format!("pymalloc: {} {ended}", program.display()));
        assert_eq!(rest, format!("\n  no summary: {why}\n"));
    }
    // A library that passes everything on may still write what little it saw.
    let (_, rest) = report(run(true, &file("own_malloc"), &["exit"]));
    assert_eq!(rest, format!("\n  note: {own}{TABLES}"));
    let mut passing = run(true, &file("probe"), &["_exit", "5"]);
    passing.env("PYMALLOC", "malloc");
    let why = "PYMALLOC=malloc makes our malloc pass every call on to the next";
    assert_eq!(report(passing).1, format!("\n  no summary: {why}\n"));
    let exec = format!("exec {} exit 6", file("static").display());
    let (first, rest) = report(run(true, Path::new("sh"), &["-c", &exec]));
    assert_eq!(first, "pymalloc: sh ended with status 6");
    assert_eq!(rest, format!("\n  no summary: {none}\n"));
}

#[test]
fn the_summary_of_a_descendant_is_not_taken_for_the_programs() {
    let (_, rest) = report(run(true, &file("probe"), &["descendant"]));
    let (start, end) = rest.split_once("process ").unwrap();
    assert_eq!(start, "\n  no summary: ");
    let end = end.trim_start_matches(|c: char| c.is_ascii_digit());
    assert_eq!(
        end,
        ", which the program started, wrote one, but the program did not (_exit?)\n"
    );
}

#[test]
fn a_damaged_summary_is_named_by_its_line() {
    for (summary, why) in [
        (
            "pymalloc-summary 2\n",
            "line 1: expected `pymalloc-summary 1`, found another version",
        ),
        (
            "pymalloc-summary 1\npid 1\n",
            "line 3: expected more lines up to `end`, found the end of the file",
        ),
    ] {
        let mut command = run(true, &file("probe"), &["exit"]);
        command.env("FAKE_SUMMARY", summary);
        assert_eq!(
            report(command).1,
            format!("\n  no summary: it is damaged: {why}\n")
        );
    }
}

#[test]
fn nothing_is_left_behind() {
    let place = folder().join("temporary");
    std::fs::create_dir_all(&place).unwrap();
    for words in [["exit", "0"], ["raise", "9"]] {
        let status = run(true, &file("probe"), &words)
            .env("TMPDIR", &place)
            .output();
        status.unwrap();
    }
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    let child = run(true, &file("probe"), &["exit"])
        .env("TMPDIR", "/no/such")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let expected = format!(
        "pymalloc: /no/such/pymalloc-{}-0: cannot create the directory for the summary: No such file or directory (os error 2)\n",
        child.id()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        (expected.as_str(), Some(1))
    );
}

/// What the demonstration prints under a library.
fn demonstration(library: PathBuf) -> String {
    let output = pymalloc(&["run", "--stats"])
        .env("PYMALLOC_LIB", library)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn the_demonstration_shows_both_mallocs() {
    let shown = demonstration(file("library.so"));
    for start in [
        "demonstration: 4 threads; ",
        "3 runs each, ",
        "  wall time, s ",
        "  CPU time, s ",
    ] {
        assert!(
            shown.lines().any(|line| line.starts_with(start)),
            "{start}\n{shown}"
        );
    }
    assert!(
        shown.ends_with(&format!("pymalloc at the end of its last run:{TABLES}")),
        "{shown}"
    );
}

#[test]
fn a_demonstration_that_proves_nothing_fails() {
    let mut command = pymalloc(&["run", "--stats"]);
    let output = command.env("FAKE_SUMMARY", "").output().unwrap();
    let expected =
        "pymalloc: the demonstration under our malloc left no summary: none was written\n";
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        (expected, Some(1))
    );
}

#[test]
fn the_demonstration_runs_under_the_library_itself() {
    let shown = demonstration(support::preload_library());
    assert!(shown.contains("\n  class block bytes "), "{shown}");
    let (_, rest) = report({
        let mut command = run(true, &file("probe"), &["exit"]);
        command.env("PYMALLOC_LIB", support::preload_library());
        command
    });
    assert!(rest.contains("\n  mapped "), "{rest}");
}
