//! Parts of a test that need a process of their own: the test binary runs itself again.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

/// Tells the child which part to run.
const PART: &str = "PYMALLOC_TEST_PART";

/// Options for children, for a run of the suite with `checks:on` or under a sanitizer.
const CONF: &str = "PYMALLOC_TEST_CONF";

/// The part this process was started to run, if it is such a child.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A command that runs test `test` of this binary, alone, with [`part`] being `part`. (The harness still
/// gives it a thread, and waits for that.) Options of the allocator are not inherited: [`CONF`] names them.
pub fn command(test: &str, part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args([
            "--exact",
            test,
            "--nocapture",
            "--test-threads=1",
            "--include-ignored",
        ])
        .env(PART, part)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null());
    for variable in [
        "PYMALLOC",
        "PYMALLOC_CONF",
        "PYMALLOC_VERBOSE",
        "PYMALLOCSTATS",
    ] {
        command.env_remove(variable);
    }
    if let Some(conf) = std::env::var_os(CONF) {
        command.env("PYMALLOC_CONF", conf);
    }
    command
}

/// Runs the part, which must succeed.
pub fn succeeds(test: &str, part: &str) {
    passed(part, &command(test, part).output().expect("runs"));
}

/// Fails with everything the child said unless it succeeded.
pub fn passed(part: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{part}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// What the child wrote to standard error, if it ended by SIGABRT.
pub fn last_words(part: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGABRT),
        "{part}: {}, said: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
    );
    text
}

/// Ends this process by SIGALRM unless it is done within `seconds`.
pub fn watchdog(seconds: u32) {
    // SAFETY: no conditions.
    unsafe { libc::alarm(seconds) };
}

/// Makes a panic of any thread the end of the process: others may wait for that thread for ever.
pub fn panics_end_the_process() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(101);
    }));
}

/// No core files from children that are meant to abort.
pub fn no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid structure.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}
