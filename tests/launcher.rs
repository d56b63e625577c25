//! The launcher as its users meet it: a program run by it behaves as if it were run directly, and what
//! cannot be run is refused with one line.
//!
//! Most tests use a stand-in library (`tests/launcher/library.c`), whose summary has known numbers, so that
//! they test the launcher only.

#[path = "support/preload.rs"]
mod support;

#[path = "launcher/fixture.rs"]
mod fixture;
#[path = "launcher/libraries.rs"]
mod libraries;
#[path = "launcher/programs.rs"]
mod programs;
#[path = "launcher/signals.rs"]
mod signals;
#[path = "launcher/stats.rs"]
mod stats;

use fixture::{file, pymalloc, refuses, run, text};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_exit_status_is_the_programs() {
    for stats in [false, true] {
        for status in [0, 1, 7, 126, 255] {
            for how in ["exit", "_exit"] {
                let ended = run(stats, &file("probe"), &[how, &status.to_string()])
                    .stderr(Stdio::null())
                    .status()
                    .unwrap();
                assert_eq!(ended.code(), Some(status), "{how} {status}, stats {stats}");
            }
        }
    }
}

#[test]
fn a_death_by_signal_is_the_launchers_without_a_core() {
    for stats in [false, true] {
        for signal in [
            libc::SIGTERM,
            libc::SIGSEGV,
            libc::SIGKILL,
            libc::SIGABRT,
            libc::SIGPIPE,
        ] {
            let mut command = run(stats, &file("probe"), &["raise", &signal.to_string()]);
            with_cores(&mut command);
            let ended = command
                .stderr(Stdio::null())
                .current_dir(fixture::folder())
                .status();
            let ended = ended.unwrap();
            assert_eq!(ended.signal(), Some(signal), "stats {stats}");
            assert!(!stats || !ended.core_dumped());
        }
        let script = "\"$@\"; echo $?";
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", script, "sh"])
            .env("PYMALLOC_LIB", file("library.so"));
        shell
            .arg(support::launcher())
            .arg("run")
            .args(stats.then_some("--stats"));
        shell.arg(file("probe")).args(["raise", "11"]);
        assert_eq!(text(&shell.output().unwrap().stdout), "139\n");
    }
}

/// Lets the command's processes dump cores, as far as this process may.
fn with_cores(command: &mut Command) {
    // SAFETY: getrlimit and setrlimit are system calls; `limit` is a place for the answer.
    unsafe {
        command.pre_exec(|| {
            let mut limit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_CORE, &mut limit);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_CORE, &limit);
            Ok(())
        })
    };
}

#[test]
fn binary_data_passes_through_unchanged() {
    let mut state = 1_u32;
    let data: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for stats in [false, true] {
        let mut cat = run(stats, Path::new("cat"), &[]);
        cat.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut cat = cat.spawn().unwrap();
        let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let mut echo = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                stdin.write_all(&data).unwrap();
                drop(stdin);
            });
            stdout.read_to_end(&mut echo).unwrap();
        });
        assert!(echo == data, "stats {stats}");
        assert!(cat.wait().unwrap().success());
    }
}

#[test]
fn arguments_and_environment_pass_through_unchanged() {
    for stats in [false, true] {
        let script = r#"printf '%s|' "$0" "$@" "$WORD""#;
        let words = ["-c", script, "--stats", "", "a b", "--", "--lib"];
        let output = run(stats, Path::new("sh"), &words)
            .env("WORD", "x\ny")
            .output()
            .unwrap();
        assert_eq!(text(&output.stdout), "--stats||a b|--|--lib|x\ny|");
        let name = run(
            stats,
            Path::new("sh"),
            &["-c", "tr '\\0' '|' < /proc/$$/cmdline"],
        );
        let name = { name }.output().unwrap();
        assert!(
            text(&name.stdout).starts_with("sh|-c|"),
            "{}",
            text(&name.stdout)
        );
    }
}

#[test]
fn plain_the_launcher_becomes_the_program() {
    let child = run(false, Path::new("sh"), &["-c", "echo $$"])
        .stdout(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), format!("{pid}\n"));
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = pymalloc(&["--version"]).output().unwrap();
    let expected = format!("pymalloc {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (text(&version.stdout), version.status.code()),
        (expected.as_str(), Some(0))
    );
    let help = pymalloc(&["--help"]).output().unwrap();
    assert!(text(&help.stdout).starts_with("usage: pymalloc run [--lib PATH] [--stats]"));
    let help = pymalloc(&["run", "--help"]).output().unwrap();
    assert!(text(&help.stdout).contains("exit status: PROGRAM's own"));
    let mut full = pymalloc(&["--help"]);
    full.stdout(std::fs::File::create("/dev/full").unwrap());
    refuses(
        &mut full,
        1,
        "cannot write to stdout: No space left on device (os error 28)",
    );
}

#[test]
fn a_wrong_command_line_is_named_with_what_is_accepted() {
    let accepted =
        "accepted are run, record, profile, report, why, mem, live, serve, --help, --version";
    refuses(&mut pymalloc(&[]), 2, &format!("no command; {accepted}"));
    refuses(
        &mut pymalloc(&["rnu"]),
        2,
        &format!("unknown command 'rnu'; {accepted}"),
    );
    refuses(
        &mut pymalloc(&["--stats"]),
        2,
        "unknown option '--stats'; accepted are --help, --version, and a command's options after it",
    );
    refuses(
        &mut pymalloc(&["run", "-x", "ls"]),
        2,
        "unknown option '-x' of run; accepted are --lib PATH, --stats, --help",
    );
    refuses(
        &mut pymalloc(&["run", "--lib"]),
        2,
        "option '--lib' needs a value, the path of libpymalloc.so",
    );
    refuses(
        &mut pymalloc(&["run", "--stats=1", "ls"]),
        2,
        "option '--stats' takes no value",
    );
    refuses(
        &mut pymalloc(&["run"]),
        2,
        "run needs a PROGRAM, or --stats alone for the demonstration",
    );
}
