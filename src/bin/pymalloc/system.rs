//! The launcher's one door to libc: permissions, signals, the wait for a child.
//!
//! # Signals while a child is watched
//!
//! ```text
//! block_signals ──▶ fork ──▶ child: mask and dispositions as inherited ──▶ exec
//!       │
//!       └──▶ loop: next_signal ─┬─ SIGCHLD ─▶ state_of(child): ended, stopped, or no news
//!                               └─ another ─▶ forwarded
//! ```
//!
//! Signals are blocked and fetched one by one instead of caught: there is no handler, so nothing here has
//! to be async-signal-safe, and one that arrives before the child exists waits for it.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Signals that stay as they are: the two that cannot be blocked, those the launcher's own faults raise,
/// SIGPIPE of its own writes, and the terminal's answers to its own input and output.
const UNTOUCHED: [libc::c_int; 11] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGPIPE,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// `si_code` of a signal the kernel itself raised, as for a key of the terminal (bits/siginfo-consts.h).
const SI_KERNEL: libc::c_int = 0x80;

/// An argument of prctl(2), which reads a whole `unsigned long` where C would pass an `int`.
const ZERO: libc::c_ulong = 0;

/// True when SIGPIPE was ignored before Rust's runtime ignored it, as systemd does for its services.
static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`, and so before Rust's runtime changes what we want to know.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_SIGPIPE: extern "C" fn() = remember_sigpipe;

/// Notes what SIGPIPE does.
extern "C" fn remember_sigpipe() {
    // Relaxed: no other thread exists before `main`.
    SIGPIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Users and groups of this process.
pub struct Ids {
    /// Who started it.
    pub real_uid: u32,
    /// Their group.
    pub real_gid: u32,
    /// Whom it acts for.
    effective_uid: u32,
    /// Their group.
    effective_gid: u32,
}

impl Ids {
    /// True when the process acts for another user than the one who started it.
    pub fn are_switched(&self) -> bool {
        (self.real_uid, self.real_gid) != (self.effective_uid, self.effective_gid)
    }
}

/// Asks the system who we are.
pub fn ids() -> Ids {
    // SAFETY: these four take nothing and cannot fail.
    unsafe {
        Ids {
            real_uid: libc::getuid(),
            real_gid: libc::getgid(),
            effective_uid: libc::geteuid(),
            effective_gid: libc::getegid(),
        }
    }
}

/// True when this process may execute the file.
pub fn may_execute(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: `path` is a C string that outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}

/// False when setuid bits and capabilities of this file mean nothing: its file system is mounted `nosuid`,
/// or this process gave up gaining privileges.
pub fn honours_setuid(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else {
        return true;
    };
    // SAFETY: PR_GET_NO_NEW_PRIVS only reads; its four arguments must be zero.
    let gave_up = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, ZERO, ZERO, ZERO, ZERO) == 1 };
    let mut mount = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` is a C string and `mount` a place for the answer; both outlive the call.
    let known = unsafe { libc::statvfs(path.as_ptr(), mount.as_mut_ptr()) == 0 };
    // SAFETY: all-zero bytes are a valid `statvfs`, whether it was filled or not.
    let mount = unsafe { mount.assume_init() };
    let mounted_nosuid = known && mount.f_flag & libc::ST_NOSUID != 0;
    !gave_up && !mounted_nosuid
}

/// True when the file carries capabilities (capabilities(7)).
pub fn has_capabilities(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else {
        return false;
    };
    let name = c"security.capability".as_ptr();
    // SAFETY: both are C strings that outlive the call; size 0 asks for the length, nothing is written.
    unsafe { libc::getxattr(path.as_ptr(), name, std::ptr::null_mut(), 0) > 0 }
}

/// Makes `command`'s process start with the signal dispositions, and the mask if given, that this process
/// was started with: Rust's runtime and [`block_signals`] changed them.
pub fn inherit_signals(command: &mut Command, mask: Option<Mask>) {
    let ignores_pipe = SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed);
    let ignores_children = mask.as_ref().is_some_and(|mask| mask.ignored_children);
    let restore = move || {
        // SAFETY: signal and sigprocmask are async-signal-safe, as a fork of any process requires; the set
        // is a valid one, moved into this closure.
        unsafe {
            if ignores_pipe {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            }
            if ignores_children {
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            }
            if let Some(mask) = &mask {
                libc::sigprocmask(libc::SIG_SETMASK, &mask.inherited, std::ptr::null_mut());
            }
        }
        Ok(())
    };
    // SAFETY: the closure calls only the functions named in it and allocates nothing.
    unsafe { command.pre_exec(restore) };
}

/// What [`block_signals`] changed.
#[derive(Clone, Copy)]
pub struct Mask {
    /// Blocked before.
    inherited: libc::sigset_t,
    /// Blocked now, and waited for.
    waited: libc::sigset_t,
    /// SIGCHLD was ignored before.
    ignored_children: bool,
}

