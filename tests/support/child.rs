//! Parts of a test that need a process of their own: the test binary runs itself again.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

/// Tells the child which part to run.
const PART: &str = "PYMALLOC_TEST_PART";

/// Options and mode for children, for a run of the suite with `checks:on`, with `PYMALLOC=debug` or under a
/// sanitizer.
const CONF: &str = "PYMALLOC_TEST_CONF";
const MODE: &str = "PYMALLOC_TEST_MODE";

/// A whole number from the environment, 1 by default.
fn factor(name: &str) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(1, |text| text.parse().expect("a whole number above 0"))
}

/// How many times as long as usual anything may take before it counts as a hang: `PYMALLOC_TEST_PATIENCE`, which
/// the scripts set where every call costs more.
pub fn patience() -> u32 {
    factor("PYMALLOC_TEST_PATIENCE") as u32
}

/// Of `n` repetitions those that are made: one in `PYMALLOC_TEST_FEWER`, at least one.
pub fn repetitions(n: usize) -> usize {
    (n / factor("PYMALLOC_TEST_FEWER")).max(1)
}

/// Whether the options of this process have every block guarded.
pub fn is_guarded() -> bool {
    let says = |name, what| std::env::var(name).is_ok_and(|value| value.contains(what));
    says("PYMALLOC_CONF", "checks:on") || says("PYMALLOC", "debug")
}

/// The part this process was started to run, if it is such a child.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A command that runs test `test` of this binary, alone, with [`part`] being `part`. (The harness still
/// gives it a thread, and waits for that.) Options of the allocator are not inherited: [`CONF`] and [`MODE`]
/// name them.
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
    if let Some(mode) = std::env::var_os(MODE) {
        command.env("PYMALLOC", mode);
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

/// The debugger's arguments: one process has one watchdog, so they are written by one thread at a time.
static mut DEBUGGER: [*const libc::c_char; 14] = [std::ptr::null(); 14];
static mut PID: [u8; 16] = [0; 16];

/// Ends this process by SIGALRM unless it is done within `seconds`, times [`patience`]; before that, gdb writes the
/// stacks of all its threads to standard error.
pub fn watchdog(seconds: u32) {
    let seconds = seconds * patience();
    // The debugger may hang, too.
    let words = [
        c"timeout",
        c"-k",
        c"1",
        c"20",
        c"gdb",
        c"-nx",
        c"-batch",
        c"-ex",
        c"set pagination off",
        c"-ex",
        c"thread apply all bt 25",
        c"-p",
    ];
    let handler: extern "C" fn(i32) = show_stacks;
    // SAFETY: the process is young or has just forked, and only the handler reads what is written, later. The
    // number is written in place because a child of a fork may want to have made no allocation yet.
    unsafe {
        let arguments = &raw mut DEBUGGER;
        (0..words.len()).for_each(|at| (*arguments)[at] = words[at].as_ptr());
        let (mut left, mut at) = (libc::getpid(), 15);
        while left > 0 {
            at -= 1;
            (&raw mut PID)
                .cast::<u8>()
                .add(at)
                .write(b'0' + (left % 10) as u8);
            left /= 10;
        }
        (*arguments)[words.len()] = (&raw const PID).cast::<libc::c_char>().add(at);
        libc::signal(libc::SIGALRM, handler as libc::sighandler_t);
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
        libc::alarm(seconds);
    }
}

/// Has the watchdog wait anew: what is counted here goes on, however slowly.
pub fn goes_on(seconds: u32) {
    // SAFETY: no conditions.
    unsafe { libc::alarm(seconds * patience()) };
}

/// Runs the debugger on this process, then ends it. Nothing here allocates or runs a fork handler: what
/// hangs may be the allocator.
extern "C" fn show_stacks(number: i32) {
    // SAFETY: calls that may be made in a handler; the child makes no call but those that lead to exec.
    unsafe {
        let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
        if child == 0 {
            libc::dup2(2, 1);
            let arguments = (&raw const DEBUGGER).cast();
            libc::execv(c"/usr/bin/timeout".as_ptr(), arguments);
            libc::_exit(127);
        }
        libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0);
        libc::signal(number, libc::SIG_DFL);
        libc::raise(number);
    }
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