/// Blocks every signal that can be forwarded, and SIGCHLD.
pub fn block_signals() -> Mask {
    let mut waited = MaybeUninit::uninit();
    let mut inherited = MaybeUninit::zeroed();
    let ignored_children = is_ignored(libc::SIGCHLD);
    // SAFETY: sigfillset initialises `waited` before it is used; the pointers outlive the calls, and all-zero
    // bytes are a valid `sigset_t`. A disposition of default is no handler. None of them can fail on valid
    // signals; sigdelset of one the C library keeps for itself changes nothing.
    unsafe {
        libc::sigfillset(waited.as_mut_ptr());
        for signal in UNTOUCHED {
            libc::sigdelset(waited.as_mut_ptr(), signal);
        }
        if ignored_children {
            // An ignored SIGCHLD would throw the children's ends away.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
        libc::sigprocmask(libc::SIG_BLOCK, waited.as_ptr(), inherited.as_mut_ptr());
        Mask {
            inherited: inherited.assume_init(),
            waited: waited.assume_init(),
            ignored_children,
        }
    }
}

/// Bytes of a process that are resident, by `/proc`; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: sysconf takes a number and only reads.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * page.unsigned_abs())
}

/// As [`resident_bytes`], of the process and all that it and they started and that still live.
pub fn resident_bytes_of_all(pid: u32) -> Option<u64> {
    let own = resident_bytes(pid)?;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let started = tasks.into_iter().flatten().flatten().map(|task| {
        let text = std::fs::read_to_string(task.path().join("children"));
        let text = text.unwrap_or_default();
        let children = text.split_whitespace().filter_map(|word| word.parse().ok());
        children.filter_map(resident_bytes_of_all).sum::<u64>()
    });
    Some(own + started.sum::<u64>())
}

/// A signal that arrived.
pub struct Signal {
    /// Which.
    pub number: libc::c_int,
    /// True when the kernel raised it, as for a key of the terminal, not a process by kill(2).
    pub from_kernel: bool,
}

/// Waits for the next signal of the mask.
pub fn next_signal(mask: &Mask) -> Signal {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the set is initialised and `info` a place for the answer; both outlive the call.
        let number = unsafe { libc::sigwaitinfo(&mask.waited, info.as_mut_ptr()) };
        if number > 0 {
            // SAFETY: filled by the call, and valid when all zero.
            let info = unsafe { info.assume_init() };
            return Signal {
                number,
                from_kernel: info.si_code == SI_KERNEL,
            };
        }
    }
}

/// Sends a signal; a process that is gone needs none.
pub fn send(pid: u32, signal: libc::c_int) {
    // SAFETY: kill takes two numbers. `pid` is a child not yet waited for, so it names no other process.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// True when the child is in this process's group, so that a terminal's signals reach both.
pub fn shares_group(pid: u32) -> bool {
    // SAFETY: both take a number and only read.
    unsafe { libc::getpgid(pid.cast_signed()) == libc::getpgrp() }
}

/// Stops this process as its child was stopped, until someone continues it.
pub fn stop() {
    // SAFETY: raise takes a number.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// With this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// What a process cost, the children it waited for included (getrusage(2)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// The most memory resident at once. At least the launcher's own, from which the process was forked.
    pub max_resident_bytes: u64,
}

/// News of a child.
pub enum State {
    /// It is over and was waited for.
    Ended(Ended, Usage),
    /// It was stopped, and can be continued.
    Stopped,
    /// Nothing since the last time.
    Same,
}

/// Asks for news without waiting.
pub fn state_of(pid: u32) -> io::Result<State> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let flags = libc::WNOHANG | libc::WUNTRACED;
    // SAFETY: `status` and `usage` are places for the answers that outlive the call.
    let answer = unsafe { libc::wait4(pid.cast_signed(), &mut status, flags, usage.as_mut_ptr()) };
    // SAFETY: filled by the call, and valid when all zero.
    let usage = unsafe { usage.assume_init() };
    match answer {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(State::Same),
        _ if libc::WIFSTOPPED(status) => Ok(State::Stopped),
        _ if libc::WIFSIGNALED(status) => Ok(State::Ended(
            Ended::Signal(libc::WTERMSIG(status)),
            usage_of(&usage),
        )),
        _ => Ok(State::Ended(
            Ended::Status(libc::WEXITSTATUS(status)),
            usage_of(&usage),
        )),
    }
}

/// The part of rusage we show.
fn usage_of(usage: &libc::rusage) -> Usage {
    // A time the kernel reports is never negative.
    let time = |t: libc::timeval| {
        Duration::new(
            t.tv_sec.unsigned_abs(),
            1000 * t.tv_usec.unsigned_abs() as u32,
        )
    };
    Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        max_resident_bytes: 1024 * usage.ru_maxrss.unsigned_abs(),
    }
}

/// Ends this process by `signal`, as its child ended, so that whoever waits sees the same. No core is
/// dumped: the one worth reading is the child's.
pub fn die_of(signal: i32) -> ! {
    let mut only = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises `only` before it is used; the other calls take numbers and pointers
    // that outlive them. The default disposition is no handler.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, ZERO, ZERO, ZERO, ZERO);
        libc::signal(signal, libc::SIG_DFL);
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, only.as_ptr(), std::ptr::null_mut());
    }
    // The signal of another kind of system, which does not kill here.
    std::process::exit(128 + signal)
}

/// True when the signal's disposition is to be ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads into `action`, which is valid when all zero and outlives the call.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
